//! A real Redis server on a free port, and a cluster of three.

mod certificates;
mod cluster;

use std::{
    fs,
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use self::certificates::Certificates;
pub use self::cluster::RedisCluster;
use crate::{free_port, signal, wait_until, warden};

/// How a server is started.
#[derive(Debug, Clone, Default)]
pub struct RedisOptions {
    /// Clients have to know it.
    pub password: Option<String>,
    /// [`Redis::url`] leads to a port that speaks TLS only. Another one, for [`Redis::command`], does not.
    pub tls: bool,
    /// Further arguments of `redis-server`, e.g. `--maxmemory 10mb` as two of them.
    pub arguments: Vec<String>,
}

/// A running server that keeps nothing on disk. It ends when this is dropped, or when the process ends.
pub struct Redis {
    folder: tempfile::TempDir,
    port: u16,
    /// Port and certificates of the side that speaks TLS.
    tls: Option<(u16, Certificates)>,
    options: RedisOptions,
    server: Mutex<Option<Child>>,
}

impl Redis {
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(Vec::new()).await
    }

    /// With further arguments of `redis-server`, e.g. `--maxmemory 10mb` as two of them.
    pub async fn start_with(arguments: Vec<String>) -> anyhow::Result<Self> {
        Self::start_as(RedisOptions { arguments, ..RedisOptions::default() }).await
    }

    pub async fn start_as(options: RedisOptions) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("windhover-redis-").tempdir()?;
        let tls = match options.tls {
            true => Some((free_port()?, Certificates::make(folder.path())?)),
            false => None,
        };
        let redis = Self { folder, port: free_port()?, tls, options, server: Mutex::new(None) };
        redis.start_again().await?;
        Ok(redis)
    }

    /// `redis://[:PASSWORD@]127.0.0.1:PORT`, with TLS `rediss://…`.
    pub fn url(&self) -> String {
        let password = self.options.password.as_ref().map_or(String::new(), |password| format!(":{password}@"));
        match &self.tls {
            Some((port, _)) => format!("rediss://{password}127.0.0.1:{port}"),
            None => format!("redis://{password}127.0.0.1:{}", self.port),
        }
    }

    /// The certificate (PEM) that vouches for the server's, with TLS.
    pub fn ca_certificate(&self) -> Option<Vec<u8>> {
        self.tls.as_ref().map(|(_, certificates)| certificates.ca.clone())
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The number of its process; `None` when it does not run.
    pub fn pid(&self) -> Option<u32> {
        self.server.lock().as_ref().map(Child::id)
    }

    /// Starts the server after [`Redis::stop`], on the same port and empty; returns once it answers.
    pub async fn start_again(&self) -> anyhow::Result<()> {
        {
            let mut server = self.server.lock();
            if server.is_some() {
                return Ok(());
            }
            let log = fs::OpenOptions::new().create(true).append(true).open(self.folder.path().join("log"))?;
            let mut command = Command::new("redis-server");
            command
                .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
                .arg("--dir")
                .arg(self.folder.path())
                .args(&self.options.arguments)
                .stdin(Stdio::null())
                .stdout(log.try_clone()?)
                .stderr(log)
                .process_group(0);
            if let Some(password) = &self.options.password {
                command.args(["--requirepass", password]);
            }
            if let Some((port, certificates)) = &self.tls {
                command.args(["--tls-port", &port.to_string(), "--tls-auth-clients", "no"]);
                command.arg("--tls-cert-file").arg(&certificates.certificate_file);
                command.arg("--tls-key-file").arg(&certificates.key_file);
                command.arg("--tls-ca-cert-file").arg(&certificates.ca_file);
            }
            let started = command
                .spawn()
                .context("cannot start redis-server; on Debian and Ubuntu: apt-get install redis-server")?;
            warden::watch(started.id())?;
            *server = Some(started);
        }
        wait_until("Redis to answer", Duration::from_secs(30), || async {
            let died = self.server.lock().as_mut().is_none_or(|child| !matches!(child.try_wait(), Ok(None)));
            // One that asks for a password or for TLS answers as well, if only with an error.
            let ready =
                self.command("PING").await.is_ok_and(|answer| !answer.is_empty() && !answer.contains("LOADING"));
            (died || ready).then_some(ready)
        })
        .await
        .and_then(|ready| if ready { Ok(()) } else { bail!("it ended at once") })
        .with_context(|| format!("Redis did not start: {}", self.log()))
    }

    /// Sends one command without arguments that hold spaces; answers the beginning of what it says.
    pub async fn command(&self, line: &str) -> anyhow::Result<String> {
        let talk = async {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
            let mut answer = vec![0; 16 * 1_024];
            if let Some(password) = &self.options.password {
                stream.write_all(format!("AUTH {password}\r\n").as_bytes()).await?;
                let count = stream.read(&mut answer).await?;
                if !answer[..count].starts_with(b"+OK") {
                    bail!("the password is refused");
                }
            }
            stream.write_all(format!("{line}\r\n").as_bytes()).await?;
            let count = stream.read(&mut answer).await?;
            anyhow::Ok(String::from_utf8_lossy(&answer[..count]).into_owned())
        };
        tokio::time::timeout(Duration::from_secs(5), talk).await.context("Redis says nothing")?
    }

    /// Ends the server; what it held is gone.
    pub async fn stop(&self) -> anyhow::Result<()> {
        let Some(mut child) = self.server.lock().take() else { return Ok(()) };
        signal::send("KILL", child.id())?;
        child.wait()?;
        warden::forget(child.id())
    }

    /// Empties it.
    pub async fn flush_all(&self) -> anyhow::Result<()> {
        let answer = self.command("FLUSHALL").await?;
        if !answer.starts_with("+OK") {
            bail!("FLUSHALL: {answer}");
        }
        Ok(())
    }

    /// Stops its process where it is: connections stay and nothing answers, until [`Redis::resume`].
    pub fn pause(&self) -> anyhow::Result<()> {
        signal::send("STOP", self.pid().context("Redis does not run")?)
    }

    pub fn resume(&self) -> anyhow::Result<()> {
        signal::send("CONT", self.pid().context("Redis does not run")?)
    }

    /// [`Redis::stop`] and [`Redis::start_again`].
    pub async fn restart(&self) -> anyhow::Result<()> {
        self.stop().await?;
        self.start_again().await
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Some(mut child) = self.server.lock().take() {
            let _ = child.kill();
            let _ = child.wait();
            let _ = warden::forget(child.id());
        }
    }
}
