//! The outputs of a batch as text, made once and before the transaction: what is too large for a row is in its file by
//! the time the row is written.

use futures::{FutureExt, StreamExt, TryStreamExt, future::BoxFuture, stream};
use sea_orm::Value;
use windhover_engine::Execution;
use windhover_types::{Id, Tenant};

use crate::{
    Batch, CommitError, Store, TaskRunRow,
    bulk::{int, text_or_null},
    large::{AT_ONCE, LargeValues, name},
    rows::{FORMAT, OUTPUTS_ELSEWHERE, json, json_or_null},
};

/// The rows of a batch that have outputs, in the order of the batch.
pub(super) struct Outputs<'a> {
    pub(super) new_executions: Vec<WithOutputs<'a, Execution>>,
    pub(super) changed_executions: Vec<WithOutputs<'a, Execution>>,
    pub(super) task_runs: Vec<WithOutputs<'a, TaskRunRow>>,
}

/// A row, and what its column `outputs` holds.
pub(super) struct WithOutputs<'a, T> {
    pub(super) row: &'a T,
    written: Written,
}

struct Written {
    /// The outputs, or the key of their file.
    text: Option<String>,
    format: i16,
}

impl<T> WithOutputs<'_, T> {
    /// For the column `outputs`.
    pub(super) fn outputs(&self) -> Value {
        text_or_null(self.written.text.clone())
    }

    /// For the column `format`.
    pub(super) fn format(&self) -> Value {
        int(self.written.format)
    }
}

/// Outputs on their way into a file: whose they are, and where their text is.
struct TooLarge<'o> {
    tenant: &'o Tenant,
    execution: Id,
    task_run: Option<Id>,
    written: &'o mut Written,
}

impl Written {
    fn new(text: Option<String>) -> Self {
        Self { text, format: FORMAT }
    }

    fn is_longer_than(&self, limit: usize) -> bool {
        self.text.as_ref().is_some_and(|text| text.len() > limit)
    }
}

impl Store {
    /// Serialises, and puts into files what is too large for rows.
    pub(super) async fn outputs_of<'a>(&self, batch: &'a Batch) -> Result<Outputs<'a>, CommitError> {
        let of_execution =
            |row: &'a Execution| WithOutputs { row, written: Written::new(json_or_null(row.outputs.as_ref())) };
        let of_task_run =
            |row: &'a TaskRunRow| WithOutputs { row, written: Written::new(json_or_null(row.run.outputs.as_deref())) };
        let mut outputs = Outputs {
            new_executions: batch.new_executions.iter().map(of_execution).collect(),
            changed_executions: batch.changed_executions.iter().map(of_execution).collect(),
            task_runs: batch.task_runs.iter().map(of_task_run).collect(),
        };
        if let Some(large) = self.large_outputs()
            && let Some(limit) = large.above
        {
            // Boxed: else the compiler does not see that whoever commits may do so on any thread.
            let puts: Vec<BoxFuture<'_, Result<(), CommitError>>> =
                outputs.too_large(limit).into_iter().map(|one| one.put(large.values.as_ref()).boxed()).collect();
            stream::iter(puts).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        }
        Ok(outputs)
    }
}

impl Outputs<'_> {
    fn too_large(&mut self, limit: usize) -> Vec<TooLarge<'_>> {
        let executions = self.new_executions.iter_mut().chain(&mut self.changed_executions);
        let of_executions = executions.map(|WithOutputs { row, written }| TooLarge {
            tenant: &row.tenant,
            execution: row.id,
            task_run: None,
            written,
        });
        let of_task_runs = self.task_runs.iter_mut().map(|WithOutputs { row, written }| TooLarge {
            tenant: &row.tenant,
            execution: row.execution,
            task_run: Some(row.run.id),
            written,
        });
        of_executions.chain(of_task_runs).filter(|one| one.written.is_longer_than(limit)).collect()
    }
}

impl TooLarge<'_> {
    async fn put(self, values: &dyn LargeValues) -> Result<(), CommitError> {
        let Some(text) = self.written.text.take() else { return Ok(()) };
        let name = name(self.task_run, &text);
        let key = values.put(self.tenant, self.execution, &name, text).await.map_err(|reason| {
            let execution = self.execution;
            // Nothing was written, and the same again may work: as with a database that is away.
            CommitError::Unavailable(format!("large outputs of the execution {execution} cannot be stored: {reason}"))
        })?;
        *self.written = Written { text: Some(json(&key)), format: OUTPUTS_ELSEWHERE };
        Ok(())
    }
}
