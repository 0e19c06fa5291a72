//! Pauses, of tasks and of whole executions (flow model reference 4.8, 1.x reference 5.3).

use serde_json::json;
use windhover_engine::{Event, Timer, refusals};
use windhover_types::State::{Cancelled, Failed, Killed, Killing, Paused, Restarted, Running, Success, Warning};

use crate::{FAIL, JOB, LOG, flow, run, support::Shell};

const PAUSE: &str = "type: io.kestra.plugin.core.flow.Pause";

fn resume(inputs: serde_json::Value) -> Event {
    Event::Resume { inputs: inputs.as_object().cloned().expect("a map"), by: Some("ada".to_owned()), undeclared: false }
}

#[test]
fn a_pause_waits_until_it_is_resumed_and_its_execution_with_it() {
    // Cases 111 and 116.
    let source = flow(&format!("tasks:\n  - {{id: p, {PAUSE}}}\n  - {{id: next, {LOG}}}"));
    let mut shell = Shell::new(&[&source]);
    let id = shell.start("f", json!({}));
    assert_eq!((shell.state(id), shell.summary(id)), (Paused, vec!["p PAUSED".to_owned()]));
    assert!(shell.timers.is_empty());
    shell.crash(id);
    shell.send(id, Event::Advance);
    assert_eq!(shell.state(id), Paused, "loading it again changes nothing");
    shell.send(id, resume(json!({})));
    assert_eq!(shell.history(id)[1..], [Running, Paused, Restarted, Running, Success]);
    assert_eq!(shell.task_history(id, "p")[1..], [Running, Paused, Running, Success]);
    assert_eq!(shell.outputs(id, "p")["resumed"]["by"], "ada");
    let refused = shell.refused(id, resume(json!({})));
    assert_eq!(refused.reason, refusals::NOT_PAUSED);
}

#[test]
fn a_pause_with_a_duration_does_what_its_behavior_says() {
    // Cases 112 and 114: a timeout beside a duration counts for nothing.
    for (behavior, task, execution) in [
        ("RESUME", Success, Success),
        ("WARN", Warning, Warning),
        ("FAIL", Failed, Failed),
        ("CANCEL", Cancelled, Cancelled),
    ] {
        let source = flow(&format!(
            "tasks:
  - {{id: p, {PAUSE}, delay: PT5S, timeout: PT1S, behavior: \"{{{{ inputs.behavior }}}}\"}}
  - {{id: next, {LOG}}}
errors: [{{id: e, {LOG}}}]
finally: [{{id: fin, {LOG}}}]"
        ));
        let mut shell = Shell::new(&[&source]);
        let id = shell.start("f", json!({"behavior": behavior}));
        let before = shell.now;
        shell.crash(id);
        assert!(shell.fire_next());
        assert_eq!(shell.now, before.plus(std::time::Duration::from_secs(5)));
        assert_eq!((shell.task_state(id, "p"), shell.state(id)), (task, execution), "{behavior}");
        let rest: &[&str] = match behavior {
            "FAIL" => &["e SUCCESS", "fin SUCCESS"],
            "CANCEL" => &[],
            _ => &["next SUCCESS", "fin SUCCESS"],
        };
        assert_eq!(shell.summary(id)[1..], *rest, "{behavior}");
        assert!(shell.timers.is_empty());
    }
}

#[test]
fn a_task_that_resumes_may_hand_over_more_than_the_pause_declares() {
    let source = flow(&format!(
        "tasks:
  - {{id: p, {PAUSE}, onResume: [{{id: n, type: INT}}]}}
  - {{id: bare, {PAUSE}}}"
    ));
    let mut shell = Shell::new(&[&source]);
    let id = shell.start("f", json!({}));
    let resume = |inputs: serde_json::Value| Event::Resume {
        inputs: inputs.as_object().cloned().expect("a map"),
        by: None,
        undeclared: true,
    };
    let refused = shell.refused(id, resume(json!({"n": "many"})));
    assert_eq!(refused.reason, refusals::INVALID_INPUT);
    shell.send(id, resume(json!({"n": "3", "more": {"a": 1}})));
    assert_eq!(shell.outputs(id, "p")["onResume"], json!({"n": 3, "more": {"a": 1}}));
    shell.send(id, resume(json!({"x": "y"})));
    assert_eq!(shell.outputs(id, "bare")["onResume"], json!({"x": "y"}));
    assert_eq!(shell.state(id), Success);
}

#[test]
fn a_timeout_fails_the_pause_after_its_own_errors_branch() {
    // Case 113; `allowFailure` counts for it (1.x reference 5.3).
    let source = flow(&format!(
        "tasks:
  - {{id: p, {PAUSE}, timeout: PT1S, allowFailure: true, errors: [{{id: e, {LOG}}}]}}
  - {{id: next, {LOG}}}"
    ));
    let (shell, id) = run(&source);
    assert_eq!(shell.summary(id), ["p WARNING", "e SUCCESS", "next SUCCESS"]);
    assert_eq!(shell.state(id), Warning);
    let (shell, id) = run(&flow(&format!("tasks: [{{id: p, {PAUSE}, timeout: PT1S}}]")));
    assert_eq!(shell.task_history(id, "p")[1..], [Running, Paused, Running, Failed]);
    assert_eq!(shell.history(id)[1..], [Running, Paused, Restarted, Running, Failed]);
}

#[test]
fn a_resumption_needs_inputs_that_fit() {
    // Case 115.
    let source = flow(&format!(
        "tasks:
  - id: p
    {PAUSE_LINE}
    onResume:
      - {{id: asked, type: INT}}
      - {{id: note, type: STRING, defaults: none}}
  - {{id: next, type: io.kestra.plugin.core.debug.Return, format: \"{{{{ outputs.p.onResume.asked + 1 }}}}\"}}",
        PAUSE_LINE = PAUSE
    ));
    let mut shell = Shell::new(&[&source]);
    let id = shell.start("f", json!({}));
    for inputs in [json!({}), json!({"asked": "many"})] {
        let refused = shell.refused(id, resume(inputs));
        assert_eq!(refused.reason, refusals::INVALID_INPUT);
        assert!(refused.message.contains("asked"), "{}", refused.message);
        assert_eq!(shell.state(id), Paused);
    }
    shell.send(id, resume(json!({"asked": "41"})));
    assert_eq!(shell.state(id), Success);
    assert_eq!(shell.outputs(id, "p")["onResume"], json!({"asked": 41, "note": "none"}));
    assert_eq!(shell.outputs(id, "next"), json!({"value": "42"}));
}

#[test]
fn the_older_tasks_of_a_pause_run_once_it_is_resumed() {
    let source = flow(&format!("tasks: [{{id: p, {PAUSE}, tasks: [{{id: t, {JOB}}}]}}, {{id: next, {LOG}}}]"));
    let mut shell = Shell::new(&[&source]);
    let id = shell.start("f", json!({}));
    assert_eq!(shell.summary(id), ["p PAUSED"]);
    shell.send(id, resume(json!({})));
    assert_eq!(shell.summary(id), ["p RUNNING", "t SUBMITTED"]);
    shell.report("t", Success);
    assert_eq!(shell.summary(id), ["p SUCCESS", "t SUCCESS", "next SUCCESS"]);
}

#[test]
fn two_pauses_side_by_side_are_resumed_one_after_the_other() {
    // Case 117.
    let source = flow(&format!(
        "tasks:
  - id: both
    type: io.kestra.plugin.core.flow.Parallel
    tasks:
      - {{id: first, {PAUSE}, tasks: [{{id: t, {LOG}}}]}}
      - {{id: second, {PAUSE}}}"
    ));
    let mut shell = Shell::new(&[&source]);
    let id = shell.start("f", json!({}));
    shell.send(id, resume(json!({})));
    assert_eq!(shell.summary(id), ["both RUNNING", "first RUNNING", "second PAUSED"], "nothing new while it is paused");
    assert_eq!(shell.state(id), Paused);
    shell.crash(id);
    shell.send(id, resume(json!({})));
    assert_eq!(shell.summary(id), ["both SUCCESS", "first SUCCESS", "second SUCCESS", "t SUCCESS"]);
    assert_eq!(shell.history(id)[1..], [Running, Paused, Restarted, Running, Success]);
}

#[test]
fn what_runs_beside_a_pause_is_recorded_and_followed_up_when_it_is_over() {
    // Case 118.
    let source = flow(&format!(
        "tasks:
  - id: both
    type: io.kestra.plugin.core.flow.Parallel
    tasks:
      - {{id: p, {PAUSE}}}
      - {{id: s, type: io.kestra.plugin.core.flow.Sequential, tasks: [{{id: long, {JOB}}}, {{id: then, {LOG}}}]}}
      - {{id: again, {JOB}, retry: {{type: constant, interval: PT1S}}}}"
    ));
    let mut shell = Shell::new(&[&source]);
    let id = shell.start("f", json!({}));
    shell.report("long", Warning);
    shell.report("again", Failed);
    assert!(shell.fire_next(), "the date of a retry comes and nothing begins");
    assert_eq!(shell.summary(id), ["both RUNNING", "p PAUSED", "s RUNNING", "again CREATED", "long WARNING"]);
    assert!(shell.jobs.is_empty());
    shell.crash(id);
    shell.send(id, resume(json!({})));
    assert_eq!(shell.task_state(id, "then"), Success);
    shell.report("again", Success);
    assert_eq!((shell.state(id), shell.task_state(id, "s")), (Warning, Warning));
}

#[test]
fn an_execution_can_be_paused_as_a_whole() {
    // Cases 119 and 120.
    let mut shell = Shell::new(&[&flow(&format!("tasks: [{{id: a, {JOB}}}, {{id: b, {LOG}}}]"))]);
    let id = shell.start("f", json!({}));
    shell.send(id, Event::Pause);
    assert_eq!(shell.refused(id, Event::Pause).reason, refusals::NOT_RUNNING);
    shell.report("a", Success);
    shell.crash(id);
    shell.send(id, Event::Advance);
    assert_eq!((shell.state(id), shell.summary(id)), (Paused, vec!["a SUCCESS".to_owned()]));
    shell.send(id, resume(json!({})));
    assert_eq!(shell.history(id)[1..], [Running, Paused, Running, Success]);
    assert_eq!(shell.refused(id, Event::Pause).reason, refusals::NOT_RUNNING);
}

#[test]
fn the_task_on_pause_runs_meanwhile_and_decides_nothing() {
    let source = flow(&format!("tasks: [{{id: p, {PAUSE}, onPause: {{id: ask, {FAIL}}}}}, {{id: next, {LOG}}}]"));
    let mut shell = Shell::new(&[&source]);
    let id = shell.start("f", json!({}));
    assert_eq!(shell.summary(id), ["p PAUSED", "ask FAILED"]);
    assert_eq!(shell.task_run(id, "ask").parent_id, None);
    shell.send(id, resume(json!({})));
    assert_eq!(shell.state(id), Success);
}

#[test]
fn a_paused_execution_can_be_killed() {
    // Case 124.
    let source = flow(&format!("tasks: [{{id: p, {PAUSE}, delay: PT1H}}, {{id: next, {LOG}}}]"));
    let mut shell = Shell::new(&[&source]);
    let id = shell.start("f", json!({}));
    let before = shell.task_run(id, "p").id;
    assert_eq!(
        shell.timers.iter().map(|(_, timer, _)| timer.clone()).collect::<Vec<_>>(),
        [Timer::Pause { task_run: before }]
    );
    shell.send(id, Event::Kill);
    assert_eq!(shell.history(id)[1..], [Running, Paused, Killing, Killed]);
    assert_eq!(shell.summary(id), ["p KILLED"]);
    assert!(shell.timers.is_empty());
    shell.send(id, Event::TimerFired { timer: Timer::Pause { task_run: before } });
    assert_eq!(shell.refused(id, resume(json!({}))).reason, refusals::NOT_PAUSED);
}
