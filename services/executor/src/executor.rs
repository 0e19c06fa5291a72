//! Start and end of an executor.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::Duration,
};

use futures::FutureExt;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
};
use windhover_engine::{Env, Event};
use windhover_queue::{Hints, JobQueue, Report, ReportKind, Wake, WakeReceiver, Wakeups};
use windhover_store::{Registration, ServiceInfo, Store};
use windhover_telemetry::Metrics;
use windhover_types::{Id, Tenant};

use crate::{
    WorkerGroups,
    committer::Committer,
    core::{Core, Links, unavailable},
    flows::Flows,
    handle::{ExecutorHandle, Local},
    jobs::{self, Dispatch, Dispatcher},
    loader::{self, SecretSource, WorldSource},
    membership::{Member, Membership, StartError, State},
    message::{AttemptLines, Input, Pending},
    owned::OwnedShards,
    progress::Progress,
    recovery::Recovery,
    remote::Remote,
    timers,
};

/// How long a stopping executor waits for a database that is away. What was acknowledged is stored; the rest is derived
/// again, or was never acknowledged.
const STOP_PATIENCE: Duration = Duration::from_secs(15);
/// How long it waits for its dispatcher, which may be at a queue that is away.
const LOOK_PATIENCE: Duration = Duration::from_secs(3);
/// How long it waits until its shards are free for others; after that they take them.
const LEAVE_PATIENCE: Duration = Duration::from_secs(5);

/// Everything that an executor works with.
pub struct ExecutorConfig {
    pub store: Store,
    pub membership: Membership,
    /// Filled by the executor; whoever routes messages by it has a clone.
    pub owned: OwnedShards,
    /// Its name among the services; `exclusive` follows from `membership`.
    pub registration: Registration,
    /// What it tells about itself when it registers.
    pub service: ServiceInfo,
    pub flows: Flows,
    pub env: Arc<Env>,
    pub jobs: Arc<dyn JobQueue>,
    pub wakes: WakeReceiver,
    /// To the owners of other shards.
    pub wakeups: Arc<dyn Wakeups>,
    pub hints: Arc<dyn Hints>,
    /// Changes when the queue was emptied; `None` where that cannot be.
    pub emptied: Option<watch::Receiver<u64>>,
    pub groups: Arc<dyn WorkerGroups>,
    pub secrets: Arc<dyn SecretSource>,
    pub world: Arc<dyn WorldSource>,
    pub metrics: Metrics,
}

/// A running executor.
pub struct Executor {
    store: Store,
    membership: Membership,
    owned: OwnedShards,
    state: Arc<State>,
    progress: Progress,
    inputs: mpsc::UnboundedSender<Input>,
    dispatch: mpsc::UnboundedSender<Dispatch>,
    tasks: JoinSet<()>,
    member: tokio::task::JoinHandle<()>,
    core: thread::JoinHandle<()>,
}

impl Executor {
    /// Registers it, starts it, and takes up what its shards hold. Returns before everything that was open is in memory;
    /// one of many returns before it owns anything.
    ///
    /// # Errors
    /// Another server is there that tolerates no other, or this one does not; the database is away.
    pub async fn start(config: ExecutorConfig) -> Result<(Self, ExecutorHandle), StartError> {
        let ExecutorConfig {
            store,
            membership,
            owned,
            registration,
            service,
            flows,
            env,
            jobs,
            wakes,
            wakeups,
            hints,
            emptied,
            groups,
            secrets,
            world,
            metrics,
        } = config;
        let (inputs, inputs_end) = mpsc::unbounded_channel();
        let (commit, commit_end) = mpsc::unbounded_channel();
        let (load, load_end) = mpsc::unbounded_channel();
        let (facts, facts_end) = mpsc::unbounded_channel();
        let (slots, slots_end) = mpsc::unbounded_channel();
        let (dispatch, dispatch_end) = mpsc::unbounded_channel();
        let (recover, recover_end) = mpsc::unbounded_channel();
        let (looks, looks_end) = mpsc::unbounded_channel();
        let (timer_sender, timers_end) = timers::TimerSender::pair();
        let shard_count = owned.count();

        let (member, changes, state) =
            Member::new(store.clone(), membership, registration, service, owned.clone(), inputs.clone(), recover);
        member.register().await?;

        let links = Links { commit, load, facts, slots, secrets: Arc::clone(&secrets) };
        let core = Core::new(flows.clone(), env, shard_count, membership, links);
        let core = thread::Builder::new()
            .name("windhover-engine".to_owned())
            .spawn(move || {
                if catch_unwind(AssertUnwindSafe(|| core.run(inputs_end))).is_err() {
                    broken("the engine's thread broke because of an error in the server");
                }
            })
            .map_err(|error| unavailable(&format!("the engine's thread cannot be started: {error}")))?;

        let remote = match membership {
            Membership::Exclusive => None,
            Membership::Member => {
                Some(Remote::start(store.clone(), flows.clone(), Arc::clone(&wakeups), Arc::clone(&hints), shard_count))
            }
        };
        let local = Local { inputs: inputs.clone(), owned: owned.clone() };
        let handle = ExecutorHandle::local(local, remote, Arc::clone(&hints), store.clone(), shard_count);

        let progress = Progress::default();
        let mut tasks = JoinSet::new();
        let committer = Committer {
            store: store.clone(),
            fence: None,
            feed: Default::default(),
            owned: owned.clone(),
            generation: 0,
            changes,
            flows: flows.clone(),
            wakeups,
            inputs: inputs.clone(),
            dispatch: dispatch.clone(),
            hints,
            timers: timer_sender,
            progress: progress.clone(),
            metrics,
        };
        let recovery = Recovery {
            store: store.clone(),
            flows: flows.clone(),
            membership,
            owned: owned.clone(),
            emptied: emptied.clone(),
            dispatch: dispatch.clone(),
            inputs: inputs.clone(),
        };
        let dispatcher = Dispatcher {
            store: store.clone(),
            queue: jobs,
            groups,
            membership,
            owned: owned.clone(),
            emptied,
            inputs: inputs.clone(),
        };
        let load = loader::executions(store.clone(), flows.clone(), load_end, inputs.clone());
        let facts = loader::facts(store.clone(), flows, secrets, world, facts_end, inputs.clone());
        let timers = timers::run(store.clone(), owned.clone(), timers_end, inputs.clone());
        tasks.spawn(watched("the committer", committer.run(commit_end)));
        tasks.spawn(watched("the loader of executions", load));
        tasks.spawn(watched("the loader of facts", facts));
        tasks.spawn(watched("the loader of slots", loader::slots(store.clone(), slots_end, inputs.clone())));
        tasks.spawn(watched("the clock", timers));
        tasks.spawn(watched("the dispatcher of jobs", jobs::run(dispatcher, dispatch_end)));
        tasks.spawn(watched("the recovery", recovery.clone().run(recover_end)));
        tasks.spawn(watched("the sweep of the inbox", recovery.clone().sweep()));
        tasks.spawn(watched("the look into the inbox", recovery.look(looks_end)));
        tasks.spawn(watched("the receiver of reports", receive(wakes, looks, inputs.clone())));

        if membership == Membership::Exclusive {
            member.take_all().await?;
        }
        let member = tokio::spawn(watched("the keeper of shards", member.run()));
        Ok((Self { store, membership, owned, state, progress, inputs, dispatch, tasks, member, core }, handle))
    }

    /// Waits until the shards of a process that was alone are somebody else's; answers a sentence for people. One of
    /// many joins again by itself, and this never returns.
    pub async fn lost(&self) -> String {
        let mut lost = self.state.lost.subscribe();
        match lost.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => "the heartbeat of this server has ended".to_owned(),
        }
    }

    /// Its name among the services; another one after it was taken for dead.
    pub fn instance(&self) -> watch::Receiver<Id> {
        self.state.instance.subscribe()
    }

    /// Whether its commits come to an end.
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// Hands its shards over to others, one after another, for at most so long. `true`: it owns none any more; `false`:
    /// time is over, or there is nobody to take them.
    pub async fn drain(&self, limit: Duration) -> bool {
        if self.membership == Membership::Exclusive {
            return false;
        }
        self.state.drain();
        let me = *self.state.instance.borrow();
        let takers = match self.store.set_draining(me, true).await {
            Ok(_) => self.store.executors().await,
            Err(error) => Err(error),
        };
        match takers {
            Ok(executors) if executors.iter().any(|other| other.id != me && !other.draining) => {}
            Ok(_) => return false,
            Err(error) => {
                tracing::warn!(%error, "the shards of this server cannot be handed over");
                return false;
            }
        }
        let mut changes = self.owned.changes();
        tokio::time::timeout(limit, changes.wait_for(|owned| owned.is_empty())).await.is_ok()
    }

    /// Takes no more creations, commits what is under way, frees its shards, and ends. A database that is away is not
    /// waited for long.
    pub async fn stop(mut self) {
        self.state.stop();
        // What workers of this process have given up is handed out anew by its next owner, and costs the attempt nothing.
        let (done, looked) = oneshot::channel();
        if self.dispatch.send(Dispatch::Look(done)).is_ok() {
            let _ = tokio::time::timeout(LOOK_PATIENCE, looked).await;
        }
        let (done, stopped) = oneshot::channel();
        let told = self.inputs.send(Input::Stop(done)).is_ok();
        let in_time = !told || tokio::time::timeout(STOP_PATIENCE, stopped).await.is_ok();
        self.member.abort();
        // Ended, so that nothing of it runs beside what frees its shards.
        let _ = (&mut self.member).await;
        self.tasks.shutdown().await;
        self.owned.clear();
        if in_time {
            let core = self.core;
            let _ = tokio::task::spawn_blocking(move || core.join()).await;
        } else {
            // Its thread ends with the process.
            tracing::warn!("the last batch could not be committed; what it would have acknowledged is not");
        }
        let me = *self.state.instance.borrow();
        match tokio::time::timeout(LEAVE_PATIENCE, self.store.unregister(me)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "this server stays registered until its heartbeat has expired"),
            Err(_) => tracing::warn!("this server stays registered until its heartbeat has expired"),
        }
    }
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
async fn receive(
    mut wakes: WakeReceiver,
    looks: mpsc::UnboundedSender<(u16, Tenant, Id)>,
    inputs: mpsc::UnboundedSender<Input>,
) {
    while let Some(batch) = wakes.receive().await {
        for wake in batch {
            let input = match wake {
                Wake::Look { shard, tenant, execution } => {
                    let _ = looks.send((shard, tenant, execution));
                    continue;
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
