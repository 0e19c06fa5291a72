//! `trigger.Toggle`: switches a trigger off or on (flow model reference 5.7).

use async_trait::async_trait;

use crate::{Task, TaskContext, TaskError, TaskOutcome};

pub(crate) struct Toggle;

#[async_trait]
impl Task for Toggle {
    async fn run(&self, context: &TaskContext) -> Result<TaskOutcome, TaskError> {
        let trigger = context.required_text("trigger").await?;
        let namespace = context.text("namespace").await?.unwrap_or_else(|| context.flow.namespace.clone());
        let flow_id = context.text("flowId").await?.unwrap_or_else(|| context.flow.id.clone());
        let enabled = context.bool("enabled").await?.unwrap_or(false);
        let upkeep = &context.services.upkeep;
        let found = upkeep.set_trigger_disabled(&context.tenant, &namespace, &flow_id, &trigger, !enabled).await;
        if !found.map_err(TaskError::failed)? {
            return Err(TaskError::failed(format!(
                "The trigger '{trigger}' of the flow '{namespace}.{flow_id}' has no state: there is no such trigger, or \
                 it is of a kind that keeps none"
            )));
        }
        Ok(TaskOutcome::success(None))
    }
}
