//! Jobs that were handed to the queue and are not settled: who holds them, and since when nobody seems to.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use windhover_queue::{JobKey, QueuedJob};
use windhover_store::{JobKey as StoredKey, JobRenewal, JobRow};
use windhover_types::{Id, Tenant, Timestamp};

use crate::effects::JOB_LEASE;

/// How often the queue is asked whether it still knows a job.
const LOOK: Duration = Duration::from_secs(JOB_LEASE.as_secs() / 2);
/// After the queue was emptied workers announce what they hold within this time.
const ANNOUNCED: Duration = Duration::from_secs(5);
/// A job that was read from the store may be on its way to the queue just now.
const SETTLED: Duration = Duration::from_secs(1);

struct Open {
    tenant: Tenant,
    execution: Id,
    shard: u16,
    losses: u32,
    /// Who has said that it has begun.
    worker: Option<String>,
    /// Until when its holder is believed to be there though the queue knows nothing of it; as stored.
    deadline: Timestamp,
    look_at: Instant,
    /// Its shard is somebody else's by now. Its holder may be in this very process, whose word reaches the new owner by
    /// the stored deadline alone.
    is_moved: bool,
}

/// Somebody's job that nobody holds.
pub(super) struct LostOpen {
    pub(super) tenant: Tenant,
    pub(super) execution: Id,
    pub(super) key: JobKey,
    pub(super) losses: u32,
}

/// What a look has found.
pub(super) struct Found {
    pub(super) lost: Vec<LostOpen>,
    /// Nobody here knows their holders, whose time is over: lost, unless the store says that they were heard of.
    pub(super) silent: Vec<JobKey>,
    pub(super) renewals: Vec<JobRenewal>,
    /// To which the deadlines of `renewals` are to be moved.
    pub(super) deadline: Timestamp,
}

#[derive(Default)]
pub(super) struct OpenJobs {
    jobs: HashMap<JobKey, Open, ahash::RandomState>,
    /// No earlier than this a job counts as lost: its holder may not have announced it yet.
    not_before: Option<Instant>,
}

impl OpenJobs {
    pub(super) fn pushed(&mut self, job: &QueuedJob, losses: u32, now: Instant) {
        let open = Open {
            tenant: job.tenant.clone(),
            execution: job.execution,
            shard: job.shard,
            losses,
            worker: None,
            deadline: Timestamp::from_micros(0),
            look_at: now + LOOK,
            is_moved: false,
        };
        self.jobs.insert(job.key(), open);
    }

    pub(super) fn recovered(&mut self, row: JobRow, now: Instant) {
        let key = JobKey { task_run: row.task_run, dispatch: row.dispatch };
        self.jobs.entry(key).or_insert(Open {
            tenant: row.tenant,
            execution: row.execution,
            shard: row.shard,
            losses: row.losses,
            worker: row.worker,
            deadline: row.deadline,
            look_at: now + SETTLED,
            is_moved: false,
        });
    }

    /// From now on its holder's word counts until the stored deadline; which is written soon.
    pub(super) fn began(&mut self, execution: Id, key: JobKey, worker: String, now: Timestamp) {
        if let Some(open) = self.jobs.get_mut(&key).filter(|open| open.execution == execution) {
            open.worker = Some(worker);
            open.deadline = now.plus(JOB_LEASE);
            open.look_at = Instant::now();
        }
    }

    pub(super) fn remove(&mut self, key: &JobKey) {
        self.jobs.remove(key);
    }

    /// How many holders the attempt has lost before.
    pub(super) fn losses(&self, key: &JobKey) -> u32 {
        self.jobs.get(key).map_or(0, |open| open.losses)
    }

    /// The shards of this process have changed: jobs of others are kept for as long as somebody is known to hold them.
    pub(super) fn shards_changed(&mut self, owned: impl Fn(u16) -> bool, now: Instant) {
        for open in self.jobs.values_mut() {
            let is_moved = !owned(open.shard);
            if is_moved != open.is_moved {
                (open.is_moved, open.look_at) = (is_moved, now);
            }
        }
    }

    /// Of those whose time is over these are lost, since the store says the same; the others were heard of elsewhere.
    pub(super) fn confirm(
        &mut self,
        silent: Vec<JobKey>,
        expired: &HashSet<JobKey>,
        now: Timestamp,
        at: Instant,
    ) -> Vec<LostOpen> {
        let mut lost = Vec::new();
        for key in silent {
            if expired.contains(&key) {
                if let Some(Open { tenant, execution, losses, worker, .. }) = self.jobs.remove(&key) {
                    // Its holder had begun, and is gone.
                    let losses = losses.saturating_add(u32::from(worker.is_some()));
                    lost.push(LostOpen { tenant, execution, key, losses });
                }
            } else if let Some(open) = self.jobs.get_mut(&key) {
                open.deadline = now.plus(LOOK);
                open.look_at = at + LOOK;
            }
        }
        lost
    }

    /// The queue has forgotten everything.
    pub(super) fn look_at_all_again(&mut self, now: Instant) {
        let soon = now + ANNOUNCED;
        self.not_before = Some(soon);
        self.jobs.values_mut().for_each(|open| open.look_at = open.look_at.min(soon));
    }

    pub(super) fn due(&self, now: Instant) -> Vec<JobKey> {
        if self.not_before.is_some_and(|until| now < until) {
            return Vec::new();
        }
        self.jobs.iter().filter(|(_, open)| open.look_at <= now).map(|(key, _)| *key).collect()
    }

    /// Sorts those that were looked at: what the queue knows is somebody's concern; what it does not know is lost, once
    /// a holder that has begun had its time to be heard of.
    pub(super) fn sort(&mut self, known: impl Iterator<Item = (JobKey, bool)>, now: Timestamp, at: Instant) -> Found {
        let deadline = now.plus(JOB_LEASE);
        let mut found = Found { lost: Vec::new(), silent: Vec::new(), renewals: Vec::new(), deadline };
        for (key, is_held) in known {
            let Some(open) = self.jobs.get_mut(&key) else { continue };
            if is_held {
                open.look_at = at + LOOK;
                if open.worker.is_some() || open.is_moved {
                    open.deadline = deadline;
                    let stored = StoredKey {
                        tenant: open.tenant.clone(),
                        execution: open.execution,
                        task_run: key.task_run,
                        dispatch: key.dispatch,
                    };
                    found.renewals.push(JobRenewal { key: stored, worker: open.worker.clone() });
                }
            } else if open.is_moved {
                self.jobs.remove(&key);
            } else if open.worker.is_some() && open.deadline > now {
                open.look_at = at + ANNOUNCED;
            } else if open.worker.is_some() {
                found.silent.push(key);
            } else if let Some(open) = self.jobs.remove(&key) {
                let Open { tenant, execution, losses, .. } = open;
                found.lost.push(LostOpen { tenant, execution, key, losses });
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(number: u8, worker: Option<&str>, deadline: Timestamp) -> JobRow {
        let id = |kind: u8| Id::new(Timestamp::from_millis(1), [kind + number; 10]);
        JobRow {
            shard: 1,
            tenant: Tenant::main(),
            execution: id(0),
            task_run: id(100),
            dispatch: 1,
            worker_group: None,
            deadline,
            losses: 1,
            worker: worker.map(str::to_owned),
        }
    }

    #[test]
    fn what_nobody_holds_is_lost_but_not_before_a_holder_that_has_begun_had_its_time() {
        let (now, at) = (Timestamp::from_millis(1_000_000), Instant::now());
        let mut open = OpenJobs::default();
        open.recovered(row(1, None, now), at);
        open.recovered(row(2, Some("w"), now.plus(JOB_LEASE)), at);
        let later = at + SETTLED;
        let mut due = open.due(later);
        due.sort();
        assert_eq!((open.due(at).len(), due.len()), (0, 2));
        let found = open.sort(due.iter().map(|key| (*key, false)), now, later);
        assert_eq!(found.lost.iter().map(|lost| (lost.key, lost.losses)).collect::<Vec<_>>(), [(due[0], 1)]);
        // Its holder is heard of again, and then no more.
        let found = open.sort([(due[1], true)].into_iter(), now, later);
        assert!(found.lost.is_empty() && found.renewals.len() == 1 && found.deadline == now.plus(JOB_LEASE));
        let over = now.plus(JOB_LEASE);
        let silent = open.sort([(due[1], false)].into_iter(), over, later).silent;
        assert_eq!(silent, [due[1]]);
        assert!(open.confirm(silent.clone(), &HashSet::new(), over, later).is_empty(), "heard of elsewhere");
        assert_eq!(open.confirm(silent, &HashSet::from([due[1]]), over, later).len(), 1);
    }

    #[test]
    fn after_the_queue_was_emptied_nothing_is_lost_until_workers_had_time_to_announce() {
        let at = Instant::now();
        let mut open = OpenJobs::default();
        open.recovered(row(1, None, Timestamp::from_millis(1)), at);
        open.look_at_all_again(at);
        assert!(open.due(at + SETTLED).is_empty());
        assert_eq!(open.due(at + ANNOUNCED).len(), 1);
    }
}
