//! Tasks that the executor runs itself. Their task runs, attempts and states are those of a worker (flow model 1.x reference 4.5).

use std::sync::Arc;

use windhover_types::{Id, Level, State, merge_labels};

use super::{Flowing, Machine, NO_OUTPUTS};
use crate::{Effect, InlineOutcome, TaskMetric, Timer, context::Context};

impl Machine<'_> {
    pub(super) fn run_inline(&mut self, id: Id) -> Flowing {
        let Some(task) = self.task_of(id) else { return Ok(()) };
        let now = self.moment.now;
        self.set_state(id, State::Submitted, now);
        self.set_state(id, State::Running, now);
        self.begin_attempt(id, 0, None, now);
        let tasks = Arc::clone(&self.env.inline);
        let run = |context: &Context<'_>| {
            let outcome = tasks.run(task, context).map_err(|error| context.stop(error))?;
            Ok(context.mask_outcome(outcome))
        };
        match self.evaluate(id, run)? {
            Ok(outcome) => self.inline_done(id, outcome),
            Err(reason) => self.fail_attempt(id, reason),
        }
    }

    fn inline_done(&mut self, id: Id, outcome: InlineOutcome) -> Flowing {
        let now = self.moment.now;
        let InlineOutcome { error, warning, outputs, logs, metrics, sleep, labels, variables, exit } = outcome;
        let lowest = self.task_of(id).and_then(|task| task.log_level).unwrap_or(Level::Trace);
        let told = logs.iter().any(|(level, message)| *level == Level::Error && Some(message) == error.as_ref());
        for (level, message) in logs.into_iter().filter(|(level, _)| *level >= lowest) {
            self.log(Some(id), level, message);
        }
        if let Some(run) = self.run.task_run(id) {
            let task_id = run.task_id.clone();
            let metric = |(name, kind, value, tags)| {
                Effect::Metric(TaskMetric {
                    task_run_id: id,
                    task_id: task_id.clone(),
                    name,
                    kind,
                    value,
                    tags,
                    at: now,
                })
            };
            self.effects.extend(metrics.into_iter().map(metric));
        }
        if let Some(outputs) = &outputs {
            self.note_sealed(outputs);
        }
        if let Some(run) = self.edit(id) {
            run.outputs = match outputs {
                Some(outputs) => Some(Arc::new(outputs)),
                None => error.is_none().then(|| Arc::clone(&NO_OUTPUTS)),
            };
        }
        if let Some(reason) = error {
            if !told {
                self.log(Some(id), Level::Error, reason.clone());
            }
            self.close_attempt(id, State::Failed, now, Some(reason));
            return self.attempt_over(id, State::Failed, now);
        }
        self.change_execution(labels, variables);
        if let Some(state) = exit.filter(|_| !self.run.execution.current().is_terminal()) {
            return self.exit_task(id, state);
        }
        match sleep {
            Some(duration) => {
                let attempt = self.run.task_run(id).map_or(0, |run| run.attempts.len() as u32 - 1);
                let timer = Timer::Sleep { task_run: id, attempt };
                self.effects.push(Effect::SetTimer { timer, at: now.plus(duration) });
                Ok(())
            }
            None => {
                let state = if warning { State::Warning } else { State::Success };
                self.close_attempt(id, state, now, None);
                self.attempt_over(id, state, now)
            }
        }
    }

    /// An Exit task ends the execution.
    fn exit_task(&mut self, id: Id, state: State) -> Flowing {
        if state == State::Killed {
            let now = self.moment.now;
            self.close_attempt(id, state, now, None);
            self.end_task_run(id, state, now);
            return self.kill_from_inside();
        }
        self.exit(id, state)
    }

    fn change_execution(&mut self, labels: Vec<windhover_types::Label>, variables: Option<windhover_types::JsonMap>) {
        if labels.is_empty() && variables.is_none() {
            return;
        }
        let execution = self.journal.execution(self.run);
        if !labels.is_empty() {
            execution.labels = merge_labels([execution.labels.as_slice(), labels.as_slice()]);
        }
        if let Some(variables) = variables {
            execution.variables = Some(Arc::new(variables));
        }
        self.run.roots.forget_changeable();
    }

    /// A Sleep is over.
    pub(super) fn sleep_over(&mut self, id: Id, attempt: u32) -> Flowing {
        if self.timer_of(id) != Some(Timer::Sleep { task_run: id, attempt }) {
            return Ok(());
        }
        let now = self.moment.now;
        self.close_attempt(id, State::Success, now, None);
        self.attempt_over(id, State::Success, now)
    }
}
