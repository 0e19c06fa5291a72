//! Tasks that change their execution, as the engine runs them.

use std::sync::Arc;

use serde_json::{Value, json};
use windhover_engine::{Effect, Env, Event, Facts, Moment, NewExecution, Run, Step, new_execution, step};
use windhover_tasks::InlineTaskTable;
use windhover_types::{Id, Label, State, Tenant, Timestamp, label_value};

/// Runs a flow that only computes; answers it with the lines of its log.
fn run(source: &str, inputs: &Value) -> (Run, Vec<String>) {
    let flow = windhover_flow::compile(source).expect("a good flow");
    let now = Timestamp::from_millis(1_700_000_000_000);
    let new = NewExecution {
        id: Id::derived(now, &[b"test"]),
        namespace: flow.namespace.clone(),
        flow_id: flow.id.clone(),
        flow_revision: 1,
        labels: vec![Label::new("team", "red")],
        inputs: Arc::new(inputs.as_object().cloned().expect("a map")),
        ..NewExecution::default()
    };
    let mut run = Run::new(new_execution(&Tenant::main(), &new, now));
    let env = Env::new(Arc::new(InlineTaskTable));
    let Step::Done(output) = step(&flow, &mut run, Event::Advance, &Facts::new(), Moment { now, seed: 1 }, &env) else {
        panic!("it needs facts")
    };
    let lines = output.effects.into_iter().filter_map(|effect| match effect {
        Effect::Log(line) => Some(line.message),
        _ => None,
    });
    let lines = lines.collect();
    (run, lines)
}

fn task(kind: &str, properties: &str) -> String {
    format!(
        "id: f\nnamespace: company.team\ntasks: [{{id: t, type: io.kestra.plugin.core.execution.{kind}, {properties}}}]"
    )
}

#[test]
fn labels_are_a_map_a_list_or_a_text_that_renders_to_one() {
    let inputs = json!({"key": "from", "json": "{\"a\": 1, \"team\": \"blue\"}"});
    for (labels, key, value) in [
        ("labels: {\"{{ inputs.key }}\": \"{{ flow.id }}\"}", "from", "f"),
        ("labels: [{key: \"{{ inputs.key }}\", value: 12}]", "from", "12"),
        ("labels: \"{{ inputs.json }}\"", "team", "blue"),
        ("labels: {a: one, b: two}", "team", "red"),
    ] {
        let (run, _) = run(&task("Labels", labels), &inputs);
        assert_eq!(run.execution.current(), State::Success, "{labels}");
        assert_eq!(label_value(&run.execution.labels, key), Some(value), "{labels}");
    }
    for (labels, reason) in [
        ("labels: {\"{{ 'system.x' }}\": a}", "system.x"),
        ("labels: {a: \"{{ '' }}\"}", "empty"),
        ("labels: \"{{ inputs.key }}\"", "a map"),
    ] {
        let (run, lines) = run(&task("Labels", labels), &inputs);
        assert_eq!(run.execution.current(), State::Failed, "{labels}");
        assert!(lines.iter().any(|line| line.contains(reason)), "{labels}: {lines:?}");
    }
}

#[test]
fn variables_are_merged_joined_and_taken_away() {
    let source = "
id: f
namespace: company.team
variables: {name: World, limits: {cpu: 1, mem: 2}, tags: [a], list: [x]}
tasks:
  - id: set
    type: io.kestra.plugin.core.execution.SetVariables
    variables: {greeting: \"Hello {{ vars.name }}\", limits: {mem: 4, disk: 8}, tags: [b], list: null, nested: \"{{ vars.limits }}\"}
  - {id: unset, type: io.kestra.plugin.core.execution.UnsetVariables, variables: [name, limits.cpu]}
  - {id: lenient, type: io.kestra.plugin.core.execution.UnsetVariables, variables: [gone.x, name], ignoreMissing: true}
";
    let (run, _) = run(source, &json!({}));
    assert_eq!(run.execution.current(), State::Success);
    let variables = run.execution.variables.as_deref().cloned().map(Value::Object);
    let wanted = json!({
        "greeting": "Hello World", "limits": {"mem": 4, "disk": 8}, "tags": ["a", "b"], "list": ["x"],
        "nested": {"cpu": 1, "mem": 2},
    });
    assert_eq!(variables, Some(wanted));
}

#[test]
fn variables_that_are_there_or_are_not_can_fail_the_task() {
    let variables = "\nvariables: {a: 1, b: 2}";
    for (kind, properties, reason) in [
        ("SetVariables", "variables: {b: 1, a: 2, c: 3}, overwrite: false", "already exist: b,a"),
        ("UnsetVariables", "variables: [a, missing, b.c]", "do not exist: missing,b.c"),
    ] {
        let (run, lines) = run(&(task(kind, properties) + variables), &json!({}));
        assert_eq!(run.execution.current(), State::Failed);
        assert!(lines.iter().any(|line| line.contains(reason)), "{lines:?}");
        assert_eq!(run.execution.variables, None);
    }
}

#[test]
fn an_exit_names_a_state_in_which_executions_end() {
    for (state, end) in
        [("WARNING", State::Warning), ("\"{{ 'CANCELED' }}\"", State::Cancelled), ("SUCCESS", State::Success)]
    {
        let (run, _) = run(&task("Exit", &format!("state: {state}")), &json!({}));
        assert_eq!(run.execution.current(), end);
    }
    let (run, lines) = run(&task("Exit", "state: \"{{ 'RUNNING' }}\""), &json!({}));
    assert_eq!(run.execution.current(), State::Failed);
    assert!(lines.iter().any(|line| line.contains("one of SUCCESS")), "{lines:?}");
}
