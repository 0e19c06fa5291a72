//! Reasons of [`crate::Refusal`]s, as clients see them.

/// Only an execution that is RUNNING can be paused.
pub const NOT_RUNNING: &str = "EXECUTION_NOT_RUNNING";
/// Only an execution that is PAUSED can be resumed.
pub const NOT_PAUSED: &str = "EXECUTION_NOT_PAUSED";
/// Inputs of a resumption or a replay are missing or do not fit.
pub const INVALID_INPUT: &str = "INVALID_INPUT";
/// Only what has ended (restart: or is paused) can be restarted or changed by hand.
pub const NOT_ENDED: &str = "EXECUTION_NOT_ENDED";
/// It has ended: nothing can be forced any more.
pub const ENDED: &str = "EXECUTION_ENDED";
/// What was killed stays so.
pub const KILLED: &str = "EXECUTION_KILLED";
/// Only an execution that is QUEUED can be unqueued.
pub const NOT_QUEUED: &str = "EXECUTION_NOT_QUEUED";
/// No task run of it has failed or is paused.
pub const NOTHING_TO_RESTART: &str = "NOTHING_TO_RESTART";
/// There is no such task run in the execution.
pub const TASK_RUN_NOT_FOUND: &str = "TASK_RUN_NOT_FOUND";
/// The state cannot be reached in this way.
pub const INVALID_STATE: &str = "INVALID_STATE";
/// A system label, or one without key or value.
pub const INVALID_LABEL: &str = "INVALID_LABEL";
