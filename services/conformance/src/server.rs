//! Servers to run cases against: one that is given, or one that is started here.

use std::{
    fs::File,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rand::{Rng, distr::Alphanumeric};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use windhover_client::{Client, ClientOptions, admin::v1::CreateTenantRequest};
use windhover_testkit::{Cluster, ClusterOptions, Role};

use crate::{binary, case::Config, findings::shorten};

/// How long a server may take until it is ready.
const START: Duration = Duration::from_secs(60);

/// Where a server keeps its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Database {
    /// `server local`, in a folder of its own.
    Sqlite,
    /// `server standalone`, in the database at this URL, which must be empty.
    Postgres(String),
    /// A gateway, two executors, two workers and a scheduler as processes of their own, over an empty database and a
    /// Redis that others may use as well.
    Cluster { database: String, redis: String },
}

/// The setting that lets workers run scripts.
const PROCESSES: &str = "WINDHOVER_WORKER_PROCESSES_ENABLED";

/// The processes of a cluster.
const ROLES: &[Role] = &[Role::Gateway, Role::Executor, Role::Executor, Role::Worker, Role::Worker, Role::Scheduler];

/// A server, with the right to do everything in it. One that was started here ends when this is dropped.
pub struct Server {
    address: String,
    token: Option<String>,
    client: Client,
    running: Running,
}

/// What was started here.
enum Running {
    Nothing,
    Process(Process),
    Cluster {
        cluster: Cluster,
        // Removed when the processes are gone.
        _settings: TempDir,
    },
}

struct Process {
    child: Child,
    log: PathBuf,
    // Removed when the server is gone.
    _folder: TempDir,
}

impl Server {
    /// A server that runs already.
    pub async fn given(address: &str, token: Option<&str>) -> Result<Self> {
        let address = address.trim_end_matches('/').to_owned();
        let client = connect(&address, token).await?;
        Ok(Self { address, token: token.map(str::to_owned), client, running: Running::Nothing })
    }

    /// Starts one and waits until it is ready. What it writes goes to `log`.
    pub async fn start(database: &Database, config: &Config, log: PathBuf) -> Result<Self> {
        let binary = tokio::task::spawn_blocking(binary::windhover).await??;
        let folder = tempfile::tempdir().context("making a folder for the server")?;
        if let Database::Cluster { database, redis } = database {
            return Self::start_cluster(&binary, (database, redis), config, &log, folder).await;
        }
        let (port, management) = free_ports()?;
        let token: String = rand::rng().sample_iter(Alphanumeric).take(48).map(char::from).collect();
        let mut command = Command::new(&binary);
        command.arg("server").arg(match database {
            Database::Sqlite => "local",
            _ => "standalone",
        });
        let config_file = write_config(folder.path(), config)?;
        command.arg("--config").arg(config_file);
        command.args(["--port", &port.to_string(), "--management-port", &management.to_string()]);
        clean_environment(&mut command);
        command.env("WINDHOVER_OUTBOUND_ALLOW_PRIVATE", "true").env(PROCESSES, "true");
        command.env("WINDHOVER_WORKER_PROCESSES_ENABLED", "true");
        command.envs(environment(config));
        command.arg("--data-dir").arg(folder.path().join("data"));
        if let Database::Postgres(url) = database {
            command.env("WINDHOVER_DATABASE_URL", url).env("WINDHOVER_BOOTSTRAP_TOKEN", &token);
        }
        if let Some(parent) = log.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let output = File::create(&log).with_context(|| format!("creating {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).kill_on_drop(true);
        let child = command.spawn().with_context(|| format!("starting {}", binary.display()))?;
        let mut process = Process { child, log, _folder: folder };
        process.wait_until_ready(management).await?;
        let address = format!("http://127.0.0.1:{port}");
        let token = Some(token).filter(|_| matches!(database, Database::Postgres(_)));
        let client = connect(&address, token.as_deref()).await?;
        Ok(Self { address, token, client, running: Running::Process(process) })
    }

    async fn start_cluster(
        binary: &Path,
        (database, redis): (&str, &str),
        config: &Config,
        log: &Path,
        folder: TempDir,
    ) -> Result<Self> {
        let settings = write_config(folder.path(), config)?;
        // One Redis serves many clusters: they are told apart as their databases are.
        let prefix = database.rsplit('/').next().unwrap_or_default();
        let mut options = ClusterOptions::new(binary, database)
            .redis(redis)
            .set(PROCESSES, "true")
            .set("WINDHOVER_CONFIG", &settings.display().to_string())
            .set("WINDHOVER_REDIS_PREFIX", prefix);
        for (name, value) in environment(config) {
            options = options.set(&name, &value);
        }
        let logs = log.with_extension("");
        let _ = std::fs::remove_dir_all(&logs);
        options.logs = Some(logs);
        let cluster = Cluster::start(options, ROLES).await?;
        let address = cluster.first(Role::Gateway)?.process.address();
        let token = Some(windhover_testkit::TOKEN.to_owned());
        let client = connect(&address, token.as_deref()).await?;
        Ok(Self { address, token, client, running: Running::Cluster { cluster, _settings: folder } })
    }

    /// `http://HOST:PORT` without a slash at its end.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Makes a tenant, and a client that acts in it.
    pub async fn new_tenant(&self, tenant: &str) -> Result<Client> {
        let request = CreateTenantRequest { tenant_id: tenant.to_owned(), ..CreateTenantRequest::default() };
        self.client.create_tenant(request).await?;
        Ok(self.client.acting_as(self.token.as_deref(), Some(tenant))?)
    }

    /// What it wrote last, when it, or a process of it, has ended by itself.
    pub fn obituary(&mut self) -> Option<String> {
        match &mut self.running {
            Running::Nothing => None,
            Running::Process(process) => {
                let status = process.child.try_wait().ok().flatten()?;
                Some(format!("the server has ended ({status}): {}", process.last_words()))
            }
            Running::Cluster { cluster, .. } => cluster.members().iter().find_map(|member| {
                let status = member.process.has_ended()?;
                let words = shorten(&member.process.last_lines(20), 4_000);
                Some(format!("{} has ended ({status}): {words}", member.process.name()))
            }),
        }
    }
}

impl Process {
    async fn wait_until_ready(&mut self, management: u16) -> Result<()> {
        let url = format!("http://127.0.0.1:{management}/health/readiness");
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(2)).build()?;
        let ready = async {
            loop {
                if let Some(status) = self.child.try_wait()? {
                    bail!("the server did not start ({status}): {}", self.last_words());
                }
                if http.get(&url).send().await.is_ok_and(|response| response.status().is_success()) {
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        match tokio::time::timeout(START, ready).await {
            Ok(result) => result,
            Err(_) => bail!("the server was not ready after {START:?}: {}", self.last_words()),
        }
    }

    fn last_words(&self) -> String {
        let text = std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let text = text.unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        shorten(&lines[lines.len().saturating_sub(20)..].join("\n"), 4_000)
    }
}

async fn connect(address: &str, token: Option<&str>) -> Result<Client> {
    let mut options = ClientOptions::new(address).connections(2);
    options.token = token.map(str::to_owned);
    Client::connect(options).await.with_context(|| format!("connecting to {address}"))
}

/// Two ports that nobody listens on now.
fn free_ports() -> Result<(u16, u16)> {
    let both = [TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?, TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?];
    Ok((both[0].local_addr()?.port(), both[1].local_addr()?.port()))
}

/// The settings that only a file can hold. JSON is YAML. Notifications hold links, so the server has an address.
fn write_config(folder: &Path, config: &Config) -> Result<PathBuf> {
    let mut settings = json!({ "kestra": { "url": "http://windhover.example" } });
    if !config.globals.is_empty() {
        settings["kestra"]["variables"] = json!({ "globals": Value::Object(config.globals.clone()) });
    }
    let path = folder.join("windhover.yaml");
    std::fs::write(&path, settings.to_string()).context("writing the server's settings")?;
    Ok(path)
}

/// `envs` of expressions.
fn environment(config: &Config) -> impl Iterator<Item = (String, String)> {
    config.envs.iter().map(|(name, value)| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        (format!("KESTRA_{}", name.to_ascii_uppercase()), text)
    })
}

/// What is set for this program, or for another server, is not meant for the one that starts.
fn clean_environment(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("WINDHOVER_") || name.starts_with("KESTRA_")) {
            command.env_remove(name);
        }
    }
}
