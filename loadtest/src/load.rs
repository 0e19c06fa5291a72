//! Load and what comes back: latencies one at a time and at a rate, executions per second at full load.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use futures::{StreamExt, stream};
use windhover_client::{
    Client, NewExecution,
    v1::{State, follow_execution_response::Event},
};

use crate::{flows::NAMESPACE, server::Server};

/// Latencies of one scenario.
#[derive(Debug)]
pub(crate) struct Latencies(Vec<Duration>);

impl Latencies {
    pub(crate) fn new(mut samples: Vec<Duration>) -> Self {
        samples.sort();
        Self(samples)
    }

    /// In milliseconds.
    pub(crate) fn percentile(&self, percent: f64) -> f64 {
        let last = self.0.len().saturating_sub(1);
        let index = ((percent / 100.0) * self.0.len() as f64).ceil() as usize;
        self.0.get(index.saturating_sub(1).min(last)).map_or(f64::NAN, |sample| sample.as_secs_f64() * 1_000.0)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Creates an execution and follows it to its end; the time from the call to the end at the client.
pub(crate) async fn run_one(client: &Client, flow: &str) -> Result<Duration> {
    let before = Instant::now();
    let created = client.create_execution(NewExecution::of(NAMESPACE, flow)).await?;
    let mut follow = client.follow(created.id.clone());
    while let Some(message) = follow.next().await {
        if let Some(Event::End(end)) = message?.event {
            let took = before.elapsed();
            if end.state() != State::Success {
                bail!("execution {} of {flow} ended {:?}", created.id, end.state());
            }
            return Ok(took);
        }
    }
    bail!("following {} ended before the execution did", created.id)
}

/// One after another.
pub(crate) async fn one_at_a_time(client: &Client, flow: &str, count: usize) -> Result<Latencies> {
    let mut samples = Vec::with_capacity(count);
    for _ in 0..count {
        samples.push(run_one(client, flow).await?);
    }
    Ok(Latencies::new(samples))
}

/// At a fixed rate, whatever the server does (an open loop): late answers do not slow the load down. One of `SAMPLED`
/// executions is followed to its end; the others are only created.
pub(crate) async fn at_rate(
    client: &Client,
    flow: &'static str,
    per_second: f64,
    duration: Duration,
) -> Result<Latencies> {
    const SAMPLED: u64 = 10;
    let mut tick = tokio::time::interval(Duration::from_secs_f64(1.0 / per_second));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
    let end = Instant::now() + duration;
    let mut running = tokio::task::JoinSet::new();
    let mut number = 0;
    while Instant::now() < end {
        tick.tick().await;
        let client = client.clone();
        let sampled = number % SAMPLED == 0;
        number += 1;
        running.spawn(async move {
            if sampled {
                return run_one(&client, flow).await.map(Some);
            }
            client.create_execution(NewExecution::of(NAMESPACE, flow)).await?;
            Ok(None)
        });
    }
    let mut samples = Vec::new();
    while let Some(outcome) = running.join_next().await {
        samples.extend(outcome.context("a call of the load broke")??);
    }
    Ok(Latencies::new(samples))
}

/// What full load gave.
pub(crate) struct Throughput {
    pub(crate) per_second: f64,
    pub(crate) ended: f64,
}

/// Executions that are open at most: creators that are far ahead of the ends would measure the queue, not the system.
const OPEN: f64 = 5_000.0;

/// As many creates at a time as `concurrency`; ends are counted by the server and the last ones waited for.
pub(crate) async fn full_load(
    server: &Server,
    client: &Client,
    flow: &'static str,
    concurrency: usize,
    duration: Duration,
) -> Result<Throughput> {
    let before = server.ended(flow).await?;
    let stop = AtomicBool::new(false);
    let is_ahead = AtomicBool::new(false);
    let created = AtomicU64::new(0);
    let count = || created.load(Ordering::Relaxed) as f64;
    let started = Instant::now();
    let creators = stream::iter(0..concurrency).for_each_concurrent(None, |_| async {
        while !stop.load(Ordering::Relaxed) {
            if is_ahead.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
            match client.create_execution(NewExecution::of(NAMESPACE, flow)).await {
                Ok(_) => {
                    created.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => {
                    eprintln!("a create failed: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    });
    let clock = async {
        while started.elapsed() < duration {
            tokio::time::sleep(Duration::from_millis(200)).await;
            if let Ok(ended) = server.ended(flow).await {
                is_ahead.store(count() - (ended - before) > OPEN, Ordering::Relaxed);
            }
        }
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(creators, clock);
    let created = count();
    let deadline = Instant::now() + Duration::from_secs(120);
    let mut ended = server.ended(flow).await? - before;
    while ended < created {
        if Instant::now() > deadline {
            bail!("{ended} of {created} executions of {flow} ended");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        ended = server.ended(flow).await? - before;
    }
    Ok(Throughput { per_second: ended / started.elapsed().as_secs_f64(), ended })
}
