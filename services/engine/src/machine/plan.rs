//! Which task comes next in a container: the flow itself (`None`) or a flowable task run (flow model reference 4.2–4.4, 1.x
//! reference 4.1–4.4).
//!
//! Driven by the child that ended: its place in its list says what follows, and counters in the container's [`Frame`] say the rest, so
//! that nothing is ever looked through.

use std::sync::Arc;

use windhover_flow::{ListKind, Task};
use windhover_types::{Id, Level, State, StateHistory};

use super::{Flowing, Machine};
use crate::{
    Frame, Opened, Phase, TaskRun,
    flowable::{self, Lists, Shape},
    ids,
};

/// A container's task and what it decided when it opened, held while its lists are looked at.
struct Container<'a> {
    task: Option<&'a Arc<Task>>,
    opened: Option<Arc<Opened>>,
}

impl<'a> Machine<'a> {
    fn container(&self, id: Option<Id>) -> Option<Container<'a>> {
        let Some(id) = id else { return Some(Container { task: None, opened: None }) };
        let opened = self.run.task_run(id)?.opened.clone();
        Some(Container { task: Some(self.task_of(id)?), opened })
    }

    fn lists<'c>(&self, container: &'c Container<'a>) -> Lists<'c>
    where
        'a: 'c,
    {
        match container.task {
            None => flowable::of_flow(self.flow),
            Some(task) => flowable::lists(&task.kind, container.opened.as_deref()),
        }
    }

    fn frame(&self, id: Option<Id>) -> Option<&Frame> {
        match id {
            None => Some(&self.run.execution.frame),
            Some(id) => self.run.task_run(id)?.frame.as_ref(),
        }
    }

    fn change_frame(&mut self, id: Option<Id>, change: impl FnOnce(&mut Frame)) {
        match id {
            None => change(&mut self.journal.execution(self.run).frame),
            Some(id) => {
                if let Some(frame) = self.edit(id).and_then(|run| run.frame.as_mut()) {
                    change(frame);
                }
            }
        }
    }

    /// Begins the main list.
    pub(super) fn open_list(&mut self, id: Option<Id>) -> Flowing {
        let Some(container) = self.container(id) else { return Ok(()) };
        let lists = self.lists(&container);
        match lists.shape.pieces(lists.main) {
            Some(_) => self.fill_lists(id, &lists),
            None => match lists.main.first() {
                Some(first) => {
                    self.change_frame(id, |frame| frame.started = 1);
                    self.create(id, first, None);
                    Ok(())
                }
                None => self.main_over(id, &lists),
            },
        }
    }

    /// Begins as many children or iterations as there is room for.
    pub(super) fn fill(&mut self, id: Id) -> Flowing {
        let Some(container) = self.container(Some(id)) else { return Ok(()) };
        let lists = self.lists(&container);
        self.fill_lists(Some(id), &lists)
    }

    fn fill_lists(&mut self, id: Option<Id>, lists: &Lists<'_>) -> Flowing {
        let Some(pieces) = lists.shape.pieces(lists.main) else { return Ok(()) };
        loop {
            let Some(frame) = self.frame(id).filter(|frame| frame.phase == Phase::Main) else { return Ok(()) };
            let next = frame.started;
            if next >= pieces {
                return if frame.open == 0 { self.main_over(id, lists) } else { Ok(()) };
            }
            let concurrent = lists.shape.concurrent();
            if concurrent != 0 && frame.open >= concurrent {
                return Ok(());
            }
            if self.starts.len() >= self.budget as usize {
                id.into_iter().for_each(|id| self.leave(id));
                return Ok(());
            }
            let (task, iteration) = match lists.shape {
                Shape::Loop { values, .. } => {
                    (lists.main.first(), values.get(next as usize).map(|value| (next, value.as_str())))
                }
                _ => (lists.main.get(next as usize), None),
            };
            let Some(task) = task else { return Ok(()) };
            self.change_frame(id, |frame| frame.started += 1);
            self.create(id, task, iteration);
        }
    }

    /// Plans one task: a new task run in CREATED.
    fn create(&mut self, parent: Option<Id>, task: &Arc<Task>, iteration: Option<(u32, &str)>) {
        if self.run.execution.current() == State::Created {
            self.set_execution_state(State::Running);
        }
        self.change_frame(parent, |frame| frame.open += 1);
        let mut value_path =
            parent.and_then(|id| self.run.task_run(id)).map(|run| run.value_path.clone()).unwrap_or_default();
        value_path.extend(iteration.map(|(_, value)| value.to_owned()));
        let iteration_index = iteration.map(|(index, _)| index);
        let id = ids::task_run_id(self.run.execution.id, parent, &task.id, iteration_index);
        let run = TaskRun {
            id,
            task_id: task.id.clone(),
            seq: self.run.task_runs.next_seq(),
            parent_id: parent,
            value: iteration.map(|(_, value)| value.to_owned()),
            iteration: iteration_index,
            value_path,
            state: StateHistory::new(State::Created, self.moment.now),
            attempts: Vec::new(),
            outputs: None,
            frame: None,
            opened: None,
            dispatch: 0,
            child_execution: None,
            version: 0,
        };
        self.run.task_runs.push(run);
        self.starts.push_back(id);
    }

    /// Tells the container of a task run that it has ended.
    pub(super) fn child_ended(&mut self, child: Id) -> Flowing {
        let Some(run) = self.run.task_run(child) else { return Ok(()) };
        let (parent, state, iteration) = (run.parent_id, run.state.current(), run.iteration.zip(run.value.clone()));
        let Some(place) = self.place(&run.task_id) else { return Ok(()) };
        let over = match parent {
            None => self.run.execution.is_ended(),
            Some(id) => self.state_of(id).is_none_or(State::is_terminal),
        };
        if over {
            return Ok(());
        }
        self.change_frame(parent, |frame| frame.open = frame.open.saturating_sub(1));
        if self.is_killing() {
            return self.killed_if_empty(parent);
        }
        let Some(container) = self.container(parent) else { return Ok(()) };
        let lists = self.lists(&container);
        match place.list {
            ListKind::Errors => match lists.errors.get(place.position + 1) {
                Some(next) => self.create(parent, next, None),
                None => return self.errors_over(parent, &lists),
            },
            ListKind::Finally => match lists.finally.get(place.position + 1) {
                Some(next) => self.create(parent, next, None),
                None => return self.resolve(parent),
            },
            _ => {
                self.change_frame(parent, |frame| match state {
                    State::Killed => frame.killed = true,
                    State::Failed => frame.failed = true,
                    State::Warning => frame.warning = true,
                    _ => {}
                });
                if self.frame(parent).is_some_and(|frame| frame.phase == Phase::Main) {
                    let iteration = iteration.as_ref().map(|(index, value)| (*index, value.as_str()));
                    return self.main_child_ended(parent, &lists, place.position, state, iteration);
                }
            }
        }
        Ok(())
    }

    fn main_child_ended(
        &mut self,
        parent: Option<Id>,
        lists: &Lists<'_>,
        position: usize,
        state: State,
        iteration: Option<(u32, &str)>,
    ) -> Flowing {
        if state == State::Failed {
            return self.main_over(parent, lists);
        }
        match lists.shape {
            Shape::Parallel { .. } => self.fill_lists(parent, lists),
            Shape::Sequence => match lists.main.get(position + 1) {
                Some(next) => {
                    self.change_frame(parent, |frame| frame.started += 1);
                    self.create(parent, next, None);
                    Ok(())
                }
                None => self.main_over(parent, lists),
            },
            Shape::Loop { .. } => match lists.main.get(position + 1) {
                Some(next) => {
                    self.create(parent, next, iteration);
                    Ok(())
                }
                None => self.fill_lists(parent, lists),
            },
        }
    }

    /// The main list is through, or a task of it has failed for good.
    fn main_over(&mut self, id: Option<Id>, lists: &Lists<'_>) -> Flowing {
        let failed = self.frame(id).is_some_and(|frame| frame.failed);
        match lists.errors.first() {
            Some(first) if failed => {
                self.change_frame(id, |frame| frame.phase = Phase::Errors);
                self.create(id, first, None);
                Ok(())
            }
            _ => self.errors_over(id, lists),
        }
    }

    fn errors_over(&mut self, id: Option<Id>, lists: &Lists<'_>) -> Flowing {
        match lists.finally.first() {
            Some(first) => {
                self.change_frame(id, |frame| frame.phase = Phase::Finally);
                self.create(id, first, None);
                Ok(())
            }
            None => self.resolve(id),
        }
    }

    /// Ends a container with the state of its main list (flow model reference 3.6).
    fn resolve(&mut self, id: Option<Id>) -> Flowing {
        let Some(frame) = self.frame(id) else { return Ok(()) };
        let state = match frame {
            Frame { killed: true, .. } => State::Killed,
            Frame { failed: true, .. } => State::Failed,
            Frame { warning: true, .. } => State::Warning,
            _ => State::Success,
        };
        match id {
            None => self.end_execution(state),
            Some(id) => {
                self.end_flowable(id, state);
                Ok(())
            }
        }
    }

    /// Ends a flowable, and gives its state to children that are still open (flow model 1.x reference 4.4).
    pub(super) fn end_flowable(&mut self, id: Id, state: State) {
        let Some(task) = self.task_of(id) else { return };
        let state = allowed(task, flowable::outcome(&task.kind, state));
        self.give_to_open_children(Some(id), state);
        self.close_attempt(id, state, self.moment.now, None);
        self.end_task_run(id, state, self.moment.now);
    }

    /// A flowable that fails for a reason of its own.
    pub(super) fn fail_flowable(&mut self, id: Id, reason: String) {
        self.log(Some(id), Level::Error, reason);
        self.end_flowable(id, State::Failed);
    }
}

/// The state that the options of a task make of it.
pub(super) fn allowed(task: &Task, state: State) -> State {
    match state {
        State::Failed if task.allow_failure && task.allow_warning => State::Success,
        State::Failed if task.allow_failure => State::Warning,
        State::Warning if task.allow_warning => State::Success,
        other => other,
    }
}
