//! Subflows (flow model reference 4.14, 5.3, corner cases 154–160).

use serde_json::json;
use windhover_engine::{Event, NewExecution};
use windhover_types::{
    Id, Label,
    State::{Created, Failed, Killed, Killing, Running, Success, Warning},
};

use crate::{
    FAIL, JOB, LOG, flow,
    support::{self, Shell},
};

fn child(rest: &str) -> String {
    format!("id: child\nnamespace: company.team\n{rest}")
}

fn parent(options: &str) -> String {
    flow(&format!(
        "tasks:
  - id: call
    type: io.kestra.plugin.core.flow.Subflow
    namespace: company.team
    flowId: child
{options}
  - {{id: after, {LOG}}}"
    ))
}

fn start(parent: &str, child: &str) -> (Shell, Id) {
    let mut shell = Shell::new(&[parent, child]);
    let id = shell.start("f", json!({}));
    shell.run_to_end(|_| Success);
    (shell, id)
}

#[test]
fn a_subflow_gets_inputs_and_labels_and_gives_its_outputs() {
    // Cases 158, 159.
    let child = child(
        "labels: {team: child, own: c}
inputs: [{id: i, type: INT}, {id: d, type: STRING, defaults: given}]
tasks:
  - {id: r, type: io.kestra.plugin.core.debug.Return, format: '{{ inputs.i + 1 }} {{ inputs.d }} {{ trigger.executionId }}'}
outputs: [{id: o, type: STRING, value: '{{ outputs.r.value }}'}]",
    );
    let options = "    inputs: {i: '{{ 41 }}', unknown: 1}\n    labels: {task: '{{ task.id }}', own: t}";
    for inherit in [false, true] {
        let mut shell = Shell::new(&[&parent(&format!("{options}\n    inheritLabels: {inherit}")), &child]);
        let mut new = shell.new_execution("f", json!({}));
        new.labels.extend([Label::new("team", "parent"), Label::new("mine", "p")]);
        let id = shell.start_new(new);
        shell.run_to_end(|_| Success);
        let called = shell.child("child");
        assert_eq!((shell.state(id), shell.state(called)), (Success, Success), "{:?}", shell.messages(id));
        let outputs = shell.outputs(id, "call");
        assert_eq!(outputs["state"], "SUCCESS");
        assert_eq!(outputs["executionId"], called.to_string());
        assert_eq!(outputs["outputs"], json!({ "o": format!("42 given {id}") }));
        assert_eq!(shell.task_history(id, "call"), [Created, Running, Success]);
        let labels = support::labels(shell.execution(called));
        assert_eq!(labels["system.correlationId"], id.to_string());
        assert_eq!((&labels["team"], &labels["own"], &labels["task"]), (&json!("child"), &json!("t"), &json!("call")));
        assert_eq!(labels.contains_key("mine"), inherit);
        let trigger = shell.execution(called).trigger.as_ref().expect("a trigger");
        assert_eq!((trigger.id.as_str(), trigger.type_name.as_str()), ("call", "io.kestra.plugin.core.flow.Subflow"));
        assert_eq!(trigger.variables["taskRunId"], shell.task_run(id, "call").id.to_string());
        assert!(shell.messages(id).iter().any(|line| line.starts_with("WARN ") && line.contains("unknown")));
    }
}

#[test]
fn the_end_of_a_child_is_handed_on_as_the_options_say() {
    // Case 156.
    let table = [
        (FAIL, "", Failed, Failed),
        (FAIL, "    transmitFailed: false", Success, Success),
        (FAIL, "    allowFailure: true", Warning, Warning),
        (FAIL, "    allowFailure: true\n    allowWarning: true", Success, Success),
        ("type: io.kestra.plugin.core.execution.Fail, allowFailure: true", "", Warning, Warning),
    ];
    for (task, options, expected, execution) in table {
        let (shell, id) = start(&parent(options), &child(&format!("tasks:\n  - {{id: t, {task}}}")));
        assert_eq!((shell.task_state(id, "call"), shell.state(id)), (expected, execution), "{task} {options}");
        assert_eq!(shell.task_run(id, "call").attempts.len(), 1);
    }
}

#[test]
fn a_subflow_without_waiting_succeeds_at_once() {
    // Case 157.
    let mut shell = Shell::new(&[&parent("    wait: false"), &child(&format!("tasks:\n  - {{id: t, {JOB}}}"))]);
    let id = shell.start("f", json!({}));
    assert_eq!(shell.state(id), Success);
    assert_eq!(shell.outputs(id, "call")["state"], "CREATED");
    assert_eq!(shell.state(shell.child("child")), Running);
    shell.run_to_end(|_| Success);
    assert_eq!(shell.state(shell.child("child")), Success);
}

#[test]
fn a_child_that_cannot_be_made_fails_the_task() {
    // Cases 154, 155.
    let needs_input = child(&format!("inputs: [{{id: i, type: STRING}}]\ntasks:\n  - {{id: t, {LOG}}}"));
    let disabled = child(&format!("disabled: true\ntasks:\n  - {{id: t, {LOG}}}"));
    let other = format!("id: other\nnamespace: company.team\ntasks:\n  - {{id: t, {LOG}}}");
    for (child, reason) in [
        (needs_input, "Missing required input:i"),
        (disabled, "Cannot execute a flow which is disabled"),
        (other, "Unable to find flow"),
    ] {
        let (shell, id) = start(&parent(""), &child);
        assert_eq!((shell.summary(id), shell.state(id)), (vec!["call FAILED".to_owned()], Failed));
        assert!(
            shell.messages(id).iter().any(|line| line.starts_with("ERROR") && line.contains(reason)),
            "{:?}",
            shell.messages(id)
        );
        assert_eq!(shell.created.len(), 1);
    }
    // A child whose outputs cannot be rendered is a failed child (case 160).
    let bad_outputs =
        child(&format!("tasks:\n  - {{id: t, {LOG}}}\noutputs: [{{id: o, type: STRING, value: '{{{{ no }}}}'}}]"));
    assert_eq!(start(&parent(""), &bad_outputs).0.states.last().expect("a state").2, Failed);
}

#[test]
fn each_attempt_starts_a_child_of_its_own() {
    // Case 109.
    let options = "    retry: {type: constant, interval: PT1S, maxAttempts: 3}";
    let (shell, id) = start(&parent(options), &child(&format!("tasks:\n  - {{id: t, {FAIL}}}")));
    assert_eq!(shell.task_run(id, "call").attempts.len(), 3);
    assert_eq!(shell.created.len(), 4);
    assert_eq!(shell.state(id), Failed);
}

#[test]
fn a_kill_goes_down_to_the_children_waited_for_or_not() {
    // Case 122.
    let job = child(&format!("tasks:\n  - {{id: t, {JOB}}}"));
    let mut shell = Shell::new(&[&parent(""), &job]);
    let id = shell.start("f", json!({}));
    shell.send(id, Event::Kill);
    let called = shell.child("child");
    assert_eq!((shell.state(id), shell.state(called)), (Killing, Killing));
    shell.report("t", Killed);
    assert_eq!((shell.state(id), shell.state(called), shell.task_state(id, "call")), (Killed, Killed, Killed));
    assert_eq!(shell.history(id), [Created, Running, Killing, Killed]);

    let source = parent("    wait: false").replace(LOG, JOB);
    let mut shell = Shell::new(&[&source, &job]);
    let id = shell.start("f", json!({}));
    shell.crash(id);
    shell.send(id, Event::Kill);
    assert_eq!(shell.state(shell.child("child")), Killing, "its task run had to be loaded: {:?}", shell.asked);
}

#[test]
fn a_killed_child_kills_its_task_and_in_the_end_the_parent() {
    let mut shell = Shell::new(&[&parent(""), &child(&format!("tasks:\n  - {{id: t, {JOB}}}"))]);
    let id = shell.start("f", json!({}));
    let called = shell.child("child");
    shell.send(called, Event::Kill);
    shell.report("t", Killed);
    assert_eq!(shell.summary(id), ["call KILLED", "after SUCCESS"]);
    assert_eq!(shell.state(id), Killed);
}

#[test]
fn news_of_a_child_count_once_and_only_from_the_present_one() {
    let mut shell = Shell::new(&[&parent(""), &child(&format!("tasks:\n  - {{id: t, {JOB}}}"))]);
    let id = shell.start("f", json!({}));
    let task_run = shell.task_run(id, "call").id;
    let ended = |execution| Event::SubflowEnded {
        task_run,
        execution,
        state: Success,
        outputs: None,
        generation: 0,
        item: None,
    };
    assert!(shell.apply(id, ended(Id::default())).is_empty());
    let called = shell.child("child");
    assert!(!shell.apply(id, ended(called)).is_empty());
    assert!(shell.apply(id, ended(called)).is_empty());
    // The same cause again makes no second child.
    let again = NewExecution { id: called, ..shell.new_execution("child", json!({})) };
    shell.start_new(again);
    assert_eq!(shell.created.len(), 2);
}

#[test]
fn a_subflow_can_begin_at_a_date() {
    let child = flow(&format!("tasks: [{{id: c, {LOG}}}]")).replacen("id: f", "id: child", 1);
    let parent = |date: &str| {
        flow(&format!(
            "tasks: [{{id: call, type: io.kestra.plugin.core.flow.Subflow, namespace: company.team, flowId: child, scheduleDate: \"{date}\"}}]"
        ))
    };
    let mut shell = Shell::new(&[&parent("{{ inputs.at }}"), &child]);
    let id = shell.start("f", json!({"at": "2023-11-15T00:00:00+01:00"}));
    assert_eq!((shell.state(shell.child("child")), shell.task_state(id, "call")), (Created, Running));
    shell.fire_next();
    assert_eq!(shell.now.to_string(), "2023-11-14T23:00:00.000Z");
    assert_eq!(shell.state(id), Success);
    let mut shell = Shell::new(&[&parent("tomorrow"), &child]);
    let id = shell.start("f", json!({}));
    assert!(
        shell.messages(id).iter().any(|line| line.contains("scheduleDate: `tomorrow`")),
        "{:?}",
        shell.messages(id)
    );
    assert_eq!(shell.state(id), Failed);
}

/// The older form of a flow's outputs, on the task that starts it.
fn extracts(expression: &str, outputs: &str) -> (Shell, Id) {
    let parent = flow(&format!(
        "tasks:
  - id: sub
    type: io.kestra.plugin.core.flow.Subflow
    namespace: company.team
    flowId: child
    outputs: {{extracted: \"{expression}\", deep: {{flow: '{{{{ flow.id }}}}'}}}}
  - {{id: after, type: io.kestra.plugin.core.debug.Return, format: '{{{{ outputs.sub.outputs.extracted }}}}'}}"
    ));
    let child = format!(
        "id: child
namespace: company.team
tasks:
  - {{id: r, type: io.kestra.plugin.core.debug.Return, format: of the child}}
{outputs}"
    );
    let mut shell = Shell::new(&[&parent, &child]);
    let id = shell.start("f", json!({}));
    (shell, id)
}

#[test]
fn outputs_on_the_task_are_rendered_where_the_child_is_known_unless_its_flow_has_some() {
    let (shell, id) = extracts("{{ outputs.r.value }}", "");
    assert_eq!(shell.outputs(id, "sub")["outputs"], json!({"extracted": "of the child", "deep": {"flow": "child"}}));
    assert_eq!(shell.outputs(id, "after"), json!({"value": "of the child"}));
    let own = "outputs: [{id: extracted, type: STRING, value: own}]\n";
    let (shell, id) = extracts("{{ outputs.r.value }}", own);
    assert_eq!(shell.outputs(id, "sub")["outputs"], json!({"extracted": "own"}));
}

#[test]
fn outputs_on_the_task_that_do_not_render_fail_it_and_say_why() {
    let (shell, id) = extracts("{{ outputs.nothing.value }}", "");
    assert_eq!(shell.summary(id), ["sub FAILED"]);
    let child = shell.child("child");
    assert_eq!(shell.state(child), Success);
    assert_eq!(shell.outputs(id, "sub"), json!({"executionId": child.to_string(), "state": "SUCCESS"}));
    let told = shell.messages(id).join("\n");
    assert!(told.contains("WARN Failed to extract outputs with the error: '"), "{told}");
    assert_eq!(shell.task_run(id, "sub").attempts.len(), 1);
}
