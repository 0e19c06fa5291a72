//! Compares what a case expects with what was seen. No I/O: everything that is looked at has been fetched before.

mod execution;
mod executions;
mod requests;

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::{
    expectation::{Expectation, Outcome, StepProperties, TriggerName},
    findings::Findings,
    matching::{Files, compare},
    receiver::RecordedRequest,
    seen::World,
    template::resolve,
    time,
};

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepResult {
    pub outcome: Outcome,
    /// What the refusal says; empty when there was none.
    pub message: String,
    /// The revision that a deployment made or left.
    pub revision: Option<u32>,
    /// What a deployment or a validation warns of.
    pub warnings: Vec<String>,
}

impl StepResult {
    pub fn new(outcome: Outcome, message: String) -> Self {
        Self { outcome, message, revision: None, warnings: Vec::new() }
    }
}

/// A trigger as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TriggerSeen {
    pub disabled: bool,
    /// The date that it waits for.
    pub next: Option<DateTime<Utc>>,
}

/// Everything that can be looked at.
pub struct Seen<'a> {
    pub world: &'a World,
    pub steps: &'a HashMap<String, StepResult>,
    /// Deployments by file: the message of the refusal, if it was refused.
    pub deployments: &'a HashMap<String, Option<String>>,
    /// Each trigger that is looked at; absent: there is none.
    pub triggers: &'a HashMap<TriggerName, TriggerSeen>,
    pub requests: &'a [RecordedRequest],
    pub files: &'a dyn Files,
}

impl Seen<'_> {
    /// Compares with an expected value whose templates are replaced first.
    fn compare(&self, expected: &Value, seen: Option<&Value>, at: &str, findings: &mut Findings) {
        match resolve(expected, self.world) {
            Ok(expected) => findings.append(compare(&expected, seen, at, self.files)),
            Err(error) => findings.mismatch(at, error),
        }
    }
}

/// What the expectation finds.
pub fn check(expectation: &Expectation, seen: &Seen) -> Findings {
    let mut findings = Findings::default();
    match expectation {
        Expectation::Execution { names, at_creation, properties } => {
            executions::named(names, *at_creation, properties, seen, &mut findings);
        }
        Expectation::Triggered { selector, many, properties } => {
            executions::triggered(selector, many, properties, seen, &mut findings);
        }
        Expectation::Executions { selector, many, properties } => {
            executions::selected(selector, many, properties, seen, &mut findings);
        }
        Expectation::Step { names, properties } => {
            for name in names {
                step(name, properties, seen, &mut findings);
            }
        }
        Expectation::Deployment { file, accepted, error } => {
            deployment(file, *accepted, error.as_ref(), seen, &mut findings);
        }
        Expectation::Receiver { path, expected } => {
            requests::check(path.as_deref(), expected, seen, &mut findings);
        }
        Expectation::TriggerState { trigger, disabled, next } => {
            trigger_state(trigger, *disabled, next.as_ref(), seen, &mut findings);
        }
        Expectation::Kv => findings.missing(not_offered("KeyValueService.GetEntry")),
    }
    findings
}

/// The reason of a skip for want of a method.
pub fn not_offered(method: &str) -> String {
    format!("needs {method}, which the API does not have yet")
}

fn trigger_state(
    trigger: &TriggerName,
    disabled: Option<bool>,
    next: Option<&Value>,
    seen: &Seen,
    findings: &mut Findings,
) {
    let at = format!("trigger {} of {}.{}", trigger.trigger, trigger.namespace, trigger.flow);
    let Some(saw) = seen.triggers.get(trigger) else {
        return findings.mismatch(&at, "there is no such trigger");
    };
    if let Some(expected) = disabled.filter(|expected| *expected != saw.disabled) {
        findings.mismatch(&at, format_args!("expected disabled: {expected}, saw {}", saw.disabled));
    }
    if let Some(expected) = next {
        let next = saw.next.map(|next| json!(time::text(next)));
        seen.compare(expected, next.as_ref(), &format!("{at}: next"), findings);
    }
}

fn step(name: &str, expected: &StepProperties, seen: &Seen, findings: &mut Findings) {
    let at = format!("step {name}");
    let Some(result) = seen.steps.get(name) else {
        return findings.mismatch(&at, "no step has this name");
    };
    if let Some(outcome) = expected.outcome.filter(|outcome| *outcome != result.outcome) {
        let told = format!("{:?} {}", result.outcome, result.message);
        findings.mismatch(&at, format_args!("expected {outcome:?}, saw {told}"));
    }
    let mut property = |name: &str, expected: Option<&Value>, saw: Value| {
        if let Some(expected) = expected {
            seen.compare(expected, Some(&saw), &format!("{at}: {name}"), findings);
        }
    };
    property("error", expected.error.as_ref(), json!(result.message));
    property("revision", expected.revision.as_ref(), json!(result.revision));
    property("warnings", expected.warnings.as_ref(), json!(result.warnings));
}

fn deployment(file: &str, accepted: Option<bool>, error: Option<&Value>, seen: &Seen, findings: &mut Findings) {
    let at = format!("deployment of {file}");
    let Some(refusal) = seen.deployments.get(file) else {
        return findings.mismatch(&at, "it was not deployed");
    };
    match (accepted, refusal) {
        (Some(true), Some(message)) => findings.mismatch(&at, format_args!("expected to be accepted: {message}")),
        (Some(false), None) => findings.mismatch(&at, "expected to be refused, it was accepted"),
        _ => {}
    }
    if let (Some(error), Some(message)) = (error, refusal) {
        seen.compare(error, Some(&Value::from(message.as_str())), &format!("{at}: error"), findings);
    }
}
