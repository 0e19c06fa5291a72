//! What is done to a cluster while it works.

use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use tokio::time::sleep;
use windhover_testkit::{Cluster, Member, Postgres, Proxy, Redis, Role, Traffic};

/// A cluster with its servers.
pub struct Site {
    pub cluster: Cluster,
    pub postgres: Postgres,
    pub redis: Redis,
}

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// `kill -9`; it comes back after a while.
    KillExecutor,
    KillWorker,
    KillGateway,
    KillScheduler,
    /// SIGTERM; it comes back after a while.
    StopExecutor,
    StopWorker,
    /// SIGSTOP for longer than an executor's ownership lasts, then SIGCONT.
    HoldExecutor,
    /// SIGSTOP for longer than a worker's leases last, then SIGCONT.
    HoldWorker,
    HoldScheduler,
    /// `FLUSHALL`.
    EmptyRedis,
    /// Redis is gone for ten seconds, and empty afterwards.
    StopRedis,
    RestartPostgres,
    /// Postgres ends as by a crash, and comes back.
    CrashPostgres,
    /// All connections of one executor to Postgres are closed.
    CutDatabase,
    /// One executor's connections to Postgres stay open and carry nothing, for longer than its ownership lasts.
    SilenceDatabase,
    /// Every message between everybody and Postgres takes 20 ms longer, for some seconds.
    DelayDatabase,
    /// All connections to Redis are closed.
    CutRedis,
    /// One worker's connections to Redis stay open and carry nothing.
    SilenceRedis,
    DelayRedis,
    /// The clock of one executor goes a minute ahead, later a minute behind.
    SkewClock,
}

impl Fault {
    pub const ALL: &[Self] = &[
        Self::KillExecutor,
        Self::KillWorker,
        Self::KillGateway,
        Self::KillScheduler,
        Self::EmptyRedis,
        Self::CutDatabase,
        Self::HoldExecutor,
        Self::StopRedis,
        Self::RestartPostgres,
        Self::StopExecutor,
        Self::DelayDatabase,
        Self::CutRedis,
        Self::SkewClock,
        Self::CrashPostgres,
        Self::StopWorker,
        Self::SilenceDatabase,
        Self::DelayRedis,
        Self::HoldScheduler,
        Self::SilenceRedis,
        Self::HoldWorker,
    ];

    /// Those that fit into a minute.
    pub const SHORT: &[Self] = &[
        Self::KillExecutor,
        Self::KillWorker,
        Self::EmptyRedis,
        Self::KillGateway,
        Self::HoldExecutor,
        Self::KillScheduler,
        Self::RestartPostgres,
        Self::CutRedis,
    ];

    pub fn name(self) -> String {
        serde_json::to_value(self).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
    }

    /// Does it and takes it back; `turn` chooses the victim.
    ///
    /// # Errors
    /// A process or a server does not come back.
    pub async fn happen(self, site: &Site, turn: usize) -> Result<()> {
        let victim = |role| nth(&site.cluster, role, turn);
        match self {
            Self::KillExecutor => kill(victim(Role::Executor)?, Duration::from_secs(4)).await,
            Self::KillWorker => kill(victim(Role::Worker)?, Duration::from_secs(2)).await,
            Self::KillGateway => kill(victim(Role::Gateway)?, Duration::from_secs(1)).await,
            Self::KillScheduler => kill(victim(Role::Scheduler)?, Duration::from_secs(3)).await,
            Self::StopExecutor => stop(victim(Role::Executor)?).await,
            Self::StopWorker => stop(victim(Role::Worker)?).await,
            Self::HoldExecutor => hold(victim(Role::Executor)?, Duration::from_secs(8)).await,
            Self::HoldWorker => hold(victim(Role::Worker)?, Duration::from_secs(35)).await,
            Self::HoldScheduler => hold(victim(Role::Scheduler)?, Duration::from_secs(8)).await,
            Self::EmptyRedis => empty(site).await,
            Self::StopRedis => {
                site.redis.stop().await?;
                sleep(Duration::from_secs(10)).await;
                site.redis.start_again().await
            }
            Self::RestartPostgres => site.postgres.restart().await,
            Self::CrashPostgres => {
                site.postgres.kill().await?;
                site.postgres.start_again().await
            }
            Self::CutDatabase => {
                proxy(&victim(Role::Executor)?.database)?.cut();
                Ok(())
            }
            Self::SilenceDatabase => {
                weather([proxy(&victim(Role::Executor)?.database)?], Traffic::Silent, Duration::from_secs(9)).await;
                Ok(())
            }
            Self::DelayDatabase => {
                let slow = Traffic::Delayed(Duration::from_millis(20));
                weather(site.cluster.members().iter().filter_map(|one| one.database.as_ref()), slow, SPELL).await;
                Ok(())
            }
            Self::CutRedis => {
                site.cluster.members().iter().filter_map(|one| one.redis.as_ref()).for_each(Proxy::cut);
                Ok(())
            }
            Self::SilenceRedis => {
                weather([proxy(&victim(Role::Worker)?.redis)?], Traffic::Silent, SPELL).await;
                Ok(())
            }
            Self::DelayRedis => {
                let slow = Traffic::Delayed(Duration::from_millis(50));
                weather(site.cluster.members().iter().filter_map(|one| one.redis.as_ref()), slow, SPELL).await;
                Ok(())
            }
            Self::SkewClock => skew(victim(Role::Executor)?).await,
        }
    }
}

/// How long bad weather lasts.
const SPELL: Duration = Duration::from_secs(6);

fn nth(cluster: &Cluster, role: Role, turn: usize) -> Result<&Member> {
    let count = cluster.of(role).count().max(1);
    cluster.of(role).nth(turn % count).with_context(|| format!("the cluster has no {role}"))
}

fn proxy(proxy: &Option<Proxy>) -> Result<&Proxy> {
    proxy.as_ref().context("the cluster has no proxies")
}

async fn kill(victim: &Member, away: Duration) -> Result<()> {
    victim.process.kill()?;
    sleep(away).await;
    victim.process.start().await
}

async fn stop(victim: &Member) -> Result<()> {
    let code = victim.process.terminate().await?;
    anyhow::ensure!(code == Some(0), "{} ended with {code:?} when asked to", victim.process.name());
    sleep(Duration::from_secs(1)).await;
    victim.process.start().await
}

async fn hold(victim: &Member, time: Duration) -> Result<()> {
    victim.process.hold()?;
    sleep(time).await;
    victim.process.go_on()
}

async fn weather<'a>(proxies: impl IntoIterator<Item = &'a Proxy>, traffic: Traffic, time: Duration) {
    let proxies: Vec<&Proxy> = proxies.into_iter().collect();
    proxies.iter().for_each(|proxy| proxy.set(traffic));
    sleep(time).await;
    proxies.iter().for_each(|proxy| proxy.set(Traffic::Passes));
}

async fn empty(site: &Site) -> Result<()> {
    let answer = site.redis.command("FLUSHALL").await?;
    anyhow::ensure!(answer.starts_with("+OK"), "Redis does not want to be emptied: {answer}");
    Ok(())
}

async fn skew(victim: &Member) -> Result<()> {
    const OFFSET: &str = "WINDHOVER_CLOCK_OFFSET";
    for offset in [Some("PT1M"), Some("-PT1M"), None] {
        victim.process.set(OFFSET, offset);
        victim.process.restart().await?;
        sleep(Duration::from_secs(5)).await;
    }
    Ok(())
}
