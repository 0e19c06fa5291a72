//! Reading executions with the numbers that follow what they have: one statement, so that all is of one moment without
//! a transaction. An execution is looked at many times on its way, and each round trip to the database counts.

use std::sync::LazyLock;

use sea_orm::{ConnectionTrait, DbErr, FromQueryResult, QueryResult};
use windhover_types::{Id, Tenant, shard_of};

use crate::{
    Store,
    bulk::{Bulk, Kind, Rows, id, int, tenant},
    entity::executions,
    error::Result,
    rows::{self, number},
};

/// What is read of an execution. Each end is one look at the end of a key.
fn found() -> String {
    let of = |table| format!("{table} x WHERE x.tenant = executions.tenant AND x.execution = executions.id");
    let next_seq = format!("SELECT CAST(COALESCE(MAX(x.seq) + 1, 0) AS BIGINT) FROM {}", of("task_runs"));
    let next_log = format!("SELECT COALESCE(MAX(x.position) + 1, 0) FROM {}", of("logs"));
    format!("{}, ({next_seq}) AS next_seq, ({next_log}) AS next_log", executions::columns())
}

/// Columns of a statement over executions.
pub(crate) const KEY: &[(&str, Kind)] = &[("tenant", Kind::Text), ("id", Kind::Bytes)];

static BY_KEYS: Bulk = Bulk::reading(
    KEY,
    found,
    "SELECT {found} FROM u JOIN executions ON executions.tenant = u.tenant AND executions.id = u.id",
);

static BY_KEY: LazyLock<String> = LazyLock::new(|| {
    let feed_seq = "COALESCE((SELECT s.last_seq FROM shards s WHERE s.shard = $3), 0)";
    let found = found();
    format!(
        "SELECT {found}, {feed_seq} AS feed_seq FROM executions WHERE executions.tenant = $1 AND executions.id = $2"
    )
});

/// An execution as of one moment, and where in its shard's feed that moment is.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub execution: windhover_engine::Execution,
    /// `seq` of the next task run; 0: there are none.
    pub next_seq: u32,
    /// Position of the next log line.
    pub next_log: i64,
    pub parked: Option<String>,
    pub shard: u16,
    /// Whatever the feed says up to here is in the snapshot.
    pub feed_seq: i64,
}

/// A row and its ends.
pub(crate) struct WithEnds {
    pub(crate) row: executions::Model,
    pub(crate) next_seq: i64,
    pub(crate) next_log: i64,
}

impl WithEnds {
    fn read(found: &QueryResult) -> Result<Self, DbErr> {
        Ok(Self {
            row: executions::Model::from_query_result(found, "")?,
            next_seq: found.try_get("", "next_seq")?,
            next_log: found.try_get("", "next_log")?,
        })
    }

    pub(crate) fn key(&self) -> Result<(Tenant, Id)> {
        Ok((Tenant::trusted(&self.row.tenant), rows::parse_id("execution", &self.row.id)?))
    }
}

impl Store {
    /// `None`: there is none of that id in the tenant.
    pub async fn execution_snapshot(&self, of: &Tenant, key: Id) -> Result<Option<Snapshot>> {
        let shard = shard_of(of, key, self.shards().await?);
        let statement = self.statement(&BY_KEY, [tenant(of), id(key), int(shard)]);
        let Some(found) = self.read().query_one_raw(statement).await? else { return Ok(None) };
        let WithEnds { mut row, next_seq, next_log } = WithEnds::read(&found)?;
        let parked = row.parked.take();
        let feed_seq = found.try_get("", "feed_seq")?;
        let Some(row) = self.with_own_outputs(Some(row)).await? else { return Ok(None) };
        let next_seq = number("task run", next_seq)?;
        Ok(Some(Snapshot { execution: rows::execution(row)?, next_seq, next_log, parked, shard, feed_seq }))
    }
}

/// What is there of these executions, in any order.
pub(crate) async fn with_ends(db: &impl ConnectionTrait, keys: &[(Tenant, Id)]) -> Result<Vec<WithEnds>> {
    let found = by_keys(&BY_KEYS, keys).query(db).await?;
    Ok(found.iter().map(WithEnds::read).collect::<Result<_, DbErr>>()?)
}

/// The keys as the rows of a statement over [`KEY`].
pub(crate) fn by_keys(statement: &'static Bulk, keys: &[(Tenant, Id)]) -> Rows {
    let mut rows = statement.rows(keys.len());
    keys.iter().for_each(|(of, key)| rows.push([tenant(of), id(*key)]));
    rows
}
