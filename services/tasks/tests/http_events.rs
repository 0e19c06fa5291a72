//! `http.SseRequest`, and the functions `http` and `randomPort`, against a local server.

mod support;

use serde_json::{Value, json};
use support::{Answer, Receiver, Try};

const SSE: &str = "io.kestra.plugin.core.http.SseRequest";
const RETURN: &str = "io.kestra.plugin.core.debug.Return";
const STREAM: &str = ": welcome\n\nevent: add\nid: 1\ndata: {\"word\": \"good \"}\n\nretry: 10\ndata: {\"word\": \"morning\"}\n\ndata: bye\n\n";

fn stream(receiver: &Receiver, path: &str) -> String {
    let headers = vec![("content-type", "text/event-stream".to_owned())];
    receiver.answer_with(path, Answer { status: 200, headers, body: STREAM.into() });
    format!("{}{path}", receiver.base)
}

#[tokio::test]
async fn events_are_collected_until_the_server_closes() {
    let receiver = Receiver::start().await;
    let uri = stream(&receiver, "/events");
    let ran = Try::default().run(SSE, json!({"uri": uri})).await;
    let outputs = ran.outputs();
    let event = |data: Value, id: Option<&str>, name: Option<&str>, retry: Option<u64>| json!({"data": data, "id": id, "name": name, "comment": null, "retry": retry});
    let expected = json!([
        event(json!({"word": "good "}), Some("1"), Some("add"), None),
        event(json!({"word": "morning"}), None, None, Some(10)),
        event(json!("bye"), None, None, None),
    ]);
    assert_eq!((&outputs["events"], &outputs["size"], &outputs["result"]), (&expected, &json!(3), &Value::Null));
    assert_eq!((&outputs["code"], &outputs["uri"]), (&json!(200), &json!(uri)));
    assert_eq!(receiver.last().header("accept"), Some("text/event-stream"));
    assert!(ran.outcome.expect("it went well").metrics.iter().any(|one| one.name == "size" && one.value == 3.0));
}

#[tokio::test]
async fn a_program_puts_a_field_of_all_events_together() {
    let receiver = Receiver::start().await;
    let uri = stream(&receiver, "/events");
    let with =
        |program: &str, strict: bool| json!({"uri": uri, "concatJqExpression": program, "failedOnMissingJq": strict});
    let outputs = Try::default().run(SSE, with(".data.word?", false)).await.outputs();
    assert_eq!((&outputs["result"], &outputs["events"]), (&json!("good morning"), &Value::Null));
    let outputs =
        Try::default().run(SSE, with(".data | if type == \"object\" then .word else . end", true)).await.outputs();
    assert_eq!(outputs["result"], "good morningbye");
    let ran = Try::default().run(SSE, with(".data.word", true)).await;
    assert!(ran.error().starts_with("Failed to resolve JQ expression '.data.word' and value '{"), "{}", ran.error());
    let outputs = Try::default().run(SSE, with(".none", false)).await.outputs();
    assert_eq!((&outputs["result"], &outputs["events"].as_array().map(Vec::len)), (&Value::Null, &Some(3)));
    receiver.answer("/down", 503, "later");
    let ran = Try::default().run(SSE, json!({"uri": format!("{}/down", receiver.base)})).await;
    assert_eq!(ran.error(), "Failed http request with response code '503' and body: later");
}

#[tokio::test]
async fn a_call_in_an_expression_is_sent_once_for_an_attempt_with_its_secrets_masked() {
    let receiver = Receiver::start().await;
    receiver.answer("/status", 200, "{\"ok\": true, \"echo\": \"hunter2\"}");
    let attempt = Try::default();
    attempt.world.secrets.lock().insert("TOKEN".to_owned(), "hunter2".to_owned());
    let call = format!(
        "http(uri='{}/status', method='post', body={{'a': 1}}, headers={{'X-Key': secret('TOKEN')}}, query={{'q': 'x y'}})",
        receiver.base
    );
    let ran = attempt.run(RETURN, json!({"format": format!("{{{{ {call}.ok }}}} {{{{ {call}.echo }}}}")})).await;
    assert_eq!(ran.outputs()["value"], "true hunter2", "{}", ran.error());
    assert!(!ran.said("hunter2"), "{:?}", ran.logs);
    let got = receiver.last();
    assert_eq!((receiver.count(), got.method.as_str(), got.uri.query()), (1, "POST", Some("q=x+y")));
    assert_eq!((got.header("x-key"), got.json()), (Some("hunter2"), json!({"a": 1})));
    assert_eq!(
        (got.header("accept"), got.header("content-type")),
        (Some("application/json"), Some("application/json"))
    );
}

#[tokio::test]
async fn a_call_that_fails_says_why_and_shows_no_secret() {
    let receiver = Receiver::start().await;
    receiver.answer("/down", 503, "{}");
    for (call, expected) in [
        (format!("http('{}/down') ?? 'd'", receiver.base), "server respond with status 503 : Service Unavailable"),
        ("http('http://127.0.0.1:1/hunter2?token=hunter2')".to_owned(), "cannot connect to 127.0.0.1:1"),
        ("http('http://169.254.169.254/latest')".to_owned(), "refused: its address is metadata"),
        ("http('http://x.y/', options={'auth': {'type': 'BEARER'}})".to_owned(), "options.auth.token"),
    ] {
        let ran = Try::default().run(RETURN, json!({"format": format!("{{{{ {call} }}}}")})).await;
        let error = ran.error();
        assert!(error.contains("Failed to execute HTTP Request") && error.contains(expected), "{call}: {error}");
    }
    let ran = Try::default()
        .run(RETURN, json!({"format": format!("{{{{ http('{}/down', options={{'allowFailed': true}}) | length }}}}", receiver.base)}))
        .await;
    assert_eq!(ran.outputs()["value"], "0", "{}", ran.error());
}

#[tokio::test]
async fn a_random_port_is_one_that_can_be_taken() {
    let ran = Try::default().run(RETURN, json!({"format": "{{ randomPort() }}"})).await;
    let port: u16 = ran.outputs()["value"].as_str().expect("a text").parse().expect("a port");
    std::net::TcpListener::bind(("127.0.0.1", port)).expect("nobody listens there");
}
