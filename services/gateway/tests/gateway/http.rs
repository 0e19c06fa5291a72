//! Webhooks, gRPC-web and JSON errors over HTTP/1.1.

use crate::server::Server;
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};
use windhover_proto::{admin::v1 as admin, v1 as proto};

const WEBHOOKS: &str = r#"
id: hooks
namespace: company.team
labels:
  team: ops
inputs:
  - id: severity
    type: SELECT
    values: [low, high]
tasks:
  - id: out
    type: io.kestra.plugin.core.debug.Return
    format: "{{ trigger }}"
triggers:
  - id: plain
    type: io.kestra.plugin.core.trigger.Webhook
    key: a-key
  - id: hidden
    type: io.kestra.plugin.core.trigger.Webhook
    key: "{{ secret('HOOK') }}"
  - id: firing
    type: io.kestra.plugin.core.trigger.Webhook
    key: firing
    conditions:
      - type: io.kestra.plugin.core.condition.Expression
        expression: "{{ trigger.body.status == 'firing' }}"
  - id: filled
    type: io.kestra.plugin.core.trigger.Webhook
    key: filled
    inputs:
      severity: "{{ trigger.body.severity }}"
  - id: off
    type: io.kestra.plugin.core.trigger.Webhook
    key: off
    disabled: true
"#;

struct Http<'a> {
    server: &'a Server,
    client: Client,
}

impl<'a> Http<'a> {
    fn new(server: &'a Server) -> Self {
        Self { server, client: Client::new() }
    }

    async fn send(&self, method: Method, path: &str, body: &str) -> (u16, Value) {
        let sent = self.client.request(method, self.server.url(path)).body(body.to_owned()).send().await.unwrap();
        answer(sent).await
    }

    async fn hook(&self, key: &str, body: &str) -> (u16, Value) {
        self.send(Method::POST, &format!("/api/v1/executions/webhook/company.team/hooks/{key}"), body).await
    }
}

async fn answer(response: Response) -> (u16, Value) {
    assert!(response.headers().contains_key("windhover-request-id"));
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() })
}

async fn started() -> Server {
    let server = Server::with(windhover_gateway::Settings {
        public_url: Some("https://wh.example/".into()),
        ..Default::default()
    })
    .await;
    let mut calls = server.admin();
    let secret =
        proto::PutSecretRequest { namespace: "company".into(), name: "hook".into(), value: "from-a-secret".into() };
    calls.secrets.put_secret(secret).await.unwrap();
    calls.flows.apply_flow(proto::ApplyFlowRequest { source: WEBHOOKS.into(), ..Default::default() }).await.unwrap();
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_start_executions_that_see_the_call() {
    let server = started().await;
    let http = Http::new(&server);
    let path = "/api/v1/main/executions/webhook/company.team/hooks/a-key?age=12&age=13";
    let (status, execution) = http.send(Method::PUT, path, r#"{"a":1}"#).await;
    assert_eq!(status, 200, "{execution}");
    assert_eq!(execution["trigger"]["id"], "plain");
    assert_eq!(execution["trigger"]["type"], "io.kestra.plugin.core.trigger.Webhook");
    assert_eq!(execution["trigger"]["variables"]["body"], json!({"a": 1}));
    assert_eq!(execution["trigger"]["variables"]["parameters"], json!({"age": ["12", "13"]}));
    assert!(execution["trigger"]["variables"]["headers"]["host"][0].is_string());
    assert_eq!(execution["state"]["current"], "CREATED");
    let id = execution["id"].as_str().unwrap();
    assert_eq!(execution["url"], format!("https://wh.example/ui/main/executions/company.team/hooks/{id}"));
    let labels = execution["labels"].as_array().unwrap();
    assert!(
        labels.contains(&json!({"key": "team", "value": "ops"}))
            && labels.contains(&json!({"key": "system.from", "value": "trigger"}))
    );

    let (status, execution) =
        http.send(Method::GET, "/api/v1/executions/webhook/company.team/hooks/from-a-secret", "").await;
    assert_eq!((status, &execution["trigger"]["id"]), (200, &json!("hidden")));
    assert_eq!(execution["trigger"]["variables"].get("body"), None);
    let mut calls = server.admin();
    let wait = proto::WaitExecutionRequest { execution_id: id.into(), ..Default::default() };
    let ended = calls.executions.wait_execution(wait).await.unwrap().into_inner().execution.unwrap();
    assert_eq!(ended.state.unwrap().current(), proto::State::Success);
    assert_eq!(ended.trigger.unwrap().id, "plain");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_refuse_what_does_not_fit() {
    let server = started().await;
    let http = Http::new(&server);
    assert_eq!(http.hook("firing", r#"{"status":"resolved"}"#).await, (204, Value::Null));
    assert_eq!(http.hook("firing", "").await, (204, Value::Null));
    assert_eq!(http.hook("firing", r#"{"status":"firing"}"#).await.0, 200);

    let (status, execution) = http.hook("filled", r#"{"severity":"high"}"#).await;
    assert_eq!((status, &execution["inputs"]), (200, &json!({"severity": "high"})));
    let (status, error) = http.hook("filled", r#"{"severity":7}"#).await;
    assert!(status == 422 && error["message"].as_str().unwrap().contains("severity"), "{error}");

    for (path, message) in [
        ("/api/v1/executions/webhook/company.team/gone/a-key", "Flow not found"),
        ("/api/v1/gone/executions/webhook/company.team/hooks/a-key", "Flow not found"),
        ("/api/v1/executions/webhook/company.team/hooks/wrong", "Webhook not found"),
        ("/api/v1/executions/webhook/company.team/hooks/off", "Webhook not found"),
        ("/api/v1/executions/webhook/company.team/hooks/a-key/more", "Not Found"),
        ("/api/v1/executions", "Not Found"),
        ("/", "Not Found"),
    ] {
        let (status, error) = http.send(Method::POST, path, "{}").await;
        assert!(status == 404 && error["message"].as_str().unwrap().starts_with(message), "{path}: {status} {error}");
        assert!(!error.to_string().contains("a-key"));
    }
    assert_eq!(http.send(Method::DELETE, "/api/v1/executions/webhook/company.team/hooks/a-key", "").await.0, 405);
    assert_eq!(http.hook("%ff", "").await.0, 400);

    let mut calls = server.admin();
    let disabled = format!("{WEBHOOKS}\ndisabled: true\n");
    calls.flows.apply_flow(proto::ApplyFlowRequest { source: disabled, ..Default::default() }).await.unwrap();
    assert_eq!(http.hook("a-key", "").await.0, 409);
    assert_eq!(http.hook("wrong", "").await.0, 404);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_short_paths_find_the_only_webhook() {
    let server = started().await;
    let http = Http::new(&server);
    // Four of them: only the key tells which.
    let (status, error) = http.send(Method::POST, "/api/v1/triggers/webhook", "{}").await;
    assert_eq!(status, 404);
    assert!(error["message"].as_str().unwrap().contains("/api/v1/executions/webhook/{namespace}/{flow}/{key}"));
    let (status, execution) = http.send(Method::POST, "/api/v1/triggers/webhook/a-key", "{}").await;
    assert_eq!((status, &execution["flowId"]), (200, &json!("hooks")));
    assert_eq!(http.send(Method::POST, "/api/v1/triggers/webhook/wrong", "{}").await.0, 404);

    let only = "id: hooks\nnamespace: company.team\ntasks:\n  - id: a\n    type: io.kestra.plugin.core.log.Log\n    message: x\ntriggers:\n  - id: only\n    type: io.kestra.plugin.core.trigger.Webhook\n    key: prometheus\n";
    let mut calls = server.admin();
    calls.flows.apply_flow(proto::ApplyFlowRequest { source: only.into(), ..Default::default() }).await.unwrap();
    let (status, execution) = http.send(Method::POST, "/api/v1/triggers/webhook", "{}").await;
    assert_eq!((status, &execution["trigger"]["id"]), (200, &json!("only")));
    server.stop().await;
}

const WAITING: &str = r#"
id: waits
namespace: company.team
tasks:
  - id: nap
    type: io.kestra.plugin.core.flow.Sleep
    duration: "{{ trigger.body.nap ?? 'PT0.05S' }}"
  - id: check
    type: io.kestra.plugin.core.execution.Fail
    condition: "{{ trigger.body.fail ?? false }}"
  - id: made
    type: io.kestra.plugin.core.debug.Return
    format: "20{{ trigger.body.digit ?? 1 }}"
outputs:
  - {id: code, type: STRING, value: "{{ outputs.made.value }}"}
triggers:
  - {id: ended, type: io.kestra.plugin.core.trigger.Webhook, key: ended, wait: true}
  - {id: outputs, type: io.kestra.plugin.core.trigger.Webhook, key: outputs, wait: true, returnOutputs: true}
  - id: text
    type: io.kestra.plugin.core.trigger.Webhook
    key: text
    wait: true
    returnOutputs: true
    responseContentType: text/plain
    responseCode: "{{ outputs.made.value }}"
  - id: teapot
    type: io.kestra.plugin.core.trigger.Webhook
    key: teapot
    wait: true
    responseCode: 418
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_waits_answers_with_the_end() {
    let server = started().await;
    let mut calls = server.admin();
    calls.flows.apply_flow(proto::ApplyFlowRequest { source: WAITING.into(), ..Default::default() }).await.unwrap();
    let http = Http::new(&server);
    let hook = |key: &str| format!("/api/v1/executions/webhook/company.team/waits/{key}");

    let (status, execution) = http.send(Method::POST, &hook("ended"), "{}").await;
    assert_eq!((status, &execution["state"]["current"]), (200, &json!("SUCCESS")), "{execution}");
    assert_eq!(execution["outputs"], json!({"code": "201"}));
    assert!(execution["url"].as_str().unwrap().contains(execution["id"].as_str().unwrap()));
    let (status, execution) = http.send(Method::POST, &hook("ended"), r#"{"fail": true}"#).await;
    assert_eq!((status, &execution["state"]["current"]), (500, &json!("FAILED")));
    let (status, execution) = http.send(Method::POST, &hook("teapot"), r#"{"fail": true}"#).await;
    assert_eq!((status, &execution["state"]["current"]), (418, &json!("FAILED")));

    assert_eq!(http.send(Method::POST, &hook("outputs"), "{}").await, (200, json!({"code": "201"})));
    assert_eq!(http.send(Method::POST, &hook("outputs"), r#"{"fail": true}"#).await, (500, Value::Null));
    let response = http.client.post(server.url(&hook("text"))).body(r#"{"digit": 2}"#).send().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["content-type"]),
        (202, &"text/plain".parse().unwrap())
    );
    assert_eq!(response.text().await.unwrap(), r#"{"code":"202"}"#);
    // Rendered to what is no status.
    let (status, error) = http.send(Method::POST, &hook("text"), r#"{"digit": "x"}"#).await;
    assert!(status == 500 && error["message"].as_str().unwrap().contains("responseCode: `20x`"), "{error}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_goes_away_and_a_server_that_stops_end_the_waiting_and_not_the_execution() {
    let server = started().await;
    let mut calls = server.admin();
    calls.flows.apply_flow(proto::ApplyFlowRequest { source: WAITING.into(), ..Default::default() }).await.unwrap();
    let url = server.url("/api/v1/executions/webhook/company.team/waits/ended");
    let call = |nap: &str| Client::new().post(&url).body(format!("{{\"nap\": \"{nap}\"}}")).send();
    let short = tokio::spawn(call("PT0.5S"));
    let of_flow = proto::ListExecutionsRequest { filter: "flow = waits".into(), ..Default::default() };
    let begun = async |calls: &mut crate::server::Calls, count: usize| loop {
        let found = calls.executions.list_executions(of_flow.clone()).await.unwrap().into_inner().executions;
        if found.len() >= count {
            break found[0].id.clone();
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    };
    let id = begun(&mut calls, 1).await;
    short.abort();
    let wait = proto::WaitExecutionRequest { execution_id: id, ..Default::default() };
    let ended = calls.executions.wait_execution(wait).await.unwrap().into_inner().execution.unwrap();
    assert_eq!(ended.state.unwrap().current(), proto::State::Success);

    let long = tokio::spawn(call("PT1H"));
    begun(&mut calls, 2).await;
    server.stop().await;
    let (status, error) = answer(long.await.unwrap().unwrap()).await;
    assert_eq!((status, error["message"].as_str()), (503, Some("the server is stopping")));
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_web_speaks_over_http_1() {
    use prost::Message;
    let server = Server::with(Server::local()).await;
    let call = |path: &str, frame: Vec<u8>| {
        let request =
            Client::new().post(server.url(path)).header("content-type", "application/grpc-web+proto").body(frame);
        async move { request.send().await.unwrap() }
    };
    let empty = vec![0, 0, 0, 0, 0];
    let response = call("/windhover.admin.v1.AccessService/WhoAmI", empty.clone()).await;
    assert_eq!(response.status().as_u16(), 200);
    assert!(response.headers().contains_key("windhover-request-id"));
    let bytes = response.bytes().await.unwrap();
    let length = u32::from_be_bytes(bytes[1..5].try_into().unwrap()) as usize;
    let me = admin::WhoAmIResponse::decode(&bytes[5..5 + length]).unwrap();
    assert_eq!((me.subject.as_str(), me.role()), ("local", admin::Role::PlatformAdmin));

    // Refusals are told in gRPC-web's way as well.
    let response = call("/windhover.v1.FlowService/NoSuchMethod", empty).await;
    assert_eq!(response.headers()["grpc-status"], "12");
    let response = call("/windhover.v1.FlowService/GetFlow", vec![0, 0, 0, 0, 1, 0xff]).await;
    assert_eq!(response.headers()["grpc-status"], "3");
    // A page of another site cannot use that there is no login.
    let response = Client::new()
        .post(server.url("/windhover.admin.v1.AccessService/WhoAmI"))
        .header("content-type", "application/grpc-web+proto")
        .header("origin", "https://evil.example")
        .body(vec![0, 0, 0, 0, 0])
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()["grpc-status"], "16");
    server.stop().await;
}
