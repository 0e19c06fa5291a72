//! What an operator meets: a server that cannot start says why in one sentence, one that is stopped loses nothing, and
//! none ever shows a secret.

mod support;

use std::{
    fs,
    path::Path,
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use support::{Database, Server, TOKEN, http_get, http_status};
use windhover_client::{
    Client, NewExecution,
    v1::{Execution, ListSecretsRequest, State},
};
use windhover_testkit::{Answer, Postgres, Receiver, free_port, wait_until};

/// How long a server that cannot start may take to say so.
const PATIENCE: Duration = Duration::from_secs(20);

/// A start that must fail.
struct Start<'a> {
    mode: &'a str,
    arguments: Vec<String>,
    environment: Vec<(&'a str, String)>,
}

impl<'a> Start<'a> {
    fn new(mode: &'a str, folder: &Path) -> Result<Self> {
        let arguments = ["--data-dir", &folder.display().to_string(), "--port", &free_port()?.to_string()]
            .into_iter()
            .chain(["--management-port", &free_port()?.to_string()])
            .map(str::to_owned)
            .collect();
        Ok(Self { mode, arguments, environment: Vec::new() })
    }

    /// The last one wins.
    fn with(mut self, flag: &str, value: impl ToString) -> Self {
        match self.arguments.iter().position(|argument| argument == flag) {
            Some(at) => self.arguments[at + 1] = value.to_string(),
            None => self.arguments.extend([flag.to_owned(), value.to_string()]),
        }
        self
    }

    fn set(mut self, name: &'a str, value: impl ToString) -> Self {
        self.environment.push((name, value.to_string()));
        self
    }

    /// It ends with code 1 and one sentence for people, which holds all of these.
    async fn fails_with(self, parts: &[&str]) -> Result<()> {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_windhover"));
        command.args(["server", self.mode]).args(&self.arguments).env_remove("WINDHOVER_DATABASE_URL");
        command.env("RUST_BACKTRACE", "1").envs(self.environment).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let ended = tokio::time::timeout(PATIENCE, command.output()).await;
        let output = ended.with_context(|| format!("the server did not end, which should have said {parts:?}"))??;
        let (said, log) = (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
        let told = format!("it should have said {parts:?}, and ended with {}:\n{said}\n{log}", output.status);
        ensure!(output.status.code() == Some(1), "{told}");
        ensure!(said.trim_end().lines().count() == 1 && said.starts_with("windhover: "), "not one sentence; {told}");
        ensure!(parts.iter().all(|part| said.contains(part)), "{told}");
        for noise in ["panicked", "backtrace", ".rs:", "Error {", "Err(", "password-of-the-database"] {
            ensure!(!said.contains(noise) && !log.contains(noise), "it holds {noise}; {told}");
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_database_of_its_own_a_server_says_which_and_what_to_do() -> Result<()> {
    const URL: &str = "WINDHOVER_DATABASE_URL";
    let folder = tempfile::tempdir()?;
    let standalone =
        || Start::new("standalone", folder.path()).map(|start| start.set("WINDHOVER_BOOTSTRAP_TOKEN", TOKEN));
    let nobody = format!("127.0.0.1:{}", free_port()?);
    let on = |place: &str| format!("postgres://me:password-of-the-database@{place}/windhover");

    standalone()?.fails_with(&["no database is set", URL]).await?;
    standalone()?
        .set(URL, "mysql://me:password-of-the-database@db/x")
        .fails_with(&["postgres://", "sqlite:", URL])
        .await?;
    standalone()?.set(URL, on(&nobody)).fails_with(&[&nobody, "refused", URL]).await?;
    standalone()?.set(URL, on("no-such-host.invalid")).fails_with(&["no-such-host.invalid", URL]).await?;
    let receiver = Receiver::start().await?;
    let http = receiver.url().replace("http://", "");
    standalone()?.set(URL, on(&http)).fails_with(&[&http, "check that it is a Postgres", URL]).await?;

    let postgres = Postgres::shared().await?;
    standalone()?.set(URL, postgres.url("nothing")).fails_with(&["no database of that name", "create it"]).await?;
    let foreign_user = postgres.url("postgres").replace("postgres@", "somebody:password-of-the-database@");
    standalone()?.set(URL, foreign_user).fails_with(&["refuses the login", "somebody", URL]).await?;
    let database = postgres.fresh_database().await?;
    postgres.sql(&database, "CREATE TABLE invoices (id int)").await?;
    standalone()?.set(URL, &database).fails_with(&["invoices", "a database of its own"]).await?;

    let local = || Start::new("local", folder.path());
    let text = folder.path().join("letter.txt");
    fs::write(&text, "This is a letter and no database, however long one looks at it.".repeat(20))?;
    let sqlite = |path: &Path| format!("sqlite:{}", path.display());
    local()?.set(URL, sqlite(&text)).fails_with(&["letter.txt", "not a database", URL]).await?;
    local()?.set(URL, sqlite(folder.path())).fails_with(&["unable to open", URL]).await?;
    local()?.set(URL, sqlite(&folder.path().join("not/there.db"))).fails_with(&["not/there.db", URL]).await?;
    local()?.with("--data-dir", text.display()).fails_with(&["letter.txt", "data folder"]).await?;
    ensure!(fs::read_to_string(&text)?.starts_with("This is a letter"), "the letter was changed");
    ensure!(!folder.path().join("master.key").exists(), "a master key was made for nothing");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_are_wrong_are_named() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("settings.yaml");
    let local = || Start::new("local", folder.path());
    let configured = |text: &str| -> Result<Start<'_>> {
        fs::write(&file, text)?;
        Ok(local()?.with("--config", file.display()))
    };
    configured("windhover: {worker: {slot: 3}}")?
        .fails_with(&["windhover.worker.slot`", "windhover.worker.slots"])
        .await?;
    configured("windhover: {nonsense: {colour: red}}")?.fails_with(&["windhover.nonsense.colour"]).await?;
    configured("windhover: [")?.fails_with(&["settings.yaml", "line 2"]).await?;
    configured("windhover: {worker: {slots: many}}")?.fails_with(&["windhover.worker.slots", "many"]).await?;
    configured("windhover: {outbound: {allow-private: maybe}}")?.fails_with(&["allow-private", "maybe"]).await?;
    configured("windhover: {worker: {slots: 0}}")?.fails_with(&["windhover.worker.slots", "at least 1"]).await?;
    configured("windhover: {shards: [64]}")?.fails_with(&["windhover.shards", "one value"]).await?;
    configured("windhover: 8080")?.fails_with(&["windhover", "must be a map"]).await?;
    configured("windhover: {log: {format: xml}}")?.fails_with(&["windhover.log.format", "xml"]).await?;
    configured("windhover: {log: {level: LOUD}}")?.fails_with(&["LOUD", "DEBUG"]).await?;
    local()?.with("--config", folder.path().join("gone.yaml").display()).fails_with(&["gone.yaml"]).await?;

    local()?.set("WINDHOVER_WORKER_SLOT", 3).fails_with(&["WINDHOVER_WORKER_SLOT"]).await?;
    local()?.set("WINDHOVER_SHARDS", "many").fails_with(&["windhover.shards", "many"]).await?;
    let short = local()?.set("WINDHOVER_BOOTSTRAP_TOKEN", "too-short-a-token");
    short.fails_with(&["bootstrap token", "at least 32", "openssl rand"]).await?;
    let wrong = local()?.set("WINDHOVER_MASTER_KEY", "password-of-the-database");
    wrong.fails_with(&["master key", "base64", "openssl rand"]).await?;

    let taken = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = taken.local_addr()?.port();
    for flag in ["--port", "--management-port"] {
        local()?.with(flag, port).fails_with(&[&port.to_string(), "in use", flag]).await?;
    }
    ensure!(fs::read_dir(folder.path())?.count() == 1, "something else than the settings was made");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installation_is_only_opened_with_its_master_key() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut server = Server::new(Database::Sqlite, folder.path())?;
    server.start().await?;
    server.client().await?.put_secret("", "KEY", "value").await?;
    ensure!(server.terminate().await? == Some(0), "{}", server.log());

    let other = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    let start = Start::new("local", folder.path())?.set("WINDHOVER_MASTER_KEY", other);
    start.fails_with(&["master key", "not the one", "WINDHOVER_MASTER_KEY"]).await?;
    let (file, kept) = (folder.path().join("master.key"), folder.path().join("kept"));
    fs::rename(&file, &kept)?;
    let start = Start::new("local", folder.path())?;
    start.fails_with(&["has a master key", "master.key", "WINDHOVER_MASTER_KEY_FILE"]).await?;
    ensure!(!file.exists(), "a new key took the place of the one that is missing");
    let start = Start::new("local", folder.path())?.set("WINDHOVER_SHARDS", 3);
    let start = start.set("WINDHOVER_MASTER_KEY_FILE", kept.display());
    start.fails_with(&["64 shards", "set 64"]).await?;

    fs::rename(&kept, &file)?;
    server.start().await?;
    ensure!(server.terminate().await? == Some(0), "{}", server.log());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_on_one_database_gives_way() -> Result<()> {
    let postgres = Postgres::shared().await?;
    let url = postgres.fresh_database().await?;
    let folder = tempfile::tempdir()?;
    let mut first = Server::new(Database::Postgres(url.clone()), folder.path())?;
    first.start().await?;
    let client = first.client().await?;
    client.apply_flow(QUICK).await?;

    let second = Start::new("standalone", folder.path())?.set("WINDHOVER_BOOTSTRAP_TOKEN", TOKEN);
    second.set("WINDHOVER_DATABASE_URL", &url).fails_with(&["another"]).await?;

    let created = client.create_execution(NewExecution::of("operation", "quick")).await?;
    let ended = client.wait(&created.id, Some(Duration::from_secs(20))).await?;
    ensure!(ended.current_state() == State::Success, "{ended:?}");
    ensure!(first.terminate().await? == Some(0), "{}", first.log());
    Ok(())
}

const QUICK: &str = "id: quick
namespace: operation
tasks:
  - {id: log, type: io.kestra.plugin.core.log.Log, message: hello}
";

/// Needs a worker, then a timer.
fn slow(url: &str) -> String {
    format!(
        "id: slow
namespace: operation
tasks:
  - {{id: call, type: io.kestra.plugin.core.http.Request, uri: {url}}}
  - {{id: nap, type: io.kestra.plugin.core.flow.Sleep, duration: PT0.2S}}
  - {{id: again, type: io.kestra.plugin.core.http.Request, uri: {url}}}
"
    )
}

const LONG: &str = "id: long
namespace: operation
tasks:
  - {id: nap, type: io.kestra.plugin.core.flow.Sleep, duration: PT1H}
";

async fn stops_in_order(database: Database) -> Result<()> {
    const BEFORE: usize = 150;
    let folder = tempfile::tempdir()?;
    let receiver = Receiver::start().await?;
    receiver.answer("/slow", Answer { delay: Duration::from_millis(100), ..Answer::default() });
    let mut server = Server::new(database, folder.path())?;
    server.start().await?;
    let client = server.client().await?;
    for source in [QUICK, &slow(&format!("{}/slow", receiver.url())), LONG] {
        client.apply_flow(source).await?;
    }
    let long = client.create_execution(NewExecution::of("operation", "long")).await?.id;
    client.wait_for(&long, &[State::Running], Some(Duration::from_secs(20))).await?;
    let waiting = tokio::spawn({
        let (client, long) = (client.clone(), long.clone());
        async move { client.wait(&long, None).await }
    });

    let stop = Arc::new(AtomicBool::new(false));
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let creators: Vec<_> = (0..8)
        .map(|_| tokio::spawn(create_until(Arc::clone(&stop), client.clone(), Arc::clone(&acknowledged))))
        .collect();
    let count = || acknowledged.lock().map(|ids| ids.len()).unwrap_or_default();
    wait_until("executions", Duration::from_secs(60), || async { (count() >= BEFORE).then_some(()) }).await?;

    ensure!(server.terminate().await? == Some(0), "SIGTERM under load:\n{}", server.log());
    stop.store(true, Ordering::Relaxed);
    for creator in creators {
        creator.await??;
    }
    let told = waiting.await?.err().context("a call that waited was answered")?;
    ensure!(told.is_transient(), "whoever waited was told {told:?}");
    ensure!(!server.log().contains("panicked") && !server.log().contains(" ERROR "), "{}", server.log());

    server.start().await?;
    let client = server.client().await?;
    let ids = acknowledged.lock().map(|ids| ids.clone()).unwrap_or_default();
    for id in &ids {
        let ended = client.wait(id, Some(Duration::from_secs(30))).await.with_context(|| id.clone())?;
        ensure!(ended.current_state() == State::Success, "{id} is {:?}: {ended:#?}", ended.current_state());
    }
    let kept = client.wait(&long, Some(Duration::ZERO)).await?;
    ensure!(kept.current_state() == State::Running, "what sleeps is {:?}", kept.current_state());
    ensure!(server.terminate().await? == Some(0), "{}", server.log());
    Ok(())
}

/// Creates executions until it is told to stop, or nobody answers any more.
async fn create_until(stop: Arc<AtomicBool>, client: Client, acknowledged: Arc<Mutex<Vec<String>>>) -> Result<()> {
    let mut number = 0_u32;
    while !stop.load(Ordering::Relaxed) {
        let flow = ["quick", "slow"][number as usize % 2];
        number += 1;
        match client.create_execution(NewExecution::of("operation", flow)).await {
            Ok(created) => acknowledged.lock().map_err(|_| anyhow::anyhow!("poisoned"))?.push(created.id),
            Err(error) if error.is_transient() => return Ok(()),
            Err(error) => return Err(error).context("a server that stops refused a call"),
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_server_stopped_under_load_ends_in_order_and_goes_on_where_it_was() -> Result<()> {
    stops_in_order(Database::Sqlite).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standalone_server_stopped_under_load_ends_in_order_and_goes_on_where_it_was() -> Result<()> {
    let url = Postgres::shared().await?.fresh_database().await?;
    stops_in_order(Database::Postgres(url)).await
}

const SECRET: &str = "Tr0ub4dor-and-3-horses";
/// One that a flow puts into outputs, which are the user's own.
const PUT_OUT: &str = "Correct-b4ttery-and-staple";

const NEEDS_A_NUMBER: &str = "id: needs-a-number
namespace: operation
inputs:
  - {id: n, type: INT}
tasks:
  - {id: t, type: io.kestra.plugin.core.log.Log, message: hi}
";

/// Flows that come near to showing the secret, by id; all but the first fail.
fn tempted(receiver: &str, nobody: u16) -> Vec<(&'static str, String)> {
    const KEY: &str = "{{ secret(\"KEY\") }}";
    let task = |kind: &str, properties: &str| {
        format!("tasks:\n  - {{id: t, type: io.kestra.plugin.core.{kind}, {properties}}}\n")
    };
    let slack =
        "tasks:\n  - {id: t, type: io.kestra.plugin.notifications.slack.SlackIncomingWebhook, payload: '{}', url: ";
    let log = task("log.Log", &format!("message: ['{KEY}', '{{{{ secret(\"KEY\") | base64encode }}}}', 'x{KEY}x']"));
    vec![
        ("logs", log),
        ("fails", task("execution.Fail", &format!("errorMessage: 'it is {KEY}'"))),
        ("calls-nobody", task("http.Request", &format!("uri: 'http://127.0.0.1:{nobody}/{KEY}?key={KEY}'"))),
        ("is-refused", task("http.Request", &format!("uri: '{receiver}/no?key={KEY}', headers: {{key: '{KEY}'}}"))),
        ("calls-no-url", task("http.Request", &format!("uri: '{KEY}'"))),
        ("tells-slack", format!("{slack}'http://127.0.0.1:{nobody}/{KEY}'}}\n")),
        ("counts", task("log.Log", "message: \"{{ secret('KEY') | number('INT') }}\"")),
        ("reads-json", task("log.Log", "message: \"{{ fromJson(secret('KEY')) }}\"")),
        ("reads-a-date", task("log.Log", "message: \"{{ secret('KEY') | date('yyyy') }}\"")),
        ("has-no-such-part", task("log.Log", "message: \"{{ secret('KEY', subkey='part') }}\"")),
        ("sleeps", task("flow.Sleep", &format!("duration: '{KEY}'"))),
        (
            "switches",
            "tasks:\n  - id: t\n    type: io.kestra.plugin.core.flow.Switch\n    value: '{{ secret(\"PUT_OUT\") }}'\n    cases:\n      a:\n        - {id: u, type: io.kestra.plugin.core.log.Log, message: x}\n"
                .to_owned(),
        ),
        (
            "repeats",
            format!(
                "tasks:\n  - id: t\n    type: io.kestra.plugin.core.flow.ForEach\n    values: '{KEY}'\n    tasks:\n      - {{id: u, type: io.kestra.plugin.core.log.Log, message: x}}\n"
            ),
        ),
        ("answers", format!("{}outputs:\n  - {{id: n, type: INT, value: '{KEY}'}}\n", task("log.Log", "message: hi"))),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_neither_logged_nor_listed_nor_told_in_errors_or_metrics_nor_stored_readably() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let receiver = Receiver::start().await?;
    receiver.answer("/no", Answer { status: 500, ..Answer::default() });
    let mut server = Server::new(Database::Sqlite, folder.path())?;
    server.set("WINDHOVER_LOG_LEVEL", "DEBUG");
    server.start().await?;
    let client = server.client().await?;
    client.put_secret("operation", "KEY", SECRET).await?;
    client.put_secret("operation", "PUT_OUT", PUT_OUT).await?;

    let mut seen = Vec::new();
    for (id, rest) in tempted(&receiver.url(), free_port()?) {
        client.apply_flow(format!("id: {id}\nnamespace: operation\n{rest}")).await.context(id)?;
        let created = client.create_execution(NewExecution::of("operation", id)).await.context(id)?;
        let ended = client.wait(&created.id, Some(Duration::from_secs(30))).await?;
        let expected = if id == "logs" { State::Success } else { State::Failed };
        ensure!(ended.current_state() == expected, "{id} ended {:?}: {ended:#?}", ended.current_state());
        let lines = client.logs(&created.id).await?;
        seen.push((id, format!("{:#?}\n{lines:#?}", without_values(ended))));
    }
    let shown = &seen[0].1;
    ensure!(shown.matches("******").count() == 3, "the lines are not there, or not masked: {shown}");
    let asked = receiver.received_on("/no");
    ensure!(asked[0].query.contains(SECRET) && asked[0].header("key") == Some(SECRET), "the task had no secret");

    // What callers are told: a default that is no number, a webhook whose key it is.
    let number = NEEDS_A_NUMBER.replace("type: INT", "type: INT, defaults: \"{{ secret('KEY') }}\"");
    client.apply_flow(number).await?;
    let error = client.create_execution(NewExecution::of("operation", "needs-a-number")).await.err();
    seen.push(("an input's default", format!("{:?}", error.context("a text was taken for a number")?)));
    let hook = "triggers:\n  - {id: h, type: io.kestra.plugin.core.trigger.Webhook, key: \"{{ secret('KEY') }}\"}\n";
    client
        .apply_flow(format!("id: hook\nnamespace: operation\n{}{hook}", &QUICK[QUICK.find("tasks").unwrap_or(0)..]))
        .await?;
    let path = "/api/v1/executions/webhook/operation/hook/";
    ensure!(http_status(server.port, &format!("{path}{SECRET}")).await == Some(200), "the webhook was not found");
    let answer = http_get(server.port, &format!("{path}{}", SECRET.to_lowercase())).await.unwrap_or_default();
    ensure!(answer.contains(" 404 "), "{answer}");
    seen.push(("a webhook", answer));
    let given = "key: of-a-number, inputs: {n: \"{{ secret('KEY') }}\"}}\n";
    let hook = format!("{NEEDS_A_NUMBER}triggers:\n  - {{id: h, type: io.kestra.plugin.core.trigger.Webhook, {given}");
    client.apply_flow(hook).await?;
    let path = "/api/v1/executions/webhook/operation/needs-a-number/of-a-number";
    let answer = http_get(server.port, path).await.unwrap_or_default();
    ensure!(answer.contains(" 422 ") && answer.contains("INT"), "{answer}");
    seen.push(("a webhook's input", answer));

    let listed =
        client.list_secrets(ListSecretsRequest { namespace: "operation".into(), ..Default::default() }).await?;
    let names: Vec<&str> = listed.secrets.iter().map(|secret| secret.name.as_str()).collect();
    ensure!(names == ["KEY", "PUT_OUT"], "{listed:?}");
    seen.push(("ListSecrets", format!("{listed:?}")));
    for path in ["/prometheus", "/health", "/info"] {
        seen.push((path, http_get(server.management, path).await.unwrap_or_default()));
    }
    ensure!(seen.iter().any(|(what, text)| *what == "/prometheus" && text.contains("operation")), "no metrics");
    ensure!(server.terminate().await? == Some(0), "{}", server.log());
    seen.push(("the server's log", server.log()));
    ensure!(server.log().contains("DEBUG"), "the log is not as talkative as it should be");

    let master = fs::read_to_string(folder.path().join("master.key"))?;
    let hidden: Vec<String> = forms().into_iter().chain([master.trim().to_owned()]).collect();
    let shows = |line: &str| hidden.iter().any(|hidden| line.contains(hidden));
    let lines = seen.iter().flat_map(|(what, text)| text.lines().map(move |line| (what, line)));
    let shown: Vec<_> = lines.filter(|(_, line)| shows(line)).collect();
    ensure!(shown.is_empty(), "a secret is shown: {shown:#?}");
    for entry in fs::read_dir(folder.path())? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("windhover.db")) {
            let bytes = fs::read(&path)?;
            let found = bytes.windows(SECRET.len()).position(|window| window == SECRET.as_bytes());
            let around = found.map(|at| String::from_utf8_lossy(&bytes[at.saturating_sub(200)..at + 40]).into_owned());
            ensure!(around.is_none(), "{} holds the secret readably: {around:?}", path.display());
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subflow_that_cannot_be_started_tells_no_secret() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut server = Server::new(Database::Sqlite, folder.path())?;
    server.start().await?;
    let client = server.client().await?;
    client.put_secret("operation", "KEY", SECRET).await?;
    client.apply_flow(NEEDS_A_NUMBER).await?;
    for properties in
        ["flowId: needs-a-number, inputs: {n: \"{{ secret('KEY') }}\"}", "flowId: \"{{ secret('KEY') }}\""]
    {
        let task = format!("{{id: t, type: io.kestra.plugin.core.flow.Subflow, namespace: operation, {properties}}}");
        client.apply_flow(format!("id: parent\nnamespace: operation\ntasks: [{task}]\n")).await?;
        let created = client.create_execution(NewExecution::of("operation", "parent")).await?;
        let ended = client.wait(&created.id, Some(Duration::from_secs(20))).await?;
        ensure!(ended.current_state() == State::Failed, "{ended:#?}");
        let told = format!("{:?} {:?}", without_values(ended), client.logs(&created.id).await?);
        ensure!(!told.contains(SECRET), "{properties}: {told}");
    }
    Ok(())
}

/// The execution without what flows themselves put into it.
fn without_values(mut execution: Execution) -> Execution {
    for run in &mut execution.task_runs {
        run.outputs = None;
    }
    Execution { inputs: None, outputs: None, variables: None, ..execution }
}

/// The secrets, and what they look like where they were not taken as they are.
fn forms() -> Vec<String> {
    let forms =
        |secret: &str| [secret.to_owned(), secret.replace('-', "%2D"), secret.to_lowercase(), secret.to_uppercase()];
    let base64 = "VHIwdWI0ZG9yLWFuZC0zLWhvcnNlcw".to_owned();
    [forms(SECRET), forms(PUT_OUT)].into_iter().flatten().chain([base64]).collect()
}
