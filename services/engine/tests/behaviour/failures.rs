//! Failures: errors, finally, allowFailure, allowWarning, retries (flow model reference 4.5–4.7, 1.x reference 4.1–4.2).

use serde_json::json;
use windhover_types::State::{self, Created, Failed, Killed, Retrying, Running, Submitted, Success, Warning};

use crate::{
    FAIL, JOB, LOG, flow, run,
    support::{self, Shell},
};

#[test]
fn errors_then_finally_run_after_a_failure_and_the_rest_of_the_main_list_does_not() {
    // Cases 93, 94; 1.x case 1.
    let source = flow(&format!(
        "tasks:\n  - {{id: work, {FAIL}}}\n  - {{id: next, {LOG}}}\nerrors:\n  - {{id: alert, {LOG}}}\nfinally:\n  - {{id: cleanup, {LOG}}}"
    ));
    let (shell, id) = run(&source);
    assert_eq!(shell.summary(id), ["work FAILED", "alert SUCCESS", "cleanup SUCCESS"]);
    assert_eq!(shell.history(id), [Created, Running, Failed]);
    assert_eq!(shell.messages(id)[0], "ERROR Task failure");
}

#[test]
fn failing_tasks_of_errors_and_finally_stop_nothing_and_change_no_state() {
    // Case 92; 1.x case 2.
    let source = |first: &str| {
        flow(&format!(
            "tasks:\n  - {{id: work, {first}}}\nerrors:\n  - {{id: e1, {FAIL}}}\n  - {{id: e2, {LOG}}}\nfinally:\n  - {{id: f1, {FAIL}}}\n  - {{id: f2, {LOG}}}"
        ))
    };
    let (shell, id) = run(&source(FAIL));
    assert_eq!(shell.summary(id), ["work FAILED", "e1 FAILED", "e2 SUCCESS", "f1 FAILED", "f2 SUCCESS"]);
    assert_eq!(shell.state(id), Failed);
    let (shell, id) = run(&source(LOG));
    assert_eq!(shell.summary(id), ["work SUCCESS", "f1 FAILED", "f2 SUCCESS"]);
    assert_eq!(shell.state(id), Success);
}

#[test]
fn handlers_of_a_block_run_before_those_of_the_flow() {
    // Case 91.
    let source = flow(&format!(
        "tasks:
  - id: block
    type: io.kestra.plugin.core.flow.Sequential
    tasks: [{{id: boom, {FAIL}}}]
    errors: [{{id: block-error, {LOG}}}]
    finally: [{{id: block-finally, {LOG}}}]
  - {{id: after, {LOG}}}
errors: [{{id: flow-error, {LOG}}}]
finally: [{{id: flow-finally, {LOG}}}]"
    ));
    let (shell, id) = run(&source);
    assert_eq!(
        shell.summary(id),
        [
            "block FAILED",
            "boom FAILED",
            "block-error SUCCESS",
            "block-finally SUCCESS",
            "flow-error SUCCESS",
            "flow-finally SUCCESS"
        ]
    );
}

#[test]
fn errors_of_a_parallel_start_while_its_other_children_run() {
    let source = flow(&format!(
        "tasks:
  - id: p
    type: io.kestra.plugin.core.flow.Parallel
    tasks:
      - {{id: bad, {JOB}}}
      - {{id: slow, {JOB}}}
    errors: [{{id: e, {JOB}}}]"
    ));
    let mut shell = Shell::new(&[&source]);
    let id = shell.start("f", json!({}));
    shell.report("bad", Failed);
    assert_eq!(shell.summary(id), ["p RUNNING", "bad FAILED", "slow SUBMITTED", "e SUBMITTED"]);
    shell.report("slow", Success);
    assert_eq!(shell.task_state(id, "slow"), Success);
    shell.report("e", Success);
    assert_eq!(shell.state(id), Failed);
}

#[test]
fn an_allow_failure_block_ends_as_a_warning_after_its_errors() {
    // Cases 89, 90.
    let source = flow(&format!(
        "tasks:
  - id: block
    type: io.kestra.plugin.core.flow.AllowFailure
    tasks:
      - {{id: a, {LOG}}}
      - {{id: b, {FAIL}}}
      - {{id: c, {LOG}}}
    errors: [{{id: e, {LOG}}}]
  - {{id: after, {LOG}}}
errors: [{{id: never, {LOG}}}]"
    ));
    let (shell, id) = run(&source);
    assert_eq!(shell.summary(id), ["block WARNING", "a SUCCESS", "b FAILED", "e SUCCESS", "after SUCCESS"]);
    assert_eq!(shell.state(id), Warning);
    assert_eq!(shell.task_run(id, "block").attempts[0].state.current(), Warning);
}

#[test]
fn options_turn_failures_into_warnings_and_warnings_into_successes() {
    // Cases 86–88.
    for (options, task, execution) in [
        ("allowFailure: true", Warning, Warning),
        ("allowFailure: true, allowWarning: true", Success, Success),
        ("allowWarning: true", Failed, Failed),
    ] {
        let (shell, id) = run(&flow(&format!("tasks:\n  - {{id: a, {FAIL}, {options}}}")));
        assert_eq!((shell.task_state(id, "a"), shell.state(id)), (task, execution), "{options}");
        assert_eq!(shell.task_run(id, "a").attempts[0].state.current(), Failed, "{options}");
        let block = format!(
            "tasks:\n  - id: a\n    type: io.kestra.plugin.core.flow.Sequential\n    tasks: [{{id: b, {FAIL}}}]\n"
        );
        let options = options.replace(", ", "\n    ");
        let (shell, id) = run(&flow(&format!("{block}    {options}")));
        assert_eq!((shell.task_state(id, "a"), shell.task_state(id, "b"), shell.state(id)), (task, Failed, execution));
    }
}

#[test]
fn a_failing_task_is_tried_as_often_as_its_policy_says() {
    // Cases 98, 99, 102, 106.
    for (attempts, options, task, errors) in
        [(3, "", Failed, true), (1, "", Failed, true), (3, ", allowFailure: true", Warning, false)]
    {
        let source = flow(&format!(
            "tasks:\n  - {{id: a, {FAIL}, retry: {{type: constant, interval: PT1S, maxAttempts: {attempts}}}{options}}}\nerrors:\n  - {{id: e, {LOG}}}"
        ));
        let (shell, id) = run(&source);
        assert_eq!(shell.task_run(id, "a").attempts.len(), attempts);
        assert_eq!(shell.task_state(id, "a"), task);
        assert_eq!(shell.task_runs(id).any(|r| r.task_id == "e"), errors);
    }
}

#[test]
fn a_retry_waits_for_its_date_and_then_starts_anew() {
    let source =
        flow(&format!("tasks:\n  - {{id: a, {JOB}, retry: {{type: constant, interval: PT10S, maxAttempts: 2}}}}"));
    let mut shell = Shell::new(&[&source]);
    let id = shell.start("f", json!({}));
    let failed_at = shell.now;
    shell.report("a", Failed);
    assert_eq!((shell.state(id), shell.task_state(id, "a")), (Retrying, Retrying));
    assert_eq!(shell.timers[0].2, failed_at.plus(std::time::Duration::from_secs(10)));
    assert!(shell.jobs.is_empty());
    shell.crash(id);
    assert!(shell.fire_next());
    assert_eq!(shell.job("a").1.attempt, 1);
    shell.report("a", Success);
    assert_eq!(
        shell.task_history(id, "a"),
        [Created, Submitted, Running, Failed, Retrying, Created, Submitted, Running, Success]
    );
    assert_eq!(shell.history(id), [Created, Running, Retrying, Running, Success]);
    assert_eq!(shell.outputs(id, "a"), json!({ "attempt": 1 }));
}

#[test]
fn a_success_after_a_retry_can_be_a_warning() {
    // Case 100.
    for failures in 0..3 {
        let source = flow(&format!(
            "tasks:\n  - {{id: a, {FAIL}, condition: '{{{{ taskrun.attemptsCount < {failures} }}}}', retry: {{type: constant, interval: PT1S, maxAttempts: 4, warningOnRetry: true}}}}"
        ));
        let (shell, id) = run(&source);
        assert_eq!(shell.state(id), if failures == 0 { Success } else { Warning }, "{failures}");
    }
}

#[test]
fn policies_of_blocks_and_flows_hold_for_tasks_without_their_own() {
    // Cases 103, 105–107.
    let policy = |attempts: u32| format!("{{type: constant, interval: PT1S, maxAttempts: {attempts}}}");
    let source = flow(&format!(
        "retry: {}
tasks:
  - id: each
    type: io.kestra.plugin.core.flow.ForEach
    values: [a, b]
    retry: {}
    tasks:
      - {{id: x, {FAIL}, condition: '{{{{ taskrun.value == \"b\" and taskrun.attemptsCount < 2 }}}}'}}
  - {{id: own, {FAIL}, retry: {}, allowFailure: true}}
  - {{id: of-flow, {FAIL}}}
errors:
  - {{id: e, {LOG}}}",
        policy(4),
        policy(3),
        policy(2)
    ));
    let (shell, id) = run(&source);
    let attempts: Vec<(String, usize)> =
        shell.task_runs(id).map(|r| (format!("{}{}", r.task_id, r.value_path.join("")), r.attempts.len())).collect();
    let expected =
        [("each", 1), ("xa", 1), ("xb", 3), ("own", 2), ("of-flow", 4), ("e", 1)].map(|(t, n)| (t.to_owned(), n));
    assert_eq!(attempts, expected);
    assert_eq!(shell.state(id), Failed);
}

#[test]
fn a_sibling_that_waits_for_its_retry_is_given_up_when_the_block_fails() {
    let source = flow(&format!(
        "tasks:
  - id: p
    type: io.kestra.plugin.core.flow.Parallel
    tasks:
      - {{id: again, {JOB}, retry: {{type: constant, interval: PT1H, maxAttempts: 2}}}}
      - {{id: bad, {JOB}}}"
    ));
    let mut shell = Shell::new(&[&source]);
    let id = shell.start("f", json!({}));
    shell.report("again", Failed);
    assert_eq!(shell.timers.len(), 1);
    shell.report("bad", Failed);
    assert_eq!(shell.summary(id), ["p FAILED", "again FAILED", "bad FAILED"]);
    assert!(shell.timers.is_empty());
}

#[test]
fn a_killed_task_does_not_stop_its_sequence_but_its_state_wins() {
    // Case 95.
    let source = flow(&format!(
        "tasks:\n  - {{id: a, {JOB}}}\n  - {{id: b, {FAIL}, allowFailure: true}}\noutputs:\n  - {{id: o, type: STRING, value: x}}"
    ));
    let mut shell = Shell::new(&[&source]);
    let id = shell.start("f", json!({}));
    shell.report("a", Killed);
    assert_eq!(shell.summary(id), ["a KILLED", "b WARNING"]);
    assert_eq!(shell.state(id), Killed);
    assert_eq!(shell.execution(id).outputs, None);
}

#[test]
fn the_outputs_of_a_flow_come_after_finally_also_of_a_failed_one() {
    // Case 62; 1.x case 5.
    for (first, state) in [(LOG, Success), (FAIL, Failed)] {
        let source = flow(&format!(
            "tasks:
  - {{id: work, {first}}}
finally:
  - {{id: report, type: io.kestra.plugin.core.debug.Return, format: done}}
outputs:
  - {{id: report, type: STRING, value: '{{{{ outputs.report.value }}}}'}}
  - {{id: lost, type: STRING, value: '{{{{ outputs.nothing.value }}}}', required: false}}"
        ));
        let (shell, id) = run(&source);
        assert_eq!(shell.state(id), state);
        assert_eq!(json!(shell.execution(id).outputs), json!({ "report": "done", "lost": null }));
        assert!(shell.messages(id).iter().any(|line| line.starts_with("WARN ") && line.contains("lost")));
    }
}

#[test]
fn an_output_that_cannot_be_rendered_fails_the_execution_after_its_state() {
    // Case 61.
    let source = flow(&format!(
        "tasks:\n  - {{id: a, {LOG}}}\noutputs:\n  - {{id: o, type: STRING, value: '{{{{ nothing }}}}'}}"
    ));
    let (shell, id) = run(&source);
    assert_eq!(shell.history(id), [Created, Running, Success, Failed]);
    assert_eq!(shell.execution(id).outputs, None);
    assert!(shell.execution(id).error.is_some());
    let states: Vec<State> = shell.states.iter().map(|(_, _, to)| *to).collect();
    assert_eq!(states, [Running, Failed], "nobody is told of a success");
}

#[test]
fn an_attempt_of_a_lost_worker_costs_no_retry() {
    let source =
        flow(&format!("tasks:\n  - {{id: a, {JOB}, retry: {{type: constant, interval: PT1S, maxAttempts: 1}}}}"));
    let mut shell = Shell::new(&[&source]);
    let id = shell.start("f", json!({}));
    let (_, first) = shell.job("a");
    shell.send(id, windhover_engine::Event::JobLost { task_run: first.task_run, dispatch: 1 });
    let (_, second) = shell.job("a");
    assert_eq!((second.dispatch, second.attempt), (2, 0), "it had not begun: the same attempt again");
    shell.send(id, support::ended(&first, Failed, shell.now));
    assert_eq!(shell.task_history(id, "a"), [Created, Submitted], "an old dispatch says nothing");
    shell.send(id, support::started(&second, shell.now));
    shell.send(id, windhover_engine::Event::JobLost { task_run: first.task_run, dispatch: 2 });
    let (_, third) = shell.job("a");
    assert_eq!((third.dispatch, third.attempt), (3, 1));
    assert_eq!(shell.task_history(id, "a"), [Created, Submitted, Running, Created, Submitted]);
    shell.report("a", Success);
    let attempts: Vec<State> = shell.task_run(id, "a").attempts.iter().map(|attempt| attempt.state.current()).collect();
    assert_eq!(attempts, [State::Resubmitted, Success]);
    assert_eq!(shell.state(id), Success);
}
