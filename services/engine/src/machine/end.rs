//! The end of an execution: its outputs, its final state, and who is told (flow model reference 2.6, 3.6, 4.14).

use windhover_flow::{OutputsError, resolve_outputs};
use windhover_types::{JsonMap, Level, State};

use super::{Flowing, Machine, Needs};
use crate::{
    Effect, Event, ExecutionError, RenderContext, Timer,
    context::{Context, Stop},
};

impl Machine<'_> {
    /// Ends the execution with the state of its main list.
    pub(super) fn end_execution(&mut self, state: State) -> Flowing {
        let from = self.run.execution.current();
        self.give_to_open_children(None, state);
        let now = self.moment.now;
        // The history shows the state that the outputs turn into FAILED; the change that others hear of is the last one.
        self.journal.execution(self.run).state.set(state, now);
        let mut to = state;
        if state != State::Killed && !self.flow.outputs.is_empty() {
            match self.flow_outputs()? {
                Ok(outputs) => self.journal.execution(self.run).outputs = Some(outputs),
                Err(reason) => {
                    self.log(None, Level::Error, reason.clone());
                    to = State::Failed;
                    let execution = self.journal.execution(self.run);
                    execution.state.set(to, now);
                    execution.error = Some(ExecutionError { message: reason, task_run_id: None });
                }
            }
        }
        self.run.task_runs.todo.clear();
        if self.is_killing() && from == State::Killing {
            self.effects.push(Effect::ClearTimer { timer: Timer::KillGrace });
        }
        self.effects.push(Effect::ExecutionState { from: Some(from), to });
        let execution = &self.run.execution;
        if let Some(parent) = execution.parent.as_ref().filter(|parent| parent.wait) {
            let event = Event::SubflowEnded {
                task_run: parent.task_run_id,
                execution: execution.id,
                state: to,
                outputs: execution.outputs.clone(),
            };
            self.effects.push(Effect::NotifyParent { execution: parent.execution_id, event });
        }
        Ok(())
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
