//! Runnable tasks: what they do, wherever they run.
//!
//! Always true: a task gets its rendered properties, its log and its services through [`TaskContext`] and touches nothing
//! else; every secret that it has seen is masked in what it says (log lines, errors, tags of metrics); outgoing calls
//! go through `windhover_outbound`.
//! Not here: leases, timeouts, kills (the worker), retries and states of task runs (the engine).

mod context;
mod http;
mod inline;
mod log;
mod notify;
mod outcome;
mod services;
mod sources;
mod table;

pub use context::{Attempt, TaskContext};
pub use inline::InlineTaskTable;
pub use log::TaskLog;
pub use outcome::{Metric, TaskError, TaskOutcome};
pub use services::{MAX_RENDERINGS, TaskServices};
pub use sources::{ExecutionSource, SecretSource};
pub use table::{Task, task_of};
