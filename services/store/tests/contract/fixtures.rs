//! Valid things, of which a test changes what it is about.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use windhover_engine::{
    Attempt, Execution, Frame, LogLine, MetricKind, ParentLink, TaskMetric, TaskRun, Timer, TriggerInfo,
};
use windhover_store::{
    Batch, FeedEntry, FeedRow, Fence, InboxMessage, InboxRow, JobRow, LogRow, MetricRow, Registration, Store,
    TaskRunRow, TimerRow,
};
use windhover_types::{Id, Label, Level, State, StateHistory, Tenant, Timestamp, shard_of};

pub(crate) const SHARDS: u16 = 4;

pub(crate) fn t(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + millis)
}

/// The `n`th id of a kind; later ones sort later.
pub(crate) fn id(kind: &str, n: u32) -> Id {
    Id::derived(t(i64::from(n)), &[kind.as_bytes(), &n.to_be_bytes()])
}

pub(crate) fn acme() -> Tenant {
    Tenant::main()
}

pub(crate) async fn globex(store: &Store) -> anyhow::Result<Tenant> {
    let tenant = Tenant::parse("globex").map_err(|error| anyhow::anyhow!(error))?;
    store.create_tenant(&tenant, t(0)).await?;
    Ok(tenant)
}

/// A running execution with something in every field.
pub(crate) fn execution(tenant: &Tenant, n: u32) -> Execution {
    let mut state = StateHistory::new(State::Created, t(i64::from(n)));
    state.set(State::Running, t(i64::from(n) + 1));
    let object = |value: serde_json::Value| value.as_object().cloned().unwrap_or_default();
    Execution {
        tenant: tenant.clone(),
        id: id("execution", n),
        namespace: "company.team".to_owned(),
        flow_id: "orders".to_owned(),
        flow_revision: 3,
        state,
        labels: vec![Label::new("team", "a \"quoted\" 'label'"), Label::new("n", n.to_string())],
        inputs: Arc::new(object(json!({"day": "2024-01-01", "nul": "a\u{0}b", "big": 12345678901234567890_u64}))),
        outputs: None,
        variables: Some(Arc::new(object(json!({"v": [1, null, "x"]})))),
        trigger: Some(TriggerInfo {
            id: "on-failure".to_owned(),
            type_name: "flow".to_owned(),
            variables: object(json!({"executionId": id("cause", n % 2).to_string()})),
        }),
        parent: Some(ParentLink {
            execution_id: id("parent", n % 3),
            task_run_id: id("parent-run", n),
            wait: true,
            item: None,
        }),
        original_id: id("original", n),
        schedule_time: Some(t(500)),
        error: None,
        frame: Frame { started: 2, open: 1, ..Default::default() },
        kill_requested: false,
        marks: Default::default(),
        version: 1,
        trace_parent: Some("00-11-22-01".to_owned()),
    }
}

pub(crate) fn ended(mut execution: Execution, state: State) -> Execution {
    let at = execution.state.last().at.plus(Duration::from_millis(7));
    execution.state.set(state, at);
    execution.outputs = Some(serde_json::Map::from_iter([("out".to_owned(), json!(1.5))]));
    execution
}

pub(crate) fn task_run(execution: &Execution, seq: u32, state: State) -> TaskRunRow {
    let at = t(i64::from(seq));
    let mut history = StateHistory::new(State::Created, at);
    history.set(State::Running, at.plus(Duration::from_millis(1)));
    history.set(state, at.plus(Duration::from_millis(2)));
    TaskRunRow {
        tenant: execution.tenant.clone(),
        execution: execution.id,
        run: TaskRun {
            id: Id::derived(at, &[b"run", execution.id.as_bytes(), &seq.to_be_bytes()]),
            task_id: if seq.is_multiple_of(2) { "even" } else { "odd" }.to_owned(),
            seq,
            parent_id: (seq > 0).then(|| id("run-parent", seq)),
            value: Some("a\u{0}\"b".to_owned()),
            iteration: Some(seq),
            value_path: vec!["x".to_owned(), "a\u{0}\"b".to_owned()],
            state: history.clone(),
            attempts: vec![Attempt {
                state: history,
                dispatch: 2,
                worker: Some("w".to_owned()),
                error: Some("no\u{0}".to_owned()),
            }],
            outputs: Some(Arc::new(json!({"value": "\u{0}", "list": [1, 2]}))),
            frame: Some(Frame::default()),
            opened: Some(Arc::new(windhover_engine::Opened::ForEach { values: vec!["1".to_owned()] })),
            dispatch: 2,
            child_execution: Some(id("child", seq)),
            version: 1,
        },
    }
}

pub(crate) fn log(execution: &Execution, position: i64, level: Level, message: &str) -> LogRow {
    LogRow {
        tenant: execution.tenant.clone(),
        namespace: execution.namespace.clone(),
        flow_id: execution.flow_id.clone(),
        execution: execution.id,
        position,
        line: LogLine {
            at: t(1_000 + position),
            level,
            message: message.to_owned(),
            task_id: Some("even".to_owned()),
            task_run_id: Some(id("line-run", 1)),
            attempt: Some(0),
        },
    }
}

pub(crate) fn metric(execution: &Execution) -> MetricRow {
    MetricRow {
        tenant: execution.tenant.clone(),
        namespace: execution.namespace.clone(),
        flow_id: execution.flow_id.clone(),
        execution: execution.id,
        metric: TaskMetric {
            task_run_id: id("run", 1),
            task_id: "even".to_owned(),
            name: "bytes".to_owned(),
            kind: MetricKind::Counter,
            value: 12.5,
            tags: vec![("format".to_owned(), "json".to_owned())],
            at: t(3),
        },
    }
}

pub(crate) fn shard(execution: &Execution) -> u16 {
    shard_of(&execution.tenant, execution.id, SHARDS)
}

pub(crate) fn timer(execution: &Execution, millis: i64) -> TimerRow {
    TimerRow {
        shard: shard(execution),
        tenant: execution.tenant.clone(),
        execution: execution.id,
        timer: Timer::Retry { task_run: id("run", 1), attempt: 1 },
        at: t(millis),
    }
}

pub(crate) fn job(execution: &Execution, dispatch: u32, millis: i64) -> JobRow {
    JobRow {
        shard: shard(execution),
        tenant: execution.tenant.clone(),
        execution: execution.id,
        task_run: id("run", 1),
        dispatch,
        worker_group: None,
        deadline: t(millis),
        losses: 0,
        worker: None,
    }
}

pub(crate) fn message(execution: &Execution, n: u32) -> InboxRow {
    InboxRow {
        id: id("message", n),
        shard: shard(execution),
        tenant: execution.tenant.clone(),
        execution: execution.id,
        message: InboxMessage::Created,
    }
}

pub(crate) fn feed(execution: &Execution, seq: i64) -> FeedRow {
    FeedRow {
        shard: shard(execution),
        seq,
        tenant: execution.tenant.clone(),
        at: t(seq),
        entries: vec![FeedEntry {
            execution: execution.id,
            namespace: execution.namespace.clone(),
            flow_id: execution.flow_id.clone(),
            states: vec![State::Running],
            task_runs: vec![id("run", 1)],
            next_log: 3,
        }],
    }
}

/// A registered instance that owns all shards.
pub(crate) async fn owner(store: &Store) -> anyhow::Result<Fence> {
    let instance = id("instance", 1);
    store.register_instance(&Registration { id: instance, host: "here".to_owned(), exclusive: true }).await?;
    let claim = store.claim_shards(instance, None).await?;
    assert_eq!(claim.shards.len(), usize::from(SHARDS));
    Ok(claim.fence)
}

/// A batch of new executions.
pub(crate) fn created(executions: impl IntoIterator<Item = Execution>) -> Batch {
    Batch { new_executions: executions.into_iter().collect(), ..Default::default() }
}

pub(crate) fn all_shards() -> Vec<u16> {
    (0..SHARDS).collect()
}
