//! `storage.Reverse`.

use async_trait::async_trait;
use encoding_rs::Encoding;
use serde_json::json;

use crate::{Task, TaskContext, TaskError, TaskOutcome};

/// A larger file is not turned around: its lines have to be in memory.
const MAX_BYTES: u64 = 256 << 20;

pub(crate) struct Reverse;

#[async_trait]
impl Task for Reverse {
    async fn run(&self, context: &TaskContext) -> Result<TaskOutcome, TaskError> {
        let from = context.file("from").await?;
        let separator = context.text("separator").await?.unwrap_or_else(|| "\n".to_owned());
        let charset = context.text("charset").await?.unwrap_or_else(|| "UTF-8".to_owned());
        let encoding = Encoding::for_label(charset.trim().as_bytes())
            .ok_or_else(|| TaskError::failed(format!("charset: unknown charset '{charset}'")))?;
        if separator.is_empty() {
            return Err(TaskError::failed("separator: must not be empty"));
        }
        let content = context.services.files.read(&context.tenant, &from, MAX_BYTES).await?;
        let (text, _, _) = encoding.decode(&content);
        let body = text.strip_suffix(separator.as_str()).unwrap_or(&text);
        let mut reversed = String::with_capacity(text.len() + separator.len());
        if !text.is_empty() {
            for line in body.rsplit(separator.as_str()) {
                reversed.push_str(line);
                reversed.push_str(&separator);
            }
        }
        let (encoded, _, _) = encoding.encode(&reversed);
        let uri = context.store(from.extension().unwrap_or(".tmp"), encoded.into_owned()).await?;
        Ok(TaskOutcome::success(Some(json!({ "uri": uri.to_string() }))))
    }
}
