//! Servers that are killed, and databases that go away, while work is under way: nothing that was acknowledged is lost,
//! nothing is applied twice.

mod support;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use support::{Database, Server};
use windhover_client::{
    Client, NewExecution,
    v1::{Execution, GetExecutionRequest, ListExecutionsRequest, State, View},
};
use windhover_testkit::{Postgres, Receiver};

/// Executions that must have been acknowledged before each fault.
const BETWEEN_FAULTS: usize = 120;
const FAULTS: usize = 3;

/// Ends at once, in one commit.
const QUICK: &str = "id: quick
namespace: crash
tasks:
  - id: values
    type: io.kestra.plugin.core.output.OutputValues
    values: {number: \"{{ inputs.number }}\"}
  - id: log
    type: io.kestra.plugin.core.log.Log
    message: \"number {{ outputs.values.values.number }}\"
inputs:
  - id: number
    type: INT
";

/// Needs a worker and a timer.
fn slow(url: &str) -> String {
    format!(
        "id: slow
namespace: crash
tasks:
  - id: call
    type: io.kestra.plugin.core.http.Request
    uri: {url}
  - id: nap
    type: io.kestra.plugin.core.flow.Sleep
    duration: PT0.3S
  - id: child
    type: io.kestra.plugin.core.flow.Subflow
    namespace: crash
    flowId: quick
    inputs: {{number: 7}}
"
    )
}

/// Fails on its second attempt for good; somebody listens to that.
const FAILING: &str = "id: failing
namespace: crash
tasks:
  - id: break
    type: io.kestra.plugin.core.execution.Fail
    retry: {type: constant, interval: PT0.2S, maxAttempt: 2}
errors:
  - id: explain
    type: io.kestra.plugin.core.log.Log
    message: it broke
";

const LISTENER: &str = "id: listener
namespace: crash.alerts
tasks:
  - id: tell
    type: io.kestra.plugin.core.log.Log
    message: \"{{ trigger.executionId }}\"
triggers:
  - id: on-failure
    type: io.kestra.plugin.core.trigger.Flow
    conditions:
      - type: io.kestra.plugin.core.condition.ExecutionStatus
        in: [FAILED]
      - type: io.kestra.plugin.core.condition.ExecutionNamespace
        namespace: crash
";

type Acknowledged = Arc<Mutex<Vec<(String, &'static str)>>>;

/// Creates executions one after another until it is told to stop; a refused or broken call is sent again under the same
/// request id, so that it counts once.
async fn create_until(stop: Arc<AtomicBool>, client: Client, worker: usize, acknowledged: Acknowledged) {
    let mut number = 0_u32;
    while !stop.load(Ordering::Relaxed) {
        let flow = ["quick", "slow", "failing"][number as usize % 3];
        let mut new = NewExecution::of("crash", flow).request_id(format!("{worker}-{number}"));
        if flow == "quick" {
            new = new.input("number", number);
        }
        match client.create_execution(new).await {
            Ok(created) => {
                acknowledged.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push((created.id, flow));
                number += 1;
            }
            Err(error) if error.is_transient() => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(error) => panic!("a create was refused: {error}"),
        }
    }
}

fn count(acknowledged: &Acknowledged) -> usize {
    acknowledged.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).len()
}

async fn until_acknowledged(acknowledged: &Acknowledged, target: usize) -> Result<()> {
    let reached = || async { (count(acknowledged) >= target).then_some(()) };
    windhover_testkit::wait_until("executions to be acknowledged", Duration::from_secs(120), reached).await
}

enum Fault {
    KillServer,
    RestartPostgres,
}

/// Load, faults, and then the account of everything that was acknowledged.
async fn survives(database: Database, postgres: Option<&Postgres>, fault: Fault) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let receiver = Receiver::start().await?;
    let mut server = Server::new(database, folder.path())?;
    server.start().await?;
    let client = server.client().await?;
    for source in [QUICK.to_owned(), slow(&format!("{}/ok", receiver.url())), FAILING.to_owned(), LISTENER.to_owned()] {
        client.apply_flow(source).await?;
    }

    let stop = Arc::new(AtomicBool::new(false));
    let acknowledged = Acknowledged::default();
    let creators: Vec<_> = (0..8)
        .map(|worker| tokio::spawn(create_until(Arc::clone(&stop), client.clone(), worker, Arc::clone(&acknowledged))))
        .collect();
    for round in 1..=FAULTS {
        until_acknowledged(&acknowledged, round * BETWEEN_FAULTS).await?;
        match fault {
            Fault::KillServer => {
                server.kill()?;
                server.start().await?;
            }
            Fault::RestartPostgres => postgres.context("a Postgres to restart")?.restart().await?,
        }
    }
    until_acknowledged(&acknowledged, (FAULTS + 1) * BETWEEN_FAULTS).await?;
    stop.store(true, Ordering::Relaxed);
    for creator in creators {
        creator.await?;
    }

    let acknowledged = acknowledged.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
    let checked = check(&client, &acknowledged).await;
    checked.with_context(|| format!("the server's log:\n{}", last_lines(&server.log(), 60)))
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// Every acknowledged execution ended as its flow says, each step was applied once, and each failure has one alert.
async fn check(client: &Client, acknowledged: &[(String, &'static str)]) -> Result<()> {
    let mut ids: Vec<&str> = acknowledged.iter().map(|(id, _)| id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    ensure!(ids.len() == acknowledged.len(), "two requests were answered with the same execution");
    for (id, flow) in acknowledged {
        let waited = client.wait(id, Some(Duration::from_secs(90))).await.with_context(|| format!("{flow} {id}"))?;
        let expected = if *flow == "failing" { State::Failed } else { State::Success };
        ensure!(waited.current_state() == expected, "{flow} {id} is {:?}: {waited:#?}", waited.current_state());
        let request = GetExecutionRequest { execution_id: id.clone(), view: View::Full as i32 };
        let execution = client.get_execution(request).await?.execution.context("an execution")?;
        check_once(client, &execution, flow).await.with_context(|| format!("{flow} {id}: {execution:#?}"))?;
    }
    check_alerts(client, acknowledged).await
}

async fn check_once(client: &Client, execution: &Execution, flow: &str) -> Result<()> {
    let task_runs = |id: &str| execution.task_runs.iter().filter(|run| run.task_id == id).count();
    let lines = client.logs(&execution.id).await?;
    let lines = |task: &str| lines.iter().filter(|line| line.task_id == task).count();
    match flow {
        "quick" => {
            ensure!(execution.task_runs.len() == 2 && lines("log") == 1, "a step was applied twice, or not at all");
        }
        "slow" => {
            ensure!(execution.task_runs.len() == 3, "task runs were doubled");
            ensure!(task_runs("child") == 1, "the subflow was started twice");
        }
        _ => {
            ensure!(task_runs("break") == 1 && task_runs("explain") == 1, "task runs were doubled");
            let attempts = execution.task_runs.iter().find(|run| run.task_id == "break").map(|run| run.attempts.len());
            ensure!(attempts == Some(2), "the retry was lost or doubled: {attempts:?}");
            ensure!(lines("explain") == 1, "the errors branch ran {} times", lines("explain"));
        }
    }
    Ok(())
}

async fn check_alerts(client: &Client, acknowledged: &[(String, &'static str)]) -> Result<()> {
    let mut alerts: HashMap<String, usize> = HashMap::new();
    let mut page_token = String::new();
    loop {
        let request = ListExecutionsRequest {
            page_size: 100,
            page_token,
            filter: "namespace = \"crash.alerts\"".to_owned(),
            view: View::Full as i32,
        };
        let page = client.list_executions(request).await?;
        for execution in page.executions {
            let variables =
                execution.trigger.and_then(|trigger| trigger.variables).context("the trigger of an alert")?;
            let variables: serde_json::Value = serde_json::from_str(&variables.text)?;
            let cause = variables["executionId"].as_str().context("the cause of an alert")?.to_owned();
            *alerts.entry(cause).or_default() += 1;
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    for (id, _) in acknowledged.iter().filter(|(_, flow)| *flow == "failing") {
        ensure!(alerts.get(id) == Some(&1), "the failure of {id} made {:?} alerts", alerts.get(id));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standalone_server_killed_under_load_loses_and_doubles_nothing() -> Result<()> {
    let postgres = Postgres::start().await?;
    survives(Database::Postgres(postgres.fresh_database().await?), None, Fault::KillServer).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_restarted_under_load_loses_and_doubles_nothing() -> Result<()> {
    let postgres = Postgres::start().await?;
    survives(Database::Postgres(postgres.fresh_database().await?), Some(&postgres), Fault::RestartPostgres).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_on_sqlite_killed_under_load_loses_and_doubles_nothing() -> Result<()> {
    survives(Database::Sqlite, None, Fault::KillServer).await
}
