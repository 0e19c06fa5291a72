//! Jobs that wait for room in their tenants' windows.

use std::collections::{HashMap, HashSet, VecDeque};

use windhover_queue::{Group, JobKey, QueuedJob};
use windhover_types::{Id, Tenant};

/// Jobs of one tenant and group that wait with all that a worker needs; of those behind them only their names are
/// kept, so that a million of them fit into memory.
const PREPARED: usize = 2_000;

type Place = (Tenant, Group);

/// A job of which only the name is kept: prepared again when its turn comes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bare {
    pub(super) execution: Id,
    pub(super) key: JobKey,
    pub(super) losses: u32,
    shard: u16,
}

#[derive(Default)]
struct Queue {
    prepared: VecDeque<QueuedJob>,
    bare: VecDeque<Bare>,
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.prepared.is_empty() && self.bare.is_empty()
    }

    fn add(&mut self, job: QueuedJob) {
        if self.bare.is_empty() && self.prepared.len() < PREPARED {
            self.prepared.push_back(job);
        } else {
            let (execution, key, losses, shard) = (job.execution, job.key(), job.losses, job.shard);
            self.bare.push_back(Bare { execution, key, losses, shard });
        }
    }
}

/// What is next in one place.
pub(super) struct Next {
    pub(super) jobs: Vec<QueuedJob>,
    pub(super) bare: Vec<Bare>,
}

/// A queue per tenant and group.
#[derive(Default)]
pub(super) struct Waiting(HashMap<Place, Queue>);

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn places(&self) -> Vec<Place> {
        self.0.keys().cloned().collect()
    }

    pub(super) fn add(&mut self, job: QueuedJob) {
        self.0.entry(place(&job)).or_default().add(job);
    }

    /// Gives the job back when none of its tenant waits in that group.
    pub(super) fn add_if_others_wait(&mut self, job: QueuedJob) -> Option<QueuedJob> {
        match self.0.get_mut(&place(&job)) {
            Some(queue) => {
                queue.add(job);
                None
            }
            None => Some(job),
        }
    }

    pub(super) fn put_back(&mut self, job: QueuedJob) {
        self.0.entry(place(&job)).or_default().prepared.push_front(job);
    }

    /// Takes the next ones out, at most `count`.
    pub(super) fn next(&mut self, place: &Place, count: usize) -> Next {
        let Some(queue) = self.0.get_mut(place) else { return Next { jobs: Vec::new(), bare: Vec::new() } };
        let jobs: Vec<_> = queue.prepared.drain(..queue.prepared.len().min(count)).collect();
        let left = count - jobs.len();
        let bare = queue.bare.drain(..queue.bare.len().min(left)).collect();
        if queue.is_empty() {
            self.0.remove(place);
        }
        Next { jobs, bare }
    }

    /// Takes these out, wherever they wait; answers which were here.
    pub(super) fn take_away(&mut self, wanted: &HashSet<JobKey>) -> HashSet<JobKey> {
        let mut here = HashSet::new();
        let mut stays = |key: JobKey| {
            let is_wanted = wanted.contains(&key);
            if is_wanted {
                here.insert(key);
            }
            !is_wanted
        };
        self.0.retain(|_, queue| {
            queue.prepared.retain(|job| stays(job.key()));
            queue.bare.retain(|job| stays(job.key));
            !queue.is_empty()
        });
        here
    }

    /// Keeps those of these shards.
    pub(super) fn retain(&mut self, owned: impl Fn(u16) -> bool) {
        self.0.retain(|_, queue| {
            queue.prepared.retain(|job| owned(job.shard));
            queue.bare.retain(|job| owned(job.shard));
            !queue.is_empty()
        });
    }
}

fn place(job: &QueuedJob) -> Place {
    (job.tenant.clone(), job.group().into())
}
