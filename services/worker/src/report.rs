//! Sending reports until they are acknowledged.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::warn;
use windhover_queue::{QueuedJob, Report, ReportKind};
use windhover_tasks::TaskLog;
use windhover_types::Timestamp;

use crate::ResultSink;

const FIRST_DELAY: Duration = Duration::from_millis(50);
/// So many tries must have failed before it is logged.
const TOLD: u32 = 5;
const MAX_DELAY: Duration = Duration::from_secs(2);

/// Sends reports about one attempt.
#[derive(Clone)]
pub(crate) struct Reporter {
    sink: Arc<dyn ResultSink>,
    worker: String,
    /// Without its content: what a report is about.
    about: Report,
}

impl Reporter {
    pub(crate) fn new(sink: Arc<dyn ResultSink>, worker: &str, job: &QueuedJob) -> Self {
        let about = Report {
            tenant: job.tenant.clone(),
            shard: job.shard,
            execution: job.execution,
            key: job.key(),
            worker: worker.to_owned(),
            kind: ReportKind::Logs { first: 0, lines: Vec::new() },
        };
        Self { sink, worker: worker.to_owned(), about }
    }

    /// Sends again until it is acknowledged.
    pub(crate) async fn send(&self, kind: ReportKind) {
        let mut delay = FIRST_DELAY;
        let mut failed = 0_u32;
        loop {
            let report = Report { kind: kind.clone(), ..self.about.clone() };
            let Err(error) = self.sink.report(report).await else {
                return;
            };
            failed += 1;
            // Owners change, and connections are lost: only what keeps failing is worth a line.
            if failed == TOLD {
                warn!(worker = %self.worker, execution = %self.about.execution, error = %error, "a report is not acknowledged; it is sent until it is");
            }
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(MAX_DELAY);
        }
    }
}

/// Tells the owner that an attempt runs, and brings its log lines as they come.
pub(crate) struct Streamer {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Streamer {
    pub(crate) fn start(reporter: Reporter, log: Arc<TaskLog>, started_at: Timestamp, flush: Duration) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(stream(reporter, log, started_at, flush, stop.clone()));
        Self { stop, task }
    }

    /// Waits until what is under way is acknowledged; lines that come later travel with the result.
    pub(crate) async fn finish(mut self) {
        self.stop.cancel();
        // It cannot fail but by a panic, after which there is nothing to wait for.
        let _ = (&mut self.task).await;
    }
}

/// Of an attempt that reports nothing any more.
impl Drop for Streamer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn stream(
    reporter: Reporter,
    log: Arc<TaskLog>,
    started_at: Timestamp,
    flush: Duration,
    stop: CancellationToken,
) {
    reporter.send(ReportKind::Started { at: started_at }).await;
    let mut first: u32 = 0;
    while !stop.is_cancelled() {
        let lines = log.take();
        if !lines.is_empty() {
            let count = u32::try_from(lines.len()).unwrap_or(u32::MAX);
            reporter.send(ReportKind::Logs { first, lines }).await;
            first = first.saturating_add(count);
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(flush) => {}
        }
    }
}
