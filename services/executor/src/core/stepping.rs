//! What is ready is stepped and added to the open batch.

use std::borrow::Cow;

use windhover_engine::{JobResult, LogLine};
use windhover_types::{Level, State};

use super::*;
use crate::{batch::RequestName, effects, triggers};

/// An attempt that has lost so many holders is not handed to another one.
const MOST_LOSSES: u32 = 3;

impl Core {
    /// Steps some of what is ready, in turn over the tenants: few enough that a finished commit is soon noticed.
    pub(super) fn step_some(&mut self) {
        let now = Instant::now();
        self.ready.arrange(self.committing, !self.open.is_empty(), now);
        for _ in 0..SLICE {
            if self.open.is_full() {
                return;
            }
            match self.ready.pop(now) {
                Some(Work::Create(work)) => self.create(*work),
                Some(Work::Step(id)) => self.step_live(id),
                None => return,
            }
        }
    }

    pub(super) fn create(&mut self, work: CreateWork) {
        let CreateRequest { tenant, new, request } = &work.request;
        let (id, is_derived) = (new.id, work.cause.is_some());
        let shard = shard_of(tenant, id, self.shards);
        let is_foreign = !self.owns_shard(shard);
        if is_foreign && !is_derived {
            shards::send_on(work);
            return;
        }
        if let Some(key) = request
            && self.open.requests.contains_key(&(tenant.clone(), key.method.into(), key.request_id.clone()))
        {
            // Its twin is in this very batch; once that is committed the store tells which one counts.
            self.deferred.push(work);
            return;
        }
        if is_derived && self.existing.remove(&id) {
            if is_foreign {
                return;
            }
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
        let tenant = tenant.clone();
        self.note_flow_version(&tenant);
        let CreateRequest { new, request, .. } = &work.request;
        let now = clock::now();
        let mut execution = new_execution(&tenant, new, now);
        execution.version = 1;
        self.open.bytes += size::of_new(&execution);
        if let Some(key) = request {
            self.open.add_request(act::creation_row(&tenant, key, id, now), key.method.into(), id);
        }
        let kept: Vec<_> = effects::kept_rows(&tenant, id, &new.task_runs).collect();
        let flow = self.flows.cached(&tenant, &new.namespace, &new.flow_id, Some(new.flow_revision));
        let member = Member {
            as_created: work.reply.is_some().then(|| Box::new(execution.clone())),
            ..Member::without_steps(tenant.clone(), id, self.shards)
        };
        let member = Member { create: Some(Box::new(work)), is_foreign, ..member };
        if is_foreign {
            // Stored in the same transaction as what caused it; its owner takes it up.
            let row = created_row(&tenant, id, shard);
            effects::send_row(&mut self.open, row);
            self.open.batch.task_runs.extend(kept);
            self.open.batch.new_executions.push(execution);
            self.open.members.push(member);
            return;
        }
        let Some(flow) = flow.filter(|_| kept.is_empty()) else {
            // Stored as it is; taken up from the store once its flow is in memory.
            let tenant = execution.tenant.clone();
            self.open.batch.task_runs.extend(kept);
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

    /// With others in the installation: what is computed now relies on the flows that are in memory now.
    fn note_flow_version(&mut self, tenant: &Tenant) {
        if self.membership == Membership::Member && !self.open.flow_versions.contains_key(tenant) {
            self.open.flow_versions.insert(tenant.clone(), self.flows.version(tenant));
        }
    }

    /// What a namespace gives to its flows may have changed since the last step. The tasks stay the same ones.
    fn renew_flow(&self, live: &mut Live) {
        let epoch = self.flows.epoch();
        if live.epoch != epoch {
            live.epoch = epoch;
            let of = &live.flow;
            if let Some(flow) = self.flows.cached(&of.tenant, &of.namespace, &of.id, Some(of.revision)) {
                live.flow = flow;
            }
        }
    }

    pub(super) fn step_live(&mut self, id: Id) {
        match self.slots.remove(&id) {
            Some(Slot::Live(live)) if live.status == Status::Ready => self.step_into_batch(live, None, clock::now()),
            Some(other) => {
                self.slots.insert(id, other);
            }
            None => {}
        }
    }

    /// Applies what waits to one execution and adds the outcome to the open batch.
    pub(super) fn step_into_batch(&mut self, mut live: Box<Live>, member: Option<Member>, now: Timestamp) {
        let id = live.run.execution.id;
        let tenant = live.run.execution.tenant.clone();
        let is_new = member.is_some();
        self.renew_flow(&mut live);
        self.note_flow_version(&tenant);
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
        let missing = match triggers::need_cipher(&live, &self.flows) {
            true => self.look_up(&tenant, &mut live, vec![Fact::Cipher]),
            false => Vec::new(),
        };
        let lacks_cipher = !missing.is_empty();
        if lacks_cipher {
            let _ = self.links.facts.send(FactRequest { tenant: tenant.clone(), execution: id, facts: missing });
            if !is_new {
                live.status = Status::Waiting;
                self.slots.insert(id, Slot::Live(live));
                return;
            }
        }
        let careful = self.careful.contains(&id);
        let (mut timers, mut inbox, mut requests) = (Vec::new(), Vec::new(), Vec::new());
        // A new one is stored meanwhile as it was created.
        let mut waiting = lacks_cipher;
        let mut is_deferred = false;
        while !waiting {
            // The rest comes into the next batch.
            let enough = careful || self.open.bytes + collector.bytes() >= BATCH_BYTES;
            if enough && !member.applied.is_empty() {
                break;
            }
            let Some(mut pending) = live.pending.pop_front() else { break };
            if let Some(sent) = &pending.lines {
                if let Some((lines, taken)) = live.take_lines(sent) {
                    collector.add_lines(sent.task_run, sent.dispatch, lines, taken);
                }
                member.applied.push(pending);
                continue;
            }
            if let Some(name) = pending.action.as_ref().map(|key| request_name(&tenant, key))
                && self.open.requests.contains_key(&name)
            {
                // Its twin is in this very batch; once that is committed the store tells what came of it.
                live.pending.push_front(pending);
                is_deferred = true;
                break;
            }
            let had_ended = live.run.execution.is_ended();
            let poison = poison(&live, &pending, now);
            let outcome = self.step_once(&mut live, poison.as_ref().unwrap_or(&pending.event), now);
            live.is_partial &= !live.facts.contains_key(&everything);
            let outcome = match outcome {
                Ok(Step::Needs(facts)) if facts.iter().all(|fact| live.facts.contains_key(fact)) => {
                    Err("the engine asks again for facts that it was told".to_owned())
                }
                outcome => outcome,
            };
            match outcome {
                Ok(Step::Done(output)) => {
                    if let Event::JobStarted { task_run, dispatch, worker, .. } = &pending.event
                        && live.awaits(*task_run, *dispatch)
                    {
                        collector.note_holder(*task_run, *dispatch, worker);
                    }
                    if let Event::TimerFired { timer } = &pending.event {
                        let (tenant, timer) = (tenant.clone(), timer.clone());
                        timers.push(TimerKey { tenant, execution: id, timer });
                    }
                    inbox.extend(inbox_key(&tenant, id, &pending));
                    let more = output.more;
                    if output.is_empty() && !more && pending.is_bare() && !is_new {
                        // Nothing was due: most executions of shards that have come from elsewhere.
                        continue;
                    }
                    pending.acted = Acted::of(&pending.event, had_ended, output.refused.clone());
                    if let Some(key) = &pending.action {
                        requests.push((
                            act::row(&tenant, key, &Stored::Acted(pending.acted.clone()), now),
                            key.method.clone(),
                        ));
                    }
                    collector.add(output, &live, if poison.is_some() { 0 } else { pending.losses });
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
                    if pending.action.is_none() {
                        self.open.batch.inbox_done.extend(inbox_key(&tenant, id, &pending));
                    }
                    if is_new {
                        // As it was before the step that broke, where that is known.
                        let row = member.as_created.as_deref().unwrap_or(&live.run.execution).clone();
                        self.open.batch.new_executions.push(row);
                    }
                    for mut pending in std::iter::once(pending).chain(live.pending.drain(..)) {
                        answer(pending.waiter.take(), Err(parked(&reason)));
                        self.store_failure(&tenant, id, &pending, Failed::Parked { reason: reason.clone() });
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
        for (row, method) in requests {
            self.open.add_request(row, method, id);
        }
        // Flow triggers seal and open too.
        live.facts.retain(|_, known| waiting || matches!(known, FactValue::Cipher(Ok(_))));
        let touched = is_new || !member.applied.is_empty();
        if is_deferred && !touched {
            live.status = Status::Ready;
            self.deferred_steps.push((tenant, id));
            self.slots.insert(id, Slot::Live(live));
            return;
        }
        if !touched {
            if !waiting && live.pending.is_empty() && (live.run.is_settled() || self.slots.len() > LIVE_LIMIT) {
                return;
            }
            live.status = if waiting { Status::Waiting } else { Status::Idle };
            self.slots.insert(id, Slot::Live(live));
            return;
        }
        self.add_to_batch(live, member, collector, now);
    }

    /// Adds what came of the steps of one execution to the open batch, with the executions that it causes.
    pub(super) fn add_to_batch(
        &mut self,
        mut live: Box<Live>,
        mut member: Member,
        collector: Collector,
        now: Timestamp,
    ) {
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

    pub(super) fn step_once(&self, live: &mut Live, event: &Event, now: Timestamp) -> Result<Step, String> {
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
    pub(super) fn look_up(&self, tenant: &Tenant, live: &mut Live, facts: Vec<Fact>) -> Vec<Fact> {
        facts
            .into_iter()
            .filter(|fact| {
                let known = match fact {
                    Fact::Flow { namespace, flow_id, revision } => {
                        let found = self.flows.cached(tenant, namespace, flow_id, *revision);
                        found.map(|found| FactValue::Flow(Some(found.as_found())))
                    }
                    Fact::Cipher => self.links.secrets.known_cipher(tenant).map(|cipher| FactValue::Cipher(Ok(cipher))),
                    _ => None,
                };
                let Some(known) = known else { return true };
                live.facts.insert(fact.clone(), known);
                false
            })
            .collect()
    }
}

/// The event that takes the place of a loss, once the attempt has cost so many workers: it fails, and says why.
fn poison(live: &Live, pending: &Pending, now: Timestamp) -> Option<Event> {
    let Event::JobLost { task_run, dispatch } = pending.event else { return None };
    if pending.losses < MOST_LOSSES {
        return None;
    }
    let run = live.run.task_run(task_run)?;
    let error =
        format!("the worker died {} times while it held this attempt; it is not handed to another one", pending.losses);
    let line = LogLine {
        at: now,
        level: Level::Error,
        message: error.clone(),
        task_id: Some(run.task_id.clone()),
        task_run_id: Some(task_run),
        attempt: u32::try_from(run.attempts.len()).ok().map(|attempts| attempts.saturating_sub(1)),
    };
    tracing::warn!(
        tenant = %live.run.execution.tenant,
        execution = %live.run.execution.id,
        task = run.task_id,
        losses = pending.losses,
        "an attempt fails: it has cost too many workers"
    );
    let result = JobResult { error: Some(error), logs: vec![line], ..JobResult::bare(now, State::Failed) };
    Some(Event::JobEnded { task_run, dispatch, result: Box::new(result) })
}

fn request_name(tenant: &Tenant, key: &ActionKey) -> RequestName {
    (tenant.clone(), Cow::clone(&key.method), key.request_id.clone())
}

/// What tells the owner of another shard of an execution that was made for it.
pub(crate) fn created_row(tenant: &Tenant, id: Id, shard: u16) -> InboxRow {
    let row = Id::derived(id.time(), &[b"created", id.as_bytes()]);
    InboxRow { id: row, shard, tenant: tenant.clone(), execution: id, message: InboxMessage::Created }
}
