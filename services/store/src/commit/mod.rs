//! Committing a batch: whole or not at all, exactly once.
//!
//! Always true: a batch that was built under an epoch which has moved writes nothing; a row is written only over the
//! version that the batch has seen; every inbox row is taken once. Any difference rolls the transaction back, and only
//! then is it found out what differs, so that the common case pays nothing for it.

mod diagnose;
mod outputs;
mod statements;
mod transport;
mod write;

pub(crate) use self::transport::send;

use std::{collections::HashSet, time::Duration};

use sea_orm::{ColumnTrait, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait, QueryFilter};
use windhover_types::{Id, Tenant};

use self::write::{Count, Writing};
use crate::{
    Backend, Batch, CommitError, Fence, RequestIdRow, Store, StoreError,
    bulk::id,
    entity::tenants,
    error::{Fault, fault_of, trouble_of},
};

/// How often a transaction is repeated that the database has chosen as a deadlock's victim.
const RETRIES: u32 = 5;

/// Which of the counts differed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Difference {
    NewExecutions,
    ChangedExecutions,
    NewTaskRuns,
    ChangedTaskRuns,
    Logs,
    Inbox,
    RequestIds,
    Feed,
    Triggers,
    Windows,
}

/// Why the statements of a batch stopped.
#[derive(Debug)]
enum Stop {
    Fenced,
    FlowsMoved(Vec<(Tenant, i64)>),
    Differs(Difference),
    Database(DbErr),
}

impl From<DbErr> for Stop {
    fn from(error: DbErr) -> Self {
        Self::Database(error)
    }
}

impl Store {
    /// Commits what an executor has computed, if it still owns what it has computed it for.
    ///
    /// On any error nothing was written, but for [`CommitError::Unknown`]. Values that the database cannot hold (NUL
    /// in a text) are replaced beforehand; what it refuses all the same is narrowed down to the executions. Where that
    /// leads nowhere it is [`CommitError::Refused`].
    pub async fn commit(&self, fence: &Fence, batch: &Batch) -> Result<(), CommitError> {
        self.commit_batch(Some(fence), batch).await
    }

    /// Commits new executions of a process that does not own their shards: `new_executions` (and the task runs that
    /// they are made with), `request_ids`, `inbox_sent` (an [`crate::InboxMessage::Created`] for each),
    /// `flow_versions`, `triggers_advanced` and `windows_taken`. Whatever else the batch holds would be written without a fence and is
    /// refused as [`CommitError::Fenced`].
    pub async fn create(&self, batch: &Batch) -> Result<(), CommitError> {
        let only_new = batch.changed_executions.is_empty()
            && batch.task_runs.iter().all(|row| {
                row.run.version == 1 && batch.new_executions.iter().any(|execution| execution.id == row.execution)
            })
            && batch.task_runs_removed.is_empty()
            && batch.logs.is_empty()
            && batch.metrics.is_empty()
            && batch.timers_set.is_empty()
            && batch.timers_cleared.is_empty()
            && batch.jobs_started.is_empty()
            && batch.jobs_ended.is_empty()
            && batch.jobs_noted.is_empty()
            && batch.inbox_done.is_empty()
            && batch.feed.is_empty()
            && batch.window_offers.is_empty()
            && batch.slots_set.is_empty()
            && batch.slots_cleared.is_empty()
            && batch.parked.is_empty();
        if !only_new {
            return Err(CommitError::Fenced);
        }
        self.commit_batch(None, batch).await
    }

    async fn commit_batch(&self, fence: Option<&Fence>, batch: &Batch) -> Result<(), CommitError> {
        if let Some(first) = first_of_equal_requests(batch) {
            return Err(CommitError::RequestIds(vec![first]));
        }
        let shards = self.shards().await.map_err(failed)?;
        let outputs = self.outputs_of(batch).await?;
        let writing = Writing { batch, outputs: &outputs, shards, only: None };
        let mut tries = 0;
        loop {
            let transaction = self.begin().await.map_err(|error| failed(error.into()))?;
            let stop = match self.write_all(&transaction, fence, &writing).await {
                Ok(()) => match transaction.commit().await {
                    Ok(()) => return Ok(()),
                    Err(error) => match fault_of(&error) {
                        Fault::Connection => return Err(CommitError::Unknown(error.to_string())),
                        _ => Stop::Database(error),
                    },
                },
                Err(stop) => {
                    // Gone with the connection at the latest.
                    let _ = transaction.rollback().await;
                    stop
                }
            };
            let error = match stop {
                Stop::Fenced => return Err(CommitError::Fenced),
                Stop::FlowsMoved(versions) => return Err(CommitError::FlowsMoved(versions)),
                Stop::Differs(difference) => {
                    return Err(self.explain(batch, difference).await.unwrap_or_else(failed));
                }
                Stop::Database(error) => error,
            };
            match fault_of(&error) {
                Fault::Retry if tries < RETRIES => {
                    tries += 1;
                    tokio::time::sleep(Duration::from_millis(u64::from(tries) * 5)).await;
                }
                Fault::Retry | Fault::Connection => return Err(unavailable(&error)),
                Fault::Statement => return Err(CommitError::Refused(error.to_string())),
                Fault::Data | Fault::Unique | Fault::Other => return Err(self.narrow(&writing, error).await),
            }
        }
    }

    async fn write_all(
        &self,
        db: &DatabaseTransaction,
        fence: Option<&Fence>,
        writing: &Writing<'_>,
    ) -> Result<(), Stop> {
        if let Some(fence) = fence {
            self.check_fence(db, fence).await?;
        }
        check_flow_versions(db, &writing.batch.flow_versions).await?;
        exact(writing.advance_triggers(db).await?, Difference::Triggers)?;
        exact(writing.take_offers(db).await?, Difference::Windows)?;
        write_rows(db, writing).await?;
        exact(writing.insert_request_ids(db).await?, Difference::RequestIds)?;
        exact(writing.append_feed(db).await?, Difference::Feed)
    }

    /// Locks the instance's row against whoever wants to move its shards, until the end of the transaction.
    async fn check_fence(&self, db: &DatabaseTransaction, fence: &Fence) -> Result<(), Stop> {
        let sql = match self.backend() {
            Backend::Postgres => "SELECT epoch FROM service_instances WHERE id = $1 FOR KEY SHARE",
            // The transaction holds the only write lock there is.
            Backend::Sqlite => "SELECT epoch FROM service_instances WHERE id = ?",
        };
        let row = db.query_one_raw(self.statement(sql, [id(fence.instance)])).await?;
        let epoch: Option<i64> = row.map(|row| row.try_get_by_index(0)).transpose()?;
        if epoch == Some(fence.epoch) { Ok(()) } else { Err(Stop::Fenced) }
    }

    /// Finds the executions whose data the database refuses, by trying halves that are rolled back.
    ///
    /// An error that does not tell of data is held against executions only where others pass.
    async fn narrow(&self, writing: &Writing<'_>, error: DbErr) -> CommitError {
        let of_data = matches!(fault_of(&error), Fault::Data | Fault::Unique);
        let mut reason = error;
        let mut refused = Vec::new();
        let all = executions_of(writing.batch);
        let count = all.len();
        let mut open: Vec<Vec<Id>> = if of_data || count > 1 { vec![all] } else { Vec::new() };
        while let Some(mut ids) = open.pop() {
            if ids.len() > 1 {
                let half = ids.split_off(ids.len() / 2);
                for part in [ids, half] {
                    match self.try_part(writing, &part).await {
                        Ok(None) => {}
                        Ok(Some(error)) => {
                            reason = error;
                            open.push(part);
                        }
                        Err(error) => return failed(error),
                    }
                }
            } else {
                refused.append(&mut ids);
            }
        }
        let reason = reason.to_string();
        if refused.is_empty() || (!of_data && refused.len() == count) {
            return CommitError::Refused(reason);
        }
        CommitError::Data { executions: refused, reason }
    }

    async fn try_part(&self, writing: &Writing<'_>, ids: &[Id]) -> Result<Option<DbErr>, StoreError> {
        let only: HashSet<Id> = ids.iter().copied().collect();
        let transaction = self.begin().await?;
        let part = Writing { only: Some(&only), ..*writing };
        let outcome = match write_rows(&transaction, &part).await {
            Ok(()) => part.insert_request_ids(&transaction).await.map(drop).map_err(Stop::from),
            stopped => stopped,
        };
        let _ = transaction.rollback().await;
        match outcome {
            Err(Stop::Database(error)) => match fault_of(&error) {
                Fault::Retry | Fault::Connection | Fault::Statement => Err(error.into()),
                Fault::Data | Fault::Unique | Fault::Other => Ok(Some(error)),
            },
            _ => Ok(None),
        }
    }
}

/// Everything that belongs to executions.
async fn write_rows(db: &DatabaseTransaction, writing: &Writing<'_>) -> Result<(), Stop> {
    exact(writing.insert_executions(db).await?, Difference::NewExecutions)?;
    exact(writing.update_executions(db).await?, Difference::ChangedExecutions)?;
    writing.delete_task_runs(db).await?;
    exact(writing.insert_task_runs(db).await?, Difference::NewTaskRuns)?;
    exact(writing.update_task_runs(db).await?, Difference::ChangedTaskRuns)?;
    exact(writing.delete_inbox(db).await?, Difference::Inbox)?;
    exact(writing.insert_logs(db).await?, Difference::Logs)?;
    writing.insert_metrics(db).await?;
    writing.write_timers(db).await?;
    writing.write_jobs(db).await?;
    writing.write_slots(db).await?;
    writing.insert_inbox(db).await?;
    writing.insert_offers(db).await?;
    writing.park(db).await?;
    Ok(())
}

fn exact(count: Count, difference: Difference) -> Result<(), Stop> {
    if count.is_exact() { Ok(()) } else { Err(Stop::Differs(difference)) }
}

async fn check_flow_versions(db: &DatabaseTransaction, expected: &[(Tenant, i64)]) -> Result<(), Stop> {
    if expected.is_empty() {
        return Ok(());
    }
    let names = expected.iter().map(|(tenant, _)| tenant.as_str());
    let stored = tenants::Entity::find().filter(tenants::Column::Tenant.is_in(names)).all(db).await?;
    let moved: Vec<(Tenant, i64)> = expected
        .iter()
        .filter_map(|(tenant, version)| {
            // A tenant that is gone has no flows.
            let now = stored.iter().find(|row| row.tenant == tenant.as_str()).map_or(0, |row| row.flow_version);
            (now != *version).then(|| (tenant.clone(), now))
        })
        .collect();
    if moved.is_empty() { Ok(()) } else { Err(Stop::FlowsMoved(moved)) }
}

/// The sentence for operators first, then what the database has said.
fn unavailable(error: &DbErr) -> CommitError {
    CommitError::Unavailable(format!("{} ({error})", trouble_of(error)))
}

fn failed(error: StoreError) -> CommitError {
    let reason = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
    match error {
        StoreError::Unavailable(error) => unavailable(&error),
        StoreError::StorageUnavailable(_) => CommitError::Unavailable(reason),
        StoreError::Database(_)
        | StoreError::Corrupt { .. }
        | StoreError::OutputsGone { .. }
        | StoreError::NoTenant => CommitError::Refused(reason),
    }
}

fn request_key(row: &RequestIdRow) -> (&str, &str, &str) {
    (row.tenant.as_str(), &row.method, &row.request_id)
}

fn first_of_equal_requests(batch: &Batch) -> Option<RequestIdRow> {
    let mut seen = std::collections::HashMap::new();
    batch.request_ids.iter().find_map(|row| seen.insert(request_key(row), row).cloned())
}

/// Every execution that the batch writes something about, once.
fn executions_of(batch: &Batch) -> Vec<Id> {
    let all = (batch.new_executions.iter().chain(&batch.changed_executions).map(|row| row.id))
        .chain(batch.task_runs.iter().map(|row| row.execution))
        .chain(batch.logs.iter().map(|row| row.execution))
        .chain(batch.metrics.iter().map(|row| row.execution))
        .chain(batch.timers_set.iter().map(|row| row.execution))
        .chain(batch.jobs_started.iter().map(|row| row.execution))
        .chain(batch.slots_set.iter().map(|row| row.key.execution))
        .chain(batch.inbox_sent.iter().map(|row| row.execution))
        .chain(batch.window_offers.iter().map(|row| row.upstream))
        .chain(batch.parked.iter().map(|row| row.execution))
        .chain(batch.request_ids.iter().filter_map(|row| row.result.parse().ok()));
    let mut ids: Vec<Id> = all.collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}
