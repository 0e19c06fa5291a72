//! What the database itself says and can do.

use std::{
    collections::HashMap,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, DbBackend, Statement};

/// A look at Postgres from outside.
pub(crate) struct Observer {
    connection: DatabaseConnection,
    /// Statistics are of one database.
    database: String,
}

/// Counters since the server started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counters {
    pub(crate) commits: i64,
    pub(crate) rows_written: i64,
}

impl Observer {
    pub(crate) async fn connect(url: &str) -> Result<Self> {
        let connection = Database::connect(url).await.context("the database of the benchmark")?;
        let database = url.rsplit('/').next().and_then(|rest| rest.split('?').next()).unwrap_or_default().to_owned();
        Ok(Self { connection, database })
    }

    pub(crate) async fn counters(&self) -> Result<Counters> {
        // Statistics of other sessions reach the views with a delay of up to a second unless they are flushed; what is
        // compared are differences over many seconds.
        let sql = "SELECT (SELECT xact_commit FROM pg_stat_database WHERE datname = $1), \
                   (SELECT COALESCE(SUM(n_tup_ins + n_tup_upd + n_tup_del), 0)::BIGINT FROM pg_stat_user_tables)";
        let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, [self.database.as_str().into()]);
        let row = self.connection.query_one_raw(statement).await?.context("the statistics of Postgres")?;
        Ok(Counters { commits: row.try_get_by_index(0)?, rows_written: row.try_get_by_index(1)? })
    }

    /// Writes everything out, so that the load before does not show in what is measured next.
    pub(crate) async fn checkpoint(&self) -> Result<()> {
        self.connection.execute_unprepared("CHECKPOINT").await?;
        Ok(())
    }
}

/// Owner and last number of the feed, by shard.
pub(crate) type Shards = HashMap<i64, (Option<Vec<u8>>, i64)>;

impl Observer {
    pub(crate) async fn shards(&self) -> Result<Shards> {
        let statement = Statement::from_string(DbBackend::Postgres, "SELECT shard, owner, last_seq FROM shards");
        let mut shards = Shards::new();
        for row in self.connection.query_all_raw(statement).await? {
            let shard: i16 = row.try_get_by_index(0)?;
            shards.insert(shard.into(), (row.try_get_by_index(1)?, row.try_get_by_index(2)?));
        }
        Ok(shards)
    }

    /// Executions that have come to a task that has not begun.
    pub(crate) async fn waiting(&self) -> Result<i64> {
        let sql = "SELECT COUNT(*) FROM task_runs WHERE open AND state IN ('CREATED', 'SUBMITTED')";
        let statement = Statement::from_string(DbBackend::Postgres, sql);
        let row = self.connection.query_one_raw(statement).await?.context("a count")?;
        Ok(row.try_get_by_index(0)?)
    }
}

/// Transactions per second of `pgbench -N`, 8 clients: what this disk and these cores allow single-row transactions.
pub(crate) fn pgbench(url: &str, seconds: u64) -> Result<f64> {
    let program = find("pgbench")?;
    let quiet = |arguments: &[&str]| -> Result<String> {
        let output = Command::new(&program).args(arguments).arg(url).stderr(Stdio::piped()).output()?;
        if !output.status.success() {
            bail!("pgbench failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    quiet(&["-i", "-q", "-s", "5"])?;
    let seconds = seconds.to_string();
    let text = quiet(&["-N", "-c", "8", "-j", "2", "-T", &seconds])?;
    let tps = text.lines().find_map(|line| line.strip_prefix("tps = ")?.split_whitespace().next()?.parse().ok());
    tps.context("pgbench told no tps")
}

fn find(program: &str) -> Result<PathBuf> {
    let from_path = std::env::var_os("PATH")
        .and_then(|path| std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file()));
    let packaged = || {
        let mut versions: Vec<_> =
            std::fs::read_dir("/usr/lib/postgresql").ok()?.flatten().map(|entry| entry.path()).collect();
        versions.sort();
        versions.into_iter().rev().map(|version| version.join("bin").join(program)).find(|file| file.is_file())
    };
    from_path.or_else(packaged).with_context(|| format!("{program} is neither in PATH nor below /usr/lib/postgresql"))
}
