//! What waits for an owner: runs to load, open executions, timers.

use std::collections::HashMap;

use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
    sea_query::{Expr, ExprTrait},
};
use windhover_engine::{Execution, TaskRun};
use windhover_types::{Id, Tenant, Timestamp};

use crate::{
    Store, TimerRow,
    bulk::{id, tenant},
    entity::{executions, jobs, task_runs, timers},
    error::Result,
    rows::{self, number, parse, parse_id},
};

/// Executions that one query loads; bounds the length of its text.
const CHUNK: usize = 256;

/// What an executor takes into memory of an execution.
#[derive(Debug, Clone)]
pub struct StoredRun {
    pub execution: Execution,
    /// In order of creation. Ended ones come by [`Store::ended_task_runs`].
    pub open_task_runs: Vec<TaskRun>,
    /// `seq` of the next task run.
    pub next_seq: u32,
    /// Position of the next log line.
    pub next_log: i64,
    /// Of attempts that run: the lines that are stored already. Those without any are left out.
    pub job_lines: Vec<JobLines>,
    /// Why it was taken out of the sweeps.
    pub parked: Option<String>,
}

/// How many lines of an attempt that runs are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobLines {
    pub task_run: Id,
    pub dispatch: u32,
    pub lines: u32,
}

impl Store {
    /// Loads these executions in a number of queries that does not depend on how many they are (one set per 256). What
    /// is not there is left out.
    pub async fn load_runs(&self, keys: &[(Tenant, Id)]) -> Result<Vec<StoredRun>> {
        let mut loaded = Vec::with_capacity(keys.len());
        for chunk in keys.chunks(CHUNK) {
            // One snapshot: a batch that is committed in between would show as task runs without their execution.
            let db = self.snapshot().await?;
            let executions = executions::Entity::find()
                .filter(any_of(chunk, executions::Column::Tenant, executions::Column::Id))
                .all(&db)
                .await?;
            let open = task_runs::Entity::find()
                .filter(any_of(chunk, task_runs::Column::Tenant, task_runs::Column::Execution))
                .filter(Expr::col(task_runs::Column::Open))
                .order_by_asc(task_runs::Column::Tenant)
                .order_by_asc(task_runs::Column::Execution)
                .order_by_asc(task_runs::Column::Seq)
                .all(&db)
                .await?;
            let ends = self.ends(&db, chunk).await?;
            // Only what was handed to a worker has lines that came before its end.
            let mut lines_by: HashMap<(String, Vec<u8>), Vec<JobLines>> = HashMap::new();
            if open.iter().any(|run| run.dispatch > 0) {
                let jobs = jobs::Entity::find()
                    .filter(any_of(chunk, jobs::Column::Tenant, jobs::Column::Execution))
                    .filter(jobs::Column::Lines.gt(0));
                for row in jobs.all(&db).await? {
                    let (task_run, dispatch) = (parse_id("job", &row.task_run)?, number("job", row.dispatch)?);
                    let lines = JobLines { task_run, dispatch, lines: number("job", row.lines)? };
                    lines_by.entry((row.tenant, row.execution)).or_default().push(lines);
                }
            }
            db.commit().await?;

            let (executions, open) = (self.with_outputs(executions).await?, self.with_outputs(open).await?);
            let mut open_by: HashMap<(String, Vec<u8>), Vec<TaskRun>> = HashMap::new();
            for row in open {
                let key = (row.tenant.clone(), row.execution.clone());
                open_by.entry(key).or_default().push(rows::task_run(row)?.run);
            }
            for mut row in executions {
                let key = (row.tenant.clone(), row.id.clone());
                let (next_seq, next_log) = ends.get(&key).copied().unwrap_or_default();
                let parked = row.parked.take();
                loaded.push(StoredRun {
                    execution: rows::execution(row)?,
                    open_task_runs: open_by.remove(&key).unwrap_or_default(),
                    next_seq: number("task run", next_seq)?,
                    next_log,
                    job_lines: lines_by.remove(&key).unwrap_or_default(),
                    parked,
                });
            }
        }
        Ok(loaded)
    }

    /// The numbers that follow the last task run and the last log line; each is one look at the end of a key.
    async fn ends(
        &self,
        db: &impl ConnectionTrait,
        keys: &[(Tenant, Id)],
    ) -> Result<HashMap<(String, Vec<u8>), (i64, i64)>> {
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        let sql = format!(
            "SELECT e.tenant, e.id, \
             (SELECT CAST(COALESCE(MAX(r.seq) + 1, 0) AS BIGINT) FROM task_runs r WHERE r.tenant = e.tenant AND r.execution = e.id), \
             (SELECT COALESCE(MAX(l.position) + 1, 0) FROM logs l WHERE l.tenant = e.tenant AND l.execution = e.id) \
             FROM executions e WHERE {}",
            (0..keys.len())
                .map(|at| format!("(e.tenant = ${} AND e.id = ${})", at * 2 + 1, at * 2 + 2))
                .collect::<Vec<_>>()
                .join(" OR ")
        );
        let values = keys.iter().flat_map(|(name, key)| [tenant(name), id(*key)]);
        let mut ends = HashMap::new();
        for row in db.query_all_raw(self.statement(&sql, values)).await? {
            let key = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
            ends.insert(key, (row.try_get_by_index(2)?, row.try_get_by_index(3)?));
        }
        Ok(ends)
    }

    /// Ended task runs of one task (`None`: of all tasks) of an execution, in order of creation.
    pub async fn ended_task_runs(&self, tenant: &Tenant, execution: Id, task_id: Option<&str>) -> Result<Vec<TaskRun>> {
        let mut query = task_runs::Entity::find()
            .filter(task_runs::Column::Tenant.eq(tenant.as_str()))
            .filter(task_runs::Column::Execution.eq(execution.as_bytes().to_vec()))
            .filter(Expr::col(task_runs::Column::Open).not())
            .order_by_asc(task_runs::Column::Seq);
        if let Some(task_id) = task_id {
            query = query.filter(task_runs::Column::TaskId.eq(task_id));
        }
        let found = query.all(self.read()).await?;
        self.with_outputs(found).await?.into_iter().map(|row| Ok(rows::task_run(row)?.run)).collect()
    }

    /// Open executions of these shards that are not parked, oldest first, after that one.
    pub async fn open_executions(&self, shards: &[u16], after: Option<Id>, limit: u64) -> Result<Vec<(Tenant, Id)>> {
        let mut query = executions::Entity::find()
            .select_only()
            .columns([executions::Column::Tenant, executions::Column::Id])
            .filter(Expr::col(executions::Column::Open))
            .filter(executions::Column::Shard.is_in(shards.iter().map(|shard| *shard as i16)))
            .order_by_asc(executions::Column::Id)
            .limit(limit);
        if let Some(after) = after {
            query = query.filter(executions::Column::Id.gt(after.as_bytes().to_vec()));
        }
        let rows: Vec<(String, Vec<u8>)> = query.into_tuple().all(self.read()).await?;
        rows.into_iter().map(|(tenant, id)| Ok((Tenant::trusted(&tenant), parse_id("execution", &id)?))).collect()
    }

    /// Timers of these shards that are due by `until`, earliest first.
    pub async fn due_timers(&self, shards: &[u16], until: Timestamp, limit: u64) -> Result<Vec<TimerRow>> {
        let found = timers::Entity::find()
            .filter(timers::Column::At.lte(until.as_micros()))
            .filter(timers::Column::Shard.is_in(shards.iter().map(|shard| *shard as i16)))
            .order_by_asc(timers::Column::At)
            .limit(limit)
            .all(self.read())
            .await?;
        let row = |row: timers::Model| {
            Ok(TimerRow {
                shard: number("timer", row.shard)?,
                tenant: Tenant::trusted(&row.tenant),
                execution: parse_id("timer", &row.execution)?,
                timer: parse("timer", &row.timer)?,
                at: Timestamp::from_micros(row.at),
            })
        };
        found.into_iter().map(row).collect()
    }

    /// When the next timer of these shards is due.
    pub async fn next_timer(&self, shards: &[u16]) -> Result<Option<Timestamp>> {
        let at: Option<i64> = timers::Entity::find()
            .select_only()
            .column(timers::Column::At)
            .filter(timers::Column::Shard.is_in(shards.iter().map(|shard| *shard as i16)))
            .order_by_asc(timers::Column::At)
            .limit(1)
            .into_tuple()
            .one(self.read())
            .await?;
        Ok(at.map(Timestamp::from_micros))
    }
}

pub(crate) fn any_of(keys: &[(Tenant, Id)], tenant: impl ColumnTrait, id: impl ColumnTrait) -> Condition {
    keys.iter().fold(Condition::any(), |any, (name, key)| {
        any.add(Condition::all().add(tenant.eq(name.as_str())).add(id.eq(key.as_bytes().to_vec())))
    })
}
