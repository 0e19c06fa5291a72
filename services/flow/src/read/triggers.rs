//! Triggers.

use windhover_types::State;

use super::check::{self, IdRule, Ids};
use super::fields::{self, Fields};
use super::report::Report;
use super::{conditions, labels, tasks};
use crate::table::{Family, Role, TRIGGER_COMMON};
use crate::yaml::{Content, Node};
use crate::{FlowTrigger, Trigger, TriggerKind, WebhookTrigger};

/// The states that a Flow trigger listens to unless it names some: every terminal one, and PAUSED (flow model 1.x
/// reference 6.5).
const DEFAULT_STATES: &[State] = &[
    State::Success,
    State::Warning,
    State::Failed,
    State::Killed,
    State::Cancelled,
    State::Retried,
    State::Skipped,
    State::Paused,
];

/// Longest key of a webhook (flow model reference 6.6).
const LONGEST_KEY: usize = 256;

pub(super) fn read_list(report: &mut Report, node: &Node, path: &str) -> Vec<Trigger> {
    let Content::List(items) = &node.content else {
        report.error(path, node.at, format!("expected a list of triggers, but got {}", node.describe()));
        return Vec::new();
    };
    let mut ids = Ids::default();
    let mut triggers = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let path = format!("{path}[{index}]");
        if let Some(node) = item.get("id")
            && let Some(id) = node.scalar_text()
        {
            ids.add(report, "trigger id", id, &fields::below(&path, "id"), node.at);
        }
        triggers.extend(read(report, item, &path));
    }
    preconditions(report, items, path);
    triggers
}

fn read(report: &mut Report, node: &Node, path: &str) -> Option<Trigger> {
    let entry = tasks::resolve_type(report, node, path, Role::Trigger)?;
    if !entry.is_built() {
        return None;
    }
    let fields = fields::read(report, node, path, &[TRIGGER_COMMON, entry.properties], entry.name)?;
    let id = fields.string("id").unwrap_or_default();
    if let Some(at) = fields.get("id").map(|node| node.at) {
        check::id(report, IdRule::Task, "id", &id, &fields.path("id"), at);
    }
    let conditions = match fields.get("conditions") {
        Some(node) => conditions::read_list(report, node, &fields.path("conditions")),
        None => Vec::new(),
    };
    let labels =
        fields.get("labels").map(|node| labels::of_trigger(report, node, &fields.path("labels"))).unwrap_or_default();
    let kind = match entry.family {
        Family::FlowTrigger => flow_trigger(report, &fields),
        _ => webhook(report, &fields)?,
    };
    let disabled = fields.bool(report, "disabled", false);
    Some(Trigger { id, type_name: fields.string("type")?, kind, conditions, labels, disabled })
}

fn flow_trigger(report: &mut Report, fields: &Fields<'_>) -> TriggerKind {
    let states = match fields.get("states") {
        Some(node) => conditions::state_list(report, node, &fields.path("states")),
        None => DEFAULT_STATES.to_vec(),
    };
    if fields.get("conditions").is_none() && fields.get("preconditions").is_none() {
        let message = "this trigger has no conditions: it fires for every execution of every other flow";
        report.warning(&fields.path, fields.at, message);
    }
    TriggerKind::Flow(FlowTrigger { states, inputs: conditions::inputs(report, fields) })
}

fn webhook(report: &mut Report, fields: &Fields<'_>) -> Option<TriggerKind> {
    const MULTIPLE: &str = "io.kestra.plugin.core.condition.MultipleCondition";
    if let Some(node) = fields.get("conditions").filter(|node| conditions::mentions(node, MULTIPLE)) {
        let message = "invalid webhook: conditions of type MultipleCondition are not supported";
        report.error(&fields.path("conditions"), node.at, message);
    }
    if let Some(node) =
        fields.get("key").filter(|node| node.scalar_text().is_some_and(|key| key.chars().count() > LONGEST_KEY))
    {
        report.error(&fields.path("key"), node.at, format!("key: size must be between 0 and {LONGEST_KEY}"));
    }
    let inputs = conditions::inputs(report, fields);
    Some(TriggerKind::Webhook(WebhookTrigger { key: fields.text(report, "key")?, inputs }))
}

/// Two triggers whose preconditions have one id would share a window (flow model 1.x reference 1.2).
fn preconditions(report: &mut Report, items: &[Node], path: &str) {
    let mut seen: Vec<&str> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let Some(node) = item.get("preconditions").and_then(|node| node.get("id")) else { continue };
        let Some(id) = node.scalar_text() else { continue };
        if seen.contains(&id) {
            report.error(
                &format!("{path}[{index}].preconditions.id"),
                node.at,
                format!("Duplicate preconditions with id [{id}]"),
            );
        }
        seen.push(id);
    }
}
