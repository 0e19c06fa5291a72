//! `log.Fetch`: the log of an execution as a file (flow model reference 5.1).

use async_trait::async_trait;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use windhover_expression::item_line;
use windhover_flow::text_of;
use windhover_types::{Id, Level};

use crate::{Task, TaskContext, TaskError, TaskOutcome, storage::io_failed};

/// Lines that are read at once.
const PAGE: u64 = 1_000;

pub(crate) struct Fetch;

/// The execution that a task names by `executionId`, `namespace` and `flowId`; its own when it names none.
///
/// # Errors
/// Only some of the three are given, or the id is none.
pub(crate) async fn named_execution(context: &TaskContext) -> Result<(Id, String, String), TaskError> {
    let execution = context.text("executionId").await?;
    let namespace = context.text("namespace").await?;
    let flow = context.text("flowId").await?;
    let own = || (context.flow.namespace.clone(), context.flow.id.clone());
    let (namespace, flow) = match (&execution, namespace, flow) {
        (Some(_), Some(namespace), Some(flow)) => (namespace, flow),
        (_, None, None) => own(),
        (None, Some(_), Some(_)) => {
            return Err(TaskError::failed("executionId: must be given beside `namespace` and `flowId`"));
        }
        _ => return Err(TaskError::failed("namespace, flowId: both or none must be given")),
    };
    let id = match execution {
        Some(text) => text
            .trim()
            .parse()
            .map_err(|_| TaskError::failed(format!("executionId: '{text}' is no id of an execution")))?,
        None => context.execution,
    };
    Ok((id, namespace, flow))
}

#[async_trait]
impl Task for Fetch {
    async fn run(&self, context: &TaskContext) -> Result<TaskOutcome, TaskError> {
        let (id, namespace, flow) = named_execution(context).await?;
        let (tasks, level) = context
            .render(|properties, environment| {
                Ok((
                    properties.list("tasksId", environment)?.unwrap_or_default(),
                    properties.level("level", environment)?.unwrap_or(Level::Info),
                ))
            })
            .await?;
        let tasks: Vec<String> = tasks.iter().map(text_of).collect();
        let uri = context.new_file(".ion")?;
        let mut writer = context.services.files.writer(&context.tenant, &uri);
        let mut size = 0_u64;
        let mut after = None;
        loop {
            let executions = &context.services.executions;
            let page = executions.log_lines(&context.tenant, id, &tasks, level, after, PAGE).await;
            let page = page.map_err(TaskError::failed)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            for (_, line) in &page {
                let row = json!({
                    "namespace": namespace,
                    "flowId": flow,
                    "taskId": line.task_id,
                    "executionId": id.to_string(),
                    "taskRunId": line.task_run_id.map(|id| id.to_string()),
                    "attemptNumber": line.attempt,
                    "timestamp": line.at.to_string(),
                    "level": line.level.as_str(),
                    "message": line.message,
                });
                let row = item_line(&row).map_err(TaskError::failed)?;
                writer.write_all(format!("{row}\n").as_bytes()).await.map_err(io_failed)?;
            }
            size += page.len() as u64;
        }
        writer.shutdown().await.map_err(io_failed)?;
        Ok(TaskOutcome::success(Some(json!({ "size": size, "uri": uri.to_string() }))))
    }
}
