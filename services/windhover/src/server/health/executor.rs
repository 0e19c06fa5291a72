//! `executor`: whether the shards of this process move.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use windhover_executor::OwnedShards;
use windhover_telemetry::management::{Health, HealthIndicator};

#[derive(Clone, Default)]
pub(in crate::server) struct ExecutorHealth(Arc<OnceLock<OwnedShards>>);

impl ExecutorHealth {
    pub(in crate::server) fn know(&self, owned: OwnedShards) {
        // Once per process.
        let _ = self.0.set(owned);
    }
}

#[async_trait]
impl HealthIndicator for ExecutorHealth {
    fn key(&self) -> &str {
        "executor"
    }

    async fn check(&self, _: &str) -> Health {
        match self.0.get() {
            Some(owned) => Health::up().detail("shards", owned.list().len()),
            None => Health::error("not started yet"),
        }
    }
}
