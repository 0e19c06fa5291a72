//! What reaches the executor's core, and what waits for it.

use std::{borrow::Cow, collections::HashSet, sync::Arc};

use tokio::sync::oneshot;
use windhover_engine::{Event, Execution, Fact, FactValue, LogLine, NewExecution};
use windhover_queue::Acknowledge;
use windhover_store::{CommitError, InboxKey, InboxRow, SlotRow, StoredRun, TimerRow};
use windhover_types::{Error, Id, Tenant};

use crate::{
    act::Acted,
    batch::{FlowName, Submitted},
    core::{answer, shard_moved},
    flows::{Name, StoredFlow},
};

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

/// Identity of an action, under which its outcome is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ActionKey {
    pub(crate) method: Cow<'static, str>,
    pub(crate) request_id: String,
    pub(crate) content: [u8; 32],
}

impl From<RequestKey> for ActionKey {
    fn from(key: RequestKey) -> Self {
        Self { method: Cow::Borrowed(key.method), request_id: key.request_id, content: key.content }
    }
}

/// Whoever waits for an action.
pub(crate) type Waiter = oneshot::Sender<Result<Acted, Error>>;

/// An event with whoever waits for its commit.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) event: Event,
    /// The inbox row that brought it; deleted in the same transaction.
    pub(crate) inbox: Option<Id>,
    pub(crate) waiter: Option<Waiter>,
    /// The outcome is stored under it, in the same transaction.
    pub(crate) action: Option<ActionKey>,
    /// The worker that reported it.
    pub(crate) acknowledge: Option<Acknowledge>,
    /// Lines of an attempt that still runs; the event is then [`Event::Advance`] and is not applied.
    pub(crate) lines: Option<AttemptLines>,
    /// With [`Event::JobLost`]: how many holders of this attempt were lost, this one included.
    pub(crate) losses: u32,
    /// What became of it, once it was applied.
    pub(crate) acted: Acted,
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
        Self {
            event,
            inbox: None,
            waiter: None,
            action: None,
            acknowledge: None,
            lines: None,
            losses: 0,
            acted: Acted::Done,
        }
    }

    /// The holder of this dispatch is lost, as the `losses`th of its attempt.
    pub(crate) fn lost(task_run: Id, dispatch: u32, losses: u32) -> Self {
        Self { losses, ..Self::new(Event::JobLost { task_run, dispatch }) }
    }

    /// Joins a report of a worker to the same one that it has sent before and that waits still: only the last one is to be
    /// acknowledged, and what it says is here already. However long nothing can be committed, a report waits once.
    /// Anything else is given back.
    pub(crate) fn join<'a>(self, mut waiting: impl Iterator<Item = &'a mut Self>) -> Option<Self> {
        let name = self.report();
        match waiting.find(|other| name.is_some() && other.report() == name) {
            Some(other) => {
                other.acknowledge = self.acknowledge;
                None
            }
            None => Some(self),
        }
    }

    /// Which report it is, if it is a worker's.
    fn report(&self) -> Option<(Id, u32, Told)> {
        self.acknowledge.as_ref()?;
        if let Some(lines) = &self.lines {
            return Some((lines.task_run, lines.dispatch, Told::Lines { first: lines.first }));
        }
        match &self.event {
            Event::JobStarted { task_run, dispatch, .. } => Some((*task_run, *dispatch, Told::Started)),
            Event::JobEnded { task_run, dispatch, .. } => Some((*task_run, *dispatch, Told::Ended)),
            _ => None,
        }
    }

    /// Nobody waits for it: after a restart it is derived from the store again, or brought from there.
    pub(crate) fn is_stored(&self) -> bool {
        self.waiter.is_none() && self.acknowledge.is_none()
    }

    /// It only asks for what is due, and nobody waits for that: without an outcome nothing has to be stored.
    pub(crate) fn is_bare(&self) -> bool {
        matches!(self.event, Event::Advance)
            && self.inbox.is_none()
            && self.action.is_none()
            && self.lines.is_none()
            && self.is_stored()
    }

    /// There is nothing that it could be applied to: whoever waits is told, and a worker does not send it again.
    pub(crate) fn turn_away(&mut self, error: Error) {
        answer(self.waiter.take(), Err(error));
        if let Some(acknowledge) = self.acknowledge.take() {
            acknowledge.done();
        }
    }

    /// The shard is somebody else's now: whoever waits asks there, and a worker sends its report again.
    pub(crate) fn send_on(self) {
        answer(self.waiter, Err(shard_moved()));
    }
}

/// What a report is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Started,
    Lines { first: u32 },
    Ended,
}

/// A job whose holder is gone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LostJob {
    pub(crate) task_run: Id,
    pub(crate) dispatch: u32,
    /// How many holders of this attempt were lost, this one included.
    pub(crate) losses: u32,
}

/// A stored execution with its flow, which is `None` when that revision is no longer stored.
pub(crate) struct LoadedRun {
    pub(crate) stored: StoredRun,
    pub(crate) flow: Option<Arc<StoredFlow>>,
}

/// Something to do for the core.
// Most of it is events: a box for each would cost more than the room that the others waste.
#[allow(clippy::large_enum_variant)]
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
    /// Open executions of shards that came to this process, with the jobs that their dead holders had.
    Recovered(Vec<(LoadedRun, Vec<LostJob>)>),
    /// `unreadable`: those of `asked` that the store does not give just now; `corrupt`: those that no version of this
    /// process will ever read, with the reason.
    Loaded {
        runs: Vec<LoadedRun>,
        unreadable: Vec<(Tenant, Id)>,
        corrupt: Vec<(Tenant, Id, String)>,
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
        /// With [`CommitError::FlowsMoved`]: the flows that were changed, which are in memory by now.
        moved: HashSet<(Tenant, Name)>,
    },
    /// The slots of a flow, as they are stored.
    Slots {
        name: FlowName,
        rows: Vec<SlotRow>,
    },
    /// These shards are this process's from now on.
    ShardsTaken(Vec<u16>),
    /// These shards are to be somebody else's: told once no batch holds anything of them.
    ShardsLeft {
        shards: Vec<u16>,
        done: oneshot::Sender<()>,
    },
    /// This process was taken for dead: nothing that it knows counts any more.
    Lost {
        generation: u64,
    },
    /// Stop taking work, commit what is open, and end.
    Stop(oneshot::Sender<()>),
}

#[cfg(test)]
mod tests {
    use windhover_engine::JobResult;
    use windhover_types::{State, Timestamp};

    use super::*;

    const AT: Timestamp = Timestamp::from_millis(1);

    fn report(event: Event, lines: Option<AttemptLines>) -> (Pending, oneshot::Receiver<()>) {
        let (acknowledge, acknowledged) = Acknowledge::pair();
        (Pending { lines, acknowledge: Some(acknowledge), ..Pending::new(event) }, acknowledged)
    }

    #[test]
    fn a_report_that_is_sent_again_and_again_waits_once_and_the_last_one_is_acknowledged() {
        let task_run = Id::new(AT, [1; 10]);
        let started = |dispatch| Event::JobStarted { task_run, dispatch, worker: "w".to_owned(), at: AT };
        let result = Box::new(JobResult::bare(AT, State::Success));
        let ended = || Event::JobEnded { task_run, dispatch: 1, result: result.clone() };
        let lines = |first| AttemptLines { task_run, dispatch: 1, first, lines: Vec::new() };
        let mut waiting: Vec<Pending> = Vec::new();
        let mut acknowledged = Vec::new();
        for _ in 0..100 {
            for (event, lines) in [
                (started(1), None),
                (Event::Advance, Some(lines(0))),
                (Event::Advance, Some(lines(7))),
                (ended(), None),
                (started(2), None),
            ] {
                let (pending, told) = report(event, lines);
                acknowledged.push(told);
                let alone = pending.join(waiting.iter_mut());
                waiting.extend(alone);
            }
            // Whoever is not a worker is never taken for one that sends again.
            assert!(Pending::new(ended()).join(waiting.iter_mut()).is_some());
        }
        assert_eq!(waiting.len(), 5);
        waiting.into_iter().filter_map(|pending| pending.acknowledge).for_each(Acknowledge::done);
        let (before, last) = acknowledged.split_at_mut(495);
        assert!(last.iter_mut().all(|told| told.try_recv().is_ok()));
        assert!(before.iter_mut().all(|told| told.try_recv().is_err()));
    }
}
