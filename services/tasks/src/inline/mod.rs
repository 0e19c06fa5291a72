//! Tasks that only compute. The executor runs them in its batches, or a worker when their templates need it; both call
//! the same functions.

mod compute;
mod publish;
mod updating;

use async_trait::async_trait;
use windhover_engine::{InlineOutcome, InlineTasks, RenderContext};
use windhover_expression::ExpressionError;
use windhover_flow::{PropertyError, Task as FlowTask, TaskKind};
use windhover_types::State;

pub(crate) use compute::Inline;
use compute::run;
use updating::Updating;

use crate::{Metric, Task, TaskContext, TaskError, TaskOutcome};

impl Inline {
    /// By the type's canonical name.
    pub(crate) fn of(canonical: &str) -> Option<Self> {
        Some(match canonical.strip_prefix("io.kestra.plugin.core.")? {
            "log.Log" => Self::Log,
            "debug.Echo" => Self::Echo,
            "debug.Return" => Self::Return,
            "output.OutputValues" => Self::OutputValues,
            "execution.Fail" => Self::Fail,
            "execution.Assert" => Self::Assert,
            "flow.Sleep" => Self::Sleep,
            "metric.Publish" => Self::Publish,
            _ => return None,
        })
    }

    pub(crate) const fn on_worker(self) -> &'static dyn Task {
        match self {
            Self::Log => &OnWorker(Self::Log),
            Self::Echo => &OnWorker(Self::Echo),
            Self::Return => &OnWorker(Self::Return),
            Self::OutputValues => &OnWorker(Self::OutputValues),
            Self::Fail => &OnWorker(Self::Fail),
            Self::Assert => &OnWorker(Self::Assert),
            Self::Sleep => &OnWorker(Self::Sleep),
            Self::Publish => &OnWorker(Self::Publish),
        }
    }
}

/// The inline tasks, as the engine calls them.
#[derive(Debug, Clone, Copy, Default)]
pub struct InlineTaskTable;

impl InlineTasks for InlineTaskTable {
    fn run(&self, task: &FlowTask, context: &dyn RenderContext) -> Result<InlineOutcome, ExpressionError> {
        let TaskKind::Runnable(runnable) = &task.kind else {
            return Ok(failed(format!("{} is no task that does work", task.type_name)));
        };
        let name = runnable.task_type.name;
        let outcome = match (Updating::of(name), Inline::of(name)) {
            (Some(updating), _) => updating.run(&runnable.properties, context),
            (None, Some(inline)) => run(inline, &runnable.properties, &context.environment()),
            (None, None) => return Ok(failed(format!("{} needs a worker", task.type_name))),
        };
        match outcome {
            Ok(outcome) => Ok(outcome),
            Err(PropertyError::Render { source: needs @ ExpressionError::Needs(_), .. }) => Err(needs),
            Err(error) => Ok(failed(error.to_string())),
        }
    }
}

fn failed(error: String) -> InlineOutcome {
    InlineOutcome { error: Some(error), ..InlineOutcome::default() }
}

/// An inline task that asked for a worker, or that reads what only a worker can.
struct OnWorker(Inline);

#[async_trait]
impl Task for OnWorker {
    async fn run(&self, context: &TaskContext) -> Result<TaskOutcome, TaskError> {
        let outcome = context.render(|properties, environment| run(self.0, properties, environment)).await?;
        for (level, message) in &outcome.logs {
            context.log(*level, message);
        }
        if let Some(sleep) = outcome.sleep {
            tokio::time::sleep(sleep).await;
        }
        let state = match (&outcome.error, outcome.warning) {
            (Some(_), _) => State::Failed,
            (None, true) => State::Warning,
            (None, false) => State::Success,
        };
        let (error, outputs) = (outcome.error, outcome.outputs);
        let mut ended = TaskOutcome { state, error, ..TaskOutcome::success(outputs) };
        for (name, kind, value, tags) in outcome.metrics {
            ended.record(Metric { name, kind, value, tags });
        }
        Ok(ended)
    }
}
