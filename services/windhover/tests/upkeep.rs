//! What flows do with the data of their tenant, through a real server: they count, purge, resume and publish.

mod support;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use support::{Database, Server, http_get};
use windhover_client::{
    Client, NewExecution,
    v1::{Execution, GetExecutionRequest, ResumeExecutionRequest, State, View},
};
use windhover_testkit::{Postgres, wait_until};

const PATIENCE: Duration = Duration::from_secs(60);

/// An execution that leaves a file, lines and a metric.
const LOAD: &str = "id: load
namespace: company.data
inputs: [{id: n, type: INT}]
tasks:
  - {id: write, type: io.kestra.plugin.core.storage.Write, content: 'row {{ inputs.n }}'}
  - {id: say, type: io.kestra.plugin.core.log.Log, message: [one, two]}
  - id: publish
    type: io.kestra.plugin.core.metric.Publish
    metrics:
      - {type: counter, name: loaded_rows, value: '{{ inputs.n }}', tags: {table: t}}
      - {type: gauge, name: rows_left, value: 4}
";

const COUNT: &str = "id: count
namespace: company.ops
tasks:
  - id: count
    type: io.kestra.plugin.core.execution.Count
    flows: [{namespace: company.data, flowId: load}, {namespace: company.data, flowId: never}]
    startDate: \"{{ now() | dateAdd(-1, 'HOURS') }}\"
    expression: \"{{ count >= 0 }}\"
outputs:
  - {id: total, type: INT, value: '{{ outputs.count.total }}'}
  - {id: flows, type: INT, value: '{{ outputs.count.results | length }}'}
";

const PURGE: &str = "id: purge
namespace: company.ops
tasks:
  - id: logs
    type: io.kestra.plugin.core.log.PurgeLogs
    namespace: company.data
    executionId: '{{ inputs.first }}'
    endDate: \"{{ now() }}\"
  - id: executions
    type: io.kestra.plugin.core.storage.Purge
    namespace: company.data
    flowId: load
    states: [SUCCESS]
    batchSize: 2
    endDate: \"{{ now() }}\"
  - id: none
    type: io.kestra.plugin.core.execution.PurgeExecutions
    namespace: company
    endDate: \"{{ now() }}\"
    states: [SUCCESS]
    startDate: \"{{ now() | dateAdd(1, 'DAYS') }}\"
inputs: [{id: first, type: STRING}]
outputs:
  - {id: lines, type: INT, value: '{{ outputs.logs.count }}'}
  - {id: purged, type: JSON, value: '{{ outputs.executions | toJson }}'}
  - {id: none, type: INT, value: '{{ outputs.none.executionsCount }}'}
";

const WAITS: &str = "id: waits
namespace: company.data
tasks:
  - {id: pause, type: io.kestra.plugin.core.flow.Pause, onResume: [{id: n, type: INT}]}
outputs:
  - {id: n, type: INT, value: '{{ outputs.pause.onResume.n }}'}
  - {id: more, type: STRING, value: '{{ outputs.pause.onResume.more }}'}
";

const RESUME: &str = "id: resume
namespace: company.ops
inputs: [{id: id, type: STRING}]
tasks:
  - id: go
    type: io.kestra.plugin.core.execution.Resume
    executionId: '{{ inputs.id }}'
    inputs: {n: '{{ 40 + 2 }}', more: said}
";

const KEYS: &str = "id: keys
namespace: company.ops
tasks:
  - {id: a, type: io.kestra.plugin.core.kv.Set, key: k, value: 1}
  - {id: b, type: io.kestra.plugin.core.kv.Set, key: k, value: 2}
  - {id: c, type: io.kestra.plugin.core.kv.Set, key: k, value: 3}
  - {id: old, type: io.kestra.plugin.core.kv.PurgeKV, namespaces: [company.ops], behavior: {type: version, keepAmount: 1}}
  - {id: get, type: io.kestra.plugin.core.kv.Get, key: k}
  - {id: expired, type: io.kestra.plugin.core.kv.PurgeKV, namespaces: [company]}
  - {id: all, type: io.kestra.plugin.core.kv.PurgeKV, namespacePattern: 'company*', behavior: {type: key, expiredOnly: false}}
outputs:
  - {id: sizes, type: STRING, value: '{{ outputs.old.size }} {{ outputs.get.value }} {{ outputs.expired.size }} {{ outputs.all.size }}'}
";

/// Its outputs, and those of its first task, are too large for a row. The second task runs after a pause.
const LARGE: &str = "id: large
namespace: company.large
inputs: [{id: text, type: STRING}]
tasks:
  - {id: make, type: io.kestra.plugin.core.output.OutputValues, values: {text: '{{ inputs.text }}', n: 7}}
  - {id: wait, type: io.kestra.plugin.core.flow.Pause}
  - {id: files, type: io.kestra.plugin.core.storage.PurgeCurrentExecutionFiles}
  - {id: use, type: io.kestra.plugin.core.debug.Return, format: '{{ outputs.make.values.text | length }} {{ outputs.make.values.n }}'}
outputs:
  - {id: all, type: STRING, value: '{{ outputs.make.values.text }}'}
  - {id: length, type: STRING, value: '{{ outputs.use.value }}'}
";

/// Takes the executions, and leaves their files.
const PURGE_LARGE: &str = "id: purge_large
namespace: company.ops
tasks:
  - id: executions
    type: io.kestra.plugin.core.execution.PurgeExecutions
    namespace: company.large
    purgeStorage: false
    endDate: \"{{ now() }}\"
outputs:
  - {id: purged, type: INT, value: '{{ outputs.executions.executionsCount }}'}
";

struct Running {
    server: Server,
    client: Client,
    folder: tempfile::TempDir,
}

impl Running {
    async fn start(database: Database) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut server = Server::new(database, folder.path())?;
        server.start().await?;
        let client = server.client().await?;
        for flow in [LOAD, COUNT, PURGE, WAITS, RESUME, KEYS, LARGE, PURGE_LARGE] {
            client.apply_flow(flow).await?;
        }
        Ok(Self { server, client, folder })
    }

    async fn run(&self, new: NewExecution) -> Result<(Execution, Value)> {
        let created = self.client.create_execution(new).await?;
        let ended = self.client.wait(&created.id, Some(PATIENCE)).await?;
        let lines = self.client.logs(&created.id).await?;
        let said: Vec<String> = lines.into_iter().map(|line| line.message).collect();
        ensure!(ended.current_state() == State::Success, "{}: {said:?}", ended.flow_id);
        let outputs = ended.outputs.as_ref().map(|outputs| serde_json::from_str(&outputs.text)).transpose()?;
        Ok((ended, outputs.unwrap_or_default()))
    }

    async fn reaches(&self, id: &str, state: State) -> Result<()> {
        wait_until(&format!("{state:?}"), PATIENCE, || async {
            let request = GetExecutionRequest { execution_id: id.to_owned(), ..GetExecutionRequest::default() };
            let found = self.client.get_execution(request).await.ok()?.execution?;
            (found.current_state() == state).then_some(())
        })
        .await
    }

    async fn there(&self, id: &str) -> bool {
        let request = GetExecutionRequest { execution_id: id.to_owned(), ..GetExecutionRequest::default() };
        self.client.get_execution(request).await.is_ok()
    }
}

async fn flows_look_after_their_tenant(database: Database) -> Result<()> {
    let running = Running::start(database).await?;
    let mut loads = Vec::new();
    for n in 1..=3 {
        loads.push(running.run(NewExecution::of("company.data", "load").input("n", n)).await?.0);
    }
    let prometheus = http_get(running.server.management, "/prometheus").await.context("metrics")?;
    for series in ["loaded_rows", "rows_left"] {
        ensure!(prometheus.contains(series), "{series} is not among the metrics");
    }
    let (_, counted) = running.run(NewExecution::of("company.ops", "count")).await?;
    ensure!(counted == json!({"total": 3, "flows": 2}), "{counted}");

    let waits = running.client.create_execution(NewExecution::of("company.data", "waits")).await?;
    running.reaches(&waits.id, State::Paused).await?;
    running.run(NewExecution::of("company.ops", "resume").input("id", waits.id.clone())).await?;
    let resumed = running.client.wait(&waits.id, Some(PATIENCE)).await?;
    let outputs: Value = serde_json::from_str(&resumed.outputs.context("outputs")?.text)?;
    ensure!(outputs == json!({"n": 42, "more": "said"}), "{outputs}");

    let (_, sizes) = running.run(NewExecution::of("company.ops", "keys")).await?;
    ensure!(sizes == json!({"sizes": "2 3 0 1"}), "{sizes}");

    let purge = NewExecution::of("company.ops", "purge").input("first", loads[0].id.clone());
    let (purge, purged) = running.run(purge).await?;
    let counts = json!({"executionsCount": 3, "logsCount": 4, "storagesCount": 3, "metricsCount": 6});
    ensure!(purged == json!({"lines": 2, "purged": counts, "none": 0}), "{purged}");
    for load in &loads {
        ensure!(!running.there(&load.id).await, "{} is still there", load.id);
    }
    ensure!(running.there(&purge.id).await && running.there(&waits.id).await, "too much is gone");
    // What was resumed once is not resumed again.
    let again =
        running.client.create_execution(NewExecution::of("company.ops", "resume").input("id", waits.id)).await?;
    ensure!(
        running.client.wait(&again.id, Some(PATIENCE)).await?.current_state() == State::Failed,
        "it was resumed again"
    );
    Ok(())
}

async fn large_outputs_outlive_a_process_and_go_with_their_execution(database: Database) -> Result<()> {
    let mut running = Running::start(database).await?;
    let text: String = ('a'..='z').cycle().take(1 << 20).collect();
    let new = NewExecution::of("company.large", "large").input("text", text.clone());
    let id = running.client.create_execution(new).await?.id;
    running.reaches(&id, State::Paused).await?;
    let kept = running.folder.path().join("storage/main/_outputs").join(&id);
    ensure!(kept.read_dir()?.count() == 1, "the first task's outputs are in a file");

    running.server.kill()?;
    running.server.start().await?;
    running.client = running.server.client().await?;
    running.client.resume_execution(ResumeExecutionRequest { execution_id: id.clone(), ..Default::default() }).await?;
    running.reaches(&id, State::Success).await?;
    ensure!(kept.read_dir()?.count() == 2, "the execution's own are in another");
    let request = GetExecutionRequest { execution_id: id.clone(), view: View::Full.into() };
    let ended = running.client.get_execution(request).await?.execution.context("the execution")?;
    let outputs: Value = serde_json::from_str(&ended.outputs.context("outputs")?.text)?;
    ensure!(outputs == json!({"all": text, "length": "1048576 7"}), "{}", outputs["length"]);
    let of_task = ended.task_runs.iter().find(|run| run.task_id == "make").and_then(|run| run.outputs.as_ref());
    let of_task: Value = serde_json::from_str(&of_task.context("outputs of the task")?.text)?;
    ensure!(of_task == json!({"values": {"text": text, "n": 7}}), "the outputs of the task differ");

    let (_, purged) = running.run(NewExecution::of("company.ops", "purge_large")).await?;
    ensure!(purged == json!({"purged": 1}), "{purged}");
    ensure!(!running.there(&id).await && !kept.exists(), "the execution is gone, its outputs are not");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn large_outputs_outlive_a_process_and_go_with_their_execution_on_sqlite() -> Result<()> {
    large_outputs_outlive_a_process_and_go_with_their_execution(Database::Sqlite).await
}

#[tokio::test(flavor = "multi_thread")]
async fn large_outputs_outlive_a_process_and_go_with_their_execution_on_postgres() -> Result<()> {
    let database = Database::Postgres(Postgres::shared().await?.fresh_database().await?);
    large_outputs_outlive_a_process_and_go_with_their_execution(database).await
}

#[tokio::test(flavor = "multi_thread")]
async fn flows_look_after_their_tenant_on_sqlite() -> Result<()> {
    flows_look_after_their_tenant(Database::Sqlite).await
}

#[tokio::test(flavor = "multi_thread")]
async fn flows_look_after_their_tenant_on_postgres() -> Result<()> {
    let postgres = Postgres::shared().await?;
    flows_look_after_their_tenant(Database::Postgres(postgres.fresh_database().await?)).await
}
