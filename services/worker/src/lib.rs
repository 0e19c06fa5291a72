//! The worker: leases jobs, runs their tasks, reports what came of them.
//!
//! Always true: an attempt is reported until the owner of its execution has committed the report; an attempt whose lease
//! is lost is stopped and reports nothing; a task that panics fails its own attempt and nothing else; what was leased
//! and cannot be ended in time is given up, never silently kept.
//! Not here: what a task does (`windhover_tasks`), which task comes next (the engine), expiring leases (the executor).

mod attempt;
mod config;
mod report;
mod sink;
mod view;
mod worker;

pub use config::{WorkerConfig, WorkerParts};
pub use sink::{ResultSink, SinkError, WakeupSink};
pub use view::{RunningAttempt, WorkerView};
pub use worker::Worker;
