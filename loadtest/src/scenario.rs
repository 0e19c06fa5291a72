//! What `bench` does, in order.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use axum::{Router, routing::get};
use clap::ValueEnum;
use windhover_client::{NewExecution, v1::State};
use windhover_testkit::{Postgres, Redis, Role};

use crate::{
    cluster,
    flows::{self, NAMESPACE},
    load, postgres, redis,
    report::Report,
    server::Server,
};

/// What can be measured alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    Standalone,
    Cluster,
    /// Of the cluster's figures those of fairness; on a fresh cluster, so not for the record.
    Fairness,
}

/// What everything that is measured runs on.
pub(crate) struct Place {
    pub(crate) binary: PathBuf,
    pub(crate) database: Postgres,
    pub(crate) redis: Redis,
    /// For logs.
    pub(crate) folder: PathBuf,
}

impl Place {
    pub(crate) async fn start(&self, url: &str, roles: &[Role]) -> Result<Server> {
        Server::start(&self.binary, url, &self.redis.url(), &self.folder, roles).await
    }
}

pub(crate) async fn bench(results: &Path, binary: &Path, seconds: u64, only: Option<Part>) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let place = Place {
        binary: binary.to_owned(),
        database: Postgres::start().await.context("Postgres for the benchmark")?,
        redis: Redis::start().await.context("Redis for the benchmark")?,
        folder: folder.path().to_owned(),
    };
    // A part that is measured alone leaves the figures of the other as they were.
    let mut report = if only.is_some() { Report::read(results)? } else { Report::default() };
    if matches!(only, None | Some(Part::Standalone)) {
        standalone(&place, seconds, &mut report).await?;
    }
    match only {
        None | Some(Part::Cluster) => cluster::measure(&place, seconds, &mut report).await?,
        Some(Part::Fairness) => cluster::fairness_alone(&place, &mut report).await?,
        Some(Part::Standalone) => {}
    }
    match only {
        Some(Part::Fairness) => Ok(()),
        _ => report.write(results),
    }
}

async fn standalone(place: &Place, seconds: u64, report: &mut Report) -> Result<()> {
    const ONE: &[Role] = &[Role::Standalone];
    let url = place.database.fresh_database().await?;
    let tps = tokio::task::spawn_blocking(move || postgres::pgbench(&url, 10)).await??;
    report.set("limits.pgbench_tps", tps);
    let port = place.redis.port();
    let operations = tokio::task::spawn_blocking(move || redis::benchmark(port)).await??;
    report.set("limits.redis_ops_per_second", operations);

    let url = place.database.fresh_database().await?;
    // Once for the tables, so that the start that is measured is an ordinary one.
    drop(place.start(&url, ONE).await?);
    let observer = postgres::Observer::connect(&url).await?;
    // The killed process still owns its shards by its last heartbeat; the start that is measured must not wait for that.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let server = place.start(&url, ONE).await?;
    report.set("start.milliseconds", server.started_in.as_secs_f64() * 1_000.0);
    tokio::time::sleep(Duration::from_secs(5)).await;
    report.set("memory.idle_mb", server.memory_mb()?);

    let target = serve_target().await?;
    let client = server.client(4).await?;
    for source in
        [flows::TWO_TASK.to_owned(), flows::worker_task(&target), flows::for_each(1_000), flows::for_each(10_000)]
    {
        client.apply_flow(source).await?;
    }

    load::one_at_a_time(&client, "two-task", 50).await?;
    let alone = load::one_at_a_time(&client, "two-task", 1_000).await?;
    report.set("two_task.p50_ms", alone.percentile(50.0));
    report.set("two_task.p99_ms", alone.percentile(99.0));

    load::full_load(&server, &client, "two-task", 400, Duration::from_secs(3)).await?;
    let before = observer.counters().await?;
    let two_task = load::full_load(&server, &client, "two-task", 400, Duration::from_secs(seconds)).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let after = observer.counters().await?;
    report.set("two_task.executions_per_second", two_task.per_second);
    report.set("two_task.rows_per_execution", (after.rows_written - before.rows_written) as f64 / two_task.ended);
    report.set("two_task.commits_per_execution", (after.commits - before.commits) as f64 / two_task.ended);
    report.set("two_task.ratio_to_pgbench", two_task.per_second / tps);
    report.set("memory.loaded_mb", server.memory_mb()?);

    observer.checkpoint().await?;
    let rate = two_task.per_second / 10.0;
    let steady = load::at_rate(&client, "two-task", rate, Duration::from_secs(seconds)).await?;
    println!("({} sampled of those created at {rate:.0}/s)", steady.len());
    report.set("two_task.p50_ms_at_10_percent", steady.percentile(50.0));
    report.set("two_task.p99_ms_at_10_percent", steady.percentile(99.0));

    let worker = load::full_load(&server, &client, "worker-task", 200, Duration::from_secs(seconds)).await?;
    report.set("worker_task.executions_per_second", worker.per_second);
    let worker = load::one_at_a_time(&client, "worker-task", 200).await?;
    report.set("worker_task.p50_ms", worker.percentile(50.0));
    report.set("worker_task.p99_ms", worker.percentile(99.0));

    let small = for_each(&client, 1_000).await?;
    report.set("foreach_1000.seconds", small);
    let large = for_each(&client, 10_000).await?;
    report.set("foreach_10000.seconds", large);
    report.set("foreach_10000.ratio_to_1000", large / small);
    Ok(())
}

/// Median of three runs, in seconds.
async fn for_each(client: &windhover_client::Client, iterations: u32) -> Result<f64> {
    let mut samples = Vec::new();
    for _ in 0..3 {
        let before = Instant::now();
        let created = client.create_execution(NewExecution::of(NAMESPACE, format!("foreach-{iterations}"))).await?;
        let ended = client.wait(&created.id, Some(Duration::from_secs(300))).await?;
        let state = ended.state.as_ref().map(|state| state.current());
        if state != Some(State::Success) {
            bail!("the loop of {iterations} ended {state:?}");
        }
        samples.push(before.elapsed().as_secs_f64());
    }
    samples.sort_by(f64::total_cmp);
    Ok(samples[1])
}

/// A server that answers at once, for tasks that need a worker.
async fn serve_target() -> Result<String> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let router = Router::new().route("/ok", get(|| async { "ok" }));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(format!("http://{address}/ok"))
}
