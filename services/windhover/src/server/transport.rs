//! What carries messages between the services: memory inside one process, Redis between several.

use std::{fs, sync::Arc};

use anyhow::{Context, Result, anyhow};
use tokio::sync::watch;
use windhover_executor::{Flows, OwnedShards};
use windhover_queue::{
    Feed, Hints, InProcessHints, InProcessJobs, JobQueue, JobsConfig, QueueError, RedisConfig, RedisQueue,
    RoutedWakeups, TieredJobs, WakeReceiver, Wakeups, in_process_wakeups,
};

use super::mode::{Mode, Redis, Services};
use crate::settings::Settings;

pub(super) const URL: &str = "windhover.redis.url";

/// Batches of wake-ups that wait for the executor of the process before senders wait too.
const WAKES: usize = 1_024;

pub(super) struct Transport {
    pub(super) jobs: Arc<dyn JobQueue>,
    pub(super) wakeups: Arc<dyn Wakeups>,
    pub(super) hints: Arc<dyn Hints>,
    pub(super) redis: Option<RedisQueue>,
    /// Reads for the shards of this process what others send.
    _feed: Option<Feed>,
}

impl Transport {
    /// `installation` tells it from others that use the same Redis. With the end at which arrives what is for the shards of this process.
    ///
    /// # Errors
    /// One sentence: what is wrong with Redis, and what to do about it.
    pub(super) async fn open(
        settings: &Settings,
        mode: Mode,
        services: Services,
        installation: &str,
        owned: &OwnedShards,
        flows: &Flows,
    ) -> Result<(Self, WakeReceiver)> {
        let mut jobs_config = JobsConfig::default();
        if let Some(window) = settings.number("windhover.queue.window")? {
            jobs_config.window = window;
        }
        let (local, wakes) = in_process_wakeups(WAKES);
        let Some(urls) = urls(settings, mode) else {
            let transport = Self {
                jobs: Arc::new(InProcessJobs::new(jobs_config)),
                wakeups: Arc::new(local),
                hints: Arc::new(InProcessHints::default()),
                redis: None,
                _feed: None,
            };
            return Ok((transport, wakes));
        };
        let mut config = config(settings, &urls, owned.count(), jobs_config.window)?;
        config.installation = installation.to_owned();
        let redis = RedisQueue::connect(config, Arc::new(flows.clone())).await.map_err(explained)?;
        let jobs: Arc<dyn JobQueue> = if services.executor && services.worker {
            Arc::new(TieredJobs::new(InProcessJobs::new(jobs_config), redis.jobs()))
        } else {
            Arc::new(redis.jobs())
        };
        let (wakeups, feed): (Arc<dyn Wakeups>, _) = if services.executor {
            let feed = redis.feed(owned.as_fn(), local.clone());
            (Arc::new(RoutedWakeups::new(local, owned.as_fn(), redis.wakeups())), Some(feed))
        } else {
            (Arc::new(redis.wakeups()), None)
        };
        let hints = Arc::new(redis.hints());
        Ok((Self { jobs, wakeups, hints, redis: Some(redis), _feed: feed }, wakes))
    }

    /// Tells when Redis was found empty.
    pub(super) fn emptied(&self) -> Option<watch::Receiver<u64>> {
        self.redis.as_ref().map(RedisQueue::generation)
    }
}

/// The nodes of Redis that are set, for modes that use one.
pub(super) fn urls(settings: &Settings, mode: Mode) -> Option<Vec<String>> {
    let set = settings.text(URL).filter(|_| mode.row().redis != Redis::Never)?;
    let urls: Vec<String> = set.split(',').map(str::trim).filter(|url| !url.is_empty()).map(str::to_owned).collect();
    (!urls.is_empty()).then_some(urls)
}

fn config(settings: &Settings, urls: &[String], shard_count: u16, window: usize) -> Result<RedisConfig> {
    let (first, others) = urls.split_first().ok_or_else(|| anyhow!("the setting `{URL}` names no Redis"))?;
    let mut config = RedisConfig::new(first, shard_count);
    config.urls.extend(others.iter().cloned());
    config.window = window;
    if let Some(bytes) = settings.number("windhover.queue.max-job-bytes")? {
        config.max_job_bytes = bytes;
    }
    if let Some(bytes) = settings.number("windhover.queue.max-report-bytes")? {
        config.max_report_bytes = bytes;
    }
    if let Some(prefix) = settings.text("windhover.redis.prefix") {
        config.prefix = prefix;
    }
    if let Some(file) = settings.text("windhover.redis.ca-file") {
        let pem = fs::read(&file).with_context(|| format!("the certificates of Redis cannot be read from {file}"))?;
        config.ca_certificate = Some(pem);
    }
    Ok(config)
}

/// The queue's sentences name Redis's address and no password.
fn explained(error: QueueError) -> anyhow::Error {
    match error {
        QueueError::Unusable(reason) => anyhow!("{reason}"),
        QueueError::Unavailable(reason) => {
            anyhow!("{reason}; check that Redis is running there and that WINDHOVER_REDIS_URL is right")
        }
        other => anyhow!("Redis cannot be used: {other}; check WINDHOVER_REDIS_URL"),
    }
}
