//! `execution.Resume`.

use async_trait::async_trait;

use crate::{Resumed, Task, TaskContext, TaskError, TaskOutcome, fetch::named_execution};

pub(crate) struct Resume;

#[async_trait]
impl Task for Resume {
    async fn run(&self, context: &TaskContext) -> Result<TaskOutcome, TaskError> {
        let (id, namespace, flow_id) = named_execution(context).await?;
        let inputs = context
            .render(|properties, environment| {
                // A text that is one expression keeps its type, as the API's inputs do.
                match properties.get("inputs").map(|inputs| inputs.render_values(environment)) {
                    None => Ok(serde_json::Value::Null),
                    Some(rendered) => rendered.map_err(|source| windhover_flow::PropertyError::Render {
                        property: "inputs".to_owned(),
                        source,
                    }),
                }
            })
            .await?;
        let inputs = match inputs {
            serde_json::Value::Null => serde_json::Map::new(),
            serde_json::Value::Object(inputs) => inputs,
            serde_json::Value::String(text) => {
                serde_json::from_str(&text).map_err(|_| TaskError::failed("inputs: a map is expected"))?
            }
            _ => return Err(TaskError::failed("inputs: a map is expected")),
        };
        let not_found = || TaskError::failed(format!("Execution '{id}' does not exist"));
        let named = context.text("namespace").await?.is_some();
        let execution = context.services.executions.execution(&context.tenant, id).await.map_err(TaskError::failed)?;
        let execution = execution.ok_or_else(not_found)?;
        if named && (execution.namespace != namespace || execution.flow_id != flow_id) {
            return Err(not_found());
        }
        // An attempt that is made again because its worker died does not resume the next pause.
        let request = format!("{}/{}", context.task_run, context.attempt);
        match context.services.upkeep.resume(&context.tenant, id, inputs, request).await.map_err(TaskError::failed)? {
            Resumed::Done => Ok(TaskOutcome::success(None)),
            Resumed::Refused(reason) => Err(TaskError::failed(format!("Execution '{id}' cannot be resumed: {reason}"))),
            Resumed::NotFound => Err(not_found()),
        }
    }
}
