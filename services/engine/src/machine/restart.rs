//! Restart and change of a task run's state: an ended execution goes on where it failed, or from a state that somebody decides (flow
//! model reference 4.10, 1.x reference 4.9).

use std::sync::Arc;

use windhover_flow::{ListKind, TaskKind, fill_defaults};
use windhover_types::{Id, JsonMap, Label, State, merge_labels};

use super::{Flowing, Machine, NO_OUTPUTS};
use crate::{RenderContext, TaskRun, flowable::is_handler, refusals};

impl Machine<'_> {
    /// `by_parent`: a Subflow task asks for it and wants to hear of an end in any case.
    pub(super) fn restart(&mut self, by_parent: bool) -> Flowing {
        if self.can_be_taken_up(true) {
            self.need_everything()?;
        }
        let again = self.to_restart();
        if again.is_empty() && self.refused.is_none() {
            self.refuse(refusals::NOTHING_TO_RESTART, "No task found to restart execution from!".to_owned());
        }
        if self.refused.is_some() {
            if by_parent && self.run.execution.is_ended() {
                // As if it had been restarted and had ended in the same way.
                self.refused = None;
                let marks = &mut self.journal.execution(self.run).marks;
                marks.generation = marks.generation.saturating_add(1);
                self.tell_parent(self.run.execution.marks.generation);
            }
            return Ok(());
        }
        self.remove_handlers();
        for id in again {
            self.restart_task_run(id)?;
        }
        let execution = self.journal.execution(self.run);
        execution.marks.earlier_attempts = execution.marks.earlier_attempts.saturating_add(1);
        execution.labels = merge_labels([execution.labels.as_slice(), &[Label::new(Label::RESTARTED, "true")]]);
        self.run.roots.forget_changeable();
        self.take_up()
    }

    /// Refuses unless the execution has ended (or is paused) and was not killed.
    fn can_be_taken_up(&mut self, paused_too: bool) -> bool {
        let state = self.run.execution.current();
        if state == State::Killed || self.is_killing() {
            self.refuse(refusals::KILLED, "an execution that was killed cannot be taken up again".to_owned());
        } else if !(self.run.execution.is_ended() || (paused_too && self.is_paused())) {
            let or_paused = if paused_too { " or is paused" } else { "" };
            let message =
                format!("only an execution that has ended{or_paused} can be taken up again, and this one is {state}");
            self.refuse(refusals::NOT_ENDED, message);
        }
        self.refused.is_none()
    }

    /// FAILED and PAUSED task runs that nothing around them has put up with.
    fn to_restart(&self) -> Vec<Id> {
        let counts = |run: &TaskRun| matches!(run.state.current(), State::Failed | State::Paused);
        let runs = self.run.task_runs.in_order();
        runs.filter(|run| counts(run) && self.is_planned_path(run, &counts)).map(|run| run.id).collect()
    }

    /// Whether a task run and everything around it stands in main lists, and whatever has ended around it counts too.
    fn is_planned_path(&self, run: &TaskRun, counts: &impl Fn(&TaskRun) -> bool) -> bool {
        let mut next = Some(run);
        while let Some(at) = next {
            let handler = self.place(&at.task_id).is_none_or(|place| is_handler(&place.list));
            if handler || (at.state.current().is_terminal() && !counts(at)) {
                return false;
            }
            next = at.parent_id.and_then(|id| self.run.task_run(id));
        }
        true
    }

    /// Task runs of `errors`, `finally` and what follows the end go, and everything below them.
    fn remove_handlers(&mut self) {
        let handlers: Vec<Id> = self
            .run
            .task_runs
            .in_order()
            .filter(|run| {
                self.place(&run.task_id).is_some_and(|place| is_handler(&place.list) && place.list != ListKind::OnPause)
            })
            .map(|run| run.id)
            .collect();
        for id in handlers {
            for below in self.run.task_runs.descendants(id) {
                self.remove_with_on_pause(below);
            }
            self.remove_with_on_pause(id);
        }
    }

    fn restart_task_run(&mut self, id: Id) -> Flowing {
        let Some((task, run)) = self.task_of(id).zip(self.run.task_run(id)) else { return Ok(()) };
        let failed_below = || {
            let below = self.run.task_runs.descendants(id);
            below.into_iter().any(|id| matches!(self.state_of(id), Some(State::Failed | State::Paused)))
        };
        match &task.kind {
            TaskKind::Pause(pause) if run.state.current() == State::Paused => {
                // As if it were resumed without a word.
                let filled = self.evaluate(id, |context| {
                    let filled = fill_defaults(&pause.on_resume, &JsonMap::new(), &context.environment());
                    filled.map_err(|error| super::pause::inputs_stop(context, error))
                })?;
                self.clear_timers(id);
                self.resumed(id, pause, filled.unwrap_or_default(), None);
                self.set_state(id, State::Running, self.moment.now);
            }
            TaskKind::LoopUntil(_) | TaskKind::WorkingDirectory(_) => self.begin_anew(id)?,
            _ if run.frame.is_some() && failed_below() => self.reopen(id),
            _ if run.frame.is_some() => self.begin_anew(id)?,
            _ => self.again(id),
        }
        Ok(())
    }

    /// Begins anew, keeping its attempts.
    fn again(&mut self, id: Id) {
        self.drop_job(id);
        self.close_attempt(id, State::Resubmitted, self.moment.now, None);
        self.set_state(id, State::Restarted, self.moment.now);
    }

    /// A flowable that failed by itself, and every loop that counts its turns, decides anew.
    fn begin_anew(&mut self, id: Id) -> Flowing {
        self.remove_below(id)?;
        if let Some(run) = self.edit(id) {
            run.frame = None;
            run.opened = None;
            run.outputs = None;
        }
        self.again(id);
        Ok(())
    }

    /// A flowable that has ended is open again.
    fn reopen(&mut self, id: Id) {
        let now = self.moment.now;
        if self.state_of(id).is_some_and(State::is_terminal) {
            self.set_state(id, State::Running, now);
            self.begin_attempt(id, 0, None, now);
        }
    }

    /// The execution is RESTARTED and goes on as soon as it may.
    fn take_up(&mut self) -> Flowing {
        let execution = self.journal.execution(self.run);
        execution.marks.generation = execution.marks.generation.saturating_add(1);
        execution.marks.violated.clear();
        execution.marks.replaced_by = None;
        execution.outputs = None;
        execution.error = None;
        self.set_execution_state(State::Restarted);
        self.begin()
    }

    pub(super) fn change_task_run_state(&mut self, id: Id, state: State) -> Flowing {
        if !self.can_be_taken_up(false) {
            return Ok(());
        }
        let fits = matches!(
            state,
            State::Success | State::Warning | State::Failed | State::Killed | State::Cancelled | State::Skipped
        );
        if !fits {
            let message = format!(
                "the state of a task run can be changed to SUCCESS, WARNING, FAILED, KILLED, CANCELLED or SKIPPED, not to {state}"
            );
            self.refuse(refusals::INVALID_STATE, message);
            return Ok(());
        }
        self.need_everything()?;
        let Some(run) = self.run.task_run(id) else {
            self.refuse(refusals::TASK_RUN_NOT_FOUND, format!("the execution has no task run {id}"));
            return Ok(());
        };
        let above = self.above(run);
        let in_handler = |id: &Id| {
            let place = self.run.task_run(*id).and_then(|run| self.place(&run.task_id));
            place.is_none_or(|place| is_handler(&place.list))
        };
        if above.iter().chain([&id]).any(in_handler) {
            let message =
                "task runs of errors, finally and what follows the end run again by themselves; change one before them";
            self.refuse(refusals::INVALID_STATE, message.to_owned());
            return Ok(());
        }
        self.remove_handlers();
        self.drop_job(id);
        let now = self.moment.now;
        if let Some(run) = self.edit(id) {
            if let Some(attempt) = run.attempts.last_mut() {
                attempt.state.set(state, now);
            }
            run.outputs.get_or_insert_with(|| Arc::clone(&NO_OUTPUTS));
        }
        self.set_state(id, state, now);
        for id in above {
            self.reopen(id);
        }
        self.take_up()
    }

    /// Task runs around one, innermost first.
    fn above(&self, run: &TaskRun) -> Vec<Id> {
        let mut above = Vec::new();
        let mut next = run.parent_id;
        while let Some(id) = next {
            above.push(id);
            next = self.run.task_run(id).and_then(|run| run.parent_id);
        }
        above
    }
}
