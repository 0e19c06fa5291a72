//! `executor`: whether the shards of this process move.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use windhover_executor::{OwnedShards, Progress};
use windhover_telemetry::management::{Health, HealthIndicator};

/// A batch that waits longer than this for its commit: the database does not take it.
const TOO_LONG: Duration = Duration::from_secs(10);

struct Known {
    owned: OwnedShards,
    progress: Progress,
}

#[derive(Clone, Default)]
pub(in crate::server) struct ExecutorHealth(Arc<OnceLock<Known>>);

impl ExecutorHealth {
    pub(in crate::server) fn know(&self, owned: OwnedShards, progress: Progress) {
        // Once per process.
        let _ = self.0.set(Known { owned, progress });
    }
}

#[async_trait]
impl HealthIndicator for ExecutorHealth {
    fn key(&self) -> &str {
        "executor"
    }

    async fn check(&self, _: &str) -> Health {
        let Some(Known { owned, progress }) = self.0.get() else { return Health::error("not started yet") };
        let lag = progress.lag().unwrap_or_default();
        let health = if lag > TOO_LONG {
            Health::error(format!("a batch has waited for its commit for {} s", lag.as_secs()))
        } else {
            Health::up()
        };
        let millis = u64::try_from(lag.as_millis()).unwrap_or(u64::MAX);
        health.detail("shards", owned.list().len()).detail("commitLagMillis", millis)
    }
}
