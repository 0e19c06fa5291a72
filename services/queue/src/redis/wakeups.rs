//! [`Wakeups`] over Redis: a stream per group of shards.

use std::sync::Arc;

use async_trait::async_trait;
use redis::Pipeline;
use tokio::sync::{mpsc, oneshot};
use windhover_engine::{JobResult, LogLine};
use windhover_types::{Level, State};

use super::{
    Shared,
    wire::{self, WireEnvelope, WireWake},
};
use crate::{QueueError, Report, ReportKind, Wake, Wakeups};

/// Batches that may wait for the one that is under way.
const CAPACITY: usize = 256;

/// An entry of its own, so that it can be deleted when it was read: streams hold many small ones, few large ones.
pub(super) const LARGE: usize = 4_096;

/// Small messages in one entry.
pub(super) const PER_ENTRY: usize = 64;

/// Longer lines are cut when a batch of them is too large to be sent.
const LINE: usize = 16_384;

/// A wake-up as it goes into a stream.
pub(super) struct Encoded {
    shard: u16,
    body: Vec<u8>,
    /// Under which number its sender waits.
    sequence: Option<u64>,
}

pub(super) struct Sending {
    wakes: Vec<Encoded>,
    done: Option<oneshot::Sender<Result<(), QueueError>>>,
}

/// Sends wake-ups to whichever process owns the shard. Whatever is sent while a batch is on its way is the next batch.
#[derive(Clone)]
pub struct RedisWakeups {
    shared: Arc<Shared>,
}

pub(super) type Outbox = mpsc::Sender<Sending>;

pub(super) fn outbox() -> (Outbox, mpsc::Receiver<Sending>) {
    mpsc::channel(CAPACITY)
}

impl RedisWakeups {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    fn encode(&self, wakes: Vec<Wake>) -> Vec<Encoded> {
        wakes.into_iter().filter_map(|wake| self.encode_one(wake)).collect()
    }

    /// `None`: it cannot be written at all, which was said.
    fn encode_one(&self, wake: Wake) -> Option<Encoded> {
        let core = &self.shared.core;
        let (shard, sequence, body) = match &wake {
            Wake::Look { shard, tenant, execution } => {
                let wire = WireWake::Look { tenant: std::borrow::Cow::Borrowed(tenant), execution: *execution };
                (*shard, None, wire::encode(&wire))
            }
            Wake::Report { report, .. } => {
                let sequence = core.pending.reserve();
                let encode = |report: &Report| {
                    let process = std::borrow::Cow::Borrowed(core.process.as_ref());
                    wire::encode(&WireWake::Report(Box::new(WireEnvelope { process, sequence, report: report.into() })))
                };
                let mut body = encode(report);
                let limit = core.config.max_report_bytes;
                if let Ok(bytes) = &body
                    && bytes.len() > limit
                {
                    body = encode(&cut(report.clone(), bytes.len(), limit));
                }
                (report.shard, Some(sequence), body)
            }
        };
        match body {
            Ok(body) => {
                if let (Wake::Report { acknowledge, .. }, Some(sequence)) = (wake, sequence) {
                    core.pending.add(sequence, acknowledge);
                }
                Some(Encoded { shard, body, sequence })
            }
            Err(error) => {
                tracing::error!(%error, "a wake-up cannot be written");
                None
            }
        }
    }
}

/// What is said in place of a report that is too large to be sent.
fn cut(mut report: Report, bytes: usize, limit: usize) -> Report {
    match &mut report.kind {
        ReportKind::Ended { result } => {
            let error = format!(
                "the result of the attempt has {bytes} bytes; at most {limit} can be sent to the executor \
                 (windhover.queue.max-report-bytes)"
            );
            let (ended_at, worker) = (result.ended_at, result.worker.take());
            // In place of the lines that may be what is too large.
            let about = result.logs.pop();
            let line = LogLine {
                at: ended_at,
                level: Level::Error,
                message: error.clone(),
                task_id: about.as_ref().and_then(|line| line.task_id.clone()),
                task_run_id: Some(report.key.task_run),
                attempt: about.and_then(|line| line.attempt),
            };
            let failed = JobResult::bare(result.started_at, State::Failed);
            **result = JobResult { ended_at, worker, error: Some(error), logs: vec![line], ..failed };
        }
        ReportKind::Logs { lines, .. } => {
            for line in lines {
                if line.message.len() > LINE {
                    let end = line.message.floor_char_boundary(LINE);
                    line.message.truncate(end);
                    line.message.push_str(" … (cut: too long to be sent)");
                }
            }
        }
        ReportKind::Started { .. } => {}
    }
    report
}

#[async_trait]
impl Wakeups for RedisWakeups {
    async fn send(&self, wakes: Vec<Wake>) -> Result<(), QueueError> {
        if wakes.is_empty() {
            return Ok(());
        }
        let (done, sent) = oneshot::channel();
        let sending = Sending { wakes: self.encode(wakes), done: Some(done) };
        self.shared.outbox.send(sending).await.map_err(|_| QueueError::Closed)?;
        sent.await.unwrap_or(Err(QueueError::Closed))
    }

    fn try_send(&self, wakes: Vec<Wake>) -> bool {
        // Reserved first: what finds no room is not encoded.
        match self.shared.outbox.try_reserve() {
            Ok(place) if self.shared.core.link.is_available() => {
                place.send(Sending { wakes: self.encode(wakes), done: None });
                true
            }
            _ => false,
        }
    }
}

/// Sends what comes, until nobody can send any more.
pub(super) async fn run(core: Arc<super::Core>, mut sendings: mpsc::Receiver<Sending>) {
    let mut batch = Vec::new();
    while sendings.recv_many(&mut batch, CAPACITY).await > 0 {
        let groups = usize::from(core.config.stream_groups);
        let mut streams: Vec<Vec<&Encoded>> = vec![Vec::new(); groups];
        for wake in batch.iter().flat_map(|sending: &Sending| &sending.wakes) {
            streams[usize::from(wake.shard) % groups].push(wake);
        }
        let sent = streams.iter().enumerate().filter(|(_, wakes)| !wakes.is_empty()).map(|(group, wakes)| {
            let core = &core;
            async move { (group, core.link.bulk(&pipeline(core, group, wakes)).await) }
        });
        let mut failed: Vec<Option<String>> = vec![None; groups];
        for (group, result) in futures::future::join_all(sent).await {
            if let Err(error) = result {
                failed[group] = Some(error.reason());
            }
        }
        for Sending { wakes, done } in batch.drain(..) {
            let mut result = Ok(());
            for wake in &wakes {
                if let Some(reason) = &failed[usize::from(wake.shard) % groups] {
                    if let Some(sequence) = wake.sequence {
                        core.pending.remove(sequence);
                    }
                    result = Err(QueueError::Unavailable(reason.clone()));
                }
            }
            if let Some(done) = done {
                // Whoever waited may have gone.
                let _ = done.send(result);
            }
        }
    }
}

/// Small ones together in one entry, large ones each in one of its own.
fn pipeline(core: &super::Core, group: usize, wakes: &[&Encoded]) -> Pipeline {
    let key = core.keys.stream(u16::try_from(group).unwrap_or(0));
    let mut pipeline = Pipeline::new();
    let (large, small): (Vec<&Encoded>, Vec<&Encoded>) = wakes.iter().partition(|wake| wake.body.len() > LARGE);
    let entries = small.chunks(PER_ENTRY).chain(large.chunks(1));
    for entry in entries {
        let command = pipeline.cmd("XADD").arg(&key).arg("MAXLEN").arg("~").arg(core.config.stream_length).arg("*");
        for wake in entry {
            command.arg(wake.shard).arg(wake.body.as_slice());
        }
    }
    pipeline
}
