//! One process of the `windhover` binary: started, killed, held, ended, started again.

use std::{
    fmt,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{free_port, signal, wait_until, warden};

/// How long a server may take until it is ready, on a machine that is busy with other tests.
const READY: Duration = Duration::from_secs(90);
/// How long a server may take to end by itself.
const END: Duration = Duration::from_secs(60);

/// Which servers a process runs: `windhover server ROLE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    Standalone,
    Gateway,
    Executor,
    Worker,
    Scheduler,
}

impl Role {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Standalone => "standalone",
            Self::Gateway => "gateway",
            Self::Executor => "executor",
            Self::Worker => "worker",
            Self::Scheduler => "scheduler",
        }
    }

    /// It answers API calls.
    pub const fn has_api(self) -> bool {
        matches!(self, Self::Standalone | Self::Gateway)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A server process on ports of its own, which stay the same over restarts. Killed when the last handle goes, and when
/// the process of the test ends.
#[derive(Clone)]
pub struct Process(Arc<Inner>);

struct Inner {
    name: String,
    role: Role,
    binary: PathBuf,
    folder: PathBuf,
    port: u16,
    management_port: u16,
    environment: Mutex<Vec<(String, String)>>,
    child: Mutex<Option<Child>>,
}

impl Process {
    /// Not started yet. Its data folder and its log are in `folder`; `environment` is all that it is told of Windhover.
    pub fn new(
        name: impl Into<String>,
        role: Role,
        binary: &Path,
        folder: &Path,
        environment: Vec<(String, String)>,
    ) -> anyhow::Result<Self> {
        Ok(Self(Arc::new(Inner {
            name: name.into(),
            role,
            binary: binary.to_owned(),
            folder: folder.to_owned(),
            port: free_port()?,
            management_port: free_port()?,
            environment: Mutex::new(environment),
            child: Mutex::new(None),
        })))
    }

    /// Unique in its cluster, e.g. `executor-2`.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    pub fn role(&self) -> Role {
        self.0.role
    }

    /// Port of the API; nobody listens there unless [`Role::has_api`].
    pub fn port(&self) -> u16 {
        self.0.port
    }

    pub fn management_port(&self) -> u16 {
        self.0.management_port
    }

    /// `http://127.0.0.1:PORT` of the API.
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.0.port)
    }

    /// A variable of its environment, from the next start on; `None` takes it away.
    pub fn set(&self, name: &str, value: Option<&str>) {
        let mut environment = self.0.environment.lock();
        environment.retain(|(known, _)| known != name);
        environment.extend(value.map(|value| (name.to_owned(), value.to_owned())));
    }

    /// Starts it and waits until it is ready.
    pub async fn start(&self) -> anyhow::Result<()> {
        self.spawn()?;
        self.ready().await
    }

    /// Starts it without waiting. One that runs is left alone.
    pub fn spawn(&self) -> anyhow::Result<()> {
        let inner = &*self.0;
        let mut child = inner.child.lock();
        if child.is_some() {
            return Ok(());
        }
        let log = File::options().create(true).append(true).open(self.log_file())?;
        let mut command = Command::new(&inner.binary);
        command
            .args(["server", inner.role.as_str(), "--data-dir"])
            .arg(inner.folder.join(format!("{}-data", inner.name)))
            .args(["--port", &inner.port.to_string(), "--management-port", &inner.management_port.to_string()]);
        // What is set for the tests, or for another server, is not meant for this one.
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with("WINDHOVER_") || name.starts_with("KESTRA_")) {
                command.env_remove(name);
            }
        }
        command.envs(inner.environment.lock().iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let started = command.spawn().with_context(|| format!("{} cannot be started", inner.binary.display()))?;
        warden::watch(started.id())?;
        *child = Some(started);
        Ok(())
    }

    /// Waits until it says that it is ready; an error with its log when it ends before that.
    pub async fn ready(&self) -> anyhow::Result<()> {
        let what = format!("{} to be ready", self.name());
        let looked = wait_until(&what, READY, || async {
            if let Some(status) = self.has_ended() {
                return Some(Err(status));
            }
            (self.status("/health/readiness").await == Some(200)).then_some(Ok(()))
        });
        match looked.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(status)) => bail!("{} ended with {status}:\n{}", self.name(), self.last_lines(40)),
            Err(error) => bail!("{error}; its log ends:\n{}", self.last_lines(40)),
        }
    }

    /// `kill -9`, also of one that is held. Not running is fine.
    pub fn kill(&self) -> anyhow::Result<()> {
        let Some(mut child) = self.0.child.lock().take() else { return Ok(()) };
        child.kill()?;
        child.wait()?;
        warden::forget(child.id())
    }

    /// Holds it (SIGSTOP): its connections stay, it does nothing.
    pub fn hold(&self) -> anyhow::Result<()> {
        self.signal("STOP")
    }

    /// Lets it go on (SIGCONT).
    pub fn go_on(&self) -> anyhow::Result<()> {
        self.signal("CONT")
    }

    /// Asks it to end (SIGTERM) and waits; its exit code, `None` when it did not run or was killed.
    pub async fn terminate(&self) -> anyhow::Result<Option<i32>> {
        if self.0.child.lock().is_none() {
            return Ok(None);
        }
        self.signal("TERM")?;
        let status = wait_until(&format!("{} to end", self.name()), END, || async { self.has_ended() }).await?;
        if let Some(child) = self.0.child.lock().take() {
            warden::forget(child.id())?;
        }
        Ok(status.code())
    }

    /// [`Process::kill`] and [`Process::start`].
    pub async fn restart(&self) -> anyhow::Result<()> {
        self.kill()?;
        self.start().await
    }

    /// It was started and has not ended.
    pub fn is_running(&self) -> bool {
        self.0.child.lock().is_some() && self.has_ended().is_none()
    }

    /// How it ended by itself.
    pub fn has_ended(&self) -> Option<ExitStatus> {
        self.0.child.lock().as_mut()?.try_wait().ok().flatten()
    }

    fn signal(&self, name: &str) -> anyhow::Result<()> {
        let child = self.0.child.lock();
        let child = child.as_ref().with_context(|| format!("{} does not run", self.name()))?;
        signal::send(name, child.id())
    }

    /// Everything that it has written, over all its starts.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_file()).unwrap_or_default()).into_owned()
    }

    pub fn last_lines(&self, count: usize) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(count)..].join("\n")
    }

    pub fn log_file(&self) -> PathBuf {
        self.0.folder.join(format!("{}.log", self.0.name))
    }

    /// The status of a GET on its management port; `None` when nobody answers.
    pub async fn status(&self, path: &str) -> Option<u16> {
        Some(self.get(path).await?.0)
    }

    /// Status and body of a GET on its management port; `None` when nobody answers within five seconds.
    pub async fn get(&self, path: &str) -> Option<(u16, String)> {
        tokio::time::timeout(Duration::from_secs(5), http_get(self.0.management_port, path)).await.ok()?
    }

    /// Resident memory in bytes.
    pub fn memory(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()?))?;
        let kilobytes = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse::<u64>().ok())
            .context("no VmRSS of the process")?;
        Ok(kilobytes * 1_024)
    }

    /// Time that it has spent on processors, in user and kernel mode.
    pub fn processor_time(&self) -> anyhow::Result<Duration> {
        processor_time(self.pid()?)
    }

    /// The number of its process.
    pub fn pid(&self) -> anyhow::Result<u32> {
        let child = self.0.child.lock();
        Ok(child.as_ref().with_context(|| format!("{} does not run", self.name()))?.id())
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("name", &self.0.name).field("port", &self.0.port).finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.lock().take() {
            let _ = child.kill();
            let _ = child.wait();
            let _ = warden::forget(child.id());
        }
    }
}

/// Processor time of any process of this machine, in user and kernel mode.
pub fn processor_time(pid: u32) -> anyhow::Result<Duration> {
    /// What the kernel counts in, on every Linux that we run on.
    const TICKS_PER_SECOND: u64 = 100;
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in brackets may hold spaces.
    let fields: Vec<&str> = text.rsplit(") ").next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok());
    let (Some(user), Some(kernel)) = (ticks(11), ticks(12)) else { bail!("/proc/{pid}/stat cannot be read") };
    Ok(Duration::from_millis((user + kernel) * 1_000 / TICKS_PER_SECOND))
}

async fn http_get(port: u16, path: &str) -> Option<(u16, String)> {
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok()?;
    let text = String::from_utf8_lossy(&answer);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split_whitespace().nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}
