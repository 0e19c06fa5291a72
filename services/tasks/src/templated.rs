//! `templating.TemplatedTask`: a task whose definition is rendered (flow model reference 5.3).

use async_trait::async_trait;
use windhover_flow::{TaskKind, compile_task, table::Family};

use crate::{Task, TaskContext, TaskError, TaskOutcome, task_of};

const TYPE: &str = "io.kestra.plugin.core.templating.TemplatedTask";

pub(crate) struct TemplatedTask;

#[async_trait]
impl Task for TemplatedTask {
    async fn run(&self, context: &TaskContext) -> Result<TaskOutcome, TaskError> {
        let spec = context.required_text("spec").await?;
        let task = compile_task(&spec, &context.flow.namespace, &context.flow.id).map_err(|violations| {
            let reasons: Vec<&str> = violations.iter().map(|violation| violation.message.as_str()).collect();
            TaskError::failed(format!("spec: {}", reasons.join("; ")))
        })?;
        let TaskKind::Runnable(runnable) = &task.kind else {
            return Err(TaskError::failed("spec: The templated task must be a runnable task"));
        };
        let task_type = runnable.task_type;
        if task_type.family != Family::Runnable {
            return Err(TaskError::failed("spec: The templated task must be a runnable task"));
        }
        if task_type.name == TYPE {
            return Err(TaskError::failed(format!("spec: The templated task cannot be of type '{TYPE}'")));
        }
        let body = task_of(task_type.name)
            .ok_or_else(|| TaskError::failed(format!("spec: this worker does not know {}", task_type.name)))?;
        context.become_task(task);
        body.run(context).await
    }
}
