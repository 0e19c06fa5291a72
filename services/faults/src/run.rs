//! The fault run: a cluster, work, faults, rest, and the account.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use windhover_client::{Client, ClientOptions};
use windhover_testkit::{Answer, Cluster, ClusterOptions, Postgres, Receiver, Redis, Role, TOKEN, wait_until};

use crate::{
    Database, Findings, Ledger,
    check::{self, Extent},
    faults::{Fault, Site},
    workload::Workload,
};

/// What is run.
#[derive(Debug, Clone)]
pub struct Plan {
    pub binary: PathBuf,
    /// In this order, then again from the first, until there were enough executions.
    pub faults: Vec<Fault>,
    /// At least so many are acknowledged.
    pub executions: usize,
    pub per_second: f64,
    /// Between two faults.
    pub pause: Duration,
    /// How long the cluster may take to come to rest.
    pub rest: Duration,
    /// Where logs and the ledger are kept; absent: nowhere.
    pub keep: Option<PathBuf>,
}

impl Plan {
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        Self {
            binary: binary.into(),
            faults: Fault::ALL.to_vec(),
            executions: 5_000,
            per_second: 25.0,
            pause: Duration::from_secs(4),
            rest: Duration::from_secs(180),
            keep: None,
        }
    }
}

/// What came of it.
#[derive(Debug, Serialize)]
pub struct Outcome {
    pub executions: usize,
    pub seconds: f64,
    /// Each fault and when it began, in seconds from the first create.
    pub faults: Vec<(String, f64)>,
    /// Processes that ended although nobody ended them, with the fault that they ended under.
    pub deaths: Vec<String>,
    /// From the end of the load until nothing was under way any more.
    pub rest_seconds: f64,
    pub extent: Extent,
    pub findings: Findings,
    /// The ends of the logs, when there is anything to look for.
    #[serde(skip)]
    pub logs: String,
}

/// The members of the cluster.
pub const ROLES: &[Role] = &[
    Role::Gateway,
    Role::Gateway,
    Role::Executor,
    Role::Executor,
    Role::Worker,
    Role::Worker,
    Role::Scheduler,
    Role::Scheduler,
];

/// Runs the plan.
///
/// # Errors
/// Something could not be started, or read; what is wrong with the cluster's work is in the outcome.
pub async fn run(plan: &Plan) -> Result<Outcome> {
    let receiver = receiver().await?;
    let postgres = Postgres::start().await.context("Postgres")?;
    let redis = Redis::start().await.context("Redis")?;
    let url = postgres.fresh_database().await?;
    let mut options = ClusterOptions::new(&plan.binary, &url).redis(redis.url()).proxied();
    options.logs = plan.keep.as_ref().map(|folder| folder.join("logs"));
    let cluster = Cluster::start(options, ROLES).await?;
    let site = Site { cluster, postgres, redis };

    let mut clients = Vec::new();
    for address in site.cluster.addresses() {
        let mut options = ClientOptions::new(address).token(TOKEN).tenant("main");
        options.call_timeout = Duration::from_secs(10);
        clients.push(Client::connect(options).await?);
    }
    let checked_by = clients.first().context("a gateway")?.clone();
    let workload = Workload::prepare(clients, "main", &receiver.url()).await?;
    let begun = Instant::now();
    let creators = workload.start(plan.per_second);
    let (mut faults, mut deaths) = (Vec::new(), Vec::new());
    let mut turn = 0;
    while turn < plan.faults.len() || workload.acknowledged() < plan.executions {
        tokio::time::sleep(plan.pause).await;
        let fault = plan.faults[turn % plan.faults.len()];
        faults.push((fault.name(), begun.elapsed().as_secs_f64()));
        let round = turn / plan.faults.len() + turn;
        let happened = fault.happen(&site, round).await;
        happened.with_context(|| format!("{}; {}", fault.name(), site.cluster.last_lines(20)))?;
        revive(&site, fault, &mut deaths).await?;
        turn += 1;
    }
    tokio::time::sleep(plan.pause).await;
    let stopped = workload.stop(creators).await;
    stopped.with_context(|| site.cluster.last_lines(20))?;
    revive(&site, Fault::KillExecutor, &mut deaths).await?;

    let database = Database::connect(&url).await?;
    let resting = Instant::now();
    // What does not come to rest is what the checker tells.
    let _ = come_to_rest(&database, plan.rest).await;
    let rest_seconds = resting.elapsed().as_secs_f64();
    let ledger = workload.ledger().await?;
    if let Some(folder) = &plan.keep {
        ledger.write(&folder.join("ledger.json"))?;
    }
    ensure!(ledger.acknowledged.len() >= plan.executions, "only {} executions", ledger.acknowledged.len());
    let (findings, extent) = account(&database, &checked_by, &ledger).await?;
    let logs = if findings.is_empty() { String::new() } else { site.cluster.last_lines(40) };
    Ok(Outcome {
        executions: ledger.acknowledged.len(),
        seconds: begun.elapsed().as_secs_f64(),
        faults,
        deaths,
        rest_seconds,
        extent,
        findings,
        logs,
    })
}

async fn account(database: &Database, client: &Client, ledger: &Ledger) -> Result<(Findings, Extent)> {
    check::check(database, Some(client), ledger).await
}

/// A server for tasks that call one.
async fn receiver() -> Result<Receiver> {
    let receiver = Receiver::start().await?;
    receiver.answer("/slow", Answer { delay: Duration::from_secs(2), ..Answer::default() });
    receiver.answer("/broken", Answer { status: 500, ..Answer::default() });
    Ok(receiver)
}

/// Starts those again that ended by themselves, as a supervisor would.
async fn revive(site: &Site, fault: Fault, deaths: &mut Vec<String>) -> Result<()> {
    for member in site.cluster.members() {
        if let Some(status) = member.process.has_ended() {
            deaths.push(format!("{} ended with {status} after {}", member.process.name(), fault.name()));
            member.process.restart().await?;
        }
    }
    Ok(())
}

/// Waits until nothing is open, and nothing came of it for a moment.
async fn come_to_rest(database: &Database, patience: Duration) -> Result<()> {
    const QUIET: Duration = Duration::from_secs(3);
    let since = std::cell::Cell::new(None::<Instant>);
    wait_until("the cluster to come to rest", patience, || async {
        let open = database.unsettled().await.unwrap_or(i64::MAX);
        if open > 0 {
            since.set(None);
        } else if since.get().is_none() {
            since.set(Some(Instant::now()));
        }
        since.get().filter(|since| since.elapsed() > QUIET).map(|_| ())
    })
    .await
}
