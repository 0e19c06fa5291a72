//! Expectations about executions: which ones are meant, and what holds of all of them together.

use serde_json::{Value, json};

use super::{Seen, execution};
use crate::{
    expectation::{ExecutionProperties, Many, Selector},
    findings::{Findings, short},
    matching::{assign, compare},
    seen::Execution,
    template::resolve_text,
    time,
};

pub(super) fn named(
    names: &[String],
    at_creation: bool,
    properties: &ExecutionProperties,
    seen: &Seen,
    findings: &mut Findings,
) {
    let mut all = Vec::new();
    for name in names {
        let at = format!("execution {name}");
        let execution = if at_creation { seen.world.created(name) } else { seen.world.named(name) };
        match execution {
            Err(error) => findings.mismatch(&at, error),
            Ok(execution) => {
                execution::check(execution, properties, &at, seen, findings);
                execution::check_identity(name, properties, &at, seen, findings);
                all.push(execution);
            }
        }
    }
    together(&all, properties, &format!("executions {}", names.join(", ")), seen, findings);
}

pub(super) fn triggered(
    selector: &Selector,
    many: &Many,
    properties: &ExecutionProperties,
    seen: &Seen,
    findings: &mut Findings,
) {
    let flow = selector.flow.as_deref().unwrap_or("*");
    let by = match selector.by.as_deref().map(|name| seen.world.created(name)).transpose() {
        Ok(by) => by.map(|execution| execution.id.as_str()),
        Err(error) => return findings.mismatch(&format!("triggered {flow}"), error),
    };
    let at = format!("triggered {flow} by {}", selector.by.as_deref().unwrap_or("anything"));
    let found = select(seen.world.triggered(by), selector, &at, seen, findings);
    several(&found, many, properties, &at, seen, findings);
}

pub(super) fn selected(
    selector: &Selector,
    many: &Many,
    properties: &ExecutionProperties,
    seen: &Seen,
    findings: &mut Findings,
) {
    let at = format!("executions of {}", selector.flow.as_deref().unwrap_or("*"));
    let found = select(seen.world.executions.iter(), selector, &at, seen, findings);
    several(&found, many, properties, &at, seen, findings);
}

fn select<'a>(
    executions: impl Iterator<Item = &'a Execution>,
    selector: &Selector,
    at: &str,
    seen: &Seen,
    findings: &mut Findings,
) -> Vec<&'a Execution> {
    let before = match &selector.trigger_date_before {
        None => None,
        Some(text) => match resolve_text(text, seen.world).map(|text| time::instant(&text)) {
            Ok(Some(instant)) => Some(instant),
            Ok(None) => {
                findings.mismatch(at, format_args!("trigger_date_before: `{text}` is no instant"));
                return Vec::new();
            }
            Err(error) => {
                findings.mismatch(at, error);
                return Vec::new();
            }
        },
    };
    let fits = |execution: &&Execution| {
        selector.namespace.as_ref().is_none_or(|namespace| *namespace == execution.namespace)
            && selector.flow.as_ref().is_none_or(|flow| *flow == execution.flow)
            && before.is_none_or(|before| trigger_date(execution).is_some_and(|date| date < before))
            && selector.labels.as_ref().is_none_or(|labels| {
                let mut found = Findings::default();
                seen.compare(labels, Some(&Value::Object(execution.labels.clone())), at, &mut found);
                found.is_empty()
            })
    };
    executions.filter(fits).collect()
}

fn several(
    found: &[&Execution],
    many: &Many,
    properties: &ExecutionProperties,
    at: &str,
    seen: &Seen,
    findings: &mut Findings,
) {
    match &many.count {
        Some(count) => seen.compare(count, Some(&json!(found.len())), &format!("{at}: count"), findings),
        None if found.is_empty() => findings.mismatch(at, "expected at least one, there is none"),
        None => {}
    }
    let mut looked_at: Vec<(usize, &Execution)> = found.iter().copied().enumerate().collect();
    if let Some(first) = many.first {
        if found.len() < first {
            findings.mismatch(at, format_args!("expected at least {first}, there are {}", found.len()));
        }
        looked_at.truncate(first);
    }
    if let Some(index) = many.index {
        let place = execution::place(index, found.len());
        looked_at.retain(|(at, _)| Some(*at) == place);
        if place.is_none() {
            findings.mismatch(at, format_args!("there is none with index {index}, there are {}", found.len()));
        }
    }
    for (index, execution) in &looked_at {
        let at = format!("{at} [{index}] {}", execution.id);
        execution::check(execution, properties, &at, seen, findings);
    }
    let executions: Vec<&Execution> = looked_at.into_iter().map(|(_, execution)| execution).collect();
    together(&executions, properties, at, seen, findings);
}

/// What is expected of all of them together.
fn together(all: &[&Execution], expected: &ExecutionProperties, at: &str, seen: &Seen, findings: &mut Findings) {
    if let Some(states) = &expected.states {
        let states = json!({ "$unordered": states });
        let saw = json!(all.iter().map(|execution| &execution.state).collect::<Vec<_>>());
        seen.compare(&states, Some(&saw), &format!("{at}: states"), findings);
    }
    if let Some(outputs) = &expected.outputs_all {
        let saw = json!(all.iter().map(|execution| execution.outputs.clone()).collect::<Vec<_>>());
        seen.compare(&json!(outputs), Some(&saw), &format!("{at}: outputs_all"), findings);
    }
    if let Some(labels) = &expected.labels_all {
        let saw = json!(all.iter().map(|execution| &execution.labels).collect::<Vec<_>>());
        seen.compare(&json!({ "$unordered": labels }), Some(&saw), &format!("{at}: labels_all"), findings);
    }
    if let Some(dates) = &expected.trigger_dates {
        trigger_dates(all, dates, at, seen, findings);
    }
}

fn trigger_dates(all: &[&Execution], dates: &[String], at: &str, seen: &Seen, findings: &mut Findings) {
    let at = format!("{at}: trigger_dates");
    let saw: Vec<Value> =
        all.iter().map(|execution| execution.trigger_variable("date").map_or(Value::Null, Value::from)).collect();
    let fits = |date: usize, execution: usize| {
        let expected = json!({ "$instant": dates[date] });
        compare(&expected, Some(&saw[execution]), &at, seen.files).is_empty()
    };
    if dates.len() != saw.len() || assign(dates.len(), saw.len(), fits).is_err() {
        findings.mismatch(&at, format_args!("expected {dates:?} in any order, saw {}", short(&json!(saw))));
    }
}

fn trigger_date(execution: &Execution) -> Option<chrono::DateTime<chrono::Utc>> {
    time::instant(execution.trigger_variable("date")?)
}
