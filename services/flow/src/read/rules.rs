//! What a flow says of its executions as a whole: limits, service levels, checks, listeners.

use windhover_types::Label;

use super::fields::{self, Fields};
use super::report::Report;
use super::tasks::{Tasks, Within};
use super::{conditions, labels};
use crate::table::{CHECK, CONCURRENCY, LISTENER, SLA, nearest};
use crate::yaml::{Content, Node};
use crate::{
    Check, CheckBehavior, CheckStyle, Concurrency, ConcurrencyBehavior, ListKind, Listener, Sla, SlaBehavior, SlaKind,
    parse_duration,
};

/// The items of a list; anything else is reported.
fn items<'n>(report: &mut Report, node: Option<&'n Node>, path: &str) -> Vec<(String, &'n Node)> {
    let Some(node) = node else { return Vec::new() };
    let Content::List(items) = &node.content else {
        report.error(path, node.at, format!("expected a list, but got {}", node.describe()));
        return Vec::new();
    };
    items.iter().enumerate().map(|(index, item)| (format!("{path}[{index}]"), item)).collect()
}

pub(super) fn concurrency(report: &mut Report, node: &Node) -> Option<Concurrency> {
    let fields = fields::read(report, node, "concurrency", &[CONCURRENCY], "concurrency")?;
    let limit = fields.int(report, "limit")?;
    if limit < 1 {
        report.error("concurrency.limit", fields.place("limit"), "limit: must be greater than 0");
    }
    let behavior = match fields.literal("behavior") {
        Some("CANCEL") => ConcurrencyBehavior::Cancel,
        Some("FAIL") => ConcurrencyBehavior::Fail,
        _ => ConcurrencyBehavior::Queue,
    };
    Some(Concurrency { limit: u32::try_from(limit).unwrap_or(u32::MAX), behavior })
}

pub(super) fn sla_list(report: &mut Report, node: Option<&Node>) -> Vec<Sla> {
    let items = items(report, node, "sla");
    items.into_iter().filter_map(|(path, item)| sla(report, item, &path)).collect()
}

fn sla(report: &mut Report, node: &Node, path: &str) -> Option<Sla> {
    let fields = fields::read(report, node, path, &[SLA], "sla")?;
    let id = fields.string("id").unwrap_or_default();
    if id.is_empty() && fields.get("id").is_some() {
        report.error(&fields.path("id"), fields.place("id"), "id: must not be empty");
    }
    let behavior = match fields.literal("behavior")? {
        "FAIL" => SlaBehavior::Fail,
        "CANCEL" => SlaBehavior::Cancel,
        _ => SlaBehavior::None,
    };
    let labels = fields.get("labels").map(|node| sla_labels(report, node, &fields)).unwrap_or_default();
    // Types of service levels are case-sensitive, as those of inputs.
    let kind = match fields.literal("type")? {
        "MAX_DURATION" => {
            refuse(report, &fields, "assert", "MAX_DURATION");
            SlaKind::MaxDuration(parse_duration(needed(report, &fields, "duration")?).ok()?)
        }
        "EXECUTION_ASSERTION" => {
            refuse(report, &fields, "duration", "EXECUTION_ASSERTION");
            needed(report, &fields, "assert")?;
            SlaKind::Assertion(fields.text(report, "assert")?)
        }
        other => {
            let suggestion = nearest(other, ["MAX_DURATION", "EXECUTION_ASSERTION"].into_iter()).map(str::to_owned);
            let message = format!("Invalid type: {other}");
            report.error_with(&fields.path("type"), fields.place("type"), message, suggestion);
            return None;
        }
    };
    Some(Sla { id, kind, behavior, labels })
}

fn needed<'n>(report: &mut Report, fields: &Fields<'n>, name: &str) -> Option<&'n str> {
    let found = fields.literal(name);
    if found.is_none() {
        report.error(&fields.path(name), fields.at, format!("{name}: must not be null"));
    }
    found
}

fn refuse(report: &mut Report, fields: &Fields<'_>, name: &str, class: &str) {
    if fields.get(name).is_some() && report.is_strict() {
        let message = format!("Unrecognized field \"{name}\" (class {class})");
        report.error(&fields.path(name), fields.place(name), message);
    }
}

fn sla_labels(report: &mut Report, node: &Node, fields: &Fields<'_>) -> Vec<Label> {
    labels::of_flow(report, node, &fields.path("labels"))
}

pub(super) fn check_list(report: &mut Report, node: Option<&Node>) -> Vec<Check> {
    let items = items(report, node, "checks");
    items.into_iter().filter_map(|(path, item)| check(report, item, &path)).collect()
}

fn check(report: &mut Report, node: &Node, path: &str) -> Option<Check> {
    let fields = fields::read(report, node, path, &[CHECK], "check")?;
    let style = match fields.literal("style") {
        Some("ERROR") => CheckStyle::Error,
        Some("SUCCESS") => CheckStyle::Success,
        Some("WARNING") => CheckStyle::Warning,
        _ => CheckStyle::Info,
    };
    let behavior = match fields.literal("behavior") {
        Some("FAIL_EXECUTION") => CheckBehavior::FailExecution,
        Some("CREATE_EXECUTION") => CheckBehavior::CreateExecution,
        _ => CheckBehavior::BlockExecution,
    };
    Some(Check { condition: fields.text(report, "condition")?, message: fields.string("message")?, style, behavior })
}

/// A purge of versions goes by a date or by a number, not by both (flow model 1.x reference 1.2).
pub(super) fn purge_behavior(report: &mut Report, fields: &Fields<'_>) {
    let Some(node) = fields.get("behavior") else { return };
    let given = |name: &str| node.get(name).filter(|node| !node.is_null());
    if given("before").is_some()
        && let Some(amount) = given("keepAmount")
    {
        let message = "behavior: `before` and `keepAmount` cannot both be given";
        report.error(&fields.path("behavior"), amount.at, message);
    }
}

impl Tasks<'_> {
    /// Listeners with their tasks; those of one listener are a list of their own.
    pub(super) fn listeners(&mut self, node: Option<&Node>) -> Vec<Listener> {
        let mut listeners = Vec::new();
        for (path, item) in items(self.report, node, "listeners") {
            let Some(fields) = fields::read(self.report, item, &path, &[LISTENER], "listener") else { continue };
            let list = ListKind::Listener(listeners.len());
            let within = Within { parent: None, list, disabled: false };
            let conditions = match fields.get("conditions") {
                Some(node) => conditions::read_list(self.report, node, &fields.path("conditions")),
                None => Vec::new(),
            };
            if let Some(Content::List(tasks)) = fields.get("tasks").map(|node| &node.content)
                && tasks.is_empty()
            {
                self.report.error(&fields.path("tasks"), fields.place("tasks"), "tasks: must not be empty");
            }
            let tasks = self.read_list(fields.get("tasks"), &fields.path("tasks"), &within);
            listeners.push(Listener { conditions, tasks });
        }
        listeners
    }
}
