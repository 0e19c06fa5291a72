//! Load and what comes back: latencies one at a time and at a rate, executions per second at full load.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
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

/// As many creates at a time as `concurrency`; ends are counted by the server and the last ones waited for.
pub(crate) async fn full_load(
    server: &Server,
    client: &Client,
    flow: &'static str,
    concurrency: usize,
    duration: Duration,
) -> Result<Throughput> {
    let before = server.ended(flow).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let created = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    let creators = stream::iter(0..concurrency).for_each_concurrent(None, |_| {
        let (client, stop, created) = (client.clone(), Arc::clone(&stop), Arc::clone(&created));
        async move {
            while !stop.load(Ordering::Relaxed) {
                match client.create_execution(NewExecution::of(NAMESPACE, flow)).await {
                    Ok(_) => created.fetch_add(1, Ordering::Relaxed),
                    Err(error) => {
                        eprintln!("a create failed: {error}");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        continue;
                    }
                };
                // A creator that is far ahead of the ends would measure the queue, not the system.
                if created.load(Ordering::Relaxed) % 4_096 == 0 {
                    hold_back(server, flow, before, &created, &stop).await;
                }
            }
        }
    });
    let clock = async {
        tokio::time::sleep(duration).await;
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(creators, clock);
    let created = created.load(Ordering::Relaxed) as f64;
    let deadline = Instant::now() + Duration::from_secs(600);
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

/// Waits while more than 5,000 executions are open.
async fn hold_back(server: &Server, flow: &str, before: f64, created: &AtomicU64, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        match server.ended(flow).await {
            Ok(now) if created.load(Ordering::Relaxed) as f64 - (now - before) > 5_000.0 => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            _ => return,
        }
    }
}
