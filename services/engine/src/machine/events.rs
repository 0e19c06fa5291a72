//! What each event does first; the rest follows in [`Machine::work_off`].

use std::sync::Arc;

use windhover_types::{Id, Level, State, Timestamp};

use super::{Flowing, Machine, NO_OUTPUTS};
use crate::{Effect, Event, JobResult, Timer};

impl Machine<'_> {
    pub(super) fn on_event(&mut self, event: Event) -> Flowing {
        match event {
            Event::Advance => self.advance(),
            Event::JobStarted { task_run, dispatch, worker, at } => {
                self.job_started(task_run, dispatch, worker, at);
                Ok(())
            }
            Event::JobEnded { task_run, dispatch, result } => self.job_ended(task_run, dispatch, *result),
            Event::JobLost { task_run, dispatch } => self.job_lost(task_run, dispatch),
            Event::SubflowEnded { task_run, state, generation, item: Some(item), .. } => {
                self.item_ended(task_run, item, state, generation)
            }
            Event::SubflowEnded { task_run, execution, state, outputs, generation, item: None } => {
                self.subflow_ended(task_run, execution, state, outputs, generation)
            }
            Event::TimerFired { timer } => self.timer_fired(timer),
            Event::Kill => self.kill(true),
            Event::Pause => {
                self.pause();
                Ok(())
            }
            Event::Resume { inputs, by, undeclared } => self.resume(&inputs, by, undeclared),
            Event::Restart { by_parent } => self.restart(by_parent),
            Event::ChangeTaskRunState { task_run, state } => self.change_task_run_state(task_run, state),
            Event::ChangeState { state } => {
                self.change_state(state);
                Ok(())
            }
            Event::ForceRun => self.force_run(),
            Event::Unqueue { state } => self.unqueue(state),
            Event::Slot { answer } => self.slot_answered(answer),
            Event::SubflowReplaced { task_run, execution, by, item } => {
                match item {
                    Some(item) => self.item_replaced(task_run, item, execution, by),
                    None => self.subflow_replaced(task_run, execution, by),
                }
                Ok(())
            }
            Event::SetLabels { labels } => {
                self.set_labels(&labels);
                Ok(())
            }
        }
    }

    /// A new execution begins, or waits for its schedule time. Setting that timer twice is harmless.
    fn advance(&mut self) -> Flowing {
        match (self.run.execution.current(), self.run.execution.schedule_time) {
            (State::Created, Some(at)) if at > self.moment.now => {
                self.effects.push(Effect::SetTimer { timer: Timer::Schedule, at });
                Ok(())
            }
            (State::Created, Some(_)) => {
                // It has come, whether its timer has fired or not.
                self.effects.push(Effect::ClearTimer { timer: Timer::Schedule });
                self.begin()
            }
            (State::Created | State::Restarted, _) => self.begin(),
            _ => Ok(()),
        }
    }

    /// Goes on with what is CREATED or RESTARTED, as soon as it may.
    pub(super) fn begin(&mut self) -> Flowing {
        if self.run.execution.current() == State::Created
            && let Some(error) = &self.run.execution.error
        {
            // Born to fail: its trigger could not prepare it.
            let reason = error.message.clone();
            self.log(None, Level::Error, reason);
            return self.conclude(State::Failed, false);
        }
        if self.run.execution.current() == State::Restarted {
            self.count_anew()?;
        }
        self.watch_durations();
        self.look_at_assertions()?;
        if self.run.execution.current().is_terminal() {
            return Ok(());
        }
        if self.has_slot() { self.start_all() } else { Ok(()) }
    }

    /// Goes on without waiting for a slot.
    pub(super) fn start_without_slot(&mut self) -> Flowing {
        self.give_slot_back();
        self.start_all()
    }

    pub(super) fn start_all(&mut self) -> Flowing {
        match self.run.execution.current() {
            // Queued or not: what has task runs goes on from them.
            State::Restarted | State::Queued if !self.run.task_runs.is_empty() => self.take_up_restarted(),
            State::Queued => {
                self.set_execution_state(State::Running);
                self.open_list(None)
            }
            _ => self.open_list(None),
        }
    }

    fn timer_fired(&mut self, timer: Timer) -> Flowing {
        match timer {
            Timer::Schedule if self.run.execution.current() == State::Created => self.begin(),
            Timer::Schedule => Ok(()),
            Timer::Retry { task_run, attempt } => self.retry_due(task_run, attempt),
            Timer::Sleep { task_run, attempt } => self.sleep_over(task_run, attempt),
            Timer::Pause { task_run } => self.pause_over(task_run),
            Timer::Loop { task_run, iteration } => self.next_turn(task_run, iteration),
            Timer::Sla { sla } => self.duration_over(sla),
            Timer::KillGrace => self.kill_grace_over(),
        }
    }

    /// Whether a report is about the job that counts; reports on earlier dispatches are not looked at.
    fn concerns(&self, id: Id, dispatch: u32) -> bool {
        self.run.task_run(id).is_some_and(|run| run.dispatch == dispatch && run.has_open_job())
    }

    fn job_started(&mut self, id: Id, dispatch: u32, worker: String, at: Timestamp) {
        let begun = self.run.task_run(id).is_some_and(|run| run.attempt_of(dispatch).is_some());
        if begun || !self.concerns(id, dispatch) {
            return;
        }
        self.begin_attempt(id, dispatch, Some(worker), at);
        match self.state_of(id) {
            Some(State::Submitted) => self.set_state(id, State::Running, at),
            // It began while it was being taken back.
            _ => self.effects.push(Effect::CancelJob { task_run: id, dispatch }),
        }
    }

    fn job_ended(&mut self, id: Id, dispatch: u32, result: JobResult) -> Flowing {
        if !self.concerns(id, dispatch) {
            return Ok(());
        }
        let JobResult { started_at, ended_at, worker, state, outputs, error, directory_outputs, logs, metrics } =
            result;
        let state = match state {
            State::Success | State::Warning | State::Killed => state,
            _ => State::Failed,
        };
        if self.run.task_run(id).is_some_and(|run| run.attempt_of(dispatch).is_none()) {
            self.begin_attempt(id, dispatch, worker, started_at);
        }
        self.close_attempt(id, state, ended_at, error);
        self.effects.extend(logs.into_iter().map(Effect::Log));
        self.effects.extend(metrics.into_iter().map(Effect::Metric));
        self.effects.push(Effect::EndJob { task_run: id, dispatch });
        let current = self.state_of(id);
        if current.is_none_or(State::is_terminal) {
            // The execution or the container did not wait: the attempt is settled, nothing else changes.
            return Ok(());
        }
        if current == Some(State::Submitted) {
            self.set_state(id, State::Running, started_at);
        }
        for outputs in [&outputs, &directory_outputs].into_iter().flatten() {
            self.note_sealed(outputs);
        }
        if let (Some(directory), Some(outputs)) = (self.directory_of(id), directory_outputs)
            && let Some(run) = self.edit(directory.task_run)
        {
            run.outputs = Some(Arc::new(outputs));
        }
        if let Some(run) = self.edit(id) {
            run.outputs = match outputs {
                Some(outputs) => Some(Arc::new(outputs)),
                None => (state != State::Failed).then(|| Arc::clone(&NO_OUTPUTS)),
            };
        }
        self.attempt_over(id, state, ended_at)
    }

    /// Nobody will report: what had not begun is given to another worker; what had is closed and begins anew, at no cost to its
    /// retries (flow model 1.x reference 4.5).
    fn job_lost(&mut self, id: Id, dispatch: u32) -> Flowing {
        if !self.concerns(id, dispatch) {
            return Ok(());
        }
        let now = self.moment.now;
        self.effects.push(Effect::EndJob { task_run: id, dispatch });
        let begun = self.run.task_run(id).is_some_and(|run| run.attempt_of(dispatch).is_some());
        match self.state_of(id) {
            Some(State::Submitted) => self.dispatch_again(id),
            Some(State::Running) => {
                self.close_attempt(id, State::Resubmitted, now, None);
                self.set_state(id, State::Created, now);
                self.starts.push_back(id);
                Ok(())
            }
            current => {
                // Killed, or ended without it: nobody wants another attempt.
                if !begun {
                    self.begin_attempt(id, dispatch, None, now);
                }
                self.close_attempt(id, State::Killed, now, None);
                if current == Some(State::Killing) {
                    self.end_task_run(id, State::Killed, now);
                }
                Ok(())
            }
        }
    }
}
