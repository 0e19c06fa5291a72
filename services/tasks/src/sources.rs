//! What tasks ask the rest of the server for.

use std::time::Duration;

use async_trait::async_trait;
use windhover_engine::{Execution, LogLine, TaskRun};
use windhover_types::{Id, Secret, State, Tenant};

/// Secrets of a tenant.
#[async_trait]
pub trait SecretSource: Send + Sync + 'static {
    /// The value of `key` (upper case) in `namespace` or the nearest of its parents that has it; `None`: nowhere.
    ///
    /// # Errors
    /// Why it could not be looked up; without any part of the value.
    async fn secret(&self, tenant: &Tenant, namespace: &str, key: &str) -> Result<Option<Secret>, String>;
}

/// Executions of a tenant, as they are stored.
#[async_trait]
pub trait ExecutionSource: Send + Sync + 'static {
    /// The execution as it is now; `None`: there is none (yet).
    ///
    /// # Errors
    /// Why it could not be looked up.
    async fn execution(&self, tenant: &Tenant, id: Id) -> Result<Option<Execution>, String>;

    /// The last task run, in order of creation, of those that are in `state` now (`None`: of all).
    ///
    /// # Errors
    /// Why it could not be looked up.
    async fn last_task_run(&self, tenant: &Tenant, id: Id, state: Option<State>) -> Result<Option<TaskRun>, String>;

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

    /// Waits until the execution may have changed, at most this long. May return early.
    async fn changed(&self, _tenant: &Tenant, _id: Id, at_most: Duration) {
        tokio::time::sleep(at_most).await;
    }
}
