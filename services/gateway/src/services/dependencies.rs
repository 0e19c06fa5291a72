//! Which flows start which others, as far as their sources say it literally.

use std::{collections::HashSet, sync::Arc};

use windhover_executor::StoredFlow;
use windhover_flow::{Condition, Flow, TaskKind, Text, Trigger, TriggerKind};
use windhover_proto::v1::{Dependency, dependency::Kind};

/// All of them, by the flow that starts and the one that is started.
pub(super) fn of(flows: &[Arc<StoredFlow>]) -> Vec<Dependency> {
    let known: HashSet<(&str, &str)> = flows.iter().map(|flow| (flow.namespace.as_str(), flow.id.as_str())).collect();
    let mut found = Vec::new();
    for stored in flows {
        let Ok(flow) = &stored.flow else { continue };
        let own = (stored.namespace.as_str(), stored.id.as_str());
        for (namespace, id, task) in called(flow) {
            let missing = !known.contains(&(namespace, id));
            found.push(dependency(Kind::Subflow, own, (namespace, id), task, missing));
        }
        for trigger in &flow.triggers {
            for (namespace, id) in listened(trigger) {
                let missing = !known.contains(&(namespace, id));
                found.push(dependency(Kind::Trigger, (namespace, id), own, &trigger.id, missing));
            }
        }
    }
    let key = |one: &Dependency| {
        let from = (one.from_namespace.clone(), one.from_flow_id.clone());
        (from, (one.to_namespace.clone(), one.to_flow_id.clone()), one.kind, one.id.clone())
    };
    found.sort_by_cached_key(key);
    found.dedup();
    found
}

fn dependency(kind: Kind, from: (&str, &str), to: (&str, &str), id: &str, missing: bool) -> Dependency {
    Dependency {
        kind: kind as i32,
        from_namespace: from.0.to_owned(),
        from_flow_id: from.1.to_owned(),
        to_namespace: to.0.to_owned(),
        to_flow_id: to.1.to_owned(),
        id: id.to_owned(),
        missing,
    }
}

/// Namespace and id of the flows that tasks start, with the task.
fn called(flow: &Flow) -> impl Iterator<Item = (&str, &str, &str)> {
    flow.index.values().filter_map(|place| match &place.task.kind {
        TaskKind::Subflow(subflow) | TaskKind::Items(subflow) => {
            Some((literal(&subflow.namespace)?, literal(&subflow.flow_id)?, place.task.id.as_str()))
        }
        _ => None,
    })
}

/// Namespace and id of the flows whose ends a trigger waits for.
fn listened(trigger: &Trigger) -> Vec<(&str, &str)> {
    let TriggerKind::Flow(of) = &trigger.kind else { return Vec::new() };
    let windowed = of.window.iter().flat_map(|window| window.conditions.iter().map(|(_, condition)| condition));
    let mut found = Vec::new();
    trigger.conditions.iter().chain(windowed).for_each(|condition| named(condition, &mut found));
    found
}

fn named<'a>(condition: &'a Condition, found: &mut Vec<(&'a str, &'a str)>) {
    match condition {
        Condition::ExecutionFlow { namespace, flow_id } => {
            found.extend(literal(namespace).zip(literal(flow_id)));
        }
        Condition::Flow(precondition) => {
            found.extend(precondition.flow_id.as_deref().map(|id| (precondition.namespace.as_str(), id)));
        }
        Condition::Or(conditions) => conditions.iter().for_each(|condition| named(condition, found)),
        // What must not have happened starts nothing.
        _ => {}
    }
}

fn literal(text: &Text) -> Option<&str> {
    text.is_literal().then(|| text.source())
}
