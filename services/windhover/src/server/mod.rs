//! `windhover server …`: puts the parts of a process together and ends them in order.

mod check;
mod database;
mod environment;
mod executions;
mod health;
mod housekeeping;
mod key;
mod ownership;
mod secrets;

use std::{
    collections::BTreeMap,
    fmt::Display,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use serde_json::json;
use tokio::{net::TcpListener, sync::watch, task::JoinError};
use windhover_executor::{Executor, ExecutorConfig, Flows};
use windhover_gateway::Gateway;
use windhover_outbound::{AddressPolicy, ClientConfig};
use windhover_queue::{InProcessHints, InProcessJobs, JobsConfig, in_process_wakeups};
use windhover_storage::Keyring;
use windhover_store::Store;
use windhover_tasks::{InlineTaskTable, TaskServices};
use windhover_telemetry::{
    Metrics, MetricsConfig,
    logging::{self, LogConfig, LogFormat},
    management::{DiskSpace, HealthChecks, Management, ManagementConfig, Ready},
};
use windhover_types::Secret;
use windhover_worker::{WakeupSink, Worker, WorkerConfig, WorkerParts};

use self::{
    environment::Roots, executions::StoredExecutions, health::DatabaseHealth, ownership::Ownership,
    secrets::StoredSecrets,
};
use crate::settings::{KEYS, Settings};

/// How long a stopping server waits for what is under way.
const GRACE: Duration = Duration::from_secs(20);

#[derive(Debug, Subcommand)]
#[command(after_help = settings_help())]
pub(crate) enum ServerCommand {
    /// Everything in one process on SQLite, for this machine alone, without login
    Local(ServerArguments),
    /// Everything in one process on Postgres
    Standalone(ServerArguments),
}

#[derive(Debug, Args)]
pub(crate) struct ServerArguments {
    /// Settings in YAML; the environment and flags win over it
    #[arg(long, env = "WINDHOVER_CONFIG")]
    config: Option<PathBuf>,
    /// Port of gRPC, gRPC-web and webhooks [default: 8080]
    #[arg(long)]
    port: Option<u16>,
    /// Port of health and metrics [default: 8081]
    #[arg(long)]
    management_port: Option<u16>,
    /// Folder for what the process keeps: the database of `local`, the generated master key
    #[arg(long)]
    data_dir: Option<PathBuf>,
}

/// The settings by their names in the file of `--config`.
fn settings_help() -> String {
    let longest = KEYS.iter().map(|(key, _)| key.len()).max().unwrap_or_default();
    let lines: Vec<String> = KEYS.iter().map(|(key, what)| format!("  {key:longest$}  {what}")).collect();
    let example = "as a variable of the environment `windhover.database.url` is WINDHOVER_DATABASE_URL";
    format!("Settings ({example}):\n{}", lines.join("\n"))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Local,
    Standalone,
}

/// Runs a server until SIGTERM or Ctrl-C. Whatever keeps it from starting is one plain sentence and exit code 1.
pub(crate) fn run(command: ServerCommand) -> ExitCode {
    let (mode, arguments) = match command {
        ServerCommand::Local(arguments) => (Mode::Local, arguments),
        ServerCommand::Standalone(arguments) => (Mode::Standalone, arguments),
    };
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime cannot be started")
        .and_then(|runtime| runtime.block_on(serve(mode, arguments)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("windhover: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(mode: Mode, arguments: ServerArguments) -> Result<()> {
    let mut settings = Settings::load(arguments.config.as_deref())?;
    let flags = [
        ("windhover.port", arguments.port.map(|port| port.to_string())),
        ("windhover.management-port", arguments.management_port.map(|port| port.to_string())),
        ("windhover.data-dir", arguments.data_dir.map(|folder| folder.display().to_string())),
    ];
    for (key, value) in flags {
        if let Some(value) = value {
            settings.set(key, value);
        }
    }
    check::check(&settings)?;
    let metrics = Metrics::install(MetricsConfig {
        prefix: Some(settings.text("kestra.metrics.prefix").unwrap_or_else(|| "kestra".to_owned())),
        ..MetricsConfig::default()
    });
    start_log(&settings, &metrics)?;
    if !settings.ignored.is_empty() {
        tracing::warn!(settings = ?settings.ignored, "settings that mean nothing to Windhover are ignored");
    }
    if mode == Mode::Standalone && settings.text("windhover.bootstrap-token").is_none() {
        tracing::warn!("no windhover.bootstrap-token is set: only tokens that were created before can log in");
    }
    let ports = Ports::bind(mode, &settings).await?;
    let data_dir = data_dir(&settings)?;
    let key = key::find(&settings, &data_dir)?;

    let url = database::url(mode, &settings, &data_dir)?;
    let store = database::open(&url, &settings).await?;
    let shard_count = store.number_of_shards(settings.number("windhover.shards")?).await?;
    let keyring = key::keyring(key, &store).await?;
    let ownership = Ownership::take(&store, shard_count).await?;

    let (stop, stopped) = watch::channel(false);
    let ready = Ready::default();
    let management = manage(&settings, &metrics, &store, &url, ready.clone());
    let mut management = tokio::spawn(management.serve(ports.management, until(stopped.clone())));

    let parts = match Parts::start(mode, &settings, store.clone(), keyring, metrics, &ownership).await {
        Ok(parts) => parts,
        Err(error) => {
            ownership.give_back().await;
            return Err(error);
        }
    };
    let mut gateway = tokio::spawn(parts.gateway.serve(ports.api, until(stopped.clone())));
    let housekeeping = tokio::spawn(housekeeping::run(store.clone(), ownership.shards()));
    ready.set(true);
    tracing::info!(
        api = %ports.api_address,
        management = %ports.management_address,
        mode = ?mode,
        database = store.backend().as_str(),
        "ready"
    );

    let mut grace = GRACE;
    let outcome = tokio::select! {
        signal = stop_signal() => signal,
        lost = ownership.lost() => {
            // Nothing can be committed any more: there is nothing to wait for.
            grace = Duration::ZERO;
            Err(anyhow::anyhow!("{lost}"))
        }
        ended = &mut gateway => Err(unexpected_end("API", ended)),
        ended = &mut management => Err(unexpected_end("management endpoints", ended)),
    };
    ready.set(false);
    tracing::info!("stopping");
    let _ = stop.send(true);
    housekeeping.abort();
    let deadline = Instant::now() + grace;
    let left = || deadline.saturating_duration_since(Instant::now());
    if !gateway.is_finished() && tokio::time::timeout(left(), &mut gateway).await.is_err() {
        tracing::warn!("open calls were cut off");
        gateway.abort();
    }
    parts.worker.stop(left()).await;
    parts.executor.stop().await;
    ownership.give_back().await;
    store.close().await;
    management.abort();
    outcome
}

fn unexpected_end<E: Display>(what: &str, ended: Result<Result<(), E>, JoinError>) -> anyhow::Error {
    match ended {
        Ok(Ok(())) => anyhow::anyhow!("the {what} ended by themselves"),
        Ok(Err(error)) => anyhow::anyhow!("the {what} ended: {error}"),
        Err(error) => anyhow::anyhow!("the {what} broke: {error}"),
    }
}

fn start_log(settings: &Settings, metrics: &Metrics) -> Result<()> {
    let format = match settings.text("windhover.log.format").as_deref() {
        None | Some("text") => LogFormat::Text,
        Some("json") => LogFormat::Json,
        Some(other) => bail!("the setting `windhover.log.format` is `text` or `json`, not `{other}`"),
    };
    let mut levels = BTreeMap::from([(
        "root".to_owned(),
        settings.text("windhover.log.level").unwrap_or_else(|| "INFO".to_owned()),
    )]);
    levels.extend(settings.texts("logger.levels."));
    logging::init(&LogConfig { format, levels }, metrics.registry()).map_err(|reason| anyhow::anyhow!("{reason}"))?;
    Ok(())
}

/// Both listeners, bound before anything else: a port that is taken is told at once.
struct Ports {
    api: TcpListener,
    api_address: SocketAddr,
    management: TcpListener,
    management_address: SocketAddr,
}

impl Ports {
    async fn bind(mode: Mode, settings: &Settings) -> Result<Self> {
        let host = match mode {
            Mode::Local => IpAddr::V4(Ipv4Addr::LOCALHOST),
            Mode::Standalone => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        };
        let bind = async |key: &str, default: u16| -> Result<TcpListener> {
            let port = settings.number(key)?.unwrap_or(default);
            let listener = TcpListener::bind((host, port)).await;
            let flag = key.trim_start_matches("windhover.");
            listener.map_err(|error| {
                anyhow::anyhow!("port {port} cannot be used: {error}; choose another one with --{flag} ({key})")
            })
        };
        let api = bind("windhover.port", 8080).await?;
        let fallback = settings.number("endpoints.all.port")?.unwrap_or(8081);
        let management = bind("windhover.management-port", fallback).await?;
        let (api_address, management_address) = (api.local_addr()?, management.local_addr()?);
        Ok(Self { api, api_address, management, management_address })
    }
}

fn data_dir(settings: &Settings) -> Result<PathBuf> {
    let folder = match settings.text("windhover.data-dir") {
        Some(folder) => PathBuf::from(folder),
        None => match std::env::var_os("XDG_DATA_HOME")
            .map(PathBuf::from)
            .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/share")))
        {
            Some(base) => base.join("windhover"),
            None => bail!("there is no home folder for the data: set windhover.data-dir or --data-dir"),
        },
    };
    std::fs::create_dir_all(&folder).with_context(|| format!("the data folder {} cannot be made", folder.display()))?;
    Ok(folder)
}

fn manage(settings: &Settings, metrics: &Metrics, store: &Store, url: &str, ready: Ready) -> Management {
    let name = settings.text("kestra.environment.name").unwrap_or_else(|| "kestra".to_owned());
    let health = HealthChecks::new(name, Duration::from_secs(3))
        .with(DatabaseHealth::new(store.clone(), url))
        .with(DiskSpace::default())
        .with(ready);
    let info = json!({"build": {"name": "windhover", "version": env!("CARGO_PKG_VERSION")}});
    let registry = metrics.registry().clone();
    Management::new(ManagementConfig { health, registry, info, basic_auth: None, health_details: true })
}

/// The parts of a process that does everything.
struct Parts {
    gateway: Gateway,
    executor: Executor,
    worker: Worker,
}

impl Parts {
    async fn start(
        mode: Mode,
        settings: &Settings,
        store: Store,
        keyring: Keyring,
        metrics: Metrics,
        ownership: &Ownership,
    ) -> Result<Self> {
        let flows = Flows::load(store.clone()).await?;
        let hints = Arc::new(InProcessHints::default());
        let jobs = Arc::new(InProcessJobs::new(JobsConfig::default()));
        let (wakeups, wakes) = in_process_wakeups(1_024);
        let secrets = Arc::new(StoredSecrets::new(store.clone(), keyring.clone()));
        let url = settings.text("kestra.url");
        let roots = Roots::read(settings)?;
        let env = Arc::new(roots.engine(Arc::new(InlineTaskTable)));
        let config = ExecutorConfig {
            store: store.clone(),
            fence: ownership.fence(),
            shards: ownership.shards(),
            shard_count: ownership.shard_count(),
            flows: flows.clone(),
            env: Arc::clone(&env),
            jobs: jobs.clone(),
            wakes,
            hints: hints.clone(),
            secrets: secrets.clone(),
            metrics: metrics.clone(),
        };
        let (executor, handle) = Executor::start(config).await?;

        let allow_private = settings.switch("windhover.outbound.allow-private")?.unwrap_or(mode == Mode::Local);
        let http = outbound_client(allow_private)?;
        let executions = Arc::new(StoredExecutions::new(store.clone(), handle.clone()));
        let tasks = Arc::new(TaskServices { http, secrets: secrets.clone(), executions, url, env });
        let mut config = WorkerConfig::new(format!("worker-{}", windhover_executor::new_id()));
        if let Some(slots) = settings.number("windhover.worker.slots")? {
            config.slots = slots;
        }
        let sink = Arc::new(WakeupSink::new(Arc::new(wakeups)));
        let worker = Worker::start(config, WorkerParts { queue: jobs, sink, tasks, metrics });

        let token_key = keyring.derive_key("page tokens");
        let gateway = Gateway::builder()
            .store(store)
            .flows(flows)
            .executor(handle)
            .keyring(keyring)
            .secrets(secrets)
            .token_key(token_key)
            .settings(gateway_settings(mode, settings, &roots)?)
            .build()
            .map_err(|reason| anyhow::anyhow!("{reason}"))?;
        Ok(Self { gateway, executor, worker })
    }
}

fn gateway_settings(mode: Mode, settings: &Settings, roots: &Roots) -> Result<windhover_gateway::Settings> {
    let mut gateway = windhover_gateway::Settings {
        mode: match mode {
            Mode::Local => windhover_gateway::Mode::Local,
            Mode::Standalone => windhover_gateway::Mode::Standalone,
        },
        bootstrap_token: settings.text("windhover.bootstrap-token").map(Secret::new),
        expression_globals: roots.as_map(),
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

fn outbound_client(allow_private: bool) -> Result<windhover_outbound::Client> {
    let addresses = AddressPolicy::public().allow_private(allow_private);
    windhover_outbound::Client::new(ClientConfig { addresses, ..Default::default() })
        .context("the HTTP client of the tasks")
}

/// Done once `stopped` says so.
async fn until(mut stopped: watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

async fn stop_signal() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
