//! Measures what the database's part of an execution costs: `cargo run --release -p windhover-store --example batches`.
//!
//! Commits batches of executions that are created and ended at once, each with two task runs and a log line, to a
//! Postgres server with production's durability (or to SQLite, with the argument `sqlite`), one batch after another.

use std::{sync::Arc, time::Instant};

use serde_json::json;
use windhover_engine::{Attempt, Execution, Frame, LogLine, TaskRun};
use windhover_store::{Batch, FeedEntry, FeedRow, LogRow, Registration, Store, StoreOptions, TaskRunRow};
use windhover_testkit::Postgres;
use windhover_types::{DEFAULT_SHARDS, Id, Label, Level, State, StateHistory, Tenant, Timestamp, shard_of};

const SIZES: [u32; 4] = [1, 10, 50, 500];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let sqlite = std::env::args().any(|argument| argument == "sqlite");
    let folder = std::env::temp_dir().join(format!("windhover-batches-{}.db", std::process::id()));
    let server = if sqlite { None } else { Some(Postgres::start().await?) };
    let url = match &server {
        Some(server) => server.fresh_database().await?,
        None => format!("sqlite:{}", folder.display()),
    };
    let store = Store::connect(&url, StoreOptions::default()).await?;
    store.migrate().await?;
    store.number_of_shards(None).await?;
    let instance = Id::new(Timestamp::from_millis(1), [1; 10]);
    store.register_instance(&Registration { id: instance, host: "example".to_owned(), exclusive: true }).await?;
    let fence = store.claim_shards(instance, None).await?.fence;
    let mut next = 0;
    let mut positions = vec![0; usize::from(DEFAULT_SHARDS)];
    println!("{} {}", store.backend().as_str(), store.version().await?);
    for size in SIZES {
        let batches: Vec<Batch> =
            (0..(20_000 / size).clamp(20, 400)).map(|_| batch(&mut next, size, &mut positions)).collect();
        let (count, begin) = (batches.len(), Instant::now());
        for batch in &batches {
            store.commit(&fence, batch).await?;
        }
        let took = begin.elapsed();
        let executions = count as u32 * size;
        println!(
            "{size:>4} to a batch: {:>7.0} executions/s, {:>6.2} ms a batch, {:>5.0} µs an execution",
            f64::from(executions) / took.as_secs_f64(),
            took.as_secs_f64() * 1e3 / count as f64,
            took.as_secs_f64() * 1e6 / f64::from(executions),
        );
    }
    store.close().await;
    if sqlite {
        for end in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{end}", folder.display()));
        }
    }
    Ok(())
}

fn batch(next: &mut u32, size: u32, positions: &mut [i64]) -> Batch {
    let mut batch = Batch::default();
    for n in *next..*next + size {
        let (execution, runs, line) = finished(n);
        let shard = shard_of(&execution.tenant, execution.id, DEFAULT_SHARDS);
        let entry = FeedEntry {
            execution: execution.id,
            namespace: execution.namespace.clone(),
            flow_id: execution.flow_id.clone(),
            states: vec![State::Created, State::Running, State::Success],
            task_runs: runs.iter().map(|row| row.run.id).collect(),
            next_log: 1,
        };
        match batch.feed.iter_mut().find(|row| row.shard == shard) {
            Some(row) => row.entries.push(entry),
            None => {
                positions[usize::from(shard)] += 1;
                let seq = positions[usize::from(shard)];
                let at = execution.state.started();
                batch.feed.push(FeedRow { shard, seq, tenant: execution.tenant.clone(), at, entries: vec![entry] });
            }
        }
        batch.new_executions.push(execution);
        batch.task_runs.extend(runs);
        batch.logs.push(line);
    }
    *next += size;
    batch
}

fn finished(n: u32) -> (Execution, [TaskRunRow; 2], LogRow) {
    let at = Timestamp::from_millis(1_700_000_000_000 + i64::from(n));
    let id = Id::derived(at, &[b"execution", &n.to_be_bytes()]);
    let mut state = StateHistory::new(State::Created, at);
    state.set(State::Running, at);
    state.set(State::Success, at);
    let execution = Execution {
        tenant: Tenant::main(),
        id,
        namespace: "company.team".to_owned(),
        flow_id: "two_tasks".to_owned(),
        flow_revision: 1,
        state: state.clone(),
        labels: vec![Label::new(Label::CORRELATION_ID, id.to_string())],
        inputs: Arc::default(),
        outputs: None,
        variables: None,
        trigger: None,
        parent: None,
        original_id: id,
        schedule_time: None,
        error: None,
        frame: Frame::default(),
        kill_requested: false,
        marks: Default::default(),
        version: 1,
        trace_parent: None,
    };
    let runs = [0_u32, 1].map(|seq| TaskRunRow {
        tenant: Tenant::main(),
        execution: id,
        run: TaskRun {
            id: Id::derived(at, &[id.as_bytes(), &seq.to_be_bytes()]),
            task_id: ["values", "log"][seq as usize].to_owned(),
            seq,
            parent_id: None,
            value: None,
            iteration: None,
            value_path: Vec::new(),
            state: state.clone(),
            attempts: vec![Attempt { state: state.clone(), dispatch: 0, worker: None, error: None }],
            outputs: (seq == 0).then(|| Arc::new(json!({"values": {"greeting": "hello", "n": 1}}))),
            frame: None,
            opened: None,
            dispatch: 0,
            child_execution: None,
            version: 1,
        },
    });
    let line = LogRow {
        tenant: Tenant::main(),
        namespace: execution.namespace.clone(),
        flow_id: execution.flow_id.clone(),
        execution: id,
        position: 0,
        line: LogLine {
            at,
            level: Level::Info,
            message: "hello".to_owned(),
            task_id: Some("log".to_owned()),
            task_run_id: Some(runs[1].run.id),
            attempt: Some(0),
        },
    };
    (execution, runs, line)
}
