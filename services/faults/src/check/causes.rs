//! One execution per cause: requests, parents, upstream changes, slots of schedules.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::DateTime;
use serde_json::Value;
use windhover_types::Id;

use crate::{
    Findings, Kind, Ledger,
    database::{ExecutionRow, Stored},
    ledger::{ListenerRule, ScheduleRule},
};

pub(super) fn check(stored: &Stored, ledger: &Ledger, findings: &mut Findings) {
    acknowledged(stored, ledger, findings);
    children(stored, findings);
    triggered(stored, findings);
    for rule in &ledger.listeners {
        listeners(stored, rule, findings);
    }
    for rule in &ledger.schedules {
        schedule(stored, rule, findings);
    }
}

fn acknowledged(stored: &Stored, ledger: &Ledger, findings: &mut Findings) {
    for refused in &ledger.refused {
        findings.add(Kind::Refused, refused);
    }
    let mut seen: HashMap<&str, &str> = HashMap::new();
    for one in &ledger.acknowledged {
        let execution = one.id.parse::<Id>().ok().and_then(|id| stored.executions.get(&id));
        match execution {
            Some(execution) => {
                let right = execution.namespace == one.namespace && execution.flow_id == one.flow_id;
                findings.require(right && execution.tenant == ledger.tenant, Kind::Request, || {
                    format!(
                        "{} was acknowledged for {}.{} and is of {}",
                        one.id, one.namespace, one.flow_id, execution.flow_id
                    )
                });
            }
            None => findings.add(
                Kind::Lost,
                format!("{} of {}.{} was acknowledged and is not there", one.id, one.namespace, one.flow_id),
            ),
        }
        if let Some(other) = seen.insert(&one.id, &one.request_id) {
            findings.add(Kind::Request, format!("{} was the answer to `{other}` and to `{}`", one.id, one.request_id));
        }
        if !one.request_id.is_empty() {
            let stored = stored.requests.get(&one.request_id);
            findings.require(stored.is_some_and(|id| *id == one.id), Kind::Request, || {
                format!("request `{}` was answered with {}, stored is {stored:?}", one.request_id, one.id)
            });
        }
    }
    // What nobody was told of because the answer was lost, and nobody asked again, is fine: it has a request id.
    let mut makers: HashMap<&str, usize> = HashMap::new();
    for id in stored.requests.values() {
        *makers.entry(id).or_default() += 1;
        let there = id.parse::<Id>().is_ok_and(|id| stored.executions.contains_key(&id));
        findings.require(there, Kind::Lost, || format!("a request id names {id}, which is not there"));
    }
    for (id, count) in makers.into_iter().filter(|(_, count)| *count > 1) {
        findings.add(Kind::Request, format!("{count} request ids name {id}"));
    }
}

fn children(stored: &Stored, findings: &mut Findings) {
    let mut by_task_run: BTreeMap<(Id, Id), Vec<&ExecutionRow>> = BTreeMap::new();
    for execution in stored.executions.values() {
        if let Some(parent) = &execution.origin.parent {
            by_task_run.entry((parent.execution_id, parent.task_run_id)).or_default().push(execution);
        }
    }
    for ((parent, task_run), children) in &by_task_run {
        let run = stored.task_runs.get(parent).into_iter().flatten().find(|run| run.id == *task_run);
        let Some(run) = run else {
            findings.add(
                Kind::Orphan,
                format!("{} has the parent {parent}/{task_run}, which is not there", children[0].id),
            );
            continue;
        };
        // Each attempt of a subflow starts one.
        let allowed = run.attempts.len().max(1);
        findings.require(children.len() <= allowed, Kind::Cause, || {
            format!("{} of {parent} started {} executions in {allowed} attempts", run.task_id, children.len())
        });
    }
    for (execution, runs) in &stored.task_runs {
        for run in runs {
            let Some(child) = run.child else { continue };
            let there = by_task_run.get(&(*execution, run.id)).is_some_and(|all| all.iter().any(|one| one.id == child));
            findings.require(there, Kind::Cause, || {
                format!("{} of {execution} started {child}, which is not there or is of somebody else", run.task_id)
            });
        }
    }
}

/// What a trigger started for the same change, or the same slot, it started once.
fn triggered(stored: &Stored, findings: &mut Findings) {
    let mut by_cause: BTreeMap<(&str, &str, &str, String), Vec<&ExecutionRow>> = BTreeMap::new();
    for execution in
        stored.executions.values().filter(|one| one.origin.original.is_none() && one.origin.parent.is_none())
    {
        let Some(trigger) = &execution.origin.trigger else { continue };
        let Some(cause) = cause(trigger.type_name.as_str(), &trigger.variables) else { continue };
        by_cause.entry((&execution.namespace, &execution.flow_id, &trigger.id, cause)).or_default().push(execution);
    }
    for ((namespace, flow, trigger, cause), all) in by_cause {
        // An upstream that is in the same state again makes another change.
        let upstream = all[0].cause.and_then(|id| stored.executions.get(&id));
        let state = all[0].origin.trigger.as_ref().and_then(|trigger| trigger.variables.get("state")?.as_str());
        let changes = upstream.zip(state).map_or(1, |(upstream, state)| {
            upstream.history.iter().filter(|change| change.state == state).count().max(1)
        });
        findings.require(all.len() <= changes, Kind::Cause, || {
            let ids: Vec<String> = all.iter().map(|one| one.id.to_string()).collect();
            format!("{trigger} of {namespace}.{flow} started {} for {cause}", ids.join(" and "))
        });
    }
}

fn cause(type_name: &str, variables: &Value) -> Option<String> {
    if type_name.ends_with(".Schedule") {
        return slot(variables);
    }
    let id = variables.get("executionId")?.as_str()?;
    let state = variables.get("state").and_then(Value::as_str).unwrap_or_default();
    Some(format!("{id} {state}"))
}

fn slot(variables: &Value) -> Option<String> {
    Some(variables.get("date")?.as_str()?.to_owned())
}

fn listeners(stored: &Stored, rule: &ListenerRule, findings: &mut Findings) {
    let mut started: HashMap<Id, usize> = HashMap::new();
    for execution in stored.executions.values() {
        let ours = execution.namespace == rule.namespace
            && execution.flow_id == rule.flow_id
            && execution.trigger_id.as_deref() == Some(&rule.trigger_id);
        if let Some(cause) = execution.cause.filter(|_| ours) {
            *started.entry(cause).or_default() += 1;
        }
    }
    let name = || format!("{} of {}.{}", rule.trigger_id, rule.namespace, rule.flow_id);
    for execution in stored.executions.values().filter(|one| one.namespace == rule.upstream) {
        let listened = |state: &str| rule.states.iter().any(|wanted| wanted == state);
        let due = execution.history.iter().filter(|change| listened(&change.state)).count();
        let made = started.remove(&execution.id).unwrap_or(0);
        findings.require(made == due, Kind::Cause, || {
            format!("{} started {made} executions for {} changes of {}", name(), due, execution.id)
        });
    }
    for cause in started.keys() {
        findings.add(Kind::Cause, format!("{} started one for {cause}, which it does not listen to", name()));
    }
}

fn schedule(stored: &Stored, rule: &ScheduleRule, findings: &mut Findings) {
    let name = || format!("{} of {}.{}", rule.trigger_id, rule.namespace, rule.flow_id);
    let mut slots: Vec<i64> = Vec::new();
    let mut distinct = HashSet::new();
    for execution in stored.executions.values() {
        let ours = execution.namespace == rule.namespace && execution.flow_id == rule.flow_id;
        let Some(trigger) = execution.origin.trigger.as_ref().filter(|trigger| ours && trigger.id == rule.trigger_id)
        else {
            continue;
        };
        match slot(&trigger.variables).and_then(|text| seconds(&text)) {
            Some(slot) => {
                findings.require(distinct.insert(slot), Kind::Cause, || {
                    format!("{} started two for second {slot}", name())
                });
                slots.push(slot);
            }
            None => findings.add(Kind::Cause, format!("{}: {} tells no date", name(), execution.id)),
        }
    }
    slots.sort_unstable();
    slots.dedup();
    for pair in slots.windows(2) {
        let [from, to] = pair else { continue };
        findings.require(to - from == rule.every_seconds as i64, Kind::Cause, || {
            format!("{} started nothing between the seconds {from} and {to}", name())
        });
    }
    findings.require(slots.len() >= rule.at_least, Kind::Cause, || {
        format!("{} started {} executions, at least {} were due", name(), slots.len(), rule.at_least)
    });
}

/// Seconds since 1970 of a date in ISO 8601 with `Z` or an offset; the name of a zone behind it says nothing new.
fn seconds(text: &str) -> Option<i64> {
    let text = text.split('[').next().unwrap_or(text);
    let whole = DateTime::parse_from_rfc3339(text);
    let date = whole.or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M%:z")).ok()?;
    Some(date.timestamp())
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn dates_with_offsets_are_the_same_moment() {
        assert_eq!(seconds("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(seconds("2026-11-21T15:00:00Z"), Some(1_795_273_200));
        assert_eq!(seconds("2026-11-21T16:00:00.000+01:00"), seconds("2026-11-21T15:00:00Z"));
        assert_eq!(seconds("2026-11-21T16:00+01:00[Europe/Paris]"), seconds("2026-11-21T15:00:00Z"));
        assert_eq!(seconds("yesterday"), None);
    }
}
