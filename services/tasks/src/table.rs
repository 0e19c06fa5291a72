//! Which type does what.

use async_trait::async_trait;

use crate::{
    TaskContext, TaskError, TaskOutcome,
    directory::LocalFiles,
    executions::{Count, PurgeExecutions, PurgeLogs, Resume},
    fetch,
    for_each_item::{MergeOutputs, SplitItems},
    http::{Download, HttpRequest, SseRequest},
    inline::Inline,
    jdbc, kv, namespace,
    notify::{SentryAlert, SlackExecution, SlackIncomingWebhook},
    scripts, state, storage,
    templated::TemplatedTask,
    toggle::Toggle,
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

/// Runs one attempt of a task in the folder that it works in.
///
/// # Errors
/// As of [`Task::run`]; also when the folder of the WorkingDirectory around it cannot be brought or kept.
pub async fn run(task: &dyn Task, context: &TaskContext) -> Result<TaskOutcome, TaskError> {
    context.enter_directory().await?;
    let outcome = task.run(context).await;
    // Also after a failure: the next task, or the next attempt, sees what it has left.
    let left = context.leave_directory().await;
    let mut outcome = outcome?;
    outcome.directory_outputs = left?;
    Ok(outcome)
}

/// The implementation of a runnable type, by its canonical name. `None`: no worker of this version has it.
pub fn task_of(canonical: &str) -> Option<&'static dyn Task> {
    Some(match canonical {
        "io.kestra.plugin.core.execution.Count" => &Count,
        "io.kestra.plugin.core.execution.PurgeExecutions" => &PurgeExecutions,
        "io.kestra.plugin.core.execution.Resume" => &Resume,
        "io.kestra.plugin.core.flow.ForEachItem$ForEachItemMergeOutputs" => &MergeOutputs,
        "io.kestra.plugin.core.flow.ForEachItem$ForEachItemSplit" => &SplitItems,
        "io.kestra.plugin.core.http.Download" => &Download,
        "io.kestra.plugin.core.http.Request" => &HttpRequest,
        "io.kestra.plugin.core.http.SseRequest" => &SseRequest,
        "io.kestra.plugin.core.kv.Delete" => &kv::Delete,
        "io.kestra.plugin.core.kv.Get" => &kv::Get,
        "io.kestra.plugin.core.kv.GetKeys" => &kv::GetKeys,
        "io.kestra.plugin.core.kv.PurgeKV" => &kv::PurgeKv,
        "io.kestra.plugin.core.kv.Put" => &kv::Put,
        "io.kestra.plugin.core.kv.Set" => &kv::Set,
        "io.kestra.plugin.core.log.Fetch" => &fetch::Fetch,
        "io.kestra.plugin.core.log.PurgeLogs" => &PurgeLogs,
        "io.kestra.plugin.core.namespace.DeleteFiles" => &namespace::DeleteFiles,
        "io.kestra.plugin.core.namespace.DownloadFiles" => &namespace::DownloadFiles,
        "io.kestra.plugin.core.namespace.PurgeFiles" => &namespace::PurgeFiles,
        "io.kestra.plugin.core.namespace.UploadFiles" => &namespace::UploadFiles,
        "io.kestra.plugin.core.state.Delete" => &state::Delete,
        "io.kestra.plugin.core.state.Get" => &state::Get,
        "io.kestra.plugin.core.state.Set" => &state::Set,
        "io.kestra.plugin.core.storage.Concat" => &storage::Concat,
        "io.kestra.plugin.core.storage.DeduplicateItems" => &storage::DeduplicateItems,
        "io.kestra.plugin.core.storage.Delete" => &storage::Delete,
        "io.kestra.plugin.core.storage.FilterItems" => &storage::FilterItems,
        "io.kestra.plugin.core.storage.LocalFiles" => &LocalFiles,
        "io.kestra.plugin.core.storage.PurgeCurrentExecutionFiles" => &storage::PurgeCurrentExecutionFiles,
        "io.kestra.plugin.core.storage.Reverse" => &storage::Reverse,
        "io.kestra.plugin.core.storage.Size" => &storage::Size,
        "io.kestra.plugin.core.storage.Split" => &storage::Split,
        "io.kestra.plugin.core.storage.Write" => &storage::Write,
        "io.kestra.plugin.core.templating.TemplatedTask" => &TemplatedTask,
        "io.kestra.plugin.core.trigger.Toggle" => &Toggle,
        "io.kestra.plugin.sentry.SentryAlert" => &SentryAlert,
        "io.kestra.plugin.jdbc.postgresql.Queries" => &jdbc::Queries,
        "io.kestra.plugin.jdbc.postgresql.Query" => &jdbc::Query,
        "io.kestra.plugin.slack.SlackIncomingWebhook" => &SlackIncomingWebhook,
        "io.kestra.plugin.slack.SlackExecution" => &SlackExecution,
        other => match scripts::task_of(other) {
            Some(script) => script,
            None => Inline::of(other)?.on_worker(),
        },
    })
}
