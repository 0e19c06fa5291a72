//! Flow triggers (flow model reference 6.5, 1.x reference 6.5).

use std::sync::Arc;

use serde_json::json;
use windhover_engine::{Facts, FlowTriggerError, NewExecution, Run, UpstreamChange, flow_trigger};
use windhover_types::{Id, Label, State};

use crate::{
    FAIL, LOG, flow,
    support::{self, Shell},
};

fn listener(trigger: &str) -> String {
    format!(
        "id: listener
namespace: company.monitoring
labels: {{flow-label: f}}
variables: {{v: 1}}
inputs: [{{id: from, type: STRING, required: false}}, {{id: more, type: STRING, defaults: 'default {{{{ vars.v }}}}'}}]
tasks:
  - {{id: t, {LOG}}}
triggers:
  - id: watch
    type: io.kestra.plugin.core.trigger.Flow
{trigger}"
    )
}

fn fire(shell: &Shell, id: Id, to: State) -> Result<Option<NewExecution>, FlowTriggerError> {
    let stored = &shell.stored[&id];
    let run = Run::from_stored(
        stored.execution.clone(),
        stored.task_runs.values().cloned().collect(),
        stored.task_runs.len() as u32,
    );
    let upstream = Arc::clone(&shell.flows[&stored.execution.flow_id]);
    let listening = &shell.flows["listener"];
    let change = UpstreamChange { flow: &upstream, run: &run, facts: &Facts::new(), to };
    flow_trigger(&change, listening, 4, &listening.triggers[0], &shell.env)
}

fn upstream(task: &str, trigger: &str) -> (Shell, Id) {
    let source = flow(&format!(
        "tasks:
  - {{id: r, type: io.kestra.plugin.core.debug.Return, format: value}}
  - {{id: t, {task}}}"
    ));
    let mut shell = Shell::new(&[&source, &listener(trigger)]);
    let mut new = shell.new_execution("f", json!({}));
    new.labels.push(Label::new("team.name", "a"));
    let id = shell.start_new(new);
    (shell, id)
}

#[test]
fn a_change_that_meets_the_conditions_starts_one_execution_with_a_derived_id() {
    let trigger = "    inputs: {from: '{{ outputs.r.value }} of {{ flow.id }}'}
    labels:
      - {key: state, value: '{{ trigger.state }}'}
      - {key: lost, value: '{{ nothing }}'}
    conditions:
      - {type: io.kestra.plugin.core.condition.ExecutionStatus, in: [FAILED]}
      - {type: io.kestra.plugin.core.condition.ExecutionNamespace, namespace: company, prefix: true}";
    let (shell, id) = upstream(FAIL, trigger);
    let new = fire(&shell, id, State::Failed).expect("it can be evaluated").expect("it fires");
    assert_eq!(
        (new.flow_id.as_str(), new.namespace.as_str(), new.flow_revision),
        ("listener", "company.monitoring", 4)
    );
    assert_eq!(json!(*new.inputs), json!({ "from": "value of f", "more": "default 1" }));
    let labels: Vec<String> = new.labels.iter().map(|label| format!("{}={}", label.key, label.value)).collect();
    assert_eq!(labels, ["flow-label=f".to_owned(), "state=FAILED".to_owned(), format!("system.correlationId={id}")]);
    let trigger = new.trigger.as_ref().expect("a trigger");
    assert_eq!(trigger.type_name, "io.kestra.plugin.core.trigger.Flow");
    assert_eq!(
        json!(trigger.variables),
        json!({
            "executionId": id.to_string(),
            "executionLabels": { "team": { "name": "a" }, "team.name": "a" },
            "state": "FAILED",
            "namespace": "company.team",
            "flowId": "f",
            "flowRevision": 1,
        })
    );
    let again = fire(&shell, id, State::Failed).expect("it can be evaluated");
    assert_eq!(again, Some(new), "the same change makes the same execution");
    assert!(
        fire(&shell, id, State::Running).expect("it can be evaluated").is_none(),
        "not among the states that are listened to"
    );
    let (shell, id) =
        upstream(LOG, "    conditions: [{type: io.kestra.plugin.core.condition.ExecutionStatus, in: [FAILED]}]");
    assert!(fire(&shell, id, State::Success).expect("it can be evaluated").is_none());
}

#[test]
fn each_change_of_state_is_a_cause_of_its_own() {
    let (shell, id) = upstream(LOG, "    states: [RUNNING, SUCCESS]");
    let running = fire(&shell, id, State::Running).expect("it can be evaluated").expect("it fires");
    let success = fire(&shell, id, State::Success).expect("it can be evaluated").expect("it fires");
    assert_ne!(running.id, success.id);
    assert!(fire(&shell, id, State::Paused).expect("it can be evaluated").is_none(), "it never paused");
}

#[test]
fn with_outputs_of_the_upstream_only_those_are_seen_by_the_inputs() {
    let source = flow(&format!("tasks:\n  - {{id: t, {LOG}}}\noutputs: [{{id: o, type: STRING, value: out}}]"));
    for (expression, expected) in [("trigger.outputs.o", Some("out")), ("flow.id", None)] {
        let trigger = format!("    inputs: {{from: '{{{{ {expression} }}}}'}}");
        let mut shell = Shell::new(&[&source, &listener(&trigger)]);
        let id = shell.start("f", json!({}));
        let fired = fire(&shell, id, State::Success);
        match expected {
            Some(text) => {
                let new = fired.expect("it can be evaluated").expect("it fires");
                assert_eq!(new.inputs["from"], text);
                assert_eq!(new.trigger.expect("a trigger").variables["outputs"], json!({ "o": "out" }));
            }
            None => assert!(matches!(fired, Err(FlowTriggerError::Failed(_)))),
        }
    }
    // Case 226: without outputs there is no `trigger.outputs`.
    let (shell, id) = upstream(LOG, "    inputs: {from: '{{ trigger.outputs.o }}'}");
    assert!(fire(&shell, id, State::Success).is_err());
}

#[test]
fn a_flow_never_triggers_itself() {
    let source = listener("    states: [SUCCESS]");
    let mut shell = Shell::new(&[&source]);
    let id = shell.start("listener", json!({}));
    assert!(fire(&shell, id, State::Success).expect("it can be evaluated").is_none());
    assert_eq!(support::labels(shell.execution(id)).len(), 1);
}
