//! Separate processes: rate and latency, fairness between tenants, take-over, rest, and what waits in Redis.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tokio::time::{Instant, sleep};
use windhover_client::{Client, NewExecution, admin::v1::CreateTenantRequest, v1::BatchCreateExecutionsRequest};
use windhover_testkit::{Redis, Role};

use crate::{
    flows::{self, NAMESPACE},
    load,
    postgres::Observer,
    redis,
    report::Report,
    scenario::Place,
    server::{SEPARATE, Server},
};

/// Executions that the flooding tenant starts.
const FLOOD: usize = 100_000;
/// Of one call at most.
const BATCH: usize = 1_000;

pub(crate) async fn measure(place: &Place, seconds: u64, report: &mut Report) -> Result<()> {
    rest(place, report).await?;
    let url = place.database.fresh_database().await?;
    let server = place.start(&url, SEPARATE).await?;
    let client = server.client(4).await?;
    client.apply_flow(flows::TWO_TASK).await?;
    load::one_at_a_time(&client, "two-task", 50).await?;
    let alone = load::one_at_a_time(&client, "two-task", 1_000).await?;
    report.set("cluster.p50_ms", alone.percentile(50.0));
    report.set("cluster.p99_ms", alone.percentile(99.0));
    load::full_load(&server, &client, "two-task", 400, Duration::from_secs(3)).await?;
    let load = load::full_load(&server, &client, "two-task", 400, Duration::from_secs(seconds)).await?;
    report.set("cluster.executions_per_second", load.per_second);
    report.set("cluster.memory_loaded_mb", server.memory_mb()?);
    let observer = Observer::connect(&url).await?;
    observer.checkpoint().await?;
    fairness(&server, &client, report).await?;
    takeover(&server, &client, &observer, report).await?;
    drop(server);
    waiting(place, report).await
}

/// Fairness between tenants, on a cluster that has done nothing else.
pub(crate) async fn fairness_alone(place: &Place, report: &mut Report) -> Result<()> {
    let server = place.start(&place.database.fresh_database().await?, SEPARATE).await?;
    let client = server.client(4).await?;
    client.apply_flow(flows::TWO_TASK).await?;
    fairness(&server, &client, report).await
}

/// Five processes that have nothing to do.
async fn rest(place: &Place, report: &mut Report) -> Result<()> {
    const FIVE: &[Role] = &[Role::Gateway, Role::Executor, Role::Executor, Role::Worker, Role::Scheduler];
    const LOOKED: Duration = Duration::from_secs(30);
    let server = place.start(&place.database.fresh_database().await?, FIVE).await?;
    sleep(Duration::from_secs(10)).await;
    let before = server.processor_time()?;
    sleep(LOOKED).await;
    let spent = server.processor_time()? - before;
    report.set("cluster.idle_mb", server.memory_mb()?);
    report.set("cluster.idle_percent_of_a_core", spent.as_secs_f64() / LOOKED.as_secs_f64() * 100.0);
    Ok(())
}

/// Another tenant's executions, one at a time, before and while one tenant floods.
async fn fairness(server: &Server, flooding: &Client, report: &mut Report) -> Result<()> {
    let request = CreateTenantRequest { tenant_id: "quiet".to_owned(), ..CreateTenantRequest::default() };
    flooding.create_tenant(request).await?;
    let quiet = server.client_of("quiet", 1).await?;
    quiet.apply_flow(flows::TWO_TASK).await?;
    load::one_at_a_time(&quiet, "two-task", 100).await?;
    let before = load::one_at_a_time(&quiet, "two-task", 1_000).await?;
    let ended = server.ended("two-task").await?;
    let created = Arc::new(AtomicUsize::new(0));
    let flood = tokio::spawn(flood(flooding.clone(), "two-task", FLOOD, Arc::clone(&created)));
    let (starting, over) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
    let meanwhile = tokio::spawn({
        let (quiet, starting, over) = (quiet.clone(), Arc::clone(&starting), Arc::clone(&over));
        async move {
            let mut samples = Vec::new();
            let mut while_starting = 0;
            while !over.load(Ordering::Relaxed) {
                samples.push(load::run_one(&quiet, "two-task").await?);
                if starting.load(Ordering::Relaxed) {
                    while_starting = samples.len();
                }
            }
            anyhow::Ok((samples, while_starting))
        }
    });
    let begun = Instant::now();
    flood.await.context("the flood broke")??;
    starting.store(false, Ordering::Relaxed);
    // Some of those that end are the quiet tenant's; they are few.
    while server.ended("two-task").await? - ended < FLOOD as f64 {
        if begun.elapsed() > Duration::from_secs(300) {
            bail!("the flood did not end");
        }
        sleep(Duration::from_millis(100)).await;
    }
    report.set("fairness.flood_seconds", begun.elapsed().as_secs_f64());
    over.store(true, Ordering::Relaxed);
    let (samples, while_starting) = meanwhile.await.context("the quiet tenant broke")??;
    let (early, late) = samples.split_at(while_starting);
    for (name, part) in [("is created", early), ("runs", late)] {
        let part = load::Latencies::new(part.to_vec());
        let (p50, p90, p99) = (part.percentile(50.0), part.percentile(90.0), part.percentile(99.0));
        println!(
            "({} executions of the quiet tenant while the flood {name}: {p50:.1}, {p90:.1}, {p99:.1} ms)",
            part.len()
        );
    }
    let meanwhile = load::Latencies::new(samples);
    report.set("fairness.quiet_p99_ms", before.percentile(99.0));
    report.set("fairness.flooded_p50_ms", meanwhile.percentile(50.0));
    report.set("fairness.flooded_p99_ms", meanwhile.percentile(99.0));
    report.set("fairness.p99_ratio", meanwhile.percentile(99.0) / before.percentile(99.0));
    Ok(())
}

/// Starts so many as fast as they are taken, a thousand in a call.
async fn flood(client: Client, flow: &'static str, count: usize, created: Arc<AtomicUsize>) -> Result<()> {
    const AT_ONCE: usize = 8;
    let batch = BATCH.min(count);
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..AT_ONCE {
        let (client, created) = (client.clone(), Arc::clone(&created));
        calls.spawn(async move {
            while created.fetch_add(batch, Ordering::Relaxed) < count {
                let one = || NewExecution::of(NAMESPACE, flow).into();
                let requests = std::iter::repeat_with(one).take(batch).collect();
                let answer = client.batch_create_executions(BatchCreateExecutionsRequest { requests }).await?;
                let refused = answer.results.iter().filter(|result| is_refused(result)).count();
                anyhow::ensure!(refused == 0, "{refused} executions of a batch were refused");
            }
            Ok(())
        });
    }
    while let Some(call) = calls.join_next().await {
        call.context("a call of the flood broke")??;
    }
    Ok(())
}

fn is_refused(result: &windhover_client::v1::BatchCreateExecutionsResult) -> bool {
    use windhover_client::v1::batch_create_executions_result::Outcome;
    matches!(result.outcome, None | Some(Outcome::Error(_)))
}

/// From `kill -9` of an executor until every shard that it owned moves on. All shards have executions that change each
/// half second.
async fn takeover(server: &Server, client: &Client, observer: &Observer, report: &mut Report) -> Result<()> {
    const PATIENCE: Duration = Duration::from_secs(60);
    /// A few in each shard.
    const TICKING: usize = 300;
    client.apply_flow(flows::ticking(240)).await?;
    flood(client.clone(), "ticking", TICKING, Arc::default()).await?;
    let first = observer.shards().await?;
    sleep(Duration::from_secs(3)).await;
    let before = observer.shards().await?;
    let ticks = |shard: &i64| first.get(shard).zip(before.get(shard)).is_some_and(|(then, now)| then.1 < now.1);
    let victim = &server.cluster.first(Role::Executor)?.process;
    victim.kill()?;
    let killed = Instant::now();
    // The first change that is seen of each shard, with its owner then.
    let mut moved: HashMap<i64, Duration> = HashMap::new();
    let mut last = observer.shards().await?;
    let mut still: Option<Vec<i64>> = None;
    while still.as_ref().is_none_or(|shards| !shards.is_empty()) {
        if killed.elapsed() > PATIENCE {
            bail!("nobody has taken over all of {still:?} within {PATIENCE:?}");
        }
        sleep(Duration::from_millis(20)).await;
        let now = observer.shards().await?;
        let owner_changed = |shard: &i64| before.get(shard).map(|row| &row.0) != now.get(shard).map(|row| &row.0);
        for (shard, (_, seq)) in &now {
            if owner_changed(shard) && last.get(shard).is_some_and(|(_, before)| before < seq) {
                moved.entry(*shard).or_insert_with(|| killed.elapsed());
            }
        }
        let taken: Vec<i64> = now.keys().copied().filter(owner_changed).collect();
        // Owners change over some time; the victim's shards are those that somebody else has in the end.
        let complete = !taken.is_empty() && now.values().all(|(owner, _)| owner.is_some());
        still = complete.then(|| taken.into_iter().filter(ticks).filter(|shard| !moved.contains_key(shard)).collect());
        last = now;
    }
    let slowest = moved.values().max().copied().unwrap_or_default();
    println!("({} shards were taken over)", moved.len());
    report.set("takeover.seconds", slowest.as_secs_f64());
    victim.start().await
}

/// What Redis holds while executions wait for a worker that is not there.
async fn waiting(place: &Place, report: &mut Report) -> Result<()> {
    const STEP: usize = 50_000;
    const MILLION: f64 = 1_000_000.0;
    let redis = Redis::start().await?;
    let url = place.database.fresh_database().await?;
    let server = Server::start(
        &place.binary,
        &url,
        &redis.url(),
        &place.folder,
        &[Role::Gateway, Role::Executor, Role::Executor],
    )
    .await?;
    let client = server.client(4).await?;
    client.apply_flow(flows::worker_task("http://127.0.0.1:9/nobody")).await?;
    let observer = Observer::connect(&url).await?;
    let empty = redis::memory_mb(&redis).await?;
    let mut used = Vec::new();
    for step in 1..=2 {
        flood(client.clone(), "worker-task", STEP, Arc::default()).await?;
        // All of them have come to their first task.
        let patience = Instant::now();
        while observer.waiting().await? < (STEP * step) as i64 {
            anyhow::ensure!(patience.elapsed() < Duration::from_secs(180), "not all executions have begun to wait");
            sleep(Duration::from_millis(200)).await;
        }
        used.push(redis::memory_mb(&redis).await? - empty);
    }
    let per_execution = ((used[1] - used[0]) / STEP as f64).max(0.0);
    report.set("redis.mb_with_50000_waiting", used[0]);
    report.set("redis.mb_with_100000_waiting", used[1]);
    report.set("redis.mb_with_a_million_waiting", used[1] + per_execution * (MILLION - 2.0 * STEP as f64));
    report.note("redis.mb_with_a_million_waiting.note", "straight line through 50,000 and 100,000 waiting executions");
    Ok(())
}
