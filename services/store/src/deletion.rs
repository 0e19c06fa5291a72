//! Ended executions go, with all that is about them.

use sea_orm::{ColumnTrait, Condition, ConnectionTrait, DatabaseTransaction, EntityTrait, QueryFilter, QuerySelect};
use windhover_types::{Id, Tenant};

use crate::{
    Backend, Store,
    bulk::{
        Bulk,
        Kind::{Bytes, Text},
        id, tenant,
    },
    entity::executions,
    error::Result,
    rows::parse_id,
};

/// Executions of one transaction.
const CHUNK: usize = 100;

/// What goes with an execution besides its task runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeleteAlso {
    pub logs: bool,
    pub metrics: bool,
}

impl DeleteAlso {
    pub const EVERYTHING: Self = Self { logs: true, metrics: true };
}

/// What became of a wish to delete an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    Done,
    /// It has not ended.
    Open,
    /// There is none.
    Missing,
}

macro_rules! delete_of {
    ($table:literal, $column:literal) => {
        Bulk::new(
            &[("tenant", Text), ("execution", Bytes)],
            concat!("DELETE FROM ", $table, " WHERE (tenant, ", $column, ") IN (SELECT {columns} FROM u)"),
        )
    };
}

static EXECUTIONS: Bulk = delete_of!("executions", "id");
static TASK_RUNS: Bulk = delete_of!("task_runs", "execution");
static TIMERS: Bulk = delete_of!("timers", "execution");
static JOBS: Bulk = delete_of!("jobs", "execution");
static INBOX: Bulk = delete_of!("inbox", "execution");
static LOGS: Bulk = delete_of!("logs", "execution");
static METRICS: Bulk = delete_of!("task_metrics", "execution");

impl Store {
    /// Deletes an execution that has ended. Needs no fence: an owner that is about to change it finds that it is gone
    /// as it finds any other difference, and nothing is written.
    pub async fn delete_execution(&self, tenant: &Tenant, execution: Id, also: DeleteAlso) -> Result<Deleted> {
        if self.delete_executions(tenant, &[execution], also).await? == [execution] {
            return Ok(Deleted::Done);
        }
        let there = self.get_execution(tenant, execution).await?.is_some();
        Ok(if there { Deleted::Open } else { Deleted::Missing })
    }

    /// Deletes those of the executions that have ended; answers them. A hundred to a transaction.
    pub async fn delete_executions(&self, tenant: &Tenant, wanted: &[Id], also: DeleteAlso) -> Result<Vec<Id>> {
        let mut deleted = Vec::new();
        for chunk in wanted.chunks(CHUNK) {
            let db = self.begin().await?;
            let ended = self.lock_ended(&db, tenant, chunk).await?;
            // The execution first: whoever changes it at this moment waits for its row.
            for table in [&EXECUTIONS, &TASK_RUNS, &TIMERS, &JOBS, &INBOX] {
                delete(&db, table, tenant, &ended).await?;
            }
            if also.logs {
                delete(&db, &LOGS, tenant, &ended).await?;
            }
            if also.metrics {
                delete(&db, &METRICS, tenant, &ended).await?;
            }
            db.commit().await?;
            deleted.extend(ended);
        }
        Ok(deleted)
    }

    async fn lock_ended(&self, db: &DatabaseTransaction, tenant: &Tenant, wanted: &[Id]) -> Result<Vec<Id>> {
        use executions::Column;
        let ended = Condition::all()
            .add(Column::Tenant.eq(tenant.as_str()))
            .add(Column::Id.is_in(wanted.iter().map(|id| id.as_bytes().to_vec())))
            .add(Column::Open.eq(false))
            .add(Column::EndedAt.is_not_null());
        let mut query = executions::Entity::find().select_only().column(Column::Id).filter(ended);
        if self.backend() == Backend::Postgres {
            query = query.lock_exclusive();
        }
        let ids: Vec<Vec<u8>> = query.into_tuple().all(db).await?;
        let mut ids: Vec<Id> = ids.iter().map(|id| parse_id("execution", id)).collect::<Result<_>>()?;
        ids.sort_unstable();
        Ok(ids)
    }
}

async fn delete(db: &impl ConnectionTrait, table: &'static Bulk, of: &Tenant, ids: &[Id]) -> Result<()> {
    let mut rows = table.rows(ids.len());
    for execution in ids {
        rows.push([tenant(of), id(*execution)]);
    }
    rows.run(db).await?;
    Ok(())
}
