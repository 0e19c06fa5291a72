use std::collections::HashMap;

use serde_json::json;

use super::*;
use crate::{
    matching::Unreadable,
    seen::{Execution, LogLine, Named, TaskRun},
    time,
};

struct NoFiles;

impl Files for NoFiles {
    fn content(&self, _: &str) -> Result<Vec<u8>, Unreadable> {
        Err(Unreadable::NotOffered("needs files".into()))
    }
}

fn history(states: &[(&str, u32)]) -> crate::seen::History {
    let at = |second: u32| time::instant(&format!("2024-01-01T00:00:{second:02}Z")).unwrap();
    states.iter().map(|(state, second)| ((*state).to_owned(), at(*second))).collect()
}

fn task_run(id: &str, task: &str, values: &[&str], begun: u32, ended: u32, state: &str) -> TaskRun {
    TaskRun {
        id: id.into(),
        task: task.into(),
        values: values.iter().map(|value| (*value).to_owned()).collect(),
        state: state.into(),
        history: history(&[("CREATED", begun), ("RUNNING", begun), (state, ended)]),
        attempts: 2,
        outputs: Some(json!({"value": id})),
        error: None,
    }
}

/// `main` failed after two tasks, one of them in a loop; it caused `first` and `second` of the flow `child`.
fn world() -> World {
    let line = |task: &str, level: &str, message: &str| LogLine {
        task: Some(task.into()),
        level: level.into(),
        message: message.into(),
    };
    let main = Execution {
        id: "M".into(),
        namespace: "a.b".into(),
        flow: "parent".into(),
        revision: 2,
        state: "FAILED".into(),
        history: history(&[("CREATED", 0), ("RUNNING", 1), ("FAILED", 9)]),
        labels: [("system.from".to_owned(), json!("api"))].into_iter().collect(),
        inputs: Some(json!({"day": "1", "none": null})),
        outputs: Some(json!({"o": 1})),
        started: time::instant("2024-01-01T00:00:01Z"),
        schedule_date: time::instant("2024-01-01T00:00:01Z"),
        task_runs: vec![
            task_run("r0", "each", &["x"], 1, 3, "SUCCESS"),
            task_run("r1", "each", &["y"], 2, 4, "FAILED"),
            task_run("r2", "last", &[], 4, 5, "FAILED"),
        ],
        logs: vec![line("each", "INFO", " hello world \n"), line("last", "ERROR", "boom")],
        ..Execution::default()
    };
    let child = |id: &str, state: &str, date: &str| Execution {
        id: id.into(),
        namespace: "a.b".into(),
        flow: "child".into(),
        state: state.into(),
        history: history(&[("CREATED", 2), (state, 3)]),
        labels: [("n".to_owned(), json!(id))].into_iter().collect(),
        trigger: Some(json!({"id": "t", "type": "T", "variables": {"executionId": "M", "date": date}})),
        outputs: Some(json!({"id": id})),
        ..Execution::default()
    };
    let replay = Execution { id: "R".into(), parent: Some("M".into()), ..Execution::default() };
    let named = |execution: &Execution| Named::Created(Box::new(execution.clone()));
    let created = Execution { state: "CREATED".into(), ..main.clone() };
    World {
        named: HashMap::from([
            ("main".to_owned(), named(&created)),
            ("again".to_owned(), named(&replay)),
            ("refused".to_owned(), Named::None("rejected".into())),
        ]),
        first_ids: HashMap::from([("main".to_owned(), "M".to_owned()), ("again".to_owned(), "M".to_owned())]),
        executions: vec![
            main,
            child("first", "SUCCESS", "2024-02-01T00:00:00Z"),
            child("second", "WARNING", "2024-03-01T00:00Z"),
            replay,
        ],
        unique: "u".into(),
        now: time::instant("2024-01-01T00:00:00Z").unwrap(),
    }
}

fn requests() -> Vec<RecordedRequest> {
    let request = |path: &str, body: &str| RecordedRequest {
        method: "POST".into(),
        path: path.into(),
        query: vec![("q".into(), "1".into()), ("q".into(), "2".into())],
        headers: vec![("content-type".into(), "application/json".into())],
        body: body.into(),
    };
    vec![request("/a", r#"{"id": "M", "n": 1}"#), request("/a", r#"{"n": 2}"#), request("/b", "no json")]
}

fn found(expectation: &str) -> Findings {
    let expectation: Value = serde_yaml::from_str(expectation).unwrap();
    let expectation: Expectation = serde_json::from_value(expectation.clone()).unwrap();
    let result = |outcome, message: &str| StepResult::new(outcome, message.into());
    let steps = HashMap::from([
        ("main".to_owned(), result(Outcome::Ok, "")),
        ("refused".to_owned(), result(Outcome::Rejected, "it is wrong")),
        ("nothing".to_owned(), result(Outcome::Skipped, "")),
    ]);
    let deployments =
        HashMap::from([("good.yaml".to_owned(), None), ("bad.yaml".to_owned(), Some("no id given".to_owned()))]);
    let (world, requests) = (world(), requests());
    let trigger = |id: &str| TriggerName { namespace: "a".into(), flow: "b".into(), trigger: id.into() };
    let stands = |disabled| TriggerSeen { disabled, next: None };
    let triggers = HashMap::from([(trigger("on"), stands(false)), (trigger("off"), stands(true))]);
    let seen = Seen {
        world: &world,
        steps: &steps,
        deployments: &deployments,
        triggers: &triggers,
        requests: &requests,
        files: &NoFiles,
    };
    check(&expectation, &seen)
}

/// What holds of the world above, beside what does not: every property is shown to be able to fail.
const ROWS: &[(&str, &str)] = &[
    ("{execution: main, state: FAILED}", "{execution: main, state: SUCCESS}"),
    ("{execution: main, state: {$not: SUCCESS}}", "{execution: main, state: {$regex: ^SUCC}}"),
    ("{execution: main, at_creation: true, state: CREATED}", "{execution: main, at_creation: true, state: FAILED}"),
    ("{execution: main}", "{execution: other}"),
    ("{execution: [main, again]}", "{execution: [main, refused]}"),
    ("{execution: main, task_runs: 3}", "{execution: main, task_runs: 2}"),
    ("{execution: main, task_runs_in_state: {FAILED: 2}}", "{execution: main, task_runs_in_state: {FAILED: 1}}"),
    ("{execution: main, task_states: {last: FAILED}}", "{execution: main, task_states: {last: SUCCESS}}"),
    (
        "{execution: main, task_states: {each: [FAILED, SUCCESS]}}",
        "{execution: main, task_states: {each: [FAILED, FAILED]}}",
    ),
    ("{execution: main, task_states: {each: [SUCCESS, FAILED]}}", "{execution: main, task_states: {each: SUCCESS}}"),
    ("{execution: main, absent_tasks: [never]}", "{execution: main, absent_tasks: [never, last]}"),
    ("{execution: main, task_at: {2: last}}", "{execution: main, task_at: {1: last}}"),
    ("{execution: main, task_at: {0: each}}", "{execution: main, task_at: {3: each}}"),
    ("{execution: main, task_outputs: {each: {value: r0}}}", "{execution: main, task_outputs: {each: {value: r1}}}"),
    ("{execution: main, task_outputs: {last: {}}}", "{execution: main, task_outputs: {never: {}}}"),
    ("{execution: main, attempts: {each: 2}}", "{execution: main, attempts: {each: 1}}"),
    ("{execution: main, attempts: {last: 2}}", "{execution: main, attempts: {never: 0}}"),
    ("{execution: main, started_after: {last: [each]}}", "{execution: main, started_after: {each: [last]}}"),
    ("{execution: main, started_after: {last: [each]}}", "{execution: main, started_after: {last: [never]}}"),
    ("{execution: main, outputs: {o: 1}}", "{execution: main, outputs: {o: 2}}"),
    ("{execution: again, outputs: {$absent: true}}", "{execution: main, outputs: {$absent: true}}"),
    ("{execution: main, inputs: {none: {$null: true}}}", "{execution: main, inputs: {day: {$null: true}}}"),
    ("{execution: main, labels: {system.from: api}}", "{execution: main, labels: {system.from: trigger}}"),
    ("{execution: main, labels: {x: {$absent: true}}}", "{execution: main, labels: {x: y}}"),
    ("{execution: main, trigger: {$absent: true}}", "{execution: main, trigger: {id: t}}"),
    ("{execution: main, revision: 2}", "{execution: main, revision: 1}"),
    ("{execution: again, parent: \"${main.id}\"}", "{execution: main, parent: \"${main.id}\"}"),
    ("{execution: main, parent: {$absent: true}}", "{execution: again, parent: {$absent: true}}"),
    ("{execution: main, same_id: true}", "{execution: again, same_id: true}"),
    ("{execution: again, not_same_id_as: main}", "{execution: main, not_same_id_as: main}"),
    (
        "{execution: main, state_history: {$starts_with: [CREATED, RUNNING]}}",
        "{execution: main, state_history: {$starts_with: [RUNNING]}}",
    ),
    (
        "{execution: main, state_history: {$contains_in_order: [CREATED, FAILED]}}",
        "{execution: main, state_history: {$contains_in_order: [FAILED, CREATED]}}",
    ),
    ("{execution: main, duration: {$max: PT9S}}", "{execution: main, duration: {$max: PT8.9S}}"),
    ("{execution: main, duration: {$min: PT9S}}", "{execution: main, duration: {$min: PT9.1S}}"),
    (
        "{execution: main, started_not_before: \"${main.schedule_date}\"}",
        "{execution: main, started_not_before: \"2024-01-01T00:00:02Z\"}",
    ),
    ("{execution: main, logs_contain: [lo wor]}", "{execution: main, logs_contain: [lo wor, absent]}"),
    ("{execution: main, logs_contain: [{$regex: ^bo+m$}]}", "{execution: main, logs_contain: [{$regex: ^oom$}]}"),
    (
        "{execution: main, logs_contain: [{task: each, level: INFO, message: hello world}]}",
        "{execution: main, logs_contain: [{task: each, level: ERROR}]}",
    ),
    ("{execution: main, logs_contain: [{message: boom}]}", "{execution: main, logs_contain: [{message: boo}]}"),
    ("{execution: main, logs_not_contain: [absent]}", "{execution: main, logs_not_contain: [boom]}"),
    ("{execution: main, logs_not_contain: [{task: x}]}", "{execution: main, logs_not_contain: [{task: last}]}"),
    ("{execution: main, logs_not_contain: [x]}", "{execution: main, logs_not_contain: [{tusk: last}]}"),
    ("{execution: main, log_counts: {boom: 1}}", "{execution: main, log_counts: {boom: 2}}"),
    ("{execution: main, log_counts: {hello world: 1}}", "{execution: main, log_counts: {hello: 1}}"),
    (
        "{execution: main, task_run: [{task: each, values: [y], state: FAILED, attempts: 2, outputs: {value: r1}}]}",
        "{execution: main, task_run: [{task: each, values: [y], state: SUCCESS}]}",
    ),
    (
        "{execution: main, task_run: [{task: each, index: -1, outputs: {value: r1}}]}",
        "{execution: main, task_run: [{task: each, index: -1, outputs: {value: r0}}]}",
    ),
    (
        "{execution: main, task_run: [{index_in_execution: 2, history_counts: {RUNNING: 1}}]}",
        "{execution: main, task_run: [{index_in_execution: 2, history_counts: {RUNNING: 2}}]}",
    ),
    ("{execution: main, task_run: [{task: last}]}", "{execution: main, task_run: [{task: each, values: [z]}]}"),
    ("{execution: main, task_run: [{task: last}]}", "{execution: main, task_run: [{attempts: 2}]}"),
    ("{triggered: {flow: child, by: main}, count: 2}", "{triggered: {flow: child, by: main}, count: 1}"),
    ("{triggered: {flow: child}}", "{triggered: {flow: child, by: again}}"),
    ("{triggered: {flow: child}, count: {$min: 2}}", "{triggered: {flow: child}, count: {$min: 3}}"),
    ("{triggered: {flow: parent}, count: 0}", "{triggered: {flow: parent}}"),
    ("{executions: {flow: child}, count: 2}", "{executions: {flow: child}, state: SUCCESS}"),
    ("{executions: {namespace: a.b}, count: 3}", "{executions: {namespace: a}, count: 3}"),
    ("{executions: {flow: child}, index: 1, state: WARNING}", "{executions: {flow: child}, index: 0, state: WARNING}"),
    ("{executions: {flow: child}, index: -1}", "{executions: {flow: child}, index: 2}"),
    ("{executions: {flow: child}, match: first_2}", "{executions: {flow: child}, match: first_3}"),
    ("{executions: {flow: child}, states: [WARNING, SUCCESS]}", "{executions: {flow: child}, states: [WARNING]}"),
    (
        "{executions: {flow: child}, outputs_all: [{id: first}, {id: second}]}",
        "{executions: {flow: child}, outputs_all: [{id: second}, {id: first}]}",
    ),
    (
        "{executions: {flow: child}, labels_all: [{n: second}, {n: first}]}",
        "{executions: {flow: child}, labels_all: [{n: second}, {n: second}]}",
    ),
    (
        "{executions: {flow: child}, trigger_dates: ['2024-03-01T00:00:00Z', '2024-02-01T01:00:00+01:00']}",
        "{executions: {flow: child}, trigger_dates: ['2024-03-01T00:00:00Z', '2024-03-01T00:00:00Z']}",
    ),
    (
        "{executions: {flow: child, trigger_date_before: '2024-02-02T00:00:00Z'}, count: 1}",
        "{executions: {flow: child, trigger_date_before: '2024-02-01T00:00:00Z'}, count: 1}",
    ),
    ("{executions: {labels: {n: first}}, count: 1}", "{executions: {labels: {n: third}}, count: 1}"),
    ("{step: main, outcome: ok}", "{step: main, outcome: rejected}"),
    ("{step: refused, outcome: rejected}", "{step: refused, outcome: not_found}"),
    ("{step: nothing, outcome: skipped}", "{step: [nothing, main], outcome: skipped}"),
    ("{step: refused, error: {$regex: wrong}}", "{step: refused, error: {$regex: right}}"),
    ("{step: main}", "{step: other, outcome: ok}"),
    ("{deployment: good.yaml, accepted: true}", "{deployment: good.yaml, accepted: false}"),
    ("{deployment: bad.yaml, accepted: false, error: {$regex: id}}", "{deployment: bad.yaml, error: {$regex: type}}"),
    ("{deployment: bad.yaml, accepted: false}", "{deployment: bad.yaml, accepted: true}"),
    ("{deployment: bad.yaml}", "{deployment: other.yaml, accepted: false}"),
    ("{receiver: /a, count: 2}", "{receiver: /a, count: 3}"),
    ("{receiver: null, count: 3}", "{receiver: null, count: 2}"),
    ("{receiver: /c, count: 0}", "{receiver: /c, requests: [{}]}"),
    ("{receiver: /a, requests: [{json: {n: 2}}, {json: {n: 1}}]}", "{receiver: /a, requests: [{json: {n: 3}}]}"),
    ("{receiver: /a, requests: [{}, {}]}", "{receiver: /a, requests: [{}, {}, {}]}"),
    ("{receiver: /a, requests: [{}, {json: {n: 1}}]}", "{receiver: /a, requests: [{json: {n: 1}}, {json: {n: 1}}]}"),
    (
        "{receiver: /a, ordered: true, requests: [{json: {n: 1}}, {json: {n: 2}}]}",
        "{receiver: /a, ordered: true, requests: [{json: {n: 2}}, {json: {n: 1}}]}",
    ),
    ("{receiver: null, requests: [{path: /b, method: POST}]}", "{receiver: null, requests: [{path: /b, method: GET}]}"),
    ("{receiver: /b, requests: [{query: {q: ['1', '2']}}]}", "{receiver: /b, requests: [{query: {q: ['2']}}]}"),
    ("{receiver: /b, requests: [{query: {q: '1'}}]}", "{receiver: /b, requests: [{query: {p: '1'}}]}"),
    (
        "{receiver: /b, requests: [{headers: {Content-Type: {$contains: json}}}]}",
        "{receiver: /b, requests: [{headers: {Content-Type: text/plain}}]}",
    ),
    ("{receiver: /b, requests: [{body_contains: [no json]}]}", "{receiver: /b, requests: [{json: {}}]}"),
    (
        "{receiver: /a, requests: [{body_contains: ['${main.id}']}]}",
        "{receiver: /a, requests: [{body_contains: ['${again.id}']}]}",
    ),
    ("{receiver: /a, forbid: [{json: {n: 3}}]}", "{receiver: /a, forbid: [{json: {n: 3}}, {json: {n: 2}}]}"),
    ("{receiver: /b, forbid: [{body_contains: [M]}]}", "{receiver: /a, forbid: [{body_contains: ['${main.id}']}]}"),
    (
        "{trigger_state: {namespace: a, flow: b, trigger: off}, disabled: true}",
        "{trigger_state: {namespace: a, flow: b, trigger: on}, disabled: true}",
    ),
    ("{trigger_state: {namespace: a, flow: b, trigger: on}}", "{trigger_state: {namespace: a, flow: b, trigger: no}}"),
    ("{receiver: /b, forbid: [{body_contains: [x]}]}", "{receiver: /b, forbid: [{body_contains: ['${other.id}']}]}"),
];

#[test]
fn every_property_can_hold_and_can_fail() {
    for (holds, fails) in ROWS {
        assert_eq!(found(holds), Findings::default(), "must hold: {holds}");
        let findings = found(fails);
        assert!(!findings.mismatches.is_empty() && findings.missing.is_empty(), "must fail: {fails}: {findings:?}");
    }
}

#[test]
fn what_the_api_cannot_show_is_missing() {
    for expectation in [
        "{kv: {namespace: a, key: b}, value: 1}",
        "{execution: main, task_run: [{task: last, log_file: {$file_content: x}}]}",
        "{execution: main, task_outputs: {last: {value: {$file_lines: 1}}}}",
    ] {
        let findings = found(expectation);
        assert!(findings.mismatches.is_empty() && findings.missing.len() == 1, "{expectation}: {findings:?}");
    }
}

#[test]
fn what_counts_or_forbids_needs_quiet() {
    let needs = |text: &str| {
        let value: Value = serde_yaml::from_str(text).unwrap();
        serde_json::from_value::<Expectation>(value).unwrap().needs_quiet()
    };
    assert!(needs("{receiver: /a, count: 0}") && needs("{receiver: /a, forbid: [{}]}"));
    assert!(needs("{executions: {flow: a}, count: 1}") && needs("{triggered: {flow: a}, count: 1}"));
    assert!(!needs("{receiver: /a, requests: [{}]}") && !needs("{execution: main, state: FAILED}"));
    assert!(!needs("{triggered: {flow: a}, state: FAILED}"));
}
