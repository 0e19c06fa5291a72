//! The executor: owns shards and moves their executions forward, in batches that form by themselves.
//!
//! Always true: whatever is told to anybody (an RPC's answer, a job, a wake-up) was committed before.
//! Not here: what follows from an event (the engine), what is written how (the store).

mod act;
mod batch;
mod clock;
mod committer;
mod core;
mod effects;
mod executor;
mod fair;
mod flows;
mod handle;
mod jobs;
mod live;
mod loader;
mod membership;
mod message;
mod observe;
mod owned;
mod progress;
mod recovery;
mod remote;
mod size;
mod templates;
mod timers;
mod triggers;

pub use act::Acted;
pub use clock::{new_id, now, set_clock_offset};
pub use executor::{Executor, ExecutorConfig};
pub use flows::{Applied, ApplyOptions, Expect, Flows, Outcome, StoredFlow, denied};
pub use handle::{ExecutorHandle, RemoteConfig};
pub use jobs::{GroupState, NoGroups, WorkerGroups};
pub use loader::{NoWorld, SecretSource, WorldSource};
pub use membership::{Membership, StartError};
pub use message::{CreateRequest, CreatedExecution, RequestKey};
pub use owned::OwnedShards;
pub use progress::Progress;
pub use templates::Templates;
pub use windhover_engine::Refusal;
