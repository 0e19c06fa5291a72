//! What runs once an execution has its final state: tasks of listeners whose conditions hold, then `afterExecution` (flow model reference
//! 4.15, 1.x reference 4.3). It changes nothing of state and outputs; the execution counts as ended when it is through.

use windhover_flow::{ConditionError, ListKind, Upstream, evaluate_all};
use windhover_types::{Id, Level, State};

use super::{Flowing, Machine, Needs};
use crate::{
    Effect, Phase, RenderContext,
    context::{Context, Stop},
    flow_trigger::retried,
};

impl Machine<'_> {
    /// The execution has its final state: what follows it begins, or it is over.
    pub(super) fn begin_after(&mut self) -> Flowing {
        let mut listeners = Vec::new();
        for (index, listener) in self.flow.listeners.iter().enumerate() {
            if !listener.tasks.is_empty() && self.listener_holds(index)? {
                listeners.push(u32::try_from(index).unwrap_or(u32::MAX));
            }
        }
        let first = self.run.task_runs.next_seq();
        let execution = self.journal.execution(self.run);
        execution.marks.listeners = listeners;
        execution.frame.phase = Phase::After;
        // Whatever was planned before has nobody any more who waits for it.
        execution.frame.started = first;
        self.next_after(None)
    }

    fn listener_holds(&mut self, index: usize) -> Flowing<bool> {
        let held = {
            let context = Context::new(self.flow, self.run, self.facts, self.moment, self.env);
            let execution = &self.run.execution;
            let conditions = &self.flow.listeners[index].conditions;
            let retried = retried(self.run, conditions);
            let own = Upstream {
                namespace: &execution.namespace,
                flow_id: &execution.flow_id,
                state: execution.current(),
                labels: &execution.labels,
                has_outputs: execution.outputs.as_ref().is_some_and(|outputs| !outputs.is_empty()),
                retried: &retried,
                listening: (&execution.namespace, &execution.flow_id),
            };
            let held = evaluate_all(conditions, Some(&own), &context.environment());
            held.map_err(|error| match error {
                ConditionError::Expression(error) => context.stop(error),
                other => Stop::Failed(context.mask_message(&other.to_string())),
            })
        };
        match held {
            Ok(held) => Ok(held),
            Err(Stop::Needs(facts)) => Err(Needs(facts)),
            Err(Stop::Failed(reason)) => {
                self.log(None, Level::Warn, format!("The conditions of a listener cannot be evaluated: {reason}"));
                Ok(false)
            }
        }
    }

    /// The task after this one (`None`: the first of all).
    pub(super) fn next_after(&mut self, ended: Option<(&ListKind, usize)>) -> Flowing {
        let flow = self.flow;
        let list_of = |kind: &ListKind| match kind {
            ListKind::Listener(index) => flow.listeners.get(*index).map_or(&[][..], |listener| &listener.tasks),
            _ => &flow.after_execution[..],
        };
        let mut lists: Vec<ListKind> =
            self.run.execution.marks.listeners.iter().map(|index| ListKind::Listener(*index as usize)).collect();
        lists.push(ListKind::AfterExecution);
        let (from, next) = match ended {
            None => (0, 0),
            Some((list, position)) => (lists.iter().position(|at| at == list).unwrap_or(lists.len()), position + 1),
        };
        let mut next = Some(next);
        for list in lists.iter().skip(from) {
            if let Some(task) = list_of(list).get(next.take().unwrap_or(0)) {
                self.create(None, task, None);
                return Ok(());
            }
        }
        self.over();
        Ok(())
    }

    /// Nothing more follows: whoever waits for the end is told.
    fn over(&mut self) {
        self.journal.execution(self.run).frame.phase = Phase::Over;
        self.give_slot_back();
        self.tell_parent(self.run.execution.marks.generation);
    }

    /// Somebody does not want to wait for what follows the end.
    pub(super) fn kill_after(&mut self) {
        let open: Vec<Id> = self.run.task_runs.all_open();
        for id in open.into_iter().rev() {
            if let Some(run) =
                self.run.task_run(id).filter(|run| run.has_open_job() && run.attempt_of(run.dispatch).is_some())
            {
                let (task_run, dispatch) = (id, run.dispatch);
                self.effects.push(Effect::CancelJob { task_run, dispatch });
            }
            self.abandon(id, State::Killed);
        }
        self.run.task_runs.todo.clear();
        self.journal.execution(self.run).frame.open = 0;
        self.over();
    }
}
