//! Depth and lag of shards, queues and tenants as metrics.
//!
//! Each executor tells about its own shards, so that sums over processes are right. What waits in the queues of worker
//! groups is told by the executor that owns shard 0, once for all.

use std::{collections::HashMap, time::Duration};

use tokio::sync::watch;
use windhover_executor::{OwnedShards, Progress, now};
use windhover_queue::RedisStatus;
use windhover_store::Store;
use windhover_telemetry::{Gauge, Metrics, names};
use windhover_types::{Error, Timestamp};

use super::groups::SeenGroups;

const INTERVAL: Duration = Duration::from_secs(15);

/// Rows that one count looks at, at most.
const COUNTED: u64 = 100_000;

/// Shows whether Redis is there, as it is known when somebody looks.
pub(super) fn redis(metrics: &Metrics, status: watch::Receiver<RedisStatus>) {
    let gauge = metrics.registry().gauge(&metrics.name(names::QUEUE_REDIS_UP), &[]);
    metrics.registry().on_read(move |_| {
        let up = !matches!(&*status.borrow(), RedisStatus::Away(_));
        gauge.set(f64::from(u8::from(up)));
    });
}

/// Shows how long the oldest batch has waited for its commit, as it is when somebody looks.
pub(super) fn commit_lag(metrics: &Metrics, progress: Progress) {
    let gauge = metrics.registry().gauge(&metrics.name(names::EXECUTOR_COMMIT_LAG), &[]);
    metrics.registry().on_read(move |_| gauge.set(progress.lag().unwrap_or_default().as_secs_f64()));
}

/// Runs until it is aborted.
pub(super) async fn run(store: Store, metrics: Metrics, owned: OwnedShards, groups: SeenGroups) {
    let mut told = Told { metrics, gauges: HashMap::new() };
    let mut tick = tokio::time::interval(INTERVAL);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        told.forget();
        if let Err(error) = told.look(&store, &owned, &groups).await {
            tracing::debug!(%error, "depths cannot be counted");
        }
    }
}

type Key = (&'static str, Vec<(&'static str, String)>);

struct Told {
    metrics: Metrics,
    gauges: HashMap<Key, Gauge>,
}

impl Told {
    /// What is not told again is over: a shard that went elsewhere, a tenant with nothing left.
    fn forget(&mut self) {
        for gauge in self.gauges.values() {
            gauge.set(0.0);
        }
    }

    fn set(&mut self, name: &'static str, tags: Vec<(&'static str, String)>, value: f64) {
        let (metrics, key) = (&self.metrics, (name, tags));
        let gauge = self.gauges.entry(key).or_insert_with_key(|(name, tags)| {
            let tags: Vec<(&str, &str)> = tags.iter().map(|(key, value)| (*key, value.as_str())).collect();
            metrics.registry().gauge(&metrics.name(name), &tags)
        });
        gauge.set(value);
    }

    async fn look(&mut self, store: &Store, owned: &OwnedShards, groups: &SeenGroups) -> Result<(), Error> {
        let now = now();
        for shard in store.depth(COUNTED).await?.shards {
            if !owned.owns(shard.shard) {
                continue;
            }
            let tags = || vec![("shard", shard.shard.to_string())];
            self.set(names::EXECUTOR_SHARD_OPEN, tags(), shard.open as f64);
            self.set(names::EXECUTOR_SHARD_INBOX, tags(), shard.inbox as f64);
            self.set(names::EXECUTOR_SHARD_INBOX_LAG, tags(), lag(now, shard.oldest_inbox));
            self.set(names::EXECUTOR_SHARD_JOBS, tags(), shard.jobs as f64);
            self.set(names::EXECUTOR_SHARD_TIMER_LAG, tags(), lag(now, shard.oldest_timer));
        }
        self.set(names::EXECUTOR_SHARDS, Vec::new(), owned.list().len() as f64);
        if !owned.owns(0) {
            return Ok(());
        }
        for tenant in store.tenant_depth(COUNTED).await?.tenants {
            let tags = || vec![("tenant_id", self.metrics.tenant_value(&tenant.tenant))];
            let (open, inbox, jobs) = (tags(), tags(), tags());
            self.set(names::EXECUTOR_TENANT_OPEN, open, tenant.open as f64);
            self.set(names::EXECUTOR_TENANT_INBOX, inbox, tenant.inbox as f64);
            self.set(names::EXECUTOR_TENANT_JOBS, jobs, tenant.jobs as f64);
        }
        let workers = groups.workers();
        let mut unserved: HashMap<String, f64> = workers.keys().map(|group| (group.clone(), 0.0)).collect();
        for depth in store.group_depth().await? {
            let group = depth.group.clone().unwrap_or_default();
            let tenant = self.metrics.tenant_value(&depth.tenant);
            let tags = || vec![("worker_group", group.clone()), ("tenant_id", tenant.clone())];
            let waiting = depth.jobs.saturating_sub(depth.held) as f64;
            self.set(names::QUEUE_JOBS_WAITING, tags(), waiting);
            self.set(names::QUEUE_JOBS_HELD, tags(), depth.held as f64);
            // What only waits has no holder who could be late.
            self.set(names::QUEUE_JOBS_OVERDUE, tags(), depth.overdue.min(depth.held) as f64);
            if workers.get(&group).copied().unwrap_or_default() == 0 {
                *unserved.entry(group).or_default() += waiting;
            }
        }
        for (group, count) in &workers {
            self.set(names::WORKER_GROUP_WORKERS, vec![("worker_group", group.clone())], *count as f64);
        }
        for (group, waiting) in unserved {
            self.set(names::WORKER_GROUP_UNSERVED_JOBS, vec![("worker_group", group)], waiting);
        }
        Ok(())
    }
}

fn lag(now: Timestamp, oldest: Option<Timestamp>) -> f64 {
    oldest.map_or(0.0, |oldest| now.since(oldest).as_secs_f64())
}
