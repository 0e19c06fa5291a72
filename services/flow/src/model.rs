//! A flow as the engine runs it: parsed, validated, with its templates compiled.

use std::{sync::Arc, time::Duration};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use windhover_types::{JsonMap, Label, Level, State};

use crate::{Check, Condition, Input, Output, Properties, Schedule, TaskType, Text, WindowSpec};

/// One revision of a flow. Immutable; shared by everything that runs it.
#[derive(Debug)]
pub struct Flow {
    pub id: String,
    pub namespace: String,
    pub description: Option<String>,
    pub labels: Vec<Label>,
    pub inputs: Vec<Input>,
    pub outputs: Vec<Output>,
    /// As written, not rendered, with those of its namespace where it says nothing else: `vars` of the flow's
    /// expressions.
    pub variables: JsonMap,
    /// Those of its namespace and of the ones above: `namespace` of the flow's expressions. Mostly empty.
    pub namespace_variables: Arc<JsonMap>,
    pub tasks: TaskList,
    pub errors: TaskList,
    pub finally: TaskList,
    pub triggers: Vec<Trigger>,
    /// Run once the execution has ended, after `listeners` (flow model 1.x reference 4.3).
    pub after_execution: TaskList,
    /// The older form of it: each for executions that meet its conditions.
    pub listeners: Vec<Listener>,
    pub retry: Option<Retry>,
    /// How many executions of the flow may be under way.
    pub concurrency: Option<Concurrency>,
    pub sla: Vec<Sla>,
    /// For the API: looked at before an execution is created.
    pub checks: Vec<Check>,
    pub disabled: bool,
    /// Every task of the flow, at any depth, by id.
    pub index: IndexMap<String, TaskPlace>,
}

impl Flow {
    /// What an execution that begins now keeps as its `vars`. `None`: the flow's own say the same for ever.
    pub fn initial_variables(&self) -> Option<Arc<JsonMap>> {
        (!self.namespace_variables.is_empty()).then(|| Arc::new(self.variables.clone()))
    }
}

/// Tasks that run one after another, or side by side. Disabled ones are left out when the flow is compiled.
pub type TaskList = Vec<Arc<Task>>;

/// Tasks for executions that have ended in some way (flow model reference 4.15).
#[derive(Debug)]
pub struct Listener {
    /// All must hold; looked at when the execution has ended.
    pub conditions: Vec<Condition>,
    pub tasks: TaskList,
}

/// Flow model reference 4.11, 1.x reference 4.10.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Concurrency {
    /// At least 1.
    pub limit: u32,
    pub behavior: ConcurrencyBehavior,
}

/// What becomes of an execution that finds no slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ConcurrencyBehavior {
    /// It waits for one.
    Queue,
    Cancel,
    Fail,
}

/// A promise about executions (flow model reference 4.12, 1.x reference 4.11).
#[derive(Debug)]
pub struct Sla {
    pub id: String,
    pub kind: SlaKind,
    pub behavior: SlaBehavior,
    /// An execution that breaks it gets these.
    pub labels: Vec<Label>,
}

#[derive(Debug)]
pub enum SlaKind {
    MaxDuration(Duration),
    /// Truthy as long as it is kept.
    Assertion(Text),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlaBehavior {
    Fail,
    Cancel,
    /// Labels only.
    None,
}

/// Where a task stands.
#[derive(Debug, Clone)]
pub struct TaskPlace {
    pub task: Arc<Task>,
    /// The task whose list this is; `None` at the top of the flow.
    pub parent: Option<String>,
    /// Which of its lists.
    pub list: ListKind,
    /// Its place in that list, counting only tasks that are not disabled.
    pub position: usize,
}

/// Names one of the lists of a flow or a flowable task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListKind {
    /// `tasks`, the only main list of most flowables.
    Main,
    Then,
    Else,
    Case(String),
    Defaults,
    Errors,
    Finally,
    /// Of the flow, once it has ended.
    AfterExecution,
    /// Tasks of the listener of this number.
    Listener(usize),
    /// `onPause` of a Pause: one task, whose runs have no parent.
    OnPause,
}

/// A task.
#[derive(Debug)]
pub struct Task {
    pub id: String,
    /// The type as it was written; `kind` says what it means.
    pub type_name: String,
    pub kind: TaskKind,
    pub retry: Option<Retry>,
    /// Rendered for each attempt. Only runnable tasks have one that acts.
    pub timeout: Option<Text>,
    pub run_if: Option<Text>,
    pub allow_failure: bool,
    pub allow_warning: bool,
    pub log_level: Option<Level>,
    pub worker_group: Option<WorkerGroup>,
}

/// What a task does.
#[derive(Debug)]
pub enum TaskKind {
    Sequential(Block),
    AllowFailure(Block),
    /// `concurrent`: how many children run at once; absent or 0 = all.
    Parallel {
        concurrent: Option<Text>,
        block: Block,
    },
    If {
        condition: Text,
        then: TaskList,
        otherwise: TaskList,
        handlers: Handlers,
    },
    Switch {
        value: Text,
        cases: IndexMap<String, TaskList>,
        defaults: Option<TaskList>,
        handlers: Handlers,
    },
    /// `values` as written: a text that renders to a JSON array, or a list. `concurrency_limit` 0 = all at once.
    /// EachSequential is this with a limit of 1.
    ForEach {
        values: ForEachValues,
        concurrency_limit: u32,
        block: Block,
    },
    /// Every task for every value, all side by side; `concurrent` as for Parallel.
    EachParallel {
        values: ForEachValues,
        concurrent: Option<Text>,
        block: Block,
    },
    /// Each task as soon as those that it depends on have ended.
    Dag {
        tasks: TaskList,
        /// For each task the places of those that it waits for; disabled ones are left out, so that nobody waits for them.
        depends_on: Vec<Vec<u32>>,
        /// As for Parallel.
        concurrent: Option<Text>,
        handlers: Handlers,
    },
    LoopUntil(Box<LoopUntil>),
    WorkingDirectory(Box<WorkingDirectory>),
    ForEachItem(Box<ForEachItem>),
    /// The second of the three tasks of a ForEachItem: an execution for each part of its file.
    Items(Box<Subflow>),
    Pause(Box<Pause>),
    Template(Box<TemplateCall>),
    Subflow(Box<Subflow>),
    Runnable(Runnable),
}

/// The lists of a flowable task that has one main list.
#[derive(Debug, Default)]
pub struct Block {
    pub tasks: TaskList,
    pub handlers: Handlers,
}

/// What runs when a flowable's main list failed, and when it is over.
#[derive(Debug, Default)]
pub struct Handlers {
    pub errors: TaskList,
    pub finally: TaskList,
}

/// `values` of a ForEach.
#[derive(Debug)]
pub enum ForEachValues {
    /// Renders to a JSON array.
    Text(Text),
    /// Each element rendered for itself; elements are texts, whole numbers or maps (others fail when the task opens).
    List(Properties),
}

/// Runs its tasks again and again until a condition holds (flow model 1.x reference 5.3).
#[derive(Debug)]
pub struct LoopUntil {
    /// Evaluated after each iteration; truthy ends the loop.
    pub condition: Text,
    /// Between two iterations; a minute unless given.
    pub interval: Option<Text>,
    pub max_iterations: Option<Text>,
    /// From when the loop was last planned.
    pub max_duration: Option<Text>,
    pub fail_on_max_reached: Option<Text>,
    pub block: Block,
}

/// Stops the execution until somebody resumes it, or for a while (flow model reference 4.8, 1.x reference 5.3).
#[derive(Debug)]
pub struct Pause {
    /// After it `behavior` says what happens.
    pub duration: Option<Text>,
    /// RESUME unless given; WARN, FAIL, CANCEL.
    pub behavior: Option<Text>,
    /// It fails when nobody has resumed it by then. Without effect beside `duration`.
    pub timeout: Option<Text>,
    /// What has to be given to resume it.
    pub on_resume: Vec<Input>,
    /// Runs while the execution is paused.
    pub on_pause: Option<Arc<Task>>,
    /// The older form: `tasks` run once it is resumed.
    pub block: Block,
}

/// Runs its tasks one after another on workers, in one directory (flow model reference 5.3).
#[derive(Debug)]
pub struct WorkingDirectory {
    /// `tasks` are runnable ones, which no executor runs inline.
    pub block: Block,
    /// `cache`, `namespaceFiles`, `inputFiles` and `outputFiles`, for the worker.
    pub files: Properties,
}

/// An execution of another flow for each part of a file (flow model reference 5.3): three tasks of its own making, which split the file,
/// run the executions, and put their outputs together.
#[derive(Debug)]
pub struct ForEachItem {
    /// `tasks` are `<id>_split`, `<id>_items` and `<id>_merge`.
    pub block: Block,
}

/// Runs the tasks of a template (flow model reference 5.3). Templates are a feature that the reference has deprecated and
/// switched off unless `kestra.templates.enabled`; none are kept here, so the task fails as for a missing one.
#[derive(Debug)]
pub struct TemplateCall {
    pub namespace: Text,
    pub template_id: Text,
    pub args: Option<Properties>,
    pub handlers: Handlers,
}

/// Starts an execution of another flow.
#[derive(Debug)]
pub struct Subflow {
    pub namespace: Text,
    pub flow_id: Text,
    /// The newest when absent.
    pub revision: Option<u32>,
    pub inputs: Option<Properties>,
    pub labels: Option<Properties>,
    pub wait: bool,
    pub transmit_failed: bool,
    pub inherit_labels: bool,
    /// The older form of the outputs of the flow that it starts: rendered where that execution is known, once it has
    /// ended, if its flow declares no outputs itself.
    pub outputs: Option<Properties>,
    /// A zoned date and time at which the child begins.
    pub schedule_date: Option<Text>,
    pub restart_behavior: RestartBehavior,
}

/// What a restarted Subflow task does with the child that it has started (flow model 1.x reference 5.3).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RestartBehavior {
    /// A failed child is restarted; one that did not fail is left as it is.
    #[default]
    RetryFailed,
    /// A new child.
    NewExecution,
}

/// A task that does work: inline in the executor when `task_type.inline` and nothing it calls waits, else on a worker.
#[derive(Debug)]
pub struct Runnable {
    pub task_type: &'static TaskType,
    /// Its own properties, without those that every task has.
    pub properties: Properties,
    /// No template of this task (`runIf` included) calls what does I/O or waits (`secret`, `kv`, `read`, `http`,
    /// `errorLogs`, `render` of something dynamic …): the executor may render it.
    pub pure: bool,
}

impl Runnable {
    /// Whether the executor itself may run the task, given what the task asks for besides.
    pub fn runs_inline(&self, task: &Task) -> bool {
        self.is_updating()
            || (self.task_type.inline && self.pure && task.timeout.is_none() && task.worker_group.is_none())
    }

    /// Whether it changes its execution, which only the executor can do.
    pub fn is_updating(&self) -> bool {
        self.task_type.family == crate::table::Family::Updating
    }
}

/// Which workers may run a task, and what happens when there are none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerGroup {
    pub key: String,
    pub fallback: Fallback,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback {
    Wait,
    Fail,
    Cancel,
}

/// When and how often something is tried again (flow model reference 1.2 and 4.7).
#[derive(Debug, Clone, PartialEq)]
pub struct Retry {
    pub delay: RetryDelay,
    /// Attempts in all, the first included.
    pub max_attempts: Option<u32>,
    /// From the start of the first attempt to the start of the next.
    pub max_duration: Option<Duration>,
    pub warning_on_retry: bool,
    pub behavior: RetryBehavior,
}

/// What is tried again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RetryBehavior {
    #[default]
    FailedTask,
    /// The whole execution, as another one.
    NewExecution,
}

#[derive(Debug, Clone, PartialEq)]
pub enum RetryDelay {
    Constant { interval: Duration },
    Exponential { interval: Duration, max_interval: Duration, factor: f64 },
    Random { min: Duration, max: Duration },
}

/// A trigger.
#[derive(Debug)]
pub struct Trigger {
    pub id: String,
    pub type_name: String,
    pub kind: TriggerKind,
    pub conditions: Vec<Condition>,
    /// Values are templates, except for webhooks.
    pub labels: Vec<(Text, Text)>,
    pub disabled: bool,
    /// An execution that ends in one of these states disables the trigger.
    pub stop_after: Vec<State>,
    /// The next execution does not wait for the end of the one before.
    pub allow_concurrent: bool,
    /// The trigger as it is written, defaults injected, as JSON: another text is another trigger.
    pub definition: String,
}

// A flow has few of them.
#[allow(clippy::large_enum_variant)]
#[derive(Debug)]
pub enum TriggerKind {
    Flow(FlowTrigger),
    Webhook(WebhookTrigger),
    Schedule(Schedule),
    Http(HttpTrigger),
}

/// Fires when executions of other flows change state.
#[derive(Debug)]
pub struct FlowTrigger {
    /// Every terminal state and PAUSED unless given (flow model 1.x reference 6.5).
    pub states: Vec<State>,
    pub inputs: Option<Properties>,
    /// What must have held, besides the conditions of the trigger, within some time.
    pub window: Option<WindowSpec>,
}

/// Fires when its URL is called.
#[derive(Debug)]
pub struct WebhookTrigger {
    pub key: Text,
    pub inputs: Option<Properties>,
    /// The call is answered when the execution has ended.
    pub wait: Option<WebhookAnswer>,
}

/// What a webhook answers once its execution has ended (flow model 1.x reference 6.3).
#[derive(Debug)]
pub struct WebhookAnswer {
    /// The outputs of the flow instead of the execution.
    pub outputs: bool,
    /// The outputs are sent as `text/plain`.
    pub plain_text: bool,
    /// The status; without it 200, or 500 of an execution that failed.
    pub code: Option<Text>,
}

/// Asks a server again and again, and fires when its answer is as it has to be (flow model reference 6.7).
#[derive(Debug)]
pub struct HttpTrigger {
    /// From one evaluation to the next; at least a second.
    pub interval: Duration,
    /// Sees `response`; a status below 400 unless given.
    pub response_condition: Option<Text>,
    /// The properties of the request, as of `http.Request`.
    pub request: Properties,
    /// An evaluation that fails makes an execution that fails.
    pub fail_on_error: bool,
}

impl HttpTrigger {
    /// The canonical name of the type.
    pub const TYPE: &'static str = "io.kestra.plugin.core.http.Trigger";
}

/// A literal JSON value of a property that is never rendered.
pub type Literal = Value;
