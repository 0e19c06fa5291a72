//! The core: one thread that owns the executions in memory, runs the engine, and puts batches together.
//!
//! Whatever arrives while a batch is being committed is stepped at once and forms the next one; nothing waits for a
//! timer. Executions are disjoint between batches, so that a batch that is refused never invalidates the next.

mod loading;
mod outcome;
mod stepping;

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use tokio::sync::mpsc;
use windhover_engine::{Env, Event, Fact, FactValue, Moment, Run, Step, new_execution, step};
use windhover_store::{CommitError, InboxKey, ParkedRow, RequestIdRow, StoredRun, TimerKey, TimerRow};
use windhover_types::{Error, ErrorKind, Id, Tenant, Timestamp, shard_of};

use crate::{
    batch::{BATCH_BYTES, CreateWork, Member, OpenBatch, Submitted},
    clock,
    effects::{Collector, Surroundings},
    fair::FairQueue,
    flows::Flows,
    live::{Live, Slot, Status},
    message::{CreateRequest, CreatedExecution, Input, LoadedRun, Pending},
    size,
};

/// How long the answer to a request id is kept.
const REQUEST_ID_DAYS: u64 = 2;
/// Executions that are stepped before the core looks at its inputs again.
const SLICE: usize = 32;
/// Executions that wait (for a timer, a worker, a subflow) are kept in memory up to this number.
const LIVE_LIMIT: usize = 100_000;
/// Executions that cause each other are stepped in one batch down to this depth; flows may trigger each other without
/// end. Those below are stored in the same transaction and stepped after it.
const CAUSE_DEPTH: usize = 4;

/// What the core hands to others.
pub(crate) struct Links {
    pub(crate) commit: mpsc::UnboundedSender<Box<Submitted>>,
    pub(crate) load: mpsc::UnboundedSender<(Tenant, Id)>,
    pub(crate) facts: mpsc::UnboundedSender<FactRequest>,
}

/// Facts that an execution waits for.
pub(crate) struct FactRequest {
    pub(crate) tenant: Tenant,
    pub(crate) execution: Id,
    pub(crate) facts: Vec<Fact>,
}

enum Work {
    Create(Box<CreateWork>),
    Step(Id),
}

pub(crate) struct Core {
    flows: Flows,
    env: Arc<Env>,
    shards: u16,
    links: Links,
    slots: HashMap<Id, Slot, ahash::RandomState>,
    ready: FairQueue<Work>,
    open: OpenBatch,
    /// Creates whose twin is in a batch that is not committed yet.
    deferred: Vec<CreateWork>,
    /// A batch is on its way to the store.
    committing: bool,
    /// Inbox rows that it deals with.
    in_flight: HashSet<Id>,
    /// Derived executions that are stored without what their cause has written of them.
    existing: HashSet<Id>,
    /// Executions on which the engine broke after other events: one event per batch, until that one is found.
    careful: HashSet<Id>,
    /// Inbox rows of unknown version whose executions were parked. They stay, for a version that understands them.
    unknown: HashSet<Id>,
    /// How many causes are being stepped, one inside the other.
    depth: usize,
    /// Another process has the shards: nothing is written any more.
    lost: bool,
    stopping: Option<tokio::sync::oneshot::Sender<()>>,
}

impl Core {
    pub(crate) fn new(flows: Flows, env: Arc<Env>, shards: u16, links: Links) -> Self {
        Self {
            flows,
            env,
            shards,
            links,
            slots: HashMap::default(),
            ready: FairQueue::default(),
            open: OpenBatch::default(),
            deferred: Vec::new(),
            committing: false,
            in_flight: HashSet::new(),
            existing: HashSet::new(),
            careful: HashSet::new(),
            unknown: HashSet::new(),
            depth: 0,
            lost: false,
            stopping: None,
        }
    }

    /// Runs until it is told to stop or everybody who could send is gone.
    pub(crate) fn run(mut self, mut inputs: mpsc::UnboundedReceiver<Input>) {
        loop {
            let idle = self.ready.is_empty() || self.open.is_full();
            let input = if idle && (self.committing || self.open.is_empty()) {
                match inputs.blocking_recv() {
                    Some(input) => Some(input),
                    None => return,
                }
            } else {
                inputs.try_recv().ok()
            };
            match input {
                Some(input) => {
                    self.absorb(input);
                    // A burst is taken in before anything is stepped, so that tenants take turns over all of it.
                    while let Ok(more) = inputs.try_recv() {
                        self.absorb(more);
                    }
                }
                None => {
                    if !self.committing && !self.open.is_empty() {
                        self.submit();
                    }
                }
            }
            self.step_some();
            if !self.committing && !self.open.is_empty() {
                self.submit();
            }
            if self.stopping.is_some() && !self.committing && self.open.is_empty() && self.ready.is_empty() {
                if let Some(done) = self.stopping.take() {
                    let _ = done.send(());
                }
                return;
            }
        }
    }

    fn absorb(&mut self, input: Input) {
        match input {
            Input::Stop(done) => self.stopping = Some(done),
            // Whoever waits for an answer sees that its end is gone: the server is stopping.
            _ if self.lost => {}
            Input::Create { request, reply } => {
                if self.stopping.is_some() {
                    let _ = reply.send(Err(unavailable("the server is stopping")));
                    return;
                }
                let tenant = request.tenant.clone();
                let work = CreateWork { request: *request, reply: Some(reply), cause: None };
                self.ready.push(&tenant, Work::Create(Box::new(work)));
            }
            Input::Event { tenant, execution, pending } => self.deliver(tenant, execution, pending),
            Input::Timers(timers) => {
                for TimerRow { tenant, execution, timer, .. } in timers {
                    self.deliver(tenant, execution, Pending::new(Event::TimerFired { timer }));
                }
            }
            Input::Inbox(rows) => rows.into_iter().for_each(|row| self.deliver_inbox(row)),
            Input::Unknown(rows) => rows.into_iter().for_each(|(key, reason)| self.park(key, reason)),
            Input::Recovered(runs) => {
                for (loaded, lost) in runs {
                    let lost = lost.into_iter().map(|(task_run, dispatch)| Event::JobLost { task_run, dispatch });
                    self.take_up(loaded, lost.collect());
                }
            }
            Input::Loaded { runs, unreadable, asked } => self.loaded(runs, unreadable, asked),
            Input::Facts { execution, facts } => self.known(execution, facts),
            Input::Unreadable { tenant, execution } => self.unreadable(tenant, execution),
            Input::Committed(batch) => self.committed(*batch),
            Input::Refused { batch, error } => self.refused(*batch, error),
        }
    }

    /// Hands an event to an execution, wherever it is.
    fn deliver(&mut self, tenant: Tenant, id: Id, pending: Pending) {
        match self.slots.entry(id) {
            Entry::Vacant(slot) => {
                slot.insert(Slot::Loading { tenant: tenant.clone(), pending: vec![pending] });
                let _ = self.links.load.send((tenant, id));
            }
            Entry::Occupied(mut slot) => match slot.get_mut() {
                Slot::Loading { tenant: owner, pending: waiting } if *owner == tenant => waiting.push(pending),
                Slot::Live(live) if live.run.execution.tenant == tenant => {
                    live.pending.push_back(pending);
                    if live.status == Status::Idle {
                        live.status = Status::Ready;
                        self.ready.push(&tenant, Work::Step(id));
                    }
                }
                _ => answer(pending.waiter, Err(not_found(id))),
            },
        }
    }

    fn deliver_inbox(&mut self, row: windhover_store::InboxRow) {
        let event = match row.message {
            windhover_store::InboxMessage::Event { event } => event,
            windhover_store::InboxMessage::Created => Event::Advance,
        };
        let known = |pending: &Pending| pending.inbox == Some(row.id);
        let waits = match self.slots.get(&row.execution) {
            Some(Slot::Loading { pending, .. }) => pending.iter().any(known),
            Some(Slot::Live(live)) => live.pending.iter().any(known),
            None => false,
        };
        if !waits && !self.is_dealt_with(row.id) {
            self.deliver(row.tenant, row.execution, Pending { inbox: Some(row.id), ..Pending::new(event) });
        }
    }

    fn submit(&mut self) {
        let batch = std::mem::take(&mut self.open);
        self.in_flight = batch.batch.inbox_done.iter().map(|key| key.id).collect();
        self.committing = true;
        let _ = self.links.commit.send(Box::new(batch));
    }
}

fn inbox_key(tenant: &Tenant, execution: Id, pending: &Pending) -> Option<InboxKey> {
    pending.inbox.map(|id| InboxKey { tenant: tenant.clone(), id, execution })
}

pub(crate) fn answer(waiter: Option<tokio::sync::oneshot::Sender<Result<bool, Error>>>, result: Result<bool, Error>) {
    if let Some(waiter) = waiter {
        let _ = waiter.send(result);
    }
}

pub(crate) fn not_found(id: Id) -> Error {
    Error::new(ErrorKind::NotFound, "EXECUTION_NOT_FOUND", format!("there is no execution {id}"))
}

fn parked(reason: &str) -> Error {
    Error::new(
        ErrorKind::FailedPrecondition,
        "EXECUTION_PARKED",
        "the execution is parked: an operator must look at it",
    )
    .with("cause", reason)
}

fn unreadable_state() -> Error {
    Error::new(ErrorKind::Internal, "INTERNAL", "the execution cannot be read; see the server's log")
}

pub(crate) fn unavailable(message: &str) -> Error {
    Error::new(ErrorKind::Unavailable, "UNAVAILABLE", message).retry_after(std::time::Duration::from_secs(1))
}
