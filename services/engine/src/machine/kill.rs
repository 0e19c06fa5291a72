//! Kill: nothing new begins, what runs is told to stop, and once that has reported (or had its time) everything is KILLED (flow model
//! reference 4.9; unlike there, reports are waited for).

use windhover_flow::TaskKind;
use windhover_types::{Id, State};

use super::{Flowing, Machine, Needs};
use crate::{Effect, Fact, Timer};

impl Machine<'_> {
    /// An Exit task wants it: subflows go on.
    pub(super) fn kill_from_inside(&mut self) -> Flowing {
        self.kill(false)
    }

    /// `cascade`: subflows are killed too.
    pub(super) fn kill(&mut self, cascade: bool) -> Flowing {
        if self.run.execution.is_ended() || self.is_killing() {
            return Ok(());
        }
        if self.run.execution.current().is_terminal() {
            self.kill_after();
            return Ok(());
        }
        if cascade {
            self.kill_children_not_waited_for()?;
        }
        if self.run.execution.current() == State::Created && self.run.execution.schedule_time.is_some() {
            self.effects.push(Effect::ClearTimer { timer: Timer::Schedule });
        }
        let execution = self.journal.execution(self.run);
        execution.kill_requested = true;
        for ended in std::mem::take(&mut execution.marks.untold) {
            self.change_frame(ended.parent, |frame| frame.open = frame.open.saturating_sub(1));
        }
        self.set_execution_state(State::Killing);
        self.run.task_runs.todo.clear();
        let open = self.run.task_runs.all_open();
        for id in open.iter().copied() {
            self.kill_task_run(id, cascade);
        }
        // What is empty by now ends at once, innermost first.
        for id in open.into_iter().rev() {
            if self.run.task_run(id).is_some_and(|run| run.frame.is_some()) {
                self.killed_if_empty(Some(id))?;
            }
        }
        self.work_off()?;
        self.killed_if_empty(None)?;
        if !self.run.execution.current().is_terminal() {
            let at = self.moment.now.plus(self.env.limits.kill_grace);
            self.effects.push(Effect::SetTimer { timer: Timer::KillGrace, at });
        }
        Ok(())
    }

    fn kill_task_run(&mut self, id: Id, cascade: bool) {
        let now = self.moment.now;
        let Some((task, run)) = self.task_of(id).zip(self.run.task_run(id)) else { return };
        let (state, dispatch, child) = (run.state.current(), run.dispatch, run.child_execution);
        let (flowable, waiting) = (run.frame.is_some(), self.timer_of(id).is_some());
        match (&task.kind, state) {
            (TaskKind::Runnable(_), State::Submitted | State::Running) if run.has_open_job() => {
                self.effects.push(Effect::CancelJob { task_run: id, dispatch });
                self.set_state(id, State::Killing, now);
            }
            (TaskKind::Subflow(_), State::Running) if cascade => {
                self.effects.extend(child.map(|execution| Effect::KillChild { execution }));
                self.set_state(id, State::Killing, now);
            }
            (TaskKind::Items(_), State::Running) if cascade && self.kill_items(id) => {
                self.set_state(id, State::Killing, now);
            }
            (_, State::Running) if flowable => {
                if waiting {
                    self.clear_timers(id);
                }
                self.set_state(id, State::Killing, now);
            }
            _ => {
                if waiting {
                    self.clear_timers(id);
                }
                self.close_attempt(id, State::Killed, now, None);
                self.end_task_run(id, State::Killed, now);
            }
        }
    }

    /// Subflows that were started without waiting are killed too. Their task runs have ended, so they may have to be loaded.
    pub(super) fn kill_children_not_waited_for(&mut self) -> Flowing {
        let not_waiting =
            |kind: &TaskKind| matches!(kind, TaskKind::Subflow(subflow) | TaskKind::Items(subflow) if !subflow.wait);
        let tasks: Vec<&str> = self
            .flow
            .index
            .iter()
            .filter(|(_, place)| not_waiting(&place.task.kind))
            .map(|(id, _)| id.as_str())
            .collect();
        if tasks.is_empty() {
            return Ok(());
        }
        let shared = self.run.task_runs.shared();
        let missing: Vec<Fact> = tasks
            .iter()
            .filter(|id| !shared.knows(id))
            .map(|id| Fact::Outputs { task_id: Some((*id).to_owned()) })
            .collect();
        if !missing.is_empty() {
            return Err(Needs(missing));
        }
        let children = self.run.task_runs().filter(|run| tasks.contains(&run.task_id.as_str()));
        let kills: Vec<Effect> = children
            .flat_map(|run| run.child_execution.into_iter().chain(super::items::open_items(run)))
            .map(|execution| Effect::KillChild { execution })
            .collect();
        self.effects.extend(kills);
        Ok(())
    }

    /// Ends a container that is being killed once nothing in it is open.
    pub(super) fn killed_if_empty(&mut self, id: Option<Id>) -> Flowing {
        match id {
            None if self.run.execution.current().is_terminal() || self.run.execution.frame.open > 0 => Ok(()),
            None => self.end_execution(State::Killed),
            Some(id) => {
                let empty = self.run.task_run(id).is_some_and(|run| {
                    run.state.current() == State::Killing && run.frame.as_ref().is_some_and(|frame| frame.open == 0)
                });
                if empty {
                    self.close_attempt(id, State::Killed, self.moment.now, None);
                    self.end_task_run(id, State::Killed, self.moment.now);
                }
                Ok(())
            }
        }
    }

    /// The workers had their time. Their attempts stay open until they report or are given up for lost.
    pub(super) fn kill_grace_over(&mut self) -> Flowing {
        if self.run.execution.current() != State::Killing {
            return Ok(());
        }
        for id in self.run.task_runs.all_open().into_iter().rev() {
            self.abandon(id, State::Killed);
        }
        self.end_execution(State::Killed)
    }
}
