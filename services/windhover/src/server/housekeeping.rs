//! Removes what has served its time, in small steps beside the work.
//!
//! What belongs to a shard is removed by its owner, everything else by the owner of shard 0. Two that take each other's
//! place may do the same at once: nothing here is wrong when it is done twice.

use std::time::Duration;

use anyhow::Result;
use tokio::time::Instant;
use windhover_executor::{OwnedShards, now};
use windhover_storage::{FileUri, Files, FilesError};
use windhover_store::{FileRemoval, Store};
use windhover_types::{Error, Timestamp};

use crate::settings::Settings;

const INTERVAL: Duration = Duration::from_secs(60);
/// How long the feed is kept for readers that were away.
const FEED_KEPT: Duration = Duration::from_secs(24 * 3_600);
/// Rows that one statement removes: a batch of the executor must not wait for more.
const STEP: u64 = 1_000;
/// Whoever deletes an execution deletes its files too; after this long it has died, or cannot reach them.
const FILES_LEFT: Duration = Duration::from_secs(600);
/// Executions whose files are deleted before others come to their turn.
const FILES_STEP: u64 = 100;
/// How long a file waits for the execution that takes it, and how often those that nobody took are looked for.
const UPLOADS_KEPT: Duration = Duration::from_secs(24 * 3_600);
const UPLOADS_EVERY: Duration = Duration::from_secs(3_600);
const TENANTS: u64 = 500;

/// When keys whose time has passed go (flow model 1.x reference 10.2).
#[derive(Debug, Clone, Copy)]
struct ExpiredKeys {
    initial_delay: Duration,
    fixed_delay: Duration,
    batch: u64,
}

pub(super) struct Housekeeping {
    store: Store,
    files: Files,
    owned: OwnedShards,
    /// `None`: they stay.
    expired_keys: Option<ExpiredKeys>,
}

impl Housekeeping {
    /// # Errors
    /// A setting that makes no sense.
    pub(super) fn new(store: Store, files: Files, owned: OwnedShards, settings: &Settings) -> Result<Self> {
        const HOUR: Duration = Duration::from_secs(3_600);
        let key = |name: &str| format!("kestra.kv.purge-expired.{name}");
        let expired_keys = ExpiredKeys {
            initial_delay: settings.duration(&key("initial-delay"))?.unwrap_or(HOUR),
            fixed_delay: settings.duration(&key("fixed-delay"))?.unwrap_or(HOUR),
            batch: settings.number(&key("batch-size"))?.unwrap_or(STEP).max(1),
        };
        let enabled = settings.switch(&key("enabled"))?.unwrap_or(true);
        Ok(Self { store, files, owned, expired_keys: enabled.then_some(expired_keys) })
    }

    /// Runs until it is aborted.
    pub(super) async fn run(self) {
        let mut tick = tokio::time::interval(INTERVAL);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut next_keys = self.expired_keys.map(|keys| Instant::now() + keys.initial_delay);
        let mut next_uploads = Instant::now();
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                // A shorter time than the tick's is kept too.
                () = until(next_keys) => {}
            }
            let first = self.owned.owns(0);
            told("old feed rows", self.feed().await);
            if first {
                told("old request ids", self.request_ids().await);
                told("files of deleted executions", self.left_files().await);
            }
            if let Some((keys, at)) = self.expired_keys.zip(next_keys)
                && at <= Instant::now()
            {
                if first {
                    told("keys whose time has passed", self.expired_keys(keys).await);
                }
                next_keys = Some(Instant::now() + keys.fixed_delay.max(Duration::from_secs(1)));
            }
            if next_uploads <= Instant::now() {
                if first {
                    told("uploads that nobody took", self.uploads().await);
                }
                next_uploads = Instant::now() + UPLOADS_EVERY;
            }
        }
    }

    async fn feed(&self) -> Result<(), Error> {
        let before = ago(FEED_KEPT);
        for shard in self.owned.list().iter() {
            while self.store.purge_feed(*shard, before, STEP).await? == STEP {}
        }
        Ok(())
    }

    async fn request_ids(&self) -> Result<(), Error> {
        while self.store.purge_request_ids(now(), STEP).await? == STEP {}
        Ok(())
    }

    async fn expired_keys(&self, keys: ExpiredKeys) -> Result<(), Error> {
        while self.store.purge_expired_kv(keys.batch).await? == keys.batch {}
        Ok(())
    }

    async fn left_files(&self) -> Result<(), String> {
        let told = |error: windhover_store::StoreError| error.to_string();
        loop {
            let left = self.store.file_removals(ago(FILES_LEFT), FILES_STEP).await.map_err(told)?;
            for removal in &left {
                remove_left(&self.files, removal).await.map_err(|error| error.to_string())?;
                self.store.files_removed(&removal.place.tenant, &[removal.place.id]).await.map_err(told)?;
            }
            if (left.len() as u64) < FILES_STEP {
                return Ok(());
            }
        }
    }

    async fn uploads(&self) -> Result<(), String> {
        let mut after: Option<String> = None;
        loop {
            let page = self.store.list_tenants(after.as_deref(), TENANTS).await.map_err(|error| error.to_string())?;
            for row in &page {
                remove_uploads(&self.files, &row.tenant, ago(UPLOADS_KEPT)).await.map_err(|error| error.to_string())?;
            }
            match page.last() {
                Some(last) => after = Some(last.tenant.as_str().to_owned()),
                None => return Ok(()),
            }
        }
    }
}

/// Deletes what is to go with an execution that was deleted.
async fn remove_left(files: &Files, removal: &FileRemoval) -> Result<(), FilesError> {
    let place = &removal.place;
    files.delete_below(&place.tenant, &FileUri::outputs(place.id)).await?;
    if !removal.outputs_only {
        let folder = FileUri::execution(&place.namespace, &place.flow_id, place.id);
        files.delete_below(&place.tenant, &folder).await?;
    }
    Ok(())
}

/// Deletes what was sent before that time and still waits for the execution that takes it.
async fn remove_uploads(files: &Files, tenant: &windhover_types::Tenant, before: Timestamp) -> Result<(), FilesError> {
    for entry in files.list(tenant, &FileUri::uploads()).await? {
        if entry.modified_at < before {
            files.delete(tenant, &entry.uri).await?;
        }
    }
    Ok(())
}

fn ago(duration: Duration) -> Timestamp {
    let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(now().as_micros().saturating_sub(micros))
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn told(what: &str, outcome: Result<(), impl std::fmt::Display>) {
    if let Err(error) = outcome {
        tracing::warn!(%error, "{what} stay for now");
    }
}

#[cfg(test)]
mod tests {
    use windhover_store::ExecutionPlace;
    use windhover_types::{Id, Tenant};

    use super::*;

    #[tokio::test]
    async fn large_outputs_go_with_their_execution_also_where_its_files_stay() -> Result<(), Box<dyn std::error::Error>>
    {
        let folder = tempfile::tempdir()?;
        let files = Files::local(folder.path())?;
        let (tenant, id, other) = (Tenant::main(), Id::from_bytes([1; 16]), Id::from_bytes([2; 16]));
        let file = FileUri::execution("a.b", "f", id).below("inputs/x")?;
        let (outputs, of_other) = (FileUri::outputs(id).below("x.json")?, FileUri::outputs(other).below("x.json")?);
        for uri in [&file, &outputs, &of_other] {
            files.put(&tenant, uri, "1").await?;
        }
        let place = ExecutionPlace { tenant: tenant.clone(), id, namespace: "a.b".to_owned(), flow_id: "f".to_owned() };
        let mut removal = FileRemoval { place, outputs_only: true };
        remove_left(&files, &removal).await?;
        assert!(files.find(&tenant, &outputs).await?.is_none() && files.find(&tenant, &file).await?.is_some());
        removal.outputs_only = false;
        remove_left(&files, &removal).await?;
        assert!(files.find(&tenant, &file).await?.is_none() && files.find(&tenant, &of_other).await?.is_some());
        Ok(())
    }

    #[tokio::test]
    async fn uploads_that_nobody_took_go_when_they_are_old_enough() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let files = Files::local(folder.path())?;
        let (a, b) = (Tenant::trusted("a"), Tenant::trusted("b"));
        let upload = FileUri::upload(Id::from_bytes([1; 16])).below("data.csv")?;
        let other: FileUri = "kestra:///company/_files/x".parse()?;
        for (tenant, uri) in [(&a, &upload), (&a, &other), (&b, &upload)] {
            files.put(tenant, uri, "1").await?;
        }
        remove_uploads(&files, &a, ago(Duration::from_secs(3_600))).await?;
        assert!(files.find(&a, &upload).await?.is_some(), "an hour has not passed");
        let later = now().plus(Duration::from_secs(60));
        remove_uploads(&files, &a, later).await?;
        assert!(files.find(&a, &upload).await?.is_none());
        assert!(files.find(&a, &other).await?.is_some() && files.find(&b, &upload).await?.is_some());
        Ok(())
    }
}
