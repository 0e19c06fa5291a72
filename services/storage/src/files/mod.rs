//! Internal storage: files of executions and namespaces, on a local disk or in an S3 bucket.
//!
//! Always true: every object lies below its tenant; what one tenant can name never leads to another's.

mod namespace;
mod uri;

use std::{path::Path as FolderPath, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use object_store::{
    ObjectStore, ObjectStoreExt, PutPayload,
    aws::AmazonS3Builder,
    buffered::BufWriter,
    local::LocalFileSystem,
    path::{Path, PathPart},
};
use windhover_types::{Secret, Tenant, Timestamp};

pub use namespace::{FileVersion, NamespaceFile, VersionError};
pub use uri::{FileUri, UriError};

/// Why a file could not be read or written. Names no credentials.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    #[error("the file {0} was not found")]
    NotFound(FileUri),
    #[error("the file {uri} has {size} bytes, more than the {limit} that can be read at once")]
    TooLarge { uri: FileUri, size: u64, limit: u64 },
    /// The disk or the bucket does not answer, or refuses; trying again may help.
    #[error("internal storage is not available: {0}")]
    Unavailable(String),
}

/// A file as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    pub uri: FileUri,
    /// Bytes.
    pub size: u64,
    pub modified_at: Timestamp,
}

/// Where an S3 bucket is and how to enter it.
#[derive(Debug, Clone)]
pub struct S3Config {
    pub bucket: String,
    /// Put before every name; empty for none.
    pub prefix: String,
    /// Other than Amazon's: `http://minio:9000`.
    pub endpoint: Option<String>,
    pub region: Option<String>,
    /// Without them the environment and the instance's role are asked.
    pub access_key_id: Option<String>,
    pub secret_access_key: Option<Secret>,
}

/// Internal storage of an installation. Cheap to clone.
#[derive(Clone)]
pub struct Files {
    store: Arc<dyn ObjectStore>,
    /// The same place; what it has written survives the loss of power.
    durable: Arc<dyn ObjectStore>,
    prefix: Path,
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The store's own form may hold credentials.
        f.debug_struct("Files").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl Files {
    /// Below a folder, which must exist.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub fn local(folder: &FolderPath) -> Result<Self, FilesError> {
        let store = LocalFileSystem::new_with_prefix(folder).map_err(|error| unavailable(&error))?;
        let store = store.with_automatic_cleanup(true);
        let durable = Arc::new(store.clone().with_fsync(true));
        Ok(Self { store: Arc::new(store), durable, prefix: Path::default() })
    }

    /// In an S3 bucket or what speaks its protocol. Sends nothing yet.
    ///
    /// # Errors
    /// The configuration makes no sense.
    pub fn s3(config: S3Config) -> Result<Self, FilesError> {
        // The first to ask decides for the whole process; all ask for the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = AmazonS3Builder::from_env().with_bucket_name(&config.bucket);
        if let Some(endpoint) = &config.endpoint {
            builder = builder.with_endpoint(endpoint).with_allow_http(endpoint.starts_with("http://"));
        }
        builder = builder.with_region(config.region.as_deref().unwrap_or("us-east-1"));
        if let (Some(id), Some(key)) = (&config.access_key_id, &config.secret_access_key) {
            builder = builder.with_access_key_id(id).with_secret_access_key(key.expose());
        }
        let store = builder.build().map_err(|error| unavailable(&error))?;
        let prefix = config.prefix.split('/').filter(|part| !part.is_empty()).map(PathPart::from).collect();
        let store: Arc<dyn ObjectStore> = Arc::new(store);
        Ok(Self { durable: Arc::clone(&store), store, prefix })
    }

    /// Writes a file; one that is there is replaced.
    pub async fn put(&self, tenant: &Tenant, uri: &FileUri, content: impl Into<Bytes>) -> Result<(), FilesError> {
        let payload = PutPayload::from(content.into());
        self.store.put(&self.place(tenant, uri), payload).await.map_err(|error| self.failed(error, uri))?;
        Ok(())
    }

    /// Writes a file that a commit of the store relies on: it is on the disk when this returns.
    pub async fn put_durably(
        &self,
        tenant: &Tenant,
        uri: &FileUri,
        content: impl Into<Bytes>,
    ) -> Result<(), FilesError> {
        let payload = PutPayload::from(content.into());
        self.durable.put(&self.place(tenant, uri), payload).await.map_err(|error| self.failed(error, uri))?;
        Ok(())
    }

    /// Writes a file piece by piece: `tokio::io::AsyncWrite`. It appears when it is shut down; dropped before, nothing
    /// is left.
    pub fn writer(&self, tenant: &Tenant, uri: &FileUri) -> BufWriter {
        BufWriter::new(Arc::clone(&self.store), self.place(tenant, uri))
    }

    /// The whole file, if it has at most `limit` bytes.
    pub async fn read(&self, tenant: &Tenant, uri: &FileUri, limit: u64) -> Result<Bytes, FilesError> {
        let found = self.store.get(&self.place(tenant, uri)).await.map_err(|error| self.failed(error, uri))?;
        if found.meta.size > limit {
            return Err(FilesError::TooLarge { uri: uri.clone(), size: found.meta.size, limit });
        }
        found.bytes().await.map_err(|error| self.failed(error, uri))
    }

    /// The file in pieces.
    pub async fn stream(
        &self,
        tenant: &Tenant,
        uri: &FileUri,
    ) -> Result<BoxStream<'static, Result<Bytes, FilesError>>, FilesError> {
        let found = self.store.get(&self.place(tenant, uri)).await.map_err(|error| self.failed(error, uri))?;
        Ok(found.into_stream().map_err(|error| unavailable(&error)).boxed())
    }

    /// Copies a file; one that is there is replaced.
    pub async fn copy(&self, tenant: &Tenant, from: &FileUri, to: &FileUri) -> Result<(), FilesError> {
        let copied = self.store.copy(&self.place(tenant, from), &self.place(tenant, to)).await;
        copied.map_err(|error| self.failed(error, from))
    }

    /// `None`: there is no such file.
    pub async fn find(&self, tenant: &Tenant, uri: &FileUri) -> Result<Option<FileEntry>, FilesError> {
        match self.store.head(&self.place(tenant, uri)).await {
            Ok(meta) => {
                Ok(Some(FileEntry { uri: uri.clone(), size: meta.size, modified_at: time(meta.last_modified) }))
            }
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed(error, uri)),
        }
    }

    /// Everything below a directory, in order of the names.
    pub async fn list(&self, tenant: &Tenant, directory: &FileUri) -> Result<Vec<FileEntry>, FilesError> {
        let base = self.place(tenant, directory);
        let depth = base.parts().count();
        let found: Vec<_> = self.store.list(Some(&base)).try_collect().await.map_err(|error| unavailable(&error))?;
        let mut entries = Vec::with_capacity(found.len());
        for meta in found {
            let rest: Vec<String> = meta.location.parts().skip(depth).map(|part| decoded(&part)).collect();
            let Ok(uri) = directory.below(&rest.join("/")) else { continue };
            entries.push(FileEntry { uri, size: meta.size, modified_at: time(meta.last_modified) });
        }
        entries.sort_by(|a, b| a.uri.cmp(&b.uri));
        Ok(entries)
    }

    /// The files that lie in a directory itself.
    async fn children(&self, tenant: &Tenant, directory: &FileUri) -> Result<Vec<FileEntry>, FilesError> {
        let base = self.place(tenant, directory);
        let found = self.store.list_with_delimiter(Some(&base)).await.map_err(|error| unavailable(&error))?;
        let entry = |meta: object_store::ObjectMeta| {
            let uri = directory.below(&decoded(&meta.location.parts().next_back()?)).ok()?;
            Some(FileEntry { uri, size: meta.size, modified_at: time(meta.last_modified) })
        };
        Ok(found.objects.into_iter().filter_map(entry).collect())
    }

    /// Whether there was one.
    pub async fn delete(&self, tenant: &Tenant, uri: &FileUri) -> Result<bool, FilesError> {
        // Buckets answer the deletion of nothing with success.
        if self.find(tenant, uri).await?.is_none() {
            return Ok(false);
        }
        self.remove(tenant, uri).await
    }

    /// Deletes a file that is known to have been there.
    async fn remove(&self, tenant: &Tenant, uri: &FileUri) -> Result<bool, FilesError> {
        match self.store.delete(&self.place(tenant, uri)).await {
            Ok(()) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(self.failed(error, uri)),
        }
    }

    /// Deletes everything below a directory; answers what was there.
    pub async fn delete_below(&self, tenant: &Tenant, directory: &FileUri) -> Result<Vec<FileUri>, FilesError> {
        let mut deleted = Vec::new();
        for entry in self.list(tenant, directory).await? {
            if self.remove(tenant, &entry.uri).await? {
                deleted.push(entry.uri);
            }
        }
        Ok(deleted)
    }

    fn place(&self, tenant: &Tenant, uri: &FileUri) -> Path {
        let below = std::iter::once(PathPart::from(tenant.as_str())).chain(uri.segments().map(PathPart::from));
        self.prefix.parts().chain(below).collect()
    }

    fn failed(&self, error: object_store::Error, uri: &FileUri) -> FilesError {
        match error {
            object_store::Error::NotFound { .. } => FilesError::NotFound(uri.clone()),
            other => unavailable(&other),
        }
    }
}

/// The name as it was given: the library writes characters that file systems and buckets dislike as `%XX`.
fn decoded(part: &PathPart<'_>) -> String {
    percent_encoding::percent_decode_str(part.as_ref()).decode_utf8_lossy().into_owned()
}

fn time(at: impl Into<std::time::SystemTime>) -> Timestamp {
    let since = at.into().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

fn unavailable(error: &object_store::Error) -> FilesError {
    FilesError::Unavailable(error.to_string())
}
