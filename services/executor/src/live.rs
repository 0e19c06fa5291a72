//! Executions in memory.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use windhover_engine::{Facts, LogLine, Run};
use windhover_types::{Id, Tenant};

use crate::{
    flows::StoredFlow,
    message::{AttemptLines, Pending},
};

/// An execution that the core knows of.
pub(crate) enum Slot {
    /// Asked for; these events wait for it.
    Loading {
        tenant: Tenant,
        pending: Vec<Pending>,
    },
    Live(Box<Live>),
}

/// Where an execution stands between the core and the store. It is in at most one uncommitted batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Idle,
    /// In the queue of what is to be stepped.
    Ready,
    /// In a batch that is open or on its way.
    InBatch,
    /// The engine needs facts that are being looked up.
    Waiting,
}

/// An execution with its flow and what has not been applied yet.
pub(crate) struct Live {
    pub(crate) run: Run,
    pub(crate) flow: Arc<StoredFlow>,
    /// Settings of namespaces under which the flow was looked at; see [`crate::Flows::epoch`].
    pub(crate) epoch: u64,
    pub(crate) shard: u16,
    pub(crate) status: Status,
    pub(crate) pending: VecDeque<Pending>,
    pub(crate) facts: Facts,
    /// Position of the next log line.
    pub(crate) next_log: i64,
    /// Versions of the rows as they are stored.
    pub(crate) versions: Versions,
    /// Lines taken so far of attempts that still run, by task run and dispatch: what was sent twice is taken once. The
    /// same numbers are stored with the jobs.
    pub(crate) lines_taken: HashMap<(Id, u32), u32>,
    /// Loaded from the store, and ended task runs were left there.
    pub(crate) is_partial: bool,
}

/// Versions of stored rows; what is absent is not stored yet.
#[derive(Default)]
pub(crate) struct Versions {
    pub(crate) execution: i64,
    pub(crate) task_runs: HashMap<Id, i64>,
}

impl Versions {
    /// The version that the next write of this task run carries.
    pub(crate) fn next_task_run(&mut self, id: Id) -> i64 {
        let version = self.task_runs.entry(id).or_insert(0);
        *version += 1;
        *version
    }

    pub(crate) fn next_execution(&mut self) -> i64 {
        self.execution += 1;
        self.execution
    }
}

impl Live {
    pub(crate) fn new(run: Run, flow: Arc<StoredFlow>, shard: u16) -> Self {
        Self {
            run,
            flow,
            epoch: 0,
            shard,
            status: Status::Idle,
            pending: VecDeque::new(),
            facts: Facts::new(),
            next_log: 0,
            versions: Versions::default(),
            lines_taken: HashMap::new(),
            is_partial: false,
        }
    }
}

impl Live {
    /// The lines among these that were not taken before, and how many of the attempt are taken with them. `None`: nobody
    /// waits for this dispatch any more, so that it would have no end at which its lines count as told.
    pub(crate) fn take_lines(&mut self, sent: &AttemptLines) -> Option<(Vec<LogLine>, u32)> {
        let AttemptLines { task_run, dispatch, first, lines } = sent;
        if !self.awaits(*task_run, *dispatch) {
            return None;
        }
        let taken = self.lines_taken.entry((*task_run, *dispatch)).or_insert(0);
        let known = taken.saturating_sub(*first) as usize;
        let new: Vec<LogLine> = lines.iter().skip(known).cloned().collect();
        *taken = (*taken).max(first.saturating_add(u32::try_from(lines.len()).unwrap_or(u32::MAX)));
        Some((new, *taken))
    }

    /// The end of this dispatch of a task run is still to come.
    pub(crate) fn awaits(&self, task_run: Id, dispatch: u32) -> bool {
        self.run.task_run(task_run).is_some_and(|run| run.dispatch == dispatch && run.has_open_job())
    }
}
