//! The gRPC API as a case's tenant uses it, in the terms of the cases.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use tonic::Code;
use windhover_client::{
    Client, ClientError, reasons,
    v1::{self, State, View},
};

use crate::{
    check::{StepResult, TriggerSeen},
    expectation::Outcome,
    seen,
};

/// Why a call did not do what it was asked for.
#[derive(Debug, Clone)]
pub enum Refusal {
    /// What it speaks of does not exist.
    NotFound(String),
    /// The request is wrong, or cannot be done as things are.
    Rejected(String),
    /// The server does not have what is asked for, and says so.
    Unsupported(String),
    /// The server did not answer as a working server does.
    Fault(String),
}

impl Refusal {
    pub fn message(&self) -> &str {
        match self {
            Self::NotFound(message) | Self::Rejected(message) | Self::Unsupported(message) | Self::Fault(message) => {
                message
            }
        }
    }
}

impl From<ClientError> for Refusal {
    fn from(error: ClientError) -> Self {
        let mut message = error.message.clone();
        for field in &error.fields {
            message.push_str(&format!("\n{}: {}", field.field, field.description));
        }
        if error.reason == reasons::UNSUPPORTED {
            // Each thing once: the reasons of skips are counted.
            let what: BTreeSet<&str> = error.fields.iter().map(|field| field.description.as_str()).collect();
            let what: Vec<&str> = what.into_iter().collect();
            return Self::Unsupported(if what.is_empty() { error.message.clone() } else { what.join("; ") });
        }
        match error.code {
            Code::NotFound => Self::NotFound(message),
            Code::InvalidArgument
            | Code::FailedPrecondition
            | Code::AlreadyExists
            | Code::Aborted
            | Code::OutOfRange
            | Code::PermissionDenied => Self::Rejected(message),
            Code::Unimplemented => Self::Unsupported(message),
            code => Self::Fault(format!("{code:?} {message}")),
        }
    }
}

/// What to start.
#[derive(Debug, Clone, Default)]
pub struct NewExecution {
    pub namespace: String,
    pub flow: String,
    /// The newest one if absent.
    pub revision: Option<u32>,
    /// All as texts.
    pub inputs: BTreeMap<String, String>,
    pub labels: Vec<(String, String)>,
    pub schedule: Option<DateTime<Utc>>,
}

/// Namespace, flow and id of a trigger.
pub type Trigger<'a> = (&'a str, &'a str, &'a str);

/// What changes when something happens to an execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sign {
    pub id: String,
    pub state: String,
    etag: String,
}

/// The API in one tenant.
#[derive(Debug, Clone)]
pub struct Api {
    client: Client,
}

impl Api {
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// Deploys a flow; `only` is the flow that it must be.
    pub async fn apply(&self, source: String, only: Option<(&str, &str)>) -> Result<v1::ApplyFlowResponse, Refusal> {
        let (namespace, flow_id) = only.unwrap_or_default();
        let request = v1::ApplyFlowRequest {
            source,
            namespace: namespace.to_owned(),
            flow_id: flow_id.to_owned(),
            ..v1::ApplyFlowRequest::default()
        };
        Ok(self.client.apply_flow_request(request).await?)
    }

    /// What is wrong with a source, as the result of a step.
    pub async fn validate(&self, source: String) -> Result<StepResult, Refusal> {
        let answer = self.client.validate_flow(v1::ValidateFlowRequest { source }).await?;
        let (warnings, errors): (Vec<_>, Vec<_>) =
            answer.violations.into_iter().partition(|one| one.severity() == v1::Severity::Warning);
        let told = |one: v1::Violation| format!("{}: {}", one.path, one.message);
        let outcome = if answer.valid { Outcome::Ok } else { Outcome::Rejected };
        let message = errors.into_iter().map(told).collect::<Vec<_>>().join("\n");
        let warnings = warnings.into_iter().map(|one| one.message).collect();
        Ok(StepResult { warnings, ..StepResult::new(outcome, message) })
    }

    /// `revision`: only if this is still the newest one.
    pub async fn delete_flow(&self, namespace: &str, flow: &str, revision: Option<u32>) -> Result<(), Refusal> {
        let mut etag = String::new();
        if revision.is_some() {
            let request = v1::GetFlowRequest { namespace: namespace.to_owned(), flow_id: flow.to_owned(), revision };
            etag = self.client.get_flow(request).await?.flow.unwrap_or_default().etag;
        }
        let request = v1::DeleteFlowRequest {
            namespace: namespace.to_owned(),
            flow_id: flow.to_owned(),
            etag,
            ..v1::DeleteFlowRequest::default()
        };
        self.client.delete_flow(request).await?;
        Ok(())
    }

    pub async fn create(&self, new: NewExecution) -> Result<seen::Execution, Refusal> {
        let request = v1::CreateExecutionRequest {
            namespace: new.namespace,
            flow_id: new.flow,
            revision: new.revision,
            inputs: new.inputs.into_iter().map(|(id, text)| (id, windhover_client::json(&Value::from(text)))).collect(),
            labels: new.labels.into_iter().map(|(key, value)| v1::Label { key, value }).collect(),
            schedule_time: new.schedule.map(|at| std::time::SystemTime::from(at).into()),
            ..v1::CreateExecutionRequest::default()
        };
        execution(self.client.create_execution(request).await?)
    }

    /// Sends a file for an input; answers the input's value.
    pub async fn upload_input(&self, name: &str, content: Vec<u8>) -> Result<String, Refusal> {
        Ok(self.client.upload_input(name, content).await?.file.unwrap_or_default().uri)
    }

    pub async fn put_namespace_file(&self, namespace: &str, path: &str, content: Vec<u8>) -> Result<(), Refusal> {
        self.client.upload_namespace_file(namespace, path, content).await?;
        Ok(())
    }

    /// `None`: there is no such file.
    pub async fn download(&self, uri: &str) -> Result<Option<Vec<u8>>, Refusal> {
        match self.client.download(uri).await.map_err(Refusal::from) {
            Ok(content) => Ok(Some(content)),
            Err(Refusal::NotFound(_)) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    pub async fn put_entry(&self, namespace: &str, key: &str, value: &Value) -> Result<(), Refusal> {
        let request = v1::PutEntryRequest {
            namespace: namespace.to_owned(),
            key: key.to_owned(),
            value: Some(windhover_client::json(value)),
            ..v1::PutEntryRequest::default()
        };
        self.client.put_entry(request).await?;
        Ok(())
    }

    pub async fn kill(&self, id: &str) -> Result<(), Refusal> {
        let request = v1::KillExecutionRequest { execution_id: id.to_owned(), ..v1::KillExecutionRequest::default() };
        self.client.kill_execution(request).await?;
        Ok(())
    }

    pub async fn pause(&self, id: &str) -> Result<(), Refusal> {
        let request = v1::PauseExecutionRequest { execution_id: id.to_owned(), ..Default::default() };
        self.client.pause_execution(request).await?;
        Ok(())
    }

    /// All inputs are sent as texts.
    pub async fn resume(&self, id: &str, inputs: &BTreeMap<String, String>) -> Result<(), Refusal> {
        let request = v1::ResumeExecutionRequest {
            execution_id: id.to_owned(),
            inputs: (inputs.iter())
                .map(|(id, text)| (id.clone(), windhover_client::json(&Value::from(text.as_str()))))
                .collect(),
            ..Default::default()
        };
        self.client.resume_execution(request).await?;
        Ok(())
    }

    pub async fn restart(&self, id: &str) -> Result<(), Refusal> {
        let request = v1::RestartExecutionRequest { execution_id: id.to_owned(), ..Default::default() };
        self.client.restart_execution(request).await?;
        Ok(())
    }

    /// A new execution that goes on with another revision.
    pub async fn restart_with(&self, id: &str, revision: u32) -> Result<seen::Execution, Refusal> {
        let request =
            v1::RestartExecutionRequest { execution_id: id.to_owned(), revision: Some(revision), ..Default::default() };
        let made = self.client.restart_execution(request).await?.execution;
        execution(made.ok_or_else(|| Refusal::Fault("RestartExecution left out the execution".into()))?)
    }

    /// A new execution of an old one, from its beginning or from this task run.
    pub async fn replay(&self, id: &str, task_run: Option<String>) -> Result<seen::Execution, Refusal> {
        let request = v1::ReplayExecutionRequest {
            execution_id: id.to_owned(),
            task_run_id: task_run.unwrap_or_default(),
            ..Default::default()
        };
        let made = self.client.replay_execution(request).await?.execution;
        execution(made.ok_or_else(|| Refusal::Fault("ReplayExecution left out the execution".into()))?)
    }

    pub async fn delete(&self, id: &str) -> Result<(), Refusal> {
        let request = v1::DeleteExecutionRequest { execution_id: id.to_owned(), ..Default::default() };
        self.client.delete_execution(request).await?;
        Ok(())
    }

    pub async fn force_run(&self, id: &str) -> Result<(), Refusal> {
        let request = v1::ForceRunExecutionRequest { execution_id: id.to_owned(), ..Default::default() };
        self.client.force_run_execution(request).await?;
        Ok(())
    }

    pub async fn unqueue(&self, id: &str) -> Result<(), Refusal> {
        let request = v1::UnqueueExecutionRequest { execution_id: id.to_owned(), ..Default::default() };
        self.client.unqueue_execution(request).await?;
        Ok(())
    }

    pub async fn change_state(&self, id: &str, state: State) -> Result<(), Refusal> {
        let request =
            v1::ChangeExecutionStateRequest { execution_id: id.to_owned(), state: state.into(), ..Default::default() };
        self.client.change_execution_state(request).await?;
        Ok(())
    }

    pub async fn change_task_run(&self, id: &str, task_run: &str, state: State) -> Result<(), Refusal> {
        let request = v1::ChangeTaskRunStateRequest {
            execution_id: id.to_owned(),
            task_run_id: task_run.to_owned(),
            state: state.into(),
            ..Default::default()
        };
        self.client.change_task_run_state(request).await?;
        Ok(())
    }

    pub async fn set_labels(&self, id: &str, labels: impl Iterator<Item = (String, String)>) -> Result<(), Refusal> {
        let labels = labels.map(|(key, value)| v1::Label { key, value }).collect();
        let request = v1::SetExecutionLabelsRequest { execution_id: id.to_owned(), labels, ..Default::default() };
        self.client.set_execution_labels(request).await?;
        Ok(())
    }

    /// Runs a schedule for the dates between two instants.
    pub async fn backfill(
        &self,
        (namespace, flow, trigger): Trigger<'_>,
        start: DateTime<Utc>,
        end: DateTime<Utc>,
        labels: impl Iterator<Item = (String, String)>,
    ) -> Result<(), Refusal> {
        let request = v1::CreateBackfillRequest {
            namespace: namespace.to_owned(),
            flow_id: flow.to_owned(),
            trigger_id: trigger.to_owned(),
            start: Some(std::time::SystemTime::from(start).into()),
            end: Some(std::time::SystemTime::from(end).into()),
            labels: labels.map(|(key, value)| v1::Label { key, value }).collect(),
            ..Default::default()
        };
        self.client.create_backfill(request).await?;
        Ok(())
    }

    pub async fn pause_backfill(&self, (namespace, flow, trigger): Trigger<'_>) -> Result<(), Refusal> {
        let request = v1::PauseBackfillRequest {
            namespace: namespace.to_owned(),
            flow_id: flow.to_owned(),
            trigger_id: trigger.to_owned(),
        };
        self.client.pause_backfill(request).await?;
        Ok(())
    }

    pub async fn resume_backfill(&self, (namespace, flow, trigger): Trigger<'_>) -> Result<(), Refusal> {
        let request = v1::ResumeBackfillRequest {
            namespace: namespace.to_owned(),
            flow_id: flow.to_owned(),
            trigger_id: trigger.to_owned(),
        };
        self.client.resume_backfill(request).await?;
        Ok(())
    }

    pub async fn set_trigger_disabled(
        &self,
        (namespace, flow, trigger): Trigger<'_>,
        disabled: bool,
    ) -> Result<(), Refusal> {
        let request = v1::SetTriggerDisabledRequest {
            namespace: namespace.to_owned(),
            flow_id: flow.to_owned(),
            trigger_id: trigger.to_owned(),
            disabled,
        };
        self.client.set_trigger_disabled(request).await?;
        Ok(())
    }

    /// How the trigger stands; `None`: there is no such trigger.
    pub async fn trigger(&self, (namespace, flow, trigger): Trigger<'_>) -> Result<Option<TriggerSeen>, Refusal> {
        let request = v1::GetTriggerRequest {
            namespace: namespace.to_owned(),
            flow_id: flow.to_owned(),
            trigger_id: trigger.to_owned(),
        };
        match self.client.get_trigger(request).await.map_err(Refusal::from) {
            Ok(response) => Ok(response
                .trigger
                .map(|trigger| TriggerSeen { disabled: trigger.disabled, next: trigger.next_date.and_then(instant) })),
            Err(Refusal::NotFound(_)) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// Waits for the state (`None`: any final one), the end, or the timeout; whichever comes first.
    pub async fn wait(&self, id: &str, state: Option<State>, timeout: Duration) -> Result<seen::Execution, Refusal> {
        let states: Vec<State> = state.into_iter().collect();
        let response = self.client.wait_for(id, &states, Some(timeout)).await?;
        execution(response.execution.ok_or_else(|| Refusal::Fault("WaitExecution left out the execution".into()))?)
    }

    /// The execution with all its task runs, without its log lines.
    pub async fn get(&self, id: &str) -> Result<seen::Execution, Refusal> {
        let request = v1::GetExecutionRequest { execution_id: id.to_owned(), view: View::Full.into() };
        let found = self.client.get_execution(request).await?.execution;
        self.complete(found.ok_or_else(|| Refusal::Fault("GetExecution left out the execution".into()))?).await
    }

    /// The task runs that an answer has no room for.
    async fn complete(&self, mut found: v1::Execution) -> Result<seen::Execution, Refusal> {
        if found.more_task_runs {
            found.task_runs.clear();
            let mut request = v1::ListTaskRunsRequest {
                execution_id: found.id.clone(),
                page_size: 1_000,
                view: View::Full.into(),
                ..v1::ListTaskRunsRequest::default()
            };
            loop {
                let page = self.client.list_task_runs(request.clone()).await?;
                found.task_runs.extend(page.task_runs);
                if page.next_page_token.is_empty() {
                    break;
                }
                request.page_token = page.next_page_token;
            }
        }
        execution(found)
    }

    pub async fn logs(&self, id: &str) -> Result<Vec<seen::LogLine>, Refusal> {
        let lines = self.client.logs(id).await?;
        Ok(lines.into_iter().map(log_line).collect())
    }

    /// Executions in order of creation, without log lines.
    pub async fn list(&self, filter: String) -> Result<Vec<seen::Execution>, Refusal> {
        let mut all = Vec::new();
        for found in self.pages(filter, View::Full).await? {
            all.push(self.complete(found).await?);
        }
        all.reverse();
        Ok(all)
    }

    /// What shows whether anything happens in the tenant.
    pub async fn signs(&self) -> Result<Vec<(Sign, seen::Execution)>, Refusal> {
        let found = self.pages(String::new(), View::Basic).await?;
        found
            .into_iter()
            .map(|found| {
                let etag = found.etag.clone();
                let execution = execution(found)?;
                Ok((Sign { id: execution.id.clone(), state: execution.state.clone(), etag }, execution))
            })
            .collect()
    }

    async fn pages(&self, filter: String, view: View) -> Result<Vec<v1::Execution>, Refusal> {
        let mut request = v1::ListExecutionsRequest {
            page_size: 100,
            filter,
            view: view.into(),
            ..v1::ListExecutionsRequest::default()
        };
        let mut all = Vec::new();
        loop {
            let page = self.client.list_executions(request.clone()).await?;
            all.extend(page.executions);
            if page.next_page_token.is_empty() {
                return Ok(all);
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Sets a secret for all namespaces.
    pub async fn put_secret(&self, name: &str, value: &str) -> Result<(), Refusal> {
        self.client.put_secret("", name, value).await?;
        Ok(())
    }
}

fn execution(found: v1::Execution) -> Result<seen::Execution, Refusal> {
    let (state, history) = states(found.state.as_ref());
    let labels = found.labels.into_iter().map(|label| (label.key, Value::from(label.value)));
    let trigger = match found.trigger {
        None => None,
        Some(trigger) => Some(json!({
            "id": trigger.id, "type": trigger.r#type, "variables": value(trigger.variables)?,
        })),
    };
    Ok(seen::Execution {
        parent: Some(found.replayed_from_id).filter(|id| !id.is_empty()),
        id: found.id,
        namespace: found.namespace,
        flow: found.flow_id,
        revision: found.flow_revision,
        state,
        history,
        labels: labels.collect::<Map<_, _>>(),
        inputs: value(found.inputs)?,
        outputs: value(found.outputs)?,
        trigger,
        schedule_date: found.schedule_time.and_then(instant),
        started: found.started.and_then(instant),
        error: found.error.map(|error| error.message),
        task_runs: found.task_runs.into_iter().map(task_run).collect::<Result<_, _>>()?,
        logs: Vec::new(),
    })
}

fn task_run(found: v1::TaskRun) -> Result<seen::TaskRun, Refusal> {
    let (state, history) = states(found.state.as_ref());
    Ok(seen::TaskRun {
        id: found.id,
        task: found.task_id,
        values: found.value_path,
        state,
        history,
        attempts: found.attempts.len(),
        outputs: value(found.outputs)?,
        error: found.attempts.last().map(|attempt| attempt.error.clone()).filter(|error| !error.is_empty()),
    })
}

fn log_line(found: v1::LogLine) -> seen::LogLine {
    seen::LogLine {
        level: found.level().short_name().to_owned(),
        task: Some(found.task_id).filter(|task| !task.is_empty()),
        message: found.message,
    }
}

fn states(found: Option<&v1::StateHistory>) -> (String, seen::History) {
    let Some(found) = found else {
        return (String::new(), Vec::new());
    };
    let entry = |change: &v1::StateChange| {
        (change.state().short_name().to_owned(), change.at.and_then(instant).unwrap_or_default())
    };
    (found.current().short_name().to_owned(), found.history.iter().map(entry).collect())
}

fn value(found: Option<v1::Json>) -> Result<Option<Value>, Refusal> {
    let parse = |json: v1::Json| {
        serde_json::from_str(&json.text).map_err(|error| Refusal::Fault(format!("no JSON ({error}): {}", json.text)))
    };
    found.map(parse).transpose()
}

fn instant(at: prost_types::Timestamp) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(at.seconds, u32::try_from(at.nanos).ok()?)
}
