//! Outputs that are too large for rows of the database, in internal storage.

use std::sync::Arc;

use anyhow::{Result, bail};
use async_trait::async_trait;
use windhover_storage::{FileUri, Files, FilesError};
use windhover_store::{LargeOutputs, LargeValues};
use windhover_types::{Id, Tenant};

use crate::settings::Settings;

pub(super) const MAX_ROW_BYTES: &str = "windhover.storage.max-row-bytes";
const DEFAULT_MAX_ROW_BYTES: usize = 256 << 10;
/// Below that a file costs more than it saves.
const LEAST_ROW_BYTES: usize = 1 << 10;

/// `shared`: whether every process of the installation reaches these files. Where not, nothing is put there that another
/// process would miss; what is there already is read.
///
/// # Errors
/// The limit is no number, or too small.
pub(super) fn outputs(settings: &Settings, files: &Files, shared: bool) -> Result<LargeOutputs> {
    let limit = max_row_bytes(settings)?;
    Ok(LargeOutputs { values: Arc::new(StoredOutputs(files.clone())), above: shared.then_some(limit) })
}

/// # Errors
/// It is no number, or too small.
pub(super) fn max_row_bytes(settings: &Settings) -> Result<usize> {
    let limit = settings.number(MAX_ROW_BYTES)?.unwrap_or(DEFAULT_MAX_ROW_BYTES);
    if limit < LEAST_ROW_BYTES {
        bail!("the setting `{MAX_ROW_BYTES}` is at least {LEAST_ROW_BYTES}, not {limit}");
    }
    Ok(limit)
}

struct StoredOutputs(Files);

#[async_trait]
impl LargeValues for StoredOutputs {
    async fn put(&self, tenant: &Tenant, execution: Id, name: &str, value: String) -> Result<String, String> {
        let uri = FileUri::outputs(execution).below(&format!("{name}.json")).map_err(|error| error.to_string())?;
        self.0.put_durably(tenant, &uri, value).await.map_err(|error| error.to_string())?;
        Ok(uri.to_string())
    }

    async fn get(&self, tenant: &Tenant, key: &str) -> Result<Option<Vec<u8>>, String> {
        // Asking again would not help: nothing is ever put under such a key.
        let Ok(uri) = FileUri::of_outputs(key) else { return Ok(None) };
        match self.0.read(tenant, &uri, u64::MAX).await {
            Ok(content) => Ok(Some(content.into())),
            Err(FilesError::NotFound(_)) => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn outputs_lie_in_a_folder_of_their_execution_and_are_read_by_their_key() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let files = Files::local(folder.path())?;
        let outputs = outputs(&Settings::default(), &files, true)?;
        assert_eq!(outputs.above, Some(DEFAULT_MAX_ROW_BYTES));
        let (tenant, execution) = (Tenant::main(), Id::from_bytes([1; 16]));
        let said = |error: String| anyhow::anyhow!(error);
        let key = outputs.values.put(&tenant, execution, "execution-1", "{}".to_owned()).await.map_err(said)?;
        assert_eq!(key, format!("kestra:///_outputs/{execution}/execution-1.json"));
        assert!(folder.path().join(format!("main/_outputs/{execution}/execution-1.json")).is_file());
        assert_eq!(outputs.values.get(&tenant, &key).await.map_err(said)?, Some(b"{}".to_vec()));
        assert_eq!(outputs.values.get(&Tenant::trusted("other"), &key).await.map_err(said)?, None);
        files.put(&tenant, &"kestra:///company/x".parse()?, "{}").await?;
        assert_eq!(outputs.values.get(&tenant, "kestra:///company/x").await.map_err(said)?, None, "no outputs");
        Ok(())
    }

    #[test]
    fn the_limit_has_a_least_value_and_nothing_goes_where_others_do_not_reach() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let files = Files::local(folder.path())?;
        let mut settings = Settings::default();
        assert_eq!(outputs(&settings, &files, false)?.above, None);
        settings.set(MAX_ROW_BYTES, 1_023);
        let error = max_row_bytes(&settings).unwrap_err().to_string();
        assert!(error.contains(MAX_ROW_BYTES) && error.contains("1024") && error.contains("1023"), "{error}");
        settings.set(MAX_ROW_BYTES, 2_048);
        assert_eq!(outputs(&settings, &files, true)?.above, Some(2_048));
        Ok(())
    }
}
