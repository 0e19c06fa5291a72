//! `storage.*`: files of internal storage (flow model reference 5.5, the same of 1.x 5.6).

mod items;
mod lines;
mod simple;
mod split;

use bytes::Bytes;
use futures::TryStreamExt;
use tokio::io::{AsyncBufRead, BufReader};
use tokio_util::io::StreamReader;
use windhover_storage::{FileUri, FilesError, UriError, VersionError};

pub(crate) use items::{DeduplicateItems, FilterItems};
pub(crate) use lines::Reverse;
pub(crate) use simple::{Concat, Delete, PurgeCurrentExecutionFiles, Size, Write};
pub(crate) use split::{Cut, Split, split};

use crate::{TaskContext, TaskError};

impl From<FilesError> for TaskError {
    fn from(error: FilesError) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<UriError> for TaskError {
    fn from(error: UriError) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<VersionError> for TaskError {
    fn from(error: VersionError) -> Self {
        Self::failed(error.to_string())
    }
}

impl TaskContext {
    /// A name for a new file of this task run. `suffix`: its extension with the dot, or empty.
    pub(crate) fn new_file(&self, suffix: &str) -> Result<FileUri, TaskError> {
        Ok(self.directory().below(&format!("{}{suffix}", self.unique_name()))?)
    }

    /// Where the files of this task run lie.
    pub(crate) fn directory(&self) -> FileUri {
        FileUri::task_run(&self.flow.namespace, &self.flow.id, self.execution, &self.task.id, self.task_run)
    }

    /// The file that a required property names.
    pub(crate) async fn file(&self, property: &str) -> Result<FileUri, TaskError> {
        let text = self.required_text(property).await?;
        text.trim().parse().map_err(|error: UriError| TaskError::failed(format!("{property}: {error}")))
    }

    /// A file to be read line by line.
    pub(crate) async fn open(&self, uri: &FileUri) -> Result<impl AsyncBufRead + Unpin + Send + use<>, TaskError> {
        let stream = self.services.files.stream(&self.tenant, uri).await?;
        Ok(BufReader::new(StreamReader::new(stream.map_err(std::io::Error::other))))
    }

    pub(crate) async fn store(&self, suffix: &str, content: impl Into<Bytes>) -> Result<FileUri, TaskError> {
        let uri = self.new_file(suffix)?;
        self.services.files.put(&self.tenant, &uri, content).await?;
        Ok(uri)
    }
}

/// What a broken stream of internal storage tells.
pub(crate) fn io_failed(error: std::io::Error) -> TaskError {
    TaskError::failed(format!("internal storage: {error}"))
}

/// An extension with its dot, however it was given.
pub(crate) fn with_dot(extension: &str) -> String {
    match extension.trim() {
        "" => String::new(),
        text if text.starts_with('.') => text.to_owned(),
        text => format!(".{text}"),
    }
}
