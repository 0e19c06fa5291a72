//! Who holds the slots of flows that limit their executions, and who waits for one.
//!
//! The owner of the flow's shard decides, and writes its decisions with its batches: nothing here is checked but by
//! its fence.

use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder};
use windhover_types::{Id, Tenant, Timestamp};

use crate::{
    Store,
    bulk::{
        Bulk,
        Kind::{Bool, Bytes, Int, Text},
    },
    entity::flow_slots,
    error::Result,
    rows::{number, parse_id},
};

/// An execution that holds a slot of its flow or waits for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotRow {
    pub key: SlotKey,
    /// Of the flow: `shard_of` its name, not the execution's.
    pub shard: u16,
    /// Else it waits.
    pub holds: bool,
    pub since: Timestamp,
}

/// Which execution of which flow.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotKey {
    pub tenant: Tenant,
    pub namespace: String,
    pub flow_id: String,
    pub execution: Id,
}

pub(crate) static UPSERT_SLOTS: Bulk = Bulk::new(
    &[
        ("tenant", Text),
        ("namespace", Text),
        ("flow_id", Text),
        ("execution", Bytes),
        ("shard", Int),
        ("holds", Bool),
        ("since", Int),
    ],
    "INSERT INTO flow_slots ({columns}) SELECT {columns} FROM u WHERE true \
     ON CONFLICT (tenant, namespace, flow_id, execution) DO UPDATE SET shard = excluded.shard, \
     holds = excluded.holds, since = excluded.since",
);

pub(crate) static DELETE_SLOTS: Bulk = Bulk::new(
    &[("tenant", Text), ("namespace", Text), ("flow_id", Text), ("execution", Bytes)],
    "DELETE FROM flow_slots WHERE (tenant, namespace, flow_id, execution) IN (SELECT {columns} FROM u)",
);

impl Store {
    /// Slots of all flows of these shards, by flow and by how long they have waited: what an owner takes into memory.
    pub async fn flow_slots(&self, shards: &[u16]) -> Result<Vec<SlotRow>> {
        let of = flow_slots::Column::Shard.is_in(shards.iter().map(|shard| *shard as i16));
        self.slots(Condition::all().add(of)).await
    }

    /// Slots of one flow, by how long they have waited.
    pub async fn slots_of_flow(&self, tenant: &Tenant, namespace: &str, flow_id: &str) -> Result<Vec<SlotRow>> {
        use flow_slots::Column;
        let of = Condition::all()
            .add(Column::Tenant.eq(tenant.as_str()))
            .add(Column::Namespace.eq(namespace))
            .add(Column::FlowId.eq(flow_id));
        self.slots(of).await
    }

    async fn slots(&self, of: Condition) -> Result<Vec<SlotRow>> {
        use flow_slots::Column;
        let mut query = flow_slots::Entity::find().filter(of);
        for column in [Column::Tenant, Column::Namespace, Column::FlowId, Column::Since, Column::Execution] {
            query = query.order_by_asc(column);
        }
        let row = |row: flow_slots::Model| {
            Ok(SlotRow {
                key: SlotKey {
                    tenant: Tenant::trusted(&row.tenant),
                    namespace: row.namespace,
                    flow_id: row.flow_id,
                    execution: parse_id("slot", &row.execution)?,
                },
                shard: number("slot", row.shard)?,
                holds: row.holds,
                since: Timestamp::from_micros(row.since),
            })
        };
        query.all(self.read()).await?.into_iter().map(row).collect()
    }
}
