//! Slots of flows that limit how many of their executions are under way: kept by the owner of the flow's shard, who is
//! asked and answers by the inbox, so that it does not matter whose the executions are.

use std::borrow::Cow;

use windhover_engine::{SlotAnswer, Slots};
use windhover_store::{SlotAsk, SlotKey, SlotRow};

use super::*;
use crate::{
    batch::{FlowAsks, FlowName},
    effects,
};

/// What one execution asks of a flow's slots, in an inbox row.
pub(crate) struct Asked {
    pub(crate) row: Id,
    pub(crate) execution: Id,
    pub(crate) ask: SlotAsk,
}

/// The slots of one flow, as far as this process knows them.
pub(super) enum FlowSlots {
    /// They are being read; these asks wait for them.
    Loading(Vec<Asked>),
    Known {
        slots: Slots,
        /// What was asked while a batch holds the last change.
        asks: Vec<Asked>,
        in_batch: bool,
    },
}

/// Where a flow's slots are kept.
pub(crate) fn shard_of_flow(tenant: &Tenant, namespace: &str, flow_id: &str, shards: u16) -> u16 {
    let key = Id::derived(Timestamp::from_micros(0), &[b"slots", namespace.as_bytes(), flow_id.as_bytes()]);
    shard_of(tenant, key, shards)
}

impl Core {
    pub(super) fn asked(&mut self, name: FlowName, asked: Asked) {
        let is_known = |asks: &[Asked]| asks.iter().any(|other| other.row == asked.row);
        match self.flow_slots.get_mut(&name) {
            None => {
                self.flow_slots.insert(name.clone(), FlowSlots::Loading(vec![asked]));
                let _ = self.links.slots.send(name);
            }
            Some(FlowSlots::Loading(asks) | FlowSlots::Known { asks, in_batch: true, .. }) => {
                if !is_known(asks) {
                    asks.push(asked);
                }
            }
            Some(FlowSlots::Known { asks, in_batch: false, .. }) => {
                if !is_known(asks) {
                    asks.push(asked);
                    self.ready_slots.push_back(name);
                }
            }
        }
    }

    pub(super) fn slots_loaded(&mut self, name: FlowName, rows: Vec<SlotRow>) {
        let Some(FlowSlots::Loading(asks)) = self.flow_slots.remove(&name) else { return };
        let shard = shard_of_flow(&name.0, &name.1, &name.2, self.shards);
        if !self.owns_shard(shard) {
            return;
        }
        let (holders, waiting): (Vec<SlotRow>, Vec<SlotRow>) = rows.into_iter().partition(|row| row.holds);
        let slots = Slots::of(
            holders.into_iter().map(|row| row.key.execution),
            waiting.into_iter().map(|row| (row.key.execution, row.since)),
        );
        self.flow_slots.insert(name.clone(), FlowSlots::Known { slots, asks, in_batch: false });
        self.ready_slots.push_back(name);
    }

    /// Answers what was asked of the flows that are ready, into the open batch.
    pub(super) fn answer_slots(&mut self) {
        while !self.open.is_full()
            && let Some(name) = self.ready_slots.pop_front()
        {
            let Some(FlowSlots::Known { slots, asks, in_batch: in_batch @ false }) = self.flow_slots.get_mut(&name)
            else {
                continue;
            };
            if asks.is_empty() {
                continue;
            }
            let asks = std::mem::take(asks);
            *in_batch = true;
            let (tenant, namespace, flow_id) = &name;
            let newest = self.flows.cached(tenant, namespace, flow_id, None);
            let limit = newest.as_ref().and_then(|flow| flow.flow.as_ref().ok()?.concurrency).map(|most| most.limit);
            let keeper = Keeper {
                name: &name,
                shard: shard_of_flow(tenant, namespace, flow_id, self.shards),
                shards: self.shards,
                now: clock::now(),
            };
            for Asked { row, execution, ask } in &asks {
                match ask {
                    SlotAsk::Take { limit, behavior, at } => {
                        if let Some(answer) = slots.take(*execution, *at, *limit, *behavior) {
                            keeper.answer(&mut self.open, *row, *execution, answer, *at);
                        }
                    }
                    SlotAsk::GiveBack => {
                        keeper.clear(&mut self.open, *execution);
                        for next in slots.give_back(*execution, limit) {
                            keeper.answer(&mut self.open, *row, next, SlotAnswer::Granted, keeper.now);
                        }
                    }
                }
                let key = InboxKey { tenant: tenant.clone(), id: *row, execution: *execution };
                self.open.batch.inbox_done.push(key);
            }
            let shard = keeper.shard;
            self.open.slots.push(FlowAsks { name, shard, asks });
        }
    }

    /// The batch that held them is committed.
    pub(super) fn slots_committed(&mut self, asked: Vec<FlowAsks>) {
        for FlowAsks { name, shard, .. } in asked {
            let Some(FlowSlots::Known { slots, asks, .. }) = self.flow_slots.remove(&name) else { continue };
            if self.owns_shard(shard) && !(asks.is_empty() && slots.is_empty()) {
                self.flow_slots.insert(name.clone(), FlowSlots::Known { slots, asks, in_batch: false });
                self.ready_slots.push_back(name);
            }
        }
    }

    /// Nothing of it was written: what is stored counts, and is asked once more. `rows_differ`: a row may be gone; the
    /// sweep brings those that are not.
    pub(super) fn slots_refused(&mut self, asked: Vec<FlowAsks>, rows_differ: bool) {
        for FlowAsks { name, shard, mut asks } in asked {
            let known = self.flow_slots.remove(&name);
            if !self.owns_shard(shard) {
                continue;
            }
            if rows_differ {
                asks.clear();
            }
            if let Some(FlowSlots::Known { asks: more, .. } | FlowSlots::Loading(more)) = known {
                asks.extend(more);
            }
            if !asks.is_empty() {
                self.flow_slots.insert(name.clone(), FlowSlots::Loading(asks));
                let _ = self.links.slots.send(name);
            }
        }
    }

    pub(super) fn forget_slots(&mut self) {
        let (owned, shards) = (&self.owned, self.shards);
        self.flow_slots.retain(|(tenant, namespace, flow_id), _| {
            let shard = shard_of_flow(tenant, namespace, flow_id, shards);
            owned.get(usize::from(shard)).copied().unwrap_or(false)
        });
    }
}

/// Writes what becomes of one flow's slots.
struct Keeper<'a> {
    name: &'a FlowName,
    shard: u16,
    shards: u16,
    now: Timestamp,
}

impl Keeper<'_> {
    fn key(&self, execution: Id) -> SlotKey {
        let (tenant, namespace, flow_id) = self.name;
        SlotKey { tenant: tenant.clone(), namespace: namespace.clone(), flow_id: flow_id.clone(), execution }
    }

    /// `row`: of the ask that has led to it.
    fn answer(&self, open: &mut OpenBatch, row: Id, execution: Id, answer: SlotAnswer, since: Timestamp) {
        if answer != SlotAnswer::Refused {
            let (key, holds) = (self.key(execution), answer == SlotAnswer::Granted);
            open.batch.slots_set.retain(|row| row.key != key);
            open.batch.slots_set.push(SlotRow { key, shard: self.shard, holds, since });
        }
        let id = Id::derived(row.time(), &[b"slot", row.as_bytes(), execution.as_bytes()]);
        let to = shard_of(&self.name.0, execution, self.shards);
        let message = InboxMessage::Event { event: Event::Slot { answer } };
        effects::send_row(open, InboxRow { id, shard: to, tenant: self.name.0.clone(), execution, message });
    }

    /// Rows are cleared before others are set: one that this very batch sets must not be set.
    fn clear(&self, open: &mut OpenBatch, execution: Id) {
        let key = self.key(execution);
        open.batch.slots_set.retain(|row| row.key != key);
        open.batch.slots_cleared.push(key);
    }
}

/// The inbox row by which an execution asks the owner of its flow's slots.
pub(crate) fn ask_row(execution: &windhover_engine::Execution, ask: SlotAsk, now: Timestamp, shards: u16) -> InboxRow {
    let what: Cow<'_, [u8]> = match &ask {
        SlotAsk::Take { .. } => Cow::Borrowed(b"take"),
        SlotAsk::GiveBack => Cow::Borrowed(b"give back"),
    };
    InboxRow {
        id: Id::derived(now, &[b"slot", what.as_ref(), execution.id.as_bytes()]),
        shard: shard_of_flow(&execution.tenant, &execution.namespace, &execution.flow_id, shards),
        tenant: execution.tenant.clone(),
        execution: execution.id,
        message: InboxMessage::Slot { namespace: execution.namespace.clone(), flow_id: execution.flow_id.clone(), ask },
    }
}
