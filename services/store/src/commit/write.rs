//! From the rows of a batch to the statements, sorted by key, so that two batches take locks in the same order: what is
//! about executions themselves.

use std::collections::HashSet;

use sea_orm::{ConnectionTrait, DbErr};
use windhover_engine::{Execution, MetricKind};
use windhover_types::{Id, shard_of};

use super::{
    outputs::{Outputs, WithOutputs},
    statements::*,
};
use crate::{
    Batch, TaskRunKey, TaskRunRow,
    bulk::{
        self, boolean, free_text, id, id_or_null, int, int_or_null, tenant, text, text_or_null, time, time_or_null,
    },
    rows::{self, json, json_or_null},
    triggers::write_advances,
    windows::{insert_offers, take_offers},
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
    pub(super) outputs: &'a Outputs<'a>,
    pub(super) shards: u16,
    /// `None`: all.
    pub(super) only: Option<&'a HashSet<Id>>,
}

impl Writing<'_> {
    pub(super) fn select<'b, T, K: Ord>(
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

    /// Before everything else, so that of two who make the same executions one is told that the triggers have moved.
    pub(super) async fn advance_triggers(&self, db: &impl ConnectionTrait) -> Result<Count, DbErr> {
        let advances = &self.batch.triggers_advanced;
        Ok(Count { touched: write_advances(db, advances).await?, expected: advances.len() as u64 })
    }

    /// Before everything else, for the same reason.
    pub(super) async fn take_offers(&self, db: &impl ConnectionTrait) -> Result<Count, DbErr> {
        let (touched, expected) = take_offers(db, &self.batch.windows_taken).await?;
        Ok(Count { touched, expected })
    }

    pub(super) async fn insert_offers(&self, db: &impl ConnectionTrait) -> Result<(), DbErr> {
        let key = |row: &crate::WindowOfferRow| (row.tenant.clone(), row.offer.id);
        insert_offers(db, self.select(&self.batch.window_offers, |row| row.upstream, key)).await
    }

    pub(super) async fn insert_executions(&self, db: &impl ConnectionTrait) -> Result<Count, DbErr> {
        let selected = self.executions(&self.outputs.new_executions);
        let mut rows = INSERT_EXECUTIONS.rows(selected.len());
        for new in selected {
            let execution = new.row;
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
                new.outputs(),
                text_or_null(json_or_null(execution.variables.as_deref())),
                text(json(&rows::Origin::of(execution))),
                text_or_null(execution.trigger.as_ref().map(|trigger| free_text(&trigger.id))),
                id_or_null(rows::cause(execution)),
                id_or_null(execution.parent.as_ref().map(|parent| parent.execution_id)),
                text(json(&execution.state)),
                text(json(&rows::Progress::of(execution))),
                new.format(),
                int(execution.version),
            ]);
        }
        count(rows, db).await
    }

    pub(super) async fn update_executions(&self, db: &impl ConnectionTrait) -> Result<Count, DbErr> {
        let selected = self.executions(&self.outputs.changed_executions);
        let mut rows = UPDATE_EXECUTIONS.rows(selected.len());
        for changed in selected {
            rows.push(changed_execution(changed));
        }
        count(rows, db).await
    }

    pub(super) async fn insert_task_runs(&self, db: &impl ConnectionTrait) -> Result<Count, DbErr> {
        let new = self.task_runs(|row| row.run.version == 1);
        let mut rows = INSERT_TASK_RUNS.rows(new.len());
        for new in new {
            let (row, run) = (new.row, &new.row.run);
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
                new.outputs(),
                text_or_null(json_or_null(run.frame.as_ref())),
                text_or_null(json_or_null(run.opened.as_deref())),
                int(run.dispatch),
                id_or_null(run.child_execution),
                new.format(),
                int(run.version),
            ]);
        }
        count(rows, db).await
    }

    pub(super) async fn delete_task_runs(&self, db: &impl ConnectionTrait) -> Result<(), DbErr> {
        let key = |key: &TaskRunKey| (key.tenant.clone(), key.execution, key.seq);
        let removed = self.select(&self.batch.task_runs_removed, |key| key.execution, key);
        let mut rows = DELETE_TASK_RUNS.rows(removed.len());
        for key in removed {
            rows.push([tenant(&key.tenant), id(key.execution), int(key.seq)]);
        }
        rows.run(db).await?;
        Ok(())
    }

    pub(super) async fn update_task_runs(&self, db: &impl ConnectionTrait) -> Result<Count, DbErr> {
        let changed = self.task_runs(|row| row.run.version != 1);
        let mut rows = UPDATE_TASK_RUNS.rows(changed.len());
        for changed in changed {
            let (row, run) = (changed.row, &changed.row.run);
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
                changed.outputs(),
                text_or_null(json_or_null(run.frame.as_ref())),
                text_or_null(json_or_null(run.opened.as_deref())),
                int(run.dispatch),
                id_or_null(run.child_execution),
                changed.format(),
                int(run.version),
            ]);
        }
        count(rows, db).await
    }

    fn executions<'b>(&self, of: &'b [WithOutputs<'b, Execution>]) -> Vec<&'b WithOutputs<'b, Execution>> {
        self.select(of, |one| one.row.id, |one| (one.row.tenant.clone(), one.row.id))
    }

    fn task_runs(&self, which: impl Fn(&TaskRunRow) -> bool) -> Vec<&WithOutputs<'_, TaskRunRow>> {
        let key = |one: &WithOutputs<'_, TaskRunRow>| (one.row.tenant.clone(), one.row.execution, one.row.run.seq);
        let mut selected = self.select(&self.outputs.task_runs, |one| one.row.execution, key);
        selected.retain(|one| which(one.row));
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
}

fn changed_execution(changed: &WithOutputs<'_, Execution>) -> [sea_orm::Value; 14] {
    let execution = changed.row;
    [
        tenant(&execution.tenant),
        id(execution.id),
        int(execution.flow_revision),
        text(execution.current().as_str()),
        boolean(!execution.is_ended()),
        time_or_null(rows::started_at(&execution.state)),
        time_or_null(execution.state.ended()),
        text(json(&execution.labels)),
        changed.outputs(),
        text_or_null(json_or_null(execution.variables.as_deref())),
        text(json(&execution.state)),
        text(json(&rows::Progress::of(execution))),
        changed.format(),
        int(execution.version),
    ]
}

pub(super) async fn count(rows: bulk::Rows, db: &impl ConnectionTrait) -> Result<Count, DbErr> {
    let expected = rows.len() as u64;
    Ok(Count { touched: rows.run(db).await?, expected })
}

/// One statement cannot write a row twice; sorted rows, of which the last of equal ones counts.
pub(super) fn last_of_equal<T, K: PartialEq>(rows: Vec<&T>, key: impl Fn(&T) -> K) -> Vec<&T> {
    let mut kept: Vec<&T> = Vec::with_capacity(rows.len());
    for row in rows {
        match kept.last_mut() {
            Some(last) if key(last) == key(row) => *last = row,
            _ => kept.push(row),
        }
    }
    kept
}
