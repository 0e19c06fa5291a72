//! Metrics of one task type in one flow, on a worker (tag set WT of operations reference 1.1).

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use super::{Counter, Gauge, Registry, Timer, names};

/// Handles of a task. Keep the `Arc` for as long as its flow's revision is of interest.
pub struct TaskMetrics {
    registry: Registry,
    prefix: Arc<str>,
    tags: Vec<(String, String)>,
    running: Gauge,
    queued: OnceLock<Timer>,
    started: Counter,
    retried: OnceLock<Counter>,
    killed: OnceLock<Counter>,
    ended: OnceLock<Counter>,
    duration: OnceLock<Timer>,
}

/// Counts an attempt as running until it is dropped.
pub struct Running(Gauge);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.add(-1.0);
    }
}

impl TaskMetrics {
    pub(super) fn new(registry: Registry, prefix: Arc<str>, tags: Vec<(String, String)>) -> Self {
        let borrowed = borrow(&tags);
        let running = registry.gauge(&format!("{prefix}{}", names::WORKER_RUNNING_COUNT), &borrowed);
        let started = registry.counter(&format!("{prefix}{}", names::WORKER_STARTED_COUNT), &borrowed);
        Self {
            registry,
            prefix,
            tags,
            running,
            queued: OnceLock::new(),
            started,
            retried: OnceLock::new(),
            killed: OnceLock::new(),
            ended: OnceLock::new(),
            duration: OnceLock::new(),
        }
    }

    /// An attempt (from 0) begins; `queued`: how long its task run waited, of the first attempt.
    #[must_use]
    pub fn started(&self, attempt: u32, queued: Option<Duration>) -> Running {
        self.started.increment();
        if attempt > 0 {
            self.counter(&self.retried, names::WORKER_RETRIED_COUNT).increment();
        }
        if let Some(queued) = queued {
            self.timer(&self.queued, names::WORKER_QUEUED_DURATION).record(queued);
        }
        self.running.add(1.0);
        Running(self.running.clone())
    }

    pub fn ended(&self, took: Duration) {
        self.counter(&self.ended, names::WORKER_ENDED_COUNT).increment();
        self.timer(&self.duration, names::WORKER_ENDED_DURATION).record(took);
    }

    /// An attempt (from 0) was ended by its timeout.
    pub fn timed_out(&self, attempt: u32) {
        let attempt = attempt.saturating_add(1).to_string();
        let mut tags = borrow(&self.tags);
        tags.push(("attempt_count", &attempt));
        self.registry.counter(&self.name(names::WORKER_TIMEOUT_COUNT), &tags).increment();
    }

    pub fn killed(&self) {
        self.counter(&self.killed, names::WORKER_KILLED_COUNT).increment();
    }

    fn counter<'a>(&self, handle: &'a OnceLock<Counter>, name: &str) -> &'a Counter {
        handle.get_or_init(|| self.registry.counter(&self.name(name), &borrow(&self.tags)))
    }

    fn timer<'a>(&self, handle: &'a OnceLock<Timer>, name: &str) -> &'a Timer {
        handle.get_or_init(|| self.registry.timer(&self.name(name), &borrow(&self.tags)))
    }

    fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

fn borrow(tags: &[(String, String)]) -> Vec<(&str, &str)> {
    tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
}
