//! Dispatch of jobs to the workers' queues, and the look after their leases.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::sync::mpsc;
use windhover_engine::{Event, JobResult};
use windhover_queue::{Cancelled, Group, JobKey, JobQueue, QueuedJob};
use windhover_types::{Id, State, Tenant};

use crate::{
    clock,
    message::{Input, Pending},
};

/// How often leases that ran out are looked for.
const SWEEP: Duration = Duration::from_secs(1);

/// What a commit has for the dispatcher, in the order of the commits: a job is never cancelled before it was sent.
pub(crate) enum Dispatch {
    Start(Vec<QueuedJob>),
    /// (tenant, execution, task run, dispatch) of attempts that are to stop.
    Cancel(Vec<(Tenant, Id, Id, u32)>),
}

struct Dispatcher {
    queue: Arc<dyn JobQueue>,
    inputs: mpsc::UnboundedSender<Input>,
    /// What found no room in its tenant's window, in order.
    waiting: HashMap<(Tenant, Group), VecDeque<QueuedJob>>,
}

/// Pushes jobs to the queue; what finds no room in its tenant's window waits here, in order, until there is some.
pub(crate) async fn run(
    queue: Arc<dyn JobQueue>,
    shards: Vec<u16>,
    mut dispatches: mpsc::UnboundedReceiver<Dispatch>,
    inputs: mpsc::UnboundedSender<Input>,
) {
    let mut dispatcher = Dispatcher { queue: Arc::clone(&queue), inputs, waiting: HashMap::new() };
    let mut sweep = tokio::time::interval(SWEEP);
    sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            dispatch = dispatches.recv() => match dispatch {
                Some(Dispatch::Start(jobs)) => dispatcher.start(jobs).await,
                Some(Dispatch::Cancel(cancels)) => dispatcher.cancel(cancels).await,
                None => return,
            },
            drained = queue.drained(), if !dispatcher.waiting.is_empty() => dispatcher.refill(drained).await,
            _ = sweep.tick() => {
                dispatcher.look_after_leases(&shards).await;
                let everything = dispatcher.waiting.keys().cloned().collect();
                dispatcher.refill(everything).await;
            }
        }
    }
}

impl Dispatcher {
    async fn start(&mut self, jobs: Vec<QueuedJob>) {
        let mut fresh = Vec::with_capacity(jobs.len());
        for job in jobs {
            // Behind those of its tenant that wait already.
            match self.waiting.get_mut(&place(&job)) {
                Some(queue) => queue.push_back(job),
                None => fresh.push(job),
            }
        }
        for job in self.push(fresh).await {
            self.waiting.entry(place(&job)).or_default().push_back(job);
        }
    }

    /// Sends as many of what waits as there is room for.
    async fn refill(&mut self, places: Vec<(Tenant, Group)>) {
        for place in places {
            let Some(mut queue) = self.waiting.remove(&place) else { continue };
            let room = match self.queue.room(&place.0, &place.1).await {
                Ok(room) => room,
                Err(error) => {
                    tracing::warn!(%error, "jobs wait: the queue does not answer");
                    0
                }
            };
            // One more than there is room for: being refused is what makes the queue tell when there is room again.
            let next = queue.drain(..queue.len().min(room.saturating_add(1))).collect();
            for job in self.push(next).await.into_iter().rev() {
                queue.push_front(job);
            }
            if !queue.is_empty() {
                self.waiting.insert(place, queue);
            }
        }
    }

    /// Answers the jobs that are still to be pushed, in order.
    async fn push(&self, jobs: Vec<QueuedJob>) -> Vec<QueuedJob> {
        if jobs.is_empty() {
            return jobs;
        }
        let kept = jobs.clone();
        match self.queue.push(jobs).await {
            Ok(refused) => refused,
            Err(error) => {
                tracing::warn!(%error, "jobs wait: the queue does not take them");
                kept
            }
        }
    }

    /// Tells holders to stop; jobs that nobody had begun are reported as killed here, since nobody else will.
    async fn cancel(&mut self, cancels: Vec<(Tenant, Id, Id, u32)>) {
        let key = |cancel: &(Tenant, Id, Id, u32)| JobKey { task_run: cancel.2, dispatch: cancel.3 };
        let wanted: HashSet<JobKey> = cancels.iter().map(key).collect();
        let mut here = HashSet::new();
        self.waiting.retain(|_, queue| {
            queue.retain(|job| {
                let cancelled = wanted.contains(&job.key());
                if cancelled {
                    here.insert(job.key());
                }
                !cancelled
            });
            !queue.is_empty()
        });
        let (waited, sent): (Vec<_>, Vec<_>) = cancels.into_iter().partition(|cancel| here.contains(&key(cancel)));
        let keys: Vec<JobKey> = sent.iter().map(key).collect();
        let outcomes = match self.queue.cancel(&keys).await {
            Ok(outcomes) => outcomes,
            Err(error) => {
                tracing::warn!(%error, "attempts cannot be told to stop; they are given up after their time");
                Vec::new()
            }
        };
        let removed = sent.into_iter().zip(outcomes).filter(|(_, outcome)| *outcome == Cancelled::Removed);
        for (tenant, execution, task_run, dispatch) in waited.into_iter().chain(removed.map(|(cancel, _)| cancel)) {
            let event = Event::JobEnded { task_run, dispatch, result: Box::new(killed()) };
            let _ = self.inputs.send(Input::Event { tenant, execution, pending: Pending::new(event) });
        }
    }

    async fn look_after_leases(&self, shards: &[u16]) {
        let expired = match self.queue.expired(shards).await {
            Ok(expired) => expired,
            Err(error) => {
                tracing::warn!(%error, "leases cannot be looked after");
                return;
            }
        };
        for lease in expired {
            let event = Event::JobLost { task_run: lease.key.task_run, dispatch: lease.key.dispatch };
            tracing::warn!(tenant = %lease.tenant, execution = %lease.execution, worker = %lease.worker, "the holder of a job is lost");
            let pending = Pending::new(event);
            let _ = self.inputs.send(Input::Event { tenant: lease.tenant, execution: lease.execution, pending });
        }
    }
}

fn place(job: &QueuedJob) -> (Tenant, Group) {
    (job.tenant.clone(), job.group().into())
}

/// The result of an attempt that never began.
fn killed() -> JobResult {
    let at = clock::now();
    JobResult {
        started_at: at,
        ended_at: at,
        worker: None,
        state: State::Killed,
        outputs: None,
        error: None,
        logs: Vec::new(),
        metrics: Vec::new(),
    }
}
