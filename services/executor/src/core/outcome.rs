//! Batches that come back: committed, or taken apart to be built again.

use super::{
    shards::{send_member_on, send_on},
    *,
};
use crate::flows::Name;

impl Core {
    pub(super) fn batch_is_back(&mut self) {
        self.committing = false;
        self.returned += 1;
        self.tell_leaving();
        for work in std::mem::take(&mut self.deferred) {
            let tenant = work.request.tenant.clone();
            self.ready.push(&tenant, Work::Create(Box::new(work)));
        }
        for (tenant, id) in std::mem::take(&mut self.deferred_steps) {
            self.ready.push(&tenant, Work::Step(id));
        }
    }

    pub(super) fn committed(&mut self, batch: Submitted) {
        let now = Instant::now();
        for row in self.in_flight.drain() {
            self.done.add(row, now);
        }
        self.batch_is_back();
        self.slots_committed(batch.slots);
        let crowded = self.slots.len() > LIVE_LIMIT;
        for member in batch.members {
            if !self.owns_shard(member.shard) {
                self.forget(member.id);
                continue;
            }
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

    /// What is left of an execution whose shard is somebody else's.
    fn forget(&mut self, id: Id) {
        match self.slots.remove(&id) {
            Some(Slot::Live(live)) => live.pending.into_iter().for_each(Pending::send_on),
            Some(Slot::Loading { pending, .. }) => pending.into_iter().for_each(Pending::send_on),
            None => {}
        }
    }

    /// Takes a batch apart that was not written: what it was about is read again and built again. `moved`: flows that
    /// were changed elsewhere.
    pub(super) fn refused(&mut self, batch: Submitted, error: CommitError, moved: &HashSet<(Tenant, Name)>) {
        self.in_flight.clear();
        self.batch_is_back();
        if matches!(error, CommitError::Fenced) {
            tracing::error!("this process no longer owns its shards: it writes nothing any more under this name");
            batch.members.into_iter().for_each(send_member_on);
            self.give_up();
            return;
        }
        tracing::warn!(%error, "a batch is built again");
        self.slots_refused(batch.slots, matches!(error, CommitError::Conflict { .. }));
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
        for mut member in batch.members {
            if !self.owns_shard(member.shard) && !member.is_foreign {
                self.forget(member.id);
                send_member_on(member);
                continue;
            }
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
                Some(work) if moved.contains(&(member.tenant.clone(), name_of(&work))) => {
                    if let Some(reply) = work.reply {
                        let _ = reply.send(Err(flow_moved()));
                    }
                }
                Some(work) => {
                    let stored = work.request.request.as_ref().and_then(|key| {
                        known.get(&(work.request.tenant.clone(), key.method.to_owned(), key.request_id.clone()))
                    });
                    match stored {
                        Some(row) => answer_replayed(*work, row),
                        None if !self.owns_shard(member.shard) => send_on(*work),
                        None => self.ready.push(&member.tenant, Work::Create(work)),
                    }
                }
                None => {
                    for pending in &mut member.applied {
                        answer_again(pending, &member.tenant, member.id, &known);
                    }
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
}

/// An action that was done before is not done again: its row goes, and whoever waits is told of the first outcome.
fn answer_again(
    pending: &mut Pending,
    tenant: &Tenant,
    execution: Id,
    known: &HashMap<(Tenant, String, String), RequestIdRow>,
) {
    let Some(key) = &pending.action else { return };
    let Some(row) = known.get(&(tenant.clone(), key.method.clone().into_owned(), key.request_id.clone())) else {
        return;
    };
    answer(pending.waiter.take(), act::answered(row, &key.content, execution));
    pending.event = Event::Advance;
    pending.action = None;
}

fn name_of(work: &CreateWork) -> Name {
    (work.request.new.namespace.clone(), work.request.new.flow_id.clone())
}

/// The request was made out for a revision that is no longer the newest; whoever asks again gets the new one.
pub(crate) fn flow_moved() -> Error {
    Error::new(ErrorKind::Unavailable, "FLOW_MOVED", "the flow was changed at this very moment; try again")
        .retry_after(Duration::from_millis(100))
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
        _ => Err(act::reused(&row.request_id)),
    };
    let _ = reply.send(answer);
}
