//! Inputs and outputs of type SECRET, as a user and a thief of the database meet them: plain to every task, and readable
//! nowhere else.

mod support;

use std::{fs, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use support::{Database, Server, http_get};
use windhover_client::{
    Client, NewExecution,
    v1::{
        CreateBackfillRequest, Execution, Json, ListExecutionsRequest, ListTaskRunsRequest, ReplayExecutionRequest,
        ResumeExecutionRequest, State, View,
    },
};
use windhover_testkit::{Receiver, wait_until};

/// What is given for the inputs: to create executions, to resume one, to replay one, for a backfill, by a webhook.
const GIVEN: &str = "tr0ub4dor-and-3-horses";
const CODE: &str = "c0de-of-the-pause-7731";
const OTHER: &str = "0ther-value-at-the-replay";
const LATE: &str = "l8-value-of-a-backfill";
const HOOKED: &str = "h00ked-value-of-a-webhook";
const ALL: [&str; 5] = [GIVEN, CODE, OTHER, LATE, HOOKED];

const PATIENCE: Duration = Duration::from_secs(40);

/// Every task here sees the key. None of them puts it into its own outputs, which would be kept as they are.
fn guarded(receiver: &str) -> String {
    format!(
        "id: guarded
namespace: vault
inputs:
  - {{id: db.key, type: SECRET, validator: '.*-.*'}}
  - {{id: other, type: STRING, dependsOn: {{inputs: [db.key]}}, defaults: \"{{{{ inputs.db.key | length }}}}\"}}
checks:
  - {{condition: \"{{{{ inputs.db.key != 'wrong-one' }}}}\", message: not this one, behavior: BLOCK_EXECUTION}}
tasks:
  - {{id: says, type: io.kestra.plugin.core.log.Log, message: 'inline {{{{ inputs.db.key }}}} of {{{{ inputs.db.key | length }}}}'}}
  - {{id: works, type: io.kestra.plugin.core.log.Log, message: 'worker {{{{ inputs.db.key }}}}', timeout: PT1M}}
  - {{id: calls, type: io.kestra.plugin.core.http.Request, uri: '{receiver}/ok', headers: {{key: '{{{{ inputs.db.key }}}}'}}}}
  - {{id: fails, type: io.kestra.plugin.core.execution.Fail, errorMessage: 'with {{{{ inputs.db.key }}}}', allowFailure: true}}
  - {{id: dials, type: io.kestra.plugin.core.http.Request, uri: 'http://127.0.0.1:9/{{{{ inputs.db.key }}}}', allowFailure: true}}
  - id: decides
    type: io.kestra.plugin.core.flow.If
    condition: \"{{{{ inputs.db.key | length > 3 }}}}\"
    then:
      - {{id: sub, type: io.kestra.plugin.core.flow.Subflow, namespace: vault, flowId: child, inputs: {{token: '{{{{ inputs.db.key }}}}'}}}}
      - {{id: repeats, type: io.kestra.plugin.core.log.Log, message: 'child gave {{{{ outputs.sub.outputs.token }}}}', timeout: PT1M}}
  - id: pause
    type: io.kestra.plugin.core.flow.Pause
    onResume: [{{id: code, type: SECRET}}]
  - {{id: resumed, type: io.kestra.plugin.core.log.Log, message: 'code {{{{ outputs.pause.onResume.code }}}} {{{{ inputs.db.key }}}}'}}
outputs:
  - {{id: token, type: SECRET, value: '{{{{ inputs.db.key }}}}'}}
triggers:
  - {{id: hook, type: io.kestra.plugin.core.trigger.Webhook, key: k, inputs: {{db.key: \"{{{{ secret('HOOK') }}}}\"}}}}
"
    )
}

const CHILD: &str = "id: child
namespace: vault
inputs: [{id: token, type: SECRET}]
tasks:
  - {id: t, type: io.kestra.plugin.core.log.Log, message: 'child has {{ inputs.token }}', timeout: PT1M}
outputs: [{id: token, type: SECRET, value: '{{ inputs.token }}'}]
";

/// Started by `guarded` with its output, and by others with nothing but its own default.
const LISTENER: &str = "id: listener
namespace: vault.watch
inputs:
  - {id: token, type: SECRET, required: false}
  - {id: own, type: SECRET, defaults: 'a default that stands in the source'}
tasks:
  - {id: t, type: io.kestra.plugin.core.log.Log, message: \"heard {{ inputs.token ?? 'nothing' }} {{ inputs.own | length }}\"}
triggers:
  - id: watch
    type: io.kestra.plugin.core.trigger.Flow
    inputs: {token: \"{{ trigger.outputs.token ?? '' }}\"}
    conditions: [{type: io.kestra.plugin.core.condition.ExecutionNamespace, namespace: vault}]
";

const PLAIN: &str = "id: plain
namespace: vault
tasks: [{id: t, type: io.kestra.plugin.core.log.Log, message: hi}]
";

const SCHEDULED: &str = "id: scheduled
namespace: vault
inputs: [{id: key, type: SECRET}]
tasks:
  - {id: t, type: io.kestra.plugin.core.log.Log, message: 'scheduled {{ inputs.key }} {{ inputs.key | length }}'}
triggers:
  - {id: daily, type: io.kestra.plugin.core.trigger.Schedule, cron: '0 0 1 1 *', inputs: {key: of-the-flow}}
";

fn text(value: &str) -> Json {
    Json { text: Value::from(value).to_string() }
}

fn json_of(json: Option<&Json>) -> Value {
    json.and_then(|json| serde_json::from_str(&json.text).ok()).unwrap_or_default()
}

fn is_sealed(value: &Value) -> bool {
    value["type"] == json!("io.kestra.datatype:aes_encrypted") && value["value"].as_str().is_some_and(|v| v.len() > 40)
}

/// Everything that the API tells of all executions.
async fn told(client: &Client) -> Result<Vec<(String, String)>> {
    let mut told = Vec::new();
    let listed = client.list_executions(ListExecutionsRequest { page_size: 100, ..Default::default() }).await?;
    for execution in listed.executions {
        let whole = client.wait(&execution.id, Some(PATIENCE)).await?;
        let runs = ListTaskRunsRequest { execution_id: execution.id.clone(), ..Default::default() };
        let runs = client.list_task_runs(runs).await?;
        let lines = client.logs(&execution.id).await?;
        told.push((execution.flow_id.clone(), format!("{execution:?}\n{whole:#?}\n{runs:#?}\n{lines:#?}")));
    }
    Ok(told)
}

/// Resumes it, once it waits.
async fn resume(client: &Client, id: &str) -> Result<Execution> {
    let reached = client.wait_for(id, &[State::Paused], Some(PATIENCE)).await?;
    ensure!(reached.reached, "it does not pause: {reached:#?}");
    let inputs = [("code".to_owned(), text(CODE))].into();
    client
        .resume_execution(ResumeExecutionRequest { execution_id: id.to_owned(), inputs, ..Default::default() })
        .await?;
    Ok(client.wait(id, Some(PATIENCE)).await?)
}

/// The executions of a flow, once so many are in this state.
async fn executions(client: &Client, flow: &str, state: State, count: usize) -> Result<Vec<Execution>> {
    wait_until(&format!("{count} executions of {flow}"), PATIENCE, || async {
        let filter = format!("flow = \"{flow}\"");
        let asked = ListExecutionsRequest { filter, view: View::Full.into(), ..Default::default() };
        let listed = client.list_executions(asked).await.ok()?.executions;
        (listed.iter().filter(|execution| execution.current_state() == state).count() >= count).then_some(listed)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_input_is_plain_to_every_task_and_readable_nowhere_else() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let receiver = Receiver::start().await?;
    let mut server = Server::new(Database::Sqlite, folder.path())?;
    server.set("WINDHOVER_LOG_LEVEL", "DEBUG");
    server.start().await?;
    let client = server.client().await?;
    for flow in [CHILD, LISTENER, PLAIN, SCHEDULED, &guarded(&receiver.url())] {
        client.apply_flow(flow).await.context(flow.to_owned())?;
    }
    client.put_secret("vault", "HOOK", HOOKED).await?;

    // A Flow trigger seals the default of its flow though nothing in the tenant was sealed before.
    client.create_execution(NewExecution::of("vault", "plain")).await?;
    let heard = executions(&client, "listener", State::Success, 1).await?;
    let inputs = json_of(heard[0].inputs.as_ref());
    ensure!(is_sealed(&inputs["own"]), "{inputs}");

    let mut refused = Vec::new();
    for (key, part) in [("short", "must match the pattern"), ("wrong-one", "not this one")] {
        let error = client.create_execution(NewExecution::of("vault", "guarded").input("db.key", key)).await;
        let error = format!("{:?}", error.err().context("it is refused")?);
        ensure!(error.contains(part) && !error.contains(key), "{error}");
        refused.push(error);
    }

    let made = client.create_execution(NewExecution::of("vault", "guarded").input("db.key", GIVEN)).await?;
    ensure!(is_sealed(&json_of(made.inputs.as_ref())["db"]["key"]), "{made:?}");
    let reached = client.wait_for(&made.id, &[State::Paused], Some(PATIENCE)).await?;
    ensure!(reached.reached, "{reached:#?}");
    // What is in memory goes; the keys are read again.
    ensure!(server.terminate().await? == Some(0), "{}", server.log());
    server.start().await?;
    let client = server.client().await?;
    let ended = resume(&client, &made.id).await?;
    ensure!(ended.current_state() == State::Warning, "{ended:#?}\n{:#?}", client.logs(&made.id).await?);
    ensure!(is_sealed(&json_of(ended.outputs.as_ref())["token"]), "{ended:#?}");
    ensure!(json_of(ended.inputs.as_ref())["other"] == json!(GIVEN.len().to_string()), "{ended:#?}");
    ensure!(receiver.received_on("/ok")[0].header("key") == Some(GIVEN), "the task has not seen the key");
    let lines = client.logs(&made.id).await?;
    let said = |text: &str| lines.iter().any(|line| line.message == text);
    for line in ["inline ****** of 22", "worker ******", "with ******", "child gave ******", "code ****** ******"] {
        ensure!(said(line), "{line}: {lines:#?}");
    }

    let replayed = |inputs| ReplayExecutionRequest { execution_id: made.id.clone(), inputs, ..Default::default() };
    for (inputs, length) in
        [(Default::default(), GIVEN.len()), ([("db.key".to_owned(), text(OTHER))].into(), OTHER.len())]
    {
        let again = client.replay_execution(replayed(inputs)).await?.execution.context("an execution")?;
        let ended = resume(&client, &again.id).await?;
        ensure!(ended.current_state() == State::Warning, "{ended:#?}");
        let expected = format!("inline ****** of {length}");
        ensure!(client.logs(&again.id).await?.iter().any(|line| line.message == expected), "{expected}");
    }
    ensure!(
        http_get(server.port, "/api/v1/executions/webhook/vault/guarded/k").await.unwrap_or_default().contains(" 200 ")
    );
    let hooked = executions(&client, "guarded", State::Paused, 1).await?;
    let hooked = hooked.iter().find(|execution| execution.current_state() == State::Paused).context("it is paused")?;
    ensure!(is_sealed(&json_of(hooked.inputs.as_ref())["db"]["key"]), "{hooked:#?}");
    resume(&client, &hooked.id).await?;

    let at: Option<prost_types::Timestamp> = Some("2025-01-01T00:00:00Z".parse()?);
    let (namespace, flow_id, trigger_id) = ("vault".to_owned(), "scheduled".to_owned(), "daily".to_owned());
    let inputs = [("key".to_owned(), text(LATE))].into();
    let backfill =
        CreateBackfillRequest { namespace, flow_id, trigger_id, start: at, end: at, inputs, ..Default::default() };
    let shown = format!("{:?}", client.create_backfill(backfill).await?);
    let late = executions(&client, "scheduled", State::Success, 1).await?;
    let lines = client.logs(&late[0].id).await?;
    ensure!(lines.iter().any(|line| line.message == format!("scheduled ****** {}", LATE.len())), "{lines:#?}");

    executions(&client, "listener", State::Success, 8).await?;
    let mut seen = told(&client).await?;
    ensure!(seen.iter().any(|(flow, text)| flow == "listener" && text.contains("heard ****** 35")), "{seen:#?}");
    seen.extend([("refusals".to_owned(), refused.join("\n")), ("the backfill".to_owned(), shown)]);
    for path in ["/prometheus", "/health", "/info", "/worker"] {
        seen.push((path.to_owned(), http_get(server.management, path).await.unwrap_or_default()));
    }
    ensure!(server.terminate().await? == Some(0), "{}", server.log());
    seen.push(("the server's log".to_owned(), server.log()));
    for (what, text) in &seen {
        for hidden in ALL {
            let shown = text.lines().find(|line| line.contains(hidden));
            ensure!(shown.is_none(), "{what} shows {hidden}: {shown:?}");
        }
    }
    for entry in fs::read_dir(folder.path())? {
        let path = entry?.path();
        if !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("windhover.db")) {
            continue;
        }
        let bytes = fs::read(&path)?;
        for hidden in ALL {
            let found = bytes.windows(hidden.len()).position(|window| window == hidden.as_bytes());
            let around = found.map(|at| String::from_utf8_lossy(&bytes[at.saturating_sub(300)..at + 40]).into_owned());
            ensure!(around.is_none(), "{} holds {hidden} readably: {around:?}", path.display());
        }
    }
    Ok(())
}
