//! Waiting, always for a condition: by the API's own waiting where it has one, else by looking again soon.

use std::time::{Duration, Instant};

use windhover_client::v1::State;

use super::{Deadline, Run, Stop};
use crate::{
    case::{Until, WaitForExecutions},
    expectation::Expectation,
    seen::{Execution, TaskRun, is_final},
};

/// How soon to look again.
const SOON: Duration = Duration::from_millis(50);

/// How long nothing must have happened before something is counted.
const QUIET: Duration = Duration::from_secs(3);

impl Run<'_> {
    /// Waits until the execution has come so far.
    pub(super) async fn wait(&self, id: &str, until: Until) -> Result<(), Stop> {
        let (state, name) = match until {
            Until::Nothing => return Ok(()),
            Until::TaskRuns(count) => return self.wait_for_task_runs(id, count).await,
            Until::Terminated => (None, "its end"),
            Until::Running => (Some(State::Running), "RUNNING"),
            Until::Paused => (Some(State::Paused), "PAUSED"),
            Until::Queued => (Some(State::Queued), "QUEUED"),
        };
        let seen = self.api.wait(id, state, self.case.timeout).await?;
        let reached = match until {
            Until::Terminated => seen.is_ended(),
            // A quick one may have been through it already.
            Until::Running => seen.history.iter().any(|(state, _)| state == name),
            _ => seen.state == name,
        };
        if reached {
            return Ok(());
        }
        Err(Stop::Fail(format!("waited {:?} for {name} of {id}, it is {}", self.case.timeout, seen.state)))
    }

    async fn wait_for_task_runs(&self, id: &str, count: usize) -> Result<(), Stop> {
        let deadline = Deadline::after(self.case.timeout);
        loop {
            let seen = self.api.get(id).await?;
            if seen.task_runs.len() >= count {
                return Ok(());
            }
            if deadline.has_passed() {
                let saw = seen.task_runs.len();
                return Err(Stop::Fail(format!("waited for {count} task runs of {id} ({}), saw {saw}", seen.state)));
            }
            tokio::time::sleep(SOON).await;
        }
    }

    /// Waits for at least so many executions that have come so far.
    pub(super) async fn wait_for_executions(&self, wait: &WaitForExecutions) -> Result<(), Stop> {
        let by = wait.by.as_deref().map(|name| self.id_of(name)).transpose()?;
        let filter = format!("namespace = \"{}\" AND flow = \"{}\"", wait.namespace, wait.flow);
        let deadline = Deadline::after(wait.timeout.unwrap_or(self.case.timeout));
        loop {
            let mut found = self.api.list(filter.clone()).await?;
            found.retain(|execution| by.is_none() || execution.trigger_variable("executionId") == by.as_deref());
            if found.iter().filter(|execution| has_come(execution, wait.until)).count() >= wait.count {
                return Ok(());
            }
            if deadline.has_passed() {
                let states: Vec<&str> = found.iter().map(|execution| execution.state.as_str()).collect();
                let (count, flow) = (wait.count, &wait.flow);
                return Err(Stop::Fail(format!("waited for {count} executions of {flow}, there are {states:?}")));
            }
            tokio::time::sleep(SOON).await;
        }
    }

    /// Waits for the ends of the executions that are looked at by name, unless they are expected not to have ended.
    pub(super) async fn wait_for_ends(&self, expect: &[Expectation]) -> Result<(), Stop> {
        for expectation in expect {
            let Expectation::Execution { names, at_creation: false, properties } = expectation else { continue };
            if properties.state.as_ref().and_then(|state| state.as_str()).is_some_and(|state| !is_final(state)) {
                continue;
            }
            for name in names {
                let Ok(id) = self.id_of(name) else { continue };
                let deadline = Deadline::after(self.case.timeout);
                if properties.state.is_none() && self.api.get(&id).await?.rests() {
                    continue;
                }
                let mut seen = self.api.wait(&id, None, deadline.left()).await?;
                // Task runs may go on behind the end: the rest of a kill, and tasks that run after the execution.
                while seen.is_ended() && !seen.task_runs.iter().all(TaskRun::is_ended) && !deadline.has_passed() {
                    tokio::time::sleep(SOON).await;
                    seen = self.api.get(&id).await?;
                }
                if !seen.is_ended() && !seen.rests() {
                    return Err(Stop::Fail(format!("waited for the end of {name} ({id}), it is {}", seen.state)));
                }
            }
        }
        Ok(())
    }

    /// Waits until nothing happens any more, if one of the expectations counts. Tells whether it did.
    pub(super) async fn quieten(&self, expect: &[Expectation]) -> Result<bool, Stop> {
        let needed = expect.iter().any(Expectation::needs_quiet);
        if needed {
            self.wait_until_quiet().await?;
        }
        Ok(needed)
    }

    /// Waits until all executions have ended (or rest) and nothing has happened for three seconds.
    pub(super) async fn wait_until_quiet(&self) -> Result<(), Stop> {
        let deadline = Deadline::after(self.case.timeout);
        let mut before = None;
        let mut since = Instant::now();
        loop {
            let (signs, executions): (Vec<_>, Vec<_>) = self.api.signs().await?.into_iter().unzip();
            let busy: Vec<&Execution> =
                executions.iter().filter(|execution| !execution.is_ended() && !execution.rests()).collect();
            let now = Some((signs, self.receiver.count(None)));
            if now != before {
                before = now;
                since = Instant::now();
            } else if busy.is_empty() && since.elapsed() >= QUIET {
                return Ok(());
            }
            if deadline.has_passed() {
                let busy: Vec<String> =
                    busy.iter().map(|one| format!("{} {} {}", one.flow, one.id, one.state)).collect();
                return Err(Stop::Fail(format!("waited until nothing happens any more; not ended: {busy:?}")));
            }
            tokio::time::sleep(2 * SOON).await;
        }
    }
}

fn has_come(execution: &Execution, until: Until) -> bool {
    match until {
        Until::Nothing => true,
        Until::Terminated => execution.is_ended(),
        Until::Running => execution.history.iter().any(|(state, _)| state == "RUNNING"),
        Until::Paused => execution.state == "PAUSED",
        Until::Queued => execution.state == "QUEUED",
        Until::TaskRuns(count) => execution.task_runs.len() >= count,
    }
}
