//! What reaches the executor's core, and what waits for it.

use std::sync::Arc;

use tokio::sync::oneshot;
use windhover_engine::{Event, Execution, Fact, FactValue, LogLine, NewExecution};
use windhover_queue::Acknowledge;
use windhover_store::{CommitError, InboxKey, InboxRow, StoredRun, TimerRow};
use windhover_types::{Error, Id, Tenant};

use crate::{batch::Submitted, core::answer, flows::StoredFlow};

/// A request to create an execution, its inputs resolved and its id drawn by the caller.
#[derive(Debug, Clone)]
pub struct CreateRequest {
    pub tenant: Tenant,
    pub new: NewExecution,
    pub request: Option<RequestKey>,
}

/// Identity of a request of a client: the same key with the same content gives the first answer again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestKey {
    /// Full name of the RPC.
    pub method: &'static str,
    pub request_id: String,
    /// SHA-256 of what was asked for.
    pub content: [u8; 32],
}

/// Answer to a [`CreateRequest`], after the commit.
#[derive(Debug, Clone)]
pub struct CreatedExecution {
    /// As it was created.
    pub execution: Execution,
    /// An earlier request with the same id made it.
    pub replayed: bool,
}

/// An event with whoever waits for its commit.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) event: Event,
    /// The inbox row that brought it; deleted in the same transaction.
    pub(crate) inbox: Option<Id>,
    pub(crate) waiter: Option<oneshot::Sender<Result<bool, Error>>>,
    /// The worker that reported it.
    pub(crate) acknowledge: Option<Acknowledge>,
    /// Lines of an attempt that still runs; the event is then [`Event::Advance`] and is not applied.
    pub(crate) lines: Option<AttemptLines>,
    /// The execution had ended when it was applied.
    pub(crate) too_late: bool,
}

/// Log lines that a worker sent while an attempt runs.
#[derive(Debug)]
pub(crate) struct AttemptLines {
    pub(crate) task_run: Id,
    pub(crate) dispatch: u32,
    /// Number of the first of them among the lines of the attempt, from 0.
    pub(crate) first: u32,
    pub(crate) lines: Vec<LogLine>,
}

impl Pending {
    pub(crate) fn new(event: Event) -> Self {
        Self { event, inbox: None, waiter: None, acknowledge: None, lines: None, too_late: false }
    }

    /// Nobody waits for it: after a restart it is derived from the store again, or brought from there.
    pub(crate) fn is_stored(&self) -> bool {
        self.waiter.is_none() && self.acknowledge.is_none()
    }

    /// There is nothing that it could be applied to: whoever waits is told, and a worker does not send it again.
    pub(crate) fn turn_away(self, error: Error) {
        answer(self.waiter, Err(error));
        if let Some(acknowledge) = self.acknowledge {
            acknowledge.done();
        }
    }
}

/// A stored execution with its flow, which is `None` when that revision is no longer stored.
pub(crate) struct LoadedRun {
    pub(crate) stored: StoredRun,
    pub(crate) flow: Option<Arc<StoredFlow>>,
}

/// Something to do for the core.
pub(crate) enum Input {
    Create {
        request: Box<CreateRequest>,
        reply: oneshot::Sender<Result<CreatedExecution, Error>>,
    },
    /// For an execution that may or may not be in memory.
    Event {
        tenant: Tenant,
        execution: Id,
        pending: Pending,
    },
    Timers(Vec<TimerRow>),
    Inbox(Vec<InboxRow>),
    /// Inbox rows that this version does not understand, with the reason: their executions are parked.
    Unknown(Vec<(InboxKey, String)>),
    /// Open executions found at start, with the jobs that their dead holders had.
    Recovered(Vec<(LoadedRun, Vec<(Id, u32)>)>),
    /// `unreadable`: those of `asked` that are stored and cannot be read.
    Loaded {
        runs: Vec<LoadedRun>,
        unreadable: Vec<(Tenant, Id)>,
        asked: Vec<(Tenant, Id)>,
    },
    Facts {
        execution: Id,
        facts: Vec<(Fact, FactValue)>,
    },
    /// The facts that it waits for cannot be read.
    Unreadable {
        tenant: Tenant,
        execution: Id,
    },
    /// The batch is committed and everybody has been told.
    Committed(Box<Submitted>),
    /// Nothing of the batch was written.
    Refused {
        batch: Box<Submitted>,
        error: CommitError,
    },
    /// Stop taking work, commit what is open, and end.
    Stop(oneshot::Sender<()>),
}
