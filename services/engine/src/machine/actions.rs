//! What somebody asks for by hand and changes the execution as a whole: start it all the same, change its state or its labels (flow
//! model reference 4.10, 1.x reference 4.9).

use windhover_flow::{TaskKind, fill_defaults};
use windhover_types::{Id, JsonMap, Label, State, label_value, merge_labels};

use super::{Flowing, Machine, pause::inputs_stop};
use crate::{Effect, RenderContext, Timer, refusals};

impl Machine<'_> {
    /// It goes on without waiting for a date, a slot, a resumption or the date of a retry.
    pub(super) fn force_run(&mut self) -> Flowing {
        match self.run.execution.current() {
            _ if self.run.execution.is_ended() => {
                self.refuse_ended();
                Ok(())
            }
            State::Created | State::Queued | State::Restarted => {
                if self.run.execution.current() == State::Created && self.run.execution.schedule_time.is_some() {
                    self.effects.push(Effect::ClearTimer { timer: Timer::Schedule });
                }
                self.start_without_slot()
            }
            State::Paused if !self.is_killing() => self.resume_all(),
            State::Retrying => {
                for id in self.run.task_runs.all_open() {
                    if let Some(timer @ Timer::Retry { attempt, .. }) = self.timer_of(id) {
                        self.effects.push(Effect::ClearTimer { timer });
                        self.retry_due(id, attempt)?;
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn refuse_ended(&mut self) {
        let state = self.run.execution.current();
        self.refuse(refusals::ENDED, format!("the execution has ended {state}"));
    }

    /// Resumes every Pause, with the defaults of its inputs.
    fn resume_all(&mut self) -> Flowing {
        let paused: Vec<Id> = self.run.task_runs.all_open();
        let paused = paused.into_iter().filter(|id| self.state_of(*id) == Some(State::Paused));
        let mut some = false;
        for id in paused.collect::<Vec<_>>() {
            let Some(task) = self.task_of(id) else { continue };
            let TaskKind::Pause(pause) = &task.kind else { continue };
            let filled = self.evaluate(id, |context| {
                let filled = fill_defaults(&pause.on_resume, &JsonMap::new(), &context.environment());
                filled.map_err(|error| inputs_stop(context, error))
            })?;
            some = true;
            self.resumed(id, pause, filled.unwrap_or_default(), None);
            self.end_pause(id, |_| {})?;
        }
        if some { Ok(()) } else { self.go_on(State::Running) }
    }

    /// Out of the queue: RUNNING without a slot, or ended.
    pub(super) fn unqueue(&mut self, state: State) -> Flowing {
        let now = self.run.execution.current();
        if now != State::Queued || self.is_killing() {
            self.refuse(
                refusals::NOT_QUEUED,
                format!("only an execution that is QUEUED can be unqueued, and this one is {now}"),
            );
            return Ok(());
        }
        match state {
            State::Running => self.start_without_slot(),
            State::Cancelled | State::Failed => self.conclude(state, false),
            other => {
                let message = format!("an unqueued execution can become RUNNING, CANCELLED or FAILED, not {other}");
                self.refuse(refusals::INVALID_STATE, message);
                Ok(())
            }
        }
    }

    /// From one state at the end to another; nothing follows but what listens to states.
    pub(super) fn change_state(&mut self, state: State) {
        let now = self.run.execution.current();
        if !self.run.execution.is_ended() {
            self.refuse(
                refusals::NOT_ENDED,
                format!("only the state of an execution that has ended can be changed, and this one is {now}"),
            );
        } else if now == State::Killed {
            self.refuse(refusals::KILLED, "the state of an execution that was killed cannot be changed".to_owned());
        } else if !state.is_terminal() || matches!(state, State::Skipped | State::Resubmitted) {
            self.refuse(
                refusals::INVALID_STATE,
                format!("an execution cannot be made {state}: no state in which executions end"),
            );
        } else {
            self.set_execution_state(state);
        }
    }

    /// Given ones win over those of equal keys.
    pub(super) fn set_labels(&mut self, labels: &[Label]) {
        let execution = &self.run.execution;
        if !execution.is_ended() {
            let state = execution.current();
            self.refuse(
                refusals::NOT_ENDED,
                format!("only labels of an execution that has ended can be set, and this one is {state}"),
            );
            return;
        }
        let own = |label: &Label| label_value(&execution.labels, &label.key) == Some(label.value.as_str());
        if let Some(label) = labels.iter().find(|label| label.is_system() && !own(label)) {
            let message = format!("labels: `{}` is a system label, which only the system sets", label.key);
            self.refuse(refusals::INVALID_LABEL, message);
            return;
        }
        if let Some(label) = labels.iter().find(|label| label.key.is_empty() || label.value.is_empty()) {
            self.refuse(
                refusals::INVALID_LABEL,
                format!("labels: neither key nor value of `{}` can be empty", label.key),
            );
            return;
        }
        let merged = merge_labels([execution.labels.as_slice(), labels]);
        if merged != execution.labels {
            self.journal.execution(self.run).labels = merged;
            self.run.roots.forget_changeable();
        }
    }
}
