//! What the `*Execution` tasks say about an execution (notifications reference 2).

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;
use windhover_engine::Execution;
use windhover_types::{Id, JsonMap, Level, State};

use crate::{TaskContext, TaskError};

/// How an execution that is not there yet is looked for: first after 1 s, then twice as long each time (2.2).
const FIRST_DELAY: Duration = Duration::from_secs(1);
const MAX_DELAY: Duration = Duration::from_secs(15);
const GIVE_UP: Duration = Duration::from_secs(600);

/// What is told about an execution, in pieces that each target puts together in its own way.
#[derive(Debug)]
pub(super) struct Notice {
    pub(super) execution: Execution,
    /// UI address; `None` when `kestra.url` is not set.
    pub(super) link: Option<String>,
    /// Id of the last of the considered task runs; empty when there is none.
    pub(super) last_task: String,
    /// The last task run failed: its task id.
    pub(super) first_failed: Option<String>,
    pub(super) custom_message: Option<String>,
    pub(super) custom_fields: JsonMap,
}

/// Which state an execution must be in before it is told about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Any,
    Exactly(State),
    Ended,
}

impl Wanted {
    fn is(self, state: State) -> bool {
        match self {
            Wanted::Any => true,
            Wanted::Exactly(wanted) => state == wanted,
            Wanted::Ended => state.is_terminal(),
        }
    }
}

impl Notice {
    /// Waits for the execution and gathers what is told about it.
    pub(super) async fn load(context: &TaskContext) -> Result<Self, TaskError> {
        let given = context.text("executionId").await?.map(|id| id.trim().to_owned()).filter(|id| !id.is_empty());
        let not_found = |id: &str| TaskError::failed(format!("Unable to find execution '{id}'"));
        let id = match &given {
            None => context.execution,
            Some(text) => text.parse().map_err(|_| not_found(text))?,
        };
        let current = id == context.execution;
        if current {
            context.log(Level::Info, "Loading the data of the current execution");
        }
        let wanted = if current { Wanted::Any } else { wanted(context.trigger_state.as_deref()) };
        let execution = wait_for(context, id, wanted).await?.ok_or_else(|| not_found(&id.to_string()))?;
        let last = last_task(context, id, current).await?;
        Ok(Self {
            link: context.services.url.as_deref().map(|url| link(url, &execution)),
            first_failed: last.as_ref().filter(|(_, state)| state.is_failed()).map(|(task, _)| task.clone()),
            last_task: last.map(|(task, _)| task).unwrap_or_default(),
            execution,
            custom_message: context.text("customMessage").await?,
            custom_fields: context.map("customFields").await?.unwrap_or_default(),
        })
    }

    pub(super) fn state(&self) -> State {
        self.execution.state.current()
    }

    /// Start date in whole seconds since the epoch.
    pub(super) fn start_seconds(&self) -> i64 {
        self.execution.state.started().as_millis().div_euclid(1_000)
    }

    /// `RESULT after DURATION` (2.4).
    pub(super) fn result(&self) -> String {
        let duration = clock(self.execution.state.duration());
        match &self.first_failed {
            Some(task) => format!("Failed on task `{task}` after {duration}"),
            None => format!("Succeeded after {duration}"),
        }
    }

    /// `[namespace] flow ➛ state` (2.4).
    pub(super) fn head(&self) -> String {
        format!("[{}] {} ➛ {}", self.execution.namespace, self.execution.flow_id, self.state())
    }

    /// Head with its link, and the result, in the marks of Slack (2.4).
    pub(super) fn summary(&self) -> String {
        let head = match &self.link {
            Some(link) => format!("*<{link}|{}>*", self.head()),
            None => format!("*{}*", self.head()),
        };
        format!("{head}\n> {}", self.result())
    }
}

/// An optional text property as a JSON member; absent when it is not set.
pub(super) async fn set_text(
    context: &TaskContext,
    body: &mut JsonMap,
    key: &str,
    property: &str,
) -> Result<(), TaskError> {
    if let Some(text) = context.text(property).await? {
        body.insert(key.to_owned(), Value::String(text));
    }
    Ok(())
}

fn wanted(trigger_state: Option<&str>) -> Wanted {
    match trigger_state.map(str::parse::<State>) {
        Some(Ok(State::Running)) => Wanted::Any,
        Some(Ok(state)) => Wanted::Exactly(state),
        // No Flow trigger, or one that does not tell a state.
        _ => Wanted::Ended,
    }
}

async fn wait_for(context: &TaskContext, id: Id, wanted: Wanted) -> Result<Option<Execution>, TaskError> {
    let source = &context.services.executions;
    let give_up = Instant::now() + GIVE_UP;
    let mut delay = FIRST_DELAY;
    loop {
        let found = source.execution(&context.tenant, id).await.map_err(TaskError::failed)?;
        if let Some(execution) = found.filter(|execution| wanted.is(execution.state.current())) {
            return Ok(Some(execution));
        }
        let left = give_up.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        source.changed(&context.tenant, id, delay.min(left)).await;
        delay = (delay * 2).min(MAX_DELAY);
    }
}

/// Task id and state of the last task run that counts: of the current execution, all do but the one that tells; of
/// another, those that failed, or else those that succeeded.
async fn last_task(context: &TaskContext, id: Id, current: bool) -> Result<Option<(String, State)>, TaskError> {
    let considered: &[Option<State>] = if current { &[None] } else { &[Some(State::Failed), Some(State::Success)] };
    let but = current.then_some(context.task_run);
    for state in considered {
        let last = context.services.executions.last_task_run(&context.tenant, id, *state, but).await;
        if let Some(run) = last.map_err(TaskError::failed)? {
            return Ok(Some((run.task_id, run.state.current())));
        }
    }
    Ok(None)
}

fn link(url: &str, execution: &Execution) -> String {
    let Execution { tenant, namespace, flow_id, id, .. } = execution;
    format!("{}/ui/{tenant}/executions/{namespace}/{flow_id}/{id}", url.trim_end_matches('/'))
}

/// `HH:MM:SS.mmm`.
pub(crate) fn clock(duration: Duration) -> String {
    let (seconds, millis) = (duration.as_secs(), duration.subsec_millis());
    format!("{:02}:{:02}:{:02}.{millis:03}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}
