//! The core: one thread that owns the executions in memory, runs the engine, and puts batches together.
//!
//! Whatever arrives while a batch is being committed is stepped at once and forms the next one; nothing waits for a
//! timer. Executions are disjoint between batches, so that a batch that is refused never invalidates the next.

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

    /// An inbox row that a batch deletes which is not committed yet.
    fn is_dealt_with(&self, row: Id) -> bool {
        self.in_flight.contains(&row) || self.open.batch.inbox_done.iter().any(|key| key.id == row)
    }

    /// An event that nobody understands is not acknowledged away: its row stays, and its execution waits for an operator.
    fn park(&mut self, key: InboxKey, reason: String) {
        let InboxKey { tenant, execution, id } = key;
        if self.unknown.contains(&id) {
            return;
        }
        match self.slots.get(&execution) {
            // It may wait for just this event.
            Some(Slot::Live(live)) if live.status == Status::Idle => drop(self.slots.remove(&execution)),
            // The next sweep brings the row again.
            Some(_) => return,
            None => {}
        }
        self.unknown.insert(id);
        tracing::error!(%tenant, %execution, reason, "an execution is parked: an event for it cannot be read");
        self.open.batch.parked.push(ParkedRow { tenant: tenant.clone(), execution, reason });
        self.open.members.push(Member::without_steps(tenant, execution, self.shards));
    }

    /// Takes an execution out of everything until an operator has looked at it. What waits for it is answered: a worker
    /// whose report cannot be stored would keep its slot for ever.
    fn set_aside(&mut self, tenant: Tenant, id: Id, reason: String, waiting: Vec<Pending>) {
        tracing::error!(tenant = %tenant, execution = %id, reason, "an execution is parked");
        let mut member = Member::without_steps(tenant.clone(), id, self.shards);
        for mut pending in waiting {
            answer(pending.waiter.take(), Err(parked(&reason)));
            member.applied.push(pending);
        }
        self.open.batch.parked.push(ParkedRow { tenant, execution: id, reason });
        self.open.members.push(member);
    }

    /// Puts a stored execution into memory, with events that come before those that wait already.
    fn take_up(&mut self, loaded: LoadedRun, first: Vec<Event>) {
        let LoadedRun { stored, flow } = loaded;
        let StoredRun { execution, open_task_runs, next_seq, next_log, parked: set_aside } = stored;
        let (id, tenant) = (execution.id, execution.tenant.clone());
        let waiting = match self.slots.remove(&id) {
            Some(live @ Slot::Live(_)) => {
                // Something else brought it here before.
                self.slots.insert(id, live);
                first.into_iter().for_each(|event| self.deliver(tenant.clone(), id, Pending::new(event)));
                return;
            }
            Some(Slot::Loading { tenant: owner, pending }) if owner == tenant => pending,
            Some(Slot::Loading { pending, .. }) => {
                pending.into_iter().for_each(|pending| answer(pending.waiter, Err(not_found(id))));
                Vec::new()
            }
            None => Vec::new(),
        };
        if let Some(reason) = set_aside {
            waiting.into_iter().for_each(|pending| pending.turn_away(parked(&reason)));
            return;
        }
        let Some(flow) = flow else {
            self.set_aside(tenant, id, "the revision of its flow is no longer stored".to_owned(), waiting);
            return;
        };
        let shard = shard_of(&tenant, id, self.shards);
        let mut versions = crate::live::Versions { execution: execution.version, ..Default::default() };
        versions.task_runs.extend(open_task_runs.iter().map(|task_run| (task_run.id, task_run.version)));
        let ended = execution.is_ended();
        let is_partial = open_task_runs.len() < next_seq as usize;
        let run = Run::from_stored(execution, open_task_runs, next_seq);
        let mut live = Live { next_log, versions, is_partial, ..Live::new(run, flow, shard) };
        live.pending.extend(first.into_iter().map(Pending::new));
        if !ended {
            live.pending.push_back(Pending::new(Event::Advance));
        }
        live.pending.extend(waiting);
        if !live.pending.is_empty() {
            live.status = Status::Ready;
            self.ready.push(&tenant, Work::Step(id));
            self.slots.insert(id, Slot::Live(Box::new(live)));
        }
    }

    fn loaded(&mut self, runs: Vec<LoadedRun>, unreadable: Vec<(Tenant, Id)>, asked: Vec<(Tenant, Id)>) {
        runs.into_iter().for_each(|loaded| self.take_up(loaded, Vec::new()));
        for (tenant, id) in unreadable {
            // What the store keeps for it is brought again by the sweeps.
            for pending in self.stop_loading(&tenant, id).unwrap_or_default() {
                answer(pending.waiter, Err(unreadable_state()));
            }
        }
        // What was asked for and is still not there does not exist; inbox rows for it are dealt with all the same.
        for (tenant, id) in asked {
            let Some(pending) = self.stop_loading(&tenant, id) else { continue };
            let rows: Vec<InboxKey> = pending.iter().filter_map(|p| inbox_key(&tenant, id, p)).collect();
            pending.into_iter().for_each(|p| p.turn_away(not_found(id)));
            if !rows.is_empty() {
                self.open.batch.inbox_done.extend(rows);
                self.open.members.push(Member::without_steps(tenant, id, self.shards));
            }
        }
    }

    /// What waits for an execution that is being loaded, which is no longer waited for.
    fn stop_loading(&mut self, of: &Tenant, id: Id) -> Option<Vec<Pending>> {
        match self.slots.remove(&id)? {
            Slot::Loading { tenant, pending } if tenant == *of => {
                self.careful.remove(&id);
                Some(pending)
            }
            other => {
                self.slots.insert(id, other);
                None
            }
        }
    }

    fn known(&mut self, id: Id, facts: Vec<(Fact, FactValue)>) {
        let Some(Slot::Live(live)) = self.slots.get_mut(&id) else { return };
        for (_, value) in &facts {
            let FactValue::Outputs(runs) = value else { continue };
            for run in runs {
                live.versions.task_runs.entry(run.id).or_insert(run.version);
            }
        }
        live.facts.extend(facts);
        if live.status == Status::Waiting {
            live.status = Status::Ready;
            self.ready.push(&live.run.execution.tenant, Work::Step(id));
        }
    }

    /// Without its facts an execution cannot go on: it waits for an operator.
    fn unreadable(&mut self, tenant: Tenant, id: Id) {
        match self.slots.remove(&id) {
            Some(Slot::Live(live)) if live.status == Status::Waiting && live.run.execution.tenant == tenant => {
                let reason = "what its flow reads cannot be read from the store; the server's log tells why";
                self.set_aside(tenant, id, reason.to_owned(), live.pending.into());
            }
            Some(other) => drop(self.slots.insert(id, other)),
            None => {}
        }
    }

    /// Steps some of what is ready, in turn over the tenants: few enough that a finished commit is soon noticed.
    fn step_some(&mut self) {
        for _ in 0..SLICE {
            if self.open.is_full() {
                return;
            }
            match self.ready.pop() {
                Some(Work::Create(work)) => self.create(*work),
                Some(Work::Step(id)) => self.step_live(id),
                None => return,
            }
        }
    }

    fn create(&mut self, work: CreateWork) {
        let CreateRequest { tenant, new, request } = &work.request;
        let (id, is_derived) = (new.id, work.cause.is_some());
        if let Some(key) = request
            && self.open.requests.contains_key(&(tenant.clone(), key.method, key.request_id.clone()))
        {
            // Its twin is in this very batch; once that is committed the store tells which one counts.
            self.deferred.push(work);
            return;
        }
        if is_derived && self.existing.remove(&id) {
            self.deliver(tenant.clone(), id, Pending::new(Event::Advance));
            return;
        }
        if self.slots.contains_key(&id) {
            // Made before: the same cause gives the same id.
            if let Some(reply) = work.reply {
                let _ =
                    reply.send(Err(Error::new(ErrorKind::AlreadyExists, "EXECUTION_EXISTS", "the execution exists")));
            }
            return;
        }
        let now = clock::now();
        let mut execution = new_execution(tenant, new, now);
        execution.version = 1;
        self.open.bytes += size::of_new(&execution);
        if let Some(key) = request {
            let row = RequestIdRow {
                tenant: tenant.clone(),
                method: key.method.to_owned(),
                request_id: key.request_id.clone(),
                content: key.content,
                result: id.to_string(),
                expires_at: now.plus(std::time::Duration::from_secs(REQUEST_ID_DAYS * 86_400)),
            };
            self.open.add_request(row, key.method, id);
        }
        let shard = shard_of(tenant, id, self.shards);
        let flow = self.flows.cached(tenant, &new.namespace, &new.flow_id, Some(new.flow_revision));
        let member = Member {
            as_created: work.reply.is_some().then(|| Box::new(execution.clone())),
            ..Member::without_steps(tenant.clone(), id, self.shards)
        };
        let member = Member { create: Some(Box::new(work)), ..member };
        let Some(flow) = flow else {
            // Stored as it is; taken up from the store once its flow is in memory.
            let tenant = execution.tenant.clone();
            self.open.batch.new_executions.push(execution);
            self.open.members.push(member);
            self.slots.insert(id, Slot::Loading { tenant, pending: vec![Pending::new(Event::Advance)] });
            return;
        };
        let mut live = Box::new(Live::new(Run::new(execution), flow, shard));
        live.pending.push_back(Pending::new(Event::Advance));
        if is_derived && (self.depth > CAUSE_DEPTH || self.open.is_full()) {
            self.add_to_batch(live, member, Collector::default(), now);
        } else {
            self.step_into_batch(live, Some(member), now);
        }
    }

    fn step_live(&mut self, id: Id) {
        match self.slots.remove(&id) {
            Some(Slot::Live(live)) if live.status == Status::Ready => self.step_into_batch(live, None, clock::now()),
            Some(other) => {
                self.slots.insert(id, other);
            }
            None => {}
        }
    }

    /// Applies what waits to one execution and adds the outcome to the open batch.
    fn step_into_batch(&mut self, mut live: Box<Live>, member: Option<Member>, now: Timestamp) {
        let id = live.run.execution.id;
        let tenant = live.run.execution.tenant.clone();
        let is_new = member.is_some();
        let mut member = member.unwrap_or_else(|| Member::without_steps(tenant.clone(), id, self.shards));
        let mut collector = Collector::default();
        // Flow triggers read what has ended, when the step is done and nothing can be waited for.
        let everything = Fact::Outputs { task_id: None };
        if live.is_partial
            && !live.run.execution.is_ended()
            && !live.facts.contains_key(&everything)
            && !self.flows.listeners(&tenant).is_empty()
        {
            live.status = Status::Waiting;
            self.slots.insert(id, Slot::Live(live));
            let _ = self.links.facts.send(FactRequest { tenant, execution: id, facts: vec![everything] });
            return;
        }
        let careful = self.careful.contains(&id);
        let (mut timers, mut inbox) = (Vec::new(), Vec::new());
        let mut waiting = false;
        loop {
            // The rest comes into the next batch.
            let enough = careful || self.open.bytes + collector.bytes() >= BATCH_BYTES;
            if enough && !member.applied.is_empty() {
                break;
            }
            let Some(mut pending) = live.pending.pop_front() else { break };
            if let Some(sent) = &pending.lines {
                collector.add_lines(live.take_lines(sent));
                member.applied.push(pending);
                continue;
            }
            pending.too_late = live.run.execution.is_ended();
            let outcome = self.step_once(&mut live, &pending.event, now);
            live.is_partial &= !live.facts.contains_key(&everything);
            let outcome = match outcome {
                Ok(Step::Needs(facts)) if facts.iter().all(|fact| live.facts.contains_key(fact)) => {
                    Err("the engine asks again for facts that it was told".to_owned())
                }
                outcome => outcome,
            };
            match outcome {
                Ok(Step::Done(output)) => {
                    if let Event::TimerFired { timer } = &pending.event {
                        let (tenant, timer) = (tenant.clone(), timer.clone());
                        timers.push(TimerKey { tenant, execution: id, timer });
                    }
                    inbox.extend(inbox_key(&tenant, id, &pending));
                    let more = output.more;
                    collector.add(output, &live);
                    member.applied.push(pending);
                    if more {
                        live.pending.push_back(Pending::new(Event::Advance));
                        break;
                    }
                }
                Ok(Step::Needs(facts)) => {
                    live.pending.push_front(pending);
                    let missing = self.look_up(&tenant, &mut live, facts);
                    if !missing.is_empty() {
                        let _ = self.links.facts.send(FactRequest {
                            tenant: tenant.clone(),
                            execution: id,
                            facts: missing,
                        });
                        waiting = true;
                        break;
                    }
                }
                Err(reason) if !is_new && !member.applied.is_empty() => {
                    // What the events before it have changed counts: again, and that one alone.
                    tracing::warn!(tenant = %tenant, execution = %id, reason, "the events of a step are tried one by one");
                    self.careful.insert(id);
                    let pending = member.applied.into_iter().chain([pending]).chain(live.pending).collect();
                    self.slots.insert(id, Slot::Loading { tenant: tenant.clone(), pending });
                    let _ = self.links.load.send((tenant, id));
                    return;
                }
                Err(reason) => {
                    // The engine broke on this execution: it is parked, everybody else goes on.
                    self.careful.remove(&id);
                    tracing::error!(tenant = %tenant, execution = %id, reason, "an execution is parked");
                    self.open.batch.inbox_done.extend(inbox_key(&tenant, id, &pending));
                    if is_new {
                        // As it was before the step that broke, where that is known.
                        let row = member.as_created.as_deref().unwrap_or(&live.run.execution).clone();
                        self.open.batch.new_executions.push(row);
                    }
                    for mut pending in std::iter::once(pending).chain(live.pending.drain(..)) {
                        answer(pending.waiter.take(), Err(parked(&reason)));
                        member.applied.push(pending);
                    }
                    self.open.batch.parked.push(ParkedRow { tenant, execution: id, reason });
                    self.open.members.push(member);
                    return;
                }
            }
        }
        if careful && live.pending.is_empty() {
            self.careful.remove(&id);
        }
        self.open.batch.timers_cleared.append(&mut timers);
        self.open.batch.inbox_done.append(&mut inbox);
        live.facts.retain(|_, _| waiting);
        let touched = is_new || !member.applied.is_empty();
        if !touched {
            live.status = if waiting { Status::Waiting } else { Status::Idle };
            self.slots.insert(id, Slot::Live(live));
            return;
        }
        self.add_to_batch(live, member, collector, now);
    }

    /// Adds what came of the steps of one execution to the open batch, with the executions that it causes.
    fn add_to_batch(&mut self, mut live: Box<Live>, mut member: Member, collector: Collector, now: Timestamp) {
        let (id, tenant) = (live.run.execution.id, live.run.execution.tenant.clone());
        let around = Surroundings { flows: &self.flows, env: &self.env, shards: self.shards, now };
        let created = collector.finish(&mut live, &mut member, &mut self.open, &around);
        live.status = Status::InBatch;
        self.slots.insert(id, Slot::Live(live));
        self.open.members.push(member);
        self.depth += 1;
        for new in created {
            // In the same transaction as what caused it; beyond the batch's limit too, since it must not be split.
            let request = CreateRequest { tenant: tenant.clone(), new, request: None };
            self.create(CreateWork { request, reply: None, cause: Some(id) });
        }
        self.depth -= 1;
    }

    fn step_once(&self, live: &mut Live, event: &Event, now: Timestamp) -> Result<Step, String> {
        let flow = match &live.flow.flow {
            Ok(flow) => Arc::clone(flow),
            Err(reason) => return Err(format!("its flow can no longer be read: {reason}")),
        };
        let moment = Moment { now, seed: clock::seed() };
        let (run, facts) = (&mut live.run, &live.facts);
        catch_unwind(AssertUnwindSafe(|| step(&flow, run, event.clone(), facts, moment, &self.env)))
            .map_err(|_| "the engine failed; the server's log tells where".to_owned())
    }

    /// Answers facts from memory; returns those that have to be fetched.
    fn look_up(&self, tenant: &Tenant, live: &mut Live, facts: Vec<Fact>) -> Vec<Fact> {
        facts
            .into_iter()
            .filter(|fact| {
                let Fact::Flow { namespace, flow_id, revision } = fact else { return true };
                match self.flows.cached(tenant, namespace, flow_id, *revision) {
                    Some(found) => {
                        live.facts.insert(fact.clone(), FactValue::Flow(Some(found.as_found())));
                        false
                    }
                    None => true,
                }
            })
            .collect()
    }

    fn submit(&mut self) {
        let batch = std::mem::take(&mut self.open);
        self.in_flight = batch.batch.inbox_done.iter().map(|key| key.id).collect();
        self.committing = true;
        let _ = self.links.commit.send(Box::new(batch));
    }

    fn batch_is_back(&mut self) {
        self.committing = false;
        self.in_flight.clear();
        for work in std::mem::take(&mut self.deferred) {
            let tenant = work.request.tenant.clone();
            self.ready.push(&tenant, Work::Create(Box::new(work)));
        }
    }

    fn committed(&mut self, batch: Submitted) {
        self.batch_is_back();
        let crowded = self.slots.len() > LIVE_LIMIT;
        for member in batch.members {
            match self.slots.get_mut(&member.id) {
                Some(Slot::Live(live)) => {
                    if live.pending.is_empty() {
                        if crowded || live.run.is_settled() {
                            self.slots.remove(&member.id);
                        } else {
                            live.status = Status::Idle;
                        }
                    } else if self.stopping.is_some() && live.pending.iter().all(Pending::is_stored) {
                        // Flows that cause each other never come to an end; the next start goes on from here.
                        self.slots.remove(&member.id);
                    } else if live.status == Status::InBatch {
                        live.status = Status::Ready;
                        self.ready.push(&member.tenant, Work::Step(member.id));
                    }
                }
                Some(Slot::Loading { .. }) => {
                    let _ = self.links.load.send((member.tenant, member.id));
                }
                None => {}
            }
        }
    }

    /// Takes a batch apart that was not written: what it was about is read again and built again.
    fn refused(&mut self, batch: Submitted, error: CommitError) {
        self.batch_is_back();
        if matches!(error, CommitError::Fenced) {
            tracing::error!("this process no longer owns its shards: it writes nothing any more");
            self.give_up();
            return;
        }
        tracing::warn!(%error, "a batch is built again");
        let mut known: HashMap<(Tenant, String, String), RequestIdRow> = HashMap::new();
        let mut bad: Vec<Id> = Vec::new();
        let mut reason = String::new();
        let (mut exists, mut differs): (Vec<Id>, Vec<Id>) = (Vec::new(), Vec::new());
        // Nobody was parked by this batch: the next sweep brings their rows again.
        self.unknown.clear();
        match error {
            CommitError::RequestIds(rows) => {
                known.extend(
                    rows.into_iter().map(|row| ((row.tenant.clone(), row.method.clone(), row.request_id.clone()), row)),
                );
            }
            CommitError::Data { executions, reason: why } => (bad, reason) = (executions, why),
            CommitError::Exists { executions } => exists = executions,
            CommitError::Conflict { executions } => differs = executions,
            _ => {}
        }
        // What cannot be stored is its cause's concern: built again, the cause would make it again. Causes stand before.
        for member in batch.members.iter().rev() {
            if let Some(cause) = member.create.as_ref().and_then(|work| work.cause)
                && bad.contains(&member.id)
                && !bad.contains(&cause)
            {
                bad.push(cause);
            }
        }
        for member in batch.members {
            let mut waiting = match self.slots.remove(&member.id) {
                Some(Slot::Live(live)) => live.pending.into_iter().collect(),
                Some(Slot::Loading { pending, .. }) => pending,
                None => Vec::new(),
            };
            let is_bad = bad.contains(&member.id);
            match member.create {
                Some(work) if work.cause.is_some() => {
                    if exists.contains(&member.id) {
                        self.existing.insert(member.id);
                    }
                }
                Some(work) if is_bad => {
                    if let Some(reply) = work.reply {
                        let message = "the execution cannot be stored: the database refuses its data";
                        let _ = reply.send(Err(Error::new(ErrorKind::InvalidArgument, "INVALID_ARGUMENT", message)));
                    }
                }
                Some(work) if exists.contains(&member.id) => {
                    // Only a commit whose outcome was unknown can have made it: the creator is answered as usual.
                    if let (Some(reply), Some(execution)) = (work.reply, member.as_created) {
                        let _ = reply.send(Ok(CreatedExecution { execution: *execution, replayed: false }));
                    }
                    self.deliver(member.tenant, member.id, Pending::new(Event::Advance));
                }
                Some(work) if differs.contains(&member.id) => {
                    if let Some(reply) = work.reply {
                        let _ = reply.send(Err(unavailable("the execution could not be stored; try again")));
                    }
                }
                Some(work) => {
                    let stored = work.request.request.as_ref().and_then(|key| {
                        known.get(&(work.request.tenant.clone(), key.method.to_owned(), key.request_id.clone()))
                    });
                    match stored {
                        Some(row) => answer_replayed(*work, row),
                        None => self.ready.push(&member.tenant, Work::Create(work)),
                    }
                }
                None => {
                    let mut pending: Vec<Pending> = member.applied;
                    pending.append(&mut waiting);
                    if is_bad {
                        self.set_aside(member.tenant, member.id, reason.clone(), pending);
                        continue;
                    }
                    if differs.contains(&member.id) {
                        // The row may be what is gone. If it is not, the sweep brings it again.
                        pending.retain(|pending| pending.inbox.is_none());
                    }
                    if pending.is_empty() {
                        pending.push(Pending::new(Event::Advance));
                    }
                    self.slots.insert(member.id, Slot::Loading { tenant: member.tenant.clone(), pending });
                    let _ = self.links.load.send((member.tenant, member.id));
                }
            }
        }
    }

    /// Forgets everything; whoever waits for an answer is told by that.
    fn give_up(&mut self) {
        self.lost = true;
        self.ready = FairQueue::default();
        self.open = OpenBatch::default();
        self.deferred.clear();
        self.slots.clear();
        self.existing.clear();
        self.careful.clear();
    }
}

/// The first answer to a request id is given again, or the clash is told. The handle reads the execution itself.
fn answer_replayed(work: CreateWork, row: &RequestIdRow) {
    let Some(reply) = work.reply else { return };
    let same = work.request.request.as_ref().is_some_and(|key| key.content == row.content);
    let answer = match row.result.parse::<Id>() {
        Ok(id) if same => {
            let new = windhover_engine::NewExecution { id, ..work.request.new };
            let execution = new_execution(&work.request.tenant, &new, id.time());
            Ok(CreatedExecution { execution, replayed: true })
        }
        _ => Err(Error::new(
            ErrorKind::AlreadyExists,
            "REQUEST_ID_REUSED",
            "the request id was used before with other content",
        )
        .with("request_id", &row.request_id)),
    };
    let _ = reply.send(answer);
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
