//! What somebody asks for by hand (flow model reference 4.10, 1.x reference 4.9).

use serde_json::json;
use windhover_engine::{Event, From, NewExecution, Repeat, TaskRun, refusals, repeat};
use windhover_types::{
    Id, Label,
    State::{self, Created, Failed, Killed, Paused, Restarted, Running, Skipped, Submitted, Success, Warning},
    label_value,
};

use crate::{
    FAIL, JOB, LOG, flow, run,
    support::{Shell, started},
};

const PARALLEL: &str = "type: io.kestra.plugin.core.flow.Parallel";
const RESTART: Event = Event::Restart { by_parent: false };

/// Fails at its first attempt.
fn once() -> String {
    format!("{FAIL}, condition: \"{{{{ taskrun.attemptsCount < 1 }}}}\"")
}

fn task_run(shell: &Shell, id: Id, task_id: &str) -> Id {
    shell.task_run(id, task_id).id
}

fn repeated(shell: &Shell, id: Id, from: From) -> Result<NewExecution, windhover_engine::Refusal> {
    let runs: Vec<TaskRun> = shell.task_runs(id).cloned().collect();
    let old = shell.execution(id);
    repeat(Repeat {
        old,
        task_runs: &runs,
        from,
        id: Id::derived(shell.now, &[b"repeat", id.as_bytes()]),
        flow: &shell.flows[&old.flow_id],
        revision: 1,
        inputs: None,
        at: shell.now,
    })
}

#[test]
fn a_restart_runs_again_what_failed_and_goes_on_from_there() {
    // Cases 126 and 129.
    let source = flow(&format!(
        "tasks: [{{id: a, {LOG}}}, {{id: b, {once}}}, {{id: c, {LOG}}}]
errors: [{{id: e, {LOG}}}]
finally: [{{id: fin, {LOG}}}]",
        once = once()
    ));
    let (mut shell, id) = run(&source);
    assert_eq!(shell.summary(id), ["a SUCCESS", "b FAILED", "e SUCCESS", "fin SUCCESS"]);
    let finally = task_run(&shell, id, "fin");
    shell.crash(id);
    shell.send(id, RESTART);
    assert_eq!(shell.summary(id), ["a SUCCESS", "b SUCCESS", "c SUCCESS", "fin SUCCESS"]);
    assert_eq!(shell.history(id)[1..], [Running, Failed, Restarted, Running, Success]);
    assert_eq!(shell.task_history(id, "b")[3..], [Failed, Restarted, Submitted, Running, Success]);
    assert_eq!(shell.task_run(id, "b").attempts.len(), 2);
    assert_ne!(task_run(&shell, id, "fin"), finally, "what runs again is another task run");
    let execution = shell.execution(id);
    assert_eq!(label_value(&execution.labels, Label::RESTARTED), Some("true"));
    assert_eq!((execution.marks.earlier_attempts, execution.error.clone()), (1, None));
}

#[test]
fn what_has_nothing_to_restart_or_runs_or_was_killed_is_not_restarted() {
    // Case 127.
    let (mut shell, id) = run(&flow(&format!("tasks: [{{id: a, {LOG}}}]")));
    let refused = shell.refused(id, RESTART);
    assert_eq!(refused.reason, refusals::NOTHING_TO_RESTART);
    assert!(refused.message.contains("No task found to restart"), "{}", refused.message);
    let mut shell = Shell::new(&[&flow(&format!("tasks: [{{id: a, {JOB}}}]"))]);
    let id = shell.start("f", json!({}));
    assert_eq!(shell.refused(id, RESTART).reason, refusals::NOT_ENDED);
    shell.send(id, Event::Kill);
    assert_eq!(shell.refused(id, RESTART).reason, refusals::KILLED);
    shell.report("a", Killed);
    assert_eq!(shell.refused(id, RESTART).reason, refusals::KILLED);
    assert_eq!(shell.refused(id, Event::ChangeState { state: Success }).reason, refusals::KILLED);
}

#[test]
fn a_restart_inside_flowables_opens_what_is_around() {
    // Case 130: value 1 is kept, value 2 runs again, then value 3.
    let bad = format!("{FAIL}, condition: \"{{{{ taskrun.value == 'v2' and taskrun.attemptsCount < 1 }}}}\"");
    let source = flow(&format!(
        "tasks:
  - id: s
    type: io.kestra.plugin.core.flow.Sequential
    tasks:
      - id: each
        type: io.kestra.plugin.core.flow.ForEach
        values: [v1, v2, v3]
        tasks: [{{id: a, {LOG}}}, {{id: b, {bad}}}]
    errors: [{{id: e, {LOG}}}]
  - {{id: last, {LOG}}}"
    ));
    let (mut shell, id) = run(&source);
    assert_eq!((shell.state(id), shell.task_state(id, "e")), (Failed, Success));
    let first = shell.task_runs(id).find(|run| run.task_id == "a").expect("it ran").clone();
    shell.crash(id);
    shell.send(id, RESTART);
    assert_eq!(
        shell.summary(id),
        [
            "s SUCCESS",
            "each SUCCESS",
            "a[v1] SUCCESS",
            "b[v1] SUCCESS",
            "a[v2] SUCCESS",
            "b[v2] SUCCESS",
            "a[v3] SUCCESS",
            "b[v3] SUCCESS",
            "last SUCCESS"
        ]
    );
    assert!(shell.task_runs(id).any(|run| *run == first), "value 1 is untouched");
    assert_eq!(shell.task_run(id, "s").attempts.len(), 2);
}

#[test]
fn a_restart_takes_up_what_a_fast_failure_had_left() {
    let source = flow(&format!(
        "tasks:
  - id: p
    {PARALLEL}
    concurrent: 2
    tasks:
      - {{id: slow, {JOB}}}
      - {{id: bad, {once}}}
      - {{id: never, {LOG}}}",
        once = once()
    ));
    let mut shell = Shell::new(&[&source]);
    let id = shell.start("f", json!({}));
    let (_, job) = shell.job("slow");
    assert_eq!(shell.summary(id), ["p FAILED", "slow FAILED", "bad FAILED"]);
    shell.crash(id);
    shell.send(id, RESTART);
    assert_eq!(shell.summary(id), ["p RUNNING", "slow SUBMITTED", "bad SUCCESS", "never SUCCESS"]);
    assert!(shell.apply(id, started(&job, shell.now)).is_empty(), "the old job is nobody's");
    shell.report("slow", Success);
    assert_eq!(shell.state(id), Success);
}

#[test]
fn a_flowable_that_failed_by_itself_decides_anew() {
    let source = flow(&format!(
        "tasks:
  - {{id: l, type: io.kestra.plugin.core.flow.LoopUntil, condition: \"{{{{ taskrun.attemptsCount == 1 }}}}\", \
     checkFrequency: {{interval: PT1S, maxIterations: 2}}, failOnMaxReached: true, tasks: [{{id: a, {LOG}}}]}}"
    ));
    let (mut shell, id) = run(&source);
    assert_eq!((shell.state(id), shell.outputs(id, "l")), (Failed, json!({"iterationCount": 3})));
    shell.send(id, RESTART);
    assert_eq!(shell.outputs(id, "l"), json!({"iterationCount": 1}), "with a fresh budget");
    assert_eq!(shell.summary(id), ["l SUCCESS", "a SUCCESS"]);
}

#[test]
fn a_restarted_subflow_goes_on_with_its_child() {
    // Case 132, 1.x reference 5.3.
    for (behavior, executions) in [("RETRY_FAILED", 2), ("NEW_EXECUTION", 3)] {
        let parent = flow(&format!(
            "tasks: [{{id: call, type: io.kestra.plugin.core.flow.Subflow, namespace: company.team, flowId: child, restartBehavior: {behavior}}}]"
        ));
        let child = format!(
            "id: child\nnamespace: company.team\ntasks: [{{id: c, {JOB}}}]\noutputs: [{{id: o, type: STRING, value: done}}]"
        );
        let mut shell = Shell::new(&[&parent, &child]);
        let id = shell.start("f", json!({}));
        shell.report("c", Failed);
        let first = shell.child("child");
        assert_eq!((shell.state(id), shell.state(first)), (Failed, Failed));
        shell.crash(id);
        shell.crash(first);
        shell.send(id, RESTART);
        assert_eq!(shell.state(id), Running);
        shell.report("c", Success);
        assert_eq!(shell.state(id), Success);
        assert_eq!(shell.created.len(), executions, "{behavior}");
        assert_eq!(shell.outputs(id, "call")["outputs"], json!({"o": "done"}));
    }
}

#[test]
fn a_child_that_cannot_be_restarted_tells_its_end_again() {
    let parent =
        flow("tasks: [{id: call, type: io.kestra.plugin.core.flow.Subflow, namespace: company.team, flowId: child}]");
    let child = format!(
        "id: child\nnamespace: company.team\ntasks: [{{id: c, {LOG}}}]\noutputs: [{{id: o, type: STRING, value: \"{{{{ missing }}}}\"}}]"
    );
    let mut shell = Shell::new(&[&parent, &child]);
    let id = shell.start("f", json!({}));
    assert_eq!(shell.state(id), Failed);
    shell.send(id, RESTART);
    assert_eq!(shell.history(id)[2..], [Failed, Restarted, Running, Failed]);
    assert_eq!(shell.created.len(), 2);
}

#[test]
fn the_state_of_a_task_run_can_be_decided_afterwards() {
    // Case 137.
    let source = flow(&format!(
        "tasks: [{{id: s, type: io.kestra.plugin.core.flow.Sequential, tasks: [{{id: a, {FAIL}}}, {{id: b, {LOG}}}]}}, {{id: c, {LOG}}}]
errors: [{{id: e, {LOG}}}]"
    ));
    let (mut shell, id) = run(&source);
    let (a, e) = (task_run(&shell, id, "a"), task_run(&shell, id, "e"));
    for (task_run, state, reason) in [
        (Id::default(), Success, refusals::TASK_RUN_NOT_FOUND),
        (a, Running, refusals::INVALID_STATE),
        (e, Success, refusals::INVALID_STATE),
    ] {
        assert_eq!(shell.refused(id, Event::ChangeTaskRunState { task_run, state }).reason, reason);
    }
    shell.crash(id);
    shell.send(id, Event::ChangeTaskRunState { task_run: a, state: Warning });
    assert_eq!(shell.summary(id), ["s WARNING", "a WARNING", "b SUCCESS", "c SUCCESS"]);
    assert_eq!((shell.state(id), shell.task_run(id, "a").attempts.len()), (Warning, 1));
    // In the middle of what has been run: nothing of it runs again.
    shell.crash(id);
    shell.send(id, Event::ChangeTaskRunState { task_run: a, state: Skipped });
    assert_eq!(shell.summary(id), ["s SUCCESS", "a SKIPPED", "b SUCCESS", "c SUCCESS"]);
    assert_eq!(shell.state(id), Success);
    shell.send(id, Event::ChangeTaskRunState { task_run: a, state: Failed });
    assert_eq!(shell.summary(id), ["s FAILED", "a FAILED", "b SUCCESS", "c SUCCESS", "e SUCCESS"]);
    assert_eq!(shell.state(id), Failed);
}

#[test]
fn a_state_decided_in_a_loop_leaves_the_other_iterations_alone() {
    let source = flow(&format!(
        "tasks: [{{id: each, type: io.kestra.plugin.core.flow.ForEach, values: [x, y], tasks: [{{id: a, {LOG}}}, {{id: b, {LOG}}}]}}]"
    ));
    let (mut shell, id) = run(&source);
    let first = shell.task_runs(id).find(|run| run.task_id == "a").expect("it ran").id;
    shell.crash(id);
    shell.send(id, Event::ChangeTaskRunState { task_run: first, state: Warning });
    assert_eq!(shell.summary(id), ["each WARNING", "a[x] WARNING", "b[x] SUCCESS", "a[y] SUCCESS", "b[y] SUCCESS"]);
}

#[test]
fn the_state_of_an_execution_can_be_decided_afterwards() {
    // Case 138.
    let (mut shell, id) = run(&flow(&format!("tasks: [{{id: a, {FAIL}}}]")));
    assert_eq!(shell.refused(id, Event::ChangeState { state: Running }).reason, refusals::INVALID_STATE);
    shell.send(id, Event::ChangeState { state: Success });
    assert_eq!(shell.history(id)[2..], [Failed, Success]);
    let mut shell = Shell::new(&[&flow(&format!("tasks: [{{id: a, {JOB}}}]"))]);
    let id = shell.start("f", json!({}));
    assert_eq!(shell.refused(id, Event::ChangeState { state: Success }).reason, refusals::NOT_ENDED);
}

#[test]
fn labels_of_what_has_ended_can_be_set() {
    // Case 139.
    let set = |key: &str, value: &str| Event::SetLabels { labels: vec![Label::new(key, value)] };
    let mut shell = Shell::new(&[&flow(&format!("tasks: [{{id: a, {JOB}}}]"))]);
    let id = shell.start("f", json!({}));
    assert_eq!(shell.refused(id, set("a", "1")).reason, refusals::NOT_ENDED);
    shell.report("a", Success);
    shell.send(id, set("a", "1"));
    shell.send(id, set("a", "2"));
    assert_eq!(label_value(&shell.execution(id).labels, "a"), Some("2"));
    assert_eq!(shell.refused(id, set(Label::CORRELATION_ID, "other")).reason, refusals::INVALID_LABEL);
    shell.send(id, set(Label::CORRELATION_ID, &id.to_string()));
}

#[test]
fn force_run_waits_for_nothing() {
    // Case 140.
    let mut shell = Shell::new(&[&flow(&format!(
        "tasks: [{{id: a, {JOB}, retry: {{type: constant, interval: PT1H}}}}, {{id: p, type: io.kestra.plugin.core.flow.Pause, timeout: PT1H}}]"
    ))]);
    let at = shell.now.plus(std::time::Duration::from_secs(60));
    let new = NewExecution { schedule_time: Some(at), ..shell.new_execution("f", json!({})) };
    let id = shell.start_new(new);
    shell.send(id, Event::ForceRun);
    assert!(shell.timers.is_empty());
    shell.report("a", Failed);
    assert_eq!(shell.state(id), State::Retrying);
    shell.crash(id);
    shell.send(id, Event::ForceRun);
    shell.send(id, Event::ForceRun);
    shell.report("a", Success);
    assert_eq!(shell.state(id), Paused);
    shell.send(id, Event::ForceRun);
    assert_eq!(shell.state(id), Success);
    assert!(shell.timers.is_empty());
    assert_eq!(shell.refused(id, Event::ForceRun).reason, refusals::ENDED);
    assert_eq!(shell.refused(id, Event::Unqueue { state: Running }).reason, refusals::NOT_QUEUED);
}

#[test]
fn a_paused_execution_that_is_restarted_goes_past_its_pause() {
    let mut shell = Shell::new(&[&flow(&format!(
        "tasks:
  - id: p
    {PARALLEL}
    tasks: [{{id: wait, type: io.kestra.plugin.core.flow.Pause}}, {{id: a, {JOB}, allowFailure: true}}, {{id: bad, {once}}}]",
        once = once()
    ))]);
    let id = shell.start("f", json!({}));
    shell.report("a", Failed);
    assert_eq!(shell.state(id), Paused);
    shell.crash(id);
    shell.send(id, RESTART);
    assert_eq!(shell.summary(id), ["p WARNING", "wait SUCCESS", "a WARNING", "bad SUCCESS"]);
    assert_eq!(shell.history(id)[1..], [Running, Paused, Restarted, Running, Warning]);
}

#[test]
fn a_replay_without_task_run_begins_from_the_beginning() {
    // Case 133.
    let (mut shell, id) = run(&flow(&format!("tasks: [{{id: a, {FAIL}}}]\nvariables: {{v: 1}}")));
    let new = repeated(&shell, id, From::Start).expect("it can be repeated");
    let again = shell.start_new(new);
    let execution = shell.execution(again).clone();
    assert_ne!(again, id);
    assert_eq!((execution.original_id, execution.marks.replayed_from), (id, Some(id)));
    assert_eq!(execution.marks.earlier_attempts, 1);
    assert_eq!(execution.marks.original_created, Some(shell.execution(id).state.started()));
    assert_eq!(label_value(&execution.labels, Label::REPLAY), Some("true"));
    assert_eq!(shell.history(again), [Created, Running, Failed]);
    shell.now = shell.now.plus(std::time::Duration::from_secs(9));
    let third = repeated(&shell, again, From::Start).expect("it can be repeated");
    assert_eq!(third.original_id, Some(id), "the first of the chain");
}

#[test]
fn a_replay_from_a_task_run_keeps_what_came_before_it() {
    // Cases 134 and 136.
    let values =
        |id: &str, of: &str| format!("{{id: {id}, type: io.kestra.plugin.core.debug.Return, format: \"{of}\"}}");
    let source = flow(&format!(
        "tasks: [{}, {}, {}]\nfinally: [{{id: fin, {LOG}}}]",
        values("a", "one"),
        values("b", "{{ outputs.a.value }} two"),
        values("c", "{{ outputs.b.value }} three")
    ));
    let (mut shell, id) = run(&source);
    let refused = repeated(&shell, id, From::TaskRun(Id::default())).expect_err("unknown");
    assert!(refused.message.contains("No task found"), "{}", refused.message);
    let new = repeated(&shell, id, From::TaskRun(task_run(&shell, id, "b"))).expect("it can be repeated");
    let kept: Vec<(&str, State)> =
        new.task_runs.iter().map(|run| (run.task_id.as_str(), run.state.current())).collect();
    assert_eq!(kept, [("a", Success), ("b", Restarted)]);
    let again = shell.start_new(new);
    assert_eq!(shell.history(again), [Created, Restarted, Running, Success]);
    assert_eq!(shell.summary(again), ["a SUCCESS", "b SUCCESS", "c SUCCESS", "fin SUCCESS"]);
    assert_eq!(shell.outputs(again, "c"), json!({"value": "one two three"}));
    assert_eq!(shell.task_run(again, "b").attempts.len(), 2);
    assert_ne!(task_run(&shell, again, "a"), task_run(&shell, id, "a"));
}

#[test]
fn a_replay_inside_a_loop_keeps_the_other_values() {
    // Case 135.
    let source = flow(&format!(
        "tasks:
  - id: each
    type: io.kestra.plugin.core.flow.ForEach
    concurrencyLimit: 2
    values: [x, y, z]
    tasks: [{{id: a, {LOG}}}, {{id: b, {LOG}}}]
  - {{id: d, type: io.kestra.plugin.core.flow.Dag, tasks: [{{task: {{id: n1, {LOG}}}}}, {{task: {{id: n2, {LOG}}}, dependsOn: [n1]}}, {{task: {{id: n3, {LOG}}}}}]}}
  - {{id: last, {LOG}}}"
    ));
    let (mut shell, id) = run(&source);
    let chosen =
        shell.task_runs(id).find(|run| run.task_id == "a" && run.value.as_deref() == Some("y")).expect("it ran").id;
    let new = repeated(&shell, id, From::TaskRun(chosen)).expect("it can be repeated");
    let kept = |task_id: &str| new.task_runs.iter().filter(|run| run.task_id == task_id).count();
    assert_eq!((kept("a"), kept("b"), kept("d"), kept("last")), (3, 2, 0, 0));
    let again = shell.start_new(new);
    shell.run_to_end(|_| Success);
    assert_eq!(shell.state(again), Success);
    assert_eq!(shell.task_runs(again).count(), shell.task_runs(id).count());
    shell.now = shell.now.plus(std::time::Duration::from_secs(9));
    let dag = repeated(&shell, id, From::TaskRun(task_run(&shell, id, "n1"))).expect("it can be repeated");
    let ids: Vec<&str> = dag.task_runs.iter().map(|run| run.task_id.as_str()).collect();
    assert!(ids.contains(&"n3") && !ids.contains(&"n2") && !ids.contains(&"last"), "{ids:?}");
}

#[test]
fn a_replay_of_what_still_runs_starts_its_open_tasks_anew() {
    let source = flow(&format!(
        "tasks: [{{id: p, {PARALLEL}, tasks: [{{id: a, {LOG}}}, {{id: b, {JOB}}}, {{id: w, type: io.kestra.plugin.core.flow.Pause}}]}}]"
    ));
    let mut shell = Shell::new(&[&source]);
    let id = shell.start("f", json!({}));
    let (_, job) = shell.job("b");
    shell.send(id, started(&job, shell.now));
    let new = repeated(&shell, id, From::TaskRun(task_run(&shell, id, "a"))).expect("it can be repeated");
    let again = shell.start_new(new);
    assert_eq!(shell.summary(again), ["p RUNNING", "a SUCCESS", "b SUBMITTED", "w PAUSED"]);
    assert_eq!(shell.task_run(again, "b").attempts[0].state.current(), State::Resubmitted);
    assert_eq!(shell.state(id), Paused, "the old one goes on by itself");
}

#[test]
fn a_restart_with_another_revision_is_another_execution() {
    // Case 128.
    let before = |b: &str| {
        flow(&format!("tasks: [{{id: a, {LOG}}}, {{id: b, {b}}}, {{id: c, {LOG}}}]\nerrors: [{{id: e, {LOG}}}]"))
    };
    let (mut shell, id) = run(&before(FAIL));
    shell.deploy(&before(LOG));
    let new = repeated(&shell, id, From::Failed).expect("it can be repeated");
    assert_eq!(label_value(&new.labels, Label::RESTARTED), Some("true"));
    let again = shell.start_new(new);
    assert_eq!(shell.summary(again), ["a SUCCESS", "b SUCCESS", "c SUCCESS"]);
    let refused = repeated(&shell, again, From::Failed).expect_err("nothing has failed");
    assert_eq!(refused.reason, refusals::NOTHING_TO_RESTART);
}
