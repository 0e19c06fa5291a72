//! Settings of a worker and what it works with.

use std::{sync::Arc, time::Duration};

use chrono::Utc;
use windhover_queue::{DEFAULT_GROUP, Group, JobQueue};
use windhover_tasks::TaskServices;
use windhover_telemetry::Metrics;
use windhover_types::Timestamp;

use crate::ResultSink;

#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// Unique among all workers; shown as the worker of an attempt.
    pub name: String,
    /// Attempts at once. Default: 32 for each processor; they mostly wait for others.
    pub slots: usize,
    /// Groups that are served. Default: the one of tasks that name none.
    pub groups: Vec<Group>,
    /// How long a lease holds without renewal; renewed three times as often. Default: 30 s.
    pub lease: Duration,
    /// Attempts that end sooner are reported once, when they have ended. Default: 500 ms.
    pub quick: Duration,
    /// How often log lines of longer attempts are sent. Default: 1 s.
    pub flush: Duration,
    /// Larger outputs fail the attempt (flow model reference 4.6 point 8). Default: 32 MiB.
    pub max_output_bytes: usize,
    /// Microseconds by which its clock is set wrong, for tests of what wrong clocks do. Default: 0.
    pub clock_offset: i64,
}

impl WorkerConfig {
    pub fn new(name: impl Into<String>) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            name: name.into(),
            slots: processors * 32,
            groups: vec![DEFAULT_GROUP.into()],
            lease: Duration::from_secs(30),
            quick: Duration::from_millis(500),
            flush: Duration::from_secs(1),
            max_output_bytes: 32 << 20,
            clock_offset: 0,
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        let now = Timestamp::from_utc(Utc::now());
        Timestamp::from_micros(now.as_micros().saturating_add(self.clock_offset))
    }
}

/// What a worker works with.
#[derive(Clone)]
pub struct WorkerParts {
    pub queue: Arc<dyn JobQueue>,
    pub sink: Arc<dyn ResultSink>,
    pub tasks: Arc<TaskServices>,
    pub metrics: Metrics,
}
