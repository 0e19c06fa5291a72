//! Reading what shards tell everybody.
//!
//! Numbers of a shard are given in the transaction that holds the shard's row, so a reader that has seen a number has
//! seen all before it.

use std::collections::HashMap;

use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use windhover_types::{Tenant, Timestamp};

use crate::{
    FeedRow, Store,
    bulk::{int, time},
    entity::{feed, shards},
    error::Result,
    rows::{check_format, number, parse},
};

impl Store {
    /// What a shard has told after that number, in order; of all tenants: for alerts, shippers and flow triggers.
    pub async fn feed(&self, shard: u16, after: i64, limit: u64) -> Result<Vec<FeedRow>> {
        self.read_feed(None, shard, after, limit).await
    }

    /// The same of one tenant: for those who follow its executions. Numbers that hold nothing of it are left out.
    pub async fn tenant_feed(&self, tenant: &Tenant, shard: u16, after: i64, limit: u64) -> Result<Vec<FeedRow>> {
        self.read_feed(Some(tenant), shard, after, limit).await
    }

    async fn read_feed(&self, tenant: Option<&Tenant>, shard: u16, after: i64, limit: u64) -> Result<Vec<FeedRow>> {
        let mut query = feed::Entity::find()
            .filter(feed::Column::Shard.eq(shard as i16))
            .filter(feed::Column::Seq.gt(after))
            .order_by_asc(feed::Column::Seq)
            .order_by_asc(feed::Column::Tenant)
            .limit(limit);
        if let Some(tenant) = tenant {
            query = query.filter(feed::Column::Tenant.eq(tenant.as_str()));
        }
        let row = |row: feed::Model| {
            check_format("feed row", row.format)?;
            Ok(FeedRow {
                shard: number("feed row", row.shard)?,
                seq: row.seq,
                tenant: Tenant::trusted(&row.tenant),
                at: Timestamp::from_micros(row.at),
                entries: parse("feed row", &row.entries)?,
            })
        };
        query.all(self.read()).await?.into_iter().map(row).collect()
    }

    /// The last number of each of these shards; 0 where nothing was told yet.
    pub async fn feed_positions(&self, of: &[u16]) -> Result<HashMap<u16, i64>> {
        let wanted = of.iter().map(|shard| *shard as i16);
        let rows = shards::Entity::find().filter(shards::Column::Shard.is_in(wanted)).all(self.read()).await?;
        rows.into_iter().map(|row| Ok((number("shard", row.shard)?, row.last_seq))).collect()
    }

    /// The last number of a shard; 0 when nothing was told yet.
    pub async fn last_feed_seq(&self, shard: u16) -> Result<i64> {
        Ok(shards::Entity::find_by_id(shard as i16).one(self.read()).await?.map_or(0, |row| row.last_seq))
    }

    /// Forgets at most `limit` rows of a shard that were told before `before`, oldest first; tells how many.
    pub async fn purge_feed(&self, shard: u16, before: Timestamp, limit: u64) -> Result<u64> {
        let sql = "DELETE FROM feed WHERE (shard, seq, tenant) IN (SELECT shard, seq, tenant FROM \
                   (SELECT shard, seq, tenant, at FROM feed WHERE shard = $1 ORDER BY seq LIMIT $2) AS oldest WHERE at < $3)";
        let values = [int(shard), int(limit as i64), time(before)];
        Ok(self.write().execute_raw(self.statement(sql, values)).await?.rows_affected())
    }
}
