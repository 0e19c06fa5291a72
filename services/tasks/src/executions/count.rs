//! `execution.Count`.

use async_trait::async_trait;
use serde_json::{Value, json};
use windhover_flow::text_of;
use windhover_types::Level;

use super::{date, list, required_date, states};
use crate::{CountedExecutions, ExecutionCount, Period, Task, TaskContext, TaskError, TaskOutcome};

pub(crate) struct Count;

#[async_trait]
impl Task for Count {
    async fn run(&self, context: &TaskContext) -> Result<TaskOutcome, TaskError> {
        let flows = flows(context).await?;
        let namespaces = list(context, "namespaces").await?;
        if flows.is_none() && namespaces.is_none() {
            return Err(TaskError::failed("flows, namespaces: one of them must be given"));
        }
        let flows = flows.unwrap_or_default();
        let wanted = CountedExecutions {
            flows: flows.clone(),
            namespaces: namespaces.unwrap_or_default(),
            states: states(context).await?,
            created: Period {
                from: Some(required_date(context, "startDate").await?),
                until: date(context, "endDate").await?,
            },
        };
        let upkeep = &context.services.upkeep;
        let mut counts = upkeep.count_executions(&context.tenant, &wanted).await.map_err(TaskError::failed)?;
        // A flow that was asked for is told of also when it has not run.
        for (namespace, flow_id) in flows {
            if !counts.iter().any(|count| count.namespace == namespace && count.flow_id == flow_id) {
                counts.push(ExecutionCount { namespace, flow_id, count: 0 });
            }
        }
        context.log(Level::Trace, &format!("{} flows matching filters", counts.len()));
        let (mut results, mut total) = (Vec::new(), 0_u64);
        for ExecutionCount { namespace, flow_id, count } in counts {
            let further = [("count", json!(count))];
            let kept = context
                .render_with(&further, |properties, environment| properties.required_text("expression", environment))
                .await?;
            if kept == "true" {
                total += count;
                results.push(json!({ "namespace": namespace, "flowId": flow_id, "count": count }));
            }
        }
        context.log(Level::Debug, &format!("{} flows matching the expression", results.len()));
        Ok(TaskOutcome::success(Some(json!({ "results": results, "total": total }))))
    }
}

/// `flows`: namespace and id.
async fn flows(context: &TaskContext) -> Result<Option<Vec<(String, String)>>, TaskError> {
    let items = context.render(|properties, environment| properties.list("flows", environment)).await?;
    let flow = |item: &Value| {
        let text = |name: &str| item.get(name).filter(|value| !value.is_null()).map(text_of);
        text("namespace")
            .zip(text("flowId"))
            .ok_or_else(|| TaskError::failed("flows: each of them has a `namespace` and a `flowId`"))
    };
    items.map(|items| items.iter().map(flow).collect()).transpose()
}
