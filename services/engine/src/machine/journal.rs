//! What a step has changed, so that it can be told and taken back.

use std::{collections::BTreeMap, sync::Arc};

use indexmap::IndexMap;
use windhover_types::{Id, JsonMap, Label, StateHistory};

use crate::{Execution, ExecutionError, Frame, Marks, RemovedTaskRun, Run, TaskRun};

pub(super) struct Journal {
    /// Present once the step has changed it.
    execution: Option<Before>,
    /// Changed task runs as they were.
    task_runs: IndexMap<Id, TaskRun>,
    /// Those of them that are gone.
    removed: Vec<RemovedTaskRun>,
    /// Task runs from this number on are new.
    next_seq: u32,
    todo: BTreeMap<u32, Id>,
}

/// The part of an execution that steps change.
struct Before {
    state: StateHistory,
    labels: Vec<Label>,
    variables: Option<Arc<JsonMap>>,
    outputs: Option<JsonMap>,
    error: Option<ExecutionError>,
    frame: Frame,
    kill_requested: bool,
    marks: Marks,
}

impl Journal {
    pub(super) fn new(run: &Run) -> Self {
        let next_seq = run.task_runs.next_seq();
        Self {
            execution: None,
            task_runs: IndexMap::new(),
            removed: Vec::new(),
            next_seq,
            todo: run.task_runs.todo.clone(),
        }
    }

    /// The execution, to be changed.
    pub(super) fn execution<'r>(&mut self, run: &'r mut Run) -> &'r mut Execution {
        let execution = &mut run.execution;
        self.execution.get_or_insert_with(|| Before {
            state: execution.state.clone(),
            labels: execution.labels.clone(),
            variables: execution.variables.clone(),
            outputs: execution.outputs.clone(),
            error: execution.error.clone(),
            frame: execution.frame.clone(),
            kill_requested: execution.kill_requested,
            marks: execution.marks.clone(),
        });
        execution
    }

    /// To be called before a task run is changed.
    pub(super) fn before_task_run(&mut self, run: &Run, id: Id) {
        let Some(task_run) = run.task_run(id) else { return };
        if task_run.seq < self.next_seq && !self.task_runs.contains_key(&id) {
            self.task_runs.insert(id, task_run.clone());
        }
    }

    /// Whether the execution changed, and the task runs that did, in order of creation.
    pub(super) fn changes(&self, run: &Run) -> (bool, Vec<Id>) {
        let mut changed: Vec<(u32, Id)> = self
            .task_runs
            .values()
            .filter(|before| run.task_run(before.id).is_some_and(|now| now != *before))
            .map(|b| (b.seq, b.id))
            .collect();
        changed.sort_unstable_by_key(|(seq, _)| *seq);
        changed.extend(run.task_runs.newest_from(self.next_seq));
        (self.execution.is_some(), changed.into_iter().map(|(_, id)| id).collect())
    }

    /// Takes a task run out of the run.
    pub(super) fn remove(&mut self, run: &mut Run, id: Id) {
        self.before_task_run(run, id);
        if let Some(removed) = run.task_runs.remove(id)
            && removed.seq < self.next_seq
        {
            self.removed.push(RemovedTaskRun { id, seq: removed.seq });
        }
    }

    /// What was stored and is no more, in order of creation.
    pub(super) fn take_removed(&mut self) -> Vec<RemovedTaskRun> {
        let mut removed = std::mem::take(&mut self.removed);
        removed.sort_unstable_by_key(|removed| removed.seq);
        removed
    }

    pub(super) fn roll_back(self, run: &mut Run) {
        if let Some(before) = self.execution {
            let execution = &mut run.execution;
            execution.state = before.state;
            execution.labels = before.labels;
            execution.variables = before.variables;
            execution.outputs = before.outputs;
            execution.error = before.error;
            execution.frame = before.frame;
            execution.kill_requested = before.kill_requested;
            execution.marks = before.marks;
            run.roots.forget_changeable();
        }
        run.task_runs.truncate(self.next_seq);
        for before in self.task_runs.into_values() {
            run.task_runs.restore(before);
        }
        run.task_runs.todo = self.todo;
    }
}
