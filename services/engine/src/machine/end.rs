//! The end of an execution: its outputs, its final state, and who is told (flow model reference 2.6, 3.6, 4.14).

use windhover_flow::{OutputsError, RetryBehavior, resolve_outputs};
use windhover_types::{Id, JsonMap, Level, State, has_sealed};

use super::{Flowing, Machine, Needs};
use crate::{
    Effect, Event, ExecutionError, RenderContext, Timer,
    context::{Context, Stop},
};

impl Machine<'_> {
    /// Ends the execution from inside: the task run, everything open around it and beside it, and the execution get this state, and
    /// nothing more begins (flow model 1.x reference 5.2).
    pub(super) fn exit(&mut self, id: Id, state: State) -> Flowing {
        let now = self.moment.now;
        self.clear_timers(id);
        self.close_attempt(id, state, now, None);
        self.end_task_run(id, state, now);
        if self.run.execution.current().is_terminal() {
            // What runs after the end decides nothing any more.
            return Ok(());
        }
        self.conclude(state, false)
    }

    /// Ends the execution with the state of its main list.
    pub(super) fn end_execution(&mut self, state: State) -> Flowing {
        if let (State::Failed, Some(retry)) = (state, &self.flow.retry)
            && retry.behavior == RetryBehavior::NewExecution
            && let Some(due) = self.next_execution(retry, self.moment.now)
        {
            return self.try_as_another(due);
        }
        self.conclude(state, state != State::Killed)
    }

    pub(super) fn conclude(&mut self, state: State, with_outputs: bool) -> Flowing {
        let from = self.run.execution.current();
        self.give_to_open_children(None, state);
        let now = self.moment.now;
        // The history shows the state that the outputs turn into FAILED; the change that others hear of is the last one.
        self.journal.execution(self.run).state.set(state, now);
        let mut to = state;
        if with_outputs && !self.flow.outputs.is_empty() {
            match self.flow_outputs()? {
                Ok(outputs) => {
                    let execution = self.journal.execution(self.run);
                    execution.marks.sealed |= outputs.values().any(has_sealed);
                    execution.outputs = Some(outputs);
                }
                Err(reason) => {
                    let reason = self.run.roots.mask(reason);
                    self.log(None, Level::Error, reason.clone());
                    to = State::Failed;
                    let execution = self.journal.execution(self.run);
                    execution.state.set(to, now);
                    execution.error = Some(ExecutionError { message: reason, task_run_id: None });
                }
            }
        }
        self.run.task_runs.todo.clear();
        if !self.run.execution.marks.untold.is_empty() {
            self.journal.execution(self.run).marks.untold.clear();
        }
        if from == State::Killing {
            self.effects.push(Effect::ClearTimer { timer: Timer::KillGrace });
        }
        self.forget_durations();
        self.effects.push(Effect::ExecutionState { from: Some(from), to });
        self.begin_after()
    }

    /// The task run that waits for this execution hears of its end.
    pub(super) fn tell_parent(&mut self, generation: u32) {
        let execution = &self.run.execution;
        if let Some(parent) = execution.parent.as_ref().filter(|parent| parent.wait) {
            if let Some(by) = execution.marks.replaced_by {
                let (task_run, execution) = (parent.task_run_id, execution.id);
                let event = Event::SubflowReplaced { task_run, execution, by, item: parent.item };
                self.effects.push(Effect::NotifyParent { execution: parent.execution_id, event });
                return;
            }
            let event = Event::SubflowEnded {
                task_run: parent.task_run_id,
                execution: execution.id,
                state: execution.current(),
                outputs: execution.outputs.clone(),
                generation,
                item: parent.item,
            };
            self.effects.push(Effect::NotifyParent { execution: parent.execution_id, event });
        }
    }

    fn flow_outputs(&mut self) -> Flowing<Result<JsonMap, String>> {
        let context = Context::new(self.flow, self.run, self.facts, self.moment, self.env);
        let resolved = resolve_outputs(&self.flow.outputs, &context.environment());
        let resolved = match resolved {
            Ok(resolved) => resolved,
            Err(OutputsError::Needs(key)) => {
                return match Stop::from(windhover_expression::ExpressionError::Needs(key)) {
                    Stop::Needs(facts) => Err(Needs(facts)),
                    Stop::Failed(reason) => Ok(Err(reason)),
                };
            }
            Err(error) => return Ok(Err(context.mask_message(&error.to_string()))),
        };
        drop(context);
        for warning in resolved.warnings {
            self.log(None, Level::Warn, warning);
        }
        Ok(Ok(resolved.values))
    }
}
