//! Log lines and the numbers that tasks published: reading them, and purging lines.

use sea_orm::{
    ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait,
    sea_query::{Expr, ExprTrait},
};
use windhover_engine::{MetricKind, TaskMetric};
use windhover_types::{Id, Level, Tenant, Timestamp};

use crate::{
    LogRow, MetricRow, NamespaceFilter, Store, TimeRange,
    entity::{logs, task_metrics},
    error::Result,
    filter,
    rows::{self, corrupt, parse, parse_id},
};

/// Which lines: what is given must hold, all of it. Empty lists and `None` ask nothing.
#[derive(Debug, Clone, Default)]
pub struct LogFilter {
    pub namespaces: Vec<NamespaceFilter>,
    pub flow_ids: Vec<String>,
    pub executions: Vec<Id>,
    pub task_ids: Vec<String>,
    pub task_runs: Vec<Id>,
    /// From 0.
    pub attempt: Option<u32>,
    /// This level and above.
    pub min_level: Option<Level>,
    pub at: TimeRange,
    /// Somewhere in the message, whatever its case.
    pub text: Option<String>,
}

/// Which lines are purged: what is given must hold, all of it. Empty lists and open ranges ask nothing.
#[derive(Debug, Clone, Default)]
pub struct LogPurge {
    pub namespaces: Vec<NamespaceFilter>,
    pub flow_ids: Vec<String>,
    pub executions: Vec<Id>,
    pub levels: Vec<Level>,
    pub at: TimeRange,
}

/// The last line of an execution that has not ended says where its next one belongs, also to whoever follows it.
const NOT_THE_LAST_OF_AN_OPEN_ONE: &str = "(NOT EXISTS (SELECT 1 FROM executions e WHERE e.tenant = logs.tenant \
     AND e.id = logs.execution AND e.open) OR logs.position < (SELECT MAX(m.position) FROM logs m \
     WHERE m.tenant = logs.tenant AND m.execution = logs.execution))";

/// A place in the lines of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogCursor {
    pub at: Timestamp,
    pub execution: Id,
    pub position: i64,
}

impl LogCursor {
    pub fn of(row: &LogRow) -> Self {
        Self { at: row.line.at, execution: row.execution, position: row.position }
    }
}

impl Store {
    /// Lines of one execution by position, which is the order in which they were committed, from that position.
    pub async fn list_execution_logs(
        &self,
        tenant: &Tenant,
        execution: Id,
        filter: &LogFilter,
        from: i64,
        limit: u64,
    ) -> Result<Vec<LogRow>> {
        let found = logs::Entity::find()
            .filter(logs::Column::Tenant.eq(tenant.as_str()))
            .filter(logs::Column::Execution.eq(execution.as_bytes().to_vec()))
            .filter(logs::Column::Position.gte(from))
            .filter(condition(filter))
            .order_by_asc(logs::Column::Position)
            .limit(limit)
            .all(self.read())
            .await?;
        found.into_iter().map(rows::log).collect()
    }

    /// Lines of all executions by time, newest first, before that place.
    pub async fn list_logs(
        &self,
        tenant: &Tenant,
        filter: &LogFilter,
        before: Option<LogCursor>,
        limit: u64,
    ) -> Result<Vec<LogRow>> {
        use logs::Column;
        let mut query = logs::Entity::find()
            .filter(Column::Tenant.eq(tenant.as_str()))
            .filter(condition(filter))
            .order_by_desc(Column::At)
            .order_by_desc(Column::Execution)
            .order_by_desc(Column::Position)
            .limit(limit);
        if let Some(LogCursor { at, execution, position }) = before {
            let (at, execution) = (at.as_micros(), execution.as_bytes().to_vec());
            let same_time = Condition::any()
                .add(Column::At.lt(at))
                .add(Column::Execution.lt(execution.clone()))
                .add(Condition::all().add(Column::Execution.eq(execution)).add(Column::Position.lt(position)));
            // The first part alone is what the index is entered by.
            query = query.filter(Column::At.lte(at)).filter(same_time);
        }
        query.all(self.read()).await?.into_iter().map(rows::log).collect()
    }

    /// Deletes at most `limit` lines, the oldest ones; tells how many. The last line of each execution that has not
    /// ended stays.
    pub async fn purge_logs(&self, tenant: &Tenant, purge: &LogPurge, limit: u64) -> Result<u64> {
        use logs::Column;
        let wanted = Condition::all()
            .add(Column::Tenant.eq(tenant.as_str()))
            .add_option(filter::namespaces(Column::Namespace, &purge.namespaces))
            .add_option(filter::any_of(Column::FlowId, purge.flow_ids.iter().map(String::as_str)))
            .add_option(filter::any_of(Column::Execution, bytes(&purge.executions)))
            .add_option(filter::any_of(Column::Level, purge.levels.iter().map(|level| *level as i16)))
            .add(filter::time(Column::At, purge.at))
            .add(Expr::cust(NOT_THE_LAST_OF_AN_OPEN_ONE));
        let chosen = logs::Entity::find()
            .select_only()
            .columns([Column::Execution, Column::Position])
            .filter(wanted)
            .order_by_asc(Column::At)
            .limit(limit)
            .into_query();
        let place = Expr::tuple([Expr::col(Column::Execution), Expr::col(Column::Position)]);
        let deleted = logs::Entity::delete_many()
            .filter(Column::Tenant.eq(tenant.as_str()))
            .filter(place.in_subquery(chosen))
            .exec(self.write())
            .await?;
        Ok(deleted.rows_affected)
    }

    /// What the tasks of an execution have published, in order.
    pub async fn list_task_metrics(&self, tenant: &Tenant, execution: Id, limit: u64) -> Result<Vec<MetricRow>> {
        let found = task_metrics::Entity::find()
            .filter(task_metrics::Column::Tenant.eq(tenant.as_str()))
            .filter(task_metrics::Column::Execution.eq(execution.as_bytes().to_vec()))
            .order_by_asc(task_metrics::Column::Id)
            .limit(limit)
            .all(self.read())
            .await?;
        found.into_iter().map(metric).collect()
    }
}

fn bytes(ids: &[Id]) -> Vec<Vec<u8>> {
    ids.iter().map(|id| id.as_bytes().to_vec()).collect()
}

fn condition(filter: &LogFilter) -> Condition {
    use logs::Column;
    Condition::all()
        .add_option(filter::namespaces(Column::Namespace, &filter.namespaces))
        .add_option(filter::any_of(Column::FlowId, filter.flow_ids.iter().map(String::as_str)))
        .add_option(filter::any_of(Column::Execution, bytes(&filter.executions)))
        .add_option(filter::any_of(Column::TaskId, filter.task_ids.iter().map(String::as_str)))
        .add_option(filter::any_of(Column::TaskRun, bytes(&filter.task_runs)))
        .add_option(filter.attempt.map(|attempt| Column::Attempt.eq(attempt)))
        .add_option(filter.min_level.map(|level| Column::Level.gte(level as i16)))
        .add(filter::time(Column::At, filter.at))
        .add_option(
            filter
                .text
                .as_deref()
                .filter(|text| !text.is_empty())
                .map(|text| filter::contains_text(Column::Message, text)),
        )
}

fn metric(row: task_metrics::Model) -> Result<MetricRow> {
    const WHAT: &str = "task metric";
    Ok(MetricRow {
        tenant: Tenant::trusted(&row.tenant),
        namespace: row.namespace,
        flow_id: row.flow_id,
        execution: parse_id(WHAT, &row.execution)?,
        metric: TaskMetric {
            task_run_id: parse_id(WHAT, &row.task_run)?,
            task_id: row.task_id,
            name: row.name,
            kind: match row.kind {
                0 => MetricKind::Counter,
                1 => MetricKind::Timer,
                2 => MetricKind::Gauge,
                other => return Err(corrupt(WHAT)(format!("kind {other} is not known"))),
            },
            value: row.value,
            tags: parse(WHAT, &row.tags)?,
            at: Timestamp::from_micros(row.at),
        },
    })
}
