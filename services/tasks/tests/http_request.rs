//! `http.Request` against a local server.

mod support;

use serde_json::{Value, json};
use support::{Answer, Ran, Receiver, Try, variables};
use windhover_types::{Level, State};

const REQUEST: &str = "io.kestra.plugin.core.http.Request";

async fn run(properties: Value) -> Ran {
    Try::default().run(REQUEST, properties).await
}

#[tokio::test]
async fn the_answer_is_the_output() {
    let receiver = Receiver::start().await;
    let headers =
        vec![("x-many", "a".to_owned()), ("x-many", "b".to_owned()), ("content-type", "text/plain".to_owned())];
    receiver.answer_with("/a%20b", Answer { status: 201, headers, body: "grüß".as_bytes().to_vec() });
    let ran =
        run(json!({"uri": format!("{}/a b?x=1", receiver.base), "params": {"q": "ä &", "list": ["1", "2"]}})).await;
    let outputs = ran.outputs();
    assert_eq!((&outputs["code"], &outputs["body"]), (&json!(201), &json!("grüß")));
    assert_eq!(outputs["headers"]["x-many"], json!(["a", "b"]));
    assert_eq!(outputs["uri"], json!(format!("{}/a%20b?x=1&q=%C3%A4+%26&list=1&list=2", receiver.base)));
    let got = receiver.last();
    assert_eq!((got.method.as_str(), got.uri.query()), ("GET", Some("x=1&q=%C3%A4+%26&list=1&list=2")));
    assert_eq!((got.header("user-agent"), got.header("content-type")), (Some("Kestra"), Some("application/json")));
}

#[tokio::test]
async fn headers_body_and_content_type_are_sent_as_rendered() {
    let receiver = Receiver::start().await;
    let attempt = Try { variables: variables(json!({"execution": {"id": "e1"}})), ..Try::default() };
    let properties = json!({"uri": receiver.base, "method": "put", "contentType": "application/vnd.x+json",
        "headers": {"X-Severity": "critical", "Content-Type": "text/plain", "User-Agent": "mine"}, "body": "{\"execution\": \"{{ execution.id }}\"}"});
    assert_eq!(attempt.run(REQUEST, properties).await.error(), "");
    let got = receiver.last();
    assert_eq!((got.method.as_str(), got.json()), ("PUT", json!({"execution": "e1"})));
    assert_eq!(
        (got.header("content-type"), got.header("x-severity"), got.header("user-agent")),
        (Some("application/vnd.x+json"), Some("critical"), Some("mine"))
    );
    run(json!({"uri": receiver.base, "headers": {"Content-Type": "text/plain"}})).await;
    assert_eq!(
        receiver.last().header("content-type"),
        Some("text/plain"),
        "the header stays when no contentType is given"
    );
}

#[tokio::test]
async fn form_data_wins_over_the_body() {
    let receiver = Receiver::start().await;
    run(json!({"uri": receiver.base, "method": "POST", "body": "no", "formData": {"a": "1 2", "b": "ä"}})).await;
    let got = receiver.last();
    assert_eq!(
        (got.header("content-type"), got.text().as_str()),
        (Some("application/x-www-form-urlencoded"), "a=1+2&b=%C3%A4")
    );
    let ran = run(
        json!({"uri": receiver.base, "method": "POST", "contentType": "multipart/form-data", "formData": {"a": "x"}}),
    )
    .await;
    let got = receiver.last();
    assert!(got.header("content-type").is_some_and(|kind| kind.starts_with("multipart/form-data; boundary=")));
    assert!(got.text().contains("name=\"a\"\r\n\r\nx\r\n"), "{}", got.text());
    assert_eq!(ran.outputs()["formData"], json!({"a": "x"}));
}

#[tokio::test]
async fn credentials_are_sent_in_every_form_and_never_logged() {
    let receiver = Receiver::start().await;
    for (options, header) in [
        (json!({"auth": {"type": "BASIC", "username": "u", "password": "{{ secret('PASS') }}"}}), "Basic dTpodW50ZXIy"),
        (json!({"auth": {"type": "BEARER", "token": "{{ secret('PASS') }}"}}), "Bearer hunter2"),
        (json!({"basicAuthUser": "u", "basicAuthPassword": "{{ secret('pass') }}"}), "Basic dTpodW50ZXIy"),
    ] {
        let attempt = Try::default();
        attempt.world.secrets.lock().insert("PASS".to_owned(), "hunter2".to_owned());
        let ran = attempt.run(REQUEST, json!({"uri": receiver.base, "options": options})).await;
        assert_eq!(ran.error(), "");
        assert_eq!(receiver.last().header("authorization"), Some(header));
        assert!(!ran.said("hunter2"));
    }
}

#[tokio::test]
async fn a_secret_that_is_not_there_fails_by_name() {
    let ran = run(json!({"uri": "http://127.0.0.1:1/{{ secret('NOPE') }}"})).await;
    assert!(ran.error().contains("NOPE") && ran.error().starts_with("uri: "), "{}", ran.error());
}

#[tokio::test]
async fn statuses_fail_or_pass_as_the_task_says() {
    let receiver = Receiver::start().await;
    receiver.answer("/404", 404, "missing");
    receiver.answer("/500", 500, "");
    for (path, more, error) in [
        ("/404", json!({}), "Failed http request with response code '404' and body: missing"),
        ("/500", json!({}), "Failed http request with response code '500'"),
        ("/404", json!({"allowFailed": true}), ""),
        ("/404", json!({"options": {"allowFailed": "{{ true }}"}}), ""),
        ("/404", json!({"options": {"allowedResponseCodes": [404]}}), ""),
        (
            "/200",
            json!({"options": {"allowedResponseCodes": [404]}}),
            "Failed http request with response code '200' and body: ok",
        ),
        (
            "/500",
            json!({"allowFailed": true, "options": {"allowedResponseCodes": [404]}}),
            "Failed http request with response code '500'",
        ),
    ] {
        let mut properties = more.clone();
        properties["uri"] = json!(format!("{}{path}", receiver.base));
        let ran = run(properties).await;
        assert_eq!(ran.error(), error, "{path} {more}");
        let state = ran.outcome.map(|outcome| outcome.state);
        assert_eq!(state, Ok(if error.is_empty() { State::Success } else { State::Failed }));
    }
}

#[tokio::test]
async fn redirects_are_followed_unless_switched_off() {
    let receiver = Receiver::start().await;
    receiver
        .answer_with("/from", Answer { status: 302, headers: vec![("location", "/to".to_owned())], body: Vec::new() });
    let uri = format!("{}/from", receiver.base);
    assert_eq!(run(json!({"uri": uri})).await.outputs()["body"], "ok");
    assert_eq!(run(json!({"uri": uri, "options": {"followRedirects": false}})).await.outputs()["code"], 302);
}

#[tokio::test]
async fn bodies_that_are_no_text_or_too_large_fail() {
    let receiver = Receiver::start().await;
    receiver.answer("/binary", 200, vec![0xff, 0xfe, 0x00]);
    let latin = Answer {
        status: 200,
        headers: vec![("content-type", "text/plain; charset=ISO-8859-1".to_owned())],
        body: vec![0xe4],
    };
    receiver.answer_with("/latin", latin);
    receiver.answer("/large", 200, vec![b'x'; 1_001]);
    let at = |path: &str| format!("{}{path}", receiver.base);
    assert!(run(json!({"uri": at("/binary")})).await.error().contains("not valid UTF-8"));
    assert_eq!(run(json!({"uri": at("/latin")})).await.outputs()["body"], "ä");
    let ran = run(json!({"uri": at("/large"), "options": {"maxContentLength": 1_000}})).await;
    assert!(ran.error().contains("larger than 1000 bytes"), "{}", ran.error());
}

#[tokio::test]
async fn numbers_about_the_exchange_are_published() {
    let receiver = Receiver::start().await;
    let outcome = run(json!({"uri": receiver.base, "method": "POST", "body": "12345"})).await.outcome.expect("it ran");
    let value = |name: &str| outcome.metrics.iter().find(|metric| metric.name == name).map(|metric| metric.value);
    for (name, expected) in [
        ("request.count", 1.0),
        ("request.bytes", 5.0),
        ("response.count", 1.0),
        ("response.bytes", 2.0),
        ("response.length", 2.0),
    ] {
        assert_eq!(value(name), Some(expected), "{name}");
    }
    let tags: Vec<(&str, &str)> =
        outcome.metrics[0].tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(
        tags,
        [
            ("request.method", "POST"),
            ("request.scheme", "http"),
            ("request.hostname", "127.0.0.1"),
            ("response.code", "200")
        ]
    );
}

#[tokio::test]
async fn what_is_no_request_fails_before_anything_is_sent() {
    for (properties, error) in [
        (json!({"uri": "nonsense"}), "uri: invalid URL"),
        (json!({"uri": "ftp://example.org"}), "only http and https"),
        (json!({"uri": "http://127.0.0.1:1", "method": "A B"}), "method: "),
        (json!({"uri": "http://127.0.0.1:1", "headers": {"A B": "x"}}), "headers.A B: "),
        (json!({"uri": "http://127.0.0.1:1"}), "cannot connect to 127.0.0.1:1"),
    ] {
        let ran = run(properties).await;
        assert!(ran.error().contains(error), "{}", ran.error());
    }
    assert!(run(json!({"uri": "{{ unknown.thing }}"})).await.error().starts_with("uri: "));
    let quiet = Try { log_level: Some("ERROR"), ..Try::default() };
    let ran = quiet.run("io.kestra.plugin.core.log.Log", json!({"message": ["a", "b"], "level": "ERROR"})).await;
    assert_eq!(ran.logs, [(Level::Error, "a".to_owned()), (Level::Error, "b".to_owned())]);
}

#[tokio::test]
async fn a_body_that_is_to_be_kept_secret_is_neither_put_out_nor_told() {
    let receiver = Receiver::start().await;
    receiver.answer("/token", 200, "hunter2");
    let options = json!({"logs": ["RESPONSE_BODY"]});
    let properties = json!({"uri": format!("{}/token", receiver.base), "encryptBody": true, "options": options});
    let ran = run(properties.clone()).await;
    let outputs = ran.outputs();
    let sealed = json!({"type": "io.kestra.datatype:aes_encrypted", "value": "<2retnuh"});
    assert_eq!((&outputs["encryptedBody"], &outputs["body"]), (&sealed, &Value::Null));
    assert!(!ran.said("hunter2"));
    receiver.answer("/token", 401, "hunter2");
    let ran = run(properties).await;
    assert_eq!(ran.error(), "Failed http request with response code '401'");
    assert!(!ran.said("hunter2"));
}
