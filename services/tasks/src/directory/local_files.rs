//! `storage.LocalFiles`: files into and out of the working directory (flow model reference 5.5).

use async_trait::async_trait;
use serde_json::json;

use crate::{Task, TaskContext, TaskError, TaskOutcome};

pub(crate) struct LocalFiles;

#[async_trait]
impl Task for LocalFiles {
    async fn run(&self, context: &TaskContext) -> Result<TaskOutcome, TaskError> {
        let (inputs, outputs) = context
            .render(|properties, environment| {
                Ok((
                    properties.map("inputs", environment)?.unwrap_or_default(),
                    properties.list("outputs", environment)?.unwrap_or_default(),
                ))
            })
            .await?;
        let folder = context.folder()?;
        folder.write(context, &inputs).await?;
        let uris = folder.store(context, &outputs).await?;
        Ok(TaskOutcome::success(Some(json!({ "uris": uris }))))
    }
}
