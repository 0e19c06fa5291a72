//! The folder that a task works in: its own, or the one that the children of a WorkingDirectory share.
//!
//! Always true: nothing outside of the folder is written or stored, whatever names, patterns and links say. A shared
//! folder is kept in internal storage between its tasks, so that any worker can run the next one, also after a crash.

mod archive;
mod local_files;
mod namespace_files;
mod place;
mod shared;

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use tempfile::TempDir;
use windhover_flow::text_of;
use windhover_storage::FileUri;
use windhover_types::JsonMap;

pub(crate) use local_files::LocalFiles;
pub(crate) use namespace_files::{copy_namespace_files, namespace_file};
pub(crate) use shared::Shared;

use crate::{TaskContext, TaskError, namespace::Pattern};

/// Files that are stored of one folder at most, and their bytes together.
const MAX_FILES: usize = 100_000;

/// A folder of the machine that goes with this value.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Result<Self, TaskError> {
        let made = tempfile::Builder::new().prefix("windhover-").tempdir();
        made.map(Self).map_err(|error| TaskError::failed(format!("no folder can be made to work in: {error}")))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Where the file of this name lies, with the folders above it made.
    pub(crate) fn place(&self, name: &str) -> Result<PathBuf, TaskError> {
        place::inside(self.path(), name)
    }

    /// Writes files: names to contents, or to URIs of internal storage or of files of a namespace, whose content is
    /// fetched (flow model reference 5.9, the same of 1.x 5.6). Entries that are null are left out.
    pub(crate) async fn write(&self, context: &TaskContext, files: &JsonMap) -> Result<(), TaskError> {
        for (name, content) in files.iter().filter(|(_, content)| !content.is_null()) {
            let place = self.place(name)?;
            let text = text_of(content);
            let uri: Option<FileUri> = match text.trim() {
                uri if uri.starts_with("kestra://") => Some(uri.parse()?),
                uri if uri.starts_with("nsfile://") => Some(namespace_file(context, uri).await?),
                uri if uri.starts_with("file://") => {
                    return Err(TaskError::failed(format!("'{name}': this server opens no local files")));
                }
                _ => None,
            };
            match uri {
                Some(uri) => fetch(context, &uri, &place).await?,
                None => tokio::fs::write(&place, text).await.map_err(|error| not_written(name, &error))?,
            }
        }
        Ok(())
    }

    /// Every file below the folder, as paths relative to it, in order. Links are not followed.
    pub(crate) fn files(&self) -> Result<Vec<String>, TaskError> {
        let mut found = Vec::new();
        let mut open = vec![self.path().to_owned()];
        while let Some(folder) = open.pop() {
            let entries = std::fs::read_dir(&folder).map_err(|error| TaskError::failed(error.to_string()))?;
            for entry in entries {
                let entry = entry.map_err(|error| TaskError::failed(error.to_string()))?;
                let kind = entry.file_type().map_err(|error| TaskError::failed(error.to_string()))?;
                if kind.is_dir() {
                    open.push(entry.path());
                } else if kind.is_file()
                    && let Ok(path) = entry.path().strip_prefix(self.path())
                {
                    found.push(path.to_string_lossy().into_owned());
                }
                if found.len() > MAX_FILES {
                    return Err(TaskError::failed(format!("the working directory has more than {MAX_FILES} files")));
                }
            }
        }
        found.sort();
        Ok(found)
    }

    /// Stores the files that the patterns mean; answers their URIs by relative path.
    pub(crate) async fn store(&self, context: &TaskContext, patterns: &[Value]) -> Result<JsonMap, TaskError> {
        let patterns =
            patterns.iter().map(|text| Pattern::parse(&text_of(text))).collect::<Result<Vec<_>, TaskError>>()?;
        let mut uris = Map::new();
        if patterns.is_empty() {
            return Ok(uris);
        }
        for path in self.files()? {
            let with_slash = format!("/{path}");
            if !patterns.iter().any(|pattern| pattern.matches(&path) || pattern.matches(&with_slash)) {
                continue;
            }
            let uri = self.store_one(context, &path).await?;
            uris.insert(path, uri);
        }
        Ok(uris)
    }

    /// Stores every file below the folder `below`, which goes; answers their URIs by their paths in it.
    pub(crate) async fn store_below(&self, context: &TaskContext, below: &str) -> Result<JsonMap, TaskError> {
        let mut uris = Map::new();
        for path in self.files()? {
            let Some(inner) = path.strip_prefix(below).and_then(|rest| rest.strip_prefix('/')) else { continue };
            let uri = self.store_one(context, &path).await?;
            uris.insert(inner.to_owned(), uri);
        }
        // The whole folder goes in the end, at the latest.
        let _ = tokio::fs::remove_dir_all(self.path().join(below)).await;
        Ok(uris)
    }

    async fn store_one(&self, context: &TaskContext, path: &str) -> Result<Value, TaskError> {
        let name = path.rsplit('/').next().unwrap_or(path);
        let uri = context.directory().below(&format!("{}-{}", context.unique_name(), name.replace(' ', "+")))?;
        send(context, &self.path().join(path), &uri).await?;
        Ok(Value::String(uri.to_string()))
    }
}

fn not_written(name: &str, error: &std::io::Error) -> TaskError {
    TaskError::failed(format!("the file '{name}' cannot be written: {error}"))
}

/// Copies a file of internal storage to the machine.
pub(crate) async fn fetch(context: &TaskContext, uri: &FileUri, place: &Path) -> Result<(), TaskError> {
    let mut from = context.open(uri).await?;
    let written = async {
        let mut to = tokio::fs::File::create(place).await?;
        tokio::io::copy(&mut from, &mut to).await?;
        tokio::io::AsyncWriteExt::flush(&mut to).await
    };
    written.await.map_err(|error| TaskError::failed(format!("the file {uri} cannot be copied: {error}")))
}

/// Copies a file of the machine to internal storage.
pub(crate) async fn send(context: &TaskContext, place: &Path, uri: &FileUri) -> Result<(), TaskError> {
    let written = async {
        let mut from = tokio::fs::File::open(place).await?;
        let mut to = context.services.files.writer(&context.tenant, uri);
        tokio::io::copy(&mut from, &mut to).await?;
        tokio::io::AsyncWriteExt::shutdown(&mut to).await
    };
    written.await.map_err(|error| TaskError::failed(format!("the file {} cannot be stored: {error}", place.display())))
}
