//! What goes into the engine and what comes out of it.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use windhover_flow::{ConcurrencyBehavior, Task};
use windhover_types::{Id, JsonMap, Label, State, Timestamp};

use crate::{Fact, LogLine, NewExecution, TaskMetric, TaskRun};

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
    SubflowEnded {
        task_run: Id,
        execution: Id,
        state: State,
        outputs: Option<JsonMap>,
        /// How often it had been taken up again ([`crate::Marks::generation`]).
        #[serde(default, skip_serializing_if = "is_zero")]
        generation: u32,
        /// The part of a ForEachItem's file that it is for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        item: Option<u32>,
    },
    /// A timer that the engine set has fired.
    TimerFired { timer: Timer },
    /// Somebody wants the execution to end. Doubles are harmless.
    Kill,
    /// Somebody wants nothing new to begin (flow model reference 4.8). Refused unless it is RUNNING.
    Pause,
    /// Somebody wants a paused execution to go on: past its first PAUSED task run, with that Pause's `onResume` inputs as
    /// a caller gives them (texts or native values, by flat id), or from a pause of its own. Refused unless it is PAUSED
    /// and the inputs fit.
    Resume {
        inputs: JsonMap,
        /// Who asked for it, for `outputs.<pause>.resumed.by`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
        /// Inputs that the Pause does not declare become outputs of it too, as they are (flow model reference 5.2,
        /// Resume).
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        undeclared: bool,
    },
    /// Somebody wants an execution that has ended, or is paused, to go on from what failed. Refused when it was killed and
    /// when nothing has failed. The task that waits for it as a subflow asks `by_parent`, and is told its state then.
    Restart {
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        by_parent: bool,
    },
    /// Somebody decides how a task run of an ended execution ended; it goes on from there.
    ChangeTaskRunState { task_run: Id, state: State },
    /// Somebody decides how an ended execution ended.
    ChangeState { state: State },
    /// Somebody does not want to wait for its date, its slot, its resumption or its retry. Refused when it has ended.
    ForceRun,
    /// Somebody takes it out of its flow's queue: RUNNING, CANCELLED or FAILED.
    Unqueue { state: State },
    /// Labels of an ended execution; of equal keys these win.
    SetLabels { labels: Vec<Label> },
    /// The owner of the flow's slots answers [`Effect::TakeSlot`], or grants a slot to one that waits.
    Slot { answer: SlotAnswer },
    /// The subflow that this task run waits for is tried again as another execution, which is waited for now.
    SubflowReplaced {
        task_run: Id,
        execution: Id,
        by: Id,
        /// The part of a ForEachItem's file that it is for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        item: Option<u32>,
    },
}

/// What the owner of a flow's slots says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlotAnswer {
    Granted,
    /// It waits in the queue.
    Queued,
    /// There is none, and the flow does not queue.
    Refused,
}

// The signature is serde's.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &u32) -> bool {
    *number == 0
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
    /// Outputs of the WorkingDirectory that the task stands in, as they are after it; the last ones count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory_outputs: Option<Value>,
    /// Lines that travel with the result of a quick task. Secrets are masked already.
    #[serde(skip)]
    pub logs: Vec<LogLine>,
    #[serde(skip)]
    pub metrics: Vec<TaskMetric>,
}

impl JobResult {
    /// That it ended so, and nothing else: no worker, no outputs, no lines. An attempt that never ran begins and ends at
    /// one moment.
    pub fn bare(at: Timestamp, state: State) -> Self {
        Self {
            started_at: at,
            ended_at: at,
            worker: None,
            state,
            outputs: None,
            error: None,
            directory_outputs: None,
            logs: Vec::new(),
            metrics: Vec::new(),
        }
    }
}

/// A timer of an execution; (execution, timer) is its identity.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "timer", rename_all = "snake_case")]
pub enum Timer {
    /// A failed task run is tried again.
    Retry { task_run: Id, attempt: u32 },
    /// A Sleep task is over.
    Sleep { task_run: Id, attempt: u32 },
    /// A Pause is over by itself.
    Pause { task_run: Id },
    /// The next turn of a LoopUntil, after this one.
    Loop { task_run: Id, iteration: u32 },
    /// A service level's longest duration is over; its place among those of the flow.
    Sla { sla: u32 },
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
    /// The execution wants a slot of its flow (tenant, namespace, id): a message to the owner of these slots, who answers with
    /// [`Event::Slot`]; see [`crate::Slots`].
    TakeSlot {
        limit: u32,
        behavior: ConcurrencyBehavior,
    },
    /// The execution needs its slot, or its place in the queue, no longer.
    GiveSlotBack,
    /// A restarted Subflow task wants its child to go on: [`Event::Restart`] with `by_parent`.
    RestartChild {
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
    /// Of a child of a WorkingDirectory: the directory that it shares with its siblings.
    pub directory: Option<Directory>,
}

/// The directory of a WorkingDirectory's task run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directory {
    /// The WorkingDirectory's own.
    pub task_run: Id,
    pub task_id: String,
    /// How often it had been begun before, from 0: after a restart its directory is another one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attempt: u32,
}

impl Job {
    /// The job of the present dispatch of a task run.
    pub(crate) fn of(task: &Task, task_run: &TaskRun, variables: JsonMap, directory: Option<Directory>) -> Self {
        Self {
            task_run: task_run.id,
            task_id: task_run.task_id.clone(),
            attempt: task_run.job_attempt(),
            dispatch: task_run.dispatch,
            variables,
            worker_group: task.worker_group.as_ref().map(|group| group.key.clone()),
            directory,
        }
    }
}

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
    /// Stored task runs that are no more: their rows go with the commit. What they had open has been cancelled.
    pub removed_task_runs: Vec<RemovedTaskRun>,
    /// The step was cut short by [`Limits::inline_per_step`]: send [`Event::Advance`] for the rest.
    pub more: bool,
    /// What was asked for does not fit the state: nothing has changed, and whoever asked is told why.
    pub refused: Option<Refusal>,
}

/// A task run whose row goes: of an earlier turn of a LoopUntil, or of what a restart runs again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemovedTaskRun {
    pub id: Id,
    /// With the execution the key of its row.
    pub seq: u32,
}

/// Why an action was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Stable, in capitals: EXECUTION_NOT_PAUSED, INVALID_INPUT and the like; see [`crate::refusals`].
    pub reason: String,
    /// Complete: names the state or the field, and what would fit.
    pub message: String,
}

impl StepOutput {
    /// Nothing has to be committed.
    pub fn is_empty(&self) -> bool {
        self.effects.is_empty()
            && !self.execution_changed
            && self.changed_task_runs.is_empty()
            && self.removed_task_runs.is_empty()
    }
}
