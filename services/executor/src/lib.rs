//! The executor: owns shards and moves their executions forward, in batches that form by themselves.
//!
//! Always true: whatever is told to anybody (an RPC's answer, a job, a wake-up) was committed before.
//! Not here: what follows from an event (the engine), what is written how (the store).

mod batch;
mod clock;
mod committer;
mod core;
mod effects;
mod executor;
mod fair;
mod flows;
mod jobs;
mod live;
mod loader;
mod message;
mod observe;
mod recovery;
mod size;
mod timers;
mod triggers;

pub use clock::{new_id, now};
pub use executor::{Executor, ExecutorConfig, ExecutorHandle};
pub use flows::{Applied, ApplyOptions, Expect, Flows, Outcome, StoredFlow};
pub use loader::SecretSource;
pub use message::{CreateRequest, CreatedExecution, RequestKey};
