//! Jobs, requests and connections for the tests.
#![allow(dead_code, reason = "each test program uses its part")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use windhover_engine::{Job, JobResult, LogLine};
use windhover_flow::Flow;
use windhover_queue::{
    DEFAULT_GROUP, FlowResolver, Group, JobKey, LeasedJob, PopRequest, QueuedJob, RedisConfig, RedisQueue, Report,
    ReportKind,
};
use windhover_types::{Id, JsonMap, Level, State, Tenant, Timestamp};

pub(crate) const LEASE: Duration = Duration::from_secs(30);

/// Longer than anything takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const SHARDS: u16 = 4;

/// A prefix that no other test uses.
pub(crate) fn config(url: &str) -> RedisConfig {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let prefix = format!("test{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    // Many tests share few processors: what takes a second here is not away yet.
    RedisConfig { prefix, timeout: Duration::from_secs(10), ..RedisConfig::new(url, SHARDS) }
}

pub(crate) async fn connect(config: RedisConfig) -> RedisQueue {
    RedisQueue::connect(config, Arc::new(OneFlow)).await.expect("Redis is there")
}

/// Knows revision 1 of every flow; revision 2 was deleted; others cannot be found just now.
pub(crate) struct OneFlow;

#[async_trait]
impl FlowResolver for OneFlow {
    async fn flow(&self, _: &Tenant, _: &str, _: &str, revision: u32) -> Result<Option<Arc<Flow>>, String> {
        match revision {
            1 => Ok(Some(flow())),
            2 => Ok(None),
            _ => Err("the store is away".to_owned()),
        }
    }
}

pub(crate) fn flow() -> Arc<Flow> {
    let source = "{id: f, namespace: n, tasks: [{id: t, type: io.kestra.plugin.core.log.Log, message: hi}]}";
    Arc::new(windhover_flow::compile(source).expect("a valid flow"))
}

pub(crate) fn id(number: u32) -> Id {
    Id::derived(Timestamp::from_millis(1), &[&number.to_be_bytes()])
}

pub(crate) fn key(number: u32, dispatch: u32) -> JobKey {
    JobKey { task_run: id(number), dispatch }
}

pub(crate) fn job(tenant: &str, number: u32, dispatch: u32, group: Option<&str>) -> QueuedJob {
    QueuedJob {
        tenant: Tenant::trusted(tenant),
        shard: (number % u32::from(SHARDS)) as u16,
        execution: id(1_000_000),
        flow_revision: 1,
        flow: flow(),
        job: Job {
            task_run: id(number),
            task_id: "t".to_owned(),
            attempt: 0,
            dispatch,
            variables: JsonMap::new(),
            worker_group: group.map(str::to_owned),
            directory: None,
        },
        trigger_state: None,
        losses: 0,
        created_at: Timestamp::from_millis(1),
        trace_parent: None,
    }
}

pub(crate) fn jobs(tenant: &str, numbers: impl IntoIterator<Item = u32>) -> Vec<QueuedJob> {
    // One flow for all: what a real queue holds.
    let first = job(tenant, 0, 1, None);
    let with = |number: u32| {
        let mut job = first.clone();
        job.job.task_run = id(number);
        job.shard = (number % u32::from(SHARDS)) as u16;
        job
    };
    numbers.into_iter().map(with).collect()
}

pub(crate) fn request(worker: &str, max: usize) -> PopRequest {
    let (groups, worker) = (vec![Group::from(DEFAULT_GROUP)], worker.to_owned());
    PopRequest { groups, worker, max, lease: LEASE, wait: Duration::ZERO }
}

pub(crate) fn keys(leased: &[LeasedJob]) -> Vec<JobKey> {
    leased.iter().map(|leased| leased.job.key()).collect()
}

/// A result with a line and some output.
pub(crate) fn report(number: u32, output: &str) -> Report {
    let at = Timestamp::from_millis(5);
    let line = LogLine {
        at,
        level: Level::Info,
        message: "done".to_owned(),
        task_id: Some("t".to_owned()),
        task_run_id: Some(id(number)),
        attempt: Some(0),
    };
    let result = JobResult {
        worker: Some("w".to_owned()),
        outputs: Some(output.into()),
        logs: vec![line],
        ..JobResult::bare(at, State::Success)
    };
    Report {
        tenant: Tenant::main(),
        shard: (number % u32::from(SHARDS)) as u16,
        execution: id(1_000_000),
        key: key(number, 1),
        worker: "w".to_owned(),
        kind: ReportKind::Ended { result: Box::new(result) },
    }
}
