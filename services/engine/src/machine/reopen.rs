//! Taking an execution up again: what was decided about its task runs is in their states; counters follow from them, and what comes
//! next follows from the counters.
//!
//! Looks through all task runs, which is right for what somebody asks for by hand and for nothing else.

use std::collections::BTreeMap;

use windhover_flow::ListKind;
use windhover_types::{Id, State};

use super::{Flowing, Machine, Needs, plan::turn_at};
use crate::{
    Fact, Frame, Node, Phase, TaskRun,
    flowable::{Lists, Shape},
};

impl Machine<'_> {
    /// Every task run has to be in memory.
    pub(super) fn need_everything(&self) -> Flowing {
        let complete = self.run.task_runs.shared().complete;
        if complete { Ok(()) } else { Err(Needs(vec![Fact::Outputs { task_id: None }])) }
    }

    /// A RESTARTED execution goes on: what is planned begins, and containers go on from what their children say.
    pub(super) fn take_up_restarted(&mut self) -> Flowing {
        self.need_everything()?;
        self.set_execution_state(State::Running);
        self.journal.execution(self.run).marks.untold.clear();
        let open = self.run.task_runs.all_open();
        for id in &open {
            if matches!(self.state_of(*id), Some(State::Restarted | State::Created)) {
                self.starts.push_back(*id);
            }
        }
        self.count_anew()?;
        self.run.task_runs.todo.clear();
        // Innermost first: what is over by now is told outwards afterwards.
        for id in open.into_iter().rev() {
            if self.run.task_run(id).is_some_and(|run| run.frame.is_some() && run.state.current() == State::Running) {
                self.go_on_in(Some(id))?;
            }
        }
        self.go_on_in(None)
    }

    /// Counts the children of whatever is open.
    pub(super) fn count_anew(&mut self) -> Flowing {
        self.need_everything()?;
        for id in self.run.task_runs.all_open() {
            if self.run.task_run(id).is_some_and(|run| run.frame.is_some()) {
                self.rebuild(Some(id));
            }
        }
        self.rebuild(None);
        Ok(())
    }

    /// Counts a container's children anew.
    fn rebuild(&mut self, id: Option<Id>) {
        let Some(container) = self.container(id) else { return };
        let lists = self.lists(&container);
        let mut frame = Frame { iteration: self.frame(id).map_or(0, |frame| frame.iteration), ..Frame::default() };
        if let Shape::Graph { depends_on, .. } = lists.shape {
            frame.nodes = vec![Node::Waiting; depends_on.len()];
        }
        for child in self.children(id) {
            let Some(place) = self.place(&child.task_id) else { continue };
            let state = child.state.current();
            frame.open += u32::from(!state.is_terminal());
            match place.list {
                ListKind::Errors if frame.phase == Phase::Main => frame.phase = Phase::Errors,
                ListKind::Finally => frame.phase = Phase::Finally,
                ListKind::Errors | ListKind::OnPause => {}
                _ => count(&mut frame, &lists, child, u32::try_from(place.position).unwrap_or(u32::MAX)),
            }
        }
        self.change_frame(id, |at| *at = frame);
    }

    fn children(&self, id: Option<Id>) -> Vec<&TaskRun> {
        self.run.task_runs.children(id)
    }

    /// Goes on in a container from what its children say.
    fn go_on_in(&mut self, id: Option<Id>) -> Flowing {
        let Some(container) = self.container(id) else { return Ok(()) };
        let lists = self.lists(&container);
        let Some(frame) = self.frame(id).filter(|frame| frame.phase == Phase::Main) else {
            return self.go_on_in_handlers(id, &lists);
        };
        if frame.failed {
            return self.main_over(id, &lists);
        }
        let (open, started) = (frame.open, frame.started);
        match lists.shape {
            Shape::Sequence | Shape::Until if open > 0 => Ok(()),
            Shape::Sequence | Shape::Until if started == 0 => self.open_list(id),
            Shape::Sequence | Shape::Until => {
                self.next_in_sequence(id, &lists, started as usize, self.own_turn(id, &lists))
            }
            Shape::Loop { values, .. } => {
                for (index, next) in self.iterations_to_go_on(id) {
                    if let Some(task) = lists.main.get(next) {
                        self.create(id, task, turn_at(values, index));
                    }
                }
                self.fill_lists(id, &lists)
            }
            Shape::Parallel { .. } | Shape::Pairs { .. } | Shape::Graph { .. } => self.fill_lists(id, &lists),
        }
    }

    /// The same in `errors` or `finally`: after the last task run of the list.
    fn go_on_in_handlers(&mut self, id: Option<Id>, lists: &Lists<'_>) -> Flowing {
        let Some(frame) = self.frame(id).filter(|frame| frame.open == 0) else { return Ok(()) };
        let (phase, of) = match frame.phase {
            Phase::Errors => (ListKind::Errors, lists.errors),
            _ => (ListKind::Finally, lists.finally),
        };
        let places = self.children(id).into_iter().filter_map(|run| self.place(&run.task_id));
        let last = places.filter(|place| place.list == phase).map(|place| place.position).max();
        match (last.and_then(|last| of.get(last + 1)), phase) {
            (Some(next), _) => {
                self.create(id, next, None);
                Ok(())
            }
            (None, ListKind::Errors) => self.errors_over(id, lists),
            (None, _) => self.resolve(id),
        }
    }

    /// Iterations of a loop in which nothing is open, with the place of the task that comes next.
    fn iterations_to_go_on(&self, id: Option<Id>) -> Vec<(u32, usize)> {
        let mut iterations: BTreeMap<u32, (usize, bool)> = BTreeMap::new();
        for child in self.children(id) {
            let (Some(index), Some(place)) = (child.iteration, self.place(&child.task_id)) else { continue };
            let (last, open) = iterations.entry(index).or_default();
            *last = (*last).max(place.position);
            *open |= !child.state.current().is_terminal();
        }
        iterations.into_iter().filter(|(_, (_, open))| !open).map(|(index, (last, _))| (index, last + 1)).collect()
    }
}

/// Counts a task run of the main list.
fn count(frame: &mut Frame, lists: &Lists<'_>, child: &TaskRun, position: u32) {
    let state = child.state.current();
    match state {
        State::Killed => frame.killed = true,
        State::Failed => frame.failed = true,
        State::Warning => frame.warning = true,
        _ => {}
    }
    let iteration = child.iteration.unwrap_or(0);
    let begun = match lists.shape {
        Shape::Graph { .. } => {
            let node = if state.is_terminal() { Node::Ended } else { Node::Begun };
            if let Some(at) = frame.nodes.get_mut(position as usize) {
                *at = node;
            }
            frame.started
        }
        Shape::Loop { .. } => iteration,
        Shape::Pairs { .. } => iteration.saturating_mul(lists.main.len() as u32).saturating_add(position),
        Shape::Until => {
            frame.iteration = frame.iteration.max(iteration);
            position
        }
        Shape::Sequence | Shape::Parallel { .. } => position,
    };
    frame.started = frame.started.max(begun.saturating_add(1));
}
