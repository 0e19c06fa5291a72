//! Runnable tasks: what they do, wherever they run.
//!
//! Always true: a task gets its rendered properties, its log and its services through [`TaskContext`] and touches nothing
//! else; every secret that it has seen is masked in what it says (log lines, errors, tags of metrics); outgoing calls
//! go through `windhover_outbound`.
//! Not here: leases, timeouts, kills (the worker), retries and states of task runs (the engine).

mod chosen;
mod context;
mod directory;
mod executions;
mod fetch;
pub mod files;
mod for_each_item;
pub mod http;
mod inline;
mod jdbc;
pub mod kv;
mod log;
mod namespace;
mod notify;
mod outcome;
pub mod process;
mod scripts;
mod sealed;
mod services;
mod sources;
mod state;
mod storage;
mod table;
mod templated;
mod toggle;
mod upkeep;

pub use context::{Attempt, TaskContext};
pub use inline::InlineTaskTable;
pub use log::TaskLog;
pub use outcome::{Metric, TaskError, TaskOutcome};
pub use services::{MAX_RENDERINGS, TaskServices};
pub use sources::{ExecutionSource, KeyTest, KeyValueSource, KvFound, KvKind, KvPurge, KvWrite, SecretSource};
pub use table::{Task, run, task_of};
pub use upkeep::{
    CountedExecutions, EndedExecution, EndedExecutions, ExecutionCount, NamespaceScope, NoUpkeep, Period, PurgeCount,
    PurgedLogs, PurgedParts, Resumed, Upkeep,
};
