//! The interface of job queues.

use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;
use windhover_types::{Id, Tenant};

use crate::{Group, JobKey, QueuedJob};

/// Why a queue did not do what it was asked. Harmless for the truth: the store has it all.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    #[error("the queue is not available: {0}")]
    Unavailable(String),
    /// Trying again does not help: somebody has to change the settings.
    #[error("the queue cannot be used: {0}")]
    Unusable(String),
    #[error("the queue is closed")]
    Closed,
}

impl QueueError {
    /// The sentence alone, without what it means for whoever asked.
    pub fn reason(&self) -> String {
        match self {
            Self::Unavailable(reason) | Self::Unusable(reason) => reason.clone(),
            Self::Closed => self.to_string(),
        }
    }
}

/// What a worker wants.
#[derive(Debug, Clone)]
pub struct PopRequest {
    /// Groups that it serves; taken from in turn.
    pub groups: Vec<Group>,
    /// Unique name of the worker: holder of the leases.
    pub worker: String,
    /// At most this many jobs; 0 gives none.
    pub max: usize,
    /// How long the lease holds without a renewal.
    pub lease: Duration,
    /// How long to wait for a first job.
    pub wait: Duration,
}

/// A job and its lease.
#[derive(Debug)]
pub struct LeasedJob {
    pub job: QueuedJob,
    /// A kill was asked for before the job was taken: it should be reported as KILLED and not begun.
    pub kill: bool,
}

/// What became of a lease that was to be renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    Held {
        /// The attempt should stop.
        kill: bool,
    },
    /// Somebody else may run this attempt: stop, and report nothing.
    Lost,
}

/// What became of a job that was to be cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// It was waiting and is gone: nobody will report it.
    Removed,
    /// A worker holds it and was told.
    Told,
    /// Not here (finished, or lost with a queue that was emptied).
    Unknown,
}

/// A lease that was not renewed in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpiredLease {
    pub tenant: Tenant,
    pub shard: u16,
    pub execution: Id,
    pub key: JobKey,
    pub worker: String,
    /// Its holder has given it up in order, by a renewal for no time: nobody was lost with it.
    pub given_up: bool,
}

/// How much waits and how much is out, for one tenant in one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupDepth {
    pub group: Group,
    pub tenant: Tenant,
    pub waiting: usize,
    pub leased: usize,
}

/// Tells a worker which of its attempts should stop. Closed when the queue goes.
pub type KillHints = mpsc::UnboundedReceiver<JobKey>;

/// Job queues, one per worker group: a ring of tenants with waiting jobs and a list per tenant, taken from by weighted
/// deficit round robin, so that a tenant with a million waiting jobs delays another tenant's single job by at most one
/// round.
#[async_trait]
pub trait JobQueue: Send + Sync + 'static {
    /// Puts jobs at the end of their tenants' lists. A dispatch that is here already is left alone; a newer dispatch
    /// takes the place of an older one. Answers the jobs for which their tenant's window had no room: they stay in
    /// the store, and [`Self::drained`] tells when to look again.
    async fn push(&self, jobs: Vec<QueuedJob>) -> Result<Vec<QueuedJob>, QueueError>;

    /// Takes up to `max` jobs under a lease; waits for a first one. Empty when none came in time.
    async fn pop(&self, request: PopRequest) -> Result<Vec<LeasedJob>, QueueError>;

    /// Prolongs leases of `worker`; answers in the order of `keys`. For no time at all: they are given up, and
    /// [`Self::expired`] tells so.
    async fn renew(&self, worker: &str, keys: &[JobKey], lease: Duration) -> Result<Vec<Renewal>, QueueError>;

    /// Gives back jobs that were not begun: to the front of their lists, under the same dispatch number.
    async fn release(&self, worker: &str, jobs: Vec<QueuedJob>) -> Result<(), QueueError>;

    /// Ends a lease after its result was acknowledged. Tells whether `worker` still held it.
    async fn complete(&self, worker: &str, key: JobKey) -> Result<bool, QueueError>;

    /// Takes waiting jobs away and tells the holders of the others to stop; answers in the order of `keys`.
    async fn cancel(&self, keys: &[JobKey]) -> Result<Vec<Cancelled>, QueueError>;

    /// Leases of these shards that were not renewed in time, each told once: the owner raises the dispatch number and
    /// pushes again, or closes the attempt.
    async fn expired(&self, shards: &[u16]) -> Result<Vec<ExpiredLease>, QueueError>;

    /// Whether these very dispatches wait or are leased here; answers in the order of `keys`. What nobody holds is lost,
    /// unless its holder announces it soon.
    async fn held(&self, keys: &[JobKey]) -> Result<Vec<bool>, QueueError>;

    /// Kill hints for a worker; a second call replaces the first.
    async fn kill_hints(&self, worker: &str) -> Result<KillHints, QueueError>;

    /// How many more jobs the tenant's window takes.
    async fn room(&self, tenant: &Tenant, group: &str) -> Result<usize, QueueError>;

    /// Waits until lists that had refused jobs have room for half a window again.
    async fn drained(&self) -> Vec<(Tenant, Group)>;

    /// What a tenant's turn is worth beside others (1 unless set; at least 1).
    async fn set_weight(&self, tenant: &Tenant, weight: u32) -> Result<(), QueueError>;

    async fn depths(&self) -> Result<Vec<GroupDepth>, QueueError>;
}
