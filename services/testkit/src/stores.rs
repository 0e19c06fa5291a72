//! A store of one's own for a test.

use anyhow::Context;
use windhover_store::{Store, StoreOptions, Synchronous};

use crate::Postgres;

/// A migrated, empty store with four shards; its data go with it.
pub struct TestStore {
    pub store: Store,
    pub url: String,
    _folder: Option<tempfile::TempDir>,
}

impl TestStore {
    /// On SQLite, in a temporary file.
    pub async fn sqlite() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let url = format!("sqlite:{}", folder.path().join("windhover.db").display());
        let options = StoreOptions { synchronous: Synchronous::Normal, ..Default::default() };
        Ok(Self { store: open(&url, options).await?, url, _folder: Some(folder) })
    }

    /// On Postgres, in a database of its own of the shared server.
    pub async fn postgres() -> anyhow::Result<Self> {
        let url = Postgres::shared().await?.fresh_database().await?;
        Ok(Self { store: open(&url, StoreOptions::default()).await?, url, _folder: None })
    }

    /// A second connection to the same data, as another process has it.
    pub async fn another(&self, application_name: &str) -> anyhow::Result<Store> {
        let options = StoreOptions { application_name: application_name.to_owned(), ..Default::default() };
        Ok(Store::connect(&self.url, options).await?)
    }
}

async fn open(url: &str, options: StoreOptions) -> anyhow::Result<Store> {
    let store = Store::connect(url, options).await?;
    store.migrate().await.context("the migration failed")?;
    store.number_of_shards(Some(4)).await?;
    Ok(store)
}
