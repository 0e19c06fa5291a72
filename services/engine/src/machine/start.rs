//! Starts a planned task run: `runIf`, then what its kind of task asks for.

use std::sync::Arc;

use serde_json::Value;
use windhover_expression::condition::is_truthy;
use windhover_flow::{Runnable, TaskKind};
use windhover_types::{Id, State};

use super::{Flowing, Machine};
use crate::{
    Directory, Effect, Frame, Job,
    context::{directory_of, job_variables},
    flowable,
};

impl Machine<'_> {
    pub(super) fn start(&mut self, id: Id) -> Flowing {
        if !matches!(self.state_of(id), Some(State::Created | State::Restarted)) {
            return Ok(());
        }
        let Some(task) = self.task_of(id) else {
            return self.fail_unstarted(id, "the flow does not have this task".to_owned());
        };
        if let Some(condition) = &task.run_if {
            match self.evaluate(id, |context| context.render(condition))? {
                Ok(text) if is_truthy(&text) => {}
                Ok(_) => {
                    self.skip(id);
                    return Ok(());
                }
                Err(reason) => return self.fail_unstarted(id, reason),
            }
        }
        match &task.kind {
            TaskKind::Runnable(runnable) if runnable.runs_inline(task) && self.directory_of(id).is_none() => {
                self.run_inline(id)
            }
            TaskKind::Runnable(runnable) => self.dispatch(id, runnable),
            TaskKind::Subflow(subflow) => self.start_subflow(id, subflow),
            TaskKind::Items(subflow) => self.start_items(id, subflow),
            _ => self.open_flowable(id),
        }
    }

    /// SKIPPED, with one attempt that says so (flow model 1.x reference 3.1).
    fn skip(&mut self, id: Id) {
        let now = self.moment.now;
        self.begin_attempt(id, 0, None, now);
        self.close_attempt(id, State::Skipped, now, None);
        self.end_task_run(id, State::Skipped, now);
    }

    /// It cannot be started: a failed attempt that never ran.
    pub(super) fn fail_unstarted(&mut self, id: Id, reason: String) -> Flowing {
        let now = self.moment.now;
        self.begin_attempt(id, 0, None, now);
        self.fail_attempt(id, reason)
    }

    fn open_flowable(&mut self, id: Id) -> Flowing {
        let Some(task) = self.task_of(id) else { return Ok(()) };
        let now = self.moment.now;
        self.set_state(id, State::Running, now);
        self.begin_attempt(id, 0, None, now);
        let opening = self.evaluate(id, |context| flowable::open(&task.kind, context))?;
        if let Some(run) = self.edit(id) {
            run.frame = Some(Frame::default());
        }
        let opening = match opening {
            Ok(opening) => opening,
            Err(reason) => {
                self.fail_flowable(id, reason);
                return Ok(());
            }
        };
        if let Some(run) = self.edit(id) {
            run.opened = opening.opened.map(Arc::new);
            run.outputs = Some(if opening.outputs.is_empty() {
                Arc::clone(&super::NO_OUTPUTS)
            } else {
                Arc::new(Value::Object(opening.outputs))
            });
        }
        match opening.failure {
            Some(reason) => {
                self.fail_flowable(id, reason);
                Ok(())
            }
            None => match &task.kind {
                TaskKind::Pause(pause) => {
                    self.enter_pause(id, pause);
                    Ok(())
                }
                _ => self.open_list(Some(id)),
            },
        }
    }

    /// Hands the task to a worker.
    fn dispatch(&mut self, id: Id, runnable: &Runnable) -> Flowing {
        self.set_state(id, State::Submitted, self.moment.now);
        let variables = match self.job_context(id, runnable)? {
            Ok(variables) => variables,
            Err(reason) => return self.fail_unstarted(id, reason),
        };
        if let Some(run) = self.edit(id) {
            run.dispatch += 1;
        }
        self.run.task_runs.reindex(id);
        self.send_job(id, variables);
        Ok(())
    }

    /// Gives a job that was lost before it began to another worker.
    pub(super) fn dispatch_again(&mut self, id: Id) -> Flowing {
        let Some(task) = self.task_of(id) else { return Ok(()) };
        let TaskKind::Runnable(runnable) = &task.kind else { return Ok(()) };
        match self.job_context(id, runnable)? {
            Ok(variables) => {
                if let Some(run) = self.edit(id) {
                    run.dispatch += 1;
                }
                self.run.task_runs.reindex(id);
                self.send_job(id, variables);
            }
            Err(reason) => {
                // The lost dispatch is settled by an attempt that never ran.
                let dispatch = self.run.task_run(id).map_or(0, |run| run.dispatch);
                self.begin_attempt(id, dispatch, None, self.moment.now);
                return self.fail_attempt(id, reason);
            }
        }
        Ok(())
    }

    fn job_context(&self, id: Id, runnable: &Runnable) -> Flowing<Result<windhover_types::JsonMap, String>> {
        let Some(task) = self.task_of(id) else { return Ok(Err("the flow does not have this task".to_owned())) };
        self.evaluate(id, |context| job_variables(context, task, runnable))
    }

    /// The directory that a task run shares with its siblings, if it does.
    pub(super) fn directory_of(&self, id: Id) -> Option<Directory> {
        directory_of(self.flow, self.run, self.run.task_run(id)?)
    }

    fn send_job(&mut self, id: Id, variables: windhover_types::JsonMap) {
        let Some((task, run)) = self.task_of(id).zip(self.run.task_run(id)) else { return };
        let job = Job::of(task, run, variables, self.directory_of(id));
        self.effects.push(Effect::StartJob(job));
    }
}
