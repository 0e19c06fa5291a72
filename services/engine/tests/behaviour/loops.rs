//! LoopUntil, Dag, EachSequential and EachParallel (flow model reference 4.3, 5.3, 1.x reference 4.4, 5.3).

use serde_json::json;
use windhover_engine::Event;
use windhover_types::State::{self, Failed, Killed, Success};

use crate::{FAIL, JOB, LOG, flow, run, support::Shell};

const LOOP: &str = "type: io.kestra.plugin.core.flow.LoopUntil";
const VALUE: &str = "type: io.kestra.plugin.core.debug.Return";

fn until(condition: &str, more: &str, tasks: &str) -> String {
    flow(&format!(
        "tasks:\n  - {{id: l, {LOOP}, condition: \"{condition}\", {more}, tasks: {tasks}}}\n  - {{id: after, {LOG}}}"
    ))
}

#[test]
fn a_loop_ends_when_its_condition_holds_and_keeps_only_its_last_turn() {
    // Cases 166 and 169.
    let tasks = format!("[{{id: a, {VALUE}, format: \"{{{{ taskrun.iteration }}}}\"}}, {{id: b, {LOG}}}]");
    let source = until("{{ outputs.a.value == '2' }}", "checkFrequency: {interval: PT5S, maxIterations: 10}", &tasks);
    let mut shell = Shell::new(&[&source]);
    let id = shell.start("f", json!({}));
    let start = shell.now;
    assert_eq!(shell.outputs(id, "l"), json!({"iterationCount": 1}));
    let first = shell.task_run(id, "a").id;
    shell.crash(id);
    assert!(shell.fire_next());
    assert_ne!(shell.task_run(id, "a").id, first, "another turn has other task runs");
    shell.run_to_end(|_| Success);
    assert_eq!(shell.now.since(start).as_secs(), 10);
    assert_eq!(shell.summary(id), ["l SUCCESS", "a SUCCESS", "b SUCCESS", "after SUCCESS"]);
    assert_eq!(shell.outputs(id, "l"), json!({"iterationCount": 3}));
    assert_eq!(shell.outputs(id, "a"), json!({"value": "2"}));
}

#[test]
fn a_limit_ends_a_loop_which_fails_if_it_shall() {
    // Cases 167 and 168.
    let limits = [
        ("maxIterations: \"{{ 1 + 2 }}\"", "false", Success, json!(4)),
        ("maxIterations: 3", "true", Failed, json!(4)),
        ("maxDuration: PT2S", "true", Failed, json!(4)),
    ];
    for (limit, fail, state, count) in limits {
        let often = format!("failOnMaxReached: {fail}, checkFrequency: {{interval: PT1S, {limit}}}");
        let (shell, id) = run(&until("false", &often, &format!("[{{id: a, {LOG}}}]")));
        assert_eq!(shell.state(id), state, "{limit}");
        assert_eq!(shell.outputs(id, "l")["iterationCount"], count, "{limit}");
    }
}

#[test]
fn a_failing_task_ends_a_loop_after_its_errors_branch() {
    // Case 170.
    let tasks = format!("[{{id: a, {FAIL}, condition: \"{{{{ taskrun.iteration == 1 }}}}\"}}]");
    let more = format!("checkFrequency: {{interval: PT0S}}, errors: [{{id: e, {LOG}}}], finally: [{{id: fin, {LOG}}}]");
    let (shell, id) = run(&until("false", &more, &tasks));
    assert_eq!(shell.summary(id), ["l FAILED", "a FAILED", "e SUCCESS", "fin SUCCESS"]);
    assert_eq!(shell.outputs(id, "l"), json!({"iterationCount": 2}));
}

#[test]
fn a_turn_takes_with_it_whatever_it_held() {
    let tasks = format!(
        "[{{id: p, type: io.kestra.plugin.core.flow.Parallel, allowFailure: true, tasks: \
          [{{id: each, type: io.kestra.plugin.core.flow.ForEach, values: [x, y], concurrencyLimit: 0, tasks: \
           [{{id: job, {JOB}}}]}}, {{id: bad, {FAIL}}}]}}]"
    );
    let source = until("{{ outputs.l.iterationCount == 2 }}", "checkFrequency: {interval: PT1S}", &tasks);
    let mut shell = Shell::new(&[&source]);
    let id = shell.start("f", json!({}));
    // The Parallel fails fast, and nobody waits for its jobs.
    let late: Vec<_> = shell.jobs.clone();
    let (_, job) = late[0].clone();
    assert_eq!(late.len(), 2);
    shell.crash(id);
    assert!(shell.fire_next());
    assert_eq!(shell.task_runs(id).filter(|run| run.task_id == "each").count(), 1);
    assert!(shell.jobs.iter().all(|(_, now)| late.iter().all(|(_, before)| before.task_run != now.task_run)));
    assert!(shell.apply(id, crate::support::ended(&job, Success, shell.now)).is_empty(), "its report is nobody's");
    assert_eq!(shell.state(id), State::Warning, "the last turn counts, which failed and was allowed to");
}

#[test]
fn a_loop_can_be_killed_between_two_turns() {
    let source = until("false", "checkFrequency: {}", &format!("[{{id: a, {LOG}}}]"));
    let mut shell = Shell::new(&[&source]);
    let id = shell.start("f", json!({}));
    assert_eq!(shell.timers.len(), 1);
    assert_eq!(shell.timers[0].2.since(shell.now).as_secs(), 60, "a minute unless given");
    shell.send(id, Event::Kill);
    assert_eq!((shell.state(id), shell.task_state(id, "l")), (Killed, Killed));
    assert!(shell.timers.is_empty());
}

fn dag(concurrent: &str, tasks: &str) -> String {
    flow(&format!("tasks:\n  - id: d\n    type: io.kestra.plugin.core.flow.Dag\n    {concurrent}\n    tasks:\n{tasks}"))
}

fn node(id: &str, task: &str, depends_on: &str) -> String {
    format!("      - {{task: {{id: {id}, {task}}}, dependsOn: [{depends_on}]}}\n")
}

#[test]
fn tasks_of_a_dag_begin_when_those_that_they_wait_for_have_ended() {
    let tasks = [node("c", JOB, "a, b"), node("a", JOB, ""), node("b", JOB, ""), node("d1", LOG, "c")].concat();
    let mut shell = Shell::new(&[&dag("", &tasks)]);
    let id = shell.start("f", json!({}));
    assert_eq!(shell.summary(id), ["d RUNNING", "a SUBMITTED", "b SUBMITTED"]);
    shell.report("a", Success);
    assert_eq!(shell.jobs.len(), 1);
    shell.crash(id);
    shell.report("b", State::Warning);
    shell.report("c", Success);
    assert_eq!(shell.summary(id), ["d WARNING", "a SUCCESS", "b WARNING", "c SUCCESS", "d1 SUCCESS"]);
    let mut shell = Shell::new(&[&dag("concurrent: \"{{ 1 }}\"", &tasks)]);
    let id = shell.start("f", json!({}));
    assert_eq!(shell.summary(id), ["d RUNNING", "a SUBMITTED"]);
}

#[test]
fn a_failure_in_a_dag_leaves_out_what_waits_for_it_and_a_disabled_task_is_not_waited_for() {
    // Cases 82 and 83.
    let (shell, id) = run(&dag("", &[node("a", FAIL, ""), node("b", LOG, "a")].concat()));
    assert_eq!(shell.summary(id), ["d FAILED", "a FAILED"]);
    let tasks = [node("a", &format!("{LOG}, disabled: true"), ""), node("b", LOG, "a"), node("c", LOG, "b")].concat();
    let (shell, id) = run(&dag("", &tasks));
    assert_eq!(shell.summary(id), ["d SUCCESS", "b SUCCESS", "c SUCCESS"]);
}

#[test]
fn each_parallel_runs_every_task_for_every_value_side_by_side() {
    let source = |concurrent: &str| {
        flow(&format!(
            "tasks:
  - id: e
    type: io.kestra.plugin.core.flow.EachParallel
    value: '[\"x\", \"y\", \"x\"]'
    {concurrent}
    tasks: [{{id: a, {JOB}}}, {{id: b, {JOB}}}]
  - {{id: read, {VALUE}, format: \"{{{{ outputs.a.y.attempt }}}}\"}}"
        ))
    };
    let mut shell = Shell::new(&[&source("")]);
    let id = shell.start("f", json!({}));
    assert_eq!(shell.summary(id)[1..], ["a[x] SUBMITTED", "b[x] SUBMITTED", "a[y] SUBMITTED", "b[y] SUBMITTED"]);
    shell.run_to_end(|_| Success);
    assert_eq!(shell.outputs(id, "read"), json!({"value": "0"}));
    let mut shell = Shell::new(&[&source("concurrent: 3")]);
    let id = shell.start("f", json!({}));
    assert_eq!(shell.jobs.len(), 3);
    shell.run_to_end(|_| Success);
    assert_eq!(shell.state(id), Success);
}

#[test]
fn each_sequential_is_a_loop_of_one_value_at_a_time() {
    let (shell, id) = run(&flow(&format!(
        "tasks: [{{id: e, type: io.kestra.core.tasks.flows.EachSequential, value: [1, {{k: v}}], tasks: [{{id: a, {LOG}}}, {{id: b, {LOG}}}]}}]"
    )));
    assert_eq!(
        shell.summary(id)[1..],
        ["a[1] SUCCESS", "b[1] SUCCESS", "a[{\"k\":\"v\"}] SUCCESS", "b[{\"k\":\"v\"}] SUCCESS"]
    );
}
