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
mod single;
mod tasks;
mod triggers;
mod windows;

use windhover_types::{Severity, Violation};

use crate::{Flow, Inherited, Limits, yaml};
pub use defaults::PluginDefaults;
use report::Report;
pub use single::compile_task;

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
    /// Worker groups that it names, each as often as it does.
    pub worker_groups: Vec<Mention>,
}

/// Something that a source names, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mention {
    pub name: String,
    pub path: String,
    /// From 1; of what comes from outside of the source, where it takes effect.
    pub line: u32,
    pub column: u32,
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

/// The same, with what the namespace that the source names gives to its flows.
pub fn validate_within(source: &str, around: &dyn Fn(&str) -> Inherited) -> Validation {
    parse_within(source, &Limits::default(), Mode::Strict, around)
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
    compile_stored_within(source, &Inherited::default())
}

/// The same, with what the flow gets from around it.
///
/// # Errors
/// All violations.
pub fn compile_stored_within(source: &str, around: &Inherited) -> Result<Flow, Vec<Violation>> {
    // Accepted under whatever bounds held then.
    let limits = Limits { max_bytes: 16 << 20, max_nodes: 2_000_000, max_text: 64 << 20, ..Limits::default() };
    let validation = parse_within(source, &limits, Mode::Stored, &|_| around.clone());
    validation.flow.ok_or(validation.violations)
}

/// Reads a source.
pub fn parse(source: &str, limits: &Limits, mode: Mode) -> Validation {
    parse_within(source, limits, mode, &|_| Inherited::default())
}

/// Reads a source; `around` says what flows of a namespace get from outside.
pub fn parse_within(source: &str, limits: &Limits, mode: Mode, around: &dyn Fn(&str) -> Inherited) -> Validation {
    let (node, problems) = yaml::parse(source, limits);
    let mut report = Report::new(mode);
    for problem in problems {
        report.problem(problem);
    }
    let Some(mut node) = node else {
        let violations = report.finish();
        return Validation { flow: None, violations, id: None, namespace: None, worker_groups: Vec::new() };
    };
    let text = |key: &str| node.get(key).and_then(yaml::Node::scalar_text).map(str::to_owned);
    let (id, namespace) = (text("id"), text("namespace"));
    let around = around(namespace.as_deref().unwrap_or_default());
    defaults::inject(&mut report, &mut node, around.defaults());
    let flow = flow::read(&mut report, &node, &around);
    let refused = report.refused();
    let worker_groups = std::mem::take(&mut report.worker_groups);
    Validation { flow: flow.filter(|_| !refused), violations: report.finish(), id, namespace, worker_groups }
}
