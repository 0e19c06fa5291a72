//! The services over a real connection.

use std::time::Duration;

use crate::server::{As, Server, fields, reason};
use tonic::{Code, Request};
use windhover_proto::{
    admin::v1 as admin,
    v1::{self as proto, follow_execution_response::Event},
};

const HELLO: &str = r#"
id: hello
namespace: company.team
labels:
  team: ops
inputs:
  - id: who
    type: STRING
    defaults: you
  - id: times
    type: INT
    required: false
tasks:
  - id: say
    type: io.kestra.plugin.core.log.Log
    message: "hello {{ inputs.who }}"
  - id: out
    type: io.kestra.plugin.core.output.OutputValues
    values:
      who: "{{ inputs.who }}"
"#;

fn apply(source: &str) -> proto::ApplyFlowRequest {
    proto::ApplyFlowRequest { source: source.into(), ..Default::default() }
}

fn create(request_id: &str, inputs: &[(&str, &str)]) -> proto::CreateExecutionRequest {
    proto::CreateExecutionRequest {
        namespace: "company.team".into(),
        flow_id: "hello".into(),
        inputs: inputs.iter().map(|(id, text)| ((*id).to_owned(), proto::Json { text: (*text).into() })).collect(),
        request_id: request_id.into(),
        ..Default::default()
    }
}

fn wait(id: &str) -> proto::WaitExecutionRequest {
    proto::WaitExecutionRequest { execution_id: id.into(), ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_is_applied_run_followed_and_read() {
    let server = Server::start().await;
    let mut calls = server.admin();
    let applied = calls.flows.apply_flow(apply(HELLO)).await.unwrap().into_inner();
    assert_eq!(applied.outcome(), proto::apply_flow_response::Outcome::Created);
    let flow = applied.flow.unwrap();
    assert_eq!((flow.revision, flow.source.as_str(), flow.labels[0].key.as_str()), (1, HELLO, "team"));
    let again = calls.flows.apply_flow(apply(HELLO)).await.unwrap().into_inner();
    assert_eq!(again.outcome(), proto::apply_flow_response::Outcome::Unchanged);

    let response =
        calls.executions.create_execution(create("", &[("who", "\"world\""), ("times", "\"3\"")])).await.unwrap();
    assert!(response.metadata().get("windhover-request-id").is_some());
    let created = response.into_inner().execution.unwrap();
    assert_eq!(created.state.as_ref().unwrap().current(), proto::State::Created);
    let labels: Vec<_> = created.labels.iter().map(|label| (label.key.as_str(), label.value.as_str())).collect();
    assert_eq!(labels, [("team", "ops"), ("system.correlationId", created.id.as_str()), ("system.from", "api")]);
    assert_eq!(created.inputs.unwrap().text, r#"{"who":"world","times":3}"#);

    let waited = calls.executions.wait_execution(wait(&created.id)).await.unwrap().into_inner();
    assert!(waited.reached);
    let ended = waited.execution.unwrap();
    assert_eq!(ended.state.unwrap().current(), proto::State::Success);
    assert_eq!(ended.task_runs.iter().map(|run| run.task_id.as_str()).collect::<Vec<_>>(), ["say", "out"]);

    let request = proto::FollowExecutionRequest { execution_id: created.id.clone(), ..Default::default() };
    let mut stream = calls.executions.follow_execution(request.clone()).await.unwrap().into_inner();
    let (mut seen, mut last) = (Vec::new(), String::new());
    while let Some(message) = stream.message().await.unwrap() {
        last = message.cursor;
        seen.push(match message.event.unwrap() {
            Event::Execution(execution) => format!("{:?}", execution.state.unwrap().current()),
            Event::TaskRun(run) => run.task_id,
            Event::TaskRunRemoved(removed) => format!("{removed:?}"),
            Event::LogLine(line) => line.message,
            Event::KeepAlive(_) => "keep alive".into(),
            Event::End(end) => format!("end {:?}", end.state()),
        });
    }
    assert_eq!(seen, ["Success", "say", "out", "hello world", "end Success"]);
    let resumed = proto::FollowExecutionRequest { cursor: last.clone(), ..request };
    let mut stream = calls.executions.follow_execution(resumed.clone()).await.unwrap().into_inner();
    assert!(matches!(stream.message().await.unwrap().unwrap().event, Some(Event::End(_))));
    let other = calls.executions.create_execution(create("", &[])).await.unwrap().into_inner().execution.unwrap();
    let foreign = proto::FollowExecutionRequest { execution_id: other.id, ..resumed };
    assert_eq!(calls.executions.follow_execution(foreign).await.unwrap_err().code(), Code::InvalidArgument);

    let request =
        proto::ListLogsRequest { execution_id: created.id, filter: "text:HELLO".into(), ..Default::default() };
    let lines = calls.logs.list_logs(request).await.unwrap().into_inner().lines;
    assert_eq!(lines.iter().map(|line| line.task_id.as_str()).collect::<Vec<_>>(), ["say"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_refused_with_reason_and_fields() {
    let server = Server::start().await;
    let mut calls = server.admin();
    calls.flows.apply_flow(apply(HELLO)).await.unwrap();

    let wrong = calls.executions.create_execution(create("", &[("times", "\"many\"")])).await.unwrap_err();
    assert_eq!((reason(&wrong).as_str(), fields(&wrong)), ("windhover INVALID_INPUT", vec!["inputs.times".to_owned()]));
    let wrong = calls.executions.create_execution(create("", &[("who", "{")])).await.unwrap_err();
    assert_eq!((reason(&wrong).as_str(), fields(&wrong)), ("windhover INVALID_INPUT", vec!["inputs.who".to_owned()]));
    let large = format!("\"{}\"", "x".repeat(4 * 1024 * 1024));
    let wrong = calls.executions.create_execution(create("", &[("who", &large)])).await.unwrap_err();
    assert_eq!((reason(&wrong).as_str(), wrong.code()), ("windhover MESSAGE_TOO_LARGE", Code::ResourceExhausted));
    let huge = format!("\"{}\"", "x".repeat(17 * 1024 * 1024));
    let wrong = calls.executions.create_execution(create("", &[("who", &huge)])).await.unwrap_err();
    assert_eq!((reason(&wrong).as_str(), wrong.code()), ("windhover MESSAGE_TOO_LARGE", Code::ResourceExhausted));

    let unknown = proto::CreateExecutionRequest { flow_id: "gone".into(), ..create("", &[]) };
    assert_eq!(reason(&calls.executions.create_execution(unknown).await.unwrap_err()), "windhover FLOW_NOT_FOUND");
    let unknown = proto::CreateExecutionRequest { revision: Some(7), ..create("", &[]) };
    assert_eq!(reason(&calls.executions.create_execution(unknown).await.unwrap_err()), "windhover FLOW_NOT_FOUND");
    let label = proto::Label { key: "system.from".into(), value: "me".into() };
    let reserved = proto::CreateExecutionRequest { labels: vec![label], ..create("", &[]) };
    assert_eq!(reason(&calls.executions.create_execution(reserved).await.unwrap_err()), "windhover LABEL_RESERVED");

    let wrong = calls
        .flows
        .apply_flow(apply("id: x\nnamespace: a\ntasks:\n  - id: t\n    type: no.such.Type\n"))
        .await
        .unwrap_err();
    assert_eq!(reason(&wrong), "windhover INVALID_FLOW");
    assert!(fields(&wrong)[0].starts_with("source:5:"), "{:?}", fields(&wrong));
    let renamed = proto::ApplyFlowRequest { flow_id: "other".into(), ..apply(HELLO) };
    assert_eq!(reason(&calls.flows.apply_flow(renamed).await.unwrap_err()), "windhover INVALID_FLOW");
    let stale = proto::ApplyFlowRequest { etag: "old".into(), ..apply(HELLO) };
    assert_eq!(reason(&calls.flows.apply_flow(stale).await.unwrap_err()), "windhover ETAG_MISMATCH");
    let checked =
        calls.flows.validate_flow(proto::ValidateFlowRequest { source: "id: [".into() }).await.unwrap().into_inner();
    assert!(!checked.valid && checked.violations[0].line > 0);

    let request = proto::ListExecutionsRequest { filter: "state=GONE".into(), ..Default::default() };
    let wrong = calls.executions.list_executions(request).await.unwrap_err();
    assert_eq!((reason(&wrong).as_str(), fields(&wrong)), ("windhover INVALID_FILTER", vec!["filter".to_owned()]));
    let request = proto::GetExecutionRequest { execution_id: "7".into(), ..Default::default() };
    assert_eq!(reason(&calls.executions.get_execution(request).await.unwrap_err()), "windhover INVALID_ARGUMENT");
    let request = proto::KillExecutionRequest { execution_id: "0000000000000000000000".into(), ..Default::default() };
    assert_eq!(reason(&calls.executions.kill_execution(request).await.unwrap_err()), "windhover EXECUTION_NOT_FOUND");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_id_makes_one_execution() {
    let server = Server::start().await;
    let mut calls = server.admin();
    calls.flows.apply_flow(apply(HELLO)).await.unwrap();
    let first = calls.executions.create_execution(create("once", &[])).await.unwrap().into_inner().execution.unwrap();
    calls.executions.wait_execution(wait(&first.id)).await.unwrap();
    let again = calls.executions.create_execution(create("once", &[])).await.unwrap().into_inner().execution.unwrap();
    assert_eq!((&again.id, again.state.as_ref().unwrap().current()), (&first.id, proto::State::Created));
    let other = calls.executions.create_execution(create("once", &[("who", "\"x\"")])).await.unwrap_err();
    assert_eq!((reason(&other).as_str(), other.code()), ("windhover REQUEST_ID_REUSED", Code::AlreadyExists));

    // Also when it could not be made any more.
    let delete = proto::DeleteFlowRequest {
        namespace: "company.team".into(),
        flow_id: "hello".into(),
        request_id: "away".into(),
        ..Default::default()
    };
    calls.flows.delete_flow(delete.clone()).await.unwrap();
    calls.flows.delete_flow(delete.clone()).await.unwrap();
    let anew = proto::DeleteFlowRequest { request_id: String::new(), ..delete };
    assert_eq!(reason(&calls.flows.delete_flow(anew).await.unwrap_err()), "windhover FLOW_NOT_FOUND");
    let again = calls.executions.create_execution(create("once", &[])).await.unwrap().into_inner().execution.unwrap();
    assert_eq!((&again.id, again.state.as_ref().unwrap().current()), (&first.id, proto::State::Created));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_answers_each_request_in_its_place() {
    let server = Server::start().await;
    let mut calls = server.admin();
    calls.flows.apply_flow(apply(HELLO)).await.unwrap();
    let requests: Vec<_> = (0..300)
        .map(|n| if n % 3 == 0 { create("", &[("times", "\"x\"")]) } else { create("", &[("times", &n.to_string())]) })
        .collect();
    let request = proto::BatchCreateExecutionsRequest { requests };
    let results = calls.executions.batch_create_executions(request).await.unwrap().into_inner().results;
    assert_eq!(results.len(), 300);
    for (n, result) in results.into_iter().enumerate() {
        use proto::batch_create_executions_result::Outcome;
        match result.outcome.unwrap() {
            Outcome::Execution(execution) => {
                assert!(execution.inputs.unwrap().text.contains(&format!("\"times\":{n}")));
            }
            Outcome::Error(error) => {
                assert_eq!(
                    (n % 3, error.code, error.reason.as_str()),
                    (0, Code::InvalidArgument as i32, "INVALID_INPUT")
                );
                assert_eq!(error.fields[0].field, "inputs.times");
            }
        }
    }
    let none = proto::BatchCreateExecutionsRequest { requests: Vec::new() };
    assert_eq!(
        reason(&calls.executions.batch_create_executions(none).await.unwrap_err()),
        "windhover INVALID_ARGUMENT"
    );

    // Pages hold every execution once, newest first.
    let mut ids = Vec::new();
    let mut token = String::new();
    loop {
        let request = proto::ListExecutionsRequest {
            page_size: 70,
            page_token: token,
            filter: r#"namespace:"company." AND NOT state=KILLED"#.into(),
            ..Default::default()
        };
        let page = calls.executions.list_executions(request.clone()).await.unwrap().into_inner();
        ids.extend(page.executions.into_iter().map(|execution| execution.id));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
        let other =
            proto::ListExecutionsRequest { page_token: token.clone(), filter: "state=SUCCESS".into(), ..request };
        assert_eq!(reason(&calls.executions.list_executions(other).await.unwrap_err()), "windhover INVALID_PAGE_TOKEN");
    }
    assert_eq!(ids.len(), 200);
    assert!(ids.is_sorted_by(|a, b| a > b));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_tokens_and_roles_keep_callers_apart() {
    let server = Server::start().await;
    let mut platform = server.admin();
    let tenant = |id: &str| admin::CreateTenantRequest { tenant_id: id.into(), ..Default::default() };
    platform.tenants.create_tenant(tenant("acme")).await.unwrap();
    assert_eq!(reason(&platform.tenants.create_tenant(tenant("acme")).await.unwrap_err()), "windhover TENANT_EXISTS");
    assert_eq!(reason(&platform.tenants.create_tenant(tenant("A B")).await.unwrap_err()), "windhover INVALID_TENANT");

    let mut acme = server.calls(As { token: Some(crate::server::BOOTSTRAP.into()), tenant: Some("acme".into()) });
    let token = |role: admin::Role, request_id: &str| admin::CreateTokenRequest {
        name: format!("{role:?}"),
        role: role as i32,
        request_id: request_id.into(),
        ..Default::default()
    };
    let made = acme.access.create_token(token(admin::Role::Viewer, "t")).await.unwrap().into_inner();
    let twice = acme.access.create_token(token(admin::Role::Viewer, "t")).await.unwrap_err();
    assert_eq!((reason(&twice).as_str(), twice.code()), ("windhover REQUEST_ID_REUSED", Code::AlreadyExists));
    let admin_token = acme.access.create_token(token(admin::Role::Admin, "")).await.unwrap().into_inner().token_text;

    let mut viewer = server.calls(As { token: Some(made.token_text.clone()), tenant: None });
    let me = viewer.access.who_am_i(admin::WhoAmIRequest {}).await.unwrap().into_inner();
    assert_eq!((me.subject.as_str(), me.tenant_id.as_str(), me.role()), ("Viewer", "acme", admin::Role::Viewer));
    let refused = viewer.flows.apply_flow(apply(HELLO)).await.unwrap_err();
    assert_eq!((reason(&refused).as_str(), refused.code()), ("windhover PERMISSION_DENIED", Code::PermissionDenied));
    // Nobody gives more than he has.
    let mut tenant_admin = server.calls(As { token: Some(admin_token), tenant: None });
    let above = tenant_admin.access.create_token(token(admin::Role::PlatformAdmin, "")).await.unwrap_err();
    assert_eq!(reason(&above), "windhover PERMISSION_DENIED");

    // What another tenant has is not there.
    platform.flows.apply_flow(apply(HELLO)).await.unwrap();
    let foreign = platform.executions.create_execution(create("", &[])).await.unwrap().into_inner().execution.unwrap();
    let request = proto::GetExecutionRequest { execution_id: foreign.id, ..Default::default() };
    assert_eq!(reason(&viewer.executions.get_execution(request).await.unwrap_err()), "windhover EXECUTION_NOT_FOUND");
    assert!(viewer.flows.list_flows(proto::ListFlowsRequest::default()).await.unwrap().into_inner().flows.is_empty());

    let token_id = made.token.unwrap().id;
    let revoked = acme.access.revoke_token(admin::RevokeTokenRequest { token_id: token_id.clone() }).await.unwrap();
    assert!(revoked.into_inner().token.unwrap().revoked.is_some());
    assert_eq!(
        reason(&viewer.access.who_am_i(admin::WhoAmIRequest {}).await.unwrap_err()),
        "windhover UNAUTHENTICATED"
    );
    let listed = acme.access.list_tokens(admin::ListTokensRequest::default()).await.unwrap().into_inner().tokens;
    assert_eq!(listed.iter().map(|token| token.name.as_str()).collect::<Vec<_>>(), ["Admin", "Viewer"]);
    assert_eq!((&listed[1].id, listed[1].revoked.is_some()), (&token_id, true));

    let mut nobody = server.calls(As::default());
    let refused = nobody.flows.list_flows(proto::ListFlowsRequest::default()).await.unwrap_err();
    assert_eq!((reason(&refused).as_str(), refused.code()), ("windhover UNAUTHENTICATED", Code::Unauthenticated));
    assert!(refused.metadata().get("windhover-request-id").is_some());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_listed_by_name_and_from_where_they_are_inherited() {
    let server = Server::start().await;
    let mut calls = server.admin();
    let put = |namespace: &str, name: &str, value: &str| proto::PutSecretRequest {
        namespace: namespace.into(),
        name: name.into(),
        value: value.into(),
    };
    calls.secrets.put_secret(put("", "shared", "1")).await.unwrap();
    calls.secrets.put_secret(put("company", "KEY", "2")).await.unwrap();
    let secret = calls.secrets.put_secret(put("company.team", "key", "3")).await.unwrap().into_inner().secret.unwrap();
    assert_eq!((secret.name.as_str(), secret.version), ("KEY", 1));
    let request = proto::ListSecretsRequest { namespace: "company.team".into(), ..Default::default() };
    let listed = calls.secrets.list_secrets(request).await.unwrap().into_inner().secrets;
    let places: Vec<_> = listed.iter().map(|secret| (secret.namespace.as_str(), secret.name.as_str())).collect();
    assert_eq!(places, [("company.team", "KEY"), ("", "SHARED")]);
    let delete = proto::DeleteSecretRequest { namespace: "company.team".into(), name: "Key".into() };
    calls.secrets.delete_secret(delete.clone()).await.unwrap();
    assert_eq!(reason(&calls.secrets.delete_secret(delete).await.unwrap_err()), "windhover SECRET_NOT_FOUND");
    assert_eq!(reason(&calls.secrets.put_secret(put("", "a b", "x")).await.unwrap_err()), "windhover INVALID_ARGUMENT");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_is_told_when_the_server_stops_and_a_kill_ends_what_sleeps() {
    const SLEEPS: &str = "id: hello\nnamespace: company.team\ntasks:\n  - id: nap\n    type: io.kestra.plugin.core.flow.Sleep\n    duration: PT1H\n";
    let server = Server::with(Server::local()).await;
    let mut calls = server.calls(As::default());
    calls.flows.apply_flow(apply(SLEEPS)).await.unwrap();
    let killed = calls.executions.create_execution(create("", &[])).await.unwrap().into_inner().execution.unwrap();
    let running = proto::WaitExecutionRequest { states: vec![proto::State::Running as i32], ..wait(&killed.id) };
    assert!(calls.executions.wait_execution(running).await.unwrap().into_inner().reached);
    let in_vain =
        proto::WaitExecutionRequest { timeout: Some(Duration::from_millis(1).try_into().unwrap()), ..wait(&killed.id) };
    assert!(!calls.executions.wait_execution(in_vain).await.unwrap().into_inner().reached);
    let kill = proto::KillExecutionRequest { execution_id: killed.id.clone(), request_id: "stop".into() };
    calls.executions.kill_execution(kill.clone()).await.unwrap();
    let ended = calls.executions.wait_execution(wait(&killed.id)).await.unwrap().into_inner().execution.unwrap();
    assert_eq!(ended.state.unwrap().current(), proto::State::Killed);
    calls.executions.kill_execution(kill.clone()).await.unwrap();
    let anew = proto::KillExecutionRequest { request_id: String::new(), ..kill };
    assert_eq!(reason(&calls.executions.kill_execution(anew).await.unwrap_err()), "windhover EXECUTION_ENDED");

    let sleeps = calls.executions.create_execution(create("", &[])).await.unwrap().into_inner().execution.unwrap();
    let request = proto::FollowExecutionRequest { execution_id: sleeps.id.clone(), ..Default::default() };
    let mut stream = calls.executions.follow_execution(request).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    // The second call is answered after the first one has arrived, on the same connection.
    let (mut waiting, mut other) = (server.calls(As::default()), server.calls(As::default()));
    drop(calls);
    let (waited, ()) = futures::join!(waiting.executions.wait_execution(wait(&sleeps.id)), async move {
        other.access.who_am_i(admin::WhoAmIRequest {}).await.unwrap();
        drop(other);
        server.stop().await;
    });
    assert_eq!(reason(&waited.unwrap_err()), "windhover UNAVAILABLE");
    let end = loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("a stream that ends says why"),
            Err(status) => break status,
        }
    };
    assert_eq!(reason(&end), "windhover UNAVAILABLE");
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_calls_are_told_when_to_come_back() {
    let server = Server::with(windhover_gateway::Settings { requests_per_second: 1, ..Default::default() }).await;
    let mut calls = server.admin();
    let mut refused = None;
    for _ in 0..5 {
        refused = refused.or(calls.access.who_am_i(admin::WhoAmIRequest {}).await.err());
    }
    let refused = refused.unwrap();
    assert_eq!((reason(&refused).as_str(), refused.code()), ("windhover RATE_LIMITED", Code::ResourceExhausted));
    assert!(tonic_types::StatusExt::get_details_retry_info(&refused).is_some());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_reflection_need_no_credential() {
    use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let server = Server::start().await;
    let mut health = HealthClient::new(server.channel());
    for service in ["", "windhover.v1.FlowService"] {
        let got = health.check(HealthCheckRequest { service: service.into() }).await.unwrap().into_inner();
        assert_eq!(got.status(), ServingStatus::Serving);
    }
    let mut reflection = ServerReflectionClient::new(server.channel());
    let ask = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers =
        reflection.server_reflection_info(Request::new(futures::stream::iter([ask]))).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(list) = answer else { panic!("{answer:?}") };
    assert!(list.service.iter().any(|service| service.name == "windhover.admin.v1.AccessService"));
    drop((health, answers));
    server.stop().await;
}
