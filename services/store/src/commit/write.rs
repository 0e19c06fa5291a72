//! From the rows of a batch to the statements, sorted by key, so that two batches take locks in the same order.

use std::collections::HashSet;

use sea_orm::{ConnectionTrait, DbErr};
use windhover_engine::{Execution, MetricKind};
use windhover_types::{Id, shard_of};

use super::statements::*;
use crate::{
    Batch, TaskRunRow,
    bulk::{
        self, boolean, free_text, id, id_or_null, int, int_or_null, tenant, text, text_or_null, time, time_or_null,
    },
    rows::{self, FORMAT, json, json_or_null},
};

/// What a statement touched, and what it had to touch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Count {
    pub(super) touched: u64,
    pub(super) expected: u64,
}

impl Count {
    pub(super) fn is_exact(self) -> bool {
        self.touched == self.expected
    }
}

/// A batch, or what of it belongs to some executions.
pub(super) struct Writing<'a> {
    pub(super) batch: &'a Batch,
    pub(super) shards: u16,
    /// `None`: all.
    pub(super) only: Option<&'a HashSet<Id>>,
}

impl Writing<'_> {
    fn select<'b, T, K: Ord>(
        &self,
        rows: &'b [T],
        execution: impl Fn(&T) -> Id,
        key: impl Fn(&'b T) -> K,
    ) -> Vec<&'b T> {
        let mut selected: Vec<&T> =
            rows.iter().filter(|row| self.only.is_none_or(|only| only.contains(&execution(row)))).collect();
        selected.sort_by_cached_key(|row| key(row));
        selected
    }

    pub(super) async fn insert_executions(&self, db: &impl ConnectionTrait) -> Result<Count, DbErr> {
        let selected = self.select(&self.batch.new_executions, |row| row.id, |row| (row.tenant.clone(), row.id));
        let mut rows = INSERT_EXECUTIONS.rows(selected.len());
        for execution in selected {
            rows.push([
                tenant(&execution.tenant),
                id(execution.id),
                int(shard_of(&execution.tenant, execution.id, self.shards)),
                text(&execution.namespace),
                text(&execution.flow_id),
                int(execution.flow_revision),
                text(execution.current().as_str()),
                boolean(!execution.is_ended()),
                time(execution.state.started()),
                time_or_null(rows::started_at(&execution.state)),
                time_or_null(execution.state.ended()),
                text(json(&execution.labels)),
                text(json(&*execution.inputs)),
                text_or_null(json_or_null(execution.outputs.as_ref())),
                text_or_null(json_or_null(execution.variables.as_deref())),
                text(json(&rows::Origin::of(execution))),
                text_or_null(execution.trigger.as_ref().map(|trigger| free_text(&trigger.id))),
                id_or_null(rows::cause(execution)),
                id_or_null(execution.parent.as_ref().map(|parent| parent.execution_id)),
                text(json(&execution.state)),
                text(json(&rows::Progress::of(execution))),
                int(FORMAT),
                int(execution.version),
            ]);
        }
        count(rows, db).await
    }

    pub(super) async fn update_executions(&self, db: &impl ConnectionTrait) -> Result<Count, DbErr> {
        let selected = self.select(&self.batch.changed_executions, |row| row.id, |row| (row.tenant.clone(), row.id));
        let mut rows = UPDATE_EXECUTIONS.rows(selected.len());
        for execution in selected {
            rows.push(changed_execution(execution));
        }
        count(rows, db).await
    }

    pub(super) async fn insert_task_runs(&self, db: &impl ConnectionTrait) -> Result<Count, DbErr> {
        let new = self.task_runs(|row| row.run.version == 1);
        let mut rows = INSERT_TASK_RUNS.rows(new.len());
        for row in new {
            let run = &row.run;
            rows.push([
                tenant(&row.tenant),
                id(row.execution),
                int(run.seq),
                id(run.id),
                text(&run.task_id),
                id_or_null(run.parent_id),
                text_or_null(json_or_null(rows::Place::of(run).as_ref())),
                text(run.state.current().as_str()),
                boolean(run.is_open()),
                time(run.state.started()),
                time_or_null(run.state.ended()),
                text(json(&run.state)),
                text(json(&run.attempts)),
                text_or_null(json_or_null(run.outputs.as_deref())),
                text_or_null(json_or_null(run.frame.as_ref())),
                text_or_null(json_or_null(run.opened.as_deref())),
                int(run.dispatch),
                id_or_null(run.child_execution),
                int(FORMAT),
                int(run.version),
            ]);
        }
        count(rows, db).await
    }

    pub(super) async fn update_task_runs(&self, db: &impl ConnectionTrait) -> Result<Count, DbErr> {
        let changed = self.task_runs(|row| row.run.version != 1);
        let mut rows = UPDATE_TASK_RUNS.rows(changed.len());
        for row in changed {
            let run = &row.run;
            rows.push([
                tenant(&row.tenant),
                id(row.execution),
                int(run.seq),
                id(run.id),
                text(run.state.current().as_str()),
                boolean(run.is_open()),
                time_or_null(run.state.ended()),
                text(json(&run.state)),
                text(json(&run.attempts)),
                text_or_null(json_or_null(run.outputs.as_deref())),
                text_or_null(json_or_null(run.frame.as_ref())),
                text_or_null(json_or_null(run.opened.as_deref())),
                int(run.dispatch),
                id_or_null(run.child_execution),
                int(FORMAT),
                int(run.version),
            ]);
        }
        count(rows, db).await
    }

    fn task_runs(&self, which: impl Fn(&TaskRunRow) -> bool) -> Vec<&TaskRunRow> {
        let key = |row: &TaskRunRow| (row.tenant.clone(), row.execution, row.run.seq);
        let mut selected = self.select(&self.batch.task_runs, |row| row.execution, key);
        selected.retain(|row| which(row));
        selected
    }

    pub(super) async fn insert_logs(&self, db: &impl ConnectionTrait) -> Result<Count, DbErr> {
        let key = |row: &crate::LogRow| (row.tenant.clone(), row.execution, row.position);
        let selected = self.select(&self.batch.logs, |row| row.execution, key);
        let mut rows = INSERT_LOGS.rows(selected.len());
        for row in selected {
            rows.push([
                tenant(&row.tenant),
                id(row.execution),
                int(row.position),
                time(row.line.at),
                int(row.line.level as i16),
                text(&row.namespace),
                text(&row.flow_id),
                text_or_null(row.line.task_id.clone()),
                id_or_null(row.line.task_run_id),
                int_or_null(row.line.attempt.map(i64::from)),
                text(free_text(&row.line.message)),
            ]);
        }
        count(rows, db).await
    }

    pub(super) async fn insert_metrics(&self, db: &impl ConnectionTrait) -> Result<(), DbErr> {
        let selected = self.select(&self.batch.metrics, |row| row.execution, |row| (row.tenant.clone(), row.execution));
        let mut rows = INSERT_METRICS.rows(selected.len());
        for row in selected {
            let metric = &row.metric;
            rows.push([
                tenant(&row.tenant),
                id(row.execution),
                id(metric.task_run_id),
                text(&row.namespace),
                text(&row.flow_id),
                text(&metric.task_id),
                text(free_text(&metric.name)),
                int(match metric.kind {
                    MetricKind::Counter => 0,
                    MetricKind::Timer => 1,
                    MetricKind::Gauge => 2,
                }),
                sea_orm::Value::Double(Some(metric.value)),
                text(json(&metric.tags)),
                time(metric.at),
            ]);
        }
        rows.run(db).await?;
        Ok(())
    }

    pub(super) async fn write_timers(&self, db: &impl ConnectionTrait) -> Result<(), DbErr> {
        let cleared = self.select(
            &self.batch.timers_cleared,
            |key| key.execution,
            |key| (key.tenant.clone(), key.execution, json(&key.timer)),
        );
        let mut rows = DELETE_TIMERS.rows(cleared.len());
        for key in cleared {
            rows.push([tenant(&key.tenant), id(key.execution), text(json(&key.timer))]);
        }
        rows.run(db).await?;

        let key = |row: &crate::TimerRow| (row.tenant.clone(), row.execution, json(&row.timer));
        let set = last_of_equal(self.select(&self.batch.timers_set, |row| row.execution, key), key);
        let mut rows = UPSERT_TIMERS.rows(set.len());
        for row in set {
            rows.push([tenant(&row.tenant), id(row.execution), text(json(&row.timer)), int(row.shard), time(row.at)]);
        }
        rows.run(db).await?;
        Ok(())
    }

    pub(super) async fn write_jobs(&self, db: &impl ConnectionTrait) -> Result<(), DbErr> {
        let ended = self.select(
            &self.batch.jobs_ended,
            |key| key.execution,
            |key| (key.tenant.clone(), key.execution, key.task_run, key.dispatch),
        );
        let mut rows = DELETE_JOBS.rows(ended.len());
        for key in ended {
            rows.push([tenant(&key.tenant), id(key.execution), id(key.task_run), int(key.dispatch)]);
        }
        rows.run(db).await?;

        let key = |row: &crate::JobRow| (row.tenant.clone(), row.execution, row.task_run, row.dispatch);
        let started = last_of_equal(self.select(&self.batch.jobs_started, |row| row.execution, key), key);
        let mut rows = UPSERT_JOBS.rows(started.len());
        for row in started {
            rows.push([
                tenant(&row.tenant),
                id(row.execution),
                id(row.task_run),
                int(row.dispatch),
                int(row.shard),
                text_or_null(row.worker_group.clone()),
                time(row.deadline),
                int(row.losses),
            ]);
        }
        rows.run(db).await?;
        Ok(())
    }

    pub(super) async fn delete_inbox(&self, db: &impl ConnectionTrait) -> Result<Count, DbErr> {
        let selected = self.select(&self.batch.inbox_done, |key| key.execution, |key| (key.tenant.clone(), key.id));
        let mut rows = DELETE_INBOX.rows(selected.len());
        for key in selected {
            rows.push([tenant(&key.tenant), id(key.id)]);
        }
        count(rows, db).await
    }

    pub(super) async fn insert_inbox(&self, db: &impl ConnectionTrait) -> Result<(), DbErr> {
        // In the order given: the number that the row gets orders cause before effect.
        let selected =
            self.batch.inbox_sent.iter().filter(|row| self.only.is_none_or(|only| only.contains(&row.execution)));
        let mut rows = INSERT_INBOX.rows(self.batch.inbox_sent.len());
        for row in selected {
            rows.push([
                tenant(&row.tenant),
                id(row.id),
                int(row.shard),
                id(row.execution),
                text(json(&row.message)),
                int(FORMAT),
            ]);
        }
        rows.run(db).await?;
        Ok(())
    }

    pub(super) async fn park(&self, db: &impl ConnectionTrait) -> Result<(), DbErr> {
        let key = |row: &crate::ParkedRow| (row.tenant.clone(), row.execution);
        let selected = last_of_equal(self.select(&self.batch.parked, |row| row.execution, key), key);
        let mut rows = PARK_EXECUTIONS.rows(selected.len());
        for row in selected {
            rows.push([tenant(&row.tenant), id(row.execution), text(free_text(&row.reason))]);
        }
        rows.run(db).await?;
        Ok(())
    }

    /// Rows of the feed, and the shards' last numbers, which must be those before.
    pub(super) async fn append_feed(&self, db: &impl ConnectionTrait) -> Result<Count, DbErr> {
        let mut feed: Vec<_> = self.batch.feed.iter().collect();
        feed.sort_by_key(|row| (row.shard, row.seq));
        let mut rows = ADVANCE_SHARDS.rows(feed.len());
        for shard in feed.chunk_by(|a, b| a.shard == b.shard) {
            if let (Some(first), Some(last)) = (shard.first(), shard.last()) {
                rows.push([int(first.shard), int(first.seq), int(last.seq)]);
            }
        }
        let moved = count(rows, db).await?;
        if moved.is_exact() {
            let mut rows = INSERT_FEED.rows(feed.len());
            for row in feed {
                rows.push([
                    int(row.shard),
                    int(row.seq),
                    tenant(&row.tenant),
                    time(row.at),
                    text(json(&row.entries)),
                    int(FORMAT),
                ]);
            }
            rows.run(db).await?;
        }
        Ok(moved)
    }

    pub(super) async fn insert_request_ids(&self, db: &impl ConnectionTrait) -> Result<Count, DbErr> {
        // What a request has made is the execution that it belongs to.
        let belongs = |row: &&crate::RequestIdRow| {
            self.only.is_none_or(|only| row.result.parse().is_ok_and(|made: Id| only.contains(&made)))
        };
        let mut selected: Vec<_> = self.batch.request_ids.iter().filter(belongs).collect();
        selected.sort_by(|a, b| super::request_key(a).cmp(&super::request_key(b)));
        let mut rows = INSERT_REQUEST_IDS.rows(selected.len());
        for row in selected {
            rows.push([
                tenant(&row.tenant),
                text(&row.method),
                text(free_text(&row.request_id)),
                bulk::bytes(&row.content),
                text(free_text(&row.result)),
                time(row.expires_at),
            ]);
        }
        count(rows, db).await
    }
}

fn changed_execution(execution: &Execution) -> [sea_orm::Value; 13] {
    [
        tenant(&execution.tenant),
        id(execution.id),
        text(execution.current().as_str()),
        boolean(!execution.is_ended()),
        time_or_null(rows::started_at(&execution.state)),
        time_or_null(execution.state.ended()),
        text(json(&execution.labels)),
        text_or_null(json_or_null(execution.outputs.as_ref())),
        text_or_null(json_or_null(execution.variables.as_deref())),
        text(json(&execution.state)),
        text(json(&rows::Progress::of(execution))),
        int(FORMAT),
        int(execution.version),
    ]
}

async fn count(rows: bulk::Rows, db: &impl ConnectionTrait) -> Result<Count, DbErr> {
    let expected = rows.len() as u64;
    Ok(Count { touched: rows.run(db).await?, expected })
}

/// One statement cannot write a row twice; sorted rows, of which the last of equal ones counts.
fn last_of_equal<T, K: PartialEq>(rows: Vec<&T>, key: impl Fn(&T) -> K) -> Vec<&T> {
    let mut kept: Vec<&T> = Vec::with_capacity(rows.len());
    for row in rows {
        match kept.last_mut() {
            Some(last) if key(last) == key(row) => *last = row,
            _ => kept.push(row),
        }
    }
    kept
}
