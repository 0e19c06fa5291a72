//! Ended executions go, with all that is about them.
//!
//! Files lie outside of the database: whoever deletes an execution leaves a row that says so in the same transaction,
//! and the row goes when the files are gone. So none stays behind, whenever a process dies.

use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
};
use windhover_types::{Id, State, Tenant, Timestamp};

use crate::{
    Backend, NamespaceFilter, Store, TimeRange,
    bulk::{
        Bulk,
        Kind::{Bytes, Text},
        id, tenant,
    },
    entity::{executions, file_removals},
    error::Result,
    filter,
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

/// What a purge takes of executions that have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PurgeOf {
    /// They themselves with their task runs; then also go (see [`Store::file_removals`]) those of their outputs that are
    /// kept in files, and, if `files` is set, their files.
    pub executions: bool,
    pub logs: bool,
    pub metrics: bool,
    /// Only together with `executions`: of those that stay, whoever calls knows which files to delete.
    pub files: bool,
}

/// What a purge has taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Purged {
    /// Those of the executions that had ended: the purge was about them.
    pub executions: Vec<Id>,
    /// Lines.
    pub logs: u64,
    pub metrics: u64,
}

/// Which of the executions that have ended. Empty lists and open ranges ask nothing.
#[derive(Debug, Clone, Default)]
pub struct EndedFilter {
    pub namespaces: Vec<NamespaceFilter>,
    pub flow_ids: Vec<String>,
    pub states: Vec<State>,
    pub created: TimeRange,
    pub ended: TimeRange,
}

/// An execution and where it belongs, which is where its files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutionPlace {
    pub tenant: Tenant,
    pub id: Id,
    pub namespace: String,
    pub flow_id: String,
}

/// What is to go from internal storage because an execution was deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRemoval {
    pub place: ExecutionPlace,
    /// Its files stay; what goes is its outputs that were too large for rows.
    pub outputs_only: bool,
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
/// What it asks of the slots of its flow is for the owner of these, whether or not it is there: else its slot would
/// never be given back.
static INBOX: Bulk = Bulk::new(
    &[("tenant", Text), ("execution", Bytes)],
    "DELETE FROM inbox WHERE (tenant, execution) IN (SELECT {columns} FROM u) \
     AND message NOT LIKE '{\"message\":\"slot\"%'",
);
static LOGS: Bulk = delete_of!("logs", "execution");
static METRICS: Bulk = delete_of!("task_metrics", "execution");

macro_rules! leave {
    ($outputs_only:literal) => {
        Bulk::new(
            &[("tenant", Text), ("execution", Bytes)],
            concat!(
                "INSERT INTO file_removals (tenant, execution, namespace, flow_id, at, outputs_only) \
                 SELECT e.tenant, e.id, e.namespace, e.flow_id, {now}, ",
                $outputs_only,
                " FROM executions e JOIN u ON u.tenant = e.tenant AND u.execution = e.id \
                 WHERE true ON CONFLICT (tenant, execution) DO NOTHING"
            ),
        )
    };
}

static LEAVE_FILES: Bulk = leave!("false");
static LEAVE_OUTPUTS: Bulk = leave!("true");
static FILES_GONE: Bulk = delete_of!("file_removals", "execution");

impl Store {
    /// Deletes an execution that has ended. Needs no fence: an owner that is about to change it finds that it is gone
    /// as it finds any other difference, and nothing is written.
    pub async fn delete_execution(&self, tenant: &Tenant, execution: Id, also: DeleteAlso) -> Result<Deleted> {
        if self.delete_executions(tenant, &[execution], also).await? == [execution] {
            return Ok(Deleted::Done);
        }
        let there = self.execution_place(tenant, execution).await?.is_some();
        Ok(if there { Deleted::Open } else { Deleted::Missing })
    }

    /// Deletes those of the executions that have ended, and has their files deleted; answers them. A hundred to a
    /// transaction.
    pub async fn delete_executions(&self, tenant: &Tenant, wanted: &[Id], also: DeleteAlso) -> Result<Vec<Id>> {
        let of = PurgeOf { executions: true, logs: also.logs, metrics: also.metrics, files: true };
        Ok(self.purge_executions(tenant, wanted, of).await?.executions)
    }

    /// Takes from those of the executions that have ended what is asked; a hundred to a transaction. Needs no fence
    /// (see [`Self::delete_execution`]); the same again takes nothing.
    pub async fn purge_executions(&self, tenant: &Tenant, wanted: &[Id], of: PurgeOf) -> Result<Purged> {
        let mut purged = Purged::default();
        for chunk in wanted.chunks(CHUNK) {
            let db = self.begin().await?;
            let ended = self.lock_ended(&db, tenant, chunk).await?;
            if of.executions {
                each(&db, if of.files { &LEAVE_FILES } else { &LEAVE_OUTPUTS }, tenant, &ended).await?;
                // The execution first: whoever changes it at this moment waits for its row.
                for table in [&EXECUTIONS, &TASK_RUNS, &TIMERS, &JOBS, &INBOX] {
                    each(&db, table, tenant, &ended).await?;
                }
            }
            if of.logs {
                purged.logs += each(&db, &LOGS, tenant, &ended).await?;
            }
            if of.metrics {
                purged.metrics += each(&db, &METRICS, tenant, &ended).await?;
            }
            db.commit().await?;
            purged.executions.extend(ended);
        }
        Ok(purged)
    }

    /// Executions that have ended, with everything that runs after their end, oldest first, after that one.
    pub async fn ended_executions(
        &self,
        tenant: &Tenant,
        wanted: &EndedFilter,
        after: Option<Id>,
        limit: u64,
    ) -> Result<Vec<ExecutionPlace>> {
        use executions::Column;
        let condition = has_ended(tenant)
            // An operator is to look at it first.
            .add(Column::Parked.is_null())
            .add_option(filter::namespaces(Column::Namespace, &wanted.namespaces))
            .add_option(filter::any_of(Column::FlowId, wanted.flow_ids.iter().map(String::as_str)))
            .add_option(filter::any_of(Column::State, wanted.states.iter().map(|state| state.as_str())))
            .add(filter::time(Column::CreatedAt, wanted.created))
            .add(filter::time(Column::EndedAt, wanted.ended))
            .add_option(after.map(|after| Column::Id.gt(after.as_bytes().to_vec())));
        let rows: Vec<(Vec<u8>, String, String)> = executions::Entity::find()
            .select_only()
            .columns([Column::Id, Column::Namespace, Column::FlowId])
            .filter(condition)
            .order_by_asc(Column::Id)
            .limit(limit)
            .into_tuple()
            .all(self.read())
            .await?;
        let place = |(id, namespace, flow_id): (Vec<u8>, String, String)| {
            Ok(ExecutionPlace { tenant: tenant.clone(), id: parse_id("execution", &id)?, namespace, flow_id })
        };
        rows.into_iter().map(place).collect()
    }

    /// Executions of all tenants that were deleted before that time and whose files or outputs are still to be deleted,
    /// oldest first.
    pub async fn file_removals(&self, before: Timestamp, limit: u64) -> Result<Vec<FileRemoval>> {
        use file_removals::Column;
        let found = file_removals::Entity::find()
            .filter(Column::At.lt(before.as_micros()))
            .order_by_asc(Column::At)
            .limit(limit)
            .all(self.read())
            .await?;
        let removal = |row: file_removals::Model| {
            let place = ExecutionPlace {
                tenant: Tenant::trusted(&row.tenant),
                id: parse_id("removal of files", &row.execution)?,
                namespace: row.namespace,
                flow_id: row.flow_id,
            };
            Ok(FileRemoval { place, outputs_only: row.outputs_only })
        };
        found.into_iter().map(removal).collect()
    }

    /// What was to go of these executions is gone.
    pub async fn files_removed(&self, tenant: &Tenant, executions: &[Id]) -> Result<()> {
        each(self.write(), &FILES_GONE, tenant, executions).await?;
        Ok(())
    }

    async fn lock_ended(&self, db: &DatabaseTransaction, tenant: &Tenant, wanted: &[Id]) -> Result<Vec<Id>> {
        use executions::Column;
        let ended = has_ended(tenant).add(Column::Id.is_in(wanted.iter().map(|id| id.as_bytes().to_vec())));
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

fn has_ended(tenant: &Tenant) -> Condition {
    use executions::Column;
    Condition::all()
        .add(Column::Tenant.eq(tenant.as_str()))
        .add(Column::Open.eq(false))
        .add(Column::EndedAt.is_not_null())
}

/// Runs a statement over executions; tells how many rows it touched.
async fn each(db: &impl ConnectionTrait, statement: &'static Bulk, of: &Tenant, ids: &[Id]) -> Result<u64> {
    let mut rows = statement.rows(ids.len());
    for execution in ids {
        rows.push([tenant(of), id(*execution)]);
    }
    Ok(rows.run(db).await?)
}
