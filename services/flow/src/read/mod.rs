//! From source to flow: reads a document by the table of types, and says everything that is wrong with it at once.

mod check;
mod conditions;
mod defaults;
mod fields;
mod flow;
mod flowables;
mod inputs;
mod labels;
mod report;
mod retry;
mod rules;
mod tasks;
mod triggers;
mod windows;

use windhover_types::{Severity, Violation};

use crate::{Flow, Limits, yaml};
use report::Report;

/// How a source is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// As for a deployment: unknown properties are refused.
    #[default]
    Strict,
    /// As for a source that was accepted once: unknown properties are ignored (flow model reference 1.6).
    Stored,
}

/// What is known of a source.
#[derive(Debug)]
pub struct Validation {
    /// Absent when anything refuses it.
    pub flow: Option<Flow>,
    /// In order of their places. Those of [`Severity::Warning`] refuse nothing.
    pub violations: Vec<Violation>,
    /// As far as they can be read, whether valid or not.
    pub id: Option<String>,
    pub namespace: Option<String>,
}

impl Validation {
    /// Whether only what is not built yet stands in the way.
    pub fn is_only_unsupported(&self) -> bool {
        let mut errors = self.violations.iter().filter(|violation| violation.severity == Severity::Error).peekable();
        errors.peek().is_some() && errors.all(|violation| violation.unsupported)
    }
}

/// Reads a source as for a deployment, with the default [`Limits`].
pub fn validate(source: &str) -> Validation {
    parse(source, &Limits::default(), Mode::Strict)
}

/// The flow of a source, as for a deployment.
///
/// # Errors
/// All violations, warnings included.
pub fn compile(source: &str) -> Result<Flow, Vec<Violation>> {
    let validation = validate(source);
    validation.flow.ok_or(validation.violations)
}

/// The flow of a source that was accepted once.
///
/// # Errors
/// All violations: types that are gone, mostly.
pub fn compile_stored(source: &str) -> Result<Flow, Vec<Violation>> {
    // Accepted under whatever bounds held then.
    let limits = Limits { max_bytes: 16 << 20, max_nodes: 2_000_000, max_text: 64 << 20, ..Limits::default() };
    let validation = parse(source, &limits, Mode::Stored);
    validation.flow.ok_or(validation.violations)
}

/// Reads a source.
pub fn parse(source: &str, limits: &Limits, mode: Mode) -> Validation {
    let (node, problems) = yaml::parse(source, limits);
    let mut report = Report::new(mode);
    for problem in problems {
        report.problem(problem);
    }
    let Some(mut node) = node else {
        return Validation { flow: None, violations: report.finish(), id: None, namespace: None };
    };
    let text = |key: &str| node.get(key).and_then(yaml::Node::scalar_text).map(str::to_owned);
    let (id, namespace) = (text("id"), text("namespace"));
    let read = |report: &mut Report, node: &mut yaml::Node| {
        defaults::inject(report, node);
        flow::read(report, node)
    };
    let flow = read(&mut report, &mut node);
    let refused = report.refused();
    Validation { flow: flow.filter(|_| !refused), violations: report.finish(), id, namespace }
}
