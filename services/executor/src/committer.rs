//! The committer: one batch after another into the store, and what follows a commit.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;
use windhover_engine::Event;
use windhover_queue::{Hints, JobKey, Wake, Wakeups};
use windhover_store::{Batch, ClaimRequest, CommitError, FeedRow, Fence, InboxRow, Store, StoreError};
use windhover_telemetry::Metrics;
use windhover_types::{Id, Tenant};

use crate::{
    batch::{After, Submitted},
    clock,
    core::answer,
    executor::broken,
    flows::{Flows, Name},
    jobs::Dispatch,
    membership::{Change, Changes},
    message::{CreatedExecution, Input},
    owned::OwnedShards,
    progress::Progress,
    timers::TimerSender,
};

/// How often a batch is tried that the database refuses for no fault of its data, before the process ends: somebody may
/// be changing the schema just now.
const REFUSALS: u32 = 8;
/// The first and the longest pause while the database is away.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

pub(crate) struct Committer {
    pub(crate) store: Store,
    /// Under which it writes; `None` while this process owns nothing.
    pub(crate) fence: Option<Fence>,
    /// The shards under the fence, with the last number of each one's feed that is committed.
    pub(crate) feed: HashMap<u16, i64>,
    /// The same, for everybody; without those that are about to leave.
    pub(crate) owned: OwnedShards,
    /// How often this process was taken for dead.
    pub(crate) generation: u64,
    /// Changes of what this process owns: made here, between two commits.
    pub(crate) changes: Changes,
    pub(crate) flows: Flows,
    /// To the owners of other shards.
    pub(crate) wakeups: Arc<dyn Wakeups>,
    pub(crate) inputs: mpsc::UnboundedSender<Input>,
    /// To the dispatcher of jobs.
    pub(crate) dispatch: mpsc::UnboundedSender<Dispatch>,
    pub(crate) hints: Arc<dyn Hints>,
    pub(crate) timers: TimerSender,
    pub(crate) progress: Progress,
    pub(crate) metrics: Metrics,
}

impl Committer {
    pub(crate) async fn run(mut self, mut batches: mpsc::UnboundedReceiver<Box<Submitted>>) {
        let mut retry = None;
        loop {
            let mut submitted = match retry.take() {
                Some(submitted) => submitted,
                None => tokio::select! {
                    biased;
                    Some(change) = self.changes.recv() => {
                        self.change(change).await;
                        continue;
                    }
                    batch = batches.recv() => match batch {
                        Some(submitted) => submitted,
                        None => return,
                    },
                },
            };
            let last = self.add_feed(&mut submitted);
            let begun = Instant::now();
            self.progress.begin();
            let outcome = match self.fence {
                // Computed before this process was taken for dead: it is built again, or its owner is asked.
                _ if submitted.generation != self.generation => Err(CommitError::Conflict { executions: Vec::new() }),
                Some(fence) if self.owns_all(&submitted) => self.commit(&fence, &submitted.batch, &last).await,
                _ => Err(CommitError::Fenced),
            };
            match outcome {
                Ok(()) => {
                    self.progress.end();
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
                    self.progress.end();
                    submitted.batch.feed.clear();
                    let mut moved = HashSet::new();
                    match &error {
                        CommitError::FlowsMoved(tenants) => moved = self.refresh_flows(tenants).await,
                        CommitError::Fenced => self.fenced(),
                        _ => {}
                    }
                    let _ = self.inputs.send(Input::Refused { batch: submitted, error, moved });
                }
            }
        }
    }

    /// Claims and releases, which change the fence: no batch is under way meanwhile.
    async fn change(&mut self, change: Change) {
        match change {
            Change::Claim { instance, request, reply } => {
                let outcome = self.store.claim(instance, request).await;
                if outcome.is_err() {
                    self.fence_again(instance).await;
                }
                let taken = outcome.map(|claim| {
                    self.fence = Some(claim.fence);
                    let held = self.owned.list();
                    let taken: Vec<u16> = claim.shards.iter().map(|(shard, _)| *shard).collect();
                    // Kept are the numbers of what this process has written itself.
                    self.feed = claim
                        .shards
                        .into_iter()
                        .map(|(shard, stored)| (shard, self.feed.get(&shard).copied().unwrap_or(stored)))
                        .collect();
                    let new: Vec<u16> = taken.into_iter().filter(|shard| !held.contains(shard)).collect();
                    if !new.is_empty() {
                        let _ = self.inputs.send(Input::ShardsTaken(new.clone()));
                        self.owned.add(&new);
                    }
                    new
                });
                let _ = reply.send(taken);
            }
            Change::Release { instance, shards, reply } => {
                let outcome = self.store.release_shards(instance, &shards).await;
                if outcome.is_err() {
                    self.fence_again(instance).await;
                }
                let left = outcome.map(|claim| {
                    self.fence = Some(claim.fence);
                    self.feed.retain(|shard, _| !shards.contains(shard));
                });
                let _ = reply.send(left);
            }
            Change::Forget { generation, done } => {
                self.generation = generation;
                self.fence = None;
                self.feed.clear();
                // Also what a claim under the old name has taken in between.
                self.owned.clear();
                let _ = self.inputs.send(Input::Lost { generation });
                let _ = done.send(());
            }
        }
    }

    /// A change that failed may have raised the epoch before it did: as long as the shards are still this instance's, its
    /// batches go on under the present one.
    async fn fence_again(&mut self, instance: Id) {
        let nothing = ClaimRequest { limit: Some(0), take_over: false };
        if let Ok(claim) = self.store.claim(instance, nothing).await {
            let stored: HashSet<u16> = claim.shards.iter().map(|(shard, _)| *shard).collect();
            if self.owned.list().iter().all(|shard| stored.contains(shard)) {
                self.fence = Some(claim.fence);
            }
        }
    }

    /// Whether everything that the batch writes is under the fence.
    fn owns_all(&self, submitted: &Submitted) -> bool {
        submitted.members.iter().all(|member| member.is_foreign || self.feed.contains_key(&member.shard))
            && submitted.slots.iter().all(|of| self.feed.contains_key(&of.shard))
    }

    /// The fence has moved, and not by this process: it is taken for dead.
    fn fenced(&mut self) {
        self.fence = None;
        self.feed.clear();
        self.owned.clear();
        self.changes.lost();
    }

    /// Reads what others have deployed, so that the batch is built again with it; answers what has changed.
    async fn refresh_flows(&self, tenants: &[(Tenant, i64)]) -> HashSet<(Tenant, Name)> {
        let mut moved = HashSet::new();
        for (tenant, _) in tenants {
            let mut pause = RETRY.0;
            loop {
                match self.flows.refresh(tenant).await {
                    Ok(names) => {
                        moved.extend(names.into_iter().map(|name| (tenant.clone(), name)));
                        break;
                    }
                    Err(error) => tracing::warn!(%tenant, %error, "changed flows cannot be read; trying again"),
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(RETRY.1);
            }
        }
        moved
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

    /// Commits, waiting for a database or an internal storage that is away. An unknown outcome is looked up.
    async fn commit(&self, fence: &Fence, batch: &Batch, last: &BTreeMap<u16, i64>) -> Result<(), CommitError> {
        let mut pause = RETRY.0;
        let mut refusals = 0;
        // An attempt may have been written; it may even be on its way still when it is looked up.
        let mut doubtful = false;
        let mut look_up = false;
        loop {
            if look_up {
                match self.is_written(fence, last).await {
                    Ok(true) => return Ok(()),
                    Ok(false) => look_up = false,
                    Err(CommitError::Fenced) => return Err(CommitError::Fenced),
                    Err(error) => tracing::warn!(%error, "the outcome of a commit cannot be looked up yet"),
                }
            }
            if !look_up {
                match self.store.commit(fence, batch).await {
                    Err(CommitError::Unavailable(reason)) => {
                        tracing::warn!(reason, "a batch cannot be written for now; trying again")
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
                    Err(error) if doubtful && !last.is_empty() => match self.is_written(fence, last).await {
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
    async fn is_written(&self, fence: &Fence, last: &BTreeMap<u16, i64>) -> Result<bool, CommitError> {
        let Some((shard, seq)) = last.first_key_value() else { return Ok(false) };
        let away = |error: StoreError| CommitError::Unavailable(error.to_string());
        if self.store.last_feed_seq(*shard).await.map_err(away)? < *seq {
            return Ok(false);
        }
        self.store.commit(fence, &Batch::default()).await.map(|()| true)
    }

    fn tell(&self, submitted: &mut Submitted) {
        let After { jobs, cancels, timers, inbox, observations } = std::mem::take(&mut submitted.after);
        let ended: Vec<JobKey> = submitted.batch.jobs_ended.iter().map(|job| key(job.task_run, job.dispatch)).collect();
        if !ended.is_empty() {
            let _ = self.dispatch.send(Dispatch::Ended(ended));
        }
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
                if let Event::JobStarted { task_run, dispatch, worker, .. } = &pending.event {
                    let (execution, worker) = (member.id, worker.clone());
                    let _ = self.dispatch.send(Dispatch::Began(execution, key(*task_run, *dispatch), worker));
                }
                answer(pending.waiter.take(), Ok(pending.acted.clone()));
                if let Some(acknowledge) = pending.acknowledge.take() {
                    acknowledge.done();
                }
            }
            self.hints.notify(member.shard, &member.tenant, member.id);
        }
        self.timers.set(timers);
        let (here, elsewhere): (Vec<InboxRow>, Vec<InboxRow>) =
            inbox.into_iter().partition(|row| self.owned.owns(row.shard));
        if !here.is_empty() {
            let _ = self.inputs.send(Input::Inbox(here));
        }
        if !elsewhere.is_empty() {
            // A hint that finds no room is lost; the owner's sweep finds what it is about.
            self.wakeups.try_send(elsewhere.into_iter().map(look).collect());
        }
        if !cancels.is_empty() {
            let _ = self.dispatch.send(Dispatch::Cancel(cancels));
        }
        observations.iter().for_each(|observation| observation.count(&self.metrics));
    }
}

fn key(task_run: Id, dispatch: u32) -> JobKey {
    JobKey { task_run, dispatch }
}

/// Tells the owner of a row that it is there.
pub(crate) fn look(row: InboxRow) -> Wake {
    Wake::Look { shard: row.shard, tenant: row.tenant, execution: row.execution }
}
