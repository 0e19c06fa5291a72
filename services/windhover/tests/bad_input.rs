//! Whatever strangers send to a real server: a status with reason, field and position, nothing half stored, and a server
//! that goes on.

mod support;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use support::{Database, Server, TOKEN, http_status};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::{Code, codec::CompressionEncoding};
use windhover_client::{
    Client, ClientError, NewExecution,
    admin::v1::{CreateTenantRequest, CreateTokenRequest, ListTokensRequest, Role, WhoAmIRequest},
    v1::*,
};
use windhover_testkit::Postgres;

const MIB: usize = 1 << 20;

const HEAD: &str = "id: bad\nnamespace: strangers\n";

const GOOD: &str = "id: good
namespace: strangers
inputs:
  - id: day
    type: DATE
  - id: times
    type: INT
    max: 10
    required: false
  - id: size
    type: SELECT
    values: [small, large]
    defaults: small
  - id: numbers
    type: ARRAY
    itemType: INT
    required: false
  - id: free
    type: JSON
    required: false
tasks:
  - id: log
    type: io.kestra.plugin.core.log.Log
    message: \"{{ inputs.day }}\"
triggers:
  - id: hook
    type: io.kestra.plugin.core.trigger.Webhook
    key: hook-key
    inputs:
      day: \"{{ trigger.body.day }}\"
";

/// A server on SQLite, and what it held before it was sent anything bad.
struct Attacked {
    server: Server,
    client: Client,
    before: Vec<String>,
    _folder: tempfile::TempDir,
}

impl Attacked {
    async fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut server = Server::new(Database::Sqlite, folder.path())?;
        server.start().await?;
        let client = server.client().await?;
        client.apply_flow(GOOD).await?;
        let before = everything(&client).await?;
        Ok(Self { server, client, before, _folder: folder })
    }

    /// Nothing was stored, nothing in the server broke, and it still works.
    async fn unharmed(mut self) -> Result<()> {
        ensure!(
            everything(&self.client).await? == self.before,
            "something was stored: {:?}",
            everything(&self.client).await?
        );
        self.still_works().await
    }

    async fn still_works(&mut self) -> Result<()> {
        works(&self.server, &self.client).await?;
        let log = self.server.log();
        ensure!(!log.contains("panicked"), "a part of the server panicked:\n{log}");
        ensure!(self.server.terminate().await? == Some(0), "the server did not end in order:\n{}", self.server.log());
        Ok(())
    }
}

async fn works(server: &Server, client: &Client) -> Result<()> {
    ensure!(http_status(server.management, "/health/readiness").await == Some(200), "the server is not ready any more");
    let created = client.create_execution(NewExecution::of("strangers", "good").input("day", "2026-02-28")).await?;
    let ended = client.wait(&created.id, Some(Duration::from_secs(20))).await?;
    ensure!(ended.current_state() == State::Success, "a good flow ended {:?}", ended.current_state());
    Ok(())
}

/// Flows with their revisions, executions, secrets: one line each.
async fn everything(client: &Client) -> Result<Vec<String>> {
    let flows = client.list_flows(ListFlowsRequest { page_size: 1_000, ..Default::default() }).await?.flows;
    let executions = client.list_executions(ListExecutionsRequest { page_size: 1_000, ..Default::default() }).await?;
    let secrets = ListSecretsRequest { namespace: "strangers".into(), page_size: 1_000, ..Default::default() };
    let secrets = client.list_secrets(secrets).await?.secrets;
    let mut lines: Vec<String> =
        flows.iter().map(|flow| format!("flow {}.{} {}", flow.namespace, flow.id, flow.revision)).collect();
    lines.extend(executions.executions.iter().map(|execution| format!("execution {}", execution.id)));
    lines.extend(secrets.iter().map(|secret| format!("secret {}.{}", secret.namespace, secret.name)));
    Ok(lines)
}

/// The error of a call, which has this code and reason, and names every one of these fields.
#[track_caller]
fn refused<T: std::fmt::Debug>(
    what: &str,
    outcome: Result<T, ClientError>,
    code: Code,
    reason: &str,
    fields: &[&str],
) -> ClientError {
    let error = match outcome {
        Ok(answer) => panic!("{what}: was taken: {answer:?}"),
        Err(error) => error,
    };
    assert_eq!((error.code, error.reason.as_str()), (code, reason), "{what}: {error:?}");
    let named: Vec<&str> = error.fields.iter().map(|one| one.field.as_str()).collect();
    assert_eq!(named, fields, "{what}: {error:?}");
    assert!(error.fields.iter().all(|one| !one.description.is_empty()), "{what}: {error:?}");
    assert!(error.request_id.as_ref().is_some_and(|id| !id.is_empty()), "{what} has no request id: {error:?}");
    error
}

/// What it is, the source after [`HEAD`] (which has two lines), and the fields of the refusal.
const WRONG_SOURCES: &[(&str, &str, &[&str])] = &[
    ("a list that is not closed", "tasks: [\n", &["source:4:1"]),
    ("an indentation that does not fit", "tasks:\n  - id: a\n   type: x\n", &["source:5:4"]),
    ("a tab as indentation", "tasks:\n\t- id: a\n", &["source:4:2"]),
    ("an unknown alias", "description: *nobody\n", &["source:3:14"]),
    ("an alias inside its own anchor", "variables:\n  a: &a [x, *a]\n", &["source:4:13"]),
    ("a second document", "tasks: []\n---\nid: second\n", &["source:4:1"]),
    ("a text instead of a list", "tasks: none\n", &["source:3:8 tasks"]),
    ("no tasks", "description: nothing to do\n", &["source:1:1 tasks"]),
    (
        "an unknown type",
        "tasks:\n  - id: a\n    type: io.kestra.plugin.core.log.Logg\n",
        &["source:5:11 tasks[0].type"],
    ),
    (
        "an unknown property",
        "tasks:\n  - id: a\n    type: io.kestra.plugin.core.log.Log\n    message: hi\n    colour: red\n",
        &["source:7:5 tasks[0].colour"],
    ),
    (
        "an unknown property of the flow",
        "colour: red\ntasks:\n  - {id: a, type: io.kestra.plugin.core.log.Log, message: hi}\n",
        &["source:3:1 colour"],
    ),
    (
        "a key twice",
        "tasks:\n  - id: a\n    type: io.kestra.plugin.core.log.Log\n    message: hi\n    message: ho\n",
        &["source:7:5 tasks[0].message"],
    ),
    (
        "an id of a task twice",
        "tasks:\n  - {id: a, type: io.kestra.plugin.core.log.Log, message: hi}\n  - {id: a, type: io.kestra.plugin.core.log.Log, message: hi}\n",
        &["source:5:10 tasks[1].id"],
    ),
    (
        "an id of an input twice",
        "inputs:\n  - {id: i, type: STRING}\n  - {id: i, type: INT}\ntasks:\n  - {id: a, type: io.kestra.plugin.core.log.Log, message: hi}\n",
        &["source:5:10 inputs[1].id"],
    ),
    (
        "inputs that wait for each other",
        "inputs:\n  - {id: i, type: STRING, dependsOn: {inputs: [j]}}\n  - {id: j, type: STRING, dependsOn: {inputs: [i]}}\ntasks:\n  - {id: a, type: io.kestra.plugin.core.log.Log, message: hi}\n",
        &["source:4:38 inputs[0].dependsOn"],
    ),
    (
        "a subflow that is the flow itself",
        "tasks:\n  - {id: a, type: io.kestra.plugin.core.flow.Subflow, namespace: strangers, flowId: bad}\n",
        &["source:4:85 tasks[0].flowId"],
    ),
    (
        "everything at once",
        "colour: red\ntasks:\n  - id: a b\n    type: io.kestra.plugin.core.log.Log\n    message: hi\n    retry: {type: constant, interval: soon, maxAttempts: 2}\n  - id: c\n    type: nothing.Known\n",
        &[
            "source:3:1 colour",
            "source:5:9 tasks[0].id",
            "source:8:39 tasks[0].retry.interval",
            "source:10:11 tasks[1].type",
        ],
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_mistake_of_a_source_is_told_with_its_place_and_nothing_of_it_is_stored() -> Result<()> {
    let attacked = Attacked::start().await?;
    let client = &attacked.client;
    for (what, rest, fields) in WRONG_SOURCES {
        let source = format!("{HEAD}{rest}");
        let error = refused(what, client.apply_flow(&source).await, Code::InvalidArgument, "INVALID_FLOW", fields);
        assert!(!error.message.is_empty(), "{what}");
        assert!(!format!("{error:?}").contains("did you mean `did you mean"), "{what}: {error:?}");
        // Only looking at it tells the same.
        let checked = client.validate_flow(ValidateFlowRequest { source }).await?;
        let places: Vec<String> = checked
            .violations
            .iter()
            .filter(|one| one.severity() == Severity::Error)
            .map(|one| format!("source:{}:{} {}", one.line, one.column, one.path).trim_end().to_owned())
            .collect();
        ensure!(!checked.valid && places == *fields, "{what}: {places:?}");
    }
    attacked.unharmed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_that_are_huge_deep_or_bombs_are_refused_while_they_are_small() -> Result<()> {
    let attacked = Attacked::start().await?;
    let client = &attacked.client;
    let huge = format!("{HEAD}description: {}\n", "x".repeat(MIB));
    let error =
        refused("a huge source", client.apply_flow(&huge).await, Code::ResourceExhausted, "MESSAGE_TOO_LARGE", &[]);
    ensure!(error.metadata["limit"] == MIB.to_string(), "{error:?}");

    let mut bomb = format!("{HEAD}variables:\n  a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..30 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        bomb.push_str(&format!("  a{level}: &a{level} [{aliases}]\n"));
    }
    let deep = format!("{HEAD}variables:\n  a: {}{}\n", "[".repeat(100_000), "]".repeat(100_000));
    let deep_blocks = format!("{HEAD}variables:\n  a:\n    {}x\n", "- ".repeat(100_000));
    for (what, source) in [("an alias bomb", bomb), ("a deep list", deep), ("deep blocks", deep_blocks)] {
        let error = client.apply_flow(&source).await.err().with_context(|| format!("{what} was taken"))?;
        ensure!((error.code, error.reason.as_str()) == (Code::InvalidArgument, "INVALID_FLOW"), "{what}: {error:?}");
        ensure!(error.fields.len() == 1 && error.fields[0].field.starts_with("source:"), "{what}: {error:?}");
    }

    let many: String = (0..20_000).map(|n| format!("unknown{n}: 1\n")).collect();
    let error = client.apply_flow(many).await.err().context("20,000 mistakes were taken")?;
    ensure!(error.reason == "INVALID_FLOW" && !error.fields.is_empty(), "{error:?}");
    ensure!(error.metadata.contains_key("omitted_violations"), "{error:?}");

    let unbuilt = format!("{HEAD}tasks:\n  - id: a\n    type: io.kestra.plugin.ee.core.log.LogShipper\n");
    let error = client.apply_flow(unbuilt).await.err().context("a type that is not built was taken")?;
    ensure!((error.code, error.reason.as_str()) == (Code::Unimplemented, "UNSUPPORTED"), "{error:?}");
    ensure!(error.fields.iter().any(|one| one.field == "source:5:11 tasks[0].type"), "{error:?}");

    for source in ["", " \n ", "\u{feff}"] {
        let error = client.apply_flow(source).await.err().context("an empty source was taken")?;
        ensure!(error.code == Code::InvalidArgument && error.fields[0].field.starts_with("source"), "{error:?}");
    }
    attacked.unharmed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_above_the_limit_are_refused_and_name_it_also_when_they_are_compressed() -> Result<()> {
    let attacked = Attacked::start().await?;
    let client = &attacked.client;
    let limit = (16 * MIB).to_string();
    let large = client.apply_flow("x".repeat(17 * MIB)).await;
    let error = refused("17 MiB", large, Code::ResourceExhausted, "MESSAGE_TOO_LARGE", &[]);
    ensure!(error.metadata["limit"] == limit, "{error:?}");

    let mut compressing = client.flow_service().send_compressed(CompressionEncoding::Gzip);
    let bomb = compressing.apply_flow(ApplyFlowRequest { source: "x".repeat(200 * MIB), ..Default::default() }).await;
    let bomb = bomb.map_err(ClientError::from);
    let error = refused("200 MiB of nothing", bomb, Code::ResourceExhausted, "MESSAGE_TOO_LARGE", &[]);
    ensure!(error.metadata["limit"] == limit, "{error:?}");

    let of_size = |bytes: usize| NewExecution::of("strangers", "good").input("day", "x".repeat(bytes));
    let large = client.create_execution(of_size(4 * MIB)).await;
    let error = refused("inputs above 4 MiB", large, Code::ResourceExhausted, "MESSAGE_TOO_LARGE", &[]);
    ensure!(error.metadata["limit"] == (4 * MIB).to_string(), "{error:?}");
    let fits = client.create_execution(of_size(4 * MIB - 100)).await;
    refused("inputs below 4 MiB", fits, Code::InvalidArgument, "INVALID_INPUT", &["inputs.day"]);
    attacked.unharmed().await
}

/// Inputs as texts of JSON, by id.
type Given<'a> = Vec<(&'a str, &'a str)>;

#[tokio::test(flavor = "multi_thread")]
async fn inputs_that_are_missing_or_of_a_wrong_type_are_all_named() -> Result<()> {
    let attacked = Attacked::start().await?;
    let client = &attacked.client;
    let create = |inputs: Vec<(&str, &str)>| CreateExecutionRequest {
        namespace: "strangers".into(),
        flow_id: "good".into(),
        inputs: inputs.into_iter().map(|(id, text)| (id.to_owned(), Json { text: text.to_owned() })).collect(),
        ..Default::default()
    };
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep_text = serde_json::to_string(&deep)?;
    let day = ("day", "\"2026-02-28\"");
    let cases: Vec<(&str, Given<'_>, &[&str])> = vec![
        ("no value", vec![], &["inputs.day"]),
        ("null", vec![("day", "null")], &["inputs.day"]),
        ("a day that does not exist", vec![("day", "\"2026-02-30\"")], &["inputs.day"]),
        ("a text for a number", vec![day, ("times", "\"many\"")], &["inputs.times"]),
        ("a list for a number", vec![day, ("times", "[1]")], &["inputs.times"]),
        ("a number out of range", vec![day, ("times", "11")], &["inputs.times"]),
        ("a number of no size", vec![day, ("times", "1e400")], &["inputs.times"]),
        ("a value that is not offered", vec![day, ("size", "\"huge\"")], &["inputs.size"]),
        ("a wrong item", vec![day, ("numbers", "[1, \"two\"]")], &["inputs.numbers"]),
        ("no JSON", vec![day, ("times", "{")], &["inputs.times"]),
        ("an empty text", vec![day, ("times", "")], &["inputs.times"]),
        ("deep JSON", vec![day, ("free", &deep)], &["inputs.free"]),
        ("a text with deep JSON", vec![day, ("free", &deep_text)], &["inputs.free"]),
        (
            "everything at once",
            vec![("times", "\"many\""), ("size", "\"huge\"")],
            &["inputs.day", "inputs.times", "inputs.size"],
        ),
    ];
    for (what, inputs, fields) in &cases {
        let outcome = client.create_execution(create(inputs.clone())).await;
        refused(what, outcome, Code::InvalidArgument, "INVALID_INPUT", fields);
    }

    // In a batch each wrong request is told in its place, and only the good one is made.
    let mut requests: Vec<_> = cases.iter().map(|(_, inputs, _)| create(inputs.clone())).collect();
    requests.insert(3, create(vec![day]));
    let results = client.batch_create_executions(BatchCreateExecutionsRequest { requests }).await?.results;
    for (index, result) in results.into_iter().enumerate() {
        match result.outcome.context("an outcome")? {
            batch_create_executions_result::Outcome::Execution(_) => ensure!(index == 3, "{index} was made"),
            batch_create_executions_result::Outcome::Error(error) => {
                let (_, _, fields) = &cases[if index > 3 { index - 1 } else { index }];
                let named: Vec<&str> = error.fields.iter().map(|one| one.field.as_str()).collect();
                ensure!(error.reason == "INVALID_INPUT" && named == *fields, "{index}: {error:?}");
            }
        }
    }
    let mut attacked = attacked;
    ensure!(everything(&attacked.client).await?.len() == attacked.before.len() + 1, "more than one was made");
    attacked.still_works().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_exist_is_not_found_whatever_is_asked_of_it() -> Result<()> {
    let attacked = Attacked::start().await?;
    let client = &attacked.client;
    let nobody = || "0000000000000000000001".to_owned();
    let none = Code::NotFound;
    let new = NewExecution::of("strangers", "gone");
    refused("a flow", client.create_execution(new).await, none, "FLOW_NOT_FOUND", &[]);
    let new = NewExecution::of("strangers", "good").revision(9).input("day", "2026-01-01");
    refused("a revision", client.create_execution(new).await, none, "FLOW_NOT_FOUND", &[]);
    let flow = GetFlowRequest { namespace: "strangers".into(), flow_id: "gone".into(), revision: None };
    refused("a flow to get", client.get_flow(flow).await, none, "FLOW_NOT_FOUND", &[]);
    let flow = DeleteFlowRequest { namespace: "strangers".into(), flow_id: "gone".into(), ..Default::default() };
    refused("a flow to delete", client.delete_flow(flow).await, none, "FLOW_NOT_FOUND", &[]);
    let flow = ListFlowRevisionsRequest { namespace: "x".into(), flow_id: "gone".into(), ..Default::default() };
    refused("a flow to list", client.list_flow_revisions(flow).await, none, "FLOW_NOT_FOUND", &[]);

    let get = GetExecutionRequest { execution_id: nobody(), view: 0 };
    refused("to get", client.get_execution(get).await, none, "EXECUTION_NOT_FOUND", &[]);
    let kill = KillExecutionRequest { execution_id: nobody(), request_id: String::new() };
    refused("to kill", client.kill_execution(kill).await, none, "EXECUTION_NOT_FOUND", &[]);
    let runs = ListTaskRunsRequest { execution_id: nobody(), ..Default::default() };
    refused("to list", client.list_task_runs(runs).await, none, "EXECUTION_NOT_FOUND", &[]);
    let logs = ListLogsRequest { execution_id: nobody(), ..Default::default() };
    refused("logs", client.list_logs(logs).await, none, "EXECUTION_NOT_FOUND", &[]);
    let waited = client.wait(&nobody(), Some(Duration::from_secs(5))).await;
    refused("to wait", waited, none, "EXECUTION_NOT_FOUND", &[]);
    let followed = client.follow(nobody()).next().await.context("an answer")?;
    refused("to follow", followed, none, "EXECUTION_NOT_FOUND", &[]);
    let secret = DeleteSecretRequest { namespace: "strangers".into(), name: "GONE".into() };
    refused("a secret", client.delete_secret(secret).await, none, "SECRET_NOT_FOUND", &[]);

    let elsewhere = client.acting_as(None, Some("nobody"))?;
    let asked = elsewhere.list_flows(ListFlowsRequest::default()).await;
    refused("a tenant", asked, none, "TENANT_NOT_FOUND", &[]);
    let elsewhere = client.acting_as(None, Some("Not A Name"))?;
    let asked = elsewhere.list_flows(ListFlowsRequest::default()).await;
    refused("a tenant's name", asked, Code::InvalidArgument, "INVALID_TENANT", &[]);
    attacked.unharmed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_of_a_wrong_form_are_named() -> Result<()> {
    let attacked = Attacked::start().await?;
    let client = &attacked.client;
    let wrong = Code::InvalidArgument;
    let day = || NewExecution::of("strangers", "good").input("day", "2026-01-01");
    let invalid = "INVALID_ARGUMENT";

    let labelled = |key: &str, value: &str| day().label(key, value);
    for (what, new, reason, field) in [
        ("a reserved label", labelled("system.from", "me"), "LABEL_RESERVED", "labels[0].key"),
        ("a label without key", labelled("", "x"), invalid, "labels[0].key"),
        ("a label without value", labelled("x", ""), invalid, "labels[0].value"),
        ("a long label", labelled("x", &"x".repeat(1_025)), invalid, "labels[0].value"),
        ("a long request id", day().request_id("x".repeat(129)), invalid, "request_id"),
    ] {
        refused(what, client.create_execution(new).await, wrong, reason, &[field]);
    }
    let mut many = day();
    for n in 0..101 {
        many = many.label(format!("l{n}"), "x");
    }
    refused("101 labels", client.create_execution(many).await, wrong, invalid, &["labels"]);
    for seconds in [i64::MAX, i64::MIN] {
        let schedule_time = Some(prost_types::Timestamp { seconds, nanos: -1 });
        let request = CreateExecutionRequest { schedule_time, ..day().into() };
        refused("a time that is none", client.create_execution(request).await, wrong, invalid, &["schedule_time"]);
    }
    let unnamed = client.create_execution(NewExecution::of("", "good")).await;
    refused("no namespace", unnamed, wrong, invalid, &["namespace"]);

    for id in ["", "7", "not-an-id-at-all-really", "../../../etc/passwd", &"x".repeat(100_000)] {
        let get = GetExecutionRequest { execution_id: id.to_owned(), view: 0 };
        refused("an id that is none", client.get_execution(get).await, wrong, invalid, &["execution_id"]);
    }
    let get = GetExecutionRequest { execution_id: "0000000000000000000001".into(), view: 77 };
    refused("a view that is none", client.get_execution(get).await, wrong, invalid, &["view"]);

    for requests in [Vec::new(), vec![day().into(); 1_001]] {
        let batch = client.batch_create_executions(BatchCreateExecutionsRequest { requests }).await;
        refused("a batch of no size", batch, wrong, invalid, &["requests"]);
    }
    let secret = "hunter2-and-more";
    for (name, value, field) in [
        ("with space", secret.to_owned(), "name"),
        ("", secret.to_owned(), "name"),
        ("EMPTY", String::new(), "value"),
        ("LARGE", secret.repeat(5_000), "value"),
    ] {
        let error = refused(name, client.put_secret("strangers", name, value).await, wrong, invalid, &[field]);
        ensure!(!format!("{error:?}").contains(secret), "the error holds the value");
    }
    let placed = client.put_secret("Not A Namespace", "NAME", secret).await;
    refused("a secret's namespace", placed, wrong, invalid, &["namespace"]);
    attacked.unharmed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_filters_are_refused_with_the_position_and_wrong_page_tokens_with_the_reason() -> Result<()> {
    let attacked = Attacked::start().await?;
    let client = &attacked.client;
    let (wrong, field) = (Code::InvalidArgument, &["filter"][..]);
    let list = |filter: &str| ListExecutionsRequest { filter: filter.to_owned(), ..Default::default() };
    for (filter, position) in [
        ("state = GONE", 9),
        ("nothing = 1", 1),
        ("state", 6),
        ("state = FAILED AND", 19),
        ("state = FAILED flow = x", 16),
        ("namespace = \"open", 13),
        ("created > yesterday", 11),
        ("state > FAILED", 1),
        ("(state = FAILED", 1),
        ("parent = 7", 10),
    ] {
        let outcome = client.list_executions(list(filter)).await;
        let error = refused(filter, outcome, wrong, "INVALID_FILTER", field);
        ensure!(error.metadata["position"] == position.to_string(), "{filter}: {error:?}");
    }
    let huge = format!("state = FAILED{}", " OR state = FAILED".repeat(100_000));
    for filter in ["(".repeat(100_000), "NOT ".repeat(100_000), huge] {
        let outcome = client.list_executions(list(&filter)).await;
        refused(&filter[..20], outcome, wrong, "INVALID_FILTER", field);
    }
    let other = ListFlowsRequest { filter: "state = FAILED".into(), ..Default::default() };
    refused("a field of executions", client.list_flows(other).await, wrong, "INVALID_FILTER", field);

    for flow in ["one", "two"] {
        client.apply_flow(GOOD.replace("id: good", &format!("id: {flow}"))).await?;
    }
    let first = client.list_flows(ListFlowsRequest { page_size: 1, ..Default::default() }).await?;
    let token = first.next_page_token;
    ensure!(!token.is_empty(), "there is no second page");
    let page = |filter: &str, page_token: &str| ListFlowsRequest {
        page_size: 1,
        page_token: page_token.to_owned(),
        filter: filter.to_owned(),
        ..Default::default()
    };
    ensure!(client.list_flows(page("", &token)).await?.flows.len() == 1, "the token is not good");
    for (what, request) in [
        ("a token that is none", page("", "AAAA")),
        ("no base64", page("", "?!")),
        ("a token that was changed", page("", &format!("B{}", &token[1..]))),
        ("a token that was cut", page("", &token[..token.len() - 4])),
        ("a token of another filter", page("namespace = \"strangers\"", &token)),
        ("a huge token", page("", &"A".repeat(MIB))),
    ] {
        refused(what, client.list_flows(request).await, wrong, "INVALID_PAGE_TOKEN", &["page_token"]);
    }
    let elsewhere = ListExecutionsRequest { page_token: token, ..Default::default() };
    let outcome = client.list_executions(elsewhere).await;
    refused("a token of another list", outcome, wrong, "INVALID_PAGE_TOKEN", &["page_token"]);
    let large = ListFlowsRequest { page_size: 1_001, ..Default::default() };
    refused("a large page", client.list_flows(large).await, wrong, "INVALID_ARGUMENT", &["page_size"]);
    let mut attacked = attacked;
    attacked.still_works().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_stands_for_one_content() -> Result<()> {
    let mut attacked = Attacked::start().await?;
    let client = &attacked.client;
    let new = |day: &str| NewExecution::of("strangers", "good").input("day", day).request_id("once");
    let first = client.create_execution(new("2026-01-01")).await?;
    ensure!(client.create_execution(new("2026-01-01")).await?.id == first.id, "the second answer is another");
    let other = client.create_execution(new("2026-01-02")).await;
    refused("another content", other, Code::AlreadyExists, "REQUEST_ID_REUSED", &["request_id"]);
    // Neither is it free for what could not be made.
    let wrong = client.create_execution(new("never")).await;
    ensure!(wrong.is_err(), "{wrong:?}");
    ensure!(everything(&attacked.client).await?.len() == attacked.before.len() + 1, "more than one was made");
    attacked.still_works().await
}

/// Status and body of an HTTP answer. `request` is everything that is sent, also when it is not whole.
async fn answer(port: u16, request: &[u8]) -> Result<(u16, Value)> {
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(request).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split_whitespace().nth(1).context("a status line")?.parse()?;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
    Ok((status, serde_json::from_str(body).unwrap_or(Value::Null)))
}

fn post(path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    let length = format!("Content-Length: {}\r\n{headers}\r\n", body.len());
    [head.as_bytes(), length.as_bytes(), body].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_refuse_bodies_of_the_wrong_kind_unknown_keys_and_unknown_paths() -> Result<()> {
    const HOOK: &str = "/api/v1/executions/webhook/strangers/good/hook-key";
    let attacked = Attacked::start().await?;
    let port = attacked.server.port;
    let body = |path: &str, headers: &str, body: &[u8]| post(path, headers, body);
    let good = br#"{"day": "2026-01-01"}"#;
    let announced = format!("POST {HOOK} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", 4 * MIB + 1).into_bytes();
    let mut chunked =
        format!("POST {HOOK} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n", 4 * MIB + 1)
            .into_bytes();
    chunked.extend(vec![b'x'; 4 * MIB + 1]);
    let cases: Vec<(&str, Vec<u8>, u16, &str)> = vec![
        ("no UTF-8", body(HOOK, "", &[b'{', 0xff, b'}']), 422, "byte 1 is not UTF-8"),
        ("a file", body(HOOK, "Content-Type: multipart/form-data; boundary=x\r\n", b"--x--"), 415, "multipart"),
        ("compressed", body(HOOK, "Content-Encoding: gzip\r\n", b"\x1f\x8b"), 415, "compressed"),
        ("a length above the limit", announced, 413, "4194304 bytes"),
        ("chunks above the limit", chunked, 413, "4194304 bytes"),
        ("no body where one is needed", body(HOOK, "", b""), 422, "inputs"),
        ("a body without the input", body(HOOK, "", b"{}"), 422, "inputs"),
        ("a list", body(HOOK, "", b"[1, 2]"), 422, "inputs"),
        ("a text", body(HOOK, "", b"it is on fire"), 422, "inputs"),
        ("JSON that ends too early", body(HOOK, "", br#"{"day": "2026-"#), 422, "inputs"),
        ("a wrong value", body(HOOK, "", br#"{"day": "soon"}"#), 422, "day"),
        ("deep JSON", body(HOOK, "", "[".repeat(100_000).as_bytes()), 422, "inputs"),
        ("an unknown key", body("/api/v1/executions/webhook/strangers/good/other", "", good), 404, "Webhook not found"),
        (
            "an unknown flow",
            body("/api/v1/executions/webhook/strangers/gone/hook-key", "", good),
            404,
            "Flow not found",
        ),
        (
            "an unknown tenant",
            body("/api/v1/nobody/executions/webhook/strangers/good/hook-key", "", good),
            404,
            "Flow not found",
        ),
        (
            "no tenant's name",
            body("/api/v1/No%20Name/executions/webhook/strangers/good/hook-key", "", good),
            404,
            "Flow not found",
        ),
        ("an unknown path", body("/api/v1/executions/webhook/strangers", "", good), 404, "Not Found"),
        ("no UTF-8 in the path", body("/api/v1/executions/webhook/strangers/good/%ff", "", good), 400, "path"),
        (
            "another method",
            format!("DELETE {HOOK} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").into(),
            405,
            "POST",
        ),
    ];
    for (what, request, status, text) in cases {
        let (got, error) = answer(port, &request).await.with_context(|| what.to_owned())?;
        let message = error["message"].as_str().unwrap_or_default();
        ensure!(got == status && message.contains(text), "{what}: {got} {error}");
        ensure!(error["requestId"].as_str().is_some_and(|id| id.len() == 32), "{what}: {error}");
        ensure!(!error.to_string().contains("hook-key"), "{what} repeats the key: {error}");
    }
    // What is no HTTP, no message, and no message of this kind.
    let (status, _) = answer(port, b"NONSENSE\r\n\r\n").await?;
    ensure!(status == 400, "what is no HTTP: {status}");
    let apply = "/windhover.v1.FlowService/ApplyFlow";
    for (kind, bytes) in [
        ("grpc-web", &b"\0\0\0\0\x05\x0a\x03\xff\xfe\xfd"[..]),
        ("grpc-web", b"\0\xff\xff\xff\xff"),
        ("grpc-web", b"\x07\0\0\0\0"),
        ("grpc-web", b""),
        ("grpc-web-text", b"!!!!!"),
        ("grpc", b"\0\0\0\0\x01\xff"),
    ] {
        let request = post(apply, &format!("Content-Type: application/{kind}\r\n"), bytes);
        let (status, _) = answer(port, &request).await.with_context(|| format!("{kind} {bytes:?}"))?;
        ensure!(status < 500, "{kind} {bytes:?}: {status}");
    }
    ensure!(!attacked.server.log().contains("hook-key"), "the key is in the log:\n{}", attacked.server.log());

    let mut attacked = attacked;
    let after = everything(&attacked.client).await?;
    ensure!(after == attacked.before, "something was stored: {after:?}");
    let (status, execution) = answer(port, &body(HOOK, "", good)).await?;
    ensure!(status == 200 && execution["inputs"]["day"] == "2026-01-01", "{status} {execution}");
    attacked.still_works().await
}

#[tokio::test(flavor = "multi_thread")]
async fn templates_that_never_end_or_fill_the_memory_fail_their_execution_alone() -> Result<()> {
    let mut attacked = Attacked::start().await?;
    let client = &attacked.client;
    let deep = format!("{}1{}", "(".repeat(20_000), ")".repeat(20_000));
    for (id, expression) in [
        ("deep", deep.as_str()),
        ("long", "range(0, 2000000000) | length"),
        ("endless", "'x' | replace({'x': 'xx'}) ~ range(1, 100000000)"),
        ("divided", "1 / 0"),
        ("missing", "outputs.nobody.value"),
    ] {
        let task =
            format!("  - id: log\n    type: io.kestra.plugin.core.log.Log\n    message: \"{{{{ {expression} }}}}\"\n");
        client.apply_flow(format!("id: {id}\nnamespace: strangers\ntasks:\n{task}")).await.context(id)?;
        let created = client.create_execution(NewExecution::of("strangers", id)).await.context(id)?;
        let ended = client.wait(&created.id, Some(Duration::from_secs(20))).await?;
        ensure!(ended.current_state() == State::Failed, "{id} ended {:?}", ended.current_state());
    }
    attacked.still_works().await
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_does_anything_without_a_credential_that_is_good_for_it() -> Result<()> {
    let postgres = Postgres::shared().await?;
    let folder = tempfile::tempdir()?;
    let mut server = Server::new(Database::Postgres(postgres.fresh_database().await?), folder.path())?;
    server.start().await?;
    let platform = server.client().await?;
    for tenant in ["a", "b"] {
        platform.create_tenant(CreateTenantRequest { tenant_id: tenant.into(), ..Default::default() }).await?;
    }
    let of_a = platform.acting_as(Some(TOKEN), Some("a"))?;
    let mut tokens = Vec::new();
    for role in [Role::Viewer, Role::Operator, Role::Admin] {
        let request = CreateTokenRequest { name: format!("{role:?}"), role: role.into(), ..Default::default() };
        tokens.push(of_a.create_token(request).await?.token_text);
    }
    let of_b = platform.acting_as(Some(TOKEN), Some("b"))?;
    of_b.apply_flow(GOOD).await?;
    let foreign = of_b.create_execution(NewExecution::of("strangers", "good").input("day", "2026-01-01")).await?;
    of_b.put_secret("strangers", "KEY", "of-b").await?;
    let before = (everything(&of_a).await?, everything(&of_b).await?);
    ensure!(before.0.is_empty() && before.1.len() == 3, "{before:?}");

    let unknown = (Code::Unauthenticated, "UNAUTHENTICATED");
    let denied = (Code::PermissionDenied, "PERMISSION_DENIED");
    for (what, token) in [
        ("no token", None),
        ("a wrong token", Some("wht_0123456789abcdefghijklmnopqrstuvwxyz")),
        ("a part of the bootstrap token", Some(&TOKEN[..TOKEN.len() - 1])),
        ("a long token", Some("x".repeat(7_000).as_str())),
    ] {
        for tenant in [None, Some("a"), Some("nobody")] {
            let client = platform.acting_as(token, tenant)?;
            refused(what, client.list_flows(ListFlowsRequest::default()).await, unknown.0, unknown.1, &[]);
            refused(what, client.apply_flow(GOOD).await, unknown.0, unknown.1, &[]);
            refused(what, client.who_am_i(WhoAmIRequest {}).await, unknown.0, unknown.1, &[]);
        }
    }

    let [viewer, operator, admin] = [0, 1, 2].map(|index: usize| platform.acting_as(Some(&tokens[index]), None));
    let (viewer, operator, admin) = (viewer?, operator?, admin?);
    let error = refused("a viewer who applies", viewer.apply_flow(GOOD).await, denied.0, denied.1, &[]);
    ensure!(error.metadata["role"] == "editor", "{error:?}");
    let new = || NewExecution::of("strangers", "good").input("day", "2026-01-01");
    refused("a viewer who starts", viewer.create_execution(new()).await, denied.0, denied.1, &[]);
    refused("an operator who sets a secret", operator.put_secret("x", "Y", "z").await, denied.0, denied.1, &[]);
    let listed = operator.list_tokens(ListTokensRequest::default()).await;
    refused("an operator who lists tokens", listed, denied.0, denied.1, &[]);
    let tenant = admin.create_tenant(CreateTenantRequest { tenant_id: "c".into(), ..Default::default() }).await;
    refused("an admin who makes a tenant", tenant, denied.0, denied.1, &[]);
    let above = CreateTokenRequest { name: "up".into(), role: Role::PlatformAdmin.into(), ..Default::default() };
    let above = admin.create_token(above).await;
    refused("an admin who rises", above, denied.0, denied.1, &[]);

    // A token of one tenant neither acts in another nor learns what is there, or whether there is one.
    for tenant in ["b", "nobody"] {
        let across = platform.acting_as(Some(&tokens[2]), Some(tenant))?;
        refused(tenant, across.apply_flow(GOOD).await, denied.0, denied.1, &[]);
        refused(tenant, across.list_flows(ListFlowsRequest::default()).await, denied.0, denied.1, &[]);
    }
    let get = GetExecutionRequest { execution_id: foreign.id.clone(), view: 0 };
    refused("to get", admin.get_execution(get).await, Code::NotFound, "EXECUTION_NOT_FOUND", &[]);
    let kill = KillExecutionRequest { execution_id: foreign.id.clone(), request_id: String::new() };
    refused("to kill", admin.kill_execution(kill).await, Code::NotFound, "EXECUTION_NOT_FOUND", &[]);
    let logs = ListLogsRequest { execution_id: foreign.id.clone(), ..Default::default() };
    refused("logs", admin.list_logs(logs).await, Code::NotFound, "EXECUTION_NOT_FOUND", &[]);
    refused("to start", admin.create_execution(new()).await, Code::NotFound, "FLOW_NOT_FOUND", &[]);
    let secret = DeleteSecretRequest { namespace: "strangers".into(), name: "KEY".into() };
    refused("a secret", admin.delete_secret(secret).await, Code::NotFound, "SECRET_NOT_FOUND", &[]);
    let hook = "/api/v1/a/executions/webhook/strangers/good/hook-key";
    ensure!(answer(server.port, &post(hook, "", b"{}")).await?.0 == 404, "a webhook of b was called through a");

    ensure!((everything(&of_a).await?, everything(&of_b).await?) == before, "something was stored or taken away");
    let log = server.log();
    for secret in tokens.iter().map(String::as_str).chain([TOKEN, &TOKEN[..TOKEN.len() - 1]]) {
        ensure!(!log.contains(secret), "a token is in the log:\n{log}");
    }
    works(&server, &of_b).await?;
    ensure!(server.terminate().await? == Some(0), "the server did not end in order:\n{}", server.log());
    Ok(())
}
