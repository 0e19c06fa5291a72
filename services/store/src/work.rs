//! What waits for an owner: runs to load, open executions, timers.

use std::collections::HashMap;

use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect,
    sea_query::{Expr, ExprTrait},
};
use windhover_engine::{Execution, TaskRun};
use windhover_types::{Id, Tenant, Timestamp};

use crate::{
    Store, TimerRow,
    bulk::Bulk,
    entity::{executions, jobs, task_runs, timers},
    error::Result,
    rows::{self, number, parse, parse_id},
    snapshot::{KEY, WithEnds, by_keys, with_ends},
};

/// Executions that one query loads; bounds what is in memory of it.
const CHUNK: usize = 256;

/// Tenant and id of an execution, as they are stored.
type Key = (String, Vec<u8>);

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
    /// is not there is left out, and each is there once.
    pub async fn load_runs(&self, keys: &[(Tenant, Id)]) -> Result<Vec<StoredRun>> {
        let mut keys = keys.to_vec();
        keys.sort_unstable();
        keys.dedup();
        let mut loaded = Vec::with_capacity(keys.len());
        for chunk in keys.chunks(CHUNK) {
            // Most have just been created: with their row all is known.
            let (new, old): (Vec<_>, Vec<_>) =
                with_ends(self.read(), chunk).await?.into_iter().partition(|found| found.next_seq == 0);
            self.take_runs(new, Open::default(), &mut loaded).await?;
            if !old.is_empty() {
                let keys = old.iter().map(WithEnds::key).collect::<Result<Vec<_>>>()?;
                // One snapshot: a batch that is committed in between would show as task runs without their execution.
                let db = self.snapshot().await?;
                let (old, open) = (with_ends(&db, &keys).await?, open(&db, &keys).await?);
                db.commit().await?;
                self.take_runs(old, open, &mut loaded).await?;
            }
        }
        Ok(loaded)
    }

    async fn take_runs(&self, found: Vec<WithEnds>, open: Open, loaded: &mut Vec<StoredRun>) -> Result<()> {
        let mut runs: HashMap<Key, Vec<TaskRun>> = HashMap::new();
        for row in self.with_outputs(open.task_runs).await? {
            let key = (row.tenant.clone(), row.execution.clone());
            runs.entry(key).or_default().push(rows::task_run(row)?.run);
        }
        let mut lines = open.job_lines;
        for WithEnds { mut row, next_seq, next_log } in self.with_outputs(found).await? {
            let key = (row.tenant.clone(), row.id.clone());
            let parked = row.parked.take();
            loaded.push(StoredRun {
                execution: rows::execution(row)?,
                open_task_runs: runs.remove(&key).unwrap_or_default(),
                next_seq: number("task run", next_seq)?,
                next_log,
                job_lines: lines.remove(&key).unwrap_or_default(),
                parked,
            });
        }
        Ok(())
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

/// What is open of some executions.
#[derive(Default)]
struct Open {
    /// In order of creation within an execution.
    task_runs: Vec<task_runs::Model>,
    job_lines: HashMap<Key, Vec<JobLines>>,
}

static OPEN_TASK_RUNS: Bulk = Bulk::reading(
    KEY,
    task_runs::columns,
    "SELECT {found} FROM u JOIN task_runs ON task_runs.tenant = u.tenant AND task_runs.execution = u.id \
     WHERE task_runs.open ORDER BY task_runs.tenant, task_runs.execution, task_runs.seq",
);

static JOB_LINES: Bulk = Bulk::reading(
    KEY,
    jobs::columns,
    "SELECT {found} FROM u JOIN jobs ON jobs.tenant = u.tenant AND jobs.execution = u.id WHERE jobs.lines > 0",
);

async fn open(db: &impl ConnectionTrait, keys: &[(Tenant, Id)]) -> Result<Open> {
    let found = by_keys(&OPEN_TASK_RUNS, keys).query(db).await?;
    let mut open = Open::default();
    for row in &found {
        open.task_runs.push(task_runs::Model::from_query_result(row, "")?);
    }
    // Only what was handed to a worker has lines that came before its end.
    if open.task_runs.iter().any(|run| run.dispatch > 0) {
        for row in &by_keys(&JOB_LINES, keys).query(db).await? {
            let row = jobs::Model::from_query_result(row, "")?;
            let (task_run, dispatch) = (parse_id("job", &row.task_run)?, number("job", row.dispatch)?);
            let lines = JobLines { task_run, dispatch, lines: number("job", row.lines)? };
            open.job_lines.entry((row.tenant, row.execution)).or_default().push(lines);
        }
    }
    Ok(open)
}
