//! Runs one case: deploys its flows, does its steps, and compares what is seen with what it expects.

mod steps;
mod waiting;

use std::{
    collections::{HashMap, hash_map::Entry},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use chrono::Utc;
use futures::{StreamExt, TryStreamExt, stream};
use rand::{Rng, distr::Alphanumeric};
use serde_json::Value;

use crate::{
    api::{Api, Refusal},
    case::{Case, CaseSource, Deploy, Placeholders, Step},
    check::{self, Seen, StepResult},
    expectation::{Expectation, Outcome},
    findings::Findings,
    matching::{Files, Unreadable},
    receiver::Receiver,
    seen::{Named, World},
    server::Server,
    webhook::Webhooks,
};

/// How a case ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Passed,
    Failed(String),
    /// The server lacks something: what.
    Skipped(String),
}

/// Why a case goes no further.
#[derive(Debug)]
enum Stop {
    Fail(String),
    Skip(String),
}

impl From<anyhow::Error> for Stop {
    fn from(error: anyhow::Error) -> Self {
        Self::Fail(format!("{error:#}"))
    }
}

impl From<String> for Stop {
    fn from(error: String) -> Self {
        Self::Fail(error)
    }
}

/// Whatever a refusal says where none was expected.
impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unsupported(what) => unsupported(&what),
            other => Self::Fail(format!("unexpected answer: {}", other.message())),
        }
    }
}

fn unsupported(what: &str) -> Stop {
    Stop::Skip(format!("UNSUPPORTED: {what}"))
}

/// Runs the case on this server, in a tenant of its own.
pub async fn run(source: &CaseSource, flows: &Path, server: &Server) -> Verdict {
    let verdict = match prepare(source, flows, server).await {
        Ok(mut run) => {
            let outcome = run.run().await;
            match outcome {
                Err(Stop::Fail(why)) => Err(Stop::Fail(run.with_story(why).await)),
                other => other,
            }
        }
        Err(error) => Err(Stop::from(error)),
    };
    match verdict {
        Ok(()) => Verdict::Passed,
        Err(Stop::Fail(why)) => Verdict::Failed(why),
        Err(Stop::Skip(why)) => Verdict::Skipped(why),
    }
}

async fn prepare<'a>(source: &CaseSource, flows: &'a Path, server: &Server) -> Result<Run<'a>> {
    let unique: String = rand::rng().sample_iter(Alphanumeric).take(12).map(char::from).collect();
    let receiver = Receiver::start().await?;
    let placeholders = Placeholders { receiver_url: receiver.url().to_owned() };
    let case = source.fill(&placeholders)?;
    let tenant = tenant_name(&case.name, &unique);
    let client = server.new_tenant(&tenant).await.with_context(|| format!("creating the tenant {tenant}"))?;
    Ok(Run {
        api: Api::new(client),
        webhooks: Webhooks::new(server.address())?,
        receiver,
        placeholders,
        flows,
        tenant,
        unique,
        named: HashMap::new(),
        first_ids: HashMap::new(),
        steps: HashMap::new(),
        deployments: HashMap::new(),
        case,
    })
}

/// A name that is new, tells the case, and has the form of a tenant's name.
fn tenant_name(case: &str, unique: &str) -> String {
    format!("{}-{case}", unique.to_ascii_lowercase()).chars().take(100).collect()
}

/// A case that is being run.
struct Run<'a> {
    case: Case,
    flows: &'a Path,
    tenant: String,
    unique: String,
    api: Api,
    webhooks: Webhooks,
    receiver: Receiver,
    placeholders: Placeholders,
    named: HashMap<String, Named>,
    first_ids: HashMap<String, String>,
    steps: HashMap<String, StepResult>,
    deployments: HashMap<String, Option<String>>,
}

/// Files of internal storage that the executions name, as they were downloaded; `None`: there is none.
#[derive(Default)]
struct Downloaded(HashMap<String, Option<Vec<u8>>>);

impl Files for Downloaded {
    fn content(&self, uri: &str) -> Result<Vec<u8>, Unreadable> {
        let found = self.0.get(uri).cloned().flatten();
        found.ok_or_else(|| Unreadable::Absent(format!("there is no file {uri}")))
    }
}

/// URIs of internal storage anywhere in a value.
fn uris(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::String(text) if text.starts_with("kestra:///") => into.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| uris(item, into)),
        Value::Object(map) => map.values().for_each(|item| uris(item, into)),
        _ => {}
    }
}

impl Run<'_> {
    async fn run(&mut self) -> Result<(), Stop> {
        for (name, value) in &self.case.secrets {
            self.api.put_secret(name, value).await?;
        }
        self.deploy_flows().await?;
        for (index, step) in self.case.steps.clone().into_iter().enumerate() {
            self.step(step).await.map_err(|stop| match stop {
                Stop::Fail(why) => Stop::Fail(format!("steps[{index}]: {why}")),
                skip => skip,
            })?;
        }
        let expect = self.case.expect.clone();
        self.wait_for_ends(&expect).await?;
        let mut was_quiet = self.quieten(&expect).await?;
        let mut findings = self.findings(&expect, "expect").await?;
        if !findings.mismatches.is_empty() && !was_quiet {
            // Something may still have been under way that nobody waits for.
            was_quiet = self.wait_until_quiet().await.is_ok();
            if was_quiet {
                findings = self.findings(&expect, "expect").await?;
            }
        }
        verdict(findings)
    }

    /// Deploys the flows of the case. Each must be accepted, unless the deployment itself is what is looked at.
    async fn deploy_flows(&mut self) -> Result<(), Stop> {
        let looked_at = self.case.steps.iter().any(|step| matches!(step, Step::Deploy(Deploy::All)));
        for file in self.case.flows.clone() {
            let source = self.source(&file)?;
            let refusal = refusal(self.deploy(source, None).await?);
            if let (Some(why), false) = (&refusal, looked_at) {
                return Err(Stop::Fail(format!("flow {file} was refused: {why}")));
            }
            self.deployments.insert(file, refusal);
        }
        Ok(())
    }

    /// The text of a flow's file with its placeholders replaced.
    fn source(&self, file: &str) -> Result<String> {
        if is_source(file) {
            return Ok(self.placeholders.fill(file));
        }
        let path = self.flows.join(file);
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        Ok(self.placeholders.fill(&text))
    }

    /// Deploys; a refusal is a result as well.
    async fn deploy(&self, source: String, only: Option<(&str, &str)>) -> Result<StepResult, Stop> {
        match self.api.apply(source, only).await {
            Ok(applied) => {
                let revision = applied.flow.map(|flow| flow.revision);
                let warnings = applied.warnings.into_iter().map(|warning| warning.message).collect();
                Ok(StepResult { revision, warnings, ..StepResult::new(Outcome::Ok, String::new()) })
            }
            Err(refusal) => refused(refusal),
        }
    }

    async fn findings(&self, expect: &[Expectation], what: &str) -> Result<Findings, Stop> {
        let world = self.world(true).await?;
        let requests = self.receiver.requests();
        let mut triggers = HashMap::new();
        for expectation in expect {
            let Expectation::TriggerState { trigger: name, .. } = expectation else { continue };
            let found = self.api.trigger((&name.namespace, &name.flow, &name.trigger)).await?;
            triggers.extend(found.map(|found| (name.clone(), found)));
        }
        let files = self.files_of(&world).await?;
        let seen = Seen {
            world: &world,
            steps: &self.steps,
            deployments: &self.deployments,
            triggers: &triggers,
            requests: &requests,
            files: &files,
        };
        let mut all = Findings::default();
        for (index, expectation) in expect.iter().enumerate() {
            let mut found = check::check(expectation, &seen);
            for mismatch in &mut found.mismatches {
                mismatch.insert_str(0, &format!("{what}[{index}] "));
            }
            all.append(found);
        }
        Ok(all)
    }

    /// The files that outputs of the executions name.
    async fn files_of(&self, world: &World) -> Result<Downloaded, Refusal> {
        let mut named = Vec::new();
        for execution in &world.executions {
            let of_tasks = execution.task_runs.iter().map(|run| &run.outputs);
            of_tasks.chain([&execution.outputs]).flatten().for_each(|outputs| uris(outputs, &mut named));
        }
        let mut files = Downloaded::default();
        for uri in named {
            if let Entry::Vacant(place) = files.0.entry(uri) {
                let content = self.api.download(place.key()).await?;
                place.insert(content);
            }
        }
        Ok(files)
    }

    /// Everything that is in the tenant now.
    async fn world(&self, with_logs: bool) -> Result<World, Refusal> {
        let mut executions = self.api.list(String::new()).await?;
        if with_logs {
            let logs = stream::iter(executions.iter().map(|execution| self.api.logs(&execution.id)));
            let logs: Vec<_> = logs.buffered(8).try_collect().await?;
            for (execution, logs) in executions.iter_mut().zip(logs) {
                execution.logs = logs;
            }
        }
        Ok(World { executions, ..self.names() })
    }

    /// What the steps made, without looking at what became of it.
    fn names(&self) -> World {
        World {
            named: self.named.clone(),
            first_ids: self.first_ids.clone(),
            executions: Vec::new(),
            unique: self.unique.clone(),
            now: Utc::now(),
        }
    }

    /// The failure with what is needed to understand it: the executions and requests of the case.
    async fn with_story(&self, why: String) -> String {
        let mut text = why;
        let world = self.world(true).await.unwrap_or_else(|_| self.names());
        for execution in &world.executions {
            text.push_str(&format!("\n{}", execution.summary()));
        }
        for request in self.receiver.requests() {
            text.push_str(&format!("\nrequest {}", request.summary()));
        }
        text
    }
}

/// What findings mean for the case. Whatever is wrong weighs more than what could not be looked at.
fn verdict(findings: Findings) -> Result<(), Stop> {
    if !findings.mismatches.is_empty() {
        return Err(Stop::Fail(findings.mismatches.join("\n")));
    }
    match findings.missing.into_iter().next() {
        Some(missing) => Err(Stop::Skip(missing)),
        None => Ok(()),
    }
}

/// The result of a step that was refused; what the server does not have ends the case, and a fault as well.
fn refused(refusal: Refusal) -> Result<StepResult, Stop> {
    match refusal {
        Refusal::NotFound(message) => Ok(StepResult::new(Outcome::NotFound, message)),
        Refusal::Rejected(message) => Ok(StepResult::new(Outcome::Rejected, message)),
        other => Err(Stop::from(other)),
    }
}

/// What a deployment was refused with.
fn refusal(result: StepResult) -> Option<String> {
    (result.outcome != Outcome::Ok).then_some(result.message)
}

/// A flow that a case writes out itself, instead of naming a file.
pub(crate) fn is_source(file: &str) -> bool {
    file.contains('\n')
}

/// A moment that waits end at.
#[derive(Debug, Clone, Copy)]
struct Deadline(Instant);

impl Deadline {
    fn after(timeout: Duration) -> Self {
        Self(Instant::now() + timeout)
    }

    fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    fn has_passed(self) -> bool {
        self.left().is_zero()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_weighs_more_than_what_is_missing() {
        let findings = |mismatches: &[&str], missing: &[&str]| Findings {
            mismatches: mismatches.iter().map(|text| (*text).to_owned()).collect(),
            missing: missing.iter().map(|text| (*text).to_owned()).collect(),
        };
        assert!(verdict(findings(&[], &[])).is_ok());
        assert!(matches!(verdict(findings(&[], &["files"])), Err(Stop::Skip(why)) if why == "files"));
        assert!(matches!(verdict(findings(&["wrong"], &["files"])), Err(Stop::Fail(why)) if why == "wrong"));
    }

    #[test]
    fn unsupported_is_no_rejection() {
        let result = refused(Refusal::Rejected("no".into()));
        assert!(matches!(result, Ok(StepResult { outcome: Outcome::Rejected, .. })));
        let stop = refused(Refusal::Unsupported("type Dag".into()));
        assert!(matches!(stop, Err(Stop::Skip(why)) if why == "UNSUPPORTED: type Dag"));
        assert!(matches!(refused(Refusal::Fault("boom".into())), Err(Stop::Fail(_))));
    }

    #[test]
    fn tenants_have_names_of_the_right_form() {
        let name = tenant_name(&"long-".repeat(30), "AbC0");
        assert!(name.len() == 100 && name.starts_with("abc0-long-"), "{name}");
    }
}
