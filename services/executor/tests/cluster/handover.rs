//! Processes that are executor and worker in one, on one Redis: jobs go by memory to workers with free slots, and shards
//! change hands all the same.

use std::{collections::HashSet, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use windhover_engine::Event;
use windhover_executor::{Flows, Membership, now};
use windhover_queue::{
    InProcessJobs, JobKey, JobQueue, JobsConfig, LeasedJob, PopRequest, RedisConfig, RedisQueue, Renewal, ReportKind,
    TieredJobs,
};
use windhover_testkit::{Redis, wait_until};
use windhover_types::State;

use crate::{
    jobs::ended,
    support::{CALL, Installation, PATIENCE, Peer, SHARDS, shares},
};

/// As long as a worker's; renewed far more often, so that the test has not to wait for it.
const LEASE: Duration = Duration::from_secs(30);
const RENEWED: Duration = Duration::from_millis(100);
const SLOTS: usize = 8;

/// A process: an executor, and a worker that takes jobs and does not end them by itself.
struct Node {
    peer: Peer,
    jobs: TieredJobs,
    name: &'static str,
    taken: Arc<Mutex<Vec<LeasedJob>>>,
    lost: Arc<Mutex<HashSet<JobKey>>>,
    worker: Vec<JoinHandle<()>>,
}

impl Node {
    async fn start(installation: &Installation, redis: &Redis, name: &'static str) -> Result<Self> {
        let store = installation.test.another(name).await?;
        let flows = Flows::load(store.clone()).await?;
        let config = RedisConfig { timeout: Duration::from_secs(10), ..RedisConfig::new(redis.url(), SHARDS) };
        let queue = RedisQueue::connect(config, Arc::new(flows.clone())).await?;
        let jobs = TieredJobs::new(InProcessJobs::new(JobsConfig::default()), queue.jobs());
        let parts = (store, flows);
        let peer = installation.executor_with(name, Membership::Member, parts, Arc::new(jobs.clone())).await?;
        let (taken, lost) = (Arc::<Mutex<Vec<LeasedJob>>>::default(), Arc::<Mutex<HashSet<JobKey>>>::default());
        let take = {
            let (jobs, taken) = (jobs.clone(), Arc::clone(&taken));
            async move {
                loop {
                    let max = SLOTS.saturating_sub(taken.lock().len());
                    let groups = vec!["".into()];
                    let request = PopRequest { groups, worker: name.to_owned(), max, lease: LEASE, wait: PATIENCE };
                    let more = jobs.pop(request).await.unwrap_or_default();
                    taken.lock().extend(more);
                    tokio::task::yield_now().await;
                }
            }
        };
        let renew = {
            let (jobs, taken, lost) = (jobs.clone(), Arc::clone(&taken), Arc::clone(&lost));
            async move {
                loop {
                    tokio::time::sleep(RENEWED).await;
                    let keys: Vec<JobKey> = taken.lock().iter().map(|leased| leased.job.key()).collect();
                    if let Ok(renewals) = jobs.renew(name, &keys, LEASE).await {
                        let gone = keys.iter().zip(renewals).filter(|(_, renewal)| *renewal == Renewal::Lost);
                        lost.lock().extend(gone.map(|(key, _)| *key));
                    }
                }
            }
        };
        let worker = vec![tokio::spawn(take), tokio::spawn(renew)];
        Ok(Self { peer, jobs, name, taken, lost, worker })
    }

    /// Its worker waits for jobs: from now on they go to it by memory.
    async fn waits(&self) -> Result<()> {
        wait_until("the worker to wait", PATIENCE, async || (self.jobs.free_slots("") > 0).then_some(())).await
    }

    async fn holds(&self, count: usize) -> Result<()> {
        let what = format!("{} to hold {count} jobs", self.name);
        wait_until(&what, PATIENCE, async || (self.taken.lock().len() == count).then_some(())).await
    }

    fn held(&self) -> Vec<JobKey> {
        self.taken.lock().iter().map(|leased| leased.job.key()).collect()
    }

    /// Takes one that it holds, to be ended.
    fn next(&self) -> Option<LeasedJob> {
        self.taken.lock().pop()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.worker.iter().for_each(JoinHandle::abort);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_in_the_memory_of_one_process_go_on_when_another_owns_their_shards() -> Result<()> {
    let (installation, redis) = (Installation::new().await?, Redis::start().await?);
    let tenant = installation.tenant.clone();
    let first = Node::start(&installation, &redis, "first").await?;
    shares(&[(&first.peer, 4)]).await?;
    first.peer.apply(&tenant, &[CALL]).await?;
    first.waits().await?;
    for at in 1..=6 {
        first.peer.handle.create(installation.request("call")).await?;
        first.holds(at).await?;
    }
    let begun: Vec<LeasedJob> = first.taken.lock().iter().step_by(2).map(copy).collect();
    for leased in &begun {
        installation.report(leased, ReportKind::Started { at: now() }).await?;
    }

    let second = Node::start(&installation, &redis, "second").await?;
    shares(&[(&first.peer, 2), (&second.peer, 2)]).await?;
    ensure!(first.peer.executor.drain(PATIENCE).await, "the first one keeps shards");
    shares(&[(&first.peer, 0), (&second.peer, 4)]).await?;
    let keys = first.held();
    let known = wait_until("the new owner to know who holds what", PATIENCE, async || {
        second.jobs.held(&keys).await.is_ok_and(|held| held.iter().all(|held| *held)).then_some(())
    });
    known.await?;

    // A wish of the new owner reaches the old process, whose worker has it in memory.
    let mut hints = first.jobs.kill_hints(first.name).await?;
    let killed = begun.first().context("one that has begun")?.job.clone();
    second.peer.handle.act(&tenant, killed.execution, Event::Kill, None).await?;
    let hint = tokio::time::timeout(PATIENCE, hints.recv()).await.context("no hint")?;
    ensure!(hint == Some(killed.key()), "{hint:?}");

    let mut ids = Vec::new();
    while let Some(leased) = first.next() {
        let state = if leased.job.key() == killed.key() { State::Killed } else { State::Success };
        installation.report(&leased, ended(state)).await?;
        ensure!(first.jobs.complete(first.name, leased.job.key()).await?, "the lease was somebody else's");
        ids.push((leased.job.execution, leased.job.job.task_run, state));
    }
    ensure!(ids.len() == 6);
    for (execution, task_run, state) in ids {
        let found = installation.ended(execution).await?;
        ensure!(found.current() == state, "{found:#?}");
        let run = installation.test.store.get_task_run(&tenant, execution, task_run).await?.context("its task run")?;
        ensure!(run.attempts.len() == 1 && run.dispatch == 1, "it was handed out again: {run:#?}");
    }
    ensure!(first.lost.lock().is_empty(), "leases were lost: {:?}", first.lost.lock());
    ensure!(second.held().is_empty(), "a second worker was given what the first one had");
    let left = second.jobs.depths().await?;
    ensure!(left.iter().all(|depth| depth.leased == 0 && depth.waiting == 0), "left in Redis: {left:?}");
    installation.is_tidy().await?;

    // The new owner's own worker gets what comes now, by memory as well.
    second.waits().await?;
    second.peer.flows.sync(&tenant).await?;
    second.peer.handle.create(installation.request("call")).await?;
    second.holds(1).await?;
    Ok(())
}

fn copy(leased: &LeasedJob) -> LeasedJob {
    LeasedJob { job: leased.job.clone(), kill: leased.kill }
}
