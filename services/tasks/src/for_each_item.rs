//! The two tasks that a ForEachItem makes for workers: one splits the file, one puts the outputs of the executions
//! together (flow model reference 5.3).

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use windhover_engine::item_execution_id;
use windhover_expression::item_line;
use windhover_flow::text_of;
use windhover_storage::FileUri;

use crate::{
    Task, TaskContext, TaskError, TaskOutcome,
    storage::{Cut, io_failed, split},
};

pub(crate) struct SplitItems;
pub(crate) struct MergeOutputs;

#[async_trait]
impl Task for SplitItems {
    async fn run(&self, context: &TaskContext) -> Result<TaskOutcome, TaskError> {
        let from: FileUri = context.file("items").await?;
        let batch = context.map("batch").await?.unwrap_or_default();
        let given = |name: &str| batch.get(name).filter(|value| !value.is_null()).map(text_of);
        let count = |name: &str| {
            given(name)
                .map(|text| text.trim().parse::<i64>())
                .transpose()
                .map_err(|_| TaskError::failed(format!("batch.{name}: this is no whole number")))
        };
        let bytes = given("bytes");
        let pattern = given("regexPattern");
        let (partitions, rows) = (count("partitions")?, count("rows")?);
        let is_cut = bytes.is_some() || partitions.is_some() || pattern.is_some();
        let rows = if is_cut { rows } else { rows.or(Some(1)) };
        let cut = Cut::parse(bytes.as_deref(), partitions, rows, pattern.as_deref())?;
        let separator = given("separator").unwrap_or_else(|| "\n".to_owned());
        let parts = split(context, &from, &cut, &separator).await?;
        let lines: String = parts.iter().map(|part| format!("{part}\n")).collect();
        let splits = context.store(".txt", lines).await?;
        Ok(TaskOutcome::success(Some(json!({ "splits": splits.to_string() }))))
    }
}

#[async_trait]
impl Task for MergeOutputs {
    async fn run(&self, context: &TaskContext) -> Result<TaskOutcome, TaskError> {
        let nothing = || Ok(TaskOutcome::success(Some(json!({ "subflowOutputs": null }))));
        let Some(items) = context.variable("forEachItem")? else { return nothing() };
        let task_run = items.get("itemsTaskRun").and_then(Value::as_str).and_then(|id| id.parse().ok());
        let Some(task_run) = task_run else { return nothing() };
        let number = |name: &str| {
            items.get(name).and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok()).unwrap_or(0)
        };
        let uri = context.new_file(".ion")?;
        let mut writer = context.services.files.writer(&context.tenant, &uri);
        let mut any = false;
        for part in 0..number("batches") {
            let child = item_execution_id(task_run, number("attempt"), part);
            let child = context.services.executions.execution(&context.tenant, child).await;
            let Some(outputs) = child.map_err(TaskError::failed)?.and_then(|child| child.outputs) else { continue };
            let line = item_line(&Value::Object(outputs)).map_err(TaskError::failed)?;
            writer.write_all(format!("{line}\n").as_bytes()).await.map_err(io_failed)?;
            any = true;
        }
        if !any {
            return nothing();
        }
        writer.shutdown().await.map_err(io_failed)?;
        Ok(TaskOutcome::success(Some(json!({ "subflowOutputs": uri.to_string() }))))
    }
}
