//! `execution.PurgeExecutions`: executions that have ended, with what they have left.

use async_trait::async_trait;
use serde_json::json;
use windhover_storage::FileUri;

use super::{date, required_date, scope, states};
use crate::{EndedExecutions, PurgedParts, Task, TaskContext, TaskError, TaskOutcome};

/// Executions of one step unless `batchSize` says otherwise, and at most.
const BATCH: i64 = 100;
const MAX_BATCH: i64 = 1_000;

pub(crate) struct PurgeExecutions;

#[async_trait]
impl Task for PurgeExecutions {
    async fn run(&self, context: &TaskContext) -> Result<TaskOutcome, TaskError> {
        let (scope, flow_id) = scope(context).await?;
        let wanted = EndedExecutions {
            scope,
            flow_id,
            states: states(context).await?,
            created_from: date(context, "startDate").await?,
            ended_until: Some(required_date(context, "endDate").await?),
        };
        let (parts, batch) = context
            .render(|properties, environment| {
                let part = |name: &str| Ok(properties.bool(name, environment)?.unwrap_or(true));
                let parts = PurgedParts {
                    executions: part("purgeExecution")?,
                    logs: part("purgeLog")?,
                    metrics: part("purgeMetric")?,
                    files: part("purgeStorage")?,
                };
                Ok((parts, properties.int("batchSize", environment)?.unwrap_or(BATCH)))
            })
            .await?;
        if batch < 1 {
            return Err(TaskError::failed("batchSize: must be greater than 0"));
        }
        let purged = purge(context, &wanted, parts, batch.min(MAX_BATCH).unsigned_abs()).await?;
        Ok(TaskOutcome::success(Some(json!({
            "executionsCount": purged.executions,
            "logsCount": purged.logs,
            "storagesCount": purged.files,
            "metricsCount": purged.metrics,
        }))))
    }
}

#[derive(Default)]
struct Total {
    executions: u64,
    logs: u64,
    metrics: u64,
    files: u64,
}

async fn purge(
    context: &TaskContext,
    wanted: &EndedExecutions,
    parts: PurgedParts,
    batch: u64,
) -> Result<Total, TaskError> {
    let (upkeep, tenant) = (&context.services.upkeep, &context.tenant);
    let mut total = Total::default();
    let mut after = None;
    loop {
        let page = upkeep.ended_executions(tenant, wanted, after, batch).await.map_err(TaskError::failed)?;
        let Some(last) = page.last() else { return Ok(total) };
        after = Some(last.id);
        let ids: Vec<_> = page.iter().map(|execution| execution.id).collect();
        let taken = upkeep.purge_executions(tenant, &ids, parts).await.map_err(TaskError::failed)?;
        total.executions += if parts.executions { taken.executions.len() as u64 } else { 0 };
        total.logs += taken.logs;
        total.metrics += taken.metrics;
        // What was taken up again meanwhile keeps its files.
        for execution in page.iter().filter(|execution| taken.executions.contains(&execution.id)) {
            if parts.executions {
                // They are the execution's own, and no files that anybody knows of.
                context.services.files.delete_below(tenant, &FileUri::outputs(execution.id)).await?;
            }
            if !parts.files {
                continue;
            }
            let folder = FileUri::execution(&execution.namespace, &execution.flow_id, execution.id);
            total.files += context.services.files.delete_below(tenant, &folder).await?.len() as u64;
        }
        if parts.executions {
            upkeep.files_purged(tenant, &taken.executions).await.map_err(TaskError::failed)?;
        }
    }
}
