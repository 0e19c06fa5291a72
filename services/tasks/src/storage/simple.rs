//! Tasks that handle files as a whole.

use async_trait::async_trait;
use futures::TryStreamExt;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use windhover_flow::text_of;
use windhover_storage::FileUri;

use super::{io_failed, with_dot};
use crate::{Task, TaskContext, TaskError, TaskOutcome};

pub(crate) struct Write;
pub(crate) struct Size;
pub(crate) struct Concat;
pub(crate) struct Delete;
pub(crate) struct PurgeCurrentExecutionFiles;

#[async_trait]
impl Task for Write {
    async fn run(&self, context: &TaskContext) -> Result<TaskOutcome, TaskError> {
        let content = context.required_text("content").await?;
        let extension = context.text("extension").await?.unwrap_or_default();
        let uri = context.store(&with_dot(&extension), content).await?;
        Ok(TaskOutcome::success(Some(json!({ "uri": uri.to_string() }))))
    }
}

#[async_trait]
impl Task for Size {
    async fn run(&self, context: &TaskContext) -> Result<TaskOutcome, TaskError> {
        let uri = context.file("uri").await?;
        match context.services.files.find(&context.tenant, &uri).await? {
            Some(entry) => Ok(TaskOutcome::success(Some(json!({ "size": entry.size })))),
            None => Err(TaskError::failed(format!("the file {uri} was not found"))),
        }
    }
}

#[async_trait]
impl Task for Concat {
    async fn run(&self, context: &TaskContext) -> Result<TaskOutcome, TaskError> {
        let (files, separator, extension) = context
            .render(|properties, environment| {
                Ok((
                    properties.list("files", environment)?,
                    properties.text("separator", environment)?,
                    properties.text("extension", environment)?,
                ))
            })
            .await?;
        let files = files.ok_or_else(|| TaskError::failed("files: must not be null"))?;
        let extension = extension.map_or_else(|| ".tmp".to_owned(), |extension| with_dot(&extension));
        let target = context.new_file(&extension)?;
        let mut writer = context.services.files.writer(&context.tenant, &target);
        for file in files.iter().map(text_of) {
            let uri: FileUri = file.trim().parse().map_err(|error| TaskError::failed(format!("files: {error}")))?;
            let mut content = context.services.files.stream(&context.tenant, &uri).await?;
            while let Some(piece) = content.try_next().await? {
                writer.write_all(&piece).await.map_err(io_failed)?;
            }
            if let Some(separator) = &separator {
                writer.write_all(separator.as_bytes()).await.map_err(io_failed)?;
            }
        }
        writer.shutdown().await.map_err(io_failed)?;
        Ok(TaskOutcome::success(Some(json!({ "uri": target.to_string() }))))
    }
}

#[async_trait]
impl Task for Delete {
    async fn run(&self, context: &TaskContext) -> Result<TaskOutcome, TaskError> {
        let uri = context.file("uri").await?;
        let must_exist = context.bool("errorOnMissing").await?.unwrap_or(false);
        let deleted = context.services.files.delete(&context.tenant, &uri).await?;
        if must_exist && !deleted {
            return Err(TaskError::failed(format!("the file {uri} was not found")));
        }
        Ok(TaskOutcome::success(Some(json!({ "uri": uri.to_string(), "deleted": deleted }))))
    }
}

#[async_trait]
impl Task for PurgeCurrentExecutionFiles {
    async fn run(&self, context: &TaskContext) -> Result<TaskOutcome, TaskError> {
        let directory = FileUri::execution(&context.flow.namespace, &context.flow.id, context.execution);
        let deleted = context.services.files.delete_below(&context.tenant, &directory).await?;
        let uris: Vec<Value> = deleted.iter().map(|uri| Value::String(uri.to_string())).collect();
        Ok(TaskOutcome::success(Some(json!({ "uris": uris }))))
    }
}
