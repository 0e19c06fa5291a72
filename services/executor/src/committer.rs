//! The committer: one batch after another into the store, and what follows a commit.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use tokio::sync::mpsc;
use windhover_engine::{Event, JobResult};
use windhover_queue::{Cancelled, Hints, JobKey, JobQueue, QueuedJob};
use windhover_store::{Batch, CommitError, FeedRow, Fence, Store};
use windhover_telemetry::Metrics;
use windhover_types::{State, Tenant};

use crate::{
    batch::{After, Submitted},
    clock,
    core::answer,
    message::{CreatedExecution, Input, Pending},
    timers::TimerSender,
};

/// The first and the longest pause while the database is away.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

pub(crate) struct Committer {
    pub(crate) store: Store,
    pub(crate) fence: Fence,
    /// Last number of each shard's feed that is committed.
    pub(crate) feed: HashMap<u16, i64>,
    pub(crate) inputs: mpsc::UnboundedSender<Input>,
    /// To the dispatcher of jobs.
    pub(crate) dispatch: mpsc::UnboundedSender<Vec<QueuedJob>>,
    pub(crate) jobs: Arc<dyn JobQueue>,
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
            match self.commit(&submitted.batch, &last).await {
                Ok(()) => {
                    self.feed.extend(last);
                    self.tell(&mut submitted).await;
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
                let seq = last.entry(member.shard).or_insert_with(|| self.feed.get(&member.shard).copied().unwrap_or(0));
                *seq += 1;
                FeedRow { shard: member.shard, seq: *seq, tenant: member.tenant.clone(), at, entries: Vec::new() }
            });
            row.entries.push(feed.clone());
        }
        submitted.batch.feed = rows.into_values().collect();
        last
    }

    /// Commits, waiting for a database that is away. An unknown outcome is looked up: the last number of a shard's feed
    /// is written in the same transaction as everything else.
    async fn commit(&self, batch: &Batch, last: &BTreeMap<u16, i64>) -> Result<(), CommitError> {
        let mut pause = RETRY.0;
        let mut unknown = false;
        loop {
            if unknown && let Some((shard, seq)) = last.first_key_value() {
                match self.store.last_feed_seq(*shard).await {
                    Ok(stored) if stored >= *seq => return Ok(()),
                    Ok(_) => unknown = false,
                    Err(error) => tracing::warn!(%error, "the outcome of a commit cannot be looked up yet"),
                }
            }
            if !unknown || last.is_empty() {
                match self.store.commit(&self.fence, batch).await {
                    Err(CommitError::Unavailable(reason)) => tracing::warn!(reason, "the database is away; trying again"),
                    Err(CommitError::Unknown(reason)) => {
                        tracing::warn!(reason, "the outcome of a commit is unknown; looking it up");
                        unknown = true;
                    }
                    other => return other,
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY.1);
        }
    }

    async fn tell(&mut self, submitted: &mut Submitted) {
        let After { jobs, cancels, timers, inbox, observations } = std::mem::take(&mut submitted.after);
        if !jobs.is_empty() {
            let _ = self.dispatch.send(jobs);
        }
        for member in &mut submitted.members {
            if let Some(create) = &mut member.create
                && let (Some(reply), Some(execution)) = (create.reply.take(), member.as_created.take())
            {
                let _ = reply.send(Ok(CreatedExecution { execution: *execution, replayed: false }));
            }
            for pending in &mut member.applied {
                answer(pending.waiter.take(), Ok(true));
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
            self.cancel(cancels).await;
        }
        observations.iter().for_each(|observation| observation.count(&self.metrics));
    }

    /// Tells holders to stop; jobs that nobody had begun are reported as killed here, since nobody else will.
    async fn cancel(&self, cancels: Vec<(Tenant, windhover_types::Id, windhover_types::Id, u32)>) {
        let keys: Vec<JobKey> =
            cancels.iter().map(|(_, _, task_run, dispatch)| JobKey { task_run: *task_run, dispatch: *dispatch }).collect();
        let outcomes = self.jobs.cancel(&keys).await.unwrap_or_default();
        for ((tenant, execution, task_run, dispatch), outcome) in cancels.into_iter().zip(outcomes) {
            if outcome != Cancelled::Removed {
                continue;
            }
            let at = clock::now();
            let result = JobResult {
                started_at: at,
                ended_at: at,
                worker: None,
                state: State::Killed,
                outputs: None,
                error: None,
                logs: Vec::new(),
                metrics: Vec::new(),
            };
            let event = Event::JobEnded { task_run, dispatch, result: Box::new(result) };
            let _ = self.inputs.send(Input::Event { tenant, execution, pending: Pending::new(event) });
        }
    }
}
