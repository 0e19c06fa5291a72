//! Names (operations reference 1.2 to 1.4) and what they mean. Names here are without the prefix.

macro_rules! names {
    ($($constant:ident = $name:literal, $description:literal;)+) => {
        $(#[doc = $description] pub const $constant: &str = $name;)+

        /// What a metric means; empty for those of others. The prefix, whatever it is, is ignored.
        pub(super) fn description(name: &str) -> &'static str {
            $(if name.strip_suffix($name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')) {
                return $description;
            })+
            ""
        }
    };
}

names! {
    WORKER_JOB_THREAD = "worker.job.thread", "Jobs that the worker runs at once";
    WORKER_JOB_PENDING = "worker.job.pending", "Jobs that were taken and wait for a free slot";
    WORKER_JOB_RUNNING = "worker.job.running", "Jobs that run";
    WORKER_RUNNING_COUNT = "worker.running.count", "Attempts of tasks that run";
    WORKER_QUEUED_DURATION = "worker.queued.duration", "From the creation of a task run to its start on a worker";
    WORKER_STARTED_COUNT = "worker.started.count", "Attempts of tasks that were started";
    WORKER_RETRIED_COUNT = "worker.retried.count", "Attempts of tasks after the first";
    WORKER_TIMEOUT_COUNT = "worker.timeout.count", "Attempts of tasks that were ended by their timeout";
    WORKER_KILLED_COUNT = "worker.killed.count", "Attempts of tasks that were killed";
    WORKER_ENDED_COUNT = "worker.ended.count", "Attempts of tasks that are over";
    WORKER_ENDED_DURATION = "worker.ended.duration", "How long attempts of tasks took";
    EXECUTOR_TASKRUN_NEXT_COUNT = "executor.taskrun.next.count", "Task runs that were created";
    EXECUTOR_TASKRUN_CREATED_COUNT = "executor.taskrun.created.count", "Task runs that were created";
    EXECUTOR_TASKRUN_ENDED_COUNT = "executor.taskrun.ended.count", "Task runs that have ended";
    EXECUTOR_TASKRUN_ENDED_DURATION = "executor.taskrun.ended.duration", "From the first to the last state of ended task runs";
    EXECUTOR_WORKERTASKRESULT_COUNT = "executor.workertaskresult.count", "Ends of flowable task runs that the executor computed";
    EXECUTOR_FLOWABLE_EXECUTION_COUNT = "executor.flowable.execution.count", "Steps of flowable tasks";
    EXECUTOR_EXECUTION_STARTED_COUNT = "executor.execution.started.count", "Executions that were taken up";
    EXECUTOR_EXECUTION_END_COUNT = "executor.execution.end.count", "Executions that have ended";
    EXECUTOR_EXECUTION_DURATION = "executor.execution.duration", "From the first to the last state of ended executions";
    EXECUTOR_EXECUTION_MESSAGE_PROCESS = "executor.execution.message.process", "How long batches of the executor took";
    EXECUTOR_EXECUTION_DELAY_CREATED_COUNT = "executor.execution.delay.created.count", "Timers that were set";
    EXECUTOR_EXECUTION_DELAY_ENDED_COUNT = "executor.execution.delay.ended.count", "Timers that have fired";
    EXECUTOR_KILLED_COUNT = "executor.killed.count", "Kills that were processed";
    EXECUTOR_THREAD_COUNT = "executor.thread.count", "Threads of the engine";
    EXECUTOR_COMMIT_LAG = "executor.commit.lag.seconds", "How long the oldest batch of the executor has waited for its commit";
    EXECUTOR_SHARDS = "executor.shards", "Shards that this process owns";
    EXECUTOR_SHARD_OPEN = "executor.shard.open", "Executions of a shard that have not ended";
    EXECUTOR_SHARD_INBOX = "executor.shard.inbox", "Messages that wait for a shard";
    EXECUTOR_SHARD_INBOX_LAG = "executor.shard.inbox.lag.seconds", "Age of the oldest message that waits for a shard";
    EXECUTOR_SHARD_JOBS = "executor.shard.jobs", "Attempts of a shard that workers hold or wait for one";
    EXECUTOR_SHARD_TIMER_LAG = "executor.shard.timer.lag.seconds", "How long the oldest timer of a shard is overdue";
    EXECUTOR_TENANT_OPEN = "executor.tenant.open", "Executions of a tenant that have not ended";
    EXECUTOR_TENANT_INBOX = "executor.tenant.inbox", "Messages that wait for executions of a tenant";
    EXECUTOR_TENANT_JOBS = "executor.tenant.jobs", "Attempts of a tenant that workers hold or wait for one";
    QUEUE_JOBS_WAITING = "queue.jobs.waiting", "Attempts of a tenant that wait for a worker of a group";
    QUEUE_JOBS_HELD = "queue.jobs.held", "Attempts of a tenant that workers of a group hold";
    QUEUE_JOBS_OVERDUE = "queue.jobs.overdue", "Attempts of a tenant in a group whose holder has not been heard of in time";
    QUEUE_REDIS_UP = "queue.redis.up", "1 while Redis answers this process, else 0";
    WORKER_GROUP_WORKERS = "worker.group.workers", "Workers of a group that run";
    WORKER_GROUP_UNSERVED_JOBS = "worker.group.unserved.jobs", "Attempts that wait for a worker group without workers";
    EXECUTOR_WORKER_JOB_RESUBMIT_COUNT = "executor.worker.job.resubmit.count", "Jobs that were handed out again after their worker was lost";
}

/// The custom metrics of a task type: its last segment in lower case with underscores (operations reference 1.5).
pub(super) fn task_segment(task_type: &str) -> String {
    let (package, class) = task_type.rsplit_once('.').unwrap_or(("", task_type));
    let mut name = String::with_capacity(task_type.len() + 4);
    if !package.is_empty() {
        name.push_str(package);
        name.push('.');
    }
    let mut after_lower = false;
    for c in class.chars() {
        if c.is_ascii_uppercase() && after_lower {
            name.push('_');
        }
        after_lower = c.is_ascii_lowercase() || c.is_ascii_digit();
        name.push(c.to_ascii_lowercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_class_of_a_task_becomes_a_segment() {
        for (task_type, segment) in [
            ("io.kestra.plugin.core.http.Download", "io.kestra.plugin.core.http.download"),
            ("io.kestra.plugin.core.namespace.DeleteFiles", "io.kestra.plugin.core.namespace.delete_files"),
            ("Log", "log"),
        ] {
            assert_eq!(task_segment(task_type), segment);
        }
    }

    #[test]
    fn descriptions_do_not_mix_up_names_that_end_alike() {
        assert!(description("acme.worker.ended.count").contains("Attempts"));
        assert!(description("executor.execution.end.count").contains("Executions"));
        assert_eq!(description("my_worker.ended.count"), "");
    }
}
