//! [`JobQueue`] in memory.

use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};
use windhover_types::{Id, Tenant};

use super::state::{State, deadline};
use crate::{
    Cancelled, ExpiredLease, Group, GroupDepth, JobKey, JobQueue, KillHints, LeasedJob, PopRequest, QueueError,
    QueuedJob, Renewal,
};

/// Settings of job queues.
#[derive(Debug, Clone)]
pub struct JobsConfig {
    /// Jobs of one tenant that may wait in one group; the rest waits in the store. Default: 1,000.
    pub window: usize,
}

impl Default for JobsConfig {
    fn default() -> Self {
        Self { window: 1_000 }
    }
}

/// Job queues of one process. A job is moved from whoever pushes to whoever pops; nothing is copied.
#[derive(Default)]
pub struct InProcessJobs {
    config: JobsConfig,
    state: Mutex<State>,
    /// Something can be popped.
    ready: Notify,
    /// Something has drained.
    drained: Notify,
}

impl InProcessJobs {
    pub fn new(config: JobsConfig) -> Self {
        Self { config, ..Self::default() }
    }

    pub(crate) fn holds(&self, key: JobKey) -> bool {
        self.state.lock().holds(key)
    }

    /// Tenant, group, shard and execution of a lease of `worker`.
    pub(crate) fn leased_to(&self, worker: &str, key: JobKey) -> Option<(Tenant, Group, u16, Id)> {
        self.state.lock().leased_to(worker, key)
    }

    /// Takes what waits in a group and that nobody wants to stop.
    pub(crate) fn take_waiting(&self, group: &str) -> Vec<QueuedJob> {
        self.state.lock().take_waiting(group)
    }
}

#[async_trait]
impl JobQueue for InProcessJobs {
    async fn push(&self, jobs: Vec<QueuedJob>) -> Result<Vec<QueuedJob>, QueueError> {
        let window = self.config.window;
        let refused = {
            let mut state = self.state.lock();
            jobs.into_iter().filter_map(|job| state.push(job, window)).collect()
        };
        self.ready.notify_waiters();
        Ok(refused)
    }

    async fn pop(&self, request: PopRequest) -> Result<Vec<LeasedJob>, QueueError> {
        if request.max == 0 || request.groups.is_empty() {
            return Ok(Vec::new());
        }
        let give_up = deadline(Instant::now(), request.wait);
        loop {
            let ready = self.ready.notified();
            tokio::pin!(ready);
            // Registered before looking: a push in between is not missed.
            ready.as_mut().enable();
            let (taken, drained) = {
                let mut state = self.state.lock();
                (state.pop(&request, Instant::now(), self.config.window), state.has_drained())
            };
            if drained {
                self.drained.notify_one();
            }
            if !taken.is_empty() || timeout_at(give_up, ready).await.is_err() {
                return Ok(taken);
            }
        }
    }

    async fn renew(&self, worker: &str, keys: &[JobKey], lease: Duration) -> Result<Vec<Renewal>, QueueError> {
        Ok(self.state.lock().renew(worker, keys, Instant::now(), lease))
    }

    async fn release(&self, worker: &str, jobs: Vec<QueuedJob>) -> Result<(), QueueError> {
        {
            let mut state = self.state.lock();
            // Backwards, so that the first of them is the first again.
            jobs.into_iter().rev().for_each(|job| state.release(worker, job));
        }
        self.ready.notify_waiters();
        Ok(())
    }

    async fn complete(&self, worker: &str, key: JobKey) -> Result<bool, QueueError> {
        Ok(self.state.lock().complete(worker, key))
    }

    async fn cancel(&self, keys: &[JobKey]) -> Result<Vec<Cancelled>, QueueError> {
        let (cancelled, drained) = {
            let mut state = self.state.lock();
            let cancelled = keys.iter().map(|key| state.cancel(*key, self.config.window)).collect();
            (cancelled, state.has_drained())
        };
        if drained {
            self.drained.notify_one();
        }
        Ok(cancelled)
    }

    async fn expired(&self, shards: &[u16]) -> Result<Vec<ExpiredLease>, QueueError> {
        Ok(self.state.lock().expired(shards, Instant::now()))
    }

    async fn held(&self, keys: &[JobKey]) -> Result<Vec<bool>, QueueError> {
        let state = self.state.lock();
        Ok(keys.iter().map(|key| state.holds(*key)).collect())
    }

    async fn kill_hints(&self, worker: &str) -> Result<KillHints, QueueError> {
        Ok(self.state.lock().kill_hints(worker))
    }

    async fn room(&self, tenant: &Tenant, group: &str) -> Result<usize, QueueError> {
        Ok(self.config.window.saturating_sub(self.state.lock().waiting(tenant, group)))
    }

    async fn drained(&self) -> Vec<(Tenant, Group)> {
        loop {
            let drained = self.state.lock().take_drained();
            if !drained.is_empty() {
                return drained;
            }
            self.drained.notified().await;
        }
    }

    async fn set_weight(&self, tenant: &Tenant, weight: u32) -> Result<(), QueueError> {
        self.state.lock().set_weight(tenant, weight);
        Ok(())
    }

    async fn depths(&self) -> Result<Vec<GroupDepth>, QueueError> {
        Ok(self.state.lock().depths())
    }
}
