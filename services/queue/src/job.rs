//! What waits in a job queue.

use std::{fmt, sync::Arc};

use windhover_engine::Job;
use windhover_flow::{Flow, Task};
use windhover_types::{Id, Tenant, Timestamp};

/// Key of a worker group; [`DEFAULT_GROUP`] for tasks that name none.
pub type Group = Arc<str>;

/// The group of the workers that were started without one.
pub const DEFAULT_GROUP: &str = "";

/// Names one dispatch of one attempt: what leases, renewals and cancellations are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobKey {
    pub task_run: Id,
    /// Raised by the owner before a job is handed out again; a lower number is out of date.
    pub dispatch: u32,
}

/// One attempt of one task run on its way to a worker, with all that the worker needs to begin.
///
/// Inside a process the flow is shared, not copied. What crosses processes is (tenant, shard, execution, namespace,
/// flow id, revision, job): the receiver finds the flow in its own cache by tenant and revision.
#[derive(Clone)]
pub struct QueuedJob {
    pub tenant: Tenant,
    /// Shard that owns the execution: where reports go.
    pub shard: u16,
    pub execution: Id,
    pub flow_revision: u32,
    pub flow: Arc<Flow>,
    pub job: Job,
    /// `trigger.state` of the execution, if a Flow trigger started it: notifications wait for that state
    /// (notifications reference 2.2).
    pub trigger_state: Option<String>,
    /// How many workers were lost while they held this attempt.
    pub losses: u32,
    /// When the task run was created: the time spent waiting is measured from here.
    pub created_at: Timestamp,
    /// W3C trace context of the execution.
    pub trace_parent: Option<String>,
}

impl QueuedJob {
    pub fn key(&self) -> JobKey {
        JobKey { task_run: self.job.task_run, dispatch: self.job.dispatch }
    }

    /// Which workers may take it.
    pub fn group(&self) -> &str {
        self.job.worker_group.as_deref().unwrap_or(DEFAULT_GROUP)
    }

    /// The task, in its flow; `None` when the revision does not know it.
    pub fn task(&self) -> Option<&Arc<Task>> {
        self.flow.index.get(&self.job.task_id).map(|place| &place.task)
    }
}

/// Ids only: variables may hold what nobody should read.
impl fmt::Debug for QueuedJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueuedJob")
            .field("tenant", &self.tenant)
            .field("execution", &self.execution)
            .field("task", &self.job.task_id)
            .field("key", &self.key())
            .finish_non_exhaustive()
    }
}
