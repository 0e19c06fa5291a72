//! Views for people and dashboards: times as timestamps, ids as hexadecimal text, names of levels.
//!
//! Nothing of Windhover reads them. They hold all tenants: whoever may read them sees everything.

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

use crate::dialect;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let postgres = manager.get_database_backend() == DbBackend::Postgres;
        dialect::run(manager, &views(postgres)).await
    }
}

fn views(postgres: bool) -> String {
    // Integer arithmetic only: a double cannot hold the microseconds of today.
    let time = |column: &str| {
        if postgres {
            format!("(timestamptz 'epoch' + {column} * interval '1 microsecond')")
        } else {
            format!(
                "strftime('%Y-%m-%dT%H:%M:%S', {column} / 1000000, 'unixepoch') || printf('.%06dZ', {column} % 1000000)"
            )
        }
    };
    let id = |column: &str| if postgres { format!("encode({column}, 'hex')") } else { format!("lower(hex({column}))") };
    format!(
        "
CREATE VIEW v_executions AS SELECT tenant, {id} AS id, namespace, flow_id, flow_revision, state, open,
    {created} AS created_at, {started} AS started_at, {ended} AS ended_at,
    (ended_at - created_at) / 1000 AS milliseconds,
    labels, inputs, outputs, trigger_id, {cause} AS cause, {parent} AS parent, history, parked, shard, version
FROM executions;
CREATE VIEW v_task_runs AS SELECT r.tenant, {execution} AS execution, e.namespace, e.flow_id, e.flow_revision,
    r.seq, {run_id} AS id, r.task_id, {run_parent} AS parent_id, r.place, r.state,
    {run_started} AS started_at, {run_ended} AS ended_at, (r.ended_at - r.started_at) / 1000 AS milliseconds,
    r.attempts, r.outputs, r.history, r.dispatch, {child} AS child_execution, r.version
FROM task_runs r JOIN executions e ON e.tenant = r.tenant AND e.id = r.execution;
CREATE VIEW v_logs AS SELECT tenant, namespace, flow_id, {log_execution} AS execution, position, {at} AS at,
    CASE level WHEN 0 THEN 'TRACE' WHEN 1 THEN 'DEBUG' WHEN 2 THEN 'INFO' WHEN 3 THEN 'WARN' ELSE 'ERROR' END AS level,
    task_id, {task_run} AS task_run, attempt, message
FROM logs;
",
        id = id("id"),
        created = time("created_at"),
        started = time("started_at"),
        ended = time("ended_at"),
        cause = id("cause"),
        parent = id("parent"),
        execution = id("r.execution"),
        run_id = id("r.id"),
        run_parent = id("r.parent_id"),
        run_started = time("r.started_at"),
        run_ended = time("r.ended_at"),
        child = id("r.child_execution"),
        log_execution = id("execution"),
        at = time("at"),
        task_run = id("task_run"),
    )
}
