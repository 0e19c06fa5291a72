//! Servers of one part each, together on one Postgres and one Redis: what they need, what they show, how they end.

mod support;

use std::{process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use support::{
    http_posted,
    refused::{KEY, PASSWORD, start, told},
};
use windhover_client::{
    Client, ClientOptions, NewExecution,
    v1::{Execution, ListExecutionsRequest, State},
};
use windhover_testkit::{
    Answer, Cluster, ClusterOptions, Postgres, Process, Receiver, Redis, Role, TOKEN, free_port, wait_until,
};

const BINARY: &str = env!("CARGO_BIN_EXE_windhover");
const PATIENCE: Duration = Duration::from_secs(60);

/// Calls somebody with the worker that the flow's input names: none, or a group.
const CALL: &str = "id: call
namespace: company.team
inputs:
  - {id: url, type: STRING}
tasks:
  - id: request
    type: io.kestra.plugin.core.http.Request
    uri: \"{{ inputs.url }}\"
  - {id: log, type: io.kestra.plugin.core.log.Log, message: \"{{ outputs.request.code }}\"}
";

const ON_GPU: &str = "id: on_gpu
namespace: company.team
inputs:
  - {id: url, type: STRING}
tasks:
  - id: request
    type: io.kestra.plugin.core.http.Request
    uri: \"{{ inputs.url }}\"
    workerGroup: {key: gpu}
";

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_cannot_work_says_what_it_needs() -> Result<()> {
    let postgres = Postgres::shared().await?;
    let database = postgres.fresh_database().await?;
    let redis = Redis::start().await?;
    let (url, redis_url) = (("WINDHOVER_DATABASE_URL", database.as_str()), redis.url());
    for mode in ["gateway", "executor", "worker", "scheduler"] {
        told(&start(mode, &[url]).await?, &[mode, "needs Redis", "WINDHOVER_REDIS_URL"])?;
    }
    let password = PASSWORD.replace(' ', "%20");
    let nobody = format!("redis://:{password}@127.0.0.1:{}", free_port()?);
    let with = |redis| [url, ("WINDHOVER_REDIS_URL", redis)];
    told(&start("worker", &with(&nobody)).await?, &["127.0.0.1", "WINDHOVER_REDIS_URL"])?;
    let wrong = redis_url.replace("redis://", &format!("redis://:{password}@"));
    told(&start("worker", &with(&wrong)).await?, &["Redis", "password"])?;
    told(&start("worker", &with("http://localhost")).await?, &["windhover.redis.url", "redis://"])?;
    let group = [url, ("WINDHOVER_REDIS_URL", redis_url.as_str()), ("WINDHOVER_WORKER_GROUP", "a b")];
    told(&start("worker", &group).await?, &["windhover.worker.group", "a b"])?;

    // Several standalone servers are one cluster, and one that knows nothing of Redis is none of them.
    let options = ClusterOptions::new(BINARY, &database).redis(&redis_url).set("WINDHOVER_MASTER_KEY", KEY);
    let cluster = Cluster::start(options, &[Role::Standalone, Role::Standalone]).await?;
    told(&start("standalone", &[url]).await?, &["another Windhover server", "need Redis"])?;
    let shards = [url, ("WINDHOVER_REDIS_URL", redis_url.as_str()), ("WINDHOVER_SHARDS", "8")];
    told(&start("executor", &shards).await?, &["64 shards", "says 8"])?;
    ensure!(cluster.members().iter().all(|member| member.process.is_running()), "{}", cluster.last_lines(20));
    Ok(())
}

/// A cluster of one process for each part, and somebody whom its tasks call.
struct Parts {
    cluster: Cluster,
    client: Client,
    receiver: Receiver,
    _redis: Redis,
}

impl Parts {
    async fn start() -> Result<Self> {
        let redis = Redis::start().await?;
        let database = Postgres::shared().await?.fresh_database().await?;
        let options = ClusterOptions::new(BINARY, database).redis(redis.url());
        let roles = [Role::Gateway, Role::Executor, Role::Worker, Role::Scheduler];
        let cluster = Cluster::start(options, &roles).await?;
        let gateway = cluster.first(Role::Gateway)?.process.address();
        let client = Client::connect(ClientOptions::new(gateway).token(TOKEN)).await?;
        for flow in [CALL, ON_GPU] {
            client.apply_flow(flow).await?;
        }
        Ok(Self { cluster, client, receiver: Receiver::start().await?, _redis: redis })
    }

    fn process(&self, role: Role) -> Result<Process> {
        Ok(self.cluster.first(role)?.process.clone())
    }

    /// An execution whose task calls this path.
    async fn calls(&self, flow: &str, path: &str) -> Result<Execution> {
        let url = format!("{}{path}", self.receiver.url());
        Ok(self.client.create_execution(NewExecution::of("company.team", flow).input("url", url)).await?)
    }

    async fn ends(&self, execution: &Execution) -> Result<State> {
        Ok(self.client.wait(&execution.id, Some(PATIENCE)).await?.current_state())
    }
}

async fn json(process: &Process, path: &str) -> Result<Value> {
    let (status, body) = process.get(path).await.with_context(|| format!("{} does not answer", process.name()))?;
    ensure!(status == 200, "{path} of {}: {status} {body}", process.name());
    Ok(serde_json::from_str(&body)?)
}

fn tell(process: &Process, signal: &str) -> Result<()> {
    let status = Command::new("kill").args([signal, &process.pid()?.to_string()]).status()?;
    ensure!(status.success(), "kill {signal} failed");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn separate_parts_run_a_flow_show_what_they_do_and_end_in_order() -> Result<()> {
    let parts = Parts::start().await?;
    parts.receiver.answer("/slow", Answer { delay: Duration::from_secs(3), ..Answer::default() });
    let execution = parts.calls("call", "/slow").await?;
    parts.receiver.wait_for(1, PATIENCE).await?;

    let worker = parts.process(Role::Worker)?;
    let running = json(&worker, "/worker").await?;
    ensure!(running["runningCount"] == 1, "{running}");
    let attempt = &running["runnings"][0];
    ensure!(attempt["taskRun"]["executionId"] == execution.id.as_str(), "{running}");
    ensure!(attempt["task"]["uri"] == "{{ inputs.url }}", "the task is not shown as it is written: {running}");
    let executor = parts.process(Role::Executor)?;
    let shards = json(&executor, "/shards").await?;
    let owned = shards["shards"].as_array().context("a list of shards")?;
    ensure!(owned.len() == 64 && owned.iter().all(|shard| shard["owner"].is_string()), "{shards}");
    let queues = json(&executor, "/queues").await?;
    ensure!(queues["workers"][""] == 1, "{queues}");
    for (role, key) in [(Role::Gateway, "redis"), (Role::Executor, "executor"), (Role::Worker, "worker")] {
        let health = json(&parts.process(role)?, "/health").await?;
        ensure!(health["details"][key]["status"] == "UP", "{role}: {health}");
    }
    json(&parts.process(Role::Scheduler)?, "/scheduler").await?;
    ensure!(parts.process(Role::Gateway)?.status("/worker").await == Some(404), "a gateway has no attempts to show");

    // The attempt ends before its worker does, and is made once.
    ensure!(worker.terminate().await? == Some(0), "{}", worker.last_lines(20));
    ensure!(parts.ends(&execution).await? == State::Success, "{}", parts.cluster.last_lines(20));
    ensure!(parts.receiver.count() == 1, "the task was made {} times", parts.receiver.count());
    for role in [Role::Gateway, Role::Scheduler, Role::Executor] {
        let process = parts.process(role)?;
        ensure!(process.terminate().await? == Some(0), "{}", process.last_lines(20));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_told_twice_ends_at_once() -> Result<()> {
    let parts = Parts::start().await?;
    parts.receiver.answer("/never", Answer { delay: Duration::from_secs(3_600), ..Answer::default() });
    parts.calls("call", "/never").await?;
    parts.receiver.wait_for(1, PATIENCE).await?;
    let worker = parts.process(Role::Worker)?;
    tell(&worker, "-TERM")?;
    wait_until("the worker to begin its end", PATIENCE, || async { worker.log().contains("stopping").then_some(()) })
        .await?;
    ensure!(worker.is_running(), "it did not wait for its task");
    tell(&worker, "-TERM")?;
    let status = wait_until("the worker to end", PATIENCE, || async { worker.has_ended() }).await?;
    ensure!(status.code() == Some(143), "it ended with {status}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_of_a_group_wait_for_a_worker_of_the_group() -> Result<()> {
    let mut parts = Parts::start().await?;
    let execution = parts.calls("on_gpu", "/gpu").await?;
    let executor = parts.process(Role::Executor)?;
    let waits = wait_until("the job to wait", PATIENCE, || async {
        let queues = json(&executor, "/queues").await.ok()?;
        let of_group = queues["queues"].as_array()?.iter().find(|queue| queue["group"] == "gpu")?.clone();
        (of_group["jobs"] == 1 && of_group["workers"] == 0).then_some(of_group)
    });
    let waits = waits.await?;
    ensure!(parts.receiver.count() == 0, "a worker of no group ran it: {waits}");
    // Where operators look, and where users do.
    let metric = wait_until("the metric of what nobody serves", PATIENCE, || async {
        let (_, text) = executor.get("/prometheus").await?;
        let line = text.lines().find(|line| line.contains("unserved") && line.contains("\"gpu\""))?.to_owned();
        line.ends_with(" 1.0").then_some(line)
    });
    metric.await?;
    let shown = wait_until("the command line to say why", PATIENCE, || async {
        let mut command = tokio::process::Command::new(BINARY);
        command.args(["execution", "get", &execution.id]).env("WINDHOVER_TOKEN", TOKEN);
        command.env("WINDHOVER_SERVER", parts.process(Role::Gateway).ok()?.address());
        let text = String::from_utf8_lossy(&command.output().await.ok()?.stdout).into_owned();
        text.contains("waits: no worker of the group `gpu` lives").then_some(())
    });
    shown.await?;

    let worker = parts.cluster.add(Role::Worker).await?.process.clone();
    worker.terminate().await?;
    worker.set("WINDHOVER_WORKER_GROUP", Some("gpu"));
    worker.start().await?;
    ensure!(parts.ends(&execution).await? == State::Success, "{}", parts.cluster.last_lines(20));
    ensure!(parts.receiver.count() == 1, "the task was made {} times", parts.receiver.count());
    Ok(())
}

const HOOK: &str = "id: hook
namespace: company.team
tasks:
  - id: request
    type: io.kestra.plugin.core.http.Request
    uri: \"{{ trigger.body.url }}\"
outputs:
  - {id: said, type: STRING, value: \"{{ outputs.request.body }}\"}
triggers:
  - id: waiting
    type: io.kestra.plugin.core.trigger.Webhook
    key: k
    wait: true
    returnOutputs: true
    responseCode: \"{{ outputs.request.code + 1 }}\"
";

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_without_shards_answers_webhooks_at_their_end_and_neither_callers_nor_it_take_them_along()
-> Result<()> {
    let parts = Parts::start().await?;
    parts.client.apply_flow(HOOK).await?;
    let receiver = &parts.receiver;
    for (path, seconds) in [("/kept", 1), ("/left", 3), ("/stopped", 6)] {
        let delay = Duration::from_secs(seconds);
        receiver.answer(path, Answer { body: path.to_owned(), delay, ..Answer::default() });
    }
    let gateway = parts.process(Role::Gateway)?;
    let call = |path: &str| {
        let (port, body) = (gateway.port(), json!({"url": format!("{}{path}", receiver.url())}).to_string());
        async move { http_posted(port, "/api/v1/executions/webhook/company.team/hook/k", &[], &body).await }
    };
    let answer = call("/kept").await?;
    ensure!(answer.starts_with("HTTP/1.1 201 ") && answer.ends_with(r#"{"said":"/kept"}"#), "{answer}");

    let leaves = tokio::spawn(call("/left"));
    receiver.wait_for(2, PATIENCE).await?;
    leaves.abort();
    let waits = tokio::spawn(call("/stopped"));
    receiver.wait_for(3, PATIENCE).await?;
    ensure!(gateway.terminate().await? == Some(0), "{}", gateway.last_lines(20));
    let answer = waits.await??;
    ensure!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("the server is stopping"), "{answer}");

    gateway.start().await?;
    let client = Client::connect(ClientOptions::new(gateway.address()).token(TOKEN)).await?;
    let all = ListExecutionsRequest { filter: "flow = \"hook\"".to_owned(), ..Default::default() };
    let all = client.list_executions(all).await?.executions;
    ensure!(all.len() == 3, "{all:#?}");
    for execution in &all {
        let ended = client.wait(&execution.id, Some(PATIENCE)).await?;
        ensure!(ended.current_state() == State::Success, "{ended:#?}\n{}", parts.cluster.last_lines(20));
    }
    ensure!(receiver.count() == 3, "a task was made more than once");
    Ok(())
}
