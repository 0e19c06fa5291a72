//! Which jobs may go to the group of workers that they name (flow model reference 1.6).

use windhover_engine::{JobResult, LogLine};
use windhover_flow::Fallback;
use windhover_queue::QueuedJob;
use windhover_types::{Level, State, Tenant};

use crate::clock;

/// What is known of a group of workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupState {
    /// The tenant may not use it.
    pub denied: bool,
    /// Workers of it were heard of at some time.
    pub known: bool,
    /// Workers of it are there now.
    pub alive: bool,
}

/// Groups of workers, from memory: asked for every job that names one.
pub trait WorkerGroups: Send + Sync + 'static {
    fn state(&self, tenant: &Tenant, group: &str) -> GroupState;
}

/// Every group is there: for processes whose jobs simply wait.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoGroups;

impl WorkerGroups for NoGroups {
    fn state(&self, _: &Tenant, _: &str) -> GroupState {
        GroupState { denied: false, known: true, alive: true }
    }
}

pub(super) enum Route {
    Push,
    /// Nobody will run it.
    Settle(Box<JobResult>),
}

pub(super) fn route(groups: &dyn WorkerGroups, job: &QueuedJob) -> Route {
    let Some(group) = &job.job.worker_group else { return Route::Push };
    let state = groups.state(&job.tenant, group);
    let fallback = job.task().and_then(|task| task.worker_group.as_ref()).map_or(Fallback::Wait, |of| of.fallback);
    if state.denied {
        return Route::Settle(settled(
            job,
            State::Failed,
            format!("the worker group `{group}` is not allowed for this tenant"),
        ));
    }
    match fallback {
        _ if state.alive => Route::Push,
        Fallback::Wait => Route::Push,
        Fallback::Fail => {
            Route::Settle(settled(job, State::Failed, format!("no worker of the group `{group}` is there")))
        }
        Fallback::Cancel => {
            Route::Settle(settled(job, State::Killed, format!("no worker of the group `{group}` is there")))
        }
    }
}

fn settled(job: &QueuedJob, state: State, why: String) -> Box<JobResult> {
    let at = clock::now();
    let line = LogLine {
        at,
        level: if state == State::Failed { Level::Error } else { Level::Warn },
        message: why.clone(),
        task_id: Some(job.job.task_id.clone()),
        task_run_id: Some(job.job.task_run),
        attempt: Some(job.job.attempt),
    };
    let error = (state == State::Failed).then_some(why);
    Box::new(JobResult { error, logs: vec![line], ..JobResult::bare(at, state) })
}
