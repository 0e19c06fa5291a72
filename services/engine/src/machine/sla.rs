//! Service levels (flow model reference 4.12, 1.x reference 4.11): durations are watched by timers, assertions are looked at before
//! anything follows from the end of a task run.

use windhover_expression::condition::is_truthy;
use windhover_flow::{Flow, Sla, SlaBehavior, SlaKind, TaskKind, format_duration};
use windhover_types::{Level, State, Timestamp, merge_labels};

use super::{Flowing, Machine};
use crate::{Effect, Execution, ExecutionError, Timer, context::Context, context::Stop};

impl Machine<'_> {
    /// Timers of durations, once the execution is to begin.
    pub(super) fn watch_durations(&mut self) {
        for (sla, at) in durations(self.flow, &self.run.execution) {
            self.effects.push(Effect::SetTimer { timer: Timer::Sla { sla }, at });
        }
    }

    pub(super) fn forget_durations(&mut self) {
        let watched = durations(self.flow, &self.run.execution);
        self.effects.extend(watched.map(|(sla, _)| Effect::ClearTimer { timer: Timer::Sla { sla } }));
    }

    /// A duration is over, and the execution is not.
    pub(super) fn duration_over(&mut self, index: u32) -> Flowing {
        let flow = self.flow;
        let Some(sla) = flow.sla.get(index as usize) else { return Ok(()) };
        let SlaKind::MaxDuration(max) = &sla.kind else { return Ok(()) };
        if self.run.execution.current().is_terminal() || self.is_killing() {
            return Ok(());
        }
        let reason = format!("execution duration exceeded the limit of {}", format_duration(*max));
        self.violated(index, sla, &reason, true)
    }

    /// The first assertion that does not hold acts; others are only told of. One that cannot be rendered yet is left alone.
    pub(super) fn look_at_assertions(&mut self) -> Flowing {
        let flow = self.flow;
        if flow.sla.is_empty() {
            return Ok(());
        }
        let mut acts = true;
        for (index, sla) in flow.sla.iter().enumerate() {
            let SlaKind::Assertion(text) = &sla.kind else { continue };
            if self.run.execution.current().is_terminal() || self.is_killing() {
                return Ok(());
            }
            let rendered = {
                let context = Context::new(flow, self.run, self.facts, self.moment, self.env);
                context.render(text)
            };
            match rendered {
                Ok(text) if is_truthy(&text) => {}
                Ok(_) => {
                    let index = u32::try_from(index).unwrap_or(u32::MAX);
                    self.violated(index, sla, "assertion is false", acts)?;
                    acts = false;
                }
                Err(Stop::Needs(facts)) => return Err(super::Needs(facts)),
                Err(Stop::Failed(_)) => {}
            }
        }
        Ok(())
    }

    fn violated(&mut self, index: u32, sla: &Sla, reason: &str, acts: bool) -> Flowing {
        let known = self.run.execution.marks.violated.contains(&index);
        if !known {
            let message = format!("SLA '{}' violated: {reason}", sla.id);
            self.log(None, Level::Warn, message);
            self.journal.execution(self.run).marks.violated.push(index);
        }
        if !acts {
            return Ok(());
        }
        let execution = &self.run.execution;
        let labels = merge_labels([execution.labels.as_slice(), sla.labels.as_slice()]);
        if labels != execution.labels {
            self.journal.execution(self.run).labels = labels;
            self.run.roots.forget_changeable();
        }
        match sla.behavior {
            SlaBehavior::None => Ok(()),
            SlaBehavior::Fail => {
                let message = format!("The execution fails since its SLA '{}' is violated: {reason}", sla.id);
                let message = self.run.roots.mask(message);
                self.log(None, Level::Error, message.clone());
                self.journal.execution(self.run).error = Some(ExecutionError { message, task_run_id: None });
                self.break_off(State::Failed)
            }
            SlaBehavior::Cancel => self.break_off(State::Cancelled),
        }
    }

    /// Ends the execution in the middle: workers are told to stop, subflows are killed, nobody is waited for.
    fn break_off(&mut self, state: State) -> Flowing {
        self.kill_children_not_waited_for()?;
        for id in self.run.task_runs.all_open() {
            let Some((task, run)) = self.task_of(id).zip(self.run.task_run(id)) else { continue };
            let (dispatch, begun) = (run.dispatch, run.attempt_of(run.dispatch).is_some());
            if run.has_open_job() && begun {
                self.effects.push(Effect::CancelJob { task_run: id, dispatch });
            }
            if let (TaskKind::Subflow(_), State::Running, Some(execution)) =
                (&task.kind, run.state.current(), run.child_execution)
            {
                self.effects.push(Effect::KillChild { execution });
            }
            if matches!(task.kind, TaskKind::Items(_)) {
                self.kill_items(id);
            }
        }
        self.conclude(state, false)
    }
}

/// The durations that are watched, by their places among the service levels, with their ends: from when it was created (or is to begin),
/// or taken up again.
pub(super) fn durations(flow: &Flow, execution: &Execution) -> impl Iterator<Item = (u32, Timestamp)> + use<> {
    let planned = |state| matches!(state, State::Created | State::Restarted);
    let from = execution.state.entries().iter().rev().find(|entry| planned(entry.state)).map(|entry| entry.at);
    let from = from.max(execution.schedule_time).unwrap_or_default();
    let ends: Vec<(u32, Timestamp)> = flow
        .sla
        .iter()
        .enumerate()
        .filter_map(|(index, sla)| match &sla.kind {
            SlaKind::MaxDuration(max) => Some((u32::try_from(index).ok()?, from.plus(*max))),
            SlaKind::Assertion(_) => None,
        })
        .collect();
    ends.into_iter()
}
