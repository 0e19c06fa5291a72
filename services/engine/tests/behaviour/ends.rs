//! What decides the end of an execution from outside of its tasks, and what follows it: service levels, slots, Exit, retries as another
//! execution, listeners and `afterExecution`.

use serde_json::json;
use windhover_engine::{Event, NewExecution, Slot, Timer, refusals};
use windhover_flow::ConcurrencyBehavior;
use windhover_types::{
    Id,
    State::{self, Cancelled, Created, Failed, Killed, Killing, Queued, Restarted, Retried, Running, Success, Warning},
    label_value,
};

use crate::{FAIL, JOB, LOG, flow, run, support::Shell};

const VALUE: &str = "type: io.kestra.plugin.core.debug.Return";
const EXIT: &str = "type: io.kestra.plugin.core.execution.Exit";
const CALL: &str = "type: io.kestra.plugin.core.flow.Subflow, namespace: company.team, flowId: child";

fn seconds(seconds: u64) -> std::time::Duration {
    std::time::Duration::from_secs(seconds)
}

#[test]
fn what_follows_the_end_sees_it_and_changes_nothing_of_it() {
    let source = flow(&format!(
        "tasks: [{{id: a, {VALUE}, format: hello}}, {{id: b, {FAIL}}}]
errors: [{{id: e, {LOG}}}]
finally: [{{id: fin, {LOG}}}]
outputs: [{{id: o, type: STRING, value: \"{{{{ outputs.a.value }}}}\"}}]
listeners:
  - conditions: [{{type: io.kestra.plugin.core.condition.ExecutionStatus, in: [SUCCESS]}}]
    tasks: [{{id: l1, {LOG}}}]
  - conditions: [{{type: io.kestra.plugin.core.condition.ExecutionStatus, in: [FAILED]}}]
    tasks: [{{id: l2, {FAIL}}}, {{id: l3, {LOG}}}]
afterExecution:
  - {{id: watch, {VALUE}, format: \"{{{{ execution.state }}}} {{{{ execution.outputs.o }}}}\"}}
  - {{id: job, {JOB}}}
  - {{id: skipped, {LOG}, runIf: \"{{{{ execution.state == 'SUCCESS' }}}}\"}}"
    ));
    let mut shell = Shell::new(&[&source]);
    let id = shell.start("f", json!({}));
    assert_eq!((shell.state(id), shell.execution(id).is_ended()), (Failed, false));
    assert_eq!(shell.refused(id, Event::Restart { by_parent: false }).reason, refusals::NOT_ENDED);
    shell.crash(id);
    shell.send(id, Event::Advance);
    shell.report("job", Failed);
    assert!(shell.execution(id).is_ended());
    assert_eq!(
        shell.summary(id)[2..],
        ["e SUCCESS", "fin SUCCESS", "l2 FAILED", "l3 SUCCESS", "watch SUCCESS", "job FAILED", "skipped SKIPPED"]
    );
    assert_eq!(shell.outputs(id, "watch"), json!({"value": "FAILED hello"}));
    assert_eq!(shell.history(id), [Created, Running, Failed]);
    // It runs again at the new end.
    shell.send(id, Event::ChangeTaskRunState { task_run: shell.task_run(id, "b").id, state: Success });
    shell.report("job", Success);
    assert_eq!(
        shell.summary(id),
        ["a SUCCESS", "b SUCCESS", "fin SUCCESS", "l1 SUCCESS", "watch SUCCESS", "job SUCCESS", "skipped SUCCESS"]
    );
}

#[test]
fn a_parent_goes_on_only_when_what_follows_the_end_of_its_child_is_through() {
    let parent = flow(&format!("tasks: [{{id: call, {CALL}}}]"));
    let child =
        format!("id: child\nnamespace: company.team\ntasks: [{{id: c, {LOG}}}]\nafterExecution: [{{id: job, {JOB}}}]");
    let mut shell = Shell::new(&[&parent, &child]);
    let id = shell.start("f", json!({}));
    assert_eq!((shell.state(shell.child("child")), shell.state(id)), (Success, Running));
    shell.report("job", Success);
    assert_eq!(shell.state(id), Success);
}

#[test]
fn a_kill_skips_finally_and_not_what_follows_the_end() {
    let source = flow(&format!(
        "tasks: [{{id: a, {JOB}}}]\nfinally: [{{id: fin, {LOG}}}]\nafterExecution: [{{id: after, {JOB}}}, {{id: last, {LOG}}}]"
    ));
    let mut shell = Shell::new(&[&source]);
    let id = shell.start("f", json!({}));
    shell.send(id, Event::Kill);
    shell.report("a", Killed);
    assert_eq!(shell.history(id)[1..], [Running, Killing, Killed]);
    assert_eq!(shell.summary(id), ["a KILLED", "after SUBMITTED"]);
    shell.crash(id);
    shell.send(id, Event::Kill);
    assert_eq!(shell.summary(id), ["a KILLED", "after KILLED"], "nobody waits for what follows either");
    assert!(shell.execution(id).is_ended());
}

#[test]
fn an_exit_ends_everything_around_it_and_nothing_more_begins() {
    for state in [Success, Warning, Failed, Cancelled] {
        let source = flow(&format!(
            "tasks:
  - id: outer
    type: io.kestra.plugin.core.flow.If
    condition: \"true\"
    then:
      - id: p
        type: io.kestra.plugin.core.flow.Parallel
        tasks: [{{id: long, {JOB}}}, {{id: leave, {EXIT}, state: {state}}}]
      - {{id: next, {LOG}}}
errors: [{{id: e, {LOG}}}]
finally: [{{id: fin, {LOG}}}]
outputs: [{{id: o, type: STRING, value: x}}]
afterExecution: [{{id: after, {LOG}}}]"
        ));
        let mut shell = Shell::new(&[&source]);
        let id = shell.start("f", json!({}));
        let all = |task: &str| format!("{task} {state}");
        assert_eq!(shell.summary(id), [all("outer"), all("p"), all("long"), all("leave"), "after SUCCESS".to_owned()]);
        assert_eq!((shell.state(id), shell.execution(id).outputs.clone()), (state, None));
        shell.report("long", Success);
        assert_eq!(shell.task_run(id, "long").attempts[0].state.current(), Success, "its report is recorded");
    }
}

#[test]
fn an_exit_that_kills_waits_for_workers_and_leaves_subflows_alone() {
    let source = flow(&format!(
        "tasks: [{{id: p, type: io.kestra.plugin.core.flow.Parallel, tasks: [{{id: long, {JOB}}}, {{id: call, {CALL}}}, {{id: leave, {EXIT}, state: KILLED}}]}}]"
    ));
    let child = format!("id: child\nnamespace: company.team\ntasks: [{{id: c, {JOB}}}]");
    let mut shell = Shell::new(&[&source, &child]);
    let id = shell.start("f", json!({}));
    assert_eq!((shell.state(id), shell.task_state(id, "call")), (Killing, Killed));
    shell.report("long", Killed);
    assert_eq!(shell.summary(id), ["p KILLED", "long KILLED", "call KILLED", "leave KILLED"]);
    assert_eq!(shell.state(shell.child("child")), Running);
}

#[test]
fn a_duration_that_is_too_long_ends_the_execution_and_whatever_it_has_started() {
    // Cases 148 and 149.
    let source = flow(&format!(
        "tasks: [{{id: p, type: io.kestra.plugin.core.flow.Parallel, tasks: [{{id: long, {JOB}}}, {{id: call, {CALL}}}]}}]
sla: [{{id: quick, type: MAX_DURATION, duration: PT5S, behavior: FAIL, labels: {{sla: missed}}}}]
errors: [{{id: e, {LOG}}}]
afterExecution: [{{id: after, {LOG}}}]"
    ));
    let child = format!("id: child\nnamespace: company.team\ntasks: [{{id: c, {JOB}}}]");
    let mut shell = Shell::new(&[&source, &child]);
    let id = shell.start("f", json!({}));
    let at = shell.now.plus(seconds(5));
    assert_eq!(shell.timers, [(id, Timer::Sla { sla: 0 }, at)]);
    shell.crash(id);
    assert!(shell.fire_next());
    assert_eq!(shell.summary(id), ["p FAILED", "long FAILED", "call FAILED", "after SUCCESS"]);
    assert_eq!(label_value(&shell.execution(id).labels, "sla"), Some("missed"));
    assert_eq!(shell.state(shell.child("child")), Killing);
    assert!(shell.messages(id).iter().any(|line| line.starts_with("WARN SLA 'quick' violated")));
    let (shell, id) = run(&flow(&format!(
        "tasks: [{{id: a, {LOG}}}]\nsla: [{{id: q, type: MAX_DURATION, duration: PT5S, behavior: FAIL}}]"
    )));
    assert_eq!((shell.state(id), shell.timers.len()), (Success, 0));
}

#[test]
fn an_assertion_is_looked_at_whenever_a_task_has_ended() {
    // Cases 150 to 152.
    let source = |behavior: &str| {
        flow(&format!(
            "tasks: [{{id: a, {LOG}}}, {{id: t, {VALUE}, format: other}}, {{id: next, {LOG}}}]
errors: [{{id: e, {LOG}}}]
outputs: [{{id: o, type: STRING, value: x}}]
sla:
  - {{id: s, type: EXECUTION_ASSERTION, assert: \"{{{{ outputs.t.value == 'expected' }}}}\", behavior: {behavior}, labels: {{broken: s}}}}
  - {{id: second, type: EXECUTION_ASSERTION, assert: \"{{{{ outputs.t.value == 'too' }}}}\", behavior: FAIL}}"
        ))
    };
    for (behavior, state, tasks) in [("CANCEL", Cancelled, 2), ("FAIL", Failed, 2), ("NONE", Success, 3)] {
        let (shell, id) = run(&source(behavior));
        assert_eq!((shell.state(id), shell.summary(id).len()), (state, tasks), "{behavior}");
        assert_eq!(label_value(&shell.execution(id).labels, "broken"), Some("s"));
        assert_eq!(shell.execution(id).outputs.is_some(), state == Success);
        let told = shell.messages(id).iter().filter(|line| line.contains("SLA 's' violated: ")).count();
        assert_eq!(told, 1, "once");
    }
}

fn limited(shell: &mut Shell, limit: u32, behavior: ConcurrencyBehavior, more: &str) {
    let behavior = match behavior {
        ConcurrencyBehavior::Queue => "QUEUE",
        ConcurrencyBehavior::Cancel => "CANCEL",
        ConcurrencyBehavior::Fail => "FAIL",
    };
    shell.deploy(&flow(&format!(
        "tasks: [{{id: a, {JOB}}}]\nerrors: [{{id: e, {LOG}}}]\nconcurrency: {{limit: {limit}, behavior: {behavior}}}\n{more}"
    )));
}

/// Ends the job of one execution.
fn end(shell: &mut Shell, id: Id, state: State) {
    let (_, job) = shell.jobs.iter().find(|(of, _)| *of == id).expect("its job is out").clone();
    let now = shell.now;
    shell.send(id, crate::support::ended(&job, state, now));
}

#[test]
fn executions_beyond_the_limit_wait_in_the_order_of_their_coming() {
    // Cases 141, 143 and 125.
    let mut shell = Shell::new(&[]);
    limited(&mut shell, 1, ConcurrencyBehavior::Queue, &format!("afterExecution: [{{id: after, {JOB}}}]"));
    let start = |shell: &mut Shell| {
        shell.now = shell.now.plus(seconds(1));
        shell.start("f", json!({}))
    };
    let [first, second, third, fourth] = std::array::from_fn(|_| start(&mut shell));
    assert_eq!(shell.history(second), [Created, Queued]);
    shell.send(second, Event::Kill);
    assert_eq!(shell.history(second), [Created, Queued, Killing, Killed]);
    end(&mut shell, second, Success);
    assert_eq!(shell.state(third), Queued, "one that waited frees nothing");
    end(&mut shell, first, Success);
    assert_eq!((shell.state(first), shell.state(third)), (Success, Queued), "what follows the end keeps the slot");
    end(&mut shell, first, Success);
    assert_eq!(shell.history(third), [Created, Queued, Running]);
    // Without a slot: the number may exceed the limit, and its end frees none.
    shell.send(fourth, Event::Unqueue { state: Running });
    assert_eq!((shell.state(fourth), shell.execution(fourth).marks.slot), (Running, Slot::None));
    let fifth = start(&mut shell);
    for id in [fourth, fourth] {
        end(&mut shell, id, Success);
    }
    assert_eq!(shell.state(fifth), Queued);
    shell.crash(fifth);
    shell.send(fifth, Event::Unqueue { state: Cancelled });
    assert_eq!(shell.history(fifth), [Created, Queued, Cancelled]);
}

#[test]
fn a_limit_can_cancel_or_fail_what_comes_too_much() {
    // Case 144.
    for (behavior, state) in [(ConcurrencyBehavior::Cancel, Cancelled), (ConcurrencyBehavior::Fail, Failed)] {
        let mut shell = Shell::new(&[]);
        limited(&mut shell, 1, behavior, "");
        let first = shell.start("f", json!({}));
        let second = shell.start("f", json!({}));
        assert_eq!(shell.history(second), [Created, state]);
        assert!(shell.summary(second).is_empty());
        let told = shell.messages(second).iter().any(|line| line.contains("concurrency limit exceeded"));
        assert_eq!(told, state == Failed);
        end(&mut shell, first, Success);
        let third = shell.start("f", json!({}));
        assert_eq!(shell.state(third), Running);
    }
}

#[test]
fn a_restart_asks_for_a_slot_again() {
    let mut shell = Shell::new(&[]);
    limited(&mut shell, 1, ConcurrencyBehavior::Queue, "");
    let first = shell.start("f", json!({}));
    end(&mut shell, first, Failed);
    let second = shell.start("f", json!({}));
    shell.send(first, Event::Restart { by_parent: false });
    assert_eq!(shell.history(first)[2..], [Failed, Restarted, Queued]);
    assert_eq!(shell.summary(first), ["a RESTARTED"]);
    shell.crash(first);
    shell.send(first, Event::Advance);
    end(&mut shell, second, Success);
    assert_eq!(shell.history(first)[5..], [Running]);
    end(&mut shell, first, Success);
    assert_eq!((shell.state(first), shell.slots["f"].is_empty()), (Success, true));
}

#[test]
fn a_schedule_time_comes_before_the_slot() {
    let mut shell = Shell::new(&[]);
    limited(&mut shell, 1, ConcurrencyBehavior::Queue, "");
    let first = shell.start("f", json!({}));
    let at = shell.now.plus(seconds(60));
    let new = NewExecution { schedule_time: Some(at), ..shell.new_execution("f", json!({})) };
    let second = shell.start_new(new);
    assert_eq!(shell.slots["f"].waiting(), 0);
    shell.fire_next();
    assert_eq!(shell.state(second), Queued);
    shell.send(second, Event::ForceRun);
    assert_eq!((shell.state(second), shell.slots["f"].waiting()), (Running, 0));
    end(&mut shell, first, Success);
    end(&mut shell, second, Success);
    assert!(shell.slots["f"].is_empty());
}

#[test]
fn a_retry_can_make_another_execution() {
    // Case 104.
    let retry = "retry: {type: constant, interval: PT2S, behavior: CREATE_NEW_EXECUTION, maxAttempts: 3}";
    for source in [
        flow(&format!(
            "tasks: [{{id: s, type: io.kestra.plugin.core.flow.Sequential, tasks: [{{id: a, {FAIL}, {retry}}}]}}]\nerrors: [{{id: e, {LOG}}}]"
        )),
        flow(&format!(
            "{retry}\ntasks: [{{id: s, type: io.kestra.plugin.core.flow.Sequential, tasks: [{{id: a, {FAIL}}}]}}]\nerrors: [{{id: e, {LOG}}}]"
        )),
    ] {
        let (shell, first) = run(&source);
        let [second, third] = shell.created[1..] else { panic!("{:?}", shell.created) };
        assert_eq!(shell.history(first), [Created, Running, Retried]);
        assert_eq!(shell.summary(first), ["s RETRIED", "a RETRIED"]);
        assert_eq!(shell.task_history(first, "a")[2..], [Running, Failed, Retried]);
        assert_eq!((shell.state(second), shell.state(third)), (Retried, Failed));
        assert_eq!(shell.summary(third), ["s FAILED", "a FAILED", "e SUCCESS"]);
        let last = shell.execution(third);
        assert_eq!((last.original_id, last.marks.replayed_from), (first, Some(second)));
        assert_eq!(last.marks.earlier_attempts, 2);
        let begun = |id: Id| shell.execution(id).state.entries()[1].at;
        assert_eq!(begun(second).since(begun(first)), seconds(2));
    }
}

#[test]
fn the_longest_duration_of_such_retries_counts_from_the_first_execution() {
    let source = flow(&format!(
        "retry: {{type: constant, interval: PT2S, behavior: CREATE_NEW_EXECUTION, maxDuration: PT5S}}\ntasks: [{{id: a, {FAIL}}}]"
    ));
    let (shell, _) = run(&source);
    let states: Vec<State> = shell.created.iter().map(|id| shell.state(*id)).collect();
    assert_eq!(states, [Retried, Retried, Failed]);
}

#[test]
fn a_parent_waits_for_the_execution_that_tries_its_child_again() {
    let parent = flow(&format!("tasks: [{{id: call, {CALL}}}]"));
    let child = format!(
        "id: child\nnamespace: company.team\ntasks: [{{id: c, {JOB}, retry: {{type: constant, interval: PT2S, behavior: CREATE_NEW_EXECUTION, maxAttempts: 2}}}}]"
    );
    let mut shell = Shell::new(&[&parent, &child]);
    let id = shell.start("f", json!({}));
    let first = shell.child("child");
    shell.report("c", Failed);
    let second = shell.child("child");
    assert_ne!(first, second);
    assert_eq!(shell.state(id), Running);
    assert_eq!(shell.outputs(id, "call")["executionId"], json!(second.to_string()));
    shell.fire_next();
    shell.report("c", Success);
    assert_eq!((shell.state(first), shell.state(id)), (Retried, Success));
}

#[test]
fn an_execution_that_its_trigger_could_not_prepare_is_born_to_fail() {
    let mut shell = Shell::new(&[&flow(&format!("tasks: [{{id: a, {LOG}}}]"))]);
    let new = shell.new_execution("f", json!({}));
    let id = new.id;
    shell.begin(new);
    shell.fail_new(id, "the inputs do not fit");
    shell.settle();
    assert_eq!(shell.history(id), [Created, Failed]);
    assert!(shell.summary(id).is_empty());
    assert_eq!(shell.messages(id), ["ERROR the inputs do not fit"]);
}

#[test]
fn a_paused_execution_keeps_its_slot() {
    // Case 142.
    let mut shell = Shell::new(&[]);
    let source = flow(&format!("tasks: [{{id: p, type: io.kestra.plugin.core.flow.Pause}}, {{id: a, {LOG}}}]"));
    shell.deploy(&format!("{source}\nconcurrency: {{limit: 1}}"));
    let first = shell.start("f", json!({}));
    let second = shell.start("f", json!({}));
    assert_eq!((shell.state(first), shell.state(second)), (State::Paused, Queued));
    shell.send(first, Event::Resume { inputs: serde_json::Map::new(), by: None, undeclared: false });
    assert_eq!((shell.state(first), shell.state(second)), (Success, State::Paused));
}

#[test]
fn a_child_that_finds_no_slot_ends_its_task_as_its_limit_says() {
    // Case 146: CANCELLED is not transmitted.
    for (behavior, state) in [("FAIL", Failed), ("CANCEL", Success)] {
        let child = format!(
            "id: child\nnamespace: company.team\ntasks: [{{id: c, {JOB}}}]\nconcurrency: {{limit: 1, behavior: {behavior}}}"
        );
        let mut shell = Shell::new(&[&flow(&format!("tasks: [{{id: call, {CALL}}}]")), &child]);
        let first = shell.start("f", json!({}));
        let second = shell.start("f", json!({}));
        assert_eq!((shell.state(first), shell.state(second)), (Running, state), "{behavior}");
    }
}
