//! An execution with the task runs that the engine holds.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use indexmap::IndexMap;
use windhover_types::Id;

use crate::{Execution, Fact, FactValue, Facts, TaskRun, context::RootCache};

/// An execution with those of its task runs that the engine holds.
///
/// In memory from creation to end; after a restart the open task runs are loaded, and of the ended ones only what
/// expressions ask for ([`Fact::Outputs`]).
#[derive(Debug, Clone)]
pub struct Run {
    pub execution: Execution,
    pub task_runs: TaskRuns,
    /// What expressions read of the execution, made when it is first read.
    pub(crate) roots: RootCache,
    /// Task runs that it was made with, which no step has told of yet.
    pub(crate) made_with: Vec<TaskRun>,
}

impl Run {
    /// A new execution: it has no task runs, unless it repeats another one ([`Run::with_task_runs`]).
    pub fn new(execution: Execution) -> Self {
        let task_runs =
            TaskRuns { shared: Arc::new(Shared { complete: true, ..Shared::default() }), ..TaskRuns::default() };
        Self { execution, task_runs, roots: RootCache::default(), made_with: Vec::new() }
    }

    /// The task runs that a new execution is made with ([`crate::NewExecution::task_runs`]): the first step tells of them as of new ones.
    #[must_use]
    pub fn with_task_runs(self, task_runs: Vec<TaskRun>) -> Self {
        Self { made_with: task_runs, ..self }
    }

    /// A stored execution with its open task runs ([`TaskRun::is_open`]) in any order, and the number of its next task
    /// run. [`crate::Event::Advance`] goes on from here.
    pub fn from_stored(execution: Execution, mut open: Vec<TaskRun>, next_seq: u32) -> Self {
        open.sort_by_key(|run| run.seq);
        let complete = open.len() == next_seq as usize;
        let mut task_runs = TaskRuns { next_seq, ..TaskRuns::default() };
        for run in open {
            if !run.state.current().is_terminal() {
                task_runs.todo.insert(run.seq, run.id);
            }
            task_runs.add(run);
        }
        task_runs.shared_mut().complete = complete;
        Self { execution, task_runs, roots: RootCache::default(), made_with: Vec::new() }
    }

    /// An execution that has ended, with all of its task runs.
    pub(crate) fn ended(execution: Execution, task_runs: Vec<TaskRun>) -> Self {
        let next_seq = u32::try_from(task_runs.len()).unwrap_or(u32::MAX);
        Self::from_stored(execution, task_runs, next_seq)
    }

    pub fn task_run(&self, id: Id) -> Option<&TaskRun> {
        self.task_runs.get(id)
    }

    /// Task runs in memory, in order of creation.
    pub fn task_runs(&self) -> impl Iterator<Item = &TaskRun> {
        self.task_runs.in_order()
    }

    /// The execution has ended and no attempt will report any more: nobody needs it in memory.
    pub fn is_settled(&self) -> bool {
        self.execution.is_ended() && self.task_runs.unsettled.is_empty()
    }

    /// Whether a step was cut short by its bound, so that [`crate::Event::Advance`] finds something to do.
    pub fn has_more(&self) -> bool {
        !self.task_runs.todo.is_empty()
    }
}

/// Task runs by id, with indexes that keep a step from looking at what has ended.
#[derive(Debug, Clone, Default)]
pub struct TaskRuns {
    shared: Arc<Shared>,
    /// Not ended, by parent (the zero id at the top of the flow) and order of creation.
    open: BTreeMap<(Id, u32), Id>,
    /// In memory below a container, ended or not, in order of creation.
    below: BTreeMap<(Id, u32), Id>,
    /// Ended, but with an attempt that has not reported.
    unsettled: BTreeSet<Id>,
    /// What a step left for the next: task runs not started, containers not filled; after loading, everything open.
    pub(crate) todo: BTreeMap<u32, Id>,
    next_seq: u32,
}

/// What lazy views of `outputs` and `tasks` share with the engine. Copied when a step changes it while a view is alive,
/// which the engine avoids.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shared {
    pub(crate) runs: IndexMap<Id, TaskRun>,
    /// By task and the values of the loops around it.
    pub(crate) by_task: HashMap<String, Node>,
    /// Every task run of the execution is here.
    pub(crate) complete: bool,
    /// Tasks all of whose ended task runs are here.
    pub(crate) loaded: HashSet<String>,
}

/// Task runs of one task, by the values of the loops around it.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    Leaf(Id),
    Values(IndexMap<String, Node>),
}

impl Shared {
    /// Whether everything that expressions can ask of this task is here.
    pub(crate) fn knows(&self, task_id: &str) -> bool {
        self.complete || self.loaded.contains(task_id)
    }

    /// Puts the nodes of a task (`None`: of all) in order of creation, as if nothing had been loaded late.
    fn sort_nodes(&mut self, task_id: Option<&str>) {
        let of_task = |run: &&TaskRun| task_id.is_none_or(|task_id| run.task_id == task_id);
        let mut runs: Vec<&TaskRun> = self.runs.values().filter(of_task).collect();
        runs.sort_by_key(|run| run.seq);
        match task_id {
            Some(task_id) => drop(self.by_task.remove(task_id)),
            None => self.by_task.clear(),
        }
        for run in runs {
            insert_node(&mut self.by_task, run);
        }
    }
}

impl TaskRuns {
    pub(crate) fn get(&self, id: Id) -> Option<&TaskRun> {
        self.shared.runs.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: Id) -> Option<&mut TaskRun> {
        self.shared_mut().runs.get_mut(&id)
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    fn shared_mut(&mut self) -> &mut Shared {
        Arc::make_mut(&mut self.shared)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.next_seq == 0
    }

    pub(crate) fn next_seq(&self) -> u32 {
        self.next_seq
    }

    pub(crate) fn in_order(&self) -> impl Iterator<Item = &TaskRun> {
        let mut runs: Vec<&TaskRun> = self.shared.runs.values().collect();
        runs.sort_by_key(|run| run.seq);
        runs.into_iter()
    }

    /// Children of a container (`None`: of the flow itself) that have not ended, in order of creation.
    pub(crate) fn open_children(&self, parent: Option<Id>) -> Vec<Id> {
        let parent = parent.unwrap_or_default();
        self.open.range((parent, 0)..=(parent, u32::MAX)).map(|(_, id)| *id).collect()
    }

    /// Everything that has not ended, in order of creation.
    pub(crate) fn all_open(&self) -> Vec<Id> {
        let mut open: Vec<(u32, Id)> = self.open.iter().map(|((_, seq), id)| (*seq, *id)).collect();
        open.sort_unstable_by_key(|(seq, _)| *seq);
        open.into_iter().map(|(_, id)| id).collect()
    }

    /// The task runs from this number on, in order: the newest ones of a step.
    pub(crate) fn newest_from(&self, seq: u32) -> Vec<(u32, Id)> {
        let newest = self.shared.runs.values().rev().take_while(|run| run.seq >= seq);
        let mut found: Vec<(u32, Id)> = newest.map(|run| (run.seq, run.id)).collect();
        found.reverse();
        found
    }

    /// Adds a new task run.
    pub(crate) fn push(&mut self, run: TaskRun) {
        self.next_seq = self.next_seq.max(run.seq + 1);
        self.add(run);
    }

    fn add(&mut self, run: TaskRun) {
        let id = run.id;
        let shared = self.shared_mut();
        insert_node(&mut shared.by_task, &run);
        if let Some(parent) = run.parent_id {
            self.below.insert((parent, run.seq), id);
        }
        self.shared_mut().runs.insert(id, run);
        self.reindex(id);
    }

    /// What is in memory of a container's children (`None`: of the flow's own), ended or not, in order of creation.
    pub(crate) fn children(&self, container: Option<Id>) -> Vec<&TaskRun> {
        match container {
            None => self.in_order().filter(|run| run.parent_id.is_none()).collect(),
            Some(id) => {
                let ids = self.below.range((id, 0)..=(id, u32::MAX)).map(|(_, id)| *id);
                ids.filter_map(|id| self.get(id)).collect()
            }
        }
    }

    /// Everything in memory below a container, at any depth, the newest first: in this order it is cheap to take away.
    pub(crate) fn descendants(&self, container: Id) -> Vec<Id> {
        let mut found: Vec<(u32, Id)> = Vec::new();
        let mut left = vec![container];
        while let Some(parent) = left.pop() {
            let before = found.len();
            found.extend(self.below.range((parent, 0)..=(parent, u32::MAX)).map(|((_, seq), id)| (*seq, *id)));
            left.extend(found[before..].iter().map(|(_, id)| *id));
        }
        found.sort_unstable_by_key(|(seq, _)| std::cmp::Reverse(*seq));
        found.into_iter().map(|(_, id)| id).collect()
    }

    /// Takes a task run out.
    pub(crate) fn remove(&mut self, id: Id) -> Option<TaskRun> {
        let shared = self.shared_mut();
        let run = shared.runs.shift_remove(&id)?;
        remove_node(&mut shared.by_task, &run);
        let key = (run.parent_id.unwrap_or_default(), run.seq);
        self.open.remove(&key);
        self.below.remove(&key);
        self.unsettled.remove(&id);
        self.todo.remove(&run.seq);
        Some(run)
    }

    /// To be called after the state or the attempts of a task run have changed.
    pub(crate) fn reindex(&mut self, id: Id) {
        let Some(run) = self.shared.runs.get(&id) else { return };
        let key = (run.parent_id.unwrap_or_default(), run.seq);
        let terminal = run.state.current().is_terminal();
        let unsettled = terminal && run.has_open_job();
        if terminal {
            self.open.remove(&key);
        } else {
            self.open.insert(key, id);
        }
        if unsettled {
            self.unsettled.insert(id);
        } else {
            self.unsettled.remove(&id);
        }
    }

    /// Puts back a task run as it was.
    pub(crate) fn restore(&mut self, before: TaskRun) {
        let id = before.id;
        match self.get_mut(id) {
            Some(run) => {
                *run = before;
                self.reindex(id);
            }
            None => self.add(before),
        }
    }

    /// Takes away the task runs that were made from this number on.
    pub(crate) fn truncate(&mut self, next_seq: u32) {
        for (_, id) in self.newest_from(next_seq).into_iter().rev() {
            let shared = self.shared_mut();
            // They are the last ones: what is loaded goes in before a step begins.
            let Some(run) = shared.runs.shift_remove(&id) else { continue };
            remove_node(&mut shared.by_task, &run);
            let key = (run.parent_id.unwrap_or_default(), run.seq);
            self.open.remove(&key);
            self.below.remove(&key);
            self.unsettled.remove(&id);
        }
        self.next_seq = next_seq;
    }

    /// Takes in what has been loaded.
    pub(crate) fn absorb(&mut self, facts: &Facts) {
        for (fact, value) in facts {
            let (Fact::Outputs { task_id }, FactValue::Outputs(runs)) = (fact, value) else { continue };
            let known = match task_id {
                Some(task_id) => self.shared.knows(task_id),
                None => self.shared.complete,
            };
            if known {
                continue;
            }
            for run in runs {
                if run.state.current().is_terminal() && !self.shared.runs.contains_key(&run.id) {
                    self.add(run.clone());
                }
            }
            let shared = self.shared_mut();
            shared.sort_nodes(task_id.as_deref());
            match task_id {
                Some(task_id) => drop(shared.loaded.insert(task_id.clone())),
                None => shared.complete = true,
            }
        }
    }
}

fn insert_node(by_task: &mut HashMap<String, Node>, run: &TaskRun) {
    let Some((last, outer)) = run.value_path.split_last() else {
        by_task.insert(run.task_id.clone(), Node::Leaf(run.id));
        return;
    };
    if !by_task.contains_key(&run.task_id) {
        by_task.insert(run.task_id.clone(), Node::Values(IndexMap::new()));
    }
    let Some(mut node) = by_task.get_mut(&run.task_id) else { return };
    for value in outer {
        let Node::Values(values) = node else { return };
        node = values.entry(value.clone()).or_insert_with(|| Node::Values(IndexMap::new()));
    }
    if let Node::Values(values) = node {
        values.insert(last.clone(), Node::Leaf(run.id));
    }
}

/// Leaves no empty maps behind: what has no task runs is undefined for expressions.
fn remove_node(by_task: &mut HashMap<String, Node>, run: &TaskRun) {
    fn prune(node: &mut Node, path: &[String]) -> bool {
        match node {
            Node::Leaf(_) => true,
            Node::Values(values) => {
                if let Some((first, rest)) = path.split_first()
                    && let Some(child) = values.get_mut(first)
                    && prune(child, rest)
                {
                    values.shift_remove(first);
                }
                values.is_empty()
            }
        }
    }
    if let Some(node) = by_task.get_mut(&run.task_id)
        && prune(node, &run.value_path)
    {
        by_task.remove(&run.task_id);
    }
}
