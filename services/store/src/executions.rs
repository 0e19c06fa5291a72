//! Reading executions and task runs.

use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, IntoSimpleExpr, QueryFilter, QueryOrder, QuerySelect,
    sea_query::{Expr, ExprTrait, Func, SimpleExpr},
};
use windhover_engine::{Execution, TaskRun};
use windhover_types::{Id, Label, State, Tenant};

use crate::{
    Backend, ExecutionPlace, NamespaceFilter, Store, TimeRange,
    entity::{executions, task_runs},
    error::Result,
    filter,
    large::without_outputs,
    rows::{self, json},
};

/// Which executions: what is given must hold, all of it. Empty lists and `None` ask nothing.
#[derive(Debug, Clone, Default)]
pub struct ExecutionFilter {
    /// Any of these.
    pub namespaces: Vec<NamespaceFilter>,
    /// Any of these.
    pub flow_ids: Vec<String>,
    pub flow_revision: Option<u32>,
    /// Any of these.
    pub states: Vec<State>,
    /// All of these.
    pub labels: Vec<Label>,
    /// None of these.
    pub without_labels: Vec<Label>,
    pub created: TimeRange,
    /// First RUNNING.
    pub started: TimeRange,
    pub ended: TimeRange,
    pub trigger_id: Option<String>,
    /// `trigger.variables.executionId`: what this execution has caused.
    pub cause: Option<Id>,
    /// Subflows of this execution.
    pub parent: Option<Id>,
    /// Each of these too.
    pub all: Vec<ExecutionFilter>,
    /// At least one of these.
    pub any: Vec<ExecutionFilter>,
    /// None of these.
    pub not: Vec<ExecutionFilter>,
}

/// Which task runs of an execution. Empty lists ask nothing.
#[derive(Debug, Clone, Default)]
pub struct TaskRunFilter {
    pub task_ids: Vec<String>,
    pub states: Vec<State>,
    pub parent: Option<Id>,
}

impl Store {
    /// `None`: there is none of that id in the tenant.
    pub async fn get_execution(&self, tenant: &Tenant, id: Id) -> Result<Option<Execution>> {
        let row = find(self.read(), tenant, id).await?;
        self.with_own_outputs(row).await?.map(rows::execution).transpose()
    }

    /// Whether there is such an execution, and where it belongs: without its data.
    pub async fn execution_place(&self, tenant: &Tenant, id: Id) -> Result<Option<ExecutionPlace>> {
        let found: Option<(String, String)> =
            executions::Entity::find_by_id((tenant.as_str().to_owned(), id.as_bytes().to_vec()))
                .select_only()
                .columns([executions::Column::Namespace, executions::Column::FlowId])
                .into_tuple()
                .one(self.read())
                .await?;
        Ok(found.map(|(namespace, flow_id)| ExecutionPlace { tenant: tenant.clone(), id, namespace, flow_id }))
    }

    /// Newest first, after that one.
    pub async fn list_executions(
        &self,
        tenant: &Tenant,
        filter: &ExecutionFilter,
        after: Option<Id>,
        limit: u64,
    ) -> Result<Vec<Execution>> {
        let found = self.execution_rows(tenant, filter, after, limit).await?;
        self.with_outputs(found).await?.into_iter().map(rows::execution).collect()
    }

    /// [`Self::list_executions`] with no outputs in them.
    pub async fn list_executions_without_outputs(
        &self,
        tenant: &Tenant,
        filter: &ExecutionFilter,
        after: Option<Id>,
        limit: u64,
    ) -> Result<Vec<Execution>> {
        let found = self.execution_rows(tenant, filter, after, limit).await?;
        without_outputs(found).into_iter().map(rows::execution).collect()
    }

    async fn execution_rows(
        &self,
        tenant: &Tenant,
        filter: &ExecutionFilter,
        after: Option<Id>,
        limit: u64,
    ) -> Result<Vec<executions::Model>> {
        let mut query = executions::Entity::find()
            .filter(executions::Column::Tenant.eq(tenant.as_str()))
            .filter(condition(self.backend(), filter))
            .order_by_desc(executions::Column::Id)
            .limit(limit);
        if let Some(after) = after {
            query = query.filter(executions::Column::Id.lt(after.as_bytes().to_vec()));
        }
        Ok(query.all(self.read()).await?)
    }

    /// In order of creation, after that number.
    pub async fn list_task_runs(
        &self,
        tenant: &Tenant,
        execution: Id,
        filter: &TaskRunFilter,
        after: Option<u32>,
        limit: u64,
    ) -> Result<Vec<TaskRun>> {
        let found = task_runs(self.read(), tenant, execution, filter, after, limit).await?;
        runs(self.with_outputs(found).await?)
    }

    /// [`Self::list_task_runs`] with no outputs in them.
    pub async fn list_task_runs_without_outputs(
        &self,
        tenant: &Tenant,
        execution: Id,
        filter: &TaskRunFilter,
        after: Option<u32>,
        limit: u64,
    ) -> Result<Vec<TaskRun>> {
        runs(without_outputs(task_runs(self.read(), tenant, execution, filter, after, limit).await?))
    }

    /// Those of these ids that are in the execution, in order of creation. For few of them.
    pub async fn get_task_runs(&self, tenant: &Tenant, execution: Id, ids: &[Id]) -> Result<Vec<TaskRun>> {
        let ids = ids.iter().map(|id| id.as_bytes().to_vec());
        let found = scoped_task_runs(tenant, execution)
            .filter(task_runs::Column::Id.is_in(ids))
            .order_by_asc(task_runs::Column::Seq)
            .all(self.read())
            .await?;
        runs(self.with_outputs(found).await?)
    }

    /// `None`: there is none of that id in the execution.
    pub async fn get_task_run(&self, tenant: &Tenant, execution: Id, id: Id) -> Result<Option<TaskRun>> {
        let row = scoped_task_runs(tenant, execution)
            .filter(task_runs::Column::Id.eq(id.as_bytes().to_vec()))
            .one(self.read())
            .await?;
        Ok(self.with_own_outputs(row).await?.map(rows::task_run).transpose()?.map(|row| row.run))
    }
}

async fn find(db: &impl ConnectionTrait, tenant: &Tenant, id: Id) -> Result<Option<executions::Model>> {
    Ok(executions::Entity::find_by_id((tenant.as_str().to_owned(), id.as_bytes().to_vec())).one(db).await?)
}

fn scoped_task_runs(tenant: &Tenant, execution: Id) -> sea_orm::Select<task_runs::Entity> {
    task_runs::Entity::find()
        .filter(task_runs::Column::Tenant.eq(tenant.as_str()))
        .filter(task_runs::Column::Execution.eq(execution.as_bytes().to_vec()))
}

async fn task_runs(
    db: &impl ConnectionTrait,
    tenant: &Tenant,
    execution: Id,
    filter: &TaskRunFilter,
    after: Option<u32>,
    limit: u64,
) -> Result<Vec<task_runs::Model>> {
    use task_runs::Column;
    let condition = Condition::all()
        .add_option(filter::any_of(Column::TaskId, filter.task_ids.iter().map(String::as_str)))
        .add_option(filter::any_of(Column::State, filter.states.iter().map(|state| state.as_str())))
        .add_option(filter.parent.map(|parent| Column::ParentId.eq(parent.as_bytes().to_vec())))
        .add_option(after.map(|after| Column::Seq.gt(after)));
    Ok(scoped_task_runs(tenant, execution).filter(condition).order_by_asc(Column::Seq).limit(limit).all(db).await?)
}

fn runs(rows: Vec<task_runs::Model>) -> Result<Vec<TaskRun>> {
    rows.into_iter().map(|row| Ok(rows::task_run(row)?.run)).collect()
}

fn condition(backend: Backend, filter: &ExecutionFilter) -> Condition {
    use executions::Column;
    let bytes = |id: &Id| id.as_bytes().to_vec();
    let mut all = Condition::all()
        .add_option(filter::namespaces(Column::Namespace, &filter.namespaces))
        .add_option(filter::any_of(Column::FlowId, filter.flow_ids.iter().map(String::as_str)))
        .add_option(filter.flow_revision.map(|revision| Column::FlowRevision.eq(revision)))
        .add_option(filter::any_of(Column::State, filter.states.iter().map(|state| state.as_str())))
        .add_option(filter.trigger_id.as_ref().map(|id| Column::TriggerId.eq(id)))
        .add_option(filter.cause.as_ref().map(|id| Column::Cause.eq(bytes(id))))
        .add_option(filter.parent.as_ref().map(|id| Column::Parent.eq(bytes(id))))
        .add(filter::time(Column::CreatedAt, filter.created))
        .add(filter::time(Column::StartedAt, filter.started))
        .add(filter::time(Column::EndedAt, filter.ended));
    for label in &filter.labels {
        all = all.add(has_label(backend, label).gt(0));
    }
    for label in &filter.without_labels {
        all = all.add(has_label(backend, label).eq(0));
    }
    for each in &filter.all {
        all = all.add(condition(backend, each));
    }
    if !filter.any.is_empty() {
        all = all.add(filter.any.iter().fold(Condition::any(), |any, each| any.add(condition(backend, each))));
    }
    for each in &filter.not {
        // What is unknown (it has not ended) is not what is excluded.
        all = all.add(Func::coalesce([condition(backend, each).into_simple(), Expr::val(false)]).not());
    }
    all
}

trait IntoSimple {
    fn into_simple(self) -> SimpleExpr;
}

impl IntoSimple for Condition {
    fn into_simple(self) -> SimpleExpr {
        SimpleExpr::from(self)
    }
}

/// Place of the label in the list of labels; 0: it is not there. Inside of JSON texts quotes are escaped, so that these
/// quotes are found only around a key and its value.
fn has_label(backend: Backend, label: &Label) -> SimpleExpr {
    let function = match backend {
        Backend::Postgres => "strpos",
        Backend::Sqlite => "instr",
    };
    Func::cust(function).arg(executions::Column::Labels.into_simple_expr()).arg(json(label)).into()
}
