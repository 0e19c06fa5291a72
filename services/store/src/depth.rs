//! How much waits where: for operators and for the management port.
//!
//! Counts stop at a bound, so that a look costs the same however much waits.

use std::collections::{BTreeMap, HashMap};

use sea_orm::{ConnectionTrait, QueryResult};
use windhover_types::{Id, Tenant, Timestamp};

use crate::{
    Store,
    bulk::{int, time},
    error::Result,
    rows::number,
};

/// What waits, by shard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Depth {
    /// By number.
    pub shards: Vec<ShardDepth>,
    /// No count has stopped at its bound.
    pub complete: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShardDepth {
    pub shard: u16,
    pub owner: Option<Id>,
    /// The instance that an operator wants it to have.
    pub wanted: Option<Id>,
    /// Last number of its feed.
    pub last_seq: i64,
    /// The oldest number that is kept.
    pub first_seq: Option<i64>,
    /// When it has last told something.
    pub last_told_at: Option<Timestamp>,
    /// Executions that have not ended.
    pub open: u64,
    /// Messages that its owner has not taken.
    pub inbox: u64,
    /// When the oldest of these was sent.
    pub oldest_inbox: Option<Timestamp>,
    /// Jobs that were handed out.
    pub jobs: u64,
    /// Of these: whose holder should have been heard of.
    pub overdue_jobs: u64,
    /// Timers that are due.
    pub overdue_timers: u64,
    /// When the oldest of these was due.
    pub oldest_timer: Option<Timestamp>,
}

/// What waits, by tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TenantDepths {
    /// By name; tenants of whom nothing waits are left out.
    pub tenants: Vec<TenantDepth>,
    /// No count has stopped at its bound.
    pub complete: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantDepth {
    pub tenant: Tenant,
    pub open: u64,
    pub inbox: u64,
    pub jobs: u64,
    pub timers: u64,
}

/// Jobs that were handed out, by tenant and group of workers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupDepth {
    /// `None`: the workers that were started without a group.
    pub group: Option<String>,
    pub tenant: Tenant,
    pub jobs: u64,
    /// Of these: whose holder is known.
    pub held: u64,
    /// Of these: whose holder should have been heard of.
    pub overdue: u64,
}

/// Tables of what waits, with the rows that count (of which at most `$1` are looked at) and a figure besides the count.
const OPEN: (&str, &str) = ("executions WHERE open", "CAST(NULL AS BIGINT)");
const INBOX: (&str, &str) = ("inbox", "MIN(sent_at)");
const JOBS: (&str, &str) = ("jobs", "SUM(CASE WHEN deadline <= $2 THEN 1 ELSE 0 END)");
const DUE: (&str, &str) = ("timers WHERE at <= $2", "MIN(at)");

/// How many rows, and the figure besides.
type Figures = (u64, Option<i64>);

impl Store {
    /// What waits in each shard. Each count looks at no more than `limit` rows.
    pub async fn depth(&self, limit: u64) -> Result<Depth> {
        let now = self.now().await?;
        let mut open = self.by_shard(OPEN, "shard", now, limit).await?;
        let mut inbox = self.by_shard(INBOX, "shard, sent_at", now, limit).await?;
        let mut jobs = self.by_shard(JOBS, "shard, deadline", now, limit).await?;
        let mut due = self.by_shard(DUE, "shard, at", now, limit).await?;
        let complete = [&open, &inbox, &jobs, &due].into_iter().all(|counts| total(counts) < limit);
        let mut told = self.told().await?;
        let mut shards = Vec::new();
        for row in self.list_shards().await? {
            let of = |counts: &mut HashMap<u16, Figures>| counts.remove(&row.shard).unwrap_or_default();
            let ((open, _), (inbox, sent)) = (of(&mut open), of(&mut inbox));
            let ((jobs, overdue), (timers, oldest)) = (of(&mut jobs), of(&mut due));
            let (first_seq, last_at) = told.remove(&row.shard).unwrap_or_default();
            shards.push(ShardDepth {
                shard: row.shard,
                owner: row.owner,
                wanted: row.wanted,
                last_seq: row.last_seq,
                first_seq,
                last_told_at: last_at.map(Timestamp::from_micros),
                open,
                inbox,
                // Rows that an older version has sent do not tell when.
                oldest_inbox: sent.filter(|sent| *sent > 0).map(Timestamp::from_micros),
                jobs,
                overdue_jobs: unsigned(overdue.unwrap_or_default())?,
                overdue_timers: timers,
                oldest_timer: oldest.map(Timestamp::from_micros),
            });
        }
        Ok(Depth { shards, complete })
    }

    /// What waits for each tenant. Each count looks at no more than `limit` rows.
    pub async fn tenant_depth(&self, limit: u64) -> Result<TenantDepths> {
        const TIMERS: (&str, &str) = ("timers", "CAST(NULL AS BIGINT)");
        let now = self.now().await?;
        let mut tenants: BTreeMap<String, TenantDepth> = BTreeMap::new();
        let mut complete = true;
        type Field = fn(&mut TenantDepth) -> &mut u64;
        let counts: [((&str, &str), &str, Field); 4] = [
            (OPEN, "tenant", |depth| &mut depth.open),
            (INBOX, "tenant, sent_at", |depth| &mut depth.inbox),
            (JOBS, "tenant, deadline", |depth| &mut depth.jobs),
            (TIMERS, "tenant", |depth| &mut depth.timers),
        ];
        for (of, columns, field) in counts {
            let mut looked_at = 0;
            for row in self.counts(of, "tenant", columns, now, limit).await? {
                let name: String = row.try_get_by_index(0)?;
                let (count, _) = figures(&row)?;
                looked_at += count;
                let empty = || TenantDepth { tenant: Tenant::trusted(&name), open: 0, inbox: 0, jobs: 0, timers: 0 };
                *field(tenants.entry(name.clone()).or_insert_with(empty)) = count;
            }
            complete &= looked_at < limit;
        }
        Ok(TenantDepths { tenants: tenants.into_values().collect(), complete })
    }

    /// Jobs that were handed out, by group and tenant. There are no more of them than the queue's windows allow.
    pub async fn group_depth(&self) -> Result<Vec<GroupDepth>> {
        let sql = "SELECT worker_group, tenant, COUNT(*), COUNT(worker), \
                   SUM(CASE WHEN deadline <= $1 THEN 1 ELSE 0 END) FROM jobs GROUP BY worker_group, tenant ORDER BY 1, 2";
        let now = self.now().await?;
        let mut groups = Vec::new();
        for row in self.read().query_all_raw(self.statement(sql, [time(now)])).await? {
            let tenant: String = row.try_get_by_index(1)?;
            let count = |at: usize| row.try_get_by_index::<i64>(at).map_err(Into::into).and_then(unsigned);
            groups.push(GroupDepth {
                group: row.try_get_by_index(0)?,
                tenant: Tenant::trusted(&tenant),
                jobs: count(2)?,
                held: count(3)?,
                overdue: count(4)?,
            });
        }
        Ok(groups)
    }

    async fn by_shard(
        &self,
        of: (&str, &str),
        columns: &str,
        now: Timestamp,
        limit: u64,
    ) -> Result<HashMap<u16, Figures>> {
        let rows = self.counts(of, "CAST(shard AS BIGINT)", columns, now, limit).await?;
        let figures = |row: QueryResult| {
            let shard: i64 = row.try_get_by_index(0)?;
            Ok((number("shard", shard)?, figures(&row)?))
        };
        rows.into_iter().map(figures).collect()
    }

    async fn counts(
        &self,
        (rows, figure): (&str, &str),
        by: &str,
        columns: &str,
        now: Timestamp,
        limit: u64,
    ) -> Result<Vec<QueryResult>> {
        let sql = format!(
            "SELECT {by}, COUNT(*), {figure} FROM (SELECT {columns} FROM {rows} LIMIT $1) AS waiting GROUP BY 1"
        );
        let mut values = vec![int(limit as i64)];
        if sql.contains("$2") {
            values.push(time(now));
        }
        Ok(self.read().query_all_raw(self.statement(&sql, values)).await?)
    }

    /// The oldest number of each shard's feed and the time of the newest: two looks at the ends of a key for each.
    async fn told(&self) -> Result<HashMap<u16, (Option<i64>, Option<i64>)>> {
        let sql = "SELECT CAST(s.shard AS BIGINT), \
                   (SELECT f.seq FROM feed f WHERE f.shard = s.shard ORDER BY f.seq LIMIT 1), \
                   (SELECT f.at FROM feed f WHERE f.shard = s.shard ORDER BY f.seq DESC LIMIT 1) FROM shards s";
        let mut told = HashMap::new();
        for row in self.read().query_all_raw(self.statement(sql, [])).await? {
            let shard: i64 = row.try_get_by_index(0)?;
            told.insert(number("shard", shard)?, (row.try_get_by_index(1)?, row.try_get_by_index(2)?));
        }
        Ok(told)
    }
}

fn figures(row: &QueryResult) -> Result<Figures> {
    Ok((unsigned(row.try_get_by_index(1)?)?, row.try_get_by_index(2)?))
}

fn unsigned(count: i64) -> Result<u64> {
    number("count", count)
}

fn total(counts: &HashMap<u16, Figures>) -> u64 {
    counts.values().map(|(count, _)| count).sum()
}
