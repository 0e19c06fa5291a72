//! Shards that come to this process and go to others.

use super::*;

impl Core {
    pub(super) fn owns(&self, tenant: &Tenant, id: Id) -> bool {
        self.owns_shard(shard_of(tenant, id, self.shards))
    }

    pub(super) fn owns_shard(&self, shard: u16) -> bool {
        self.owned.get(usize::from(shard)).copied().unwrap_or(false)
    }

    pub(super) fn take_shards(&mut self, shards: &[u16]) {
        self.set_owned(shards, true);
    }

    /// Forgets what it knows of these shards. What is in a batch stays until that is back; then `done` is told, and
    /// nothing of these shards is written by this process any more.
    pub(super) fn leave_shards(&mut self, shards: &[u16], done: oneshot::Sender<()>) {
        self.set_owned(shards, false);
        let mut moved = Vec::new();
        let (owned, count) = (&self.owned, self.shards);
        let stays = |shard: u16| owned.get(usize::from(shard)).copied().unwrap_or(false);
        self.slots.retain(|id, slot| match slot {
            Slot::Live(live) if stays(live.shard) => true,
            Slot::Live(live) => {
                moved.extend(live.pending.drain(..));
                live.status == Status::InBatch
            }
            Slot::Loading { tenant, pending } => {
                let stays = stays(shard_of(tenant, *id, count));
                if !stays {
                    moved.append(pending);
                }
                stays
            }
        });
        moved.into_iter().for_each(Pending::send_on);
        self.forget_slots();
        let batches = self.submitted + u64::from(!self.open.is_empty());
        self.leaving.push((batches, done));
        self.tell_leaving();
    }

    /// Whoever waits for batches to be back, and they are.
    pub(super) fn tell_leaving(&mut self) {
        let returned = self.returned;
        for (_, done) in self.leaving.extract_if(.., |(batches, _)| *batches <= returned) {
            let _ = done.send(());
        }
    }

    /// Forgets everything: another process has the shards. Whoever waits for an answer asks there.
    pub(super) fn give_up(&mut self) {
        self.lost = self.membership == Membership::Exclusive;
        self.owned.fill(false);
        for work in self.ready.drain() {
            if let Work::Create(work) = work {
                send_on(*work);
            }
        }
        std::mem::take(&mut self.deferred).into_iter().for_each(send_on);
        std::mem::take(&mut self.open).members.into_iter().for_each(send_member_on);
        for slot in std::mem::take(&mut self.slots).into_values() {
            match slot {
                Slot::Live(live) => live.pending.into_iter().for_each(Pending::send_on),
                Slot::Loading { pending, .. } => pending.into_iter().for_each(Pending::send_on),
            }
        }
        self.deferred_steps.clear();
        self.flow_slots.clear();
        self.ready_slots.clear();
        self.existing.clear();
        self.careful.clear();
        self.unknown.clear();
        self.done = RecentIds::default();
        // The open batch will never be back; one that was handed over will.
        for (batches, _) in &mut self.leaving {
            *batches = (*batches).min(self.submitted);
        }
        self.tell_leaving();
    }

    fn set_owned(&mut self, shards: &[u16], owned: bool) {
        for shard in shards {
            if let Some(flag) = self.owned.get_mut(usize::from(*shard)) {
                *flag = owned;
            }
        }
    }
}

/// The creator asks the owner, with the same id.
pub(super) fn send_on(work: CreateWork) {
    if let Some(reply) = work.reply {
        let _ = reply.send(Err(shard_moved()));
    }
}

/// Everybody who waits for this part of a batch asks the owner.
pub(super) fn send_member_on(member: Member) {
    if let Some(work) = member.create {
        send_on(*work);
    }
    member.applied.into_iter().for_each(Pending::send_on);
}

/// The handle sends it on to the owner; with a single process nobody else is there.
pub(crate) fn shard_moved() -> Error {
    Error::new(ErrorKind::Unavailable, SHARD_MOVED, "the execution belongs to another process now; try again")
        .retry_after(Duration::from_secs(1))
}

pub(crate) const SHARD_MOVED: &str = "SHARD_MOVED";
