//! New task runs: planned, and to be started in this step or the next.

use std::sync::Arc;

use windhover_flow::Task;
use windhover_types::{Id, State, StateHistory};

use super::{Machine, plan::Turn};
use crate::{TaskRun, ids};

impl Machine<'_> {
    /// Plans one task: a new task run in CREATED.
    pub(super) fn create(&mut self, parent: Option<Id>, task: &Arc<Task>, turn: Turn<'_>) {
        let mut value_path =
            parent.and_then(|id| self.run.task_run(id)).map(|run| run.value_path.clone()).unwrap_or_default();
        let value = turn.and_then(|(_, value)| value).map(str::to_owned);
        value_path.extend(value.clone());
        let iteration = turn.map(|(index, _)| index);
        let execution = &self.run.execution;
        let id = ids::task_run_id(execution.id, parent, &task.id, iteration, execution.marks.generation);
        self.plan(TaskRun { parent_id: parent, value, iteration, value_path, ..self.planned(id, task) });
    }

    /// Plans the task that runs while a Pause waits: beside the Pause in loops and outputs, below nothing.
    pub(super) fn create_on_pause(&mut self, pause: Id, task: &Arc<Task>) {
        let Some(run) = self.run.task_run(pause) else { return };
        let (value, iteration, value_path) = (run.value.clone(), run.iteration, run.value_path.clone());
        let id = self.on_pause_id(pause, task, self.run.execution.marks.generation);
        self.plan(TaskRun { value, iteration, value_path, ..self.planned(id, task) });
    }

    pub(super) fn on_pause_id(&self, pause: Id, task: &Task, generation: u32) -> Id {
        ids::task_run_id(self.run.execution.id, Some(pause), &task.id, None, generation)
    }

    fn planned(&self, id: Id, task: &Task) -> TaskRun {
        TaskRun {
            id,
            task_id: task.id.clone(),
            seq: self.run.task_runs.next_seq(),
            parent_id: None,
            value: None,
            iteration: None,
            value_path: Vec::new(),
            state: StateHistory::new(State::Created, self.moment.now),
            attempts: Vec::new(),
            outputs: None,
            frame: None,
            opened: None,
            dispatch: 0,
            child_execution: None,
            version: 0,
        }
    }

    fn plan(&mut self, run: TaskRun) {
        if self.run.execution.current() == State::Created {
            self.set_execution_state(State::Running);
        }
        self.change_frame(run.parent_id, |frame| frame.open += 1);
        self.starts.push_back(run.id);
        self.run.task_runs.push(run);
    }
}
