//! Which task comes next in a container: the flow itself (`None`) or a flowable task run (flow model reference 4.2–4.4, 1.x
//! reference 4.1–4.4).
//!
//! Driven by the child that ended: its place in its list says what follows, and counters in the container's [`Frame`] say the rest, so
//! that nothing is ever looked through.

use std::sync::Arc;

use windhover_flow::{ListKind, Task};
use windhover_types::{Id, Level, State};

use super::{Flowing, Machine, repeat};
use crate::{
    EndedChild, Frame, Node, Opened, Phase,
    flowable::{self, Lists, Shape},
    ids,
};

/// Which iteration of a loop something belongs to: its index, and its value where it has one.
pub(super) type Turn<'a> = Option<(u32, Option<&'a str>)>;

/// A container's task and what it decided when it opened, held while its lists are looked at.
pub(super) struct Container<'a> {
    task: Option<&'a Arc<Task>>,
    opened: Option<Arc<Opened>>,
}

impl<'a> Machine<'a> {
    pub(super) fn container(&self, id: Option<Id>) -> Option<Container<'a>> {
        let Some(id) = id else { return Some(Container { task: None, opened: None }) };
        let opened = self.run.task_run(id)?.opened.clone();
        Some(Container { task: Some(self.task_of(id)?), opened })
    }

    pub(super) fn lists<'c>(&self, container: &'c Container<'a>) -> Lists<'c>
    where
        'a: 'c,
    {
        match container.task {
            None => flowable::of_flow(self.flow),
            Some(task) => flowable::lists(&task.kind, container.opened.as_deref()),
        }
    }

    pub(super) fn frame(&self, id: Option<Id>) -> Option<&Frame> {
        match id {
            None => Some(&self.run.execution.frame),
            Some(id) => self.run.task_run(id)?.frame.as_ref(),
        }
    }

    pub(super) fn change_frame(&mut self, id: Option<Id>, change: impl FnOnce(&mut Frame)) {
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
                    let turn = self.own_turn(id, &lists);
                    self.change_frame(id, |frame| frame.started = 1);
                    self.create(id, first, turn);
                    Ok(())
                }
                None => self.main_over(id, &lists),
            },
        }
    }

    /// The turn that a LoopUntil is in; nothing for others.
    pub(super) fn own_turn(&self, id: Option<Id>, lists: &Lists<'_>) -> Turn<'static> {
        match lists.shape {
            Shape::Until => Some((self.frame(id).map_or(0, |frame| frame.iteration), None)),
            _ => None,
        }
    }

    /// Begins the main list of a container that has waited, or goes past it when its state is known.
    pub(super) fn begin_list(&mut self, id: Id) -> Flowing {
        if self.is_over(Some(id)) {
            // What it waited for has ended it.
            return Ok(());
        }
        if !self.frame(Some(id)).is_some_and(|frame| frame.failed || frame.warning) {
            return self.open_list(Some(id));
        }
        let Some(container) = self.container(Some(id)) else { return Ok(()) };
        let lists = self.lists(&container);
        self.main_over(Some(id), &lists)
    }

    /// Goes on with an open container that a step or a pause has left.
    pub(super) fn take_up_container(&mut self, id: Id) -> Flowing {
        let Some(container) = self.container(Some(id)) else { return Ok(()) };
        let lists = self.lists(&container);
        if lists.shape.pieces(lists.main).is_some() {
            return self.fill_lists(Some(id), &lists);
        }
        let untouched = |frame: &Frame| frame.phase == Phase::Main && frame.started == 0 && frame.open == 0;
        if self.frame(Some(id)).is_some_and(untouched) { self.begin_list(id) } else { Ok(()) }
    }

    pub(super) fn fill_lists(&mut self, id: Option<Id>, lists: &Lists<'_>) -> Flowing {
        let Some(pieces) = lists.shape.pieces(lists.main) else { return Ok(()) };
        loop {
            let Some(frame) = self.frame(id).filter(|frame| frame.phase == Phase::Main) else { return Ok(()) };
            let next = match lists.shape {
                Shape::Graph { depends_on, .. } => next_node(&frame.nodes, depends_on),
                _ => (frame.started < pieces).then_some(frame.started),
            };
            let Some(next) = next else {
                return if frame.open == 0 { self.main_over(id, lists) } else { Ok(()) };
            };
            let concurrent = lists.shape.concurrent();
            if concurrent != 0 && frame.open >= concurrent {
                return Ok(());
            }
            if self.starts.len() >= self.budget as usize {
                id.into_iter().for_each(|id| self.leave(id));
                return Ok(());
            }
            let (task, iteration) = match lists.shape {
                Shape::Loop { values, .. } => (lists.main.first(), turn_at(values, next)),
                Shape::Pairs { values, .. } => {
                    let tasks = lists.main.len().max(1) as u32;
                    (lists.main.get((next % tasks) as usize), turn_at(values, next / tasks))
                }
                _ => (lists.main.get(next as usize), None),
            };
            let Some(task) = task else { return Ok(()) };
            self.change_frame(id, |frame| {
                frame.started += 1;
                if let Shape::Graph { depends_on, .. } = lists.shape {
                    frame.nodes.resize(depends_on.len(), Node::Waiting);
                    mark(&mut frame.nodes, next, Node::Begun);
                }
            });
            self.create(id, task, iteration);
        }
    }

    /// A task run has ended: its container hears of it, at once or when the execution goes on.
    pub(super) fn child_ended(&mut self, child: Id) -> Flowing {
        let Some(run) = self.run.task_run(child) else { return Ok(()) };
        let ended = EndedChild {
            task_run: child,
            task_id: run.task_id.clone(),
            parent: run.parent_id,
            state: run.state.current(),
            iteration: run.iteration,
            value: run.value.clone(),
        };
        if self.is_deaf(ended.parent, child) {
            return Ok(());
        }
        if self.is_paused() && !self.is_killing() {
            // It counts as open until its container has heard of it.
            self.journal.execution(self.run).marks.untold.push(ended);
            return Ok(());
        }
        self.tell(ended)
    }

    pub(super) fn is_over(&self, container: Option<Id>) -> bool {
        match container {
            None => self.run.execution.is_ended(),
            Some(id) => self.state_of(id).is_none_or(State::is_terminal),
        }
    }

    /// Nothing follows in a container from the end of this task run: it has ended, and what runs in it now is what follows its end.
    fn is_deaf(&self, container: Option<Id>, task_run: Id) -> bool {
        let before_the_end = || {
            let begun_after = self.run.execution.frame.started;
            self.run.task_run(task_run).is_none_or(|run| run.seq < begun_after)
        };
        let closed = container.is_none() && self.run.execution.current().is_terminal() && before_the_end();
        closed || self.is_over(container)
    }

    /// What follows in a container from the end of a child.
    pub(super) fn tell(&mut self, ended: EndedChild) -> Flowing {
        let EndedChild { task_run, task_id, parent, state, iteration, value } = ended;
        if self.is_deaf(parent, task_run) {
            return Ok(());
        }
        self.change_frame(parent, |frame| frame.open = frame.open.saturating_sub(1));
        if self.is_killing() {
            return self.killed_if_empty(parent);
        }
        let Some(place) = self.place(&task_id) else { return Ok(()) };
        let Some(container) = self.container(parent) else { return Ok(()) };
        let lists = self.lists(&container);
        match place.list {
            ListKind::OnPause => {}
            ListKind::AfterExecution | ListKind::Listener(_) => {
                return self.next_after(Some((&place.list, place.position)));
            }
            ListKind::Errors => match lists.errors.get(place.position + 1) {
                Some(next) => self.create(parent, next, None),
                None => return self.errors_over(parent, &lists),
            },
            ListKind::Finally => match lists.finally.get(place.position + 1) {
                Some(next) => self.create(parent, next, None),
                None => return self.resolve(parent),
            },
            _ => {
                self.change_frame(parent, |frame| {
                    match state {
                        State::Killed => frame.killed = true,
                        State::Failed => frame.failed = true,
                        State::Warning => frame.warning = true,
                        _ => {}
                    }
                    if let Shape::Graph { .. } = lists.shape {
                        mark(&mut frame.nodes, place.position as u32, Node::Ended);
                    }
                });
                if self.frame(parent).is_some_and(|frame| frame.phase == Phase::Main) {
                    let turn = iteration.map(|index| (index, value.as_deref()));
                    return self.main_child_ended(parent, &lists, place.position, state, turn);
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
        turn: Turn<'_>,
    ) -> Flowing {
        if state == State::Failed {
            return self.main_over(parent, lists);
        }
        match lists.shape {
            Shape::Parallel { .. } | Shape::Pairs { .. } | Shape::Graph { .. } => self.fill_lists(parent, lists),
            Shape::Sequence | Shape::Until => {
                // Tasks after this one have begun when somebody changed its state afterwards.
                let begun = self.frame(parent).map_or(0, |frame| frame.started as usize);
                self.next_in_sequence(parent, lists, begun.max(position + 1), turn)
            }
            Shape::Loop { .. } => match self.next_of_iteration(parent, lists, position, turn)? {
                Some(next) => {
                    self.create(parent, next, turn);
                    Ok(())
                }
                None => self.fill_lists(parent, lists),
            },
        }
    }

    /// Begins the task at this place of a sequence, or ends the list when there is none.
    pub(super) fn next_in_sequence(
        &mut self,
        id: Option<Id>,
        lists: &Lists<'_>,
        next: usize,
        turn: Turn<'_>,
    ) -> Flowing {
        match lists.main.get(next) {
            Some(task) => {
                self.change_frame(id, |frame| frame.started = u32::try_from(next + 1).unwrap_or(u32::MAX));
                self.create(id, task, turn);
                Ok(())
            }
            None => self.main_over(id, lists),
        }
    }

    /// The task that comes next in an iteration of a loop.
    fn next_of_iteration<'l>(
        &self,
        id: Option<Id>,
        lists: &Lists<'l>,
        position: usize,
        turn: Turn<'_>,
    ) -> Flowing<Option<&'l Arc<Task>>> {
        let rest = lists.main.get(position + 1..).unwrap_or_default();
        let generation = self.run.execution.marks.generation;
        if generation == 0 {
            return Ok(rest.first());
        }
        // Tasks after this one have begun when somebody changed its state afterwards.
        self.need_tasks(rest.iter().map(|task| task.id.as_str()))?;
        let iteration = turn.map(|(index, _)| index);
        let has_begun = |task: &Task| {
            (0..=generation).any(|generation| {
                let id = ids::task_run_id(self.run.execution.id, id, &task.id, iteration, generation);
                self.run.task_run(id).is_some()
            })
        };
        Ok(rest.iter().find(|task| !has_begun(task)))
    }

    /// The main list is through, or a task of it has failed for good.
    pub(super) fn main_over(&mut self, id: Option<Id>, lists: &Lists<'_>) -> Flowing {
        let mut failed = self.frame(id).is_some_and(|frame| frame.failed);
        if let (false, Some((id, task))) = (failed, id.and_then(|id| Some((id, self.task_of(id)?))))
            && let Some(until) = repeat::turns(&task.kind, lists)
        {
            if !self.turn_over(id, until)? {
                return Ok(());
            }
            failed = self.frame(Some(id)).is_some_and(|frame| frame.failed);
        }
        match lists.errors.first() {
            Some(first) if failed => {
                self.change_frame(id, |frame| frame.phase = Phase::Errors);
                self.create(id, first, None);
                Ok(())
            }
            _ => self.errors_over(id, lists),
        }
    }

    pub(super) fn errors_over(&mut self, id: Option<Id>, lists: &Lists<'_>) -> Flowing {
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
    pub(super) fn resolve(&mut self, id: Option<Id>) -> Flowing {
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

pub(super) fn turn_at(values: &[String], index: u32) -> Turn<'_> {
    values.get(index as usize).map(|value| (index, Some(value.as_str())))
}

fn mark(nodes: &mut [Node], place: u32, node: Node) {
    if let Some(at) = nodes.get_mut(place as usize) {
        *at = node;
    }
}

/// The first task of a Dag that has not begun and waits for nothing.
fn next_node(nodes: &[Node], depends_on: &[Vec<u32>]) -> Option<u32> {
    let at = |place: usize| nodes.get(place).copied().unwrap_or(Node::Waiting);
    let free = |waits_for: &Vec<u32>| waits_for.iter().all(|place| at(*place as usize) == Node::Ended);
    let place = (0..depends_on.len()).find(|place| at(*place) == Node::Waiting && free(&depends_on[*place]))?;
    u32::try_from(place).ok()
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
