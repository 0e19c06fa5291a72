//! Repeating an execution as another one: from its beginning, from one of its task runs, or from what failed with another revision
//! (flow model reference 4.10, 1.x reference 4.9).

use std::collections::{HashMap, HashSet};

use windhover_flow::{Flow, ListKind, TaskKind, TaskPlace};
use windhover_types::{Id, Label, State, StateHistory, Timestamp, merge_labels};

use crate::{Attempt, Execution, Marks, NewExecution, Refusal, TaskRun, flowable, flowable::Shape, ids, refusals};

/// From where an execution is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// From its beginning: nothing of it is kept but inputs, labels and trigger.
    Start,
    /// From this task run: what comes before it is kept with its outputs.
    TaskRun(Id),
    /// From its FAILED and PAUSED task runs: a restart with another revision.
    Failed,
}

/// What is repeated, and as what.
pub struct Repeat<'a> {
    pub old: &'a Execution,
    /// All of them. Not looked at for [`From::Start`].
    pub task_runs: &'a [TaskRun],
    pub from: From,
    /// Drawn by the caller.
    pub id: Id,
    /// The flow in the revision that the new execution has.
    pub flow: &'a Flow,
    pub revision: u32,
    /// In place of the old ones; resolved.
    pub inputs: Option<windhover_types::JsonMap>,
    pub at: Timestamp,
}

/// The execution that repeats another one, to be made like any other; `task_runs` of it are what it keeps.
///
/// # Errors
/// There is nothing to repeat from: the task run is unknown (or not in this revision), or nothing has failed.
pub fn repeat(repeat: Repeat<'_>) -> Result<NewExecution, Refusal> {
    let old = repeat.old;
    let same_revision = repeat.revision == old.flow_revision;
    let (task_runs, label) = match repeat.from {
        From::Start => (Vec::new(), Label::REPLAY),
        From::TaskRun(id) => (Copies::from_task_run(&repeat, id)?, Label::REPLAY),
        From::Failed => (Copies::from_failed(&repeat)?, Label::RESTARTED),
    };
    let marks = Marks {
        replayed_from: Some(old.id),
        earlier_attempts: old.marks.earlier_attempts.saturating_add(1),
        original_created: Some(old.marks.original_created.unwrap_or_else(|| old.state.started())),
        // What it keeps of the outputs may be sealed.
        sealed: old.marks.sealed,
        ..Marks::default()
    };
    let own = [Label::new(label, "true")];
    Ok(NewExecution {
        id: repeat.id,
        namespace: old.namespace.clone(),
        flow_id: old.flow_id.clone(),
        flow_revision: repeat.revision,
        labels: merge_labels([old.labels.as_slice(), &own]),
        inputs: repeat.inputs.map_or_else(|| old.inputs.clone(), std::sync::Arc::new),
        // Those of another revision are its own.
        variables: (old.variables.clone().filter(|_| same_revision && repeat.from != From::Start))
            .or_else(|| repeat.flow.initial_variables()),
        trigger: old.trigger.clone(),
        parent: None,
        schedule_time: old.schedule_time.filter(|_| repeat.from == From::Start),
        trace_parent: old.trace_parent.clone(),
        marks,
        original_id: Some(old.original_id),
        fail: None,
        task_runs,
    })
}

/// Which task runs are kept, and which of them run again.
struct Copies<'a> {
    repeat: &'a Repeat<'a>,
    by_id: HashMap<Id, &'a TaskRun>,
    /// These run again.
    again: HashSet<Id>,
    /// These are left out, and everything below them.
    left_out: HashSet<Id>,
}

impl<'a> Copies<'a> {
    fn new(repeat: &'a Repeat<'a>) -> Self {
        let by_id = repeat.task_runs.iter().map(|run| (run.id, run)).collect();
        let mut copies = Self { repeat, by_id, again: HashSet::new(), left_out: HashSet::new() };
        for run in repeat.task_runs {
            // What the revision does not have, or has elsewhere; what runs beside a Pause, and what follows the end.
            let parent = run.parent_id.and_then(|id| copies.by_id.get(&id)).map(|parent| parent.task_id.as_str());
            let fits = copies
                .place(run)
                .is_some_and(|place| place.parent.as_deref() == parent && !runs_by_itself(&place.list));
            if !fits {
                copies.left_out.insert(run.id);
            }
        }
        copies
    }

    fn place(&self, run: &TaskRun) -> Option<&'a TaskPlace> {
        self.repeat.flow.index.get(&run.task_id)
    }

    fn from_task_run(repeat: &'a Repeat<'a>, id: Id) -> Result<Vec<TaskRun>, Refusal> {
        let mut copies = Self::new(repeat);
        let chosen = copies.by_id.get(&id).copied().filter(|run| copies.is_kept(run));
        let Some(chosen) = chosen else {
            return Err(refusal(
                refusals::TASK_RUN_NOT_FOUND,
                format!("No task found to replay from: there is no task run {id} that the revision has too"),
            ));
        };
        copies.again.insert(id);
        let mut next = Some(chosen);
        while let Some(run) = next {
            copies.leave_out_after(run);
            next = run.parent_id.and_then(|id| copies.by_id.get(&id).copied());
        }
        copies.leave_out_below_what_runs_again();
        Ok(copies.made())
    }

    fn from_failed(repeat: &'a Repeat<'a>) -> Result<Vec<TaskRun>, Refusal> {
        let mut copies = Self::new(repeat);
        for run in repeat.task_runs {
            if copies.place(run).is_none_or(|place| flowable::is_handler(&place.list)) {
                copies.left_out.insert(run.id);
            }
        }
        let counts = |run: &TaskRun| matches!(run.state.current(), State::Failed | State::Paused);
        let failed: Vec<&TaskRun> = repeat
            .task_runs
            .iter()
            .filter(|run| counts(run) && copies.is_kept(run) && copies.nothing_tolerates(run))
            .collect();
        let with_failures_inside: HashSet<Id> = failed.iter().filter_map(|run| run.parent_id).collect();
        for run in &failed {
            let inside = run.frame.is_some() && with_failures_inside.contains(&run.id);
            if !inside || copies.begins_anew(run) {
                copies.again.insert(run.id);
            }
        }
        if copies.again.is_empty() {
            return Err(refusal(refusals::NOTHING_TO_RESTART, "No task found to restart execution from!".to_owned()));
        }
        copies.leave_out_below_what_runs_again();
        Ok(copies.made())
    }

    /// Whatever has ended around it has failed like it.
    fn nothing_tolerates(&self, run: &TaskRun) -> bool {
        self.above(run).all(|above| !above.state.current().is_terminal() || above.state.current() == State::Failed)
    }

    fn above(&self, run: &TaskRun) -> impl Iterator<Item = &'a TaskRun> {
        let mut next = run.parent_id;
        std::iter::from_fn(move || {
            let above = *self.by_id.get(&next?)?;
            next = above.parent_id;
            Some(above)
        })
    }

    fn is_kept(&self, run: &TaskRun) -> bool {
        !self.left_out.contains(&run.id) && self.above(run).all(|above| !self.left_out.contains(&above.id))
    }

    /// Loops that count their turns, and Pauses, begin anew.
    fn begins_anew(&self, run: &TaskRun) -> bool {
        let kind = self.place(run).map(|place| &place.task.kind);
        matches!(kind, Some(TaskKind::LoopUntil(_) | TaskKind::Pause(_) | TaskKind::WorkingDirectory(_)))
    }

    /// Everything that comes after this one in its container: later ones of a sequence or an iteration, what waits for it in a Dag, and
    /// what follows the list.
    fn leave_out_after(&mut self, run: &TaskRun) {
        let Some(place) = self.place(run) else { return };
        let shape = self.shape(run);
        let after: Vec<Id> = self
            .repeat
            .task_runs
            .iter()
            .filter(|other| other.parent_id == run.parent_id && other.id != run.id)
            .filter(|other| {
                let Some(at) = self.place(other) else { return true };
                match (&place.list, &at.list) {
                    (ListKind::Finally, ListKind::Finally) | (ListKind::Errors, ListKind::Errors) => {
                        at.position > place.position
                    }
                    (ListKind::Finally, _) | (ListKind::Errors, ListKind::Finally) if at.list != ListKind::Finally => {
                        // What comes before is kept.
                        false
                    }
                    (_, ListKind::Errors | ListKind::Finally) => true,
                    (ListKind::Errors, _) => false,
                    _ => match shape {
                        Shape::Parallel { .. } | Shape::Pairs { .. } => false,
                        Shape::Graph { depends_on, .. } => waits_for(depends_on, at.position, place.position),
                        Shape::Sequence | Shape::Until | Shape::Loop { .. } => {
                            other.iteration == run.iteration && at.position > place.position
                        }
                    },
                }
            })
            .map(|other| other.id)
            .collect();
        self.left_out.extend(after);
    }

    /// How the list runs that a task run stands in.
    fn shape(&self, run: &TaskRun) -> Shape<'a> {
        let parent = run.parent_id.and_then(|id| self.by_id.get(&id).copied());
        match parent.and_then(|parent| Some((self.place(parent)?, parent))) {
            Some((place, parent)) => flowable::lists(&place.task.kind, parent.opened.as_deref()).shape,
            None => Shape::Sequence,
        }
    }

    fn leave_out_below_what_runs_again(&mut self) {
        // Open loops and Pauses have timers of their own, which the new execution has not.
        let open = |run: &&TaskRun| !run.state.current().is_terminal();
        let around = self.around();
        let anew: Vec<Id> = self
            .repeat
            .task_runs
            .iter()
            .filter(open)
            .filter(|run| self.begins_anew(run) && !around.contains(&run.id))
            .map(|run| run.id)
            .collect();
        self.again.extend(anew);
        let below: Vec<Id> = self
            .repeat
            .task_runs
            .iter()
            .filter(|run| self.above(run).any(|above| self.again.contains(&above.id)))
            .map(|run| run.id)
            .collect();
        self.left_out.extend(&below);
        self.again.retain(|id| !below.contains(id));
    }

    /// Everything around what runs again.
    fn around(&self) -> HashSet<Id> {
        let again = self.again.iter().filter_map(|id| self.by_id.get(id));
        again.flat_map(|run| self.above(run)).map(|run| run.id).collect()
    }

    /// The copies, in order of creation, with ids of their own.
    fn made(&self) -> Vec<TaskRun> {
        let around = self.around();
        let mut kept: Vec<&TaskRun> = self.repeat.task_runs.iter().filter(|run| self.is_kept(run)).collect();
        kept.sort_by_key(|run| run.seq);
        let mut ids: HashMap<Id, Id> = HashMap::new();
        let mut made = Vec::with_capacity(kept.len());
        for run in kept {
            let parent_id = run.parent_id.and_then(|id| ids.get(&id).copied());
            let id = ids::task_run_id(self.repeat.id, parent_id, &run.task_id, run.iteration, 0);
            ids.insert(run.id, id);
            let seq = u32::try_from(made.len()).unwrap_or(u32::MAX);
            let copy = TaskRun { id, parent_id, seq, dispatch: 0, child_execution: None, version: 0, ..run.clone() };
            made.push(self.with_state(copy, run, around.contains(&run.id)));
        }
        made
    }

    fn with_state(&self, mut copy: TaskRun, old: &TaskRun, around: bool) -> TaskRun {
        let at = self.repeat.at;
        for attempt in &mut copy.attempts {
            attempt.dispatch = 0;
        }
        let state = old.state.current();
        let again = self.again.contains(&old.id);
        if again || (!state.is_terminal() && old.frame.is_none()) {
            close(&mut copy, at);
            copy.state.set(State::Restarted, at);
            copy.frame = None;
            copy.opened = None;
            copy.outputs = None;
        } else if around && state.is_terminal() {
            copy.state.set(State::Running, at);
            let mut running = StateHistory::new(State::Created, at);
            running.set(State::Running, at);
            copy.attempts.push(Attempt { state: running, dispatch: 0, worker: None, error: None });
        } else if !state.is_terminal() {
            copy.state.set(State::Running, at);
        } else {
            close(&mut copy, at);
        }
        copy
    }
}

/// Whether tasks of a list begin because of something else than the tasks before them.
fn runs_by_itself(list: &ListKind) -> bool {
    matches!(list, ListKind::OnPause | ListKind::AfterExecution | ListKind::Listener(_))
}

/// An attempt that was under way is given up.
fn close(copy: &mut TaskRun, at: Timestamp) {
    if let Some(attempt) = copy.attempts.last_mut()
        && !attempt.state.current().is_terminal()
    {
        attempt.state.set(State::Resubmitted, at);
    }
}

/// Whether the task at `place` of a Dag waits for the one at `other`, directly or not.
fn waits_for(depends_on: &[Vec<u32>], place: usize, other: usize) -> bool {
    let mut seen = HashSet::new();
    let mut left = vec![place];
    while let Some(at) = left.pop() {
        for next in depends_on.get(at).into_iter().flatten().map(|next| *next as usize) {
            if next == other {
                return true;
            }
            if seen.insert(next) {
                left.push(next);
            }
        }
    }
    false
}

fn refusal(reason: &str, message: String) -> Refusal {
    Refusal { reason: reason.to_owned(), message }
}
