//! The database as it is: rows read with SQL of our own, so that a mistake of the store is not repeated here.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result, anyhow};
use sea_orm::{ConnectOptions, ConnectionTrait, DatabaseConnection, DbBackend, QueryResult, Statement, TryGetable};
use serde::Deserialize;
use serde_json::Value;
use windhover_types::Id;

/// A connection that only reads; tests also break things through it.
pub struct Database {
    connection: DatabaseConnection,
}

/// Everything that the checker looks at.
#[derive(Debug, Default)]
pub struct Stored {
    pub shard_count: u16,
    /// Last number of the feed by shard.
    pub shards: BTreeMap<i64, i64>,
    pub executions: BTreeMap<Id, ExecutionRow>,
    /// In order of their numbers.
    pub task_runs: HashMap<Id, Vec<TaskRunRow>>,
    /// In order of their positions.
    pub lines: HashMap<Id, Vec<LineRow>>,
    /// In order of shard and number.
    pub feed: Vec<FeedRow>,
    /// Rows of jobs, timers, inbox and slots, and locks of triggers, each described.
    pub waiting: Vec<Waiting>,
    /// Executions by the request ids that made them.
    pub requests: HashMap<String, String>,
}

#[derive(Debug)]
pub struct ExecutionRow {
    pub tenant: String,
    pub id: Id,
    pub shard: i64,
    pub namespace: String,
    pub flow_id: String,
    pub state: String,
    pub open: bool,
    pub history: Vec<Change>,
    pub trigger_id: Option<String>,
    pub cause: Option<Id>,
    pub origin: Origin,
    pub parked: Option<String>,
    pub version: i64,
}

#[derive(Debug)]
pub struct TaskRunRow {
    pub seq: i64,
    pub id: Id,
    pub task_id: String,
    pub parent_id: Option<Id>,
    pub place: String,
    pub state: String,
    pub open: bool,
    pub history: Vec<Change>,
    pub attempts: Vec<AttemptText>,
    pub dispatch: i64,
    pub child: Option<Id>,
    pub version: i64,
}

#[derive(Debug)]
pub struct LineRow {
    pub position: i64,
    pub task_run: Option<Id>,
    pub attempt: Option<i64>,
}

#[derive(Debug)]
pub struct FeedRow {
    pub shard: i64,
    pub seq: i64,
    pub tenant: String,
    pub entries: Vec<Entry>,
}

/// A row that waits for somebody.
#[derive(Debug)]
pub struct Waiting {
    pub table: &'static str,
    pub execution: Option<Id>,
    pub what: String,
}

/// One entry of a history.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Change {
    #[serde(rename = "s")]
    pub state: String,
    /// Microseconds since 1970.
    #[serde(rename = "t")]
    pub at: i64,
}

#[derive(Debug, Deserialize)]
pub struct AttemptText {
    #[serde(rename = "h")]
    pub history: Vec<Change>,
    #[serde(rename = "d", default)]
    pub dispatch: i64,
}

/// Where an execution comes from.
#[derive(Debug, Default, Deserialize)]
pub struct Origin {
    #[serde(rename = "t", default)]
    pub trigger: Option<TriggerText>,
    #[serde(rename = "p", default)]
    pub parent: Option<ParentText>,
    /// Present for a replay.
    #[serde(rename = "o", default)]
    pub original: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct TriggerText {
    pub id: String,
    #[serde(rename = "type")]
    pub type_name: String,
    pub variables: Value,
}

#[derive(Debug, Deserialize)]
pub struct ParentText {
    pub execution_id: Id,
    pub task_run_id: Id,
}

/// What one batch has changed of one execution.
#[derive(Debug, Deserialize)]
pub struct Entry {
    #[serde(rename = "e")]
    pub execution: Id,
    #[serde(rename = "s")]
    pub states: Vec<String>,
    #[serde(rename = "r", default)]
    pub task_runs: Vec<Id>,
    #[serde(rename = "l")]
    pub next_log: i64,
}

impl Database {
    /// On Postgres or SQLite.
    pub async fn connect(url: &str) -> Result<Self> {
        let mut options = ConnectOptions::new(url);
        options.max_connections(2).sqlx_logging(false);
        let connection = sea_orm::Database::connect(options).await.context("the database cannot be opened")?;
        Ok(Self { connection })
    }

    /// Runs statements that answer nothing.
    pub async fn execute(&self, sql: &str) -> Result<()> {
        self.connection.execute_unprepared(sql).await.with_context(|| format!("in `{sql}`"))?;
        Ok(())
    }

    /// The first number of the first row.
    pub async fn number(&self, sql: &str) -> Result<i64> {
        let rows = self.rows(sql).await?;
        get(rows.first().with_context(|| format!("no row of `{sql}`"))?, 0)
    }

    async fn rows(&self, sql: &str) -> Result<Vec<QueryResult>> {
        let statement = Statement::from_string(self.connection.get_database_backend(), sql);
        self.connection.query_all_raw(statement).await.with_context(|| format!("in `{sql}`"))
    }

    async fn tables(&self) -> Result<Vec<String>> {
        let sql = match self.connection.get_database_backend() {
            DbBackend::Sqlite => "SELECT name FROM sqlite_master WHERE type = 'table'",
            _ => "SELECT table_name::text FROM information_schema.tables WHERE table_schema = current_schema()",
        };
        self.rows(sql).await?.iter().map(|row| get(row, 0)).collect()
    }

    /// Rows that say that something is still to happen; none when the cluster is at rest.
    pub async fn unsettled(&self) -> Result<i64> {
        self.number(
            "SELECT (SELECT COUNT(*) FROM executions WHERE open) + (SELECT COUNT(*) FROM inbox) + \
             (SELECT COUNT(*) FROM timers) + (SELECT COUNT(*) FROM jobs)",
        )
        .await
    }

    /// Reads everything. Nothing may be under way.
    pub async fn read(&self) -> Result<Stored> {
        let mut stored = Stored {
            shard_count: u16::try_from(
                self.rows("SELECT shards FROM installation").await?.first().map_or(Ok(0), |row| get::<i32>(row, 0))?,
            )?,
            ..Stored::default()
        };
        for row in self.rows("SELECT shard, last_seq FROM shards ORDER BY shard").await? {
            stored.shards.insert(get::<i16>(&row, 0)?.into(), get(&row, 1)?);
        }
        self.read_executions(&mut stored).await?;
        self.read_task_runs(&mut stored).await?;
        let sql = "SELECT execution, position, task_run, attempt FROM logs ORDER BY execution, position";
        for row in self.rows(sql).await? {
            let line = LineRow {
                position: get(&row, 1)?,
                task_run: id_or_null(&row, 2)?,
                attempt: get::<Option<i32>>(&row, 3)?.map(i64::from),
            };
            stored.lines.entry(id(&row, 0)?).or_default().push(line);
        }
        for row in self.rows("SELECT shard, seq, tenant, entries FROM feed ORDER BY shard, seq").await? {
            let (shard, seq) = (get::<i16>(&row, 0)?.into(), get(&row, 1)?);
            let entries = json(&row, 3).with_context(|| format!("feed {shard}/{seq}"))?;
            stored.feed.push(FeedRow { shard, seq, tenant: get(&row, 2)?, entries });
        }
        for row in self.rows("SELECT request_id, result FROM request_ids WHERE method LIKE '%CreateExecution%'").await?
        {
            stored.requests.insert(get(&row, 0)?, get(&row, 1)?);
        }
        self.read_waiting(&mut stored).await?;
        Ok(stored)
    }

    async fn read_executions(&self, stored: &mut Stored) -> Result<()> {
        let sql = "SELECT tenant, id, shard, namespace, flow_id, state, open, history, trigger_id, cause, origin, \
                   parked, version FROM executions ORDER BY id";
        for row in self.rows(sql).await? {
            let execution = id(&row, 1)?;
            let read = || -> Result<ExecutionRow> {
                Ok(ExecutionRow {
                    tenant: get(&row, 0)?,
                    id: execution,
                    shard: get::<i16>(&row, 2)?.into(),
                    namespace: get(&row, 3)?,
                    flow_id: get(&row, 4)?,
                    state: get(&row, 5)?,
                    open: get(&row, 6)?,
                    history: json(&row, 7)?,
                    trigger_id: get(&row, 8)?,
                    cause: id_or_null(&row, 9)?,
                    origin: json(&row, 10)?,
                    parked: get(&row, 11)?,
                    version: get(&row, 12)?,
                })
            };
            let read = read().with_context(|| format!("execution {execution}"))?;
            stored.executions.insert(execution, read);
        }
        Ok(())
    }

    async fn read_task_runs(&self, stored: &mut Stored) -> Result<()> {
        let sql = "SELECT execution, seq, id, task_id, parent_id, place, state, open, history, attempts, dispatch, \
                   child_execution, version FROM task_runs ORDER BY execution, seq";
        for row in self.rows(sql).await? {
            let execution = id(&row, 0)?;
            let read = || -> Result<TaskRunRow> {
                Ok(TaskRunRow {
                    seq: get::<i32>(&row, 1)?.into(),
                    id: id(&row, 2)?,
                    task_id: get(&row, 3)?,
                    parent_id: id_or_null(&row, 4)?,
                    place: get::<Option<String>>(&row, 5)?.unwrap_or_default(),
                    state: get(&row, 6)?,
                    open: get(&row, 7)?,
                    history: json(&row, 8)?,
                    attempts: json(&row, 9)?,
                    dispatch: get::<i32>(&row, 10)?.into(),
                    child: id_or_null(&row, 11)?,
                    version: get(&row, 12)?,
                })
            };
            let read = read().with_context(|| format!("a task run of execution {execution}"))?;
            stored.task_runs.entry(execution).or_default().push(read);
        }
        Ok(())
    }

    async fn read_waiting(&self, stored: &mut Stored) -> Result<()> {
        let tables = self.tables().await?;
        let queries = [
            ("jobs", "SELECT execution, worker_group FROM jobs"),
            ("timers", "SELECT execution, timer FROM timers"),
            ("inbox", "SELECT execution, message FROM inbox"),
            ("flow_slots", "SELECT execution, flow_id FROM flow_slots"),
            ("triggers", "SELECT execution, trigger_id FROM triggers WHERE execution IS NOT NULL"),
        ];
        for (table, sql) in queries {
            if !tables.iter().any(|known| known == table) {
                continue;
            }
            for row in self.rows(sql).await? {
                let what = get::<Option<String>>(&row, 1)?.unwrap_or_default();
                stored.waiting.push(Waiting { table, execution: id_or_null(&row, 0)?, what });
            }
        }
        Ok(())
    }
}

fn get<T: TryGetable>(row: &QueryResult, index: usize) -> Result<T> {
    row.try_get_by_index(index).map_err(|error| anyhow!("column {index}: {error}"))
}

fn id(row: &QueryResult, index: usize) -> Result<Id> {
    id_or_null(row, index)?.with_context(|| format!("column {index} is NULL"))
}

fn id_or_null(row: &QueryResult, index: usize) -> Result<Option<Id>> {
    let Some(bytes) = get::<Option<Vec<u8>>>(row, index)? else { return Ok(None) };
    let bytes: [u8; 16] = bytes.try_into().map_err(|_| anyhow!("column {index} is no id"))?;
    Ok(Some(Id::from_bytes(bytes)))
}

fn json<T: for<'a> Deserialize<'a>>(row: &QueryResult, index: usize) -> Result<T> {
    let text: String = get(row, index)?;
    serde_json::from_str(&text).with_context(|| format!("column {index}: {text}"))
}
