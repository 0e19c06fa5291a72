//! Outputs that are too large for a row: they lie in a file of internal storage, and the row holds the file's key.
//!
//! Always true: the file is there before the commit whose row names it, so that the row is still the truth; its name
//! follows from whose outputs they are and what they hold, so that a commit that is tried again writes the same file
//! again. A commit that fails leaves at most a file that nobody names, which goes with its execution. Whoever reads gets
//! the same, wherever the outputs lie.
//!
//! Not here: what is too large (`commit`), when the files go (`deletion`), where they are ([`LargeValues`]).

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use futures::{FutureExt, StreamExt, TryStreamExt, future::BoxFuture, stream};
use sha2::{Digest, Sha256};
use windhover_types::{Id, Tenant};

use crate::{
    Store, StoreError,
    entity::{executions, task_runs},
    error::Result,
    rows::{FORMAT, OUTPUTS_ELSEWHERE, corrupt, parse, parse_id},
    snapshot::WithEnds,
};

/// Files that one call reads or writes at the same time.
pub(crate) const AT_ONCE: usize = 16;

/// Internal storage, as the store needs it: files of an execution that go with it and are nobody else's to change.
#[async_trait]
pub trait LargeValues: Send + Sync + 'static {
    /// Writes a value, so that it survives whatever a commit survives, and answers the key under which it is found. The
    /// same name again stands for the same value. `name` is letters, digits and `-`.
    ///
    /// # Errors
    /// A sentence for operators: why it cannot be written for now.
    async fn put(&self, tenant: &Tenant, execution: Id, name: &str, value: String) -> Result<String, String>;

    /// The bytes of the value. `None`: there is nothing under that key.
    ///
    /// # Errors
    /// A sentence for operators: why it cannot be read for now.
    async fn get(&self, tenant: &Tenant, key: &str) -> Result<Option<Vec<u8>>, String>;
}

/// Where outputs are kept that are too large for a row.
#[derive(Clone)]
pub struct LargeOutputs {
    pub values: Arc<dyn LargeValues>,
    /// What is longer (bytes of JSON) is too large. `None`: everything new stays in its row; what lies elsewhere is read
    /// all the same.
    pub above: Option<usize>,
}

impl fmt::Debug for LargeOutputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LargeOutputs").field("above", &self.above).finish_non_exhaustive()
    }
}

/// What a text of outputs is called. `task_run`: `None` for the outputs of the execution itself.
pub(crate) fn name(task_run: Option<Id>, text: &str) -> String {
    use fmt::Write as _;
    let mut name = task_run.map_or_else(|| "execution".to_owned(), |id| id.to_string());
    name.push('-');
    for byte in &Sha256::digest(text)[..16] {
        // Writing to a text does not fail.
        let _ = write!(name, "{byte:02x}");
    }
    name
}

/// Rows with outputs.
pub(crate) trait OutputsRow {
    fn tenant(&self) -> &str;
    fn execution(&self) -> &[u8];
    fn format(&self) -> i16;
    /// Puts the outputs into the row, as if they had always been there.
    fn set_outputs(&mut self, outputs: Option<String>);
    fn outputs(&self) -> Option<&str>;
}

macro_rules! outputs_row {
    ($model:ty, $($row:ident)?, $execution:ident) => {
        impl OutputsRow for $model {
            fn tenant(&self) -> &str {
                &self$(.$row)?.tenant
            }

            fn execution(&self) -> &[u8] {
                &self$(.$row)?.$execution
            }

            fn format(&self) -> i16 {
                self$(.$row)?.format
            }

            fn set_outputs(&mut self, outputs: Option<String>) {
                self$(.$row)?.outputs = outputs;
                if self.format() == OUTPUTS_ELSEWHERE {
                    self$(.$row)?.format = FORMAT;
                }
            }

            fn outputs(&self) -> Option<&str> {
                self$(.$row)?.outputs.as_deref()
            }
        }
    };
}

outputs_row!(executions::Model, , id);
outputs_row!(task_runs::Model, , execution);
outputs_row!(WithEnds, row, id);

/// The same rows with no outputs, for those who need none: nothing is read for them.
pub(crate) fn without_outputs<R: OutputsRow>(mut rows: Vec<R>) -> Vec<R> {
    rows.iter_mut().for_each(|row| row.set_outputs(None));
    rows
}

impl Store {
    /// The rows with their outputs, wherever these lie, in the same order. Rows of executions that were deleted
    /// meanwhile are left out. Not to be called inside of a transaction: it would stay open for as long as internal
    /// storage takes.
    pub(crate) async fn with_outputs<R: OutputsRow + Send>(&self, rows: Vec<R>) -> Result<Vec<R>> {
        if rows.iter().all(|row| row.format() != OUTPUTS_ELSEWHERE) {
            return Ok(rows);
        }
        // Boxed: else the compiler does not see that whoever reads may do so on any thread.
        let reads: Vec<BoxFuture<'_, Result<Option<R>>>> =
            rows.into_iter().map(|row| self.bring(row).boxed()).collect();
        let brought: Vec<Option<R>> = stream::iter(reads).buffered(AT_ONCE).try_collect().await?;
        Ok(brought.into_iter().flatten().collect())
    }

    /// [`Self::with_outputs`] of at most one.
    pub(crate) async fn with_own_outputs<R: OutputsRow + Send>(&self, row: Option<R>) -> Result<Option<R>> {
        match row {
            Some(row) => self.bring(row).await,
            None => Ok(None),
        }
    }

    async fn bring<R: OutputsRow + Send>(&self, mut row: R) -> Result<Option<R>> {
        const WHAT: &str = "key of large outputs";
        if row.format() != OUTPUTS_ELSEWHERE {
            return Ok(Some(row));
        }
        let Some(large) = self.large_outputs() else {
            return Err(corrupt(WHAT)("this process has no internal storage".to_owned()));
        };
        let key: String = parse(WHAT, row.outputs().unwrap_or_default())?;
        let (tenant, execution) = (Tenant::trusted(row.tenant()), parse_id(WHAT, row.execution())?);
        match large.values.get(&tenant, &key).await.map_err(StoreError::StorageUnavailable)? {
            Some(bytes) => {
                let text =
                    String::from_utf8(bytes).map_err(|_| corrupt("file of outputs")(format!("{key} is no text")))?;
                row.set_outputs(Some(text));
                Ok(Some(row))
            }
            // Whoever deletes takes the execution first.
            None if self.execution_place(&tenant, execution).await?.is_none() => Ok(None),
            None => Err(StoreError::OutputsGone { execution, key }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_follows_from_whose_outputs_they_are_and_what_they_hold() {
        let run = Id::from_bytes([3; 16]);
        let first = name(Some(run), r#"{"a":1}"#);
        assert_eq!(first, name(Some(run), r#"{"a":1}"#));
        assert!(first.starts_with(&format!("{run}-")) && first.len() == run.to_string().len() + 33, "{first}");
        for other in [name(Some(run), r#"{"a":2}"#), name(None, r#"{"a":1}"#)] {
            assert_ne!(first, other);
        }
    }
}
