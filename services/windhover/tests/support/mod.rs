//! Real server processes for tests, and clients of them.

#![allow(dead_code, reason = "each test file uses what it needs")]

pub(crate) mod refused;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use windhover_client::{Client, ClientOptions};
use windhover_testkit::free_port;

pub(crate) const TOKEN: &str = "test-bootstrap-token-0123456789abcdef";

/// Where a server keeps its data.
#[derive(Clone)]
pub(crate) enum Database {
    /// `server local` on SQLite in the folder.
    Sqlite,
    /// `server standalone` on this Postgres.
    Postgres(String),
}

/// A server of one test; killed when it goes.
pub(crate) struct Server {
    database: Database,
    folder: PathBuf,
    pub(crate) port: u16,
    pub(crate) management: u16,
    environment: Vec<(String, String)>,
    child: Option<Child>,
}

impl Server {
    /// Not started yet; the ports stay the same over restarts.
    pub(crate) fn new(database: Database, folder: &Path) -> Result<Self> {
        Ok(Self {
            database,
            folder: folder.to_owned(),
            port: free_port()?,
            management: free_port()?,
            environment: Vec::new(),
            child: None,
        })
    }

    /// A variable of its environment, from the next start on.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    pub(crate) async fn start(&mut self) -> Result<()> {
        let mode = match self.database {
            Database::Sqlite => "local",
            Database::Postgres(_) => "standalone",
        };
        let log = File::options().create(true).append(true).open(self.log_file())?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_windhover"));
        command
            .args(["server", mode, "--data-dir"])
            .arg(&self.folder)
            .args(["--port", &self.port.to_string(), "--management-port", &self.management.to_string()])
            .env("WINDHOVER_OUTBOUND_ALLOW_PRIVATE", "true")
            .env_remove("WINDHOVER_DATABASE_URL")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::from(log.try_clone()?))
            .stderr(Stdio::from(log));
        if let Database::Postgres(url) = &self.database {
            command.env("WINDHOVER_DATABASE_URL", url).env("WINDHOVER_BOOTSTRAP_TOKEN", TOKEN);
        }
        self.child = Some(command.spawn().context("the windhover binary")?);
        for _ in 0..3_000 {
            if http_status(self.management, "/health/readiness").await == Some(200) {
                return Ok(());
            }
            if let Some(status) = self.child.as_mut().map(Child::try_wait).transpose()?.flatten() {
                bail!("the server ended with {status}:\n{}", self.log());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("the server did not become ready:\n{}", self.log())
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// SIGTERM; answers the exit code once it has ended by itself.
    pub(crate) async fn terminate(&mut self) -> Result<Option<i32>> {
        let Some(mut child) = self.child.take() else { return Ok(None) };
        let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status()?;
        anyhow::ensure!(killed.success(), "kill -TERM failed");
        let status = tokio::task::spawn_blocking(move || child.wait()).await??;
        Ok(status.code())
    }

    pub(crate) async fn client(&self) -> Result<Client> {
        let mut options = ClientOptions::new(format!("http://127.0.0.1:{}", self.port));
        if let Database::Postgres(_) = self.database {
            options = options.token(TOKEN);
        }
        Ok(Client::connect(options).await?)
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.folder.join("server.log")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("a server of a test was left behind: {error}");
        }
    }
}

/// The status of a GET on this machine; `None` when nobody answers.
pub(crate) async fn http_status(port: u16, path: &str) -> Option<u16> {
    let answer = http_get(port, path).await?;
    answer.split_whitespace().nth(1)?.parse().ok()
}

/// Everything that is answered to a GET on this machine; `None` when nobody answers.
pub(crate) async fn http_get(port: u16, path: &str) -> Option<String> {
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer)
}

/// The status that a POST of JSON on this machine is answered with.
pub(crate) async fn http_post(port: u16, path: &str, headers: &[(&str, &str)], body: &str) -> Result<u16> {
    let answer = http_posted(port, path, headers, body).await?;
    answer.split_whitespace().nth(1).and_then(|status| status.parse().ok()).context("an answer of HTTP")
}

/// Everything that is answered to a POST of JSON on this machine.
pub(crate) async fn http_posted(port: u16, path: &str, headers: &[(&str, &str)], body: &str) -> Result<String> {
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
         {headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
