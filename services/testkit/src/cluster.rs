//! Processes of the binary that form one cluster over one Postgres and one Redis.

use std::path::{Path, PathBuf};

use anyhow::Context;
use parking_lot::Mutex;

use crate::{Process, Proxy, Role};

/// The platform administrator's token of every cluster of the tests.
pub const TOKEN: &str = "test-bootstrap-token-0123456789abcdef";
/// One key for all processes: they read each other's secrets.
const MASTER_KEY: &str = "dGVzdHMtb2Ytd2luZGhvdmVyLW1hc3Rlci1rZXktMDE=";

/// What the processes of a cluster have in common.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// The `windhover` binary.
    pub binary: PathBuf,
    pub database_url: String,
    /// Absent: only one standalone server can run.
    pub redis_url: Option<String>,
    /// Each process reaches Postgres and Redis through proxies of its own.
    pub proxied: bool,
    /// Further variables of every process's environment; of equal names these win.
    pub environment: Vec<(String, String)>,
    /// Where the logs are kept; absent: in a folder that goes with the cluster.
    pub logs: Option<PathBuf>,
}

impl ClusterOptions {
    pub fn new(binary: impl Into<PathBuf>, database_url: impl Into<String>) -> Self {
        Self {
            binary: binary.into(),
            database_url: database_url.into(),
            redis_url: None,
            proxied: false,
            environment: Vec::new(),
            logs: None,
        }
    }

    pub fn redis(mut self, url: impl Into<String>) -> Self {
        self.redis_url = Some(url.into());
        self
    }

    pub fn proxied(mut self) -> Self {
        self.proxied = true;
        self
    }

    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// One member and what stands between it and its servers.
#[derive(Debug)]
pub struct Member {
    pub process: Process,
    /// Before Postgres; present when the cluster is proxied.
    pub database: Option<Proxy>,
    /// Before Redis; present when the cluster is proxied and has a Redis.
    pub redis: Option<Proxy>,
}

/// A cluster under test. Its processes end when it is dropped.
pub struct Cluster {
    options: ClusterOptions,
    folder: PathBuf,
    members: Vec<Member>,
    /// Removed with the cluster.
    _own_folder: Option<tempfile::TempDir>,
    /// Names are given once, also when a member has left.
    names: Mutex<Vec<(Role, u32)>>,
}

impl Cluster {
    /// Without processes.
    pub fn new(options: ClusterOptions) -> anyhow::Result<Self> {
        let (folder, own) = match &options.logs {
            Some(folder) => {
                std::fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
                (folder.clone(), None)
            }
            None => {
                let own = tempfile::Builder::new().prefix("windhover-cluster-").tempdir()?;
                (own.path().to_owned(), Some(own))
            }
        };
        Ok(Self { options, folder, members: Vec::new(), _own_folder: own, names: Mutex::default() })
    }

    /// A cluster with these members, all of them ready.
    pub async fn start(options: ClusterOptions, roles: &[Role]) -> anyhow::Result<Self> {
        let mut cluster = Self::new(options)?;
        for role in roles {
            let member = cluster.prepare(*role).await?;
            cluster.members.push(member);
        }
        // The first one makes the tables; the others would only wait for each other's locks.
        let mut members = cluster.members.iter();
        if let Some(first) = members.next() {
            first.process.start().await?;
        }
        for member in members {
            member.process.spawn()?;
        }
        for member in &cluster.members {
            member.process.ready().await?;
        }
        Ok(cluster)
    }

    /// Adds a member and waits until it is ready.
    pub async fn add(&mut self, role: Role) -> anyhow::Result<&Member> {
        let member = self.prepare(role).await?;
        member.process.start().await?;
        self.members.push(member);
        self.members.last().context("a member was just added")
    }

    async fn prepare(&self, role: Role) -> anyhow::Result<Member> {
        let (mut database, mut redis) = (None, None);
        let mut database_url = self.options.database_url.clone();
        let mut redis_url = self.options.redis_url.clone();
        if self.options.proxied {
            let (proxy, through) = Proxy::before(&database_url).await?;
            (database, database_url) = (Some(proxy), through);
            if let Some(url) = &mut redis_url {
                let (proxy, through) = Proxy::before(url).await?;
                (redis, *url) = (Some(proxy), through);
            }
        }
        let mut environment = vec![
            ("WINDHOVER_DATABASE_URL".to_owned(), database_url),
            ("WINDHOVER_MASTER_KEY".to_owned(), MASTER_KEY.to_owned()),
            ("WINDHOVER_STORAGE_FOLDER".to_owned(), self.folder.join("storage").display().to_string()),
            ("WINDHOVER_OUTBOUND_ALLOW_PRIVATE".to_owned(), "true".to_owned()),
        ];
        if role.has_api() {
            environment.push(("WINDHOVER_BOOTSTRAP_TOKEN".to_owned(), TOKEN.to_owned()));
        }
        environment.extend(redis_url.map(|url| ("WINDHOVER_REDIS_URL".to_owned(), url)));
        for (name, value) in &self.options.environment {
            environment.retain(|(known, _)| known != name);
            environment.push((name.clone(), value.clone()));
        }
        let name = self.name(role);
        let process = Process::new(name, role, &self.options.binary, &self.folder, environment)?;
        Ok(Member { process, database, redis })
    }

    fn name(&self, role: Role) -> String {
        let mut names = self.names.lock();
        let number = match names.iter_mut().find(|(known, _)| *known == role) {
            Some((_, number)) => {
                *number += 1;
                *number
            }
            None => {
                names.push((role, 1));
                1
            }
        };
        format!("{role}-{number}")
    }

    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Members of one role, in the order in which they were added.
    pub fn of(&self, role: Role) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(move |member| member.process.role() == role)
    }

    /// The first one of a role.
    pub fn first(&self, role: Role) -> anyhow::Result<&Member> {
        self.of(role).next().with_context(|| format!("the cluster has no {role}"))
    }

    /// Addresses of everybody who answers API calls.
    pub fn addresses(&self) -> Vec<String> {
        let all = self.members.iter().filter(|member| member.process.role().has_api());
        all.map(|member| member.process.address()).collect()
    }

    /// Where the logs are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The ends of all logs, for a test that fails.
    pub fn last_lines(&self, count: usize) -> String {
        let of = |member: &Member| format!("---- {}\n{}", member.process.name(), member.process.last_lines(count));
        self.members.iter().map(of).collect::<Vec<_>>().join("\n")
    }
}
