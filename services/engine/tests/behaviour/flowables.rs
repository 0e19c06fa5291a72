//! How flowable tasks run: planning, states, attempts, values, outputs.

use serde_json::json;
use windhover_types::State::{Created, Failed, Running, Skipped, Submitted, Success, Warning};

use crate::{
    FAIL, JOB, LOG, flow, run,
    support::{self, Shell},
};

#[test]
fn a_sequence_runs_in_order_and_in_one_step_when_everything_is_inline() {
    let (shell, id) = run(&flow(&format!("tasks:\n  - {{id: a, {LOG}}}\n  - {{id: b, {LOG}}}")));
    assert_eq!(shell.summary(id), ["a SUCCESS", "b SUCCESS"]);
    assert_eq!(shell.history(id), [Created, Running, Success]);
    assert_eq!(shell.task_history(id, "a"), [Created, Submitted, Running, Success]);
    let attempt = &shell.task_run(id, "a").attempts[0];
    assert_eq!(attempt.state.entries().iter().map(|e| e.state).collect::<Vec<_>>(), [Created, Running, Success]);
    assert_eq!(shell.messages(id), ["INFO hello", "INFO hello"]);
    assert_eq!(shell.states.len(), 2);
}

#[test]
fn a_flow_without_enabled_tasks_succeeds_at_once() {
    let (shell, id) = run(&flow(&format!("tasks:\n  - {{id: a, {LOG}, disabled: true}}")));
    assert_eq!(shell.history(id), [Created, Success]);
    assert_eq!(shell.task_runs(id).count(), 0);
}

#[test]
fn a_worker_task_is_created_submitted_and_running() {
    let mut shell = Shell::new(&[&flow(&format!("tasks:\n  - {{id: a, {JOB}}}"))]);
    let id = shell.start("f", json!({}));
    assert_eq!(shell.task_history(id, "a"), [Created, Submitted]);
    let (_, job) = shell.job("a");
    assert_eq!((job.attempt, job.dispatch), (0, 1));
    shell.send(id, support::started(&job, shell.now));
    assert_eq!(shell.task_state(id, "a"), Running);
    shell.report("a", Success);
    assert_eq!(shell.task_history(id, "a"), [Created, Submitted, Running, Success]);
    assert_eq!(shell.task_run(id, "a").attempts[0].worker.as_deref(), Some("w1"));
    assert_eq!(shell.state(id), Success);
    assert!(shell.jobs.is_empty());
}

#[test]
fn a_skipped_task_has_one_skipped_attempt_and_the_next_runs() {
    // Cases 65, 67.
    let source = flow(&format!(
        "tasks:
  - {{id: a, {LOG}, runIf: ' '}}
  - {{id: b, {LOG}, runIf: '0'}}
  - id: block
    type: io.kestra.plugin.core.flow.Parallel
    runIf: '{{{{ false }}}}'
    tasks:
      - {{id: inner, {LOG}}}
  - {{id: c, {LOG}, runIf: '{{{{ tasks.a.state == \"SKIPPED\" }}}}'}}"
    ));
    let (shell, id) = run(&source);
    assert_eq!(shell.summary(id), ["a SKIPPED", "b SKIPPED", "block SKIPPED", "c SUCCESS"]);
    assert_eq!(shell.state(id), Success);
    for task in ["a", "block"] {
        let run = shell.task_run(id, task);
        assert_eq!(run.attempts.len(), 1);
        assert_eq!(run.attempts[0].state.current(), Skipped);
        assert_eq!(shell.task_history(id, task), [Created, Skipped]);
    }
}

#[test]
fn a_run_if_that_cannot_be_rendered_fails_its_task_and_opens_the_errors_branch() {
    // Case 66.
    let source = flow(&format!(
        "tasks:\n  - {{id: a, {LOG}, runIf: '{{{{ nothing }}}}'}}\n  - {{id: b, {LOG}}}\nerrors:\n  - {{id: e, {LOG}}}"
    ));
    let (shell, id) = run(&source);
    assert_eq!(shell.summary(id), ["a FAILED", "e SUCCESS"]);
    assert_eq!(shell.state(id), Failed);
    assert!(shell.messages(id)[0].starts_with("ERROR Unable to find `nothing`"), "{:?}", shell.messages(id));
}

#[test]
fn an_if_takes_one_branch_and_says_which() {
    // Cases 69, 70.
    for (condition, expected) in
        [("FALSE", "then"), ("false", "otherwise"), ("", "otherwise"), ("-0", "otherwise"), ("no", "then")]
    {
        let source = flow(&format!(
            "tasks:
  - id: if
    type: io.kestra.plugin.core.flow.If
    condition: '{condition}'
    then: [{{id: then, {LOG}}}]
    else: [{{id: otherwise, {LOG}}}]"
        ));
        let (shell, id) = run(&source);
        assert_eq!(shell.summary(id), ["if SUCCESS".to_owned(), format!("{expected} SUCCESS")], "{condition}");
        assert_eq!(shell.outputs(id, "if"), json!({ "evaluationResult": expected == "then" }));
        assert_eq!(shell.task_history(id, "if"), [Created, Running, Success]);
        assert_eq!(shell.task_run(id, "if").attempts.len(), 1);
    }
    let (shell, id) = run(&flow(&format!(
        "tasks:\n  - {{id: if, type: io.kestra.plugin.core.flow.If, condition: 'false', then: [{{id: x, {LOG}}}]}}"
    )));
    assert_eq!(shell.summary(id), ["if SUCCESS"]);
}

#[test]
fn a_switch_takes_its_case_its_defaults_or_fails() {
    // Case 71.
    let source = |options: &str, rest: &str| {
        flow(&format!(
            "tasks:
  - id: s
    type: io.kestra.plugin.core.flow.Switch
    value: 'B'
    {options}
    cases:
      A: [{{id: a, {LOG}}}]
{rest}"
        ))
    };
    let (shell, id) = run(&source("", &format!("      B: [{{id: b, {LOG}}}]")));
    assert_eq!(shell.summary(id), ["s SUCCESS", "b SUCCESS"]);
    assert_eq!(shell.outputs(id, "s"), json!({ "value": "B", "defaults": false }));
    let (shell, id) = run(&source("", &format!("    defaults: [{{id: d, {LOG}}}]")));
    assert_eq!(shell.summary(id), ["s SUCCESS", "d SUCCESS"]);
    assert_eq!(shell.outputs(id, "s"), json!({ "value": "B", "defaults": true }));
    let (shell, id) = run(&source("", ""));
    assert_eq!((shell.state(id), shell.summary(id)), (Failed, vec!["s FAILED".to_owned()]));
    let (shell, id) = run(&source("allowFailure: true", ""));
    assert_eq!((shell.state(id), shell.summary(id)), (Warning, vec!["s WARNING".to_owned()]));
}

#[test]
fn a_loop_runs_its_values_in_order_without_repeats() {
    // Cases 72–77.
    let source = |values: &str| {
        flow(&format!(
            "tasks:
  - id: each
    type: io.kestra.plugin.core.flow.ForEach
    values: {values}
    tasks:
      - {{id: x, type: io.kestra.plugin.core.debug.Return, format: '{{{{ taskrun.iteration }}}}:{{{{ taskrun.value }}}}'}}
      - {{id: y, type: io.kestra.plugin.core.debug.Return, format: '{{{{ outputs.x[taskrun.value].value }}}}'}}"
        ))
    };
    let (shell, id) = run(&source(r#"["a", "a", 1, {"k": "v"}]"#));
    assert_eq!(
        shell.summary(id),
        [
            "each SUCCESS",
            "x[a] SUCCESS",
            "y[a] SUCCESS",
            "x[1] SUCCESS",
            "y[1] SUCCESS",
            r#"x[{"k":"v"}] SUCCESS"#,
            r#"y[{"k":"v"}] SUCCESS"#
        ]
    );
    let values: Vec<_> = shell
        .task_runs(id)
        .filter(|r| r.task_id == "y")
        .map(|r| r.outputs.as_ref().unwrap()["value"].clone())
        .collect();
    assert_eq!(values, ["0:a", "1:1", r#"2:{"k":"v"}"#]);
    let (shell, id) = run(&source("'[]'"));
    assert_eq!((shell.state(id), shell.summary(id)), (Success, vec!["each SUCCESS".to_owned()]));
    for bad in [r#"'["a", null]'"#, "'no list'", "'{}'", "[1.5]"] {
        let (shell, id) = run(&source(bad));
        assert_eq!((shell.state(id), shell.summary(id)), (Failed, vec!["each FAILED".to_owned()]), "{bad}");
    }
}

#[test]
fn a_loop_stops_at_the_first_value_that_fails() {
    // Case 79.
    let source = flow(&format!(
        "tasks:
  - id: each
    type: io.kestra.plugin.core.flow.ForEach
    values: [1, 2, 3]
    tasks:
      - {{id: x, {FAIL}, condition: '{{{{ taskrun.value == \"2\" }}}}'}}"
    ));
    let (shell, id) = run(&source);
    assert_eq!(shell.summary(id), ["each FAILED", "x[1] SUCCESS", "x[2] FAILED"]);
    assert_eq!(shell.state(id), Failed);
}

#[test]
fn a_concurrent_loop_keeps_its_limit_and_the_order_within_a_value() {
    // Case 78.
    let source = flow(&format!(
        "tasks:
  - id: each
    type: io.kestra.plugin.core.flow.ForEach
    concurrencyLimit: 2
    values: [a, b, c]
    tasks:
      - {{id: x, {JOB}}}
      - {{id: y, {JOB}}}
    finally:
      - {{id: bye, {LOG}}}"
    ));
    let mut shell = Shell::new(&[&source]);
    let id = shell.start("f", json!({}));
    assert_eq!(shell.summary(id), ["each RUNNING", "x[a] SUBMITTED", "x[b] SUBMITTED"]);
    let first_b = shell.jobs[1].clone();
    shell.send(first_b.0, support::ended(&first_b.1, Success, shell.now));
    assert_eq!(shell.summary(id)[3], "y[b] SUBMITTED");
    shell.report("y", Success);
    assert_eq!(shell.summary(id)[4], "x[c] SUBMITTED");
    assert_eq!(shell.jobs.len(), 2);
    shell.run_to_end(|_| Success);
    assert_eq!(shell.summary(id).last().unwrap(), "bye SUCCESS");
    assert_eq!(shell.state(id), Success);
}

#[test]
fn nested_loops_put_their_values_one_inside_the_other() {
    // Case 76.
    let source = flow(
        "tasks:
  - id: outer
    type: io.kestra.plugin.core.flow.ForEach
    values: [x1, x2]
    tasks:
      - id: inner
        type: io.kestra.plugin.core.flow.ForEach
        values: [y1, y2]
        tasks:
          - id: if
            type: io.kestra.plugin.core.flow.If
            condition: 'true'
            then:
              - {id: t, type: io.kestra.plugin.core.debug.Return, format: '{{ parent.taskrun.value }}/{{ parents[1].taskrun.value }}'}
  - {id: r, type: io.kestra.plugin.core.debug.Return, format: '{{ outputs.t.x1.y2.value }} {{ outputs.t.x2.y1.value }} {{ outputs.inner is defined }}'}
",
    );
    let (shell, id) = run(&source);
    assert_eq!(shell.state(id), Success, "{:?}", shell.messages(id));
    assert_eq!(shell.outputs(id, "r"), json!({ "value": "y2/x1 y1/x2 true" }));
}

#[test]
fn children_of_a_flowable_in_a_loop_have_no_value_of_their_own() {
    let source = flow(
        "tasks:
  - id: each
    type: io.kestra.plugin.core.flow.ForEach
    values: [1]
    tasks:
      - id: seq
        type: io.kestra.plugin.core.flow.Sequential
        tasks:
          - {id: t, type: io.kestra.plugin.core.debug.Return, format: '{{ taskrun.value }}'}
",
    );
    let (shell, id) = run(&source);
    assert_eq!(shell.summary(id), ["each FAILED", "seq[1] FAILED", "t[1] FAILED"]);
}

#[test]
fn a_parallel_keeps_its_limit() {
    // Case 80.
    let tasks: String = (1..=5).map(|n| format!("      - {{id: t{n}, {JOB}}}\n")).collect();
    let source = flow(&format!(
        "tasks:\n  - id: p\n    type: io.kestra.plugin.core.flow.Parallel\n    concurrent: 2\n    tasks:\n{tasks}"
    ));
    let mut shell = Shell::new(&[&source]);
    let id = shell.start("f", json!({}));
    for left in (2..=5).rev() {
        assert_eq!(shell.jobs.len(), left.min(2));
        let (owner, job) = shell.jobs[0].clone();
        shell.send(owner, support::ended(&job, Success, shell.now));
    }
    shell.run_to_end(|_| Success);
    assert_eq!((shell.state(id), shell.task_runs(id).count()), (Success, 6));
}

#[test]
fn a_parallel_fails_at_once_and_late_results_only_settle_their_attempts() {
    // Case 81.
    let source = flow(&format!(
        "tasks:
  - id: p
    type: io.kestra.plugin.core.flow.Parallel
    tasks:
      - {{id: slow, {JOB}}}
      - {{id: waiting, {JOB}}}
      - {{id: quick, {JOB}}}
      - {{id: inline, {LOG}}}"
    ));
    let mut shell = Shell::new(&[&source]);
    let id = shell.start("f", json!({}));
    let (_, slow) = shell.job("slow");
    shell.send(id, support::started(&slow, shell.now));
    shell.report("quick", Failed);
    assert_eq!(shell.state(id), Failed);
    assert_eq!(shell.summary(id), ["p FAILED", "slow FAILED", "waiting FAILED", "quick FAILED", "inline SUCCESS"]);
    let (_, waiting) = shell.job("waiting");
    assert_eq!(shell.cancelled, [(waiting.task_run, 1)], "what has not begun is taken back");
    assert_eq!(shell.task_run(id, "slow").attempts[0].state.current(), Running);
    let before = shell.execution(id).clone();
    shell.crash(id);
    shell.report("slow", Success);
    assert_eq!(*shell.execution(id), before);
    assert_eq!(shell.task_state(id, "slow"), Failed);
    assert_eq!(shell.task_run(id, "slow").attempts[0].state.current(), Success);
}

#[test]
fn inline_siblings_all_run_whichever_fails_first() {
    let source = flow(&format!(
        "tasks:
  - id: p
    type: io.kestra.plugin.core.flow.Parallel
    tasks:
      - {{id: bad, {FAIL}}}
      - {{id: good, {LOG}}}"
    ));
    let (shell, id) = run(&source);
    assert_eq!(shell.summary(id), ["p FAILED", "bad FAILED", "good SUCCESS"]);
}

#[test]
fn a_condition_that_fails_in_one_branch_leaves_its_sibling_planned() {
    // As in the flow `flowable-with-parent-fail` of the reference: five task runs.
    let source = flow(&format!(
        "tasks:
  - id: vision
    type: io.kestra.plugin.core.flow.ForEach
    concurrencyLimit: 0
    values: [MONTHLY, CUMULATIVE]
    tasks:
      - id: inner
        type: io.kestra.plugin.core.flow.ForEach
        concurrencyLimit: 0
        values: [x]
        tasks:
          - id: if
            type: io.kestra.plugin.core.flow.If
            condition: '{{{{ missing }}}}'
            then: [{{id: t, {LOG}}}]"
    ));
    let (shell, id) = run(&source);
    assert_eq!((shell.state(id), shell.task_runs(id).count()), (Failed, 5));
}

#[test]
fn flowables_without_enabled_children_succeed() {
    // Cases 84, 85.
    for kind in ["Sequential", "Parallel", "AllowFailure"] {
        let source = flow(&format!(
            "tasks:\n  - id: block\n    type: io.kestra.plugin.core.flow.{kind}\n    tasks:\n      - {{id: a, {LOG}, disabled: true}}\n  - {{id: after, {LOG}}}"
        ));
        let (shell, id) = run(&source);
        assert_eq!(shell.summary(id), ["block SUCCESS", "after SUCCESS"], "{kind}");
    }
    let source = flow(&format!(
        "tasks:\n  - id: each\n    type: io.kestra.plugin.core.flow.ForEach\n    values: [1, 2]\n    tasks:\n      - {{id: a, {LOG}, disabled: true}}"
    ));
    assert_eq!(run(&source).0.states.last().unwrap().2, Success);
}

#[test]
fn secrets_of_a_flowable_are_asked_for_and_stay_out_of_the_log() {
    let source = flow(&format!(
        "tasks:
  - id: s
    type: io.kestra.plugin.core.flow.Switch
    value: \"{{{{ secret('kind', namespace='a/b') }}}}\"
    cases:
      A: [{{id: a, {LOG}}}]"
    ));
    let mut shell = Shell::new(&[&source]);
    shell.secrets.insert("KIND".to_owned(), "hush-hush".to_owned());
    let id = shell.start("f", json!({}));
    assert_eq!(shell.state(id), Failed);
    let fact = windhover_engine::Fact::Secret { namespace: "a/b".to_owned(), key: "KIND".to_owned() };
    assert_eq!(shell.asked, [fact]);
    assert!(shell.messages(id)[0].contains("******"), "{:?}", shell.messages(id));
    assert!(!shell.messages(id).join("").contains("hush"));
}

#[test]
fn a_flowable_reads_key_values_and_files() {
    let source = flow(&format!(
        "tasks:
  - id: s
    type: io.kestra.plugin.core.flow.Switch
    value: \"{{{{ kv('kind', namespace='team') ~ fileExists('a/b') }}}}\"
    cases:
      Afalse: [{{id: a, {LOG}}}]"
    ));
    let mut shell = Shell::new(&[&source]);
    shell.key_values.insert("kind".to_owned(), "A".to_owned());
    let id = shell.start("f", json!({}));
    assert_eq!(shell.state(id), Success);
    assert_eq!(shell.asked.len(), 2, "{:?}", shell.asked);
}

#[test]
fn a_large_loop_goes_on_in_bounded_steps() {
    let source = flow(&format!(
        "tasks:
  - id: each
    type: io.kestra.plugin.core.flow.ForEach
    concurrencyLimit: 0
    values: \"{{{{ range(1, 2000) }}}}\"
    tasks:
      - {{id: x, {LOG}}}"
    ));
    let mut shell = Shell::new(&[&source]);
    shell.env.limits.inline_per_step = 300;
    let new = shell.new_execution("f", json!({}));
    let id = new.id;
    shell.start_new(new);
    assert_eq!(shell.state(id), Success, "{:?}", shell.messages(id).first());
    assert_eq!(shell.task_runs(id).count(), 2001);
}
