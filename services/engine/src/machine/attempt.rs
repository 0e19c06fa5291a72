//! Attempts and the ends of task runs: retries, `allowFailure`, `warningOnRetry` (flow model reference 4.5–4.7).

use windhover_flow::{Flow, Retry, RetryBehavior, TaskKind};
use windhover_types::{Id, Level, State, StateHistory, Timestamp};

use super::{Flowing, Machine, pause::pause_of, plan::allowed, repeat::waits_for_turn};
use crate::{Attempt, Effect, Marks, NewExecution, TaskRun, Timer, flowable, ids, retry};

impl Machine<'_> {
    /// Adds an attempt that runs. The task run's state is the caller's.
    pub(super) fn begin_attempt(&mut self, id: Id, dispatch: u32, worker: Option<String>, at: Timestamp) {
        let at = at.min(self.moment.now);
        if let Some(run) = self.edit(id) {
            let mut state = StateHistory::new(State::Created, at);
            state.set(State::Running, at);
            run.attempts.push(Attempt { state, dispatch, worker, error: None });
        }
        self.run.task_runs.reindex(id);
    }

    /// Ends the open attempt, if there is one. One that never ran (SKIPPED) shows no RUNNING.
    pub(super) fn close_attempt(&mut self, id: Id, state: State, at: Timestamp, error: Option<String>) {
        let at = at.min(self.moment.now);
        let error = error.map(|error| self.run.roots.mask(error));
        if let Some(attempt) = self.edit(id).and_then(|run| run.attempts.last_mut())
            && !attempt.state.current().is_terminal()
        {
            if state == State::Skipped {
                attempt.state = StateHistory::new(State::Created, at);
            }
            attempt.state.set(state, at);
            attempt.error = error;
        }
        self.run.task_runs.reindex(id);
    }

    /// Ends the open attempt as failed, with its line in the log, and does what follows.
    pub(super) fn fail_attempt(&mut self, id: Id, reason: String) -> Flowing {
        let now = self.moment.now;
        self.log(Some(id), Level::Error, reason.clone());
        self.close_attempt(id, State::Failed, now, Some(reason));
        self.attempt_over(id, State::Failed, now)
    }

    /// What follows from the end of an attempt of a runnable task or a subflow: another one, another execution, or the end of the task run.
    pub(super) fn attempt_over(&mut self, id: Id, state: State, at: Timestamp) -> Flowing {
        let Some(task) = self.task_of(id) else {
            self.end_task_run(id, state, at);
            return Ok(());
        };
        let retry = is_tried_again(&task.kind).then(|| retry_policy(self.flow, &task.id)).flatten();
        if let (State::Failed, Some(retry), false) = (state, retry, self.is_killing())
            && let Some(run) = self.run.task_run(id)
        {
            match retry.behavior {
                RetryBehavior::FailedTask => {
                    if let Some(due) = retry::next_attempt(retry, &run.attempts, id) {
                        self.retry_at(id, at, due);
                        return Ok(());
                    }
                }
                RetryBehavior::NewExecution => {
                    if let Some(due) = self.next_execution(retry, at) {
                        self.set_state(id, State::Failed, at);
                        self.end_task_run(id, State::Retried, self.moment.now);
                        return self.try_as_another(due);
                    }
                }
            }
        }
        let tried_again = self.run.task_run(id).is_some_and(|run| {
            run.attempts.iter().filter(|attempt| attempt.state.current() == State::Failed).count() > 0
        });
        let state = match state {
            State::Success if tried_again && retry.is_some_and(|retry| retry.warning_on_retry) => State::Warning,
            other => other,
        };
        self.end_task_run(id, allowed(task, state), at);
        Ok(())
    }

    /// When another execution tries it again, if one may. What runs after the end starts none.
    pub(super) fn next_execution(&self, retry: &Retry, failed_at: Timestamp) -> Option<Timestamp> {
        let execution = &self.run.execution;
        let ended = execution.current().is_terminal();
        (!ended).then(|| retry::next_execution(retry, execution, failed_at)).flatten()
    }

    /// The execution ends RETRIED, and another one like it begins at this date.
    pub(super) fn try_as_another(&mut self, due: Timestamp) -> Flowing {
        let execution = &self.run.execution;
        let id = ids::retried_execution_id(due.floor_millis(), execution.id);
        let new = NewExecution {
            id,
            namespace: execution.namespace.clone(),
            flow_id: execution.flow_id.clone(),
            flow_revision: execution.flow_revision,
            labels: execution.labels.clone(),
            inputs: execution.inputs.clone(),
            variables: self.flow.initial_variables(),
            trigger: execution.trigger.clone(),
            parent: execution.parent.clone(),
            schedule_time: (due > self.moment.now).then_some(due),
            trace_parent: execution.trace_parent.clone(),
            marks: Marks {
                replayed_from: Some(execution.id),
                earlier_attempts: execution.marks.earlier_attempts.saturating_add(1),
                original_created: Some(execution.marks.original_created.unwrap_or_else(|| execution.state.started())),
                ..Marks::default()
            },
            original_id: Some(execution.original_id),
            fail: None,
            task_runs: Vec::new(),
        };
        self.log(None, Level::Info, format!("It is tried again as the execution {id}"));
        self.effects.push(Effect::CreateExecution(Box::new(new)));
        self.journal.execution(self.run).marks.replaced_by = Some(id);
        self.conclude(State::Retried, false)
    }

    /// FAILED, RETRYING until the date, then CREATED again (flow model reference 3.5).
    fn retry_at(&mut self, id: Id, failed_at: Timestamp, due: Timestamp) {
        let now = self.moment.now;
        self.set_state(id, State::Failed, failed_at);
        self.set_state(id, State::Retrying, now);
        let attempt = self.run.task_run(id).map_or(0, |run| run.attempts.len() as u32);
        self.effects.push(Effect::SetTimer { timer: Timer::Retry { task_run: id, attempt }, at: due });
        if self.run.execution.current() == State::Running {
            self.set_execution_state(State::Retrying);
        }
    }

    /// The date of a retry has come.
    pub(super) fn retry_due(&mut self, id: Id, attempt: u32) -> Flowing {
        let due = self
            .run
            .task_run(id)
            .is_some_and(|run| run.state.current() == State::Retrying && run.attempts.len() == attempt as usize);
        if due && !self.is_killing() {
            self.set_state(id, State::Created, self.moment.now);
            if self.is_paused() {
                self.leave(id);
                return Ok(());
            }
            self.starts.push_back(id);
            if self.run.execution.current() == State::Retrying {
                self.set_execution_state(State::Running);
            }
        }
        Ok(())
    }

    /// Enters a terminal state; the container is told in this step.
    pub(super) fn end_task_run(&mut self, id: Id, state: State, at: Timestamp) {
        self.set_state(id, state, at);
        self.effects.push(Effect::TaskRunEnded { task_run: id });
        self.ends.push_back(id);
    }

    /// Gives a state to everything below a container that is still open. Attempts at workers are left to finish (flow model reference
    /// 4.3); what has not begun does not.
    pub(super) fn give_to_open_children(&mut self, container: Option<Id>, state: State) {
        let mut left = self.run.task_runs.open_children(container);
        while let Some(id) = left.pop() {
            left.extend(self.run.task_runs.open_children(Some(id)));
            self.abandon(id, state);
        }
        match container {
            None => self.journal.execution(self.run).frame.open = 0,
            Some(id) => {
                if let Some(frame) = self.edit(id).and_then(|run| run.frame.as_mut()) {
                    frame.open = 0;
                }
            }
        }
    }

    /// Ends an open task run without waiting for it.
    pub(super) fn abandon(&mut self, id: Id, state: State) {
        let Some(run) = self.run.task_run(id) else { return };
        let (current, dispatch, open_job) = (run.state.current(), run.dispatch, run.has_open_job());
        let begun = run.attempt_of(dispatch).is_some();
        self.clear_timers(id);
        if open_job && !begun {
            self.effects.push(Effect::CancelJob { task_run: id, dispatch });
        }
        if !open_job {
            self.close_attempt(id, state, self.moment.now, None);
        }
        if !current.is_terminal() {
            if let Some(frame) = self.edit(id).and_then(|run| run.frame.as_mut()) {
                // Its children share its fate.
                frame.open = 0;
            }
            self.set_state(id, state, self.moment.now);
            self.effects.push(Effect::TaskRunEnded { task_run: id });
        }
    }

    /// Timers that a task run can have in its present state.
    pub(super) fn clear_timers(&mut self, id: Id) {
        if let Some(timer) = self.timer_of(id) {
            self.effects.push(Effect::ClearTimer { timer });
        }
    }

    pub(super) fn timer_of(&self, id: Id) -> Option<Timer> {
        let run = self.run.task_run(id)?;
        let attempts = run.attempts.len() as u32;
        match run.state.current() {
            State::Retrying => Some(Timer::Retry { task_run: id, attempt: attempts }),
            State::Paused => pause_of(run.opened.as_deref())?.0.map(|_| Timer::Pause { task_run: id }),
            State::Running if waits_for_turn(self.flow, run) => {
                Some(Timer::Loop { task_run: id, iteration: run.frame.as_ref()?.iteration })
            }
            _ if is_sleeping(self.flow, run) => Some(Timer::Sleep { task_run: id, attempt: attempts - 1 }),
            _ => None,
        }
    }
}

/// Flowables are not tried again by themselves, nor is what changes its execution.
fn is_tried_again(kind: &TaskKind) -> bool {
    match kind {
        TaskKind::Runnable(runnable) => !runnable.is_updating(),
        TaskKind::Items(_) => false,
        other => !flowable::is_flowable(other),
    }
}

/// A runnable task that runs in the executor goes on after its step only when it sleeps.
pub(super) fn is_sleeping(flow: &Flow, run: &TaskRun) -> bool {
    let runnable = || matches!(flow.index.get(&run.task_id).map(|place| &place.task.kind), Some(TaskKind::Runnable(_)));
    run.state.current() == State::Running && run.dispatch == 0 && run.open_attempt().is_some() && runnable()
}

/// The task's own policy, else that of the nearest flowable around it, else the flow's.
pub(super) fn retry_policy<'f>(flow: &'f Flow, task_id: &str) -> Option<&'f Retry> {
    let mut next = Some(task_id);
    while let Some(place) = next.and_then(|id| flow.index.get(id)) {
        if let Some(retry) = &place.task.retry {
            return Some(retry);
        }
        next = place.parent.as_deref();
    }
    flow.retry.as_ref()
}
