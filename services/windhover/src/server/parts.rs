//! The services of a process, put together and ended in order.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinHandle};
use windhover_executor::{Executor, ExecutorConfig, ExecutorHandle, Membership, new_id};
use windhover_gateway::Gateway;
use windhover_queue::WakeReceiver;
use windhover_scheduler::{Scheduler, SchedulerConfig, Triggers};
use windhover_store::{Registration, ServiceInfo, ServiceKind, ServiceState, Vitals};
use windhover_tasks::{
    TaskServices,
    process::{self, ProcessLimits, Processes},
};
use windhover_types::{Id, JsonMap, Secret};
use windhover_worker::{WakeupSink, Worker, WorkerConfig, WorkerParts, WorkerView};

use super::{
    context::Context,
    executions::StoredExecutions,
    groups::{GROUP_PROPERTY, SeenGroups},
    instances::{Identity, Process, Service, Vitality},
    key_values::StoredKeyValues,
    mode::Mode,
    stop::until,
    upkeep::StoredUpkeep,
};

/// A member of a cluster hands its shards over within this part of the time that it has to stop.
const HAND_OVER: Duration = Duration::from_secs(20);

/// The version of what processes tell each other, over Redis and in rows. A process that knows only lower ones does not
/// start beside one that writes this.
pub(super) const FORMAT: u64 = 2;
pub(super) const FORMAT_PROPERTY: &str = "format";

pub(super) struct Parts {
    pub(super) gateway: Option<Gateway>,
    pub(super) executor: Option<Executor>,
    pub(super) worker: Option<Worker>,
    pub(super) scheduler: Option<Scheduler>,
    pub(super) groups: SeenGroups,
    watching: Option<JoinHandle<()>>,
}

impl Parts {
    /// Starts what the mode says. Each service is told about with its kind, its entry and what it says of itself.
    pub(super) async fn start(
        context: &Context,
        wakes: WakeReceiver,
        process: &Process,
    ) -> Result<(Self, Vec<Service>)> {
        let mut services = Vec::new();
        let (groups, watching) = if context.services.executor {
            let (groups, task) = SeenGroups::watch(context.store.clone()).await?;
            (groups, Some(task))
        } else {
            (SeenGroups::default(), None)
        };
        let mut parts = Self { gateway: None, executor: None, worker: None, scheduler: None, groups, watching };
        let mut handle = None;
        if context.services.executor {
            let (executor, own) = parts.executor(context, wakes, process).await?;
            let identity = Identity::Executor(executor.instance());
            services.push(Service { identity, kind: ServiceKind::Executor, vitals: plain() });
            parts.executor = Some(executor);
            handle = Some(own);
        }
        if context.services.worker {
            match worker(context, handle.clone().unwrap_or_else(|| context.remote())).await {
                Ok((id, worker)) => {
                    let view = worker.view();
                    let vitals = Arc::new(move || of_worker(&view));
                    services.push(Service { identity: Identity::Own(id), kind: ServiceKind::Worker, vitals });
                    parts.worker = Some(worker);
                }
                Err(error) => return parts.abandon(error).await,
            }
        }
        if context.services.scheduler {
            match scheduler(context).await {
                Ok(scheduler) => {
                    let identity = Identity::Own(new_id());
                    services.push(Service { identity, kind: ServiceKind::Scheduler, vitals: plain() });
                    parts.scheduler = Some(scheduler);
                }
                Err(error) => return parts.abandon(error).await,
            }
        }
        if context.services.gateway {
            match gateway(context, handle.unwrap_or_else(|| context.remote())) {
                Ok(gateway) => {
                    let identity = Identity::Own(new_id());
                    services.push(Service { identity, kind: ServiceKind::Webserver, vitals: plain() });
                    parts.gateway = Some(gateway);
                }
                Err(error) => return parts.abandon(error).await,
            }
        }
        Ok((parts, services))
    }

    async fn executor(
        &self,
        context: &Context,
        wakes: WakeReceiver,
        process: &Process,
    ) -> Result<(Executor, ExecutorHandle)> {
        let transport = &context.transport;
        let member = context.in_cluster();
        let service = ServiceInfo {
            kind: ServiceKind::Executor,
            state: ServiceState::Created,
            server: process.server.clone(),
            config: process.config.clone(),
            props: props([]),
            metrics: Value::Array(Vec::new()),
        };
        let config = ExecutorConfig {
            store: context.store.clone(),
            membership: if member { Membership::Member } else { Membership::Exclusive },
            owned: context.owned.clone(),
            registration: Registration { id: new_id(), host: process.host.clone(), exclusive: !member },
            service,
            flows: context.flows.clone(),
            env: context.env.clone(),
            jobs: transport.jobs.clone(),
            wakes,
            wakeups: transport.wakeups.clone(),
            hints: transport.hints.clone(),
            emptied: transport.emptied(),
            groups: Arc::new(self.groups.clone()),
            secrets: context.secrets.clone(),
            world: context.world(),
            metrics: context.metrics.clone(),
        };
        Executor::start(config).await.map_err(|error| anyhow!("{error}"))
    }

    /// A later part cannot start: shards are given back.
    async fn abandon<T>(self, error: anyhow::Error) -> Result<T> {
        self.stop(Duration::ZERO).await;
        Err(error)
    }

    /// Waits until the executor cannot go on.
    pub(super) async fn lost(&self) -> String {
        match &self.executor {
            Some(executor) => executor.lost().await,
            None => std::future::pending().await,
        }
    }

    /// Ends what takes work, then what moves it; tells whether everything ended in time.
    pub(super) async fn stop(mut self, grace: Duration) -> bool {
        let deadline = Instant::now() + grace;
        let left = || deadline.saturating_duration_since(Instant::now());
        let mut in_time = true;
        if let Some(scheduler) = self.scheduler.take() {
            scheduler.stop().await;
        }
        if let Some(worker) = self.worker.take() {
            in_time &= worker.stop(left()).await;
        }
        if let Some(executor) = self.executor.take() {
            // Without time, or anybody, to hand over to, the shards are free after the stop all the same.
            let limit = left().min(HAND_OVER);
            if !limit.is_zero() {
                executor.drain(limit).await;
            }
            executor.stop().await;
        }
        if let Some(watching) = self.watching {
            watching.abort();
        }
        in_time
    }
}

async fn worker(context: &Context, executor: ExecutorHandle) -> Result<(Id, Worker)> {
    let settings = &context.settings;
    let id = new_id();
    let mut config = WorkerConfig::new(format!("worker-{id}"));
    config.clock_offset = settings.clock_offset()?;
    if let Some(slots) = settings.number("windhover.worker.slots")? {
        config.slots = slots;
    }
    if let Some(group) = settings.text("windhover.worker.group").or_else(|| settings.text("kestra.worker.group")) {
        context.store.see_worker_group(&group).await?;
        config.groups = vec![group.into()];
    }
    let executions = Arc::new(StoredExecutions::new(context.store.clone(), context.transport.hints.clone()));
    let url = settings.text("kestra.url");
    let tasks = TaskServices {
        http: context.http.clone(),
        secrets: context.secrets.clone(),
        executions,
        kv: Arc::new(StoredKeyValues(context.store.clone())),
        upkeep: Arc::new(StoredUpkeep {
            store: context.store.clone(),
            executor,
            flows: context.flows.clone(),
            secrets: context.secrets.clone(),
        }),
        files: context.files.clone(),
        processes: processes(context)?,
        url,
        env: context.env.clone(),
    };
    let transport = &context.transport;
    let parts = WorkerParts {
        queue: transport.jobs.clone(),
        sink: Arc::new(WakeupSink::new(transport.wakeups.clone())),
        tasks: Arc::new(tasks),
        metrics: context.metrics.clone(),
    };
    Ok((id, Worker::start(config, parts)))
}

/// Whether scripts run on this process's worker. Whoever may write a flow runs programs as the server's user then: that is
/// the operator's to allow, except where everything is the operator's own.
fn processes(context: &Context) -> Result<Processes> {
    let settings = &context.settings;
    if !settings.switch(process::ENABLED)?.unwrap_or(context.mode == Mode::Local) {
        return Ok(Processes::refused());
    }
    let mut limits = ProcessLimits::default();
    if let Some(bytes) = settings.number(process::MAX_MEMORY)? {
        limits.memory = bytes;
        if limits.memory < process::LEAST_MEMORY {
            bail!("the setting `{}` is at least {}, not {bytes}", process::MAX_MEMORY, process::LEAST_MEMORY);
        }
    }
    if let Some(most) = settings.number(process::MAX_PROCESSES)? {
        limits.processes = most;
    }
    if let Some(duration) = settings.duration(process::MAX_DURATION)? {
        limits.duration = duration;
    }
    if let Some(bytes) = settings.number("windhover.worker.processes.max-output-bytes")? {
        limits.output_bytes = bytes;
    }
    if let Some(lines) = settings.number("windhover.worker.processes.max-output-lines")? {
        limits.output_lines = lines;
    }
    let names = settings.text("windhover.worker.processes.variables").unwrap_or_default();
    let variables = names.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    // The program that runs, also when its file has been replaced meanwhile.
    let supervisor = ("/proc/self/exe".into(), vec![process::SUPERVISOR.to_owned()]);
    Ok(Processes::allowed(limits, supervisor, variables))
}

async fn scheduler(context: &Context) -> Result<Scheduler> {
    let config = SchedulerConfig {
        store: context.store.clone(),
        flows: context.flows.clone(),
        wakeups: context.transport.wakeups.clone(),
        secrets: context.secrets.clone(),
        world: context.world(),
        http: context.http.clone(),
        metrics: context.metrics.clone(),
        settings: context.schedules()?,
    };
    Scheduler::start(config).await.context("the scheduler cannot be started")
}

fn gateway(context: &Context, handle: ExecutorHandle) -> Result<Gateway> {
    Gateway::builder()
        .store(context.store.clone())
        .flows(context.flows.clone())
        .executor(handle)
        .keyring(context.keyring.clone())
        .secrets(context.secrets.clone())
        .world(context.world())
        .files(context.files.clone())
        .token_key(context.keyring.derive_key("page tokens"))
        .jobs(context.transport.jobs.clone())
        .triggers(Triggers::new(context.store.clone(), context.flows.clone(), context.schedules()?))
        .settings(gateway_settings(context)?)
        .build()
        .map_err(|reason| anyhow!("{reason}"))
}

fn gateway_settings(context: &Context) -> Result<windhover_gateway::Settings> {
    let settings = &context.settings;
    let mut gateway = windhover_gateway::Settings {
        mode: match context.mode {
            Mode::Local => windhover_gateway::Mode::Local,
            _ => windhover_gateway::Mode::Standalone,
        },
        bootstrap_token: settings.text("windhover.bootstrap-token").map(Secret::new),
        expression_globals: context.roots.as_map(),
        public_url: settings.text("kestra.url"),
        ..Default::default()
    };
    if let Some(bytes) = settings.number("windhover.limits.max-request-bytes")? {
        gateway.max_request_bytes = bytes;
    }
    if let Some(bytes) = settings.number("windhover.limits.max-input-bytes")? {
        gateway.max_input_bytes = bytes;
    }
    if let Some(rate) = settings.number("windhover.limits.requests-per-second")? {
        gateway.requests_per_second = rate;
    }
    Ok(gateway)
}

/// Serves the API until `stopped`.
pub(super) fn serve(
    gateway: Gateway,
    listener: tokio::net::TcpListener,
    stopped: watch::Receiver<bool>,
) -> JoinHandle<Result<(), String>> {
    tokio::spawn(async move { gateway.serve(listener, until(stopped)).await.map_err(|error| error.to_string()) })
}

/// What a service tells with each heartbeat that has nothing of its own to tell.
fn plain() -> Vitality {
    Arc::new(|| Vitals { props: props([]), metrics: Value::Array(Vec::new()) })
}

fn props<const N: usize>(own: [(&str, Value); N]) -> JsonMap {
    let mut props = JsonMap::new();
    props.insert(FORMAT_PROPERTY.to_owned(), FORMAT.into());
    for (name, value) in own {
        props.insert(name.to_owned(), value);
    }
    props
}

/// What a worker tells with each heartbeat (operations reference 5.2).
fn of_worker(view: &WorkerView) -> Vitals {
    let (threads, pending, running) = view.gauges();
    let tags = match view.group() {
        Some(group) => json!([{"key": "worker_group", "value": group}]),
        None => json!([]),
    };
    let gauge = |name: &str, value: f64| json!({"name": name, "type": "GAUGE", "tags": tags, "value": value});
    let metrics = json!([
        gauge("kestra.worker.job.thread", threads),
        gauge("kestra.worker.job.pending", pending),
        gauge("kestra.worker.job.running", running),
    ]);
    Vitals { props: props([(GROUP_PROPERTY, view.group().into()), ("worker.slots", (threads as u64).into())]), metrics }
}
