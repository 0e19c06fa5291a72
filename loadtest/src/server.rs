//! The server that is measured: a process of its own.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use windhover_client::{Client, ClientOptions};

const TOKEN: &str = "bench-bootstrap-token-0123456789abcdef";

pub(crate) struct Server {
    child: Child,
    port: u16,
    management: u16,
    pub(crate) started_in: Duration,
    log: PathBuf,
}

impl Server {
    /// Starts `windhover server standalone`; answers when it is ready.
    pub(crate) async fn start(binary: &Path, database: &str, folder: &Path) -> Result<Self> {
        let (port, management) = (windhover_testkit::free_port()?, windhover_testkit::free_port()?);
        let log = folder.join("server.log");
        let before = Instant::now();
        let child = Command::new(binary)
            .args(["server", "standalone", "--data-dir"])
            .arg(folder)
            .args(["--port", &port.to_string(), "--management-port", &management.to_string()])
            .env("WINDHOVER_DATABASE_URL", database)
            .env("WINDHOVER_BOOTSTRAP_TOKEN", TOKEN)
            .env("WINDHOVER_OUTBOUND_ALLOW_PRIVATE", "true")
            .env("WINDHOVER_LIMITS_REQUESTS_PER_SECOND", "1000000")
            .stdout(File::create(&log)?)
            .stderr(Stdio::from(File::options().append(true).open(&log)?))
            .spawn()
            .with_context(|| format!("{} cannot be started", binary.display()))?;
        let mut server = Self { child, port, management, started_in: Duration::ZERO, log };
        while http_get(management, "/health/readiness").await.is_none_or(|(status, _)| status != 200) {
            if server.child.try_wait()?.is_some() || before.elapsed() > Duration::from_secs(60) {
                bail!("the server did not become ready:\n{}", fs::read_to_string(&server.log).unwrap_or_default());
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        server.started_in = before.elapsed();
        Ok(server)
    }

    pub(crate) async fn client(&self, connections: usize) -> Result<Client> {
        let options =
            ClientOptions::new(format!("http://127.0.0.1:{}", self.port)).token(TOKEN).connections(connections);
        Ok(Client::connect(options).await?)
    }

    /// Resident memory, in MB.
    pub(crate) fn memory_mb(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let kilobytes = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse::<f64>().ok())
            .context("no VmRSS of the server")?;
        Ok(kilobytes / 1024.0)
    }

    /// Executions of a flow that have ended, by the server's own counter.
    pub(crate) async fn ended(&self, flow: &str) -> Result<f64> {
        let (_, text) = http_get(self.management, "/prometheus").await.context("the metrics of the server")?;
        let label = format!("flow_id=\"{flow}\"");
        Ok(text
            .lines()
            .filter(|line| line.starts_with("kestra_executor_execution_end_count") && line.contains(&label))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A plain GET over a connection of its own; `None` when there is no answer.
async fn http_get(port: u16, path: &str) -> Option<(u16, String)> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes())
        .await
        .ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok()?;
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text.split_whitespace().nth(1)?.parse().ok()?;
    Some((status, text))
}
