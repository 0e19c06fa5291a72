//! Trouble from outside, with real processes and servers: what an operator is told, and that the work goes on when the
//! cause is gone.

mod support;

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use support::refused::{KEY, start, told};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use windhover_client::{
    Client, ClientOptions, FollowOptions, NewExecution,
    v1::{Execution, GetExecutionRequest, RestartExecutionRequest, State, TaskRun, follow_execution_response::Event},
};
use windhover_testkit::{Answer, Cluster, ClusterOptions, Postgres, Process, Receiver, Redis, Role, TOKEN, wait_until};

const BINARY: &str = env!("CARGO_BIN_EXE_windhover");
const PATIENCE: Duration = Duration::from_secs(90);

const QUICK: &str = "id: quick
namespace: company.team
tasks:
  - {id: log, type: io.kestra.plugin.core.log.Log, message: hello}
";

/// Its worker sends what it is given, and keeps what it gets.
const CALL: &str = "id: call
namespace: company.team
inputs:
  - {id: url, type: STRING}
  - {id: large, type: STRING, defaults: small}
tasks:
  - id: request
    type: io.kestra.plugin.core.http.Request
    method: POST
    uri: \"{{ inputs.url }}\"
    body: \"{{ inputs.large }}\"
";

/// Sleeps in between, so that shards change hands under it.
const NAP: &str = "id: nap
namespace: company.team
inputs:
  - {id: url, type: STRING}
tasks:
  - {id: sleep, type: io.kestra.plugin.core.flow.Sleep, duration: PT0.5S}
  - {id: request, type: io.kestra.plugin.core.http.Request, uri: \"{{ inputs.url }}\"}
";

/// An installation, and somebody whom its tasks call.
struct Site {
    cluster: Cluster,
    client: Client,
    receiver: Receiver,
    redis: Redis,
    postgres: &'static Postgres,
    database: String,
}

impl Site {
    async fn start(roles: &[Role], settings: &[(&str, &str)]) -> Result<Self> {
        let (redis, postgres) = (Redis::start().await?, Postgres::shared().await?);
        let database = postgres.fresh_database().await?;
        let mut options = ClusterOptions::new(BINARY, &database).redis(redis.url()).set("WINDHOVER_MASTER_KEY", KEY);
        for (name, value) in settings {
            options = options.set(name, value);
        }
        let cluster = Cluster::start(options, roles).await?;
        let gateway = cluster.first(Role::Gateway)?.process.address();
        let client = Client::connect(ClientOptions::new(gateway).token(TOKEN)).await?;
        for flow in [QUICK, CALL, NAP] {
            client.apply_flow(flow).await?;
        }
        let receiver = Receiver::start().await?;
        receiver.answer("/never", Answer { delay: Duration::from_secs(3_600), ..Answer::default() });
        Ok(Self { cluster, client, receiver, redis, postgres, database })
    }

    fn process(&self, role: Role) -> Result<&Process> {
        Ok(&self.cluster.first(role)?.process)
    }

    fn calls(&self, flow: &str, path: &str) -> NewExecution {
        NewExecution::of("company.team", flow).input("url", format!("{}{path}", self.receiver.url()))
    }

    async fn create(&self, new: NewExecution) -> Result<Execution> {
        Ok(self.client.create_execution(new).await?)
    }

    async fn ends(&self, execution: &Execution, state: State) -> Result<Execution> {
        let ended = self.client.wait(&execution.id, Some(PATIENCE)).await?;
        let lines = self.cluster.last_lines(30);
        ensure!(ended.current_state() == state, "it is {:?}: {ended:#?}\n{lines}", ended.current_state());
        Ok(ended)
    }

    /// Runs SQL beside everybody.
    async fn sql(&self, statement: &str) -> Result<()> {
        self.postgres.sql(&self.database, statement).await
    }
}

/// Waits until the log of this process says so.
async fn says(process: &Process, words: &str) -> Result<()> {
    let what = format!("{} to say `{words}`", process.name());
    let said = wait_until(&what, PATIENCE, async || process.log().contains(words).then_some(())).await;
    said.with_context(|| process.last_lines(30))
}

async fn health(process: &Process, part: &str) -> Result<Value> {
    let (_, body) = process.get("/health").await.with_context(|| format!("{} does not answer", process.name()))?;
    let health: Value = serde_json::from_str(&body)?;
    Ok(health["details"][part].clone())
}

/// What Postgres says when its disk is full, from every statement that adds rows to these.
const FULL: &str = "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
    RAISE EXCEPTION 'could not extend file \"base/1/2\": No space left on device' USING ERRCODE = '53100'; END $$;";
const WRITTEN: [&str; 6] = ["executions", "task_runs", "logs", "feed", "jobs", "inbox"];

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_of_the_database_is_named_and_work_goes_on_when_there_is_room() -> Result<()> {
    let site = Site::start(&[Role::Gateway, Role::Executor, Role::Worker], &[]).await?;
    site.receiver.answer("/slow", Answer { delay: Duration::from_secs(2), ..Answer::default() });
    let before = site.create(site.calls("call", "/slow")).await?;
    site.receiver.wait_for(1, PATIENCE).await?;
    let each = |what: &str| WRITTEN.map(|table| what.replace("{}", table)).join("; ");
    let on = each("CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON {} EXECUTE FUNCTION full_disk()");
    site.sql(&format!("{FULL} {on}")).await?;

    let refused = site.create(NewExecution::of("company.team", "quick")).await;
    let error = refused.err().context("it was stored on a full disk")?;
    ensure!(format!("{error:?}").to_uppercase().contains("UNAVAILABLE"), "{error:?}");
    for role in [Role::Gateway, Role::Executor] {
        says(site.process(role)?, "the database's disk is full").await?;
    }
    // What is there can still be read, and nobody has given up.
    let request = GetExecutionRequest { execution_id: before.id.clone(), ..Default::default() };
    let seen = site.client.get_execution(request).await?.execution.context("the execution")?;
    ensure!(seen.current_state() == State::Running, "{seen:#?}");
    ensure!(site.cluster.members().iter().all(|member| member.process.is_running()), "{}", site.cluster.last_lines(20));

    site.sql(&each("DROP TRIGGER full_disk ON {}")).await?;
    site.ends(&before, State::Success).await?;
    let after = site.create(site.calls("call", "/slow")).await?;
    site.ends(&after, State::Success).await?;
    ensure!(site.receiver.count() == 2, "the task was made {} times", site.receiver.count());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_without_memory_is_named_and_jobs_go_on_when_it_has_some() -> Result<()> {
    let site = Site::start(&[Role::Gateway, Role::Executor, Role::Worker], &[]).await?;
    let first = site.create(site.calls("call", "/")).await?;
    site.ends(&first, State::Success).await?;
    site.redis.command("CONFIG SET maxmemory 1").await?;
    let execution = site.create(site.calls("call", "/")).await?;
    // Nothing of this needs a worker: it is created, run and told all the same.
    let inline = site.create(NewExecution::of("company.team", "quick")).await?;
    site.ends(&inline, State::Success).await?;
    let executor = site.process(Role::Executor)?;
    says(executor, "jobs wait: the queue does not take them").await?;
    ensure!(executor.log().contains("out of memory (maxmemory)"), "{}", executor.last_lines(20));
    let shown = wait_until("its health to say why", PATIENCE, async || {
        let redis = health(executor, "redis").await.ok()?;
        redis.to_string().contains("out of memory").then_some(redis)
    });
    let redis = shown.await?;
    ensure!(redis["status"] == "UNKNOWN", "{redis}");
    ensure!(executor.status("/health/readiness").await == Some(200), "it can do what needs no Redis");
    ensure!(site.receiver.count() == 1, "a job got through");

    site.redis.command("CONFIG SET maxmemory 0").await?;
    site.ends(&execution, State::Success).await?;
    let well = wait_until("its health to be well", PATIENCE, async || {
        health(executor, "redis").await.is_ok_and(|redis| redis["status"] == "UP").then_some(())
    });
    well.await?;
    ensure!(site.receiver.count() == 2, "the task was made {} times", site.receiver.count() - 1);
    Ok(())
}

/// Speaks Redis well enough to say how old it is.
async fn old_redis() -> Result<String> {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
    let url = format!("redis://{}", listener.local_addr()?);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut asked = vec![0; 4_096];
                while let Ok(count @ 1..) = stream.read(&mut asked).await {
                    // Each command is an array, of bulk strings; the client's greetings are agreed to.
                    let text = String::from_utf8_lossy(&asked[..count]).into_owned();
                    for command in text.split('*').skip(1) {
                        let info = "redis_version:5.0.14\r\nredis_mode:standalone\r\nrole:master\r\n";
                        let answer = match command.to_uppercase().contains("\r\nINFO\r\n") {
                            true => format!("${}\r\n{info}\r\n", info.len()),
                            false => "+OK\r\n".to_owned(),
                        };
                        if stream.write_all(answer.as_bytes()).await.is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    Ok(url)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_does_not_fit_the_others_says_so_and_does_not_start() -> Result<()> {
    let site = Site::start(&[Role::Gateway, Role::Executor], &[]).await?;
    let redis = site.redis.url();
    let on = |redis| [("WINDHOVER_DATABASE_URL", site.database.as_str()), ("WINDHOVER_REDIS_URL", redis)];

    // Somebody whose messages this version does not know.
    site.sql(
        "CREATE TEMP TABLE later AS SELECT * FROM service_instances WHERE kind = 'WEBSERVER' LIMIT 1; \
         UPDATE later SET id = decode(md5('later'), 'hex'), kind = 'WORKER', version = '99.0', host = 'tomorrow/1', \
         props = '{\"format\": 99}', updated_at = updated_at + 60000000; \
         INSERT INTO service_instances SELECT * FROM later",
    )
    .await?;
    told(&start("worker", &on(&redis)).await?, &["newer Windhover", "tomorrow/1", "format 99", "update this one"])?;
    site.sql("DELETE FROM service_instances WHERE host = 'tomorrow/1'").await?;
    // Tables that this version does not know.
    site.sql("INSERT INTO seaql_migrations VALUES ('m9999_later', 0)").await?;
    told(&start("worker", &on(&redis)).await?, &["newer version of Windhover", "m9999_later"])?;
    site.sql("DELETE FROM seaql_migrations WHERE version = 'm9999_later'").await?;
    // Those who were there before go on all the same.
    let execution = site.create(NewExecution::of("company.team", "quick")).await?;
    site.ends(&execution, State::Success).await?;

    told(&start("worker", &on(&old_redis().await?)).await?, &["version 5.0.14", "needs 6.2 or newer"])?;
    // Another installation's Redis: jobs of the one would reach workers of the other.
    let other = site.postgres.fresh_database().await?;
    let stranger = [("WINDHOVER_DATABASE_URL", other.as_str()), ("WINDHOVER_REDIS_URL", redis.as_str())];
    told(&start("executor", &stranger).await?, &["another installation", "windhover.redis.prefix"])?;
    let options = ClusterOptions::new(BINARY, &other).redis(&redis).set("WINDHOVER_REDIS_PREFIX", "other");
    Cluster::start(options.set("WINDHOVER_MASTER_KEY", KEY), &[Role::Executor]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_to_be_carried_fails_its_attempt_and_names_the_setting() -> Result<()> {
    let limits = [("WINDHOVER_QUEUE_MAX_JOB_BYTES", "5000"), ("WINDHOVER_QUEUE_MAX_REPORT_BYTES", "5000")];
    let site = Site::start(&[Role::Gateway, Role::Executor, Role::Worker], &limits).await?;
    site.receiver.answer("/large", Answer { body: "x".repeat(20_000), ..Answer::default() });
    let large = site.calls("call", "/").input("large", "x".repeat(20_000));
    for (new, setting) in
        [(large, "windhover.queue.max-job-bytes"), (site.calls("call", "/large"), "windhover.queue.max-report-bytes")]
    {
        let execution = site.create(new).await?;
        let ended = site.ends(&execution, State::Failed).await?;
        ensure!(format!("{ended:?}").contains(setting), "it does not say why: {ended:#?}");
        let lines = site.client.logs(&execution.id).await?;
        ensure!(lines.iter().any(|line| line.message.contains(setting)), "its log does not say why: {lines:#?}");
    }
    let small = site.create(site.calls("call", "/")).await?;
    site.ends(&small, State::Success).await?;
    ensure!(site.receiver.count() == 2, "a job that is too large was made");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_kills_its_process_three_times_fails_at_the_fourth_start() -> Result<()> {
    let database = Postgres::shared().await?.fresh_database().await?;
    let receiver = Receiver::start().await?;
    receiver.answer("/deadly", Answer { delay: Duration::from_secs(3_600), ..Answer::default() });
    // Alone: its queue is gone with it.
    let options = ClusterOptions::new(BINARY, &database).set("WINDHOVER_MASTER_KEY", KEY);
    let cluster = Cluster::start(options, &[Role::Standalone]).await?;
    let server = &cluster.first(Role::Standalone)?.process;
    let client = Client::connect(ClientOptions::new(server.address()).token(TOKEN)).await?;
    client.apply_flow(CALL).await?;
    let url = format!("{}/deadly", receiver.url());
    let created = client.create_execution(NewExecution::of("company.team", "call").input("url", url)).await?;
    for death in 1..=3 {
        receiver.wait_for(death, PATIENCE).await.with_context(|| server.last_lines(30))?;
        // Before it could say that it had begun.
        server.kill()?;
        server.start().await?;
    }
    let client = Client::connect(ClientOptions::new(server.address()).token(TOKEN)).await?;
    let ended = client.wait(&created.id, Some(PATIENCE)).await?;
    ensure!(ended.current_state() == State::Failed, "{ended:#?}\n{}", server.last_lines(30));
    let lines = client.logs(&created.id).await?;
    ensure!(lines.iter().any(|line| line.message.contains("died 3 times")), "{lines:#?}");
    ensure!(receiver.count() == 3, "it was begun {} times", receiver.count());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_are_stopped_in_order_under_load_log_no_error_and_cost_no_attempt() -> Result<()> {
    let roles = [Role::Gateway, Role::Executor, Role::Executor, Role::Worker, Role::Worker];
    let site = Site::start(&roles, &[("WINDHOVER_SERVER_TERMINATION_GRACE_PERIOD", "8s")]).await?;
    // An attempt that outlasts every grace.
    let long = site.create(site.calls("call", "/never")).await?;
    site.receiver.wait_for(1, PATIENCE).await?;
    let mut created = Vec::new();
    let executors: Vec<&Process> = site.cluster.of(Role::Executor).map(|member| &member.process).collect();
    let workers: Vec<&Process> = site.cluster.of(Role::Worker).map(|member| &member.process).collect();
    for (round, stopped) in [executors[0], workers[0], executors[1], workers[1]].into_iter().enumerate() {
        for _ in 0..20 {
            created.push(site.create(site.calls("nap", "/")).await?);
        }
        ensure!(stopped.terminate().await? == Some(0), "{}", stopped.last_lines(30));
        if round == 0 {
            stopped.set("WINDHOVER_CLOCK_OFFSET", Some("PT1M"));
        }
        stopped.start().await?;
    }
    for execution in &created {
        site.ends(execution, State::Success).await?;
    }
    for process in executors.iter().chain(&workers) {
        let log = process.log();
        let errors: Vec<&str> = log.lines().filter(|line| line.contains(" ERROR ")).collect();
        ensure!(errors.is_empty(), "{}: {errors:#?}", process.name());
    }
    ensure!(executors[0].log().contains("clock is ahead of the database's"), "{}", executors[0].last_lines(50));
    // Whoever has it by now, nobody has died of it.
    let request = GetExecutionRequest { execution_id: long.id.clone(), ..Default::default() };
    let seen = site.client.get_execution(request).await?.execution.context("the execution")?;
    ensure!(seen.current_state() == State::Running, "{seen:#?}");
    let lost = |process: &&Process| process.log().contains("the holder of a job is lost");
    ensure!(!executors.iter().any(lost), "a worker that stopped in order was taken for dead");
    Ok(())
}

/// Turns, of which each takes the place of the one before; then what fails until the flow is restarted.
const TURNS: &str = "id: turns
namespace: company.team
inputs:
  - {id: url, type: STRING}
tasks:
  - id: until
    type: io.kestra.plugin.core.flow.LoopUntil
    condition: \"{{ outputs.until.iterationCount == 3 }}\"
    checkFrequency: {interval: PT0.3S, maxIterations: 10}
    tasks:
      - {id: say, type: io.kestra.plugin.core.log.Log, message: a turn}
      - {id: nap, type: io.kestra.plugin.core.flow.Sleep, duration: PT0.2S}
  - {id: request, type: io.kestra.plugin.core.http.Request, uri: \"{{ inputs.url }}\"}
";

/// What a follower that starts behind this cursor knows of task runs at the end, with how many it was told are gone.
async fn followed(
    client: &Client,
    id: &str,
    cursor: &str,
    known: &mut BTreeMap<String, TaskRun>,
) -> Result<(String, usize)> {
    let mut options = FollowOptions::new(id);
    options.request.cursor = cursor.to_owned();
    let mut follow = client.follow_with(options);
    let mut removed = 0;
    while let Some(message) = follow.next().await {
        match message?.event {
            Some(Event::TaskRun(run)) => drop(known.insert(run.id.clone(), *run)),
            Some(Event::TaskRunRemoved(gone)) => removed += usize::from(known.remove(&gone.task_run_id).is_some()),
            _ => {}
        }
    }
    Ok((follow.cursor().to_owned(), removed))
}

#[tokio::test(flavor = "multi_thread")]
async fn followers_hear_of_task_runs_that_are_no_more() -> Result<()> {
    let site = Site::start(&[Role::Gateway, Role::Gateway, Role::Executor, Role::Executor, Role::Worker], &[]).await?;
    site.client.apply_flow(TURNS).await?;
    site.receiver.answer("/", Answer { status: 500, ..Answer::default() });
    let execution = site.create(site.calls("turns", "/")).await?;
    let mut known = BTreeMap::new();
    let (cursor, removed) = followed(&site.client, &execution.id, "", &mut known).await?;
    ensure!(removed >= 2, "it heard of {removed} task runs that are gone; it knows {:#?}", known.values());
    let now = async || -> Result<BTreeMap<String, TaskRun>> {
        let request = GetExecutionRequest { execution_id: execution.id.clone(), ..Default::default() };
        let found = site.client.get_execution(request).await?.execution.context("the execution")?;
        Ok(found.task_runs.into_iter().map(|run| (run.id.clone(), run)).collect())
    };
    let of = |runs: &BTreeMap<String, TaskRun>| {
        runs.values().map(|run| (run.id.clone(), run.current_state())).collect::<Vec<_>>()
    };
    ensure!(of(&known) == of(&now().await?), "{:#?}\n{:#?}", of(&known), of(&now().await?));

    // It goes on from what has failed: that begins anew, under other ids. On another gateway, behind the same cursor.
    site.receiver.answer("/", Answer::default());
    let restart = RestartExecutionRequest { execution_id: execution.id.clone(), ..Default::default() };
    site.client.restart_execution(restart).await?;
    let other = site.cluster.of(Role::Gateway).nth(1).context("a second gateway")?.process.address();
    let other = Client::connect(ClientOptions::new(other).token(TOKEN)).await?;
    followed(&other, &execution.id, &cursor, &mut known).await?;
    site.ends(&execution, State::Success).await?;
    ensure!(of(&known) == of(&now().await?), "{:#?}\n{:#?}", of(&known), of(&now().await?));
    Ok(())
}
