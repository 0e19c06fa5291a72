//! One attempt of one task run.

use std::{io, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use tokio::sync::watch;
use tracing::error;
use windhover_engine::{JobResult, MetricKind, TaskMetric};
use windhover_flow::{PropertyError, TaskKind, parse_duration};
use windhover_queue::{LeasedJob, QueuedJob, ReportKind};
use windhover_tasks::{Attempt, Metric, Task, TaskContext, TaskError, TaskLog, TaskOutcome, task_of};
use windhover_telemetry::TaskMetrics;
use windhover_types::{Level, State, Timestamp};

use crate::{
    WorkerConfig, WorkerParts,
    report::{Reporter, Streamer},
};

/// What an attempt is told while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    Run,
    /// Stop and report KILLED.
    Kill,
    /// Stop and report nothing: the lease is gone, or the worker gives it up.
    Abandon,
}

/// How the task itself ended.
enum Ended {
    Finished(Result<TaskOutcome, TaskError>),
    TimedOut(Duration),
    Panicked,
    Killed,
}

/// Runs the attempt and reports it. The lease is the caller's to renew meanwhile, and to end when this returns `true`.
pub(crate) async fn run(
    config: &WorkerConfig,
    parts: &WorkerParts,
    leased: LeasedJob,
    signal: watch::Receiver<Signal>,
) -> bool {
    let LeasedJob { job, kill } = leased;
    let started_at = config.now();
    let reporter = Reporter::new(parts.sink.clone(), &config.name, &job);
    if job.losses > 0 && !kill {
        // Workers have died of it, perhaps before they could say that they had begun. Should this one, it is known.
        let mut signal = signal.clone();
        tokio::select! {
            () = reporter.send(ReportKind::Started { at: started_at }) => {}
            () = abandoned(&mut signal) => return false,
        }
    }
    let result = if kill {
        JobResult { state: State::Killed, ..unfinished(config, started_at) }
    } else {
        match prepare(parts, &job).await {
            Ok((task, context)) => {
                match execute(config, parts, &job, task, context, &reporter, started_at, signal.clone()).await {
                    Some(result) => result,
                    None => return false,
                }
            }
            Err(reason) => unrunnable(config, &job, started_at, reason),
        }
    };
    let mut signal = signal;
    tokio::select! {
        () = reporter.send(ReportKind::Ended { result: Box::new(result) }) => true,
        () = abandoned(&mut signal) => false,
    }
}

/// The implementation of the job's task, and what it sees.
async fn prepare(parts: &WorkerParts, job: &QueuedJob) -> Result<(&'static dyn Task, TaskContext), String> {
    let task = job.task().ok_or_else(|| {
        format!("task `{}` is not part of revision {} of the flow", job.job.task_id, job.flow_revision)
    })?;
    let TaskKind::Runnable(runnable) = &task.kind else {
        return Err(format!("{} is no task that a worker runs", task.type_name));
    };
    let implementation =
        task_of(runnable.task_type.name).ok_or_else(|| format!("this worker does not know {}", task.type_name))?;
    let attempt = Attempt {
        tenant: job.tenant.clone(),
        flow: job.flow.clone(),
        task: task.clone(),
        execution: job.execution,
        task_run: job.job.task_run,
        attempt: job.job.attempt,
        variables: job.job.variables.clone(),
        trigger_state: job.trigger_state.clone(),
        directory: job.job.directory.clone(),
        seed: rand::random(),
    };
    Ok((implementation, TaskContext::unseal(attempt, parts.tasks.clone()).await?))
}

/// `None`: abandoned.
#[allow(clippy::too_many_arguments, reason = "one call, of what belongs to one attempt")]
async fn execute(
    config: &WorkerConfig,
    parts: &WorkerParts,
    job: &QueuedJob,
    task: &'static dyn Task,
    context: TaskContext,
    reporter: &Reporter,
    started_at: Timestamp,
    mut signal: watch::Receiver<Signal>,
) -> Option<JobResult> {
    let metrics = metrics_of(parts, job);
    let queued = (job.job.attempt == 0).then(|| started_at.since(job.created_at));
    let running = metrics.started(job.job.attempt, queued);
    let log = context.task_log().clone();
    let mut streamer = None;

    let ended = {
        let body = AssertUnwindSafe(perform(task, &context)).catch_unwind();
        tokio::pin!(body);
        let quick = tokio::time::sleep(config.quick);
        tokio::pin!(quick);
        loop {
            tokio::select! {
                ended = &mut body => break ended.unwrap_or(Ended::Panicked),
                told = told_to_stop(&mut signal) => match told {
                    Signal::Kill => break Ended::Killed,
                    _ => return None,
                },
                () = &mut quick, if streamer.is_none() => {
                    streamer = Some(Streamer::start(reporter.clone(), log.clone(), started_at, config.flush));
                }
            }
        }
    };
    drop(running);
    let ended_at = config.now().max(started_at);
    metrics.ended(ended_at.since(started_at));
    match &ended {
        Ended::TimedOut(_) => metrics.timed_out(job.job.attempt),
        Ended::Killed => metrics.killed(),
        Ended::Panicked => {
            error!(tenant = %job.tenant, execution = %job.execution, task = %job.job.task_id, "a task panicked")
        }
        Ended::Finished(_) => {}
    }
    let outcome = limited(settle(ended), config.max_output_bytes);
    if let Some(streamer) = streamer {
        tokio::select! {
            () = streamer.finish() => {}
            () = abandoned(&mut signal) => return None,
        }
    }
    Some(result(config, parts, job, &log, outcome, started_at, ended_at))
}

/// The task within its timeout, which is rendered for each attempt.
async fn perform(task: &dyn Task, context: &TaskContext) -> Ended {
    let timeout = match timeout_of(context).await {
        Ok(timeout) => timeout,
        Err(error) => return Ended::Finished(Err(error)),
    };
    match timeout {
        None => Ended::Finished(windhover_tasks::run(task, context).await),
        Some(timeout) => match tokio::time::timeout(timeout, windhover_tasks::run(task, context)).await {
            Ok(outcome) => Ended::Finished(outcome),
            Err(_) => Ended::TimedOut(timeout),
        },
    }
}

async fn timeout_of(context: &TaskContext) -> Result<Option<Duration>, TaskError> {
    let Some(text) = &context.task.timeout else {
        return Ok(None);
    };
    let property = || "timeout".to_owned();
    let rendered = context
        .render(|_, environment| {
            text.render(environment).map_err(|source| PropertyError::Render { property: property(), source })
        })
        .await?;
    if rendered.trim().is_empty() {
        return Ok(None);
    }
    let invalid =
        |_| PropertyError::Kind { property: property(), expected: "a duration", got: "a text that is none".to_owned() };
    Ok(Some(parse_duration(&rendered).map_err(invalid)?))
}

fn settle(ended: Ended) -> TaskOutcome {
    match ended {
        Ended::Finished(Ok(outcome)) => outcome,
        Ended::Finished(Err(error)) => TaskOutcome::failed(error.to_string()),
        Ended::TimedOut(timeout) => TaskOutcome::failed(format!("Timeout after {}", clock(timeout))),
        Ended::Panicked => TaskOutcome::failed("the task stopped because of an error inside the worker"),
        Ended::Killed => TaskOutcome { state: State::Killed, ..TaskOutcome::success(None) },
    }
}

/// Outputs that could not be stored fail the attempt.
fn limited(outcome: TaskOutcome, max_bytes: usize) -> TaskOutcome {
    let size = outcome.outputs.as_ref().map_or(0, size_of_json);
    if size <= max_bytes {
        return outcome;
    }
    let error = format!("the outputs of the task have {size} bytes; at most {max_bytes} can be kept");
    TaskOutcome { metrics: outcome.metrics, ..TaskOutcome::failed(error) }
}

fn size_of_json(value: &serde_json::Value) -> usize {
    struct Count(usize);
    impl io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // Counting cannot fail, and a value is always JSON.
    let _ = serde_json::to_writer(&mut count, value);
    count.0
}

fn result(
    config: &WorkerConfig,
    parts: &WorkerParts,
    job: &QueuedJob,
    log: &Arc<TaskLog>,
    outcome: TaskOutcome,
    started_at: Timestamp,
    ended_at: Timestamp,
) -> JobResult {
    let TaskOutcome { state, error, outputs, metrics, directory_outputs } = outcome;
    let error = error.map(|error| log.mask(&error));
    let mut logs = log.take();
    if let Some(error) = &error {
        // The task may have said it already.
        if !logs.iter().any(|line| line.level == Level::Error && line.message == *error) {
            log.write(ended_at, Level::Error, error);
            logs.extend(log.take());
        }
    }
    let metrics = metrics.into_iter().map(|metric| published(parts, job, log, metric, ended_at)).collect();
    JobResult {
        started_at,
        ended_at,
        worker: Some(config.name.clone()),
        state,
        outputs,
        error,
        directory_outputs,
        logs,
        metrics,
    }
}

/// Shows a metric of the task to operators, and makes it a row of the execution.
fn published(parts: &WorkerParts, job: &QueuedJob, log: &TaskLog, metric: Metric, at: Timestamp) -> TaskMetric {
    let Metric { name, kind, value, tags } = metric;
    let tags: Vec<(String, String)> = tags.into_iter().map(|(key, value)| (key, log.mask(&value))).collect();
    if let Some(task) = job.task() {
        let (metrics, flow) = (&parts.metrics, &job.flow);
        let type_name = canonical(task);
        match kind {
            MetricKind::Counter => {
                metrics.task_counter(&job.tenant, &flow.namespace, &flow.id, type_name, &name, &tags).add(value)
            }
            MetricKind::Gauge => {
                metrics.task_gauge(&job.tenant, &flow.namespace, &flow.id, type_name, &name, &tags).set(value)
            }
            MetricKind::Timer => {
                metrics
                    .task_timer(&job.tenant, &flow.namespace, &flow.id, type_name, &name, &tags)
                    .record_value(value / 1_000.0);
            }
        }
    }
    TaskMetric { task_run_id: job.job.task_run, task_id: job.job.task_id.clone(), name, kind, value, tags, at }
}

fn metrics_of(parts: &WorkerParts, job: &QueuedJob) -> Arc<TaskMetrics> {
    let type_name = job.task().map_or("", |task| canonical(task));
    parts.metrics.task(&job.tenant, &job.flow.namespace, &job.flow.id, type_name, job.job.worker_group.as_deref())
}

fn canonical(task: &windhover_flow::Task) -> &str {
    match &task.kind {
        TaskKind::Runnable(runnable) => runnable.task_type.name,
        _ => &task.type_name,
    }
}

/// The result of a job that no attempt was made of.
fn unrunnable(config: &WorkerConfig, job: &QueuedJob, started_at: Timestamp, reason: String) -> JobResult {
    let log = TaskLog::new(&job.job.task_id, job.job.task_run, job.job.attempt, None);
    log.write(started_at, Level::Error, &reason);
    JobResult { state: State::Failed, error: Some(reason), logs: log.take(), ..unfinished(config, started_at) }
}

fn unfinished(config: &WorkerConfig, at: Timestamp) -> JobResult {
    JobResult { worker: Some(config.name.clone()), ..JobResult::bare(at, State::Failed) }
}

/// Waits until it is told something else than to run.
async fn told_to_stop(signal: &mut watch::Receiver<Signal>) -> Signal {
    // The worker is gone: what runs has no one to report to.
    signal.wait_for(|told| *told != Signal::Run).await.map_or(Signal::Abandon, |told| *told)
}

async fn abandoned(signal: &mut watch::Receiver<Signal>) {
    let _ = signal.wait_for(|told| *told == Signal::Abandon).await;
}

/// `HH:MM:SS.mmm` (flow model reference 4.6).
fn clock(duration: Duration) -> String {
    let (seconds, millis) = (duration.as_secs(), duration.subsec_millis());
    format!("{:02}:{:02}:{:02}.{millis:03}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}
