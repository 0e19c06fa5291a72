//! Who has how much, and what an operator wants moved.

use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, sea_query::Expr};
use windhover_types::{Id, Timestamp};

use super::{WHAT, ownership::executors};
use crate::{
    Store,
    entity::shards,
    error::Result,
    rows::{number, parse_id},
};

/// A live executor and what it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutorShare {
    pub id: Id,
    pub host: String,
    /// It should own nothing: an operator wants it so, or it is ending.
    pub draining: bool,
    /// How many shards it owns.
    pub shards: u16,
    pub heartbeat_at: Timestamp,
}

/// A shard and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardRow {
    pub shard: u16,
    pub owner: Option<Id>,
    /// The instance that an operator wants it to have.
    pub wanted: Option<Id>,
    /// Last number of its feed.
    pub last_seq: i64,
}

impl Store {
    /// Executors that were heard of within [`super::OWNERSHIP_EXPIRY`] and have not ended, by id.
    pub async fn executors(&self) -> Result<Vec<ExecutorShare>> {
        let now = self.now().await?;
        let shards = self.list_shards().await?;
        let live = executors(self.read()).await?.into_iter().filter(|owner| owner.alive(now) && !owner.ended);
        let share = |owner: super::ownership::Owner| {
            let count = shards.iter().filter(|shard| shard.owner == Some(owner.id)).count();
            Ok(ExecutorShare {
                id: owner.id,
                shards: number("number of shards", i64::try_from(count).unwrap_or(i64::MAX))?,
                host: owner.host,
                draining: owner.draining,
                heartbeat_at: owner.heartbeat_at,
            })
        };
        live.map(share).collect()
    }

    /// All shards by number.
    pub async fn list_shards(&self) -> Result<Vec<ShardRow>> {
        let rows = shards::Entity::find().order_by_asc(shards::Column::Shard).all(self.read()).await?;
        let id = |bytes: Option<Vec<u8>>| bytes.map(|bytes| parse_id(WHAT, &bytes)).transpose();
        let row = |row: shards::Model| {
            Ok(ShardRow {
                shard: number("shard", row.shard)?,
                owner: id(row.owner)?,
                wanted: id(row.wanted)?,
                last_seq: row.last_seq,
            })
        };
        rows.into_iter().map(row).collect()
    }

    /// Whether the executor should own no shards. `false`: there is no such instance.
    pub async fn set_draining(&self, instance: Id, draining: bool) -> Result<bool> {
        let sql = "UPDATE service_instances SET draining = $2 WHERE id = $1";
        let values = [crate::bulk::id(instance), crate::bulk::boolean(draining)];
        Ok(self.write().execute_raw(self.statement(sql, values)).await?.rows_affected() > 0)
    }

    /// Which executor an operator wants the shard to have; `None`: whichever. Nothing moves by this alone: the owner
    /// gives it back, and the one that is wanted claims it. `false`: there is no such shard.
    pub async fn want_shard(&self, shard: u16, wanted: Option<Id>) -> Result<bool> {
        self.shards().await?;
        let done = shards::Entity::update_many()
            .col_expr(shards::Column::Wanted, Expr::value(wanted.map(|id| id.as_bytes().to_vec())))
            .filter(shards::Column::Shard.eq(shard as i16))
            .exec(self.write())
            .await?;
        Ok(done.rows_affected > 0)
    }
}
