//! Start and end of the executor, and the handle through which others reach it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::Duration,
};

use futures::FutureExt;

use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};
use windhover_engine::{Env, Event, Execution};
use windhover_queue::{Hints, JobQueue, Report, ReportKind, Subscription, Wake, WakeReceiver};
use windhover_store::{Fence, Store};
use windhover_telemetry::Metrics;
use windhover_types::{Error, Id, StateHistory, Tenant};

use crate::{
    committer::Committer,
    core::{Core, Links, unavailable},
    flows::Flows,
    jobs, loader,
    loader::SecretSource,
    message::{AttemptLines, CreateRequest, CreatedExecution, Input, Pending},
    recovery, timers,
};

/// How long a stopping executor waits for a database that is away. What was acknowledged is stored; the rest is derived
/// again, or was never acknowledged.
const STOP_PATIENCE: Duration = Duration::from_secs(15);

/// Everything that an executor works with.
pub struct ExecutorConfig {
    pub store: Store,
    /// This process and the epoch under which it owns `shards`.
    pub fence: Fence,
    pub shards: Vec<u16>,
    /// Number of shards of the installation.
    pub shard_count: u16,
    pub flows: Flows,
    pub env: Arc<Env>,
    pub jobs: Arc<dyn JobQueue>,
    pub wakes: WakeReceiver,
    pub hints: Arc<dyn Hints>,
    pub secrets: Arc<dyn SecretSource>,
    pub metrics: Metrics,
}

/// Reaches the executor of this process. Cheap to clone.
#[derive(Clone)]
pub struct ExecutorHandle {
    inputs: mpsc::UnboundedSender<Input>,
    hints: Arc<dyn Hints>,
    store: Store,
}

impl ExecutorHandle {
    /// Answers after the commit, with the execution as it was created. The same request id and content answers the
    /// first one (`replayed`); with other content ALREADY_EXISTS, reason REQUEST_ID_REUSED.
    pub async fn create(&self, mut request: CreateRequest) -> Result<CreatedExecution, Error> {
        if let Some(key) = &mut request.request {
            // As it is stored: two that are one there must not come into one batch.
            key.request_id = key.request_id.replace('\0', "\u{fffd}");
        }
        let tenant = request.tenant.clone();
        let (reply, answer) = oneshot::channel();
        self.send(Input::Create { request: Box::new(request), reply })?;
        let created = answer.await.map_err(|_| unavailable("the server is stopping"))??;
        if !created.replayed {
            return Ok(created);
        }
        // Revision, labels and inputs are those of the first request.
        match self.store.get_execution(&tenant, created.execution.id).await? {
            Some(stored) => Ok(CreatedExecution { execution: as_created(stored), ..created }),
            None => Ok(created),
        }
    }

    /// Answers after the wish is committed. Doubles are harmless; `false` when the execution had ended.
    pub async fn kill(&self, tenant: &Tenant, id: Id) -> Result<bool, Error> {
        let (waiter, answer) = oneshot::channel();
        let pending = Pending { waiter: Some(waiter), ..Pending::new(Event::Kill) };
        self.send(Input::Event { tenant: tenant.clone(), execution: id, pending })?;
        answer.await.map_err(|_| unavailable("the server is stopping"))?
    }

    /// Hints that something about the execution was committed.
    pub fn subscribe(&self, tenant: &Tenant, id: Id) -> Subscription {
        self.hints.subscribe(tenant, id)
    }

    fn send(&self, input: Input) -> Result<(), Error> {
        self.inputs.send(input).map_err(|_| unavailable("the server is stopping"))
    }
}

/// A running executor.
pub struct Executor {
    inputs: mpsc::UnboundedSender<Input>,
    tasks: JoinSet<()>,
    core: thread::JoinHandle<()>,
}

impl Executor {
    /// Starts it and takes up what its shards hold. Returns before everything that was open is in memory.
    pub async fn start(config: ExecutorConfig) -> Result<(Self, ExecutorHandle), Error> {
        let ExecutorConfig { store, fence, shards, shard_count, flows, env, jobs, wakes, hints, secrets, metrics } =
            config;
        let (inputs, inputs_end) = mpsc::unbounded_channel();
        let (commit, commit_end) = mpsc::unbounded_channel();
        let (load, load_end) = mpsc::unbounded_channel();
        let (facts, facts_end) = mpsc::unbounded_channel();
        let (dispatch, dispatch_end) = mpsc::unbounded_channel();
        let (timer_sender, timers_end) = timers::TimerSender::pair();
        let feed = store.feed_positions(&shards).await?;
        // Before this process hands out any: all of them were with holders that are gone.
        let lost = store.jobs(&shards).await?;

        let core = Core::new(flows.clone(), env, shard_count, Links { commit, load, facts });
        let core = thread::Builder::new()
            .name("windhover-engine".to_owned())
            .spawn(move || {
                if catch_unwind(AssertUnwindSafe(|| core.run(inputs_end))).is_err() {
                    broken("the engine's thread broke because of an error in the server");
                }
            })
            .map_err(|error| unavailable(&format!("the engine's thread cannot be started: {error}")))?;

        let mut tasks = JoinSet::new();
        let committer = Committer {
            store: store.clone(),
            fence,
            feed,
            inputs: inputs.clone(),
            dispatch,
            hints: Arc::clone(&hints),
            timers: timer_sender,
            metrics,
        };
        let handle = ExecutorHandle { inputs: inputs.clone(), hints, store: store.clone() };
        let load = loader::executions(store.clone(), flows.clone(), load_end, inputs.clone());
        let facts = loader::facts(store.clone(), flows.clone(), secrets, facts_end, inputs.clone());
        let timers = timers::run(store.clone(), shards.clone(), timers_end, inputs.clone());
        let dispatch = jobs::run(jobs, shards.clone(), dispatch_end, inputs.clone());
        tasks.spawn(watched("the committer", committer.run(commit_end)));
        tasks.spawn(watched("the loader of executions", load));
        tasks.spawn(watched("the loader of facts", facts));
        tasks.spawn(watched("the clock", timers));
        tasks.spawn(watched("the dispatcher of jobs", dispatch));
        tasks.spawn(watched("the recovery", recovery::run(store, flows, shards, lost, inputs.clone())));
        tasks.spawn(watched("the receiver of reports", receive(wakes, inputs.clone())));
        Ok((Self { inputs, tasks, core }, handle))
    }

    /// Takes no more creations, commits what is under way, and ends. A database that is away is not waited for long.
    pub async fn stop(mut self) {
        let (done, stopped) = oneshot::channel();
        let told = self.inputs.send(Input::Stop(done)).is_ok();
        let in_time = !told || tokio::time::timeout(STOP_PATIENCE, stopped).await.is_ok();
        self.tasks.shutdown().await;
        if in_time {
            let core = self.core;
            let _ = tokio::task::spawn_blocking(move || core.join()).await;
        } else {
            // Its thread ends with the process.
            tracing::warn!("the last batch could not be committed; what it would have acknowledged is not");
        }
    }
}

/// An execution as it was when it was created.
fn as_created(execution: Execution) -> Execution {
    let first = execution.state.entries().first().copied();
    let state = first.map_or_else(|| execution.state.clone(), |first| StateHistory::new(first.state, first.at));
    Execution { state, outputs: None, error: None, version: 1, ..execution }
}

/// A part of the executor, without which the others would wait for ever.
async fn watched(part: &'static str, task: impl Future<Output = ()>) {
    if AssertUnwindSafe(task).catch_unwind().await.is_err() {
        broken(&format!("{part} broke because of an error in the server"));
    }
}

/// Ends the process. Nothing would move any more, while the process looks alive and keeps its shards; the store has all
/// that was acknowledged, and the next start goes on from there.
pub(crate) fn broken(why: &str) -> ! {
    tracing::error!(why, "the executor cannot go on; the process ends");
    eprintln!("windhover: {why}; the process ends, start it again");
    std::process::exit(70)
}

/// What workers and other processes tell.
async fn receive(mut wakes: WakeReceiver, inputs: mpsc::UnboundedSender<Input>) {
    while let Some(batch) = wakes.receive().await {
        for wake in batch {
            let input = match wake {
                Wake::Look { tenant, execution, .. } => {
                    Input::Event { tenant, execution, pending: Pending::new(Event::Advance) }
                }
                Wake::Report { report, acknowledge } => {
                    let Report { tenant, execution, key, worker, kind, .. } = report;
                    let (task_run, dispatch) = (key.task_run, key.dispatch);
                    let mut pending = match kind {
                        ReportKind::Started { at } => {
                            Pending::new(Event::JobStarted { task_run, dispatch, worker, at })
                        }
                        ReportKind::Ended { result } => Pending::new(Event::JobEnded { task_run, dispatch, result }),
                        ReportKind::Logs { first, lines } => {
                            let lines = Some(AttemptLines { task_run, dispatch, first, lines });
                            Pending { lines, ..Pending::new(Event::Advance) }
                        }
                    };
                    pending.acknowledge = Some(acknowledge);
                    Input::Event { tenant, execution, pending }
                }
            };
            if inputs.send(input).is_err() {
                return;
            }
        }
    }
}
