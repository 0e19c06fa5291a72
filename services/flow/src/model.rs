//! A flow as the engine runs it: parsed, validated, with its templates compiled.

use std::{sync::Arc, time::Duration};

use indexmap::IndexMap;
use serde_json::Value;
use windhover_types::{JsonMap, Label, Level, State};

use crate::{Condition, Input, Output, Properties, TaskType, Text};

/// One revision of a flow. Immutable; shared by everything that runs it.
#[derive(Debug)]
pub struct Flow {
    pub id: String,
    pub namespace: String,
    pub description: Option<String>,
    pub labels: Vec<Label>,
    pub inputs: Vec<Input>,
    pub outputs: Vec<Output>,
    /// As written, not rendered: `vars` of the flow's expressions.
    pub variables: JsonMap,
    pub tasks: TaskList,
    pub errors: TaskList,
    pub finally: TaskList,
    pub triggers: Vec<Trigger>,
    pub retry: Option<Retry>,
    pub disabled: bool,
    /// Every task of the flow, at any depth, by id.
    pub index: IndexMap<String, TaskPlace>,
}

/// Tasks that run one after another, or side by side. Disabled ones are left out when the flow is compiled.
pub type TaskList = Vec<Arc<Task>>;

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
    ForEach {
        values: ForEachValues,
        concurrency_limit: u32,
        block: Block,
    },
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
        self.task_type.inline && self.pure && task.timeout.is_none() && task.worker_group.is_none()
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
}

#[derive(Debug)]
pub enum TriggerKind {
    Flow(FlowTrigger),
    Webhook(WebhookTrigger),
}

/// Fires when executions of other flows change state.
#[derive(Debug)]
pub struct FlowTrigger {
    /// Every terminal state and PAUSED unless given (flow model 1.x reference 6.5).
    pub states: Vec<State>,
    pub inputs: Option<Properties>,
}

/// Fires when its URL is called.
#[derive(Debug)]
pub struct WebhookTrigger {
    pub key: Text,
    pub inputs: Option<Properties>,
}

/// A literal JSON value of a property that is never rendered.
pub type Literal = Value;
