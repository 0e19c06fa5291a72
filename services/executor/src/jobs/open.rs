//! Jobs that were handed to the queue and are not settled: who holds them, and since when nobody seems to.
//!
//! Deadlines are kept as moments of this process, whatever its clock says meanwhile; what is stored goes by the
//! database's.

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
    deadline: Instant,
    look_at: Instant,
    /// Its shard is somebody else's by now. Its holder may be in this very process, whose word reaches the new owner by
    /// the stored deadline alone.
    is_moved: bool,
    /// It is to stop: its holder is told again with each look, since a word of it may be lost.
    is_cancelled: bool,
}

/// Somebody's job that nobody holds.
pub(super) struct LostOpen {
    pub(super) tenant: Tenant,
    pub(super) execution: Id,
    pub(super) key: JobKey,
    pub(super) losses: u32,
}

/// Tenant, execution, task run and dispatch of an attempt that is to stop.
pub(super) type Cancel = (Tenant, Id, Id, u32);

/// What a look has found.
#[derive(Default)]
pub(super) struct Found {
    pub(super) lost: Vec<LostOpen>,
    /// Nobody here knows their holders, whose time is over: lost, unless the store says that they were heard of.
    pub(super) silent: Vec<StoredKey>,
    pub(super) renewals: Vec<JobRenewal>,
    /// Their holders are there, and should stop.
    pub(super) cancels: Vec<Cancel>,
}

#[derive(Default)]
pub(super) struct OpenJobs {
    jobs: HashMap<JobKey, Open, ahash::RandomState>,
    /// No earlier than this a job counts as lost: its holder may not have announced it yet.
    not_before: Option<Instant>,
}

impl OpenJobs {
    pub(super) fn pushed(&mut self, job: &QueuedJob, now: Instant) {
        let open = Open {
            tenant: job.tenant.clone(),
            execution: job.execution,
            shard: job.shard,
            losses: job.losses,
            worker: None,
            deadline: now,
            look_at: now + LOOK,
            is_moved: false,
            is_cancelled: false,
        };
        self.jobs.insert(job.key(), open);
    }

    /// `stored_at`: the database's time when the row was read. Nobody has longer than a lease from now on, whatever
    /// clock has written the row.
    pub(super) fn recovered(&mut self, row: JobRow, stored_at: Timestamp, now: Instant) {
        let key = JobKey { task_run: row.task_run, dispatch: row.dispatch };
        self.jobs.entry(key).or_insert(Open {
            tenant: row.tenant,
            execution: row.execution,
            shard: row.shard,
            losses: row.losses,
            worker: row.worker,
            deadline: now + row.deadline.since(stored_at).min(JOB_LEASE),
            look_at: now + SETTLED,
            is_moved: false,
            is_cancelled: false,
        });
    }

    /// From now on its holder's word counts until the deadline, which is stored soon.
    pub(super) fn began(&mut self, execution: Id, key: JobKey, worker: String, now: Instant) {
        if let Some(open) = self.jobs.get_mut(&key).filter(|open| open.execution == execution) {
            open.worker = Some(worker);
            open.deadline = now + JOB_LEASE;
            open.look_at = now;
        }
    }

    /// It is to stop.
    pub(super) fn cancelled(&mut self, key: &JobKey) {
        if let Some(open) = self.jobs.get_mut(key) {
            open.is_cancelled = true;
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
    pub(super) fn confirm(&mut self, silent: Vec<StoredKey>, overdue: &HashSet<JobKey>, now: Instant) -> Vec<LostOpen> {
        let mut lost = Vec::new();
        for StoredKey { task_run, dispatch, .. } in silent {
            let key = JobKey { task_run, dispatch };
            if overdue.contains(&key) {
                if let Some(Open { tenant, execution, losses, worker, .. }) = self.jobs.remove(&key) {
                    // Its holder had begun, and is gone.
                    let losses = losses.saturating_add(u32::from(worker.is_some()));
                    lost.push(LostOpen { tenant, execution, key, losses });
                }
            } else if let Some(open) = self.jobs.get_mut(&key) {
                open.deadline = now + LOOK;
                open.look_at = now + LOOK;
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
    pub(super) fn sort(&mut self, known: impl Iterator<Item = (JobKey, bool)>, now: Instant) -> Found {
        let mut found = Found::default();
        for (key, is_held) in known {
            let Some(open) = self.jobs.get_mut(&key) else { continue };
            let stored = || StoredKey {
                tenant: open.tenant.clone(),
                execution: open.execution,
                task_run: key.task_run,
                dispatch: key.dispatch,
            };
            if is_held {
                if open.is_cancelled && !open.is_moved {
                    found.cancels.push((open.tenant.clone(), open.execution, key.task_run, key.dispatch));
                }
                if open.worker.is_some() || open.is_moved {
                    found.renewals.push(JobRenewal { key: stored(), worker: open.worker.clone() });
                    open.deadline = now + JOB_LEASE;
                }
                open.look_at = now + LOOK;
            } else if open.is_moved {
                self.jobs.remove(&key);
            } else if open.worker.is_some() && open.deadline > now {
                open.look_at = now + ANNOUNCED;
            } else if open.worker.is_some() {
                found.silent.push(stored());
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

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

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
        let at = Instant::now();
        let mut open = OpenJobs::default();
        open.recovered(row(1, None, NOW), NOW, at);
        open.recovered(row(2, Some("w"), NOW.plus(JOB_LEASE)), NOW, at);
        let later = at + SETTLED;
        let mut due = open.due(later);
        due.sort();
        assert_eq!((open.due(at).len(), due.len()), (0, 2));
        let found = open.sort(due.iter().map(|key| (*key, false)), later);
        assert_eq!(found.lost.iter().map(|lost| (lost.key, lost.losses)).collect::<Vec<_>>(), [(due[0], 1)]);
        // Its holder is heard of again, and then no more.
        let found = open.sort([(due[1], true)].into_iter(), later);
        assert!(found.lost.is_empty() && found.renewals.len() == 1);
        let over = later + JOB_LEASE;
        let silent = open.sort([(due[1], false)].into_iter(), over).silent;
        assert_eq!(silent.iter().map(|key| key.task_run).collect::<Vec<_>>(), [due[1].task_run]);
        assert!(open.confirm(silent.clone(), &HashSet::new(), over).is_empty(), "heard of elsewhere");
        let lost = open.confirm(silent, &HashSet::from([due[1]]), over);
        assert_eq!(lost.iter().map(|lost| lost.losses).collect::<Vec<_>>(), [2], "it has cost another worker");
    }

    #[test]
    fn a_deadline_that_a_wrong_clock_has_written_is_no_longer_than_a_lease() {
        let at = Instant::now();
        let mut open = OpenJobs::default();
        open.recovered(row(1, Some("w"), NOW.plus(Duration::from_secs(3_600))), NOW, at);
        open.recovered(row(2, Some("w"), Timestamp::from_millis(5)), NOW, at);
        let mut keys = open.due(at + SETTLED);
        keys.sort();
        let of = |found: Found| found.silent.into_iter().map(|key| key.task_run).collect::<Vec<_>>();
        let all = |keys: &[JobKey]| keys.iter().map(|key| (*key, false)).collect::<Vec<_>>().into_iter();
        assert_eq!(of(open.sort(all(&keys), at)), [keys[1].task_run], "its time is over, the other's is not");
        assert_eq!(of(open.sort(all(&keys[..1]), at + JOB_LEASE)), [keys[0].task_run]);
    }

    #[test]
    fn after_the_queue_was_emptied_nothing_is_lost_until_workers_had_time_to_announce() {
        let at = Instant::now();
        let mut open = OpenJobs::default();
        open.recovered(row(1, None, Timestamp::from_millis(1)), NOW, at);
        open.look_at_all_again(at);
        assert!(open.due(at + SETTLED).is_empty());
        assert_eq!(open.due(at + ANNOUNCED).len(), 1);
    }

    #[test]
    fn who_is_to_stop_is_told_with_each_look_for_as_long_as_it_holds_the_job() {
        let at = Instant::now();
        let mut open = OpenJobs::default();
        open.recovered(row(1, Some("w"), NOW.plus(JOB_LEASE)), NOW, at);
        let key = open.due(at + SETTLED)[0];
        open.cancelled(&key);
        let told = |open: &mut OpenJobs, held| open.sort([(key, held)].into_iter(), at).cancels.len();
        assert_eq!((told(&mut open, false), told(&mut open, true), told(&mut open, true)), (0, 1, 1));
        open.remove(&key);
        assert_eq!(told(&mut open, true), 0);
    }
}
