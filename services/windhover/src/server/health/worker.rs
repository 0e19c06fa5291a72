//! `worker`: whether tasks can run here.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use windhover_telemetry::management::{Health, HealthIndicator};
use windhover_worker::WorkerView;

#[derive(Clone, Default)]
pub(in crate::server) struct WorkerHealth(Arc<OnceLock<WorkerView>>);

impl WorkerHealth {
    pub(in crate::server) fn know(&self, worker: WorkerView) {
        // Once per process.
        let _ = self.0.set(worker);
    }
}

#[async_trait]
impl HealthIndicator for WorkerHealth {
    fn key(&self) -> &str {
        "worker"
    }

    async fn check(&self, _: &str) -> Health {
        let Some(worker) = self.0.get() else { return Health::error("not started yet") };
        let (threads, _, running) = worker.gauges();
        let health = Health::up().detail("threads", threads).detail("running", running);
        match worker.group() {
            Some(group) => health.detail("group", group),
            None => health,
        }
    }
}
