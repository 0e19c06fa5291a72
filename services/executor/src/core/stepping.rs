//! What is ready is stepped and added to the open batch.

use super::*;

impl Core {
    /// Steps some of what is ready, in turn over the tenants: few enough that a finished commit is soon noticed.
    pub(super) fn step_some(&mut self) {
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

    pub(super) fn create(&mut self, work: CreateWork) {
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
}
