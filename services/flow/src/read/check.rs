//! Rules about texts: ids, duplicates, dashes after dots.

use std::collections::HashSet;

use super::report::Report;
use crate::yaml::Position;

/// What an id may look like (flow model reference 1.1).
#[derive(Debug, Clone, Copy)]
pub(super) enum IdRule {
    Flow,
    Namespace,
    /// Tasks and triggers.
    Task,
    /// Inputs and outputs.
    Input,
}

impl IdRule {
    const fn pattern(self) -> &'static str {
        match self {
            Self::Flow => "^[a-zA-Z0-9][a-zA-Z0-9._-]*",
            Self::Namespace => "^[a-z0-9][a-z0-9._-]*",
            Self::Task => "^[a-zA-Z0-9][a-zA-Z0-9_-]*",
            Self::Input => "^[a-zA-Z0-9][.a-zA-Z0-9_-]*",
        }
    }

    const fn longest(self) -> usize {
        match self {
            Self::Flow => 100,
            Self::Namespace => 150,
            Self::Task | Self::Input => 256,
        }
    }

    fn matches(self, id: &str) -> bool {
        let dots = !matches!(self, Self::Task);
        let capitals = !matches!(self, Self::Namespace);
        let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || (capitals && b.is_ascii_uppercase());
        let mut bytes = id.bytes();
        bytes.next().is_some_and(letter) && bytes.all(|b| letter(b) || b == b'_' || b == b'-' || (dots && b == b'.'))
    }
}

/// Reports an id that breaks its rule.
pub(super) fn id(report: &mut Report, rule: IdRule, name: &str, id: &str, path: &str, at: Position) {
    if id.trim().is_empty() {
        report.error(path, at, format!("{name}: must not be blank"));
    } else if !rule.matches(id) {
        report.error(path, at, format!("{name}: must match \"{}\"", rule.pattern()));
    } else if id.len() > rule.longest() {
        report.error(path, at, format!("{name}: size must be between 1 and {}", rule.longest()));
    }
}

/// Ids of one kind in one flow.
#[derive(Default)]
pub(super) struct Ids {
    seen: HashSet<String>,
    reported: HashSet<String>,
}

impl Ids {
    /// Reports `id` when it is there already, each id once. `what`: task, trigger, input, output.
    pub(super) fn add(&mut self, report: &mut Report, what: &str, id: &str, path: &str, at: Position) {
        if !self.seen.insert(id.to_owned()) && self.reported.insert(id.to_owned()) {
            report.error(path, at, format!("Duplicate {what} with name [{id}]"));
        }
    }

    pub(super) fn contains(&self, id: &str) -> bool {
        self.seen.contains(id)
    }
}

/// `inputs.a-b` and `outputs.a-b.x` read as subtractions (flow model 1.x reference 1.2). Refused when the name with
/// the dash is declared, or when what would be subtracted is a bare word and the name before the dash is not
/// declared: a real subtraction stays possible.
pub(super) fn dashes(report: &mut Report, inputs: &Ids, tasks: &Ids) {
    for (path, at, source) in std::mem::take(&mut report.texts) {
        for (root, name) in dashed_names(&source) {
            let declared = if root == "inputs" { inputs } else { tasks };
            let base = name.split('-').next().unwrap_or(name);
            let word = name[base.len() + 1..].starts_with(|c: char| c.is_ascii_alphabetic());
            if declared.contains(name) || (word && !declared.contains(base)) {
                let message =
                    format!("`{root}.{name}` reads as a subtraction: use bracket notation `{root}['{name}']`");
                report.error(&path, at, message);
            }
        }
    }
}

/// Names with a dash directly after `inputs.` or `outputs.` inside `{{ }}`, outside of string literals.
fn dashed_names(source: &str) -> Vec<(&'static str, &str)> {
    let mut found = Vec::new();
    let mut rest = source;
    while let Some(start) = rest.find("{{") {
        let inner = &rest[start + 2..];
        let end = inner.find("}}").unwrap_or(inner.len());
        names_of(&inner[..end], &mut found);
        rest = &inner[end..];
    }
    found
}

fn names_of<'a>(expression: &'a str, found: &mut Vec<(&'static str, &'a str)>) {
    let name_char = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
    let mut quote = None;
    let mut before = ' ';
    for (index, c) in expression.char_indices() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '"' || c == '\'' => quote = Some(c),
            None => {
                for root in ["inputs", "outputs"] {
                    let tail = &expression[index..];
                    if !name_char(before)
                        && let Some(name) = tail.strip_prefix(root).and_then(|tail| tail.strip_prefix('.'))
                    {
                        let end = name
                            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'))
                            .unwrap_or(name.len());
                        let name = name[..end].trim_end_matches('-');
                        if name.contains('-') && !name.starts_with('-') {
                            found.push((root, name));
                        }
                    }
                }
            }
        }
        before = c;
    }
}
