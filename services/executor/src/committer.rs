//! The committer: one batch after another into the store, and what follows a commit.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;
use windhover_queue::Hints;
use windhover_store::{Batch, CommitError, FeedRow, Fence, Store, StoreError};
use windhover_telemetry::Metrics;
use windhover_types::Tenant;

use crate::{
    batch::{After, Submitted},
    clock,
    core::answer,
    executor::broken,
    jobs::Dispatch,
    message::{CreatedExecution, Input},
    timers::TimerSender,
};

/// How often a batch is tried that the database refuses for no fault of its data, before the process ends: somebody may
/// be changing the schema just now.
const REFUSALS: u32 = 8;
/// The first and the longest pause while the database is away.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

pub(crate) struct Committer {
    pub(crate) store: Store,
    pub(crate) fence: Fence,
    /// Last number of each shard's feed that is committed.
    pub(crate) feed: HashMap<u16, i64>,
    pub(crate) inputs: mpsc::UnboundedSender<Input>,
    /// To the dispatcher of jobs.
    pub(crate) dispatch: mpsc::UnboundedSender<Dispatch>,
    pub(crate) hints: Arc<dyn Hints>,
    pub(crate) timers: TimerSender,
    pub(crate) metrics: Metrics,
}

impl Committer {
    pub(crate) async fn run(mut self, mut batches: mpsc::UnboundedReceiver<Box<Submitted>>) {
        let mut retry = None;
        loop {
            let mut submitted = match retry.take() {
                Some(submitted) => submitted,
                None => match batches.recv().await {
                    Some(submitted) => submitted,
                    None => return,
                },
            };
            let last = self.add_feed(&mut submitted);
            let begun = Instant::now();
            match self.commit(&submitted.batch, &last).await {
                Ok(()) => {
                    metrics::histogram!("windhover_commit_seconds").record(begun.elapsed());
                    metrics::histogram!("windhover_commit_executions").record(submitted.members.len() as f64);
                    self.feed.extend(last);
                    self.tell(&mut submitted);
                    let _ = self.inputs.send(Input::Committed(submitted));
                }
                Err(CommitError::FeedMoved(rows)) => {
                    // A predecessor's outcome was not known after all: the numbers go on from what is stored.
                    self.feed.extend(rows);
                    retry = Some(submitted);
                }
                Err(error) => {
                    submitted.batch.feed.clear();
                    let _ = self.inputs.send(Input::Refused { batch: submitted, error });
                }
            }
        }
    }

    /// Numbers what the batch tells; possible only here, since the predecessor's outcome is known by now.
    fn add_feed(&self, submitted: &mut Submitted) -> BTreeMap<u16, i64> {
        let mut rows: BTreeMap<(u16, Tenant), FeedRow> = BTreeMap::new();
        let mut last: BTreeMap<u16, i64> = BTreeMap::new();
        let at = clock::now();
        for member in &mut submitted.members {
            let feed = &member.feed;
            if feed.flow_id.is_empty() {
                continue;
            }
            let row = rows.entry((member.shard, member.tenant.clone())).or_insert_with(|| {
                let seq =
                    last.entry(member.shard).or_insert_with(|| self.feed.get(&member.shard).copied().unwrap_or(0));
                *seq += 1;
                FeedRow { shard: member.shard, seq: *seq, tenant: member.tenant.clone(), at, entries: Vec::new() }
            });
            row.entries.push(feed.clone());
        }
        submitted.batch.feed = rows.into_values().collect();
        last
    }

    /// Commits, waiting for a database that is away. An unknown outcome is looked up.
    async fn commit(&self, batch: &Batch, last: &BTreeMap<u16, i64>) -> Result<(), CommitError> {
        let mut pause = RETRY.0;
        let mut refusals = 0;
        // An attempt may have been written; it may even be on its way still when it is looked up.
        let mut doubtful = false;
        let mut look_up = false;
        loop {
            if look_up {
                match self.is_written(last).await {
                    Ok(true) => return Ok(()),
                    Ok(false) => look_up = false,
                    Err(CommitError::Fenced) => return Err(CommitError::Fenced),
                    Err(error) => tracing::warn!(%error, "the outcome of a commit cannot be looked up yet"),
                }
            }
            if !look_up {
                match self.store.commit(&self.fence, batch).await {
                    Err(CommitError::Unavailable(reason)) => {
                        tracing::warn!(reason, "the database is away; trying again")
                    }
                    Err(CommitError::Refused(reason)) if refusals < REFUSALS => {
                        refusals += 1;
                        tracing::error!(reason, "the database refuses a batch; trying again");
                    }
                    // The reason is in the log alone: it may quote what users wrote.
                    Err(CommitError::Refused(_)) => {
                        broken("the database refuses what the executor writes (the log tells why)")
                    }
                    Err(CommitError::Unknown(reason)) => {
                        tracing::warn!(reason, "the outcome of a commit is unknown; looking it up");
                        doubtful = true;
                        look_up = !last.is_empty();
                    }
                    // What differs may be what the attempt in doubt has written meanwhile.
                    Err(error) if doubtful && !last.is_empty() => match self.is_written(last).await {
                        Ok(true) => return Ok(()),
                        Ok(false) => return Err(error),
                        Err(CommitError::Fenced) => return Err(CommitError::Fenced),
                        Err(error) => tracing::warn!(%error, "the outcome of a commit cannot be looked up yet"),
                    },
                    other => return other,
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY.1);
        }
    }

    /// Whether the batch with these last numbers of its shards' feeds was written: they are in the same transaction.
    /// Under a fence that has moved nobody knows, since another owner goes on with the same numbers.
    async fn is_written(&self, last: &BTreeMap<u16, i64>) -> Result<bool, CommitError> {
        let Some((shard, seq)) = last.first_key_value() else { return Ok(false) };
        let away = |error: StoreError| CommitError::Unavailable(error.to_string());
        if self.store.last_feed_seq(*shard).await.map_err(away)? < *seq {
            return Ok(false);
        }
        self.store.commit(&self.fence, &Batch::default()).await.map(|()| true)
    }

    fn tell(&self, submitted: &mut Submitted) {
        let After { jobs, cancels, timers, inbox, observations } = std::mem::take(&mut submitted.after);
        if !jobs.is_empty() {
            let _ = self.dispatch.send(Dispatch::Start(jobs));
        }
        for member in &mut submitted.members {
            if let Some(create) = &mut member.create
                && let (Some(reply), Some(execution)) = (create.reply.take(), member.as_created.take())
            {
                let _ = reply.send(Ok(CreatedExecution { execution: *execution, replayed: false }));
            }
            for pending in &mut member.applied {
                answer(pending.waiter.take(), Ok(!pending.too_late));
                if let Some(acknowledge) = pending.acknowledge.take() {
                    acknowledge.done();
                }
            }
            self.hints.notify(member.shard, &member.tenant, member.id);
        }
        self.timers.set(timers);
        if !inbox.is_empty() {
            let _ = self.inputs.send(Input::Inbox(inbox));
        }
        if !cancels.is_empty() {
            let _ = self.dispatch.send(Dispatch::Cancel(cancels));
        }
        observations.iter().for_each(|observation| observation.count(&self.metrics));
    }
}
