//! What a worker does, for those that show it.

use std::sync::Arc;

use windhover_flow::Flow;
use windhover_queue::{JobKey, QueuedJob};
use windhover_types::{Id, Tenant, Timestamp};

use crate::worker::Shared;

/// An attempt that runs.
#[derive(Clone)]
pub struct RunningAttempt {
    pub tenant: Tenant,
    pub execution: Id,
    pub flow: Arc<Flow>,
    pub flow_revision: u32,
    pub task_id: String,
    pub key: JobKey,
    /// From 0.
    pub attempt: u32,
    pub created_at: Timestamp,
    pub started_at: Timestamp,
}

impl RunningAttempt {
    pub(crate) fn of(job: &QueuedJob, started_at: Timestamp) -> Self {
        Self {
            tenant: job.tenant.clone(),
            execution: job.execution,
            flow: job.flow.clone(),
            flow_revision: job.flow_revision,
            task_id: job.job.task_id.clone(),
            key: job.key(),
            attempt: job.job.attempt,
            created_at: job.created_at,
            started_at,
        }
    }
}

/// Looks at a worker; cheap to clone.
#[derive(Clone)]
pub struct WorkerView(Arc<Shared>);

impl WorkerView {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// What runs now, those that began first at the front.
    pub fn running(&self) -> Vec<Arc<RunningAttempt>> {
        let mut running: Vec<_> = self.0.running.lock().values().map(|held| held.about.clone()).collect();
        running.sort_by_key(|attempt| (attempt.started_at, attempt.key));
        running
    }

    /// How many attempts run at once at most, wait for a slot, and run.
    pub fn gauges(&self) -> (f64, f64, f64) {
        let metrics = &self.0.metrics;
        (metrics.threads.value(), metrics.pending.value(), metrics.running.value())
    }

    /// The group that it serves, if it has a name.
    pub fn group(&self) -> Option<&str> {
        match self.0.config.groups.as_slice() {
            [group] if !group.is_empty() => Some(group),
            _ => None,
        }
    }
}
