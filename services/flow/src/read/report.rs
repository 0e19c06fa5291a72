//! Collects what is wrong.

use windhover_types::{Severity, Violation};

use super::{Mention, Mode};
use crate::Text;
use crate::yaml::{Node, Position, Problem};

/// More violations than anybody reads are counted, not kept.
const MOST: usize = 500;

pub(super) struct Report {
    mode: Mode,
    violations: Vec<Violation>,
    dropped: usize,
    refused: bool,
    /// Texts that are looked at again once every id is known.
    pub(super) texts: Vec<(String, Position, String)>,
    pub(super) worker_groups: Vec<Mention>,
}

impl Report {
    pub(super) fn new(mode: Mode) -> Self {
        Self { mode, violations: Vec::new(), dropped: 0, refused: false, texts: Vec::new(), worker_groups: Vec::new() }
    }

    pub(super) fn is_strict(&self) -> bool {
        self.mode == Mode::Strict
    }

    /// Whether further violations are only counted: nothing costly should be done for them.
    pub(super) fn is_full(&self) -> bool {
        self.violations.len() >= MOST
    }

    pub(super) fn refused(&self) -> bool {
        self.refused
    }

    pub(super) fn error(&mut self, path: &str, at: Position, message: impl Into<String>) {
        self.add(path, at, Severity::Error, message.into(), None, false);
    }

    pub(super) fn error_with(
        &mut self,
        path: &str,
        at: Position,
        message: impl Into<String>,
        suggestion: Option<String>,
    ) {
        self.add(path, at, Severity::Error, message.into(), suggestion, false);
    }

    pub(super) fn warning(&mut self, path: &str, at: Position, message: impl Into<String>) {
        self.add(path, at, Severity::Warning, message.into(), None, false);
    }

    /// `what` exists in the reference and is not built yet.
    pub(super) fn unsupported(&mut self, path: &str, at: Position, what: &str) {
        self.add(path, at, Severity::Error, format!("{what} is not supported yet"), None, true);
    }

    /// A worker group is named here.
    pub(super) fn worker_group(&mut self, name: &str, path: &str, at: Position) {
        let Position { line, column } = at;
        self.worker_groups.push(Mention { name: name.to_owned(), path: path.to_owned(), line, column });
    }

    pub(super) fn problem(&mut self, problem: Problem) {
        self.add(&problem.path, problem.at, Severity::Error, problem.message, None, false);
    }

    /// A text with its template. One that does not compile is a warning, since it fails only when it is rendered.
    pub(super) fn text(&mut self, source: &str, path: &str, node: &Node) -> Text {
        let text = Text::new(source);
        if let Some(error) = text.broken() {
            self.warning(
                path,
                node.at,
                format!("the template does not compile and will fail when it is rendered: {error}"),
            );
        }
        if text.broken().is_none() && source.contains("{{") && source.contains('-') {
            self.texts.push((path.to_owned(), node.at, source.to_owned()));
        }
        text
    }

    fn add(
        &mut self,
        path: &str,
        at: Position,
        severity: Severity,
        message: String,
        suggestion: Option<String>,
        unsupported: bool,
    ) {
        self.refused |= severity == Severity::Error;
        if self.is_full() {
            self.dropped += 1;
            return;
        }
        let Position { line, column } = at;
        self.violations.push(Violation {
            severity,
            path: path.to_owned(),
            line,
            column,
            message,
            suggestion,
            unsupported,
        });
    }

    /// All violations in order of their places.
    pub(super) fn finish(mut self) -> Vec<Violation> {
        self.violations.sort_by_key(|violation| (violation.line, violation.column));
        if self.dropped > 0 {
            let message = format!("{} more violations are not shown", self.dropped);
            let severity = if self.refused { Severity::Error } else { Severity::Warning };
            self.violations.push(Violation {
                severity,
                path: String::new(),
                line: 0,
                column: 0,
                message,
                suggestion: None,
                // Says nothing of its own about what is wrong.
                unsupported: self
                    .violations
                    .iter()
                    .all(|violation| violation.severity == Severity::Warning || violation.unsupported),
            });
        }
        self.violations
    }
}
