//! Which type does what.

use async_trait::async_trait;

use crate::{
    TaskContext, TaskError, TaskOutcome,
    http::HttpRequest,
    inline::Inline,
    notify::{SlackExecution, SlackIncomingWebhook},
};

/// A task that runs on a worker. Dropping the future of [`Task::run`] stops it: that is how it is killed.
#[async_trait]
pub trait Task: Send + Sync {
    /// One attempt.
    ///
    /// # Errors
    /// Why it failed; the same as an outcome in state FAILED without outputs and metrics.
    async fn run(&self, context: &TaskContext) -> Result<TaskOutcome, TaskError>;
}

/// The implementation of a runnable type, by its canonical name. `None`: no worker of this version has it.
pub fn task_of(canonical: &str) -> Option<&'static dyn Task> {
    Some(match canonical {
        "io.kestra.plugin.core.http.Request" => &HttpRequest,
        "io.kestra.plugin.slack.SlackIncomingWebhook" => &SlackIncomingWebhook,
        "io.kestra.plugin.slack.SlackExecution" => &SlackExecution,
        other => Inline::of(other)?.on_worker(),
    })
}
