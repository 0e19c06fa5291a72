//! `log.PurgeLogs`.

use async_trait::async_trait;
use serde_json::json;
use windhover_types::Level;

use super::{date, list, required_date, scope};
use crate::{Period, PurgedLogs, Task, TaskContext, TaskError, TaskOutcome};

pub(crate) struct PurgeLogs;

#[async_trait]
impl Task for PurgeLogs {
    async fn run(&self, context: &TaskContext) -> Result<TaskOutcome, TaskError> {
        let (scope, flow_id) = scope(context).await?;
        let execution = context.text("executionId").await?;
        let execution = execution.map(|text| {
            let id = text.trim().parse();
            id.map_err(|_| TaskError::failed(format!("executionId: '{text}' is no id of an execution")))
        });
        let levels = list(context, "logLevels").await?.unwrap_or_default();
        let level = |name: &String| {
            let level: Result<Level, _> = name.trim().to_ascii_uppercase().parse();
            level.map_err(|_| TaskError::failed(format!("logLevels: '{name}' is no level")))
        };
        let wanted = PurgedLogs {
            scope,
            flow_id,
            execution: execution.transpose()?,
            levels: levels.iter().map(level).collect::<Result<_, _>>()?,
            written: Period {
                from: date(context, "startDate").await?,
                until: Some(required_date(context, "endDate").await?),
            },
        };
        let mut count = 0;
        loop {
            let upkeep = &context.services.upkeep;
            match upkeep.purge_logs(&context.tenant, &wanted).await.map_err(TaskError::failed)? {
                0 => break,
                deleted => count += deleted,
            }
        }
        Ok(TaskOutcome::success(Some(json!({ "count": count }))))
    }
}
