//! `redis`: whether messages reach other processes.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use tokio::sync::watch;
use windhover_queue::RedisStatus;
use windhover_telemetry::management::{Health, HealthIndicator, Status};

/// Unknown while Redis is away or takes nothing new, and not down: nothing is lost, calls are still answered, and a load balancer that took
/// every gateway out at once would turn a delay into an outage. The metric `queue.redis.up` is there for alerts.
#[derive(Clone, Default)]
pub(in crate::server) struct RedisHealth(Arc<OnceLock<watch::Receiver<RedisStatus>>>);

impl RedisHealth {
    /// From now on it is known.
    pub(in crate::server) fn know(&self, status: watch::Receiver<RedisStatus>) {
        // Once per process.
        let _ = self.0.set(status);
    }
}

#[async_trait]
impl HealthIndicator for RedisHealth {
    fn key(&self) -> &str {
        "redis"
    }

    async fn check(&self, _: &str) -> Health {
        match self.0.get().map(|status| status.borrow().clone()) {
            Some(RedisStatus::Available) => Health::up(),
            Some(RedisStatus::Refuses(reason) | RedisStatus::Away(reason)) => {
                Health { status: Status::Unknown, ..Health::error(reason) }
            }
            None => Health::error("not connected yet"),
        }
    }
}
