//! The connection: which database it is, who reads, who writes.

use std::{sync::Arc, time::Duration};

use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr,
    IsolationLevel, SqliteTransactionMode, Statement, TransactionOptions, TransactionTrait,
};
use tokio::sync::OnceCell;

use crate::{LargeOutputs, error::Result};

/// Which database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    Postgres,
    Sqlite,
}

impl Backend {
    pub const fn as_str(self) -> &'static str {
        match self {
            Backend::Postgres => "PostgreSQL",
            Backend::Sqlite => "SQLite",
        }
    }

    /// The present time by the database's clock, in microseconds. Of SQLite that is the machine's.
    pub(crate) const fn now(self) -> &'static str {
        match self {
            Backend::Postgres => "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)",
            Backend::Sqlite => "CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
        }
    }
}

/// What a commit on SQLite waits for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Synchronous {
    /// The disk: what was acknowledged survives the loss of power. The default, as on Postgres.
    #[default]
    Full,
    /// The operating system: what was acknowledged survives the death of the process, not the loss of power.
    Normal,
}

/// How to connect.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Name of the sessions on Postgres, of one process alone: a session that still holds what another process has
    /// taken over is ended by it. At most 63 characters.
    pub application_name: String,
    /// Connections on Postgres; readers on SQLite, beside its one writer.
    pub max_connections: u32,
    /// How long to wait for a connection.
    pub acquire_timeout: Duration,
    pub synchronous: Synchronous,
    /// `None`: all outputs are in their rows.
    pub large_outputs: Option<LargeOutputs>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            application_name: format!("windhover-{}", std::process::id()),
            max_connections: 10,
            acquire_timeout: Duration::from_secs(10),
            synchronous: Synchronous::Full,
            large_outputs: None,
        }
    }
}

/// The store of an installation. Cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    backend: Backend,
    options: StoreOptions,
    readers: DatabaseConnection,
    writer: DatabaseConnection,
    shards: OnceCell<u16>,
}

impl Store {
    /// Opens the pools; looks at nothing yet.
    pub(crate) async fn open(url: &str, options: StoreOptions) -> std::result::Result<Self, DbErr> {
        let backend = if url.starts_with("sqlite:") { Backend::Sqlite } else { Backend::Postgres };
        let mut common = ConnectOptions::new(url);
        common
            .max_connections(options.max_connections.max(1))
            .acquire_timeout(options.acquire_timeout)
            .connect_timeout(options.acquire_timeout)
            .sqlx_logging(false)
            .record_stmt_in_spans(false)
            // A connection that has rested may have been closed by a restart; a busy one is not asked each time.
            .test_before_acquire(false)
            .test_before_acquire_if_idle_for(Duration::from_secs(2));
        let (readers, writer) = match backend {
            Backend::Postgres => {
                // One pool: the server orders the writers by itself.
                common.set_application_name(options.application_name.clone());
                common.map_sqlx_postgres_opts(|options| {
                    // A plan that was made while a table was empty may walk a whole index of what it has become:
                    // planning anew costs some 50 µs, that plan milliseconds per 10,000 executions.
                    options.statement_cache_capacity(300).options([("plan_cache_mode", "force_custom_plan")])
                });
                let pool = Database::connect(common).await?;
                (pool.clone(), pool)
            }
            Backend::Sqlite => {
                let full = options.synchronous == Synchronous::Full;
                common.map_sqlx_sqlite_opts(move |options| sqlite_options(options, full));
                let mut writer = common.clone();
                writer
                    .max_connections(1)
                    .min_connections(1)
                    .idle_timeout(None::<Duration>)
                    .max_lifetime(None::<Duration>);
                // The writer first: it makes the file and turns WAL on.
                let writer = Database::connect(writer).await?;
                (Database::connect(common).await?, writer)
            }
        };
        Ok(Self(Arc::new(Inner { backend, options, readers, writer, shards: OnceCell::new() })))
    }

    pub fn backend(&self) -> Backend {
        self.0.backend
    }

    /// Name of the database's sessions.
    pub fn application_name(&self) -> &str {
        &self.0.options.application_name
    }

    /// The version that the database tells, for people.
    pub async fn version(&self) -> Result<String> {
        let sql = match self.backend() {
            Backend::Postgres => "SELECT current_setting('server_version')",
            Backend::Sqlite => "SELECT sqlite_version()",
        };
        let row = self.read().query_one_raw(self.statement(sql, [])).await?;
        Ok(row.map(|row| row.try_get_by_index(0)).transpose()?.unwrap_or_default())
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<()> {
        self.read().query_one_raw(self.statement("SELECT 1", [])).await?;
        Ok(())
    }

    /// Waits for what is under way and closes all connections. For the end of a process or a test.
    pub async fn close(&self) {
        let (readers, writer) = (self.0.readers.clone(), self.0.writer.clone());
        for connection in [readers, writer] {
            if let Err(error) = connection.close().await {
                tracing::debug!(%error, "closing the database failed");
            }
        }
    }

    pub(crate) fn large_outputs(&self) -> Option<&LargeOutputs> {
        self.0.options.large_outputs.as_ref()
    }

    pub(crate) fn read(&self) -> &DatabaseConnection {
        &self.0.readers
    }

    /// For single statements that change something.
    pub(crate) fn write(&self) -> &DatabaseConnection {
        &self.0.writer
    }

    /// The seam of all transactions that change something, on both databases: on SQLite there is one connection, which
    /// they take in turn, and the lock is taken at once (a transaction that starts reading and then writes could fail).
    pub(crate) async fn begin(&self) -> std::result::Result<DatabaseTransaction, DbErr> {
        let sqlite_transaction_mode = (self.backend() == Backend::Sqlite).then_some(SqliteTransactionMode::Immediate);
        self.0.writer.begin_with_options(TransactionOptions { sqlite_transaction_mode, ..Default::default() }).await
    }

    /// Several reads that see the same state.
    pub(crate) async fn snapshot(&self) -> std::result::Result<DatabaseTransaction, DbErr> {
        match self.backend() {
            Backend::Postgres => self.read().begin_with_config(Some(IsolationLevel::RepeatableRead), None).await,
            Backend::Sqlite => self.read().begin().await,
        }
    }

    pub(crate) fn statement(&self, sql: &str, values: impl IntoIterator<Item = sea_orm::Value>) -> Statement {
        let backend = match self.backend() {
            Backend::Postgres => DbBackend::Postgres,
            Backend::Sqlite => DbBackend::Sqlite,
        };
        Statement::from_sql_and_values(backend, sql, values)
    }

    pub(crate) fn shards_cell(&self) -> &OnceCell<u16> {
        &self.0.shards
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URL holds a password.
        write!(f, "Store({})", self.backend().as_str())
    }
}

fn sqlite_options(
    options: sea_orm::sqlx::sqlite::SqliteConnectOptions,
    full: bool,
) -> sea_orm::sqlx::sqlite::SqliteConnectOptions {
    use sea_orm::sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
    options
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(if full { SqliteSynchronous::Full } else { SqliteSynchronous::Normal })
        .busy_timeout(Duration::from_secs(5))
        .statement_cache_capacity(400)
        .foreign_keys(false)
}
