//! Batches that come back: committed, or taken apart to be built again.

use super::*;

impl Core {
    pub(super) fn batch_is_back(&mut self) {
        self.committing = false;
        self.in_flight.clear();
        for work in std::mem::take(&mut self.deferred) {
            let tenant = work.request.tenant.clone();
            self.ready.push(&tenant, Work::Create(Box::new(work)));
        }
    }

    pub(super) fn committed(&mut self, batch: Submitted) {
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
    pub(super) fn refused(&mut self, batch: Submitted, error: CommitError) {
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
    pub(super) fn give_up(&mut self) {
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
