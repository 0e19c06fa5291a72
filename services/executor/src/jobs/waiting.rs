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
    /// Task runs of bare ones whose turn has come: they are being prepared, and come back under another number.
    recalled: HashSet<Id>,
    /// There was more room than prepared jobs.
    is_short: bool,
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.prepared.is_empty() && self.bare.is_empty()
    }

    fn add(&mut self, job: QueuedJob) {
        let is_back = self.recalled.remove(&job.key().task_run);
        if is_back || (self.bare.is_empty() && self.prepared.len() < PREPARED) {
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

    /// Where there was room for more, and there is more now. Told once.
    pub(super) fn short(&mut self) -> Vec<Place> {
        let is_short = |queue: &mut Queue| !queue.prepared.is_empty() && std::mem::take(&mut queue.is_short);
        self.0.iter_mut().filter_map(|(place, queue)| is_short(queue).then(|| place.clone())).collect()
    }

    /// Takes the next ones out, at most `count`; and bare ones, to be prepared before their turn comes.
    pub(super) fn next(&mut self, place: &Place, count: usize) -> Next {
        let Some(queue) = self.0.get_mut(place) else { return Next { jobs: Vec::new(), bare: Vec::new() } };
        if queue.is_empty() {
            // Those of executions that have ended meanwhile do not come back.
            queue.recalled.clear();
        }
        let jobs: Vec<_> = queue.prepared.drain(..queue.prepared.len().min(count)).collect();
        queue.is_short = jobs.len() < count;
        if queue.recalled.len() >= PREPARED {
            queue.recalled.clear();
        }
        let wanted = PREPARED.saturating_sub(queue.prepared.len() + queue.recalled.len());
        let bare: Vec<Bare> = queue.bare.drain(..queue.bare.len().min(wanted)).collect();
        queue.recalled.extend(bare.iter().map(|bare| bare.key.task_run));
        if queue.is_empty() && queue.recalled.is_empty() {
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use windhover_engine::Job;
    use windhover_types::{JsonMap, Timestamp};

    use super::*;

    const SOURCE: &str = "{id: f, namespace: n, tasks: [{id: t, type: io.kestra.plugin.core.log.Log, message: hi}]}";

    #[test]
    fn jobs_of_which_only_the_name_was_kept_come_to_their_turn_in_order() {
        let at = Timestamp::from_millis(1);
        let id = |number: u32| Id::derived(at, &[&number.to_be_bytes()]);
        let flow = Arc::new(windhover_flow::compile(SOURCE).expect("a valid flow"));
        let job = |task_run: Id, dispatch: u32| QueuedJob {
            tenant: Tenant::main(),
            shard: 0,
            execution: task_run,
            flow_revision: 1,
            flow: Arc::clone(&flow),
            job: Job {
                task_run,
                task_id: "t".to_owned(),
                attempt: 0,
                dispatch,
                variables: JsonMap::new(),
                worker_group: None,
                directory: None,
            },
            trigger_state: None,
            losses: 0,
            created_at: at,
            trace_parent: None,
        };
        let count = 3 * PREPARED as u32;
        let mut waiting = Waiting::default();
        (0..count).for_each(|number| waiting.add(job(id(number), 1)));
        let place = waiting.places().remove(0);
        let mut taken = Vec::new();
        // Each round is one look of somebody with room for 700 jobs.
        for _ in 0..2 * count / 700 {
            let Next { jobs, bare } = waiting.next(&place, 700);
            taken.extend(jobs.iter().map(|job| job.job.task_run));
            for Bare { key, .. } in bare {
                assert!(waiting.add_if_others_wait(job(key.task_run, key.dispatch + 1)).is_none());
            }
        }
        assert_eq!(taken, (0..count).map(id).collect::<Vec<_>>());
        assert!(waiting.is_empty(), "nothing is left over");
    }

    #[test]
    fn a_job_that_is_prepared_anew_and_never_comes_back_keeps_no_place() {
        let mut waiting = Waiting::default();
        let place = (Tenant::main(), Group::from(""));
        let key = JobKey { task_run: Id::derived(Timestamp::from_millis(1), &[]), dispatch: 1 };
        let bare = Bare { execution: key.task_run, key, losses: 0, shard: 0 };
        waiting.0.entry(place.clone()).or_default().bare.push_back(bare);
        assert_eq!((waiting.next(&place, 5).bare.len(), waiting.short().len()), (1, 0));
        // It never comes back: its execution has ended.
        assert!(waiting.next(&place, 5).bare.is_empty() && waiting.is_empty());
    }
}
