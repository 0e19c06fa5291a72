//! What tasks ask the rest of the server for.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use serde_json::Value;
use windhover_engine::{Execution, LogLine, TaskRun};
use windhover_types::{Cipher, Id, Level, Secret, State, Tenant, Timestamp};

/// Secrets of a tenant.
#[async_trait]
pub trait SecretSource: Send + Sync + 'static {
    /// The value of `key` (upper case) in `namespace` or the nearest of its parents that has it; `None`: nowhere.
    ///
    /// # Errors
    /// Why it could not be looked up; without any part of the value.
    async fn secret(&self, tenant: &Tenant, namespace: &str, key: &str) -> Result<Option<Secret>, String>;

    /// What seals and opens values of type SECRET of the tenant.
    ///
    /// # Errors
    /// A sentence for the user: there are no keys, or they cannot be read.
    async fn cipher(&self, _tenant: &Tenant) -> Result<Arc<dyn Cipher>, String> {
        Err("values of type SECRET cannot be decrypted without a key: set windhover.master-key (WINDHOVER_MASTER_KEY) or windhover.master-key-file".to_owned())
    }
}

/// Executions of a tenant, as they are stored.
#[async_trait]
pub trait ExecutionSource: Send + Sync + 'static {
    /// The execution as it is now; `None`: there is none (yet).
    ///
    /// # Errors
    /// Why it could not be looked up.
    async fn execution(&self, tenant: &Tenant, id: Id) -> Result<Option<Execution>, String>;

    /// The last task run, in order of creation, of those that are in `state` now (`None`: of all), without `but`.
    ///
    /// # Errors
    /// Why it could not be looked up.
    async fn last_task_run(
        &self,
        tenant: &Tenant,
        id: Id,
        state: Option<State>,
        but: Option<Id>,
    ) -> Result<Option<TaskRun>, String>;

    /// The lines of level ERROR that the execution has logged so far, oldest first, at most `limit`. Waits at most
    /// this long for the first of them; after that, none is an empty list.
    ///
    /// # Errors
    /// Why they could not be looked up; by default, that this source has no logs.
    async fn error_logs(
        &self,
        _tenant: &Tenant,
        _id: Id,
        _limit: usize,
        _wait: Duration,
    ) -> Result<Vec<LogLine>, String> {
        Err("The logs of executions cannot be read here".to_owned())
    }

    /// Lines of these tasks (empty: of all) from this level on, in the order in which they were written, after that
    /// position (`None`: from the first), at most `limit`, each with its position.
    ///
    /// # Errors
    /// Why they could not be looked up; by default, that this source has no logs.
    async fn log_lines(
        &self,
        _tenant: &Tenant,
        _id: Id,
        _task_ids: &[String],
        _min_level: Level,
        _after: Option<i64>,
        _limit: u64,
    ) -> Result<Vec<(i64, LogLine)>, String> {
        Err("The logs of executions cannot be read here".to_owned())
    }

    /// Waits until the execution may have changed, at most this long. May return early.
    async fn changed(&self, _tenant: &Tenant, _id: Id, at_most: Duration) {
        tokio::time::sleep(at_most).await;
    }
}

/// An entry of a key-value store.
#[derive(Debug, Clone, PartialEq)]
pub enum KvFound {
    Value {
        value: Value,
        kind: KvKind,
    },
    Absent,
    /// It is there, and its time is over.
    Expired,
}

/// What a value is, beyond its JSON (flow model reference 8.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KvKind {
    String,
    Number,
    Boolean,
    DateTime,
    Date,
    Duration,
    Json,
}

impl KvKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::String => "STRING",
            Self::Number => "NUMBER",
            Self::Boolean => "BOOLEAN",
            Self::DateTime => "DATETIME",
            Self::Date => "DATE",
            Self::Duration => "DURATION",
            Self::Json => "JSON",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::String, Self::Number, Self::Boolean, Self::DateTime, Self::Date, Self::Duration, Self::Json]
            .into_iter()
            .find(|kind| kind.as_str().eq_ignore_ascii_case(text.trim()))
    }
}

/// What is to be stored under a key.
#[derive(Debug, Clone, PartialEq)]
pub struct KvWrite {
    pub value: Value,
    pub kind: KvKind,
    pub description: Option<String>,
    /// How long it is good; `None`: for ever, also when the one before was not.
    pub ttl: Option<Duration>,
    /// `false`: an entry that is there and good is left alone.
    pub overwrite: bool,
}

/// Which keys are meant.
pub type KeyTest = dyn Fn(&str) -> bool + Send + Sync;

/// What a purge takes of the keys of a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KvPurge {
    /// Keys with all that they have been; only those whose time has passed, or all that have a value.
    Keys { expired_only: bool },
    /// What keys were up to that time (included), without their newest versions.
    WrittenUntil(Timestamp),
    /// All but so many of the newest versions of each key, deleted ones too; with 0 keys go as a whole.
    AllButNewest(u32),
}

/// Key-value stores of a tenant's namespaces. Errors say why something could not be done, without any value.
#[async_trait]
pub trait KeyValueSource: Send + Sync + 'static {
    async fn get(&self, tenant: &Tenant, namespace: &str, key: &str) -> Result<KvFound, String>;

    /// `false`: nothing was stored, since the key exists and `overwrite` is false.
    async fn put(&self, tenant: &Tenant, namespace: &str, key: &str, write: KvWrite) -> Result<bool, String>;

    /// Whether there was one that had not expired.
    async fn delete(&self, tenant: &Tenant, namespace: &str, key: &str) -> Result<bool, String>;

    /// Keys that begin with `prefix` and have not expired, in order.
    async fn keys(&self, tenant: &Tenant, namespace: &str, prefix: &str) -> Result<Vec<String>, String>;

    /// Takes this from the keys of a namespace (not of those below it) that `chosen` admits; tells how many keys or
    /// versions it has taken.
    async fn purge(
        &self,
        _tenant: &Tenant,
        _namespace: &str,
        _chosen: &KeyTest,
        _purge: KvPurge,
    ) -> Result<u64, String> {
        Err("Keys cannot be purged here".to_owned())
    }

    /// Whether a flow or a key is in the namespace.
    async fn namespace_exists(&self, tenant: &Tenant, namespace: &str) -> Result<bool, String>;
}
