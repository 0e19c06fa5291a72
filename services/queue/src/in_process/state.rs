//! What the job queues of one process hold. Synchronous: [`super::InProcessJobs`] locks it and waits around it.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use tokio::{sync::mpsc, time::Instant};
use windhover_types::{Id, Tenant};

use super::ring::Ring;
use crate::{Cancelled, ExpiredLease, Group, GroupDepth, JobKey, LeasedJob, PopRequest, QueuedJob, Renewal};

type Map<K, V> = HashMap<K, V, ahash::RandomState>;

#[derive(Default)]
pub(super) struct State {
    groups: BTreeMap<Group, Ring<Waiting>>,
    /// Every job that is here, waiting or leased.
    places: Map<Id, Place>,
    weights: Map<Tenant, u32>,
    holders: Map<String, mpsc::UnboundedSender<JobKey>>,
    /// Tenants whose last jobs found no room.
    thirsty: HashSet<(Tenant, Group)>,
    drained: Vec<(Tenant, Group)>,
    /// Where the next pop begins among its groups.
    turn: usize,
}

struct Waiting {
    job: QueuedJob,
    /// It was released by a worker that had been told to kill it.
    kill: bool,
}

struct Place {
    dispatch: u32,
    tenant: Tenant,
    group: Group,
    lease: Option<Lease>,
}

struct Lease {
    worker: String,
    deadline: Instant,
    shard: u16,
    execution: Id,
    kill: bool,
    /// By its holder, who stops in order.
    given_up: bool,
}

impl State {
    /// `None`: taken (or not needed); else the job, which found no room.
    pub(super) fn push(&mut self, job: QueuedJob, window: usize) -> Option<QueuedJob> {
        let key = job.key();
        if let Some(place) = self.places.get(&key.task_run) {
            if place.dispatch >= key.dispatch {
                return None;
            }
            self.forget(key.task_run);
        }
        let group = self.group(job.group());
        let ring = self.groups.entry(group.clone()).or_default();
        if ring.waiting(&job.tenant) >= window {
            self.thirsty.insert((job.tenant.clone(), group));
            return Some(job);
        }
        let place = Place { dispatch: key.dispatch, tenant: job.tenant.clone(), group, lease: None };
        ring.push_back(&place.tenant, Waiting { job, kill: false });
        self.places.insert(key.task_run, place);
        None
    }

    pub(super) fn pop(&mut self, request: &PopRequest, now: Instant, window: usize) -> Vec<LeasedJob> {
        let mut taken = Vec::new();
        let Self { groups, places, weights, turn, .. } = self;
        let weight = |tenant: &Tenant| weights.get(tenant).copied().unwrap_or(1);
        // One job of each group in turn, so that a full group does not hide another.
        let mut empty = 0;
        while taken.len() < request.max && empty < request.groups.len() {
            let group = &request.groups[*turn % request.groups.len()];
            *turn = turn.wrapping_add(1);
            let Some(Waiting { job, kill }) = groups.get_mut(group).and_then(|ring| ring.pop(weight)) else {
                empty += 1;
                continue;
            };
            empty = 0;
            if let Some(place) = places.get_mut(&job.job.task_run) {
                place.lease = Some(Lease {
                    worker: request.worker.clone(),
                    deadline: now + request.lease,
                    shard: job.shard,
                    execution: job.execution,
                    kill,
                    given_up: false,
                });
            }
            taken.push(LeasedJob { job, kill });
        }
        self.drain(window);
        taken
    }

    /// Moves what has room for half a window again from the thirsty to the drained.
    fn drain(&mut self, window: usize) {
        let Self { groups, thirsty, drained, .. } = self;
        thirsty.retain(|(tenant, group)| {
            let full = groups.get(group).is_some_and(|ring| ring.waiting(tenant) > window / 2);
            if !full {
                drained.push((tenant.clone(), group.clone()));
            }
            full
        });
    }

    pub(super) fn renew(&mut self, worker: &str, keys: &[JobKey], now: Instant, time: Duration) -> Vec<Renewal> {
        let deadline = deadline(now, time);
        let renew = |key: &JobKey| match self.lease_of(worker, *key) {
            Some(lease) => {
                lease.deadline = deadline;
                lease.given_up = time.is_zero();
                Renewal::Held { kill: lease.kill }
            }
            None => Renewal::Lost,
        };
        keys.iter().map(renew).collect()
    }

    pub(super) fn release(&mut self, worker: &str, job: QueuedJob) {
        let Some(kill) = self.lease_of(worker, job.key()).map(|lease| lease.kill) else {
            return;
        };
        if let Some(place) = self.places.get_mut(&job.job.task_run) {
            place.lease = None;
            let ring = self.groups.entry(place.group.clone()).or_default();
            ring.push_front(&place.tenant, Waiting { job, kill });
        }
    }

    pub(super) fn complete(&mut self, worker: &str, key: JobKey) -> bool {
        let held = self.lease_of(worker, key).is_some();
        if held {
            self.places.remove(&key.task_run);
        }
        held
    }

    pub(super) fn cancel(&mut self, key: JobKey, window: usize) -> Cancelled {
        let cancelled = self.take_or_tell(key);
        self.drain(window);
        cancelled
    }

    fn take_or_tell(&mut self, key: JobKey) -> Cancelled {
        match self.places.get_mut(&key.task_run) {
            Some(place) if place.dispatch == key.dispatch => match &mut place.lease {
                Some(lease) => {
                    lease.kill = true;
                    if let Some(holder) = self.holders.get(&lease.worker) {
                        // A worker that went away is told by nobody; its lease runs out.
                        let _ = holder.send(key);
                    }
                    Cancelled::Told
                }
                None => {
                    self.forget(key.task_run);
                    Cancelled::Removed
                }
            },
            _ => Cancelled::Unknown,
        }
    }

    pub(super) fn expired(&mut self, shards: &[u16], now: Instant) -> Vec<ExpiredLease> {
        let due = |place: &Place| {
            place.lease.as_ref().is_some_and(|lease| lease.deadline <= now && shards.contains(&lease.shard))
        };
        let ids: Vec<Id> = self.places.iter().filter(|(_, place)| due(place)).map(|(id, _)| *id).collect();
        let mut expired = Vec::with_capacity(ids.len());
        for task_run in ids {
            // Forgotten at once: whoever held it is told `Lost`, and the owner decides what comes next.
            let Some(Place { dispatch, tenant, lease: Some(lease), .. }) = self.places.remove(&task_run) else {
                continue;
            };
            let key = JobKey { task_run, dispatch };
            let Lease { worker, shard, execution, given_up, .. } = lease;
            expired.push(ExpiredLease { tenant, shard, execution, key, worker, given_up });
        }
        expired.sort_by_key(|lease| (lease.shard, lease.key));
        expired
    }

    /// It is here, waiting or leased, under this dispatch.
    pub(super) fn holds(&self, key: JobKey) -> bool {
        self.places.get(&key.task_run).is_some_and(|place| place.dispatch == key.dispatch)
    }

    /// Tenant, group, shard and execution of a lease of `worker`.
    pub(super) fn leased_to(&mut self, worker: &str, key: JobKey) -> Option<(Tenant, Group, u16, Id)> {
        let (shard, execution) = self.lease_of(worker, key).map(|lease| (lease.shard, lease.execution))?;
        let place = self.places.get(&key.task_run)?;
        Some((place.tenant.clone(), place.group.clone(), shard, execution))
    }

    /// Takes everything that waits in a group, in turn of its tenants; those with a wish to kill stay.
    pub(super) fn take_waiting(&mut self, group: &str) -> Vec<QueuedJob> {
        let Some(ring) = self.groups.get_mut(group) else { return Vec::new() };
        let mut kept = Vec::new();
        let mut taken = Vec::new();
        while let Some(waiting) = ring.pop(|_| 1) {
            match waiting.kill {
                true => kept.push(waiting),
                false => taken.push(waiting.job),
            }
        }
        for waiting in kept {
            ring.push_back(&waiting.job.tenant.clone(), waiting);
        }
        for job in &taken {
            self.places.remove(&job.job.task_run);
        }
        taken
    }

    pub(super) fn kill_hints(&mut self, worker: &str) -> mpsc::UnboundedReceiver<JobKey> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.holders.retain(|_, holder| !holder.is_closed());
        self.holders.insert(worker.to_owned(), sender);
        receiver
    }

    pub(super) fn waiting(&self, tenant: &Tenant, group: &str) -> usize {
        self.groups.get(group).map_or(0, |ring| ring.waiting(tenant))
    }

    pub(super) fn take_drained(&mut self) -> Vec<(Tenant, Group)> {
        std::mem::take(&mut self.drained)
    }

    pub(super) fn has_drained(&self) -> bool {
        !self.drained.is_empty()
    }

    pub(super) fn set_weight(&mut self, tenant: &Tenant, weight: u32) {
        self.weights.insert(tenant.clone(), weight.max(1));
    }

    pub(super) fn depths(&self) -> Vec<GroupDepth> {
        let mut depths: BTreeMap<(Group, Tenant), (usize, usize)> = BTreeMap::new();
        for (group, ring) in &self.groups {
            for (tenant, waiting) in ring.tenants() {
                depths.entry((group.clone(), tenant.clone())).or_default().0 = waiting;
            }
        }
        for place in self.places.values().filter(|place| place.lease.is_some()) {
            depths.entry((place.group.clone(), place.tenant.clone())).or_default().1 += 1;
        }
        depths
            .into_iter()
            .map(|((group, tenant), (waiting, leased))| GroupDepth { group, tenant, waiting, leased })
            .collect()
    }

    fn group(&self, name: &str) -> Group {
        self.groups.get_key_value(name).map_or_else(|| name.into(), |(group, _)| group.clone())
    }

    fn lease_of(&mut self, worker: &str, key: JobKey) -> Option<&mut Lease> {
        let place = self.places.get_mut(&key.task_run).filter(|place| place.dispatch == key.dispatch)?;
        place.lease.as_mut().filter(|lease| lease.worker == worker)
    }

    fn forget(&mut self, task_run: Id) {
        let Some(place) = self.places.remove(&task_run) else {
            return;
        };
        if place.lease.is_none()
            && let Some(ring) = self.groups.get_mut(&place.group)
        {
            ring.take(&place.tenant, |waiting| waiting.job.job.task_run == task_run);
        }
    }
}

/// Later than any lease; a duration too long for the clock is cut.
pub(super) fn deadline(now: Instant, lease: Duration) -> Instant {
    now.checked_add(lease).unwrap_or(now + Duration::from_secs(86_400 * 365))
}
