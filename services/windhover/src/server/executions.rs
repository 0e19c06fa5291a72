//! Executions as tasks see them, for notifications about other executions.

use std::time::Duration;

use async_trait::async_trait;
use windhover_engine::{Execution, TaskRun};
use windhover_executor::ExecutorHandle;
use windhover_store::{Store, TaskRunFilter};
use windhover_tasks::ExecutionSource;
use windhover_types::{Id, State, Tenant};

const PAGE: u64 = 1_000;

pub(super) struct StoredExecutions {
    store: Store,
    executor: ExecutorHandle,
}

impl StoredExecutions {
    pub(super) fn new(store: Store, executor: ExecutorHandle) -> Self {
        Self { store, executor }
    }
}

#[async_trait]
impl ExecutionSource for StoredExecutions {
    async fn execution(&self, tenant: &Tenant, id: Id) -> Result<Option<Execution>, String> {
        self.store.get_execution(tenant, id).await.map_err(|error| error.to_string())
    }

    async fn last_task_run(&self, tenant: &Tenant, id: Id, state: Option<State>) -> Result<Option<TaskRun>, String> {
        let filter = TaskRunFilter { states: state.into_iter().collect(), ..TaskRunFilter::default() };
        let mut after = None;
        let mut last = None;
        loop {
            let page = self.store.list_task_runs(tenant, id, &filter, after, PAGE).await.map_err(|error| error.to_string())?;
            match page.last() {
                Some(run) => after = Some(run.seq),
                None => return Ok(last),
            }
            last = page.into_iter().next_back();
        }
    }

    async fn changed(&self, tenant: &Tenant, id: Id, at_most: Duration) {
        let mut hints = self.executor.subscribe(tenant, id);
        let _ = tokio::time::timeout(at_most, hints.changed()).await;
    }
}
