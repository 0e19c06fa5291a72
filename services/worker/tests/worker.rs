//! A worker between a job queue and an owner that commits what it is told.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use tokio::sync::mpsc;
use windhover_engine::{Env, Execution, Job, JobResult, TaskRun};
use windhover_flow::Flow;
use windhover_outbound::{AddressPolicy, Client, ClientConfig};
use windhover_queue::{InProcessJobs, JobQueue, JobsConfig, QueuedJob, Report, ReportKind, Wake, in_process_wakeups};
use windhover_storage::Files;
use windhover_tasks::{ExecutionSource, InlineTaskTable, KeyValueSource, KvFound, KvWrite, SecretSource, TaskServices};
use windhover_telemetry::{Metrics, MetricsConfig, SampleValue};
use windhover_types::{Id, JsonMap, Level, Secret, State, Tenant, Timestamp};
use windhover_worker::{WakeupSink, Worker, WorkerConfig, WorkerParts};

/// Tasks: `log`, `sleep` (an hour), `short` (an hour, timeout of 1.5 s), `bad` (a timeout that is none), `panic`, `secret`, `large`.
const FLOW: &str = "
id: hello
namespace: company.team
tasks:
  - {id: log, type: io.kestra.plugin.core.log.Log, message: \"hi {{ flow.id }}\"}
  - {id: sleep, type: io.kestra.plugin.core.flow.Sleep, duration: PT1H}
  - {id: short, type: io.kestra.plugin.core.flow.Sleep, duration: PT1H, timeout: \"{{ inputs.limit }}\"}
  - {id: bad, type: io.kestra.plugin.core.flow.Sleep, duration: PT1H, timeout: \"{{ flow.id }}\"}
  - {id: panic, type: io.kestra.plugin.core.debug.Return, format: \"{{ secret('PANIC') }}\"}
  - {id: secret, type: io.kestra.plugin.core.execution.Fail, errorMessage: \"it was {{ secret('KEY') }}\"}
  - {id: large, type: io.kestra.plugin.core.debug.Return, format: \"{{ inputs.large }}\"}
";

struct World;

#[async_trait]
impl SecretSource for World {
    async fn secret(&self, _: &Tenant, _: &str, key: &str) -> Result<Option<Secret>, String> {
        assert_ne!(key, "PANIC", "a defect inside the worker");
        Ok(Some(Secret::new("hunter2")))
    }
}

#[async_trait]
impl ExecutionSource for World {
    async fn execution(&self, _: &Tenant, _: Id) -> Result<Option<Execution>, String> {
        Ok(None)
    }

    async fn last_task_run(
        &self,
        _: &Tenant,
        _: Id,
        _: Option<State>,
        _: Option<Id>,
    ) -> Result<Option<TaskRun>, String> {
        Ok(None)
    }
}

#[async_trait]
impl KeyValueSource for World {
    async fn get(&self, _: &Tenant, _: &str, _: &str) -> Result<KvFound, String> {
        Ok(KvFound::Absent)
    }

    async fn put(&self, _: &Tenant, _: &str, _: &str, _: KvWrite) -> Result<bool, String> {
        Ok(false)
    }

    async fn delete(&self, _: &Tenant, _: &str, _: &str) -> Result<bool, String> {
        Ok(false)
    }

    async fn keys(&self, _: &Tenant, _: &str, _: &str) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }

    async fn namespace_exists(&self, _: &Tenant, _: &str) -> Result<bool, String> {
        Ok(false)
    }
}

struct Setup {
    queue: Arc<InProcessJobs>,
    metrics: Metrics,
    worker: Worker,
    /// What was committed, in order.
    committed: mpsc::UnboundedReceiver<Report>,
    flow: Arc<Flow>,
    next: AtomicU32,
    _folder: tempfile::TempDir,
}

/// `lost`: so many reports are received and not committed before the first one is.
fn setup(slots: usize, lost: u32) -> Setup {
    let queue = Arc::new(InProcessJobs::new(JobsConfig::default()));
    let metrics = Metrics::new(MetricsConfig::default());
    let (wakeups, mut receiver) = in_process_wakeups(16);
    let (sender, committed) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut lost = lost;
        while let Some(wakes) = receiver.receive().await {
            for wake in wakes {
                let Wake::Report { report, acknowledge } = wake else { continue };
                if lost > 0 {
                    lost -= 1;
                    continue;
                }
                acknowledge.done();
                let _ = sender.send(report);
            }
        }
    });
    let addresses = AddressPolicy::public();
    let folder = tempfile::tempdir().expect("a folder");
    let tasks = TaskServices {
        http: Client::new(ClientConfig { addresses, ..ClientConfig::default() }).expect("a client"),
        secrets: Arc::new(World),
        executions: Arc::new(World),
        kv: Arc::new(World),
        upkeep: Arc::new(windhover_tasks::NoUpkeep),
        files: Files::local(folder.path()).expect("a folder"),
        processes: windhover_tasks::process::Processes::refused(),
        url: None,
        env: Arc::new(Env::new(Arc::new(InlineTaskTable))),
    };
    let config = WorkerConfig { slots, max_output_bytes: 1_000, ..WorkerConfig::new("w1") };
    let parts = WorkerParts {
        queue: queue.clone(),
        sink: Arc::new(WakeupSink::new(Arc::new(wakeups))),
        tasks: Arc::new(tasks),
        metrics: metrics.clone(),
    };
    let worker = Worker::start(config, parts);
    let flow = Arc::new(windhover_flow::compile(FLOW).expect("a valid flow"));
    Setup { queue, metrics, worker, committed, flow, next: AtomicU32::new(1), _folder: folder }
}

impl Setup {
    fn job(&self, task_id: &str) -> QueuedJob {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let variables =
            serde_json::json!({"flow": {"id": "hello"}, "inputs": {"limit": "PT1.5S", "large": "x".repeat(2_000)}});
        QueuedJob {
            tenant: Tenant::main(),
            shard: 5,
            execution: Id::derived(Timestamp::from_millis(1), &[b"execution"]),
            flow_revision: 1,
            flow: self.flow.clone(),
            job: Job {
                task_run: Id::derived(Timestamp::from_millis(1), &[&number.to_be_bytes()]),
                task_id: task_id.to_owned(),
                attempt: 0,
                dispatch: 1,
                variables: variables.as_object().cloned().unwrap_or_else(JsonMap::new),
                worker_group: None,
                directory: None,
            },
            losses: 0,
            trigger_state: None,
            created_at: Timestamp::from_millis(1),
            trace_parent: None,
        }
    }

    async fn push(&self, job: QueuedJob) {
        assert!(self.queue.push(vec![job]).await.expect("the queue is there").is_empty());
    }

    async fn next(&mut self) -> Report {
        self.committed.recv().await.expect("the owner is there")
    }

    /// The next report, which says that an attempt is over.
    async fn ended(&mut self) -> JobResult {
        match self.next().await.kind {
            ReportKind::Ended { result } => *result,
            other => panic!("not an end: {other:?}"),
        }
    }

    /// A sleeping task has begun, and its line has come.
    async fn sleeps(&mut self) {
        assert!(matches!(self.next().await.kind, ReportKind::Started { .. }));
        assert!(matches!(self.next().await.kind, ReportKind::Logs { first: 0, lines } if lines.len() == 1));
    }

    async fn run(&mut self, task_id: &str) -> JobResult {
        self.push(self.job(task_id)).await;
        self.ended().await
    }

    /// Lets everything that can run do so.
    async fn settle(&self, done: impl Fn(&Self) -> bool) {
        while !done(self) {
            tokio::task::yield_now().await;
        }
    }

    async fn leased(&self) -> usize {
        self.queue.depths().await.expect("the queue is there").iter().map(|depth| depth.leased).sum()
    }

    fn count(&self, name: &str) -> f64 {
        let values = self.metrics.registry().samples(name).into_iter().map(|sample| match sample.value {
            SampleValue::Number(value) => value,
            SampleValue::Timer { count, .. } => count as f64,
        });
        values.sum()
    }
}

#[tokio::test(start_paused = true)]
async fn a_quick_task_is_reported_once_with_its_lines() {
    let mut setup = setup(4, 0);
    let job = setup.job("log");
    setup.push(job.clone()).await;
    let report = setup.next().await;
    assert_eq!(
        (report.shard, report.execution, report.key, report.worker.as_str()),
        (5, job.execution, job.key(), "w1")
    );
    let ReportKind::Ended { result } = report.kind else { panic!("not an end") };
    assert_eq!((result.state, result.error.as_deref(), result.worker.as_deref()), (State::Success, None, Some("w1")));
    let line = &result.logs[0];
    assert_eq!(
        (line.level, line.message.as_str(), line.task_run_id, line.attempt),
        (Level::Info, "hi hello", Some(job.job.task_run), Some(0))
    );
    setup.settle(|setup| setup.worker.running() == 0).await;
    assert_eq!(setup.leased().await, 0, "the lease is over");
    assert_eq!(
        (
            setup.count("kestra.worker.started.count"),
            setup.count("kestra.worker.ended.count"),
            setup.count("kestra.worker.running.count")
        ),
        (1.0, 1.0, 0.0)
    );
    assert_eq!(
        (
            setup.count("kestra.worker.queued.duration"),
            setup.count("kestra.worker.job.running"),
            setup.count("kestra.worker.job.thread")
        ),
        (1.0, 0.0, 4.0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_long_task_tells_that_it_started_and_keeps_its_lease() {
    let mut setup = setup(4, 0);
    setup.push(setup.job("sleep")).await;
    setup.sleeps().await;
    let result = setup.ended().await;
    assert_eq!(result.state, State::Success);
    assert!(setup.queue.expired(&[5]).await.expect("the queue is there").is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_has_cost_a_worker_begins_only_when_the_owner_knows_who_has_it() {
    let mut setup = setup(1, 0);
    setup.push(QueuedJob { losses: 1, ..setup.job("log") }).await;
    let report = setup.next().await;
    let ReportKind::Started { at } = report.kind else { panic!("not a start: {report:?}") };
    let result = setup.ended().await;
    assert_eq!((result.state, result.started_at), (State::Success, at));
}

#[tokio::test(start_paused = true)]
async fn a_timeout_fails_the_attempt_with_its_duration() {
    let mut setup = setup(4, 0);
    setup.push(setup.job("short")).await;
    setup.sleeps().await;
    let result = setup.ended().await;
    assert_eq!((result.state, result.error.as_deref()), (State::Failed, Some("Timeout after 00:00:01.500")));
    assert!(result.logs.iter().any(|line| line.level == Level::Error && line.message == "Timeout after 00:00:01.500"));
    assert_eq!(setup.count("kestra.worker.timeout.count"), 1.0);
    let result = setup.run("bad").await;
    assert!(
        result.error.is_some_and(|error| error.starts_with("timeout: ")),
        "a timeout that is none fails the attempt"
    );
}

#[tokio::test(start_paused = true)]
async fn a_kill_stops_what_runs_and_frees_its_slot() {
    let mut setup = setup(1, 0);
    let job = setup.job("sleep");
    setup.push(job.clone()).await;
    setup.sleeps().await;
    setup.queue.cancel(&[job.key()]).await.expect("the queue is there");
    let result = setup.ended().await;
    assert_eq!((result.state, result.error), (State::Killed, None));
    assert_eq!(setup.count("kestra.worker.killed.count"), 1.0);
    assert_eq!(setup.run("log").await.state, State::Success, "the slot is free again");
}

#[tokio::test(start_paused = true)]
async fn a_panic_fails_its_own_attempt_only() {
    let mut setup = setup(1, 0);
    let result = setup.run("panic").await;
    assert_eq!(result.state, State::Failed);
    assert_eq!(result.error.as_deref(), Some("the task stopped because of an error inside the worker"));
    assert_eq!(setup.run("log").await.state, State::Success);
}

#[tokio::test(start_paused = true)]
async fn secrets_are_masked_in_errors_and_lines() {
    let mut setup = setup(1, 0);
    let result = setup.run("secret").await;
    assert_eq!(result.error.as_deref(), Some("it was ******"));
    assert!(result.logs.iter().all(|line| !line.message.contains("hunter2")));
    assert_eq!(result.logs.iter().filter(|line| line.level == Level::Error).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_run_or_kept_fails_with_a_reason() {
    let mut setup = setup(1, 0);
    let result = setup.run("none-such").await;
    assert_eq!(result.error.as_deref(), Some("task `none-such` is not part of revision 1 of the flow"));
    let result = setup.run("large").await;
    assert_eq!((result.state, result.outputs), (State::Failed, None));
    assert!(result.error.is_some_and(|error| error.contains("at most 1000")));
}

#[tokio::test(start_paused = true)]
async fn a_report_is_sent_until_it_is_committed_and_the_lease_held_meanwhile() {
    let mut setup = setup(1, 12);
    let result = setup.run("log").await;
    assert_eq!(result.logs.len(), 1);
    assert!(
        setup.queue.expired(&[5]).await.expect("the queue is there").is_empty(),
        "forty seconds later it is still held"
    );
    setup.settle(|setup| setup.worker.running() == 0).await;
    assert_eq!(setup.leased().await, 0);
    assert_eq!(setup.count("kestra.worker.started.count"), 1.0, "sent again, not run again");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_whose_lease_is_lost_stops_and_reports_nothing() {
    let mut setup = setup(1, 0);
    let job = setup.job("sleep");
    setup.push(job.clone()).await;
    setup.sleeps().await;
    // The owner hands the job out again under a higher number; this worker takes that one when its slot is free.
    let mut again = job.clone();
    again.job.dispatch = 2;
    setup.push(again).await;
    let report = setup.next().await;
    assert_eq!(report.key.dispatch, 2);
    assert!(matches!(report.kind, ReportKind::Started { .. }));
}

#[tokio::test(start_paused = true)]
async fn stopping_waits_for_what_runs_and_takes_nothing_new() {
    let mut setup = setup(1, 0);
    setup.push(setup.job("sleep")).await;
    setup.push(setup.job("log")).await;
    setup.sleeps().await;
    let Setup { worker, mut committed, queue, .. } = setup;
    assert!(worker.stop(Duration::from_secs(7_200)).await);
    let last = committed.recv().await.expect("the owner is there");
    assert!(matches!(last.kind, ReportKind::Ended { result } if result.state == State::Success));
    let depths = queue.depths().await.expect("the queue is there");
    assert_eq!((depths[0].waiting, depths[0].leased), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn what_does_not_end_in_time_is_given_up_at_once() {
    let mut setup = setup(1, 0);
    let job = setup.job("sleep");
    setup.push(job.clone()).await;
    setup.sleeps().await;
    let Setup { worker, mut committed, queue, .. } = setup;
    assert!(!worker.stop(Duration::from_secs(1)).await);
    let expired = queue.expired(&[5]).await.expect("the queue is there");
    let told: Vec<_> = expired.iter().map(|lease| (lease.key, lease.given_up)).collect();
    assert_eq!(told, [(job.key(), true)], "and nobody takes its worker for dead");
    assert!(committed.try_recv().is_err(), "nothing was reported");
}
