//! One server process from its start to its end.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};
use serde_json::json;
use tokio::{
    sync::watch,
    task::{JoinError, JoinHandle},
};
use windhover_executor::{new_id, set_clock_offset};
use windhover_store::{Server, ServiceState};
use windhover_telemetry::{
    Metrics, MetricsConfig,
    management::{DiskSpace, HealthChecks, Management, ManagementConfig, Ready},
};
use windhover_types::Id;

use super::{
    arguments::Asked,
    check,
    context::Context,
    coordinator, database,
    endpoints::{self, Late, Views},
    files, folder, gauges,
    health::{DatabaseHealth, ExecutorHealth, RedisHealth, WorkerHealth},
    housekeeping::Housekeeping,
    instances::{self, Instances, Process, Verdict},
    key, large, liveness, logs,
    mode::Mode,
    parts::{self, Parts},
    ports::Ports,
    stop::{Signals, until},
    versions,
};
use crate::settings::Settings;

/// How long open calls of the API may take to end.
const CALLS: Duration = Duration::from_secs(15);

/// Runs until SIGTERM or Ctrl-C.
///
/// # Errors
/// One plain sentence: what keeps it from starting, or made it end.
pub(super) async fn serve(asked: Asked) -> Result<()> {
    let Asked { mode, mut settings, runs_tasks } = asked;
    let services = mode.services(runs_tasks);
    check::check(mode, &settings)?;
    let metrics = Metrics::install(MetricsConfig {
        prefix: Some(settings.text("kestra.metrics.prefix").unwrap_or_else(|| "kestra".to_owned())),
        ..MetricsConfig::default()
    });
    logs::start(&settings, &metrics)?;
    warn_of_settings(mode, services.gateway, &settings);
    let config = liveness::read(mode, &settings)?;
    set_clock_offset(settings.clock_offset()?);
    let mut signals = Signals::listen()?;
    let ports = Ports::bind(mode, services.gateway, &settings).await?;
    if let (Mode::Local, None, Some(api)) = (mode, settings.text("kestra.url"), ports.addresses.api) {
        // Only whoever sits at this machine reaches it.
        settings.set("kestra.url", format!("http://localhost:{}", api.port()));
    }
    let data_dir = folder::find(&settings)?;
    let key = key::find(&settings, &data_dir)?;

    let url = database::url(mode, &settings, &data_dir)?;
    let (files, shared) = files::open(&settings, &data_dir, super::transport::urls(&settings, mode).is_some())?;
    let store = database::open(&url, &settings, large::outputs(&settings, &files, shared)?).await?;
    let shard_count = store.number_of_shards(settings.number("windhover.shards")?).await?;
    versions::check(&store).await?;

    let (stop, stopped) = watch::channel(false);
    let (ready, redis, executor, worker) =
        (Ready::default(), RedisHealth::default(), ExecutorHealth::default(), WorkerHealth::default());
    let mut checks = checks(&settings).with(DatabaseHealth::new(store.clone(), &url)).with(ready.clone());
    if super::transport::urls(&settings, mode).is_some() {
        checks = checks.with(redis.clone());
    }
    if services.executor {
        checks = checks.with(executor.clone());
    }
    if services.worker {
        checks = checks.with(worker.clone());
    }
    let views: Late = Arc::new(OnceLock::new());
    let management = manage(&metrics, checks).merge(endpoints::router(services, views.clone()));
    let mut management = tokio::spawn(management.serve(ports.management, until(stopped.clone())));

    let id = new_id();
    let process = Process {
        server: Server { id: Some(id), kind: mode.row().server_type, version: env!("CARGO_PKG_VERSION").to_owned() },
        host: instances::host(),
        config,
    };
    let (context, wakes) =
        Context::open((mode, services), settings, store.clone(), shard_count, (key, files), metrics.clone()).await?;
    if let Some(queue) = &context.transport.redis {
        redis.know(queue.status());
        gauges::redis(&metrics, queue.status());
    }
    let housekeeping =
        Housekeeping::new(store.clone(), context.files.clone(), context.owned.clone(), &context.settings)?;
    let (mut parts, entries) = Parts::start(&context, wakes, &process).await?;
    let instances = match Instances::start(store.clone(), process.clone(), entries).await {
        Ok(instances) => instances,
        Err(error) => {
            parts.stop(Duration::ZERO).await;
            return Err(error);
        }
    };
    if let Some(running) = &parts.executor {
        executor.know(context.owned.clone(), running.progress());
        gauges::commit_lag(&metrics, running.progress());
    }
    let view = parts.worker.as_ref().map(windhover_worker::Worker::view);
    if let Some(view) = &view {
        worker.know(view.clone());
    }
    let _ = views.set(Views {
        store: store.clone(),
        flows: context.flows.clone(),
        jobs: context.transport.jobs.clone(),
        groups: parts.groups.clone(),
        worker: view,
        scheduler: parts.scheduler.as_ref().map(windhover_scheduler::Scheduler::view),
    });
    let mut gateway = match (parts.gateway.take(), ports.api) {
        (Some(gateway), Some(listener)) => Some(parts::serve(gateway, listener, stopped.clone())),
        _ => None,
    };
    let beside = Beside::start(&context, id, &process, &parts, &instances, housekeeping);
    instances.become_state(ServiceState::Running).await;
    ready.set(true);
    tracing::info!(
        mode = mode.name(),
        api = ports.addresses.api.map(|address| address.to_string()),
        management = %ports.addresses.management,
        database = store.backend().as_str(),
        redis = context.in_cluster(),
        "ready"
    );

    let mut grace = process.config.termination_grace_period;
    let outcome = tokio::select! {
        () = signals.next() => Ok(()),
        lost = parts.lost() => {
            // Nothing can be committed any more: there is nothing to wait for.
            grace = Duration::ZERO;
            Err(anyhow!("{lost}"))
        }
        Verdict { reason, in_order } = instances.lost() => {
            if !in_order {
                grace = Duration::ZERO;
            }
            Err(anyhow!("this server stops: {reason}"))
        }
        ended = ended(&mut gateway) => Err(unexpected_end("API", ended)),
        ended = &mut management => Err(unexpected_end("management endpoints", ended)),
    };
    if let Err(reason) = &outcome {
        tracing::error!(%reason, "the server cannot go on");
    }
    tracing::info!(grace = ?grace, running = parts.worker.as_ref().map(windhover_worker::Worker::running), "stopping");
    signals.end_at_the_next();
    ready.set(false);
    instances.become_state(ServiceState::Terminating).await;
    let _ = stop.send(true);
    let deadline = Instant::now() + grace;
    let left = || deadline.saturating_duration_since(Instant::now());
    if let Some(gateway) = &mut gateway
        && !gateway.is_finished()
        && tokio::time::timeout(left().min(CALLS), &mut *gateway).await.is_err()
    {
        tracing::warn!("open calls were cut off");
        gateway.abort();
    }
    let in_time = parts.stop(left()).await;
    let ended = if in_time { ServiceState::TerminatedGracefully } else { ServiceState::TerminatedForced };
    instances.become_state(ended).await;
    drop(beside);
    store.close().await;
    management.abort();
    tracing::info!(state = ended.as_str(), "stopped");
    outcome
}

/// What runs beside the services, until the process ends.
struct Beside(Vec<JoinHandle<()>>);

impl Beside {
    fn start(
        context: &Context,
        id: Id,
        process: &Process,
        parts: &Parts,
        instances: &Instances,
        housekeeping: Housekeeping,
    ) -> Self {
        let mut tasks = Vec::new();
        if parts.executor.is_some() {
            let store = context.store.clone();
            tasks.push(tokio::spawn(housekeeping.run()));
            let liveness = &process.config.liveness;
            if liveness.enabled {
                let running = instances.is_running();
                tasks.push(tokio::spawn(coordinator::run(store.clone(), id, liveness.interval, running)));
            }
            let (metrics, owned, groups) = (context.metrics.clone(), context.owned.clone(), parts.groups.clone());
            tasks.push(tokio::spawn(gauges::run(store, metrics, owned, groups)));
        }
        Self(tasks)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

fn warn_of_settings(mode: Mode, gateway: bool, settings: &Settings) {
    if !settings.ignored.is_empty() {
        tracing::warn!(settings = ?settings.ignored, "settings that mean nothing to Windhover are ignored");
    }
    if mode != Mode::Local && gateway && settings.text("windhover.bootstrap-token").is_none() {
        tracing::warn!("no windhover.bootstrap-token is set: only tokens that were created before can log in");
    }
    if mode == Mode::Local && settings.text(super::transport::URL).is_some() {
        tracing::warn!("windhover.redis.url is ignored: `local` is one process");
    }
    if let Some(offset) = settings.text("windhover.clock.offset") {
        tracing::warn!(offset, "windhover.clock.offset is set: this process's clock is wrong on purpose");
    }
}

fn checks(settings: &Settings) -> HealthChecks {
    let name = settings.text("kestra.environment.name").unwrap_or_else(|| "kestra".to_owned());
    HealthChecks::new(name, Duration::from_secs(3)).with(DiskSpace::default())
}

fn manage(metrics: &Metrics, health: HealthChecks) -> Management {
    let info = json!({"build": {"name": "windhover", "version": env!("CARGO_PKG_VERSION")}});
    let registry = metrics.registry().clone();
    Management::new(ManagementConfig { health, registry, info, basic_auth: None, health_details: true })
}

/// The end of the API; never, where there is none.
async fn ended(gateway: &mut Option<JoinHandle<Result<(), String>>>) -> Result<Result<(), String>, JoinError> {
    match gateway {
        Some(gateway) => gateway.await,
        None => std::future::pending().await,
    }
}

fn unexpected_end<E: std::fmt::Display>(what: &str, ended: Result<Result<(), E>, JoinError>) -> anyhow::Error {
    match ended {
        Ok(Ok(())) => anyhow!("the {what} ended by themselves"),
        Ok(Err(error)) => anyhow!("the {what} ended: {error}"),
        Err(error) => anyhow!("the {what} broke: {error}"),
    }
}
