//! A real Postgres server in a temporary folder on a free port.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context, bail};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::OnceCell,
};

use crate::{free_port, signal::send, wait_until};

/// How a server is started.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// Commits reach the disk, as in production. Without it a server is faster and survives the death of its
    /// processes all the same, but not that of the machine.
    pub durable: bool,
    /// Further settings (`name`, `value`).
    pub settings: Vec<(String, String)>,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self { durable: true, settings: Vec::new() }
    }
}

/// A running server. It ends when this is dropped, or when the process ends.
pub struct Postgres {
    bin: PathBuf,
    folder: PathBuf,
    port: u16,
    user: Option<(u32, u32)>,
    options: PostgresOptions,
    server: Mutex<Option<Child>>,
    /// Its input closes when this process ends: then it stops the server and removes the folder.
    warden: Mutex<Option<Child>>,
    databases: AtomicU32,
}

static SHARED: OnceCell<Postgres> = OnceCell::const_new();

impl Postgres {
    /// A server with production's durability.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(PostgresOptions::default()).await
    }

    pub async fn start_with(options: PostgresOptions) -> anyhow::Result<Self> {
        let server = tokio::task::spawn_blocking(move || Self::prepare(options)).await??;
        server.start_again().await?;
        Ok(server)
    }

    /// One server for all tests of this process, not durable; each test takes a database of its own.
    pub async fn shared() -> anyhow::Result<&'static Self> {
        SHARED.get_or_try_init(|| Self::start_with(PostgresOptions { durable: false, ..Default::default() })).await
    }

    fn prepare(options: PostgresOptions) -> anyhow::Result<Self> {
        let bin = binaries()?;
        let folder = tempfile::Builder::new().prefix("windhover-postgres-").tempdir()?.keep();
        let user = server_user()?;
        if let Some((uid, gid)) = user {
            chown(&folder, Some(uid), Some(gid))?;
        }
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
        let warden = warden(&folder, user)?;
        let server = Self {
            bin,
            folder,
            port: free_port()?,
            user,
            options,
            server: Mutex::new(None),
            warden: Mutex::new(Some(warden)),
            databases: AtomicU32::new(0),
        };
        let data = server.data();
        server.run(
            "initdb",
            ["-D", text(&data)?, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"],
        )?;
        Ok(server)
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Starts the server after [`Postgres::stop`] or [`Postgres::kill`], on the same port with the same data; returns
    /// once it takes connections. A running server is left alone.
    pub async fn start_again(&self) -> anyhow::Result<()> {
        {
            let mut server = self.server.lock();
            if server.is_some() {
                return Ok(());
            }
            *server = Some(self.spawn()?);
        }
        let log = self.folder.join("log");
        wait_until("Postgres to take connections", Duration::from_secs(60), || async {
            let port = self.port.to_string();
            let died = self.server.lock().as_mut().is_none_or(|child| !matches!(child.try_wait(), Ok(None)));
            let ready = self.run("pg_isready", ["-q", "-h", "127.0.0.1", "-p", &port, "-U", "postgres"]).is_ok();
            (died || ready).then_some(ready)
        })
        .await
        .and_then(|ready| if ready { Ok(()) } else { bail!("it ended at once") })
        .with_context(|| format!("Postgres did not start: {}", fs::read_to_string(&log).unwrap_or_default()))
    }

    fn spawn(&self) -> anyhow::Result<Child> {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.folder.join("log"))?;
        let mut settings = vec![
            ("listen_addresses".to_owned(), "127.0.0.1".to_owned()),
            ("port".to_owned(), self.port.to_string()),
            ("unix_socket_directories".to_owned(), String::new()),
            ("max_connections".to_owned(), "300".to_owned()),
            ("log_min_messages".to_owned(), "warning".to_owned()),
        ];
        if !self.options.durable {
            settings.extend(
                [("fsync", "off"), ("full_page_writes", "off")]
                    .map(|(name, value)| (name.to_owned(), value.to_owned())),
            );
        }
        settings.extend(self.options.settings.iter().cloned());
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data());
        for (name, value) in settings {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // Not in the terminal's group: an interrupt is for the test, which then ends the server.
        command.process_group(0).spawn().context("cannot start postgres")
    }

    /// The URL of a new, empty database.
    pub async fn fresh_database(&self) -> anyhow::Result<String> {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.run("createdb", ["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "postgres", &name])?;
        Ok(self.url(&name))
    }

    /// The URL of a database of this server.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Runs SQL, beside everybody, in the database that this URL of the server leads to.
    pub async fn sql(&self, url: &str, statement: &str) -> anyhow::Result<()> {
        let database = url.rsplit('/').next().unwrap_or_default();
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        let hello = format!("user\0postgres\0database\0{database}\0\0");
        stream.write_u32(8 + hello.len() as u32).await?;
        // Version 3.0 of the protocol.
        stream.write_u32(196_608).await?;
        stream.write_all(hello.as_bytes()).await?;
        until_ready(&mut stream).await?;
        stream.write_u8(b'Q').await?;
        stream.write_u32(5 + statement.len() as u32).await?;
        stream.write_all(format!("{statement}\0").as_bytes()).await?;
        until_ready(&mut stream).await
    }

    /// Where its data and its log are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Ends the server in order: sessions are ended, commits in flight are finished or rolled back.
    pub async fn stop(&self) -> anyhow::Result<()> {
        self.signal("INT").await
    }

    /// Ends all processes of the server at once, as a crash does.
    pub async fn kill(&self) -> anyhow::Result<()> {
        // QUIT: the postmaster ends its children without letting them finish anything. Killing it alone would leave them.
        self.signal("QUIT").await
    }

    /// [`Postgres::stop`] and [`Postgres::start_again`].
    pub async fn restart(&self) -> anyhow::Result<()> {
        self.stop().await?;
        self.start_again().await
    }

    async fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let Some(mut child) = self.server.lock().take() else { return Ok(()) };
        send(signal, child.id())?;
        wait_until("Postgres to end", Duration::from_secs(30), || {
            let ended = !matches!(child.try_wait(), Ok(None));
            async move { ended.then_some(()) }
        })
        .await
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command.current_dir(&self.folder).env("PGTZ", "UTC").env("TZ", "UTC").env_remove("PGDATA");
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }

    fn run<const N: usize>(&self, program: &str, arguments: [&str; N]) -> anyhow::Result<()> {
        let output = self
            .command(program)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot run {program}"))?;
        if !output.status.success() {
            bail!("{program} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let server = self.server.lock().take();
        if let Some(mut warden) = self.warden.lock().take() {
            // Its input closes; it does the rest.
            drop(warden.stdin.take());
            let _ = warden.wait();
        }
        if let Some(mut server) = server {
            let _ = server.wait();
        }
    }
}

/// Reads what the server says until it waits for the next statement.
async fn until_ready(stream: &mut TcpStream) -> anyhow::Result<()> {
    loop {
        let kind = stream.read_u8().await?;
        let mut content = vec![0; (stream.read_u32().await? as usize).saturating_sub(4)];
        stream.read_exact(&mut content).await?;
        match kind {
            b'Z' => return Ok(()),
            b'E' => bail!("{}", String::from_utf8_lossy(&content).replace('\0', " ")),
            _ => {}
        }
    }
}

/// A process that outlives this one by a moment, to clean up.
fn warden(folder: &Path, user: Option<(u32, u32)>) -> anyhow::Result<Child> {
    const SCRIPT: &str = r#"cat > /dev/null
pid=$(head -n 1 "$1/data/postmaster.pid" 2> /dev/null)
[ -n "$pid" ] && kill -QUIT "$pid" 2> /dev/null
while [ -n "$pid" ] && [ -e "$1/data/postmaster.pid" ] && kill -0 "$pid" 2> /dev/null; do sleep 0.02; done
rm -rf "$1""#;
    let mut command = Command::new("/bin/sh");
    command.args([OsStr::new("-c"), OsStr::new(SCRIPT), OsStr::new("sh"), folder.as_os_str()]);
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    command.spawn().context("cannot start /bin/sh")
}

/// The folder of the server's programs: the one that PATH leads to, else the newest of Debian's.
fn binaries() -> anyhow::Result<PathBuf> {
    let complete =
        |folder: &Path| ["initdb", "postgres", "pg_isready", "createdb"].iter().all(|name| folder.join(name).is_file());
    let path = std::env::var_os("PATH").unwrap_or_default();
    for folder in std::env::split_paths(&path) {
        // A link to the server alone leads to the folder where the others are.
        let behind = fs::canonicalize(folder.join("postgres")).ok().and_then(|file| file.parent().map(Path::to_owned));
        if let Some(found) = [Some(folder), behind].into_iter().flatten().find(|folder| complete(folder)) {
            return Ok(found);
        }
    }
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(_, folder)| complete(folder))
        .collect();
    versions.sort();
    versions.pop().map(|(_, folder)| folder).context(
        "no Postgres server was found, neither on PATH nor in /usr/lib/postgresql; on Debian and Ubuntu: apt-get install postgresql",
    )
}

/// Postgres refuses to run as root: then it runs as the user `postgres`.
fn server_user() -> anyhow::Result<Option<(u32, u32)>> {
    let number = |arguments: &[&str]| -> anyhow::Result<u32> {
        let output = Command::new("id").args(arguments).output().context("cannot run id")?;
        if !output.status.success() {
            bail!(
                "there is no user `postgres`, which Postgres needs when the tests run as root; on Debian and Ubuntu: apt-get install postgresql"
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().parse()?)
    };
    if number(&["-u"])? != 0 {
        return Ok(None);
    }
    Ok(Some((number(&["-u", "postgres"])?, number(&["-g", "postgres"])?)))
}

fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("the temporary folder's name is not UTF-8")
}
