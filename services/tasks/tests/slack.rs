//! Notifications to Slack, as its server gets them.

mod support;

use serde_json::{Value, json};
use support::{Receiver, Try, execution, id, task_run, variables};
use windhover_engine::TaskRun;
use windhover_types::{Level, State};

const WEBHOOK: &str = "io.kestra.plugin.notifications.slack.SlackIncomingWebhook";
const EXECUTION: &str = "io.kestra.plugin.slack.SlackExecution";

#[tokio::test]
async fn a_payload_is_sent_as_the_json_that_it_renders_to() {
    let receiver = Receiver::start().await;
    let url = format!("{}/services/T0123ABCD/B0/x", receiver.base);
    let attempt = Try { variables: variables(json!({"flow": {"id": "hello"}})), ..Try::default() };
    let ran = attempt.run(WEBHOOK, json!({"url": url, "payload": "{\"text\": \"from {{ flow.id }}\"}"})).await;
    assert_eq!(ran.error(), "");
    let got = receiver.last();
    assert_eq!((got.method.as_str(), got.uri.path()), ("POST", "/services/T0123ABCD/B0/x"));
    assert_eq!((got.header("content-type"), got.header("user-agent")), (Some("application/json"), Some("Kestra")));
    assert_eq!(got.json(), json!({"text": "from hello"}));
    assert!(ran.logs.contains(&(Level::Info, "Request succeeded".to_owned())));
}

#[tokio::test]
async fn a_message_text_is_converted_and_wrapped_unless_it_is_json() {
    let receiver = Receiver::start().await;
    for (text, body) in [
        ("**bold** [here](https://x)", json!({"text": "*bold* <https://x|here>"})),
        ("{\"blocks\": [1]}", json!({"blocks": [1]})),
        ("42", json!({"text": "42"})),
    ] {
        Try::default().run(WEBHOOK, json!({"url": receiver.base, "messageText": text})).await;
        assert_eq!(receiver.last().json(), body);
    }
}

#[tokio::test]
async fn what_cannot_be_sent_fails_and_sends_nothing() {
    let receiver = Receiver::start().await;
    for (properties, error) in [
        (json!({}), "Either 'messageText' or 'payload' must be provided"),
        (json!({"payload": "no json"}), "payload: this is no JSON"),
    ] {
        let mut properties = properties;
        properties["url"] = json!(receiver.base);
        let ran = Try::default().run(WEBHOOK, properties).await;
        assert!(ran.error().contains(error), "{}", ran.error());
    }
    assert_eq!(receiver.count(), 0);
}

#[tokio::test]
async fn a_refusal_fails_with_its_status_and_body_and_without_the_hooks_token() {
    let receiver = Receiver::start().await;
    receiver.answer("/services/S3CRETTOKEN", 404, "no_service for S3CRETTOKEN");
    let attempt = Try::default();
    attempt.world.secrets.lock().insert("HOOK".to_owned(), format!("{}/services/S3CRETTOKEN", receiver.base));
    let ran =
        attempt.run(WEBHOOK, json!({"url": "{{ secret('HOOK') }}", "payload": "{\"text\": \"S3CRETTOKEN\"}"})).await;
    assert_eq!(
        ran.error(),
        "Failed http request with response code '404' and body: no_service for S3CRETTOKEN",
        "the worker masks it"
    );
    assert!(ran.said("******") && !ran.said("S3CRETTOKEN"), "{:?}", ran.logs);
    assert_eq!(*attempt.world.lookups.lock(), ["company.team/HOOK"]);
}

#[tokio::test]
async fn another_2xx_is_a_silent_success() {
    let receiver = Receiver::start().await;
    receiver.answer("/", 202, "");
    let ran = Try::default()
        .run(WEBHOOK, json!({"url": receiver.base, "payload": "{}", "options": {"headers": {"X-Team": "a"}}}))
        .await;
    assert!(ran.error().is_empty() && !ran.said("Request succeeded"));
    assert_eq!(receiver.last().header("x-team"), Some("a"));
}

fn message(
    link: Option<&str>,
    head: &str,
    result: &str,
    color: &str,
    state: &str,
    last: &str,
    extra: &[Value],
) -> Value {
    let head = link.map_or_else(|| format!("*{head}*"), |link| format!("*<{link}|{head}>*"));
    let summary = format!("{head}\n> {result}");
    let mut block = json!({"type": "section", "text": {"type": "mrkdwn", "text": summary}});
    if let Some(link) = link {
        block["accessory"] = json!({"type": "button", "text": {"type": "plain_text", "text": "Details"}, "url": link});
    }
    let mut fields = vec![
        json!({"title": "Namespace", "value": "company.team", "short": true}),
        json!({"title": "Flow ID", "value": "load", "short": true}),
        json!({"title": "Execution ID", "value": id(9).to_string(), "short": true}),
        json!({"title": "Execution Status", "value": state, "short": true}),
    ];
    fields.extend(extra.iter().cloned());
    fields.push(json!({"title": "Final task ID", "value": last, "short": true}));
    json!({"text": summary, "blocks": [block], "attachments": [{"color": color, "fields": fields, "ts": 1_700_000_000}]})
}

#[tokio::test]
async fn a_successful_execution_is_told_with_its_link_and_last_task() {
    let receiver = Receiver::start().await;
    let attempt = Try { trigger_state: Some("SUCCESS".to_owned()), ..Try::default() };
    attempt.world.executions.lock().insert(id(9), execution(9, State::Success));
    attempt.world.task_runs.lock().extend([
        (id(9), task_run(0, "first", State::Success)),
        (id(9), task_run(1, "last", State::Success)),
        (id(9), task_run(2, "skipped", State::Skipped)),
    ]);
    let ran = attempt
        .run(
            EXECUTION,
            json!({"url": receiver.base, "executionId": id(9).to_string(), "channel": "#general", "iconEmoji": ":x:"}),
        )
        .await;
    assert_eq!(ran.error(), "");
    let link = format!("https://kestra.example.org/ui/main/executions/company.team/load/{}", id(9));
    let mut expected = message(
        Some(&link),
        "[company.team] load ➛ SUCCESS",
        "Succeeded after 00:00:01.706",
        "good",
        "SUCCESS",
        "last",
        &[],
    );
    expected["channel"] = json!("#general");
    expected["icon_emoji"] = json!(":x:");
    assert_eq!(receiver.last().json(), expected);
}

#[tokio::test]
async fn a_failed_execution_is_told_with_message_and_fields_and_without_a_link() {
    let receiver = Receiver::start().await;
    let attempt = Try { url: None, trigger_state: Some("FAILED".to_owned()), ..Try::default() };
    attempt.world.executions.lock().insert(id(9), execution(9, State::Failed));
    attempt.world.task_runs.lock().extend([
        (id(9), task_run(0, "a", State::Failed)),
        (id(9), task_run(1, "b", State::Failed)),
        (id(9), task_run(2, "report", State::Success)),
    ]);
    let properties = json!({"url": receiver.base, "executionId": id(9).to_string(), "customMessage": "say \"hi\"\n", "customFields": {"Env": "prod", "N": 7}});
    assert_eq!(attempt.run(EXECUTION, properties).await.error(), "");
    let fields =
        [json!({"title": "Env", "value": "prod", "short": true}), json!({"title": "N", "value": 7, "short": true})];
    let mut expected = message(
        None,
        "[company.team] load ➛ FAILED",
        "Failed on task `b` after 00:00:01.706",
        "danger",
        "FAILED",
        "b",
        &fields,
    );
    let main = expected["blocks"][0].take();
    expected["blocks"] = json!([{"type": "section", "text": {"type": "mrkdwn", "text": "say \"hi\"\n"}}, main]);
    assert_eq!(receiver.last().json(), expected);
}

#[tokio::test]
async fn the_current_execution_is_told_as_it_is_without_the_task_that_tells() {
    let receiver = Receiver::start().await;
    let attempt = Try { url: None, execution: id(9), ..Try::default() };
    attempt.world.executions.lock().insert(id(9), execution(9, State::Running));
    let notify = TaskRun { id: id(2), ..task_run(1, "notify", State::Running) };
    attempt.world.task_runs.lock().extend([(id(9), task_run(0, "load", State::Failed)), (id(9), notify)]);
    assert_eq!(attempt.run(EXECUTION, json!({"url": receiver.base})).await.error(), "");
    let expected = message(
        None,
        "[company.team] load ➛ RUNNING",
        "Failed on task `load` after 00:00:01.706",
        "danger",
        "RUNNING",
        "load",
        &[],
    );
    assert_eq!(receiver.last().json(), expected);
}

#[tokio::test]
async fn another_execution_is_waited_for_until_it_is_in_the_triggers_state() {
    let receiver = Receiver::start().await;
    for (trigger_state, wanted) in
        [(Some("WARNING"), State::Warning), (Some("PAUSED"), State::Paused), (None, State::Success)]
    {
        let attempt = Try { trigger_state: trigger_state.map(str::to_owned), ..Try::default() };
        // Looked at first: nothing; then running; then as wanted.
        attempt.world.changes.lock().extend([execution(9, wanted), execution(9, State::Running)]);
        assert_eq!(
            attempt.run(EXECUTION, json!({"url": receiver.base, "executionId": id(9).to_string()})).await.error(),
            ""
        );
        assert_eq!(receiver.last().json()["attachments"][0]["fields"][3]["value"], wanted.as_str());
    }
    let attempt = Try { trigger_state: Some("RUNNING".to_owned()), ..Try::default() };
    attempt.world.changes.lock().push(execution(9, State::Killing));
    assert_eq!(
        attempt.run(EXECUTION, json!({"url": receiver.base, "executionId": id(9).to_string()})).await.error(),
        ""
    );
}

#[tokio::test(start_paused = true)]
async fn what_does_not_come_within_ten_minutes_is_not_found() {
    let attempt = Try::default();
    let before = tokio::time::Instant::now();
    let ran = attempt.run(EXECUTION, json!({"url": "http://127.0.0.1:1", "executionId": id(9).to_string()})).await;
    assert_eq!(ran.error(), format!("Unable to find execution '{}'", id(9)));
    assert_eq!(before.elapsed().as_secs(), 600);
    let ran = attempt.run(EXECUTION, json!({"url": "http://127.0.0.1:1", "executionId": "nonsense"})).await;
    assert_eq!(ran.error(), "Unable to find execution 'nonsense'");
}
