//! Dispatch of jobs to the workers' queues, and the look after those who hold them.

mod open;
mod routing;
mod waiting;

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, oneshot, watch};
use windhover_engine::{Event, JobResult};
use windhover_queue::{Cancelled, Group, JobKey, JobQueue, QueuedJob};
use windhover_store::{JobKey as StoredKey, JobRow, Store};
use windhover_types::{Id, State, Tenant, Timestamp};

pub use self::routing::{GroupState, NoGroups, WorkerGroups};
use self::{
    open::{Cancel, Found, LostOpen, OpenJobs},
    routing::Route,
    waiting::{Next, Waiting},
};
use crate::{
    clock,
    effects::JOB_LEASE,
    membership::Membership,
    message::{Input, Pending},
    owned::OwnedShards,
};

/// How often leases that ran out are looked for.
const SWEEP: Duration = Duration::from_secs(1);
/// Jobs that one look is about.
const LOOKS: usize = 1_000;
/// Messages of the committer that are dealt with together.
const TOGETHER: usize = 64;

/// What a commit has for the dispatcher, in the order of the commits: a job is never cancelled before it was sent.
pub(crate) enum Dispatch {
    Start(Vec<QueuedJob>),
    /// These attempts are to stop.
    Cancel(Vec<Cancel>),
    /// A worker has begun this job of the execution.
    Began(Id, JobKey, String),
    /// Settled: nobody looks after them any more.
    Ended(Vec<JobKey>),
    /// Jobs of shards that came to this process, as they were stored at that time of the database; others may hold
    /// them.
    Recovered(Vec<JobRow>, Timestamp),
    /// Looks for leases that are over, and says when it has: the process is about to stop, and so have its workers.
    Look(oneshot::Sender<()>),
}

/// What the dispatcher works with.
pub(crate) struct Dispatcher {
    pub(crate) store: Store,
    pub(crate) queue: Arc<dyn JobQueue>,
    pub(crate) groups: Arc<dyn WorkerGroups>,
    pub(crate) membership: Membership,
    pub(crate) owned: OwnedShards,
    /// The queue was emptied.
    pub(crate) emptied: Option<watch::Receiver<u64>>,
    pub(crate) inputs: mpsc::UnboundedSender<Input>,
}

struct Running {
    parts: Dispatcher,
    /// What found no room in its tenant's window, in order.
    waiting: Waiting,
    open: OpenJobs,
    /// Of those that wait: the queue may have taken them, since its answer did not come.
    doubtful: HashSet<JobKey>,
    /// Cancellations that the queue has not heard yet.
    untold: Vec<Cancel>,
}

/// Pushes jobs to the queue until nobody has any; what finds no room in its tenant's window waits here.
pub(crate) async fn run(parts: Dispatcher, mut dispatches: mpsc::UnboundedReceiver<Dispatch>) {
    let mut changes = parts.owned.changes();
    let mut emptied = parts.emptied.clone();
    let queue = Arc::clone(&parts.queue);
    let (doubtful, untold) = (HashSet::new(), Vec::new());
    let mut running = Running { parts, waiting: Waiting::default(), open: OpenJobs::default(), doubtful, untold };
    let mut sweep = tokio::time::interval(SWEEP);
    sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut received = Vec::with_capacity(TOGETHER);
    loop {
        tokio::select! {
            count = dispatches.recv_many(&mut received, TOGETHER) => {
                if count == 0 {
                    return;
                }
                running.take(received.drain(..)).await;
            }
            drained = queue.drained(), if !running.waiting.is_empty() => running.refill(drained).await,
            Ok(()) = changes.changed() => running.leave_others(),
            () = was_emptied(&mut emptied) => {
                tracing::warn!("the queue was emptied: jobs that nobody holds any more are sent again");
                running.open.look_at_all_again(Instant::now());
            }
            _ = sweep.tick() => {
                running.cancel_again().await;
                running.look_after_leases().await;
                running.look_for_lost().await;
                let everything = running.waiting.places();
                running.refill(everything).await;
            }
        }
    }
}

async fn was_emptied(emptied: &mut Option<watch::Receiver<u64>>) {
    if let Some(receiver) = emptied
        && receiver.changed().await.is_ok()
    {
        return;
    }
    // There is no queue that could be emptied, or it is gone with the process.
    std::future::pending().await
}

impl Running {
    async fn take(&mut self, dispatches: impl Iterator<Item = Dispatch>) {
        let mut jobs = Vec::new();
        for dispatch in dispatches {
            if let Dispatch::Start(more) = dispatch {
                jobs.extend(more);
                continue;
            }
            self.start(std::mem::take(&mut jobs)).await;
            match dispatch {
                Dispatch::Start(_) => {}
                Dispatch::Cancel(cancels) => self.cancel(cancels).await,
                Dispatch::Began(execution, key, worker) => self.open.began(execution, key, worker, Instant::now()),
                Dispatch::Ended(keys) => self.ended(&keys),
                Dispatch::Recovered(rows, at) => {
                    let now = Instant::now();
                    rows.into_iter().for_each(|row| self.open.recovered(row, at, now));
                }
                Dispatch::Look(done) => {
                    self.look_after_leases().await;
                    let _ = done.send(());
                }
            }
        }
        self.start(jobs).await;
    }

    fn ended(&mut self, keys: &[JobKey]) {
        keys.iter().for_each(|key| self.open.remove(key));
        let taken: HashSet<JobKey> = keys.iter().filter(|key| self.doubtful.remove(key)).copied().collect();
        if !taken.is_empty() {
            // They had reached a worker after all.
            self.waiting.take_away(&taken);
        }
    }

    async fn start(&mut self, jobs: Vec<QueuedJob>) {
        let mut fresh = Vec::with_capacity(jobs.len());
        for job in jobs {
            if !self.parts.owned.owns(job.shard) {
                // Its new owner derives it from the store.
                continue;
            }
            match routing::route(self.parts.groups.as_ref(), &job) {
                Route::Push => {}
                Route::Settle(result) => {
                    let event = Event::JobEnded { task_run: job.job.task_run, dispatch: job.job.dispatch, result };
                    self.tell(job.tenant, job.execution, Pending::new(event));
                    continue;
                }
            }
            // Behind those of its tenant that wait already.
            fresh.extend(self.waiting.add_if_others_wait(job));
        }
        for job in self.push(fresh).await {
            self.waiting.add(job);
        }
        let short = self.waiting.short();
        self.refill(short).await;
    }

    /// Sends as many of what waits as there is room for.
    async fn refill(&mut self, places: Vec<(Tenant, Group)>) {
        for place in places {
            let room = match self.parts.queue.room(&place.0, &place.1).await {
                Ok(room) => room,
                Err(error) => {
                    tracing::warn!(%error, "jobs wait: the queue does not answer");
                    return;
                }
            };
            // One more than there is room for: being refused is what makes the queue tell when there is room again.
            let Next { jobs, bare } = self.waiting.next(&place, room.saturating_add(1));
            for waiting in bare {
                // Nobody has seen it: the engine prepares it anew, under the next number.
                let pending = Pending { losses: waiting.losses, ..lost(waiting.key) };
                self.tell(place.0.clone(), waiting.execution, pending);
            }
            for job in self.push(jobs).await.into_iter().rev() {
                self.waiting.put_back(job);
            }
        }
    }

    /// Answers the jobs that are still to be pushed, in order.
    async fn push(&mut self, jobs: Vec<QueuedJob>) -> Vec<QueuedJob> {
        if jobs.is_empty() {
            return jobs;
        }
        let refused = match self.parts.queue.push(jobs.clone()).await {
            Ok(refused) => refused.iter().map(QueuedJob::key).collect(),
            Err(error) => {
                tracing::warn!(%error, "jobs wait: the queue does not take them");
                let kept: HashSet<JobKey> = jobs.iter().map(QueuedJob::key).collect();
                self.doubtful.extend(&kept);
                kept
            }
        };
        let (waits, pushed): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|job| refused.contains(&job.key()));
        let now = Instant::now();
        for job in &pushed {
            self.doubtful.remove(&job.key());
            self.open.pushed(job, now);
        }
        waits
    }

    /// Tells holders to stop; jobs that nobody had begun are reported as killed here, since nobody else will.
    async fn cancel(&mut self, cancels: Vec<Cancel>) {
        let key = |cancel: &Cancel| JobKey { task_run: cancel.2, dispatch: cancel.3 };
        let here = self.waiting.take_away(&cancels.iter().map(key).collect());
        let doubtful = &mut self.doubtful;
        let (waited, sent): (Vec<_>, Vec<_>) = cancels.into_iter().partition(|cancel| {
            let key = key(cancel);
            here.contains(&key) && !doubtful.remove(&key)
        });
        let keys: Vec<JobKey> = sent.iter().map(key).collect();
        keys.iter().for_each(|key| self.open.cancelled(key));
        let outcomes = match self.parts.queue.cancel(&keys).await {
            Ok(outcomes) => outcomes,
            Err(error) => {
                tracing::warn!(%error, "attempts cannot be told to stop yet; trying again");
                self.untold.extend(sent.iter().cloned());
                Vec::new()
            }
        };
        let removed = sent.into_iter().zip(outcomes).filter(|(_, outcome)| *outcome == Cancelled::Removed);
        let settled: Vec<_> = waited.into_iter().chain(removed.map(|(cancel, _)| cancel)).collect();
        for (tenant, execution, task_run, dispatch) in settled {
            // It never began.
            let result = Box::new(JobResult::bare(clock::now(), State::Killed));
            let event = Event::JobEnded { task_run, dispatch, result };
            self.tell(tenant, execution, Pending::new(event));
        }
    }

    /// Tells the queue again what it has not heard.
    async fn cancel_again(&mut self) {
        let untold = std::mem::take(&mut self.untold);
        if !untold.is_empty() {
            self.cancel(untold).await;
        }
    }

    /// Leases that ran out, as the queue tells them: each has cost the attempt a holder.
    async fn look_after_leases(&mut self) {
        let expired = match self.parts.queue.expired(&self.parts.owned.list()).await {
            Ok(expired) => expired,
            Err(error) => {
                tracing::warn!(%error, "leases cannot be looked after");
                return;
            }
        };
        for lease in expired {
            let mut losses = self.open.losses(&lease.key);
            if lease.given_up {
                tracing::info!(tenant = %lease.tenant, execution = %lease.execution, worker = %lease.worker, "a worker that stops has given up a job; it is sent again");
            } else {
                tracing::warn!(tenant = %lease.tenant, execution = %lease.execution, worker = %lease.worker, "the holder of a job is lost");
                losses = losses.saturating_add(1);
            }
            self.open.remove(&lease.key);
            self.tell(lease.tenant, lease.execution, Pending { losses, ..lost(lease.key) });
        }
    }

    /// Jobs that the queue no longer knows of, and prolonged deadlines for those that somebody holds.
    async fn look_for_lost(&mut self) {
        if self.parts.membership == Membership::Exclusive {
            // The queue is in the memory of this very process.
            return;
        }
        let due = self.open.due(Instant::now());
        for chunk in due.chunks(LOOKS) {
            let held = match self.parts.queue.held(chunk).await {
                Ok(held) => held,
                Err(error) => {
                    tracing::debug!(%error, "nobody can say who holds which jobs");
                    return;
                }
            };
            let known = chunk.iter().copied().zip(held);
            let Found { lost: mut gone, silent, renewals, cancels } = self.open.sort(known, Instant::now());
            if !silent.is_empty() {
                gone.extend(self.confirm(silent).await);
            }
            for job in gone {
                tracing::warn!(tenant = %job.tenant, execution = %job.execution, "nobody holds a job any more; it is sent again");
                self.tell(job.tenant, job.execution, Pending { losses: job.losses, ..lost(job.key) });
            }
            if !renewals.is_empty()
                && let Err(error) = self.parts.store.renew_jobs(&renewals, JOB_LEASE).await
            {
                tracing::warn!(%error, "the deadlines of jobs cannot be prolonged yet");
            }
            if !cancels.is_empty() {
                self.cancel(cancels).await;
            }
        }
    }

    /// Their holders may have been heard of where this process hears nothing: the store tells.
    async fn confirm(&mut self, silent: Vec<StoredKey>) -> Vec<LostOpen> {
        match self.parts.store.overdue_jobs(&silent).await {
            Ok(rows) => {
                let key = |row: JobRow| JobKey { task_run: row.task_run, dispatch: row.dispatch };
                let overdue = rows.into_iter().map(key).collect();
                self.open.confirm(silent, &overdue, Instant::now())
            }
            Err(error) => {
                tracing::warn!(%error, "the deadlines of jobs cannot be read yet");
                Vec::new()
            }
        }
    }

    /// What belongs to shards that have left is looked after by their new owners.
    fn leave_others(&mut self) {
        let owned = &self.parts.owned;
        self.waiting.retain(|shard| owned.owns(shard));
        self.open.shards_changed(|shard| owned.owns(shard), Instant::now());
    }

    fn tell(&self, tenant: Tenant, execution: Id, pending: Pending) {
        let _ = self.parts.inputs.send(Input::Event { tenant, execution, pending });
    }
}

fn lost(key: JobKey) -> Pending {
    Pending::lost(key.task_run, key.dispatch, 0)
}
