//! What one process knows of its own part in the job queues.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::Notify;
use windhover_types::{Id, Tenant};

use crate::{Group, JobKey};

/// A lease that a worker of this process holds, with all that is needed to announce it again.
#[derive(Debug, Clone)]
pub(in crate::redis) struct Held {
    pub(super) group: Group,
    pub(super) tenant: Tenant,
    pub(super) shard: u16,
    pub(super) execution: Id,
    pub(super) worker: String,
    /// The group's marker when it was taken: another one says that Redis was emptied since.
    pub(super) born: Arc<str>,
    pub(super) lease: Duration,
    /// When the lease runs out, as far as this process knows.
    pub(super) until: Instant,
    /// Its end could not be told yet.
    pub(super) completed: bool,
}

#[derive(Default)]
pub(in crate::redis) struct State {
    pub(super) held: Mutex<HashMap<JobKey, Held, ahash::RandomState>>,
    /// Groups that have had a job, as far as this process knows.
    pub(super) groups: Mutex<HashSet<Group>>,
    /// What this process has set; set again when Redis was emptied.
    pub(super) weights: Mutex<HashMap<Tenant, u32>>,
    /// Something can be popped.
    pub(super) ready: Notify,
    /// Calls that wait for a job, by group.
    pub(super) hungry: Mutex<HashMap<Group, usize>>,
    /// Who was refused.
    pub(super) thirsty: Mutex<HashSet<(Tenant, Group)>>,
    /// Who has room again.
    pub(super) drained: Mutex<Vec<(Tenant, Group)>>,
    pub(super) drained_now: Notify,
    /// Workers that may hold jobs of which this process never heard: a call's answer did not come.
    pub(super) doubtful: Mutex<HashSet<(String, Group)>>,
    /// A worker's calls go one after another, so that what is under way is never taken for lost.
    pub(super) calls: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    /// Where the next call begins among its groups.
    pub(super) turn: AtomicUsize,
    /// Id of the server's run; empty for a cluster.
    pub(super) run: Mutex<String>,
    /// Milliseconds that are added to the server's clock (tests).
    pub(super) ahead: AtomicU64,
}

impl State {
    /// The keeper tells which run of the server it talks to.
    pub(in crate::redis) fn set_run(&self, run: &str) {
        let mut known = self.run.lock();
        if *known != run {
            run.clone_into(&mut known);
        }
    }

    /// These are no leases of the worker any more.
    pub(super) fn forget(&self, worker: &str, keys: impl Iterator<Item = JobKey>) {
        let mut held = self.held.lock();
        for key in keys {
            if held.get(&key).is_some_and(|held| held.worker == worker) {
                held.remove(&key);
            }
        }
    }

    pub(in crate::redis) fn groups(&self) -> Vec<Group> {
        self.groups.lock().iter().cloned().collect()
    }

    /// Reads `tenant newline group`.
    pub(in crate::redis) fn told_drained(&self, message: &str) {
        let Some((tenant, group)) = message.split_once('\n') else { return };
        self.has_drained((Tenant::trusted(tenant), group.into()));
    }

    pub(super) fn has_drained(&self, place: (Tenant, Group)) {
        // What others were refused is told to them.
        if self.thirsty.lock().remove(&place) {
            self.drained.lock().push(place);
            self.drained_now.notify_one();
        }
    }

    /// A lock for the calls of one worker.
    pub(super) fn calls_of(&self, worker: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut calls = self.calls.lock();
        // Workers come and go; those without a call under way need no lock.
        if calls.len() > 64 {
            calls.retain(|_, lock| Arc::strong_count(lock) > 1);
        }
        Arc::clone(calls.entry(worker.to_owned()).or_default())
    }
}

/// Counts a call among those that wait, for as long as it does.
pub(super) struct Hungry<'a> {
    state: &'a State,
    groups: &'a [Group],
}

impl<'a> Hungry<'a> {
    pub(super) fn new(state: &'a State, groups: &'a [Group]) -> Self {
        let mut hungry = state.hungry.lock();
        groups.iter().for_each(|group| *hungry.entry(group.clone()).or_default() += 1);
        drop(hungry);
        Self { state, groups }
    }
}

impl Drop for Hungry<'_> {
    fn drop(&mut self) {
        let mut hungry = self.state.hungry.lock();
        for group in self.groups {
            if let Some(count) = hungry.get_mut(group) {
                *count -= 1;
                if *count == 0 {
                    hungry.remove(group);
                }
            }
        }
    }
}
