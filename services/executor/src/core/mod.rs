//! The core: one thread that owns the executions in memory, runs the engine, and puts batches together.
//!
//! Whatever arrives while a batch is being committed is stepped at once and forms the next one; nothing waits for a
//! timer. Executions are disjoint between batches, so that a batch that is refused never invalidates the next.

mod loading;
mod outcome;
mod shards;
mod slots;
mod stepping;

use std::{
    collections::{HashMap, HashSet, VecDeque, hash_map::Entry},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
};
use windhover_engine::{Env, Event, Fact, FactValue, Moment, Run, Step, new_execution, step};
use windhover_store::{
    CommitError, InboxKey, InboxMessage, InboxRow, ParkedRow, RequestIdRow, StoredRun, TimerKey, TimerRow,
};
use windhover_types::{Error, ErrorKind, Id, Tenant, Timestamp, shard_of};

use self::slots::FlowSlots;
pub(crate) use self::{
    outcome::flow_moved,
    shards::{SHARD_MOVED, shard_moved},
    slots::{Asked, ask_row},
    stepping::created_row,
};
use crate::{
    act::{self, Acted, Failed, Stored},
    batch::{BATCH_BYTES, CreateWork, FlowName, Member, OpenBatch, Submitted},
    clock,
    effects::{Collector, Surroundings},
    fair::{FairQueue, Turn},
    flows::Flows,
    live::{Live, Slot, Status},
    loader::SecretSource,
    membership::Membership,
    message::{ActionKey, CreateRequest, CreatedExecution, Input, LoadedRun, Pending, Waiter},
    size,
};

/// Executions that are stepped before the core looks at its inputs again.
const SLICE: usize = 32;
/// Steps of one batch that a flooding tenant gets while others have little to do.
const SHARE: usize = 32;
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
    /// Flows whose slots are to be read.
    pub(crate) slots: mpsc::UnboundedSender<FlowName>,
    /// Asked only for what it has in memory.
    pub(crate) secrets: Arc<dyn SecretSource>,
}

/// Facts that an execution waits for.
pub(crate) struct FactRequest {
    pub(crate) tenant: Tenant,
    pub(crate) execution: Id,
    pub(crate) facts: Vec<Fact>,
}

/// Nobody is left to send anything.
struct Closed;

enum Work {
    Create(Box<CreateWork>),
    Step(Id),
}

pub(crate) struct Core {
    flows: Flows,
    env: Arc<Env>,
    /// For its waits.
    runtime: Handle,
    /// Number of shards of the installation.
    shards: u16,
    /// Which of them are this process's.
    owned: Vec<bool>,
    membership: Membership,
    links: Links,
    slots: HashMap<Id, Slot, ahash::RandomState>,
    ready: FairQueue<Work>,
    /// Slots of flows of this process's shards that are in use.
    flow_slots: HashMap<FlowName, FlowSlots>,
    /// Those of which something was asked.
    ready_slots: VecDeque<FlowName>,
    open: OpenBatch,
    /// Creates whose twin is in a batch that is not committed yet.
    deferred: Vec<CreateWork>,
    /// Executions with an action whose twin is in a batch that is not committed yet.
    deferred_steps: Vec<(Tenant, Id)>,
    /// A batch is on its way to the store.
    committing: bool,
    /// How often this process was taken for dead.
    generation: u64,
    /// Batches that were handed over, and those that came back.
    submitted: u64,
    returned: u64,
    submitted_at: Instant,
    /// How long the last batch that was committed was away.
    last_commit: Duration,
    /// Told once so many batches are back.
    leaving: Vec<(u64, oneshot::Sender<()>)>,
    /// Inbox rows that it deals with.
    in_flight: HashSet<Id>,
    /// Inbox rows that were deleted of late: whoever has read them just before brings them once more.
    done: RecentIds,
    /// Derived executions that are stored without what their cause has written of them.
    existing: HashSet<Id>,
    /// Executions on which the engine broke after other events: one event per batch, until that one is found.
    careful: HashSet<Id>,
    /// Inbox rows of unknown version whose executions were parked. They stay, for a version that understands them.
    unknown: HashSet<Id>,
    /// Executions whose rows cannot be read: parked, and not read again for a while.
    corrupt: Corrupt,
    /// How many causes are being stepped, one inside the other.
    depth: usize,
    /// Another process has the shards: nothing is written any more.
    lost: bool,
    stopping: Option<oneshot::Sender<()>>,
}

impl Core {
    /// Within a runtime that goes on for as long as the core runs.
    pub(crate) fn new(flows: Flows, env: Arc<Env>, shards: u16, membership: Membership, links: Links) -> Self {
        Self {
            flows,
            env,
            runtime: Handle::current(),
            shards,
            owned: vec![false; usize::from(shards)],
            membership,
            links,
            slots: HashMap::default(),
            ready: FairQueue::new(SHARE),
            flow_slots: HashMap::new(),
            ready_slots: VecDeque::new(),
            open: OpenBatch::default(),
            deferred: Vec::new(),
            deferred_steps: Vec::new(),
            committing: false,
            generation: 0,
            submitted: 0,
            returned: 0,
            submitted_at: Instant::now(),
            last_commit: Duration::ZERO,
            leaving: Vec::new(),
            in_flight: HashSet::new(),
            done: RecentIds::default(),
            existing: HashSet::new(),
            careful: HashSet::new(),
            unknown: HashSet::new(),
            corrupt: Corrupt::default(),
            depth: 0,
            lost: false,
            stopping: None,
        }
    }

    /// Runs until it is told to stop or everybody who could send is gone.
    pub(crate) fn run(mut self, mut inputs: mpsc::UnboundedReceiver<Input>) {
        loop {
            let now = Instant::now();
            self.ready.arrange(self.committing, !self.open.is_empty(), now);
            let turn = self.ready.turn(now);
            let has_turn = turn == Turn::Now || !self.ready_slots.is_empty();
            let idle = !has_turn || self.open.is_full();
            let input = if idle && (self.committing || self.open.is_empty()) {
                match self.next_input(turn, &mut inputs) {
                    Ok(next) => next,
                    Err(Closed) => return,
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
                    if self.is_due(now) {
                        self.submit();
                    }
                }
            }
            self.answer_slots();
            self.step_some();
            if self.is_due(Instant::now()) {
                self.submit();
            }
            let is_done = self.ready.is_empty() && self.ready_slots.is_empty();
            if self.stopping.is_some() && !self.committing && self.open.is_empty() && is_done {
                if let Some(done) = self.stopping.take() {
                    let _ = done.send(());
                }
                return;
            }
        }
    }

    /// Whether the open batch is to be committed. While somebody has little to do, it waits for the shares of all others:
    /// what has many items is not stepped while a batch is away.
    fn is_due(&self, now: Instant) -> bool {
        let gathers = !self.open.is_full() && self.ready.is_shared(now) && self.ready.turn(now) == Turn::Now;
        !self.committing && !self.open.is_empty() && !gathers
    }

    /// Waits for something to do; `None`: a tenant has rested after its round.
    fn next_input(&self, turn: Turn, inputs: &mut mpsc::UnboundedReceiver<Input>) -> Result<Option<Input>, Closed> {
        let next = match turn {
            // A full batch takes nothing more.
            Turn::At(until) if !self.open.is_full() => {
                let next = async { tokio::time::timeout_at(until.into(), inputs.recv()).await };
                match self.runtime.block_on(next) {
                    Ok(next) => next,
                    Err(_) => return Ok(None),
                }
            }
            _ => inputs.blocking_recv(),
        };
        next.map(Some).ok_or(Closed)
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
                    let lost = lost.into_iter().map(|job| Pending::lost(job.task_run, job.dispatch, job.losses));
                    self.take_up(loaded, lost.collect());
                }
            }
            Input::Loaded { runs, unreadable, corrupt, asked } => {
                corrupt.into_iter().for_each(|(tenant, id, reason)| self.corrupt(tenant, id, reason));
                self.loaded(runs, unreadable, asked);
            }
            Input::Facts { execution, facts } => self.known(execution, facts),
            Input::Unreadable { tenant, execution } => self.unreadable(tenant, execution),
            Input::Committed(batch) => {
                self.last_commit = self.submitted_at.elapsed();
                self.committed(*batch);
            }
            Input::Refused { batch, error, moved } => self.refused(*batch, error, &moved),
            Input::Slots { name, rows } => self.slots_loaded(name, rows),
            Input::ShardsTaken(shards) => self.take_shards(&shards),
            Input::ShardsLeft { shards, done } => self.leave_shards(&shards, done),
            Input::Lost { generation } => {
                self.generation = generation;
                self.give_up();
            }
        }
    }

    /// Hands an event to an execution, wherever it is.
    fn deliver(&mut self, tenant: Tenant, id: Id, pending: Pending) {
        if !self.owns(&tenant, id) {
            pending.send_on();
            return;
        }
        if let Some(reason) = self.corrupt.reason(id, Instant::now()) {
            self.turn_away(tenant, id, vec![pending], &Failed::Parked { reason });
            return;
        }
        match self.slots.entry(id) {
            Entry::Vacant(slot) => {
                slot.insert(Slot::Loading { tenant: tenant.clone(), pending: vec![pending] });
                let _ = self.links.load.send((tenant, id));
            }
            Entry::Occupied(mut slot) => match slot.get_mut() {
                Slot::Loading { tenant: owner, pending: waiting } if *owner == tenant => {
                    let pending = pending.join(waiting.iter_mut());
                    waiting.extend(pending);
                }
                Slot::Live(live) if live.run.execution.tenant == tenant => {
                    let Some(pending) = pending.join(live.pending.iter_mut()) else { return };
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

    fn deliver_inbox(&mut self, row: InboxRow) {
        if !self.owns_shard(row.shard) {
            return;
        }
        if let InboxMessage::Slot { namespace, flow_id, ask } = row.message {
            if !self.is_dealt_with(row.id) {
                let asked = Asked { row: row.id, execution: row.execution, ask };
                self.asked((row.tenant, namespace, flow_id), asked);
            }
            return;
        }
        let known = |pending: &Pending| pending.inbox == Some(row.id);
        let waits = match self.slots.get(&row.execution) {
            Some(Slot::Loading { pending, .. }) => pending.iter().any(known),
            Some(Slot::Live(live)) => live.pending.iter().any(known),
            None => false,
        };
        if waits || self.is_dealt_with(row.id) {
            return;
        }
        let (event, action) = match row.message {
            InboxMessage::Event { event } => (event, None),
            InboxMessage::Created | InboxMessage::Slot { .. } => (Event::Advance, None),
            InboxMessage::Action { event, method, request_id, content } => {
                (event, Some(ActionKey { method: method.into(), request_id, content }))
            }
        };
        self.deliver(row.tenant, row.execution, Pending { inbox: Some(row.id), action, ..Pending::new(event) });
    }

    fn submit(&mut self) {
        let mut batch = std::mem::take(&mut self.open);
        self.in_flight = batch.batch.inbox_done.iter().map(|key| key.id).collect();
        batch.batch.flow_versions = batch.flow_versions.drain().collect();
        batch.generation = self.generation;
        self.committing = true;
        let now = Instant::now();
        self.ready.next_round(now, self.last_commit);
        self.submitted_at = now;
        self.submitted += 1;
        let _ = self.links.commit.send(Box::new(batch));
    }
}

fn inbox_key(tenant: &Tenant, execution: Id, pending: &Pending) -> Option<InboxKey> {
    pending.inbox.map(|id| InboxKey { tenant: tenant.clone(), id, execution })
}

/// Ids of what was done a moment ago.
#[derive(Default)]
struct RecentIds {
    known: HashMap<Id, Instant, ahash::RandomState>,
    order: VecDeque<(Id, Instant)>,
}

impl RecentIds {
    /// A look into the store takes less long to reach the core.
    const KEPT: Duration = Duration::from_secs(5);

    fn add(&mut self, id: Id, now: Instant) {
        self.known.insert(id, now);
        self.order.push_back((id, now));
        while let Some((oldest, since)) = self.order.front().copied()
            && now.saturating_duration_since(since) >= Self::KEPT
        {
            self.order.pop_front();
            if self.known.get(&oldest) == Some(&since) {
                self.known.remove(&oldest);
            }
        }
    }

    fn contains(&self, id: Id, now: Instant) -> bool {
        self.known.get(&id).is_some_and(|since| now.saturating_duration_since(*since) < Self::KEPT)
    }
}

/// Executions that could not be read, with the reason.
#[derive(Default)]
struct Corrupt(HashMap<Id, (Instant, String), ahash::RandomState>);

impl Corrupt {
    /// An operator may have repaired them by then.
    const KEPT: Duration = Duration::from_secs(30);

    fn add(&mut self, id: Id, now: Instant, reason: String) {
        self.0.retain(|_, (since, _)| now.saturating_duration_since(*since) < Self::KEPT);
        self.0.insert(id, (now, reason));
    }

    fn reason(&self, id: Id, now: Instant) -> Option<String> {
        let (since, reason) = self.0.get(&id)?;
        (now.saturating_duration_since(*since) < Self::KEPT).then(|| reason.clone())
    }
}

pub(crate) fn answer(waiter: Option<Waiter>, result: Result<Acted, Error>) {
    if let Some(waiter) = waiter {
        let _ = waiter.send(result);
    }
}

pub(crate) fn not_found(id: Id) -> Error {
    Error::new(ErrorKind::NotFound, "EXECUTION_NOT_FOUND", format!("there is no execution {id}"))
}

pub(crate) fn parked(reason: &str) -> Error {
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
    Error::new(ErrorKind::Unavailable, "UNAVAILABLE", message).retry_after(Duration::from_secs(1))
}
