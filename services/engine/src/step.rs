//! What goes into the engine and what comes out of it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use windhover_expression::{ExpressionError, TemplateCache, Zone};
use windhover_flow::{Flow, Task};
use windhover_types::{Id, JsonMap, Label, Level, State, Timestamp};

use crate::{Attempt, Execution, LogLine, MetricKind, ParentLink, RenderContext, TaskMetric, TaskRun, TriggerInfo};

/// Something that happened to an execution.
///
/// A doubled event changes nothing; a late one only settles the attempt that it is about. Events that cross processes
/// or wait in the inbox are stored as JSON with a version; see [`Event::VERSION`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The execution is new, or was loaded again: whatever is due is derived from its state.
    Advance,
    /// A worker has begun the attempt of this dispatch.
    JobStarted { task_run: Id, dispatch: u32, worker: String, at: Timestamp },
    /// The attempt of this dispatch is over. `at` is the worker's time.
    JobEnded { task_run: Id, dispatch: u32, result: Box<JobResult> },
    /// The lease of this dispatch ran out: nobody knows whether the attempt ran.
    JobLost { task_run: Id, dispatch: u32 },
    /// The subflow that this task run waits for has ended.
    SubflowEnded { task_run: Id, execution: Id, state: State, outputs: Option<JsonMap> },
    /// A timer that the engine set has fired.
    TimerFired { timer: Timer },
    /// Somebody wants the execution to end. Doubles are harmless.
    Kill,
}

impl Event {
    /// Version of the stored form; an unknown one parks the execution.
    pub const VERSION: u16 = 1;
}

/// How an attempt ended, as the worker (or the executor, inline) saw it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobResult {
    pub started_at: Timestamp,
    pub ended_at: Timestamp,
    pub worker: Option<String>,
    /// SUCCESS, WARNING, FAILED, KILLED; before `allowFailure` and the like.
    pub state: State,
    pub outputs: Option<Value>,
    pub error: Option<String>,
    /// Lines that travel with the result of a quick task. Secrets are masked already.
    #[serde(skip)]
    pub logs: Vec<LogLine>,
    #[serde(skip)]
    pub metrics: Vec<TaskMetric>,
}

/// A timer of an execution; (execution, timer) is its identity.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "timer", rename_all = "snake_case")]
pub enum Timer {
    /// A failed task run is tried again.
    Retry { task_run: Id, attempt: u32 },
    /// A Sleep task is over.
    Sleep { task_run: Id, attempt: u32 },
    /// The execution's schedule time has come.
    Schedule,
    /// A killed execution no longer waits for its workers.
    KillGrace,
}

/// What the engine wants done. Everything but the jobs and hints is committed with the change that asked for it.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Hand this to a worker, under a lease.
    StartJob(Job),
    /// The job of this dispatch is settled: its row goes.
    EndJob {
        task_run: Id,
        dispatch: u32,
    },
    /// Workers are told to stop this attempt.
    CancelJob {
        task_run: Id,
        dispatch: u32,
    },
    SetTimer {
        timer: Timer,
        at: Timestamp,
    },
    ClearTimer {
        timer: Timer,
    },
    /// Start a subflow. Its id is derived; made twice it is made once.
    CreateExecution(Box<NewExecution>),
    /// Tell the waiting parent that this execution has ended (an inbox row for the parent's shard).
    NotifyParent {
        execution: Id,
        event: Event,
    },
    /// Tell the children that this execution was killed.
    KillChild {
        execution: Id,
    },
    Log(LogLine),
    Metric(TaskMetric),
    /// The execution has entered a state: Flow triggers are evaluated, followers are told, counters move.
    ExecutionState {
        from: Option<State>,
        to: State,
    },
    /// A task run has entered a terminal state: counters move.
    TaskRunEnded {
        task_run: Id,
    },
}

/// One attempt of one task run, for a worker.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    pub task_run: Id,
    pub task_id: String,
    /// From 0.
    pub attempt: u32,
    pub dispatch: u32,
    /// Roots of the expressions that the task's templates touch, as they were when the job was made.
    pub variables: JsonMap,
    /// Key of the worker group, if the task names one.
    pub worker_group: Option<String>,
}

impl Job {
    /// The job of the present dispatch of a task run.
    pub(crate) fn of(task: &Task, task_run: &TaskRun, variables: JsonMap) -> Self {
        Self {
            task_run: task_run.id,
            task_id: task_run.task_id.clone(),
            attempt: task_run.job_attempt(),
            dispatch: task_run.dispatch,
            variables,
            worker_group: task.worker_group.as_ref().map(|group| group.key.clone()),
        }
    }
}

/// An execution to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct NewExecution {
    pub id: Id,
    pub namespace: String,
    pub flow_id: String,
    pub flow_revision: u32,
    pub labels: Vec<Label>,
    pub inputs: Arc<JsonMap>,
    pub variables: Option<Arc<JsonMap>>,
    pub trigger: Option<TriggerInfo>,
    pub parent: Option<ParentLink>,
    pub schedule_time: Option<Timestamp>,
    pub trace_parent: Option<String>,
}

/// What the engine must know of the world before it can go on: a key that the shell looks up.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Fact {
    /// A flow that a Subflow task names; the newest revision when none is given.
    Flow { namespace: String, flow_id: String, revision: Option<u32> },
    /// Ended task runs of this task (`None` = of every task) of this execution.
    Outputs { task_id: Option<String> },
    /// A secret of the namespace or its parents; `key` in upper case.
    Secret { namespace: String, key: String },
}

impl Fact {
    /// The text that stands for it in [`ExpressionError::Needs`]: JSON, since names may hold any character.
    pub(crate) fn key(&self) -> String {
        let parts = match self {
            Fact::Flow { namespace, flow_id, revision } => serde_json::json!(["flow", namespace, flow_id, revision]),
            Fact::Outputs { task_id: Some(task_id) } => serde_json::json!(["outputs", task_id]),
            Fact::Outputs { task_id: None } => serde_json::json!(["outputs"]),
            Fact::Secret { namespace, key } => serde_json::json!(["secret", namespace, key]),
        };
        parts.to_string()
    }

    /// The fact that such a text stands for; `None` for what only a worker can look up.
    pub(crate) fn from_key(text: &str) -> Option<Self> {
        let parts: Vec<String> = serde_json::from_str(text).ok()?;
        match parts.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["outputs"] => Some(Fact::Outputs { task_id: None }),
            ["outputs", task_id] => Some(Fact::Outputs { task_id: Some(task_id.to_owned()) }),
            ["secret", namespace, key] => Some(Fact::Secret { namespace: namespace.to_owned(), key: key.to_owned() }),
            _ => None,
        }
    }
}

/// A fact that has been looked up.
#[derive(Debug, Clone)]
pub enum FactValue {
    /// Absent: no such flow (or it was deleted).
    Flow(Option<FoundFlow>),
    /// The engine takes them into the run.
    Outputs(Vec<TaskRun>),
    Secret(Result<windhover_types::Secret, String>),
}

#[derive(Debug, Clone)]
pub struct FoundFlow {
    pub revision: u32,
    /// The reason, when the stored source can no longer be compiled.
    pub flow: Result<Arc<Flow>, String>,
}

/// Facts that are known for one step.
pub type Facts = HashMap<Fact, FactValue>;

/// Fixed for one step: the time, and a seed for what is random in expressions. Both are drawn by the shell.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    pub now: Timestamp,
    pub seed: u64,
}

/// Outcome of one step.
#[derive(Debug)]
pub enum Step {
    /// The run was changed in place; these effects belong to the change. Empty and `changed == false`: nothing to do.
    Done(StepOutput),
    /// The run is as it was; load these and step again.
    Needs(Vec<Fact>),
}

#[derive(Debug, Default)]
pub struct StepOutput {
    pub effects: Vec<Effect>,
    /// The execution's own row changed.
    pub execution_changed: bool,
    /// Task runs that are new or changed, in order of creation.
    pub changed_task_runs: Vec<Id>,
    /// The step was cut short by [`Limits::inline_per_step`]: send [`Event::Advance`] for the rest.
    pub more: bool,
}

impl StepOutput {
    /// Nothing has to be committed.
    pub fn is_empty(&self) -> bool {
        self.effects.is_empty() && !self.execution_changed && self.changed_task_runs.is_empty()
    }
}

/// Settings that bound a step; the same in all processes.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Task runs that one step starts; the rest follows in the next one.
    pub inline_per_step: u32,
    /// How long a killed execution waits for the reports of its workers.
    pub kill_grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { inline_per_step: 500, kill_grace: Duration::from_secs(10) }
    }
}

/// What is the same for every step of a process.
pub struct Env {
    pub limits: Limits,
    pub inline: Arc<dyn InlineTasks>,
    /// `envs` of expressions: a map (expression reference 16).
    pub envs: Arc<Value>,
    /// `globals` of expressions: a map.
    pub globals: Arc<Value>,
    /// `kestra` of expressions: a map with `environment` and `url` where they are configured.
    pub kestra: Arc<Value>,
    /// The server's time zone.
    pub timezone: Zone,
    /// `kestra.variables.recursive-rendering`.
    pub recursive_rendering: bool,
    pub expression_limits: windhover_expression::Limits,
    /// Templates that are known only when they are rendered.
    pub templates: TemplateCache,
}

impl Env {
    /// Defaults: empty maps, UTC, default bounds.
    pub fn new(inline: Arc<dyn InlineTasks>) -> Self {
        let empty = || Arc::new(Value::Object(JsonMap::new()));
        Self {
            limits: Limits::default(),
            inline,
            envs: empty(),
            globals: empty(),
            kestra: empty(),
            timezone: Zone::default(),
            recursive_rendering: false,
            expression_limits: windhover_expression::Limits::default(),
            templates: TemplateCache::default(),
        }
    }
}

/// Runs an inline task: a plain function, so that the engine stays pure and the table of tasks stays with the tasks.
pub trait InlineTasks: Send + Sync {
    /// Renders the properties and does what the task does. Lines and numbers have no ids yet; the engine adds them,
    /// and drops lines below the task's `logLevel`.
    ///
    /// # Errors
    /// A template that cannot be rendered: the attempt fails with its message. [`ExpressionError::Needs`] must come
    /// back as it is: the step is then run again with the fact.
    fn run(&self, task: &Task, context: &dyn RenderContext) -> Result<InlineOutcome, ExpressionError>;
}

/// Name, kind, value (a timer's in milliseconds) and tags of a number that an inline task publishes.
pub type InlineMetric = (String, MetricKind, f64, Vec<(String, String)>);

/// What an inline task did.
#[derive(Debug, Clone, Default)]
pub struct InlineOutcome {
    /// Why it failed. The engine writes the line of level ERROR, unless `logs` holds it already.
    pub error: Option<String>,
    /// It ended with a warning.
    pub warning: bool,
    pub outputs: Option<Value>,
    pub logs: Vec<(Level, String)>,
    pub metrics: Vec<InlineMetric>,
    /// A Sleep: the attempt ends at this distance from now.
    pub sleep: Option<Duration>,
    /// Labels that the execution gets (flow model 1.x reference 1.4); of equal keys these win.
    pub labels: Vec<Label>,
    /// What `vars` shows from now on, if it changes (flow model 1.x reference 3.4).
    pub variables: Option<JsonMap>,
}

/// For readers of a stored attempt.
pub fn last_attempt(task_run: &TaskRun) -> Option<&Attempt> {
    task_run.attempts.last()
}

/// An execution in its first state, before any step.
pub fn new_execution(tenant: &windhover_types::Tenant, new: &NewExecution, at: Timestamp) -> Execution {
    Execution {
        tenant: tenant.clone(),
        id: new.id,
        namespace: new.namespace.clone(),
        flow_id: new.flow_id.clone(),
        flow_revision: new.flow_revision,
        state: windhover_types::StateHistory::new(State::Created, at),
        labels: new.labels.clone(),
        inputs: new.inputs.clone(),
        outputs: None,
        variables: new.variables.clone(),
        trigger: new.trigger.clone(),
        parent: new.parent.clone(),
        original_id: new.id,
        schedule_time: new.schedule_time,
        error: None,
        frame: crate::Frame::default(),
        kill_requested: false,
        version: 1,
        trace_parent: new.trace_parent.clone(),
    }
}
