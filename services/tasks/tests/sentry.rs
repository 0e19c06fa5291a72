//! SentryAlert against a server that records what it is sent.

mod support;

use serde_json::{Value, json};
use support::{Ran, Receiver, Try};

const TYPE: &str = "io.kestra.plugin.notifications.sentry.SentryAlert";

async fn alert(attempt: &Try, properties: Value) -> Ran {
    attempt.run(TYPE, properties).await
}

#[tokio::test]
async fn an_event_is_sent_in_an_envelope_or_alone() {
    let receiver = Receiver::start().await;
    let attempt = Try::default();
    let payload = r#"{"message": "Kestra Monthly Data Purge FÄIL", "level": "error", "event_id": "abc"}"#;
    let ran = alert(&attempt, json!({"dsn": receiver.base, "payload": payload})).await;
    assert_eq!(ran.error(), "");
    assert!(ran.said("Request succeeded"));
    let received = receiver.last();
    assert_eq!(received.header("content-type"), Some("application/json"));
    let text = received.text();
    let lines: Vec<&str> = text.split('\n').collect();
    assert_eq!(lines.len(), 4, "each of three lines is ended");
    let head: Value = serde_json::from_str(lines[0]).expect("JSON");
    assert_eq!((&head["event_id"], &head["sdk"]["name"]), (&json!("abc"), &json!("java")));
    let item: Value = serde_json::from_str(lines[1]).expect("JSON");
    assert_eq!(item["length"], json!(lines[2].len()), "bytes, not characters");
    let event: Value = serde_json::from_str(lines[2]).expect("JSON");
    assert_eq!(event, serde_json::from_str::<Value>(payload).expect("JSON"));

    let ran = alert(&attempt, json!({"dsn": receiver.base, "payload": payload, "endpointType": "STORE"})).await;
    assert_eq!(ran.error(), "");
    assert_eq!(receiver.last().json(), event);
}

#[tokio::test]
async fn a_dsn_is_where_events_go_and_is_never_told() {
    let receiver = Receiver::start().await;
    let attempt = Try::default();
    let host = receiver.base.trim_start_matches("http://").to_owned();
    let dsn = format!("http://abcdef0123456789@{host}/42");
    let ran = alert(&attempt, json!({ "dsn": dsn })).await;
    assert_eq!(ran.error(), "");
    let received = receiver.last();
    assert_eq!(received.uri.path(), "/api/42/envelope/");
    assert_eq!(received.uri.query(), Some("sentry_version=7&sentry_client=java&sentry_key=abcdef0123456789"));
    let event: Value = serde_json::from_str(received.text().lines().nth(2).unwrap_or_default()).expect("JSON");
    assert_eq!(event["extra"]["Flow ID"], json!("hello"));
    assert_eq!(event["exception"]["values"][0]["type"], json!("Kestra Alert"));
    assert_eq!(event["event_id"].as_str().map(str::len), Some(32));
    assert!(!ran.said("abcdef0123456789"), "{:?}", ran.logs);

    receiver.answer("/api/42/envelope/", 404, "no");
    let ran = alert(&attempt, json!({ "dsn": dsn })).await;
    assert!(ran.error().contains("404") && ran.said("endpointType: STORE"), "{:?}", ran.logs);
    receiver.answer("/api/42/store/", 429, "slow down");
    let ran = alert(&attempt, json!({"dsn": dsn, "endpointType": "STORE"})).await;
    assert!(ran.error().contains("429"), "{}", ran.error());
    let ran = alert(&attempt, json!({"dsn": dsn, "payload": "not json"})).await;
    assert!(ran.error().contains("payload: this is no JSON"), "{}", ran.error());
}
