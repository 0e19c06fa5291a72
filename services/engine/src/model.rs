//! What the engine knows of an execution.

use std::sync::Arc;

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
    /// Raised by one with every committed change; 1 when created.
    pub version: i64,
    /// W3C trace context of whoever created it.
    pub trace_parent: Option<String>,
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
    /// Index of that value, from 0.
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
    Parallel {
        concurrent: u32,
    },
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
}

/// Which list of a flow or flowable is being run (flow model 1.x reference 4.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    #[default]
    Main,
    Errors,
    Finally,
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
    /// Nothing follows by itself. Attempts may still be open: see [`crate::Run::is_settled`].
    pub fn is_ended(&self) -> bool {
        self.state.current().is_terminal()
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
            None => self.dispatch > 0 && !matches!(self.state.current(), State::Created | State::Retrying),
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
