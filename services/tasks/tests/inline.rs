//! Tasks that only compute, as a worker runs them; the executor runs the same functions.

mod support;

use std::time::Duration;

use serde_json::json;
use support::{Try, id, variables};
use windhover_engine::LogLine;
use windhover_types::{Level, State, Timestamp};

fn core(name: &str) -> String {
    format!("io.kestra.plugin.core.{name}")
}

#[tokio::test]
async fn log_writes_one_line_for_each_message_of_a_list() {
    let attempt = Try { variables: variables(json!({"v": "x"})), ..Try::default() };
    for (message, lines) in [
        (json!("one {{ v }}"), vec!["one x"]),
        (json!(["a", "{{ v }}", "{{ ['l'] }}"]), vec!["a", "x", "[\"l\"]"]),
        (json!("{{ ['l'] }}"), vec!["[\"l\"]"]),
    ] {
        let ran = attempt.run(&core("log.Log"), json!({"message": message, "level": "WARN"})).await;
        let logs: Vec<(Level, &str)> = ran.logs.iter().map(|(level, text)| (*level, text.as_str())).collect();
        assert_eq!(logs, lines.into_iter().map(|line| (Level::Warn, line)).collect::<Vec<_>>());
    }
    for message in [json!(12), json!({"a": 1})] {
        assert_eq!(attempt.run(&core("log.Log"), json!({"message": message})).await.error(), "Invalid message type");
    }
}

#[tokio::test]
async fn a_secret_is_masked_in_a_line_and_clear_in_an_output() {
    let attempt = Try::default();
    attempt.world.secrets.lock().insert("KEY".to_owned(), "s3cret".to_owned());
    let ran = attempt
        .run(&core("log.Log"), json!({"message": "{{ secret('KEY') }} and {{ secret('KEY') | base64encode }}"}))
        .await;
    assert_eq!(ran.logs, [(Level::Info, "****** and ******".to_owned())]);
    let ran = attempt.run(&core("debug.Return"), json!({"format": "{{ secret('KEY') }}"})).await;
    assert_eq!(ran.outputs(), json!({"value": "s3cret"}));
    assert_eq!(ran.logs, [(Level::Debug, "******".to_owned())]);
}

#[tokio::test]
async fn error_logs_are_the_executions_entries_with_all_their_keys() {
    let attempt = Try { execution: id(9), ..Try::default() };
    let line = |message: &str, task: Option<&str>| LogLine {
        at: Timestamp::from_millis(1_700_000_000_250),
        level: Level::Error,
        message: message.to_owned(),
        task_id: task.map(str::to_owned),
        task_run_id: task.map(|_| id(3)),
        attempt: task.map(|_| 1),
    };
    *attempt.world.error_logs.lock() = Some(Ok(vec![line("boom", Some("load")), line("of no task", None)]));
    attempt.world.secrets.lock().insert("KEY".to_owned(), "s3cret".to_owned());
    let values = json!({
        "entry": "{{ errorLogs()[0] | json }}",
        "keys": "{{ errorLogs()[0] | keys | join(' ') }}",
        "all": "{% for e in errorLogs() %}{{ e.taskId }}:{{ e.message }}{{ e.thread }};{% endfor %}",
        "with a secret": "{{ secret('KEY') }} {{ errorLogs() | length }}",
    });
    let values = &attempt.run(&core("output.OutputValues"), json!({"values": values})).await.outputs()["values"];
    let entry: serde_json::Value = serde_json::from_str(values["entry"].as_str().expect("a text")).expect("JSON");
    assert_eq!(
        entry,
        json!({
            "tenantId": "main", "namespace": "company.team", "flowId": "hello", "taskId": "load",
            "executionId": id(9).to_string(), "taskRunId": id(3).to_string(), "attemptNumber": 1,
            "timestamp": "2023-11-14T22:13:20.250Z", "level": "ERROR", "message": "boom", "deleted": false,
        }),
        "the filter leaves out what is null"
    );
    let keys = "tenantId namespace flowId taskId executionId taskRunId attemptNumber triggerId timestamp level thread \
                message deleted";
    assert_eq!(values["keys"], keys);
    assert_eq!(values["all"], "load:boom;:of no task;");
    assert_eq!(values["with a secret"], "s3cret 2");
    assert_eq!(*attempt.world.log_reads.lock(), [(id(9), 25, Duration::from_secs(5))], "asked once for an attempt");
}

#[tokio::test]
async fn error_logs_are_an_empty_list_or_say_why_they_cannot_be_read() {
    let attempt = Try::default();
    let message = json!({"message": "{{ errorLogs() }} {{ errorLogs() | length }}"});
    let ran = attempt.run(&core("log.Log"), message.clone()).await;
    assert_eq!(ran.logs, [(Level::Info, "[] 0".to_owned())]);
    *attempt.world.error_logs.lock() = Some(Err("the database is away".to_owned()));
    let ran = attempt.run(&core("log.Log"), message).await;
    assert!(ran.error().contains("the database is away"), "{}", ran.error());
    let ran = attempt.run(&core("log.Log"), json!({"message": "no question"})).await;
    assert_eq!((ran.error().as_str(), attempt.world.log_reads.lock().len()), ("", 2));
}

#[tokio::test]
async fn return_and_output_values_give_back_what_they_render() {
    let attempt = Try { variables: variables(json!({"n": 5})), ..Try::default() };
    let ran = attempt.run(&core("debug.Return"), json!({"format": "abc"})).await;
    assert_eq!(ran.outputs(), json!({"value": "abc"}));
    let metrics = ran.outcome.expect("it ran").metrics;
    assert_eq!((metrics[0].name.as_str(), metrics[0].value, metrics[1].name.as_str()), ("length", 3.0, "duration"));
    assert_eq!(attempt.run(&core("debug.Return"), json!({})).await.outputs(), json!({"value": null}));
    let ran = attempt
        .run(
            &core("output.OutputValues"),
            json!({"values": {"a": "{{ n }}", "b": [true, 2], "c": {"d": "{{ n + 1 }}"}}}),
        )
        .await;
    assert_eq!(ran.outputs(), json!({"values": {"a": "5", "b": [true, 2], "c": {"d": "6"}}}));
}

#[tokio::test]
async fn fail_fails_as_its_condition_says() {
    let attempt = Try::default();
    let fail = core("execution.Fail");
    assert_eq!(attempt.run(&fail, json!({})).await.error(), "Task failure");
    assert_eq!(attempt.run(&fail, json!({"errorMessage": "{{ 1 + 1 }} many"})).await.error(), "2 many");
    let ran = attempt.run(&fail, json!({"condition": " {{ true }} ", "errorMessage": "said"})).await;
    assert_eq!(
        (ran.error().as_str(), ran.logs.as_slice()),
        ("Fail on a condition", [(Level::Error, "said".to_owned())].as_slice())
    );
    for falsy in ["{{ false }}", "0", " "] {
        let ran = attempt.run(&fail, json!({"condition": falsy, "errorMessage": "{{ not.there }}"})).await;
        assert_eq!(ran.outcome.map(|outcome| outcome.state), Ok(State::Success), "{falsy:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn sleep_takes_as_long_as_it_says() {
    let before = tokio::time::Instant::now();
    let ran = Try::default().run(&core("flow.Sleep"), json!({"duration": "PT1H"})).await;
    assert_eq!(ran.outcome.map(|outcome| outcome.state), Ok(State::Success));
    assert_eq!(before.elapsed().as_secs(), 3_600);
}
