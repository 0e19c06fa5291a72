//! What the engine knows of an execution.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use windhover_types::{Id, JsonMap, Label, Level, State, StateHistory, Tenant, Timestamp};

/// One run of a revision of a flow: what is stored in one row of `executions`.
#[derive(Debug, Clone, PartialEq)]
pub struct Execution {
    pub tenant: Tenant,
    pub id: Id,
    pub namespace: String,
    pub flow_id: String,
    pub flow_revision: u32,
    pub state: StateHistory,
    pub labels: Vec<Label>,
    /// Resolved and typed.
    pub inputs: Arc<JsonMap>,
    /// Flow outputs, once known.
    pub outputs: Option<JsonMap>,
    /// What `vars` shows: the flow's variables at creation, unrendered. `None` = the flow's own.
    pub variables: Option<Arc<JsonMap>>,
    pub trigger: Option<TriggerInfo>,
    /// Whom to tell when this ends: the task run that waits for this subflow.
    pub parent: Option<ParentLink>,
    /// First of the chain of replays; its own id at first.
    pub original_id: Id,
    pub schedule_time: Option<Timestamp>,
    /// Why it failed, when no task run tells.
    pub error: Option<ExecutionError>,
    /// Counters of the flow's own lists, as of a flowable task run.
    pub frame: Frame,
    /// A kill has been asked for.
    pub kill_requested: bool,
    /// What else steps remember of it; mostly empty.
    pub marks: Marks,
    /// Raised by one with every committed change; 1 when created.
    pub version: i64,
    /// W3C trace context of whoever created it.
    pub trace_parent: Option<String>,
}

/// What steps remember of an execution besides its state and counters. Stored as one document beside [`Frame`], left out
/// when it says nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Marks {
    /// The execution that this one repeats: replay, restart with another revision, retry as a new execution.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replayed_from: Option<Id>,
    /// Restarts, replays and retries before this run of it: `metadata.attemptNumber` less one.
    #[serde(skip_serializing_if = "is_zero")]
    pub earlier_attempts: u32,
    /// When the first of them was created; absent when that is this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub original_created: Option<Timestamp>,
    /// How often it was taken up again after it had ended: task runs that are planned again have other ids, and its
    /// ends can be told apart.
    #[serde(skip_serializing_if = "is_zero")]
    pub generation: u32,
    /// Of a flow that limits its executions.
    #[serde(skip_serializing_if = "Slot::is_none")]
    pub slot: Slot,
    /// Service levels that it has broken, by their places in the flow.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub violated: Vec<u32>,
    /// Listeners whose conditions held at the end, by their places in the flow.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub listeners: Vec<u32>,
    /// The execution that tries it again, when a retry makes another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaced_by: Option<Id>,
    /// Sealed values stand in its outputs or those of its task runs: expressions open them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub sealed: bool,
    /// Task runs that ended while the execution was paused; their containers hear of them when it goes on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub untold: Vec<EndedChild>,
}

impl Marks {
    /// Nothing is remembered.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// How an execution stands to the slots of its flow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Slot {
    /// It has none and waits for none.
    #[default]
    None,
    /// Asked for, not answered yet.
    Asked,
    /// It waits in the queue.
    Queued,
    Held,
}

impl Slot {
    // The signature is serde's.
    #[allow(clippy::trivially_copy_pass_by_ref)]
    fn is_none(&self) -> bool {
        *self == Self::None
    }
}

/// What a container has to know of a child that has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedChild {
    #[serde(rename = "r")]
    pub task_run: Id,
    #[serde(rename = "t")]
    pub task_id: String,
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Id>,
    #[serde(rename = "s")]
    pub state: State,
    /// The iteration that it belongs to.
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    pub iteration: Option<u32>,
    #[serde(rename = "v", default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// What started an execution: `trigger` of its expressions are the variables.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TriggerInfo {
    pub id: String,
    #[serde(rename = "type")]
    pub type_name: String,
    pub variables: JsonMap,
}

/// The Subflow task run that started this execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParentLink {
    pub execution_id: Id,
    pub task_run_id: Id,
    /// It waits for the end.
    pub wait: bool,
    /// The part of a ForEachItem's file that it is for, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutionError {
    pub message: String,
    pub task_run_id: Option<Id>,
}

/// One run of one task: what is stored in one row of `task_runs`.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskRun {
    pub id: Id,
    pub task_id: String,
    /// Order of creation within the execution, from 0.
    pub seq: u32,
    pub parent_id: Option<Id>,
    /// Iteration value of this run (child of a ForEach).
    pub value: Option<String>,
    /// Index of that value, or the turn of a LoopUntil, from 0.
    pub iteration: Option<u32>,
    /// Values of all loops around this run, outermost first, its own included: the path below `outputs.<task>`.
    pub value_path: Vec<String>,
    pub state: StateHistory,
    pub attempts: Vec<Attempt>,
    pub outputs: Option<Arc<Value>>,
    /// Counters of a flowable.
    pub frame: Option<Frame>,
    /// Written once when a flowable opens, never again: values of a ForEach, the branch of an If or Switch.
    pub opened: Option<Arc<Opened>>,
    /// Number of the last dispatch of its job, from 1; 0 = never dispatched.
    pub dispatch: u32,
    /// The execution that a Subflow task run started.
    pub child_execution: Option<Id>,
    pub version: i64,
}

/// One try of a task run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    #[serde(rename = "h")]
    pub state: StateHistory,
    /// The dispatch that carried it to a worker; 0 for what ran in the executor.
    #[serde(rename = "d", default, skip_serializing_if = "is_zero")]
    pub dispatch: u32,
    #[serde(rename = "w", default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

// The signature is serde's.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// What a flowable decided when it opened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Opened {
    /// Texts of the values, in order, without repeats.
    ForEach {
        values: Vec<String>,
    },
    If {
        then: bool,
    },
    /// `None`: the defaults.
    Switch {
        case: Option<String>,
    },
    /// Of a Parallel or a Dag.
    Parallel {
        concurrent: u32,
    },
    /// Texts of the values, as of a ForEach, with how many children run at once.
    EachParallel {
        values: Vec<String>,
        concurrent: u32,
    },
    /// Of a Subflow task run whose child was started again: only ends of this generation or a later one count.
    Subflow {
        generation: u32,
    },
    /// Of the second task of a ForEachItem: how far its executions are. The only one that changes after it was written.
    Items(Items),
    /// When it is over by itself (`None`: never), and what follows then; without behaviour it fails, since that is its
    /// timeout.
    Pause {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        behavior: Option<PauseBehavior>,
    },
}

/// Executions for the parts of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Items {
    /// The attempt of the task run whose children they are.
    pub attempt: u32,
    pub parts: u32,
    /// Executions that have been started.
    pub begun: u32,
    /// One bit for each that has ended, and for each that has FAILED.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ended: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<u64>,
    /// Executions that try one of them again, and are waited for in its place.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub replaced: BTreeMap<u32, Id>,
    /// How many ended in which state.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub counts: BTreeMap<State, u32>,
    /// How often some of them were restarted: their earlier ends count no more.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub restarts: BTreeMap<u32, u32>,
}

/// What follows when the duration of a Pause is over (flow model 1.x reference 5.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PauseBehavior {
    Resume,
    Warn,
    Fail,
    Cancel,
}

/// Counters of a list of tasks that is being run: all that a step needs to know of what has already finished, so that
/// its cost does not grow with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    pub phase: Phase,
    /// Main tasks (iterations in a ForEach) begun.
    #[serde(default)]
    pub started: u32,
    /// Child task runs of any list that have not ended. In the main list of a ForEach that is also the number of
    /// iterations under way, since the tasks of one follow each other.
    #[serde(default)]
    pub open: u32,
    /// Worst states of main tasks that have ended.
    #[serde(default)]
    pub killed: bool,
    #[serde(default)]
    pub failed: bool,
    #[serde(default)]
    pub warning: bool,
    /// Which turn of a LoopUntil it is, from 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub iteration: u32,
    /// How far the tasks of a Dag are, by their places; none when nothing has begun.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<Node>,
}

/// How far a task of a Dag is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Node {
    #[serde(rename = "w")]
    Waiting,
    #[serde(rename = "b")]
    Begun,
    #[serde(rename = "e")]
    Ended,
}

/// Which list of a flow or flowable is being run (flow model 1.x reference 4.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    #[default]
    Main,
    Errors,
    Finally,
    /// Of the flow alone: it has its final state, and listeners and `afterExecution` run.
    After,
    /// Of the flow alone: nothing more follows.
    Over,
}

/// A line of an execution's log.
#[derive(Debug, Clone, PartialEq)]
pub struct LogLine {
    pub at: Timestamp,
    pub level: Level,
    pub message: String,
    pub task_id: Option<String>,
    pub task_run_id: Option<Id>,
    /// From 0.
    pub attempt: Option<u32>,
}

/// A number that a task published (counter, or timer in milliseconds).
#[derive(Debug, Clone, PartialEq)]
pub struct TaskMetric {
    pub task_run_id: Id,
    pub task_id: String,
    pub name: String,
    pub kind: MetricKind,
    pub value: f64,
    pub tags: Vec<(String, String)>,
    pub at: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    Counter,
    Timer,
    Gauge,
}

impl Execution {
    /// It has its final state, and what runs after the end is through: nothing follows by itself. Attempts may still be open: see
    /// [`crate::Run::is_settled`].
    pub fn is_ended(&self) -> bool {
        self.state.current().is_terminal() && self.frame.phase != Phase::After
    }

    pub fn current(&self) -> State {
        self.state.current()
    }
}

impl TaskRun {
    /// A job of this task run is with a worker, or waits for one, and its end has not been told yet.
    pub fn has_open_job(&self) -> bool {
        match self.attempt_of(self.dispatch) {
            Some(attempt) => !attempt.state.current().is_terminal(),
            None => {
                self.dispatch > 0
                    && !matches!(self.state.current(), State::Created | State::Retrying | State::Restarted)
            }
        }
    }

    /// The attempt that this dispatch carried, if it has begun.
    pub fn attempt_of(&self, dispatch: u32) -> Option<&Attempt> {
        self.attempts.iter().rev().find(|attempt| dispatch > 0 && attempt.dispatch == dispatch)
    }

    /// Something may still happen to it: it has not ended, or its last attempt has not reported. These are the task
    /// runs that [`crate::Run::from_stored`] wants.
    pub fn is_open(&self) -> bool {
        !self.state.current().is_terminal() || self.has_open_job()
    }

    /// The attempt that runs, with its number.
    pub fn open_attempt(&self) -> Option<(u32, &Attempt)> {
        let last = self.attempts.last().filter(|attempt| !attempt.state.current().is_terminal())?;
        Some((self.attempts.len() as u32 - 1, last))
    }

    /// The number of the attempt that the present dispatch is for, from 0.
    pub fn job_attempt(&self) -> u32 {
        let number = match self.open_attempt() {
            Some((number, _)) => return number,
            None => self.attempts.len(),
        };
        u32::try_from(number).unwrap_or(u32::MAX)
    }

    /// Attempts that have ended: `taskrun.attemptsCount`.
    pub fn ended_attempts(&self) -> usize {
        self.attempts.iter().filter(|attempt| attempt.state.current().is_terminal()).count()
    }
}
