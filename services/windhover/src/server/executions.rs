//! Executions as tasks see them: for notifications about executions, and what their own has logged.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::time::{Instant, timeout_at};
use windhover_engine::{Execution, LogLine, TaskRun};
use windhover_queue::Hints;
use windhover_store::{LogFilter, LogRow, Store, TaskRunFilter};
use windhover_tasks::ExecutionSource;
use windhover_types::{Id, Level, State, Tenant};

const PAGE: u64 = 1_000;

/// The oldest lines are looked for among so many, in the order in which they came: a task's lines come after lines of
/// others that were written later, but not by much.
const ERROR_LINES: u64 = 250;

pub(super) struct StoredExecutions {
    store: Store,
    hints: Arc<dyn Hints>,
}

impl StoredExecutions {
    pub(super) fn new(store: Store, hints: Arc<dyn Hints>) -> Self {
        Self { store, hints }
    }

    async fn error_rows(&self, tenant: &Tenant, id: Id) -> Result<Vec<LogRow>, String> {
        let filter = LogFilter { min_level: Some(Level::Error), ..LogFilter::default() };
        let rows = self.store.list_execution_logs(tenant, id, &filter, 0, ERROR_LINES).await;
        rows.map_err(|error| error.to_string())
    }
}

#[async_trait]
impl ExecutionSource for StoredExecutions {
    async fn execution(&self, tenant: &Tenant, id: Id) -> Result<Option<Execution>, String> {
        self.store.get_execution(tenant, id).await.map_err(|error| error.to_string())
    }

    async fn last_task_run(
        &self,
        tenant: &Tenant,
        id: Id,
        state: Option<State>,
        but: Option<Id>,
    ) -> Result<Option<TaskRun>, String> {
        let filter = TaskRunFilter { states: state.into_iter().collect(), ..TaskRunFilter::default() };
        let mut after = None;
        let mut last = None;
        let told = |error: windhover_store::StoreError| error.to_string();
        loop {
            let page =
                self.store.list_task_runs_without_outputs(tenant, id, &filter, after, PAGE).await.map_err(told)?;
            match page.last() {
                Some(run) => after = Some(run.seq),
                None => break,
            }
            // A page of nothing else leaves the one that was found before.
            last = page.into_iter().map(|run| run.id).rfind(|run| Some(*run) != but).or(last);
        }
        match last {
            Some(run) => self.store.get_task_run(tenant, id, run).await.map_err(told),
            None => Ok(None),
        }
    }

    async fn error_logs(&self, tenant: &Tenant, id: Id, limit: usize, wait: Duration) -> Result<Vec<LogLine>, String> {
        // Before the first look: no line can come between that and the waiting.
        let mut hints = self.hints.subscribe(tenant, id);
        let until = Instant::now() + wait;
        let mut rows = self.error_rows(tenant, id).await?;
        while rows.is_empty() && timeout_at(until, hints.changed()).await.unwrap_or(false) {
            rows = self.error_rows(tenant, id).await?;
        }
        let mut lines: Vec<LogLine> = rows.into_iter().map(|row| row.line).collect();
        lines.sort_by_key(|line| line.at);
        lines.truncate(limit);
        Ok(lines)
    }

    async fn log_lines(
        &self,
        tenant: &Tenant,
        id: Id,
        task_ids: &[String],
        min_level: Level,
        after: Option<i64>,
        limit: u64,
    ) -> Result<Vec<(i64, LogLine)>, String> {
        let filter = LogFilter { min_level: Some(min_level), task_ids: task_ids.to_vec(), ..LogFilter::default() };
        let from = after.map_or(0, |after| after + 1);
        let rows = self.store.list_execution_logs(tenant, id, &filter, from, limit).await;
        Ok(rows.map_err(|error| error.to_string())?.into_iter().map(|row| (row.position, row.line)).collect())
    }

    async fn changed(&self, tenant: &Tenant, id: Id, at_most: Duration) {
        let mut hints = self.hints.subscribe(tenant, id);
        let _ = tokio::time::timeout(at_most, hints.changed()).await;
    }
}
