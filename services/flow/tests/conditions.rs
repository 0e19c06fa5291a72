//! Conditions, and properties as tasks read them.

use serde_json::{Map, Value, json};
use std::time::Duration;
use windhover_expression::{Environment, NoServices};
use windhover_flow::{Condition, ConditionError, Flow, Properties, TriggerKind, Upstream, compile, evaluate_all};
use windhover_types::{Label, Level, State};

fn conditions(yaml: &str) -> Vec<Condition> {
    let source = format!(
        "id: f\nnamespace: a\ntriggers: [{{id: x, type: io.kestra.plugin.core.trigger.Flow, conditions: [{yaml}]}}]\ntasks: [{{id: t, type: io.kestra.plugin.core.log.Log, message: hi}}]\n"
    )
    .replace("C.", "io.kestra.plugin.core.condition.");
    let mut flow: Flow = compile(&source).unwrap_or_else(|violations| panic!("{yaml}: {violations:#?}"));
    flow.triggers.remove(0).conditions
}

fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("{other} is no map"),
    }
}

fn holds(yaml: &str) -> bool {
    let labels = [Label::new("team", "blue"), Label::new("tier", "1")];
    let upstream = Upstream {
        namespace: "company.team",
        flow_id: "daily",
        state: State::Failed,
        labels: &labels,
        has_outputs: true,
        retried: &[State::Failed, State::Success],
        listening: ("company.monitoring", "alerts"),
    };
    let variables = map(json!({"trigger": {"state": "FAILED", "namespace": "company.team"}}));
    evaluate_all(&conditions(yaml), Some(&upstream), &Environment::new(&variables, &NoServices))
        .unwrap_or_else(|error| panic!("{yaml}: {error}"))
}

#[test]
fn conditions_look_at_the_upstream_execution() {
    const YES: &str = "{type: C.Expression, expression: x}";
    const NO: &str = "{type: C.Expression, expression: 'false'}";
    for (yaml, expected) in [
        ("{type: C.ExecutionStatus, in: [FAILED, WARNING]}", true),
        ("{type: C.ExecutionStatus, in: [SUCCESS]}", false),
        ("{type: C.ExecutionStatus, notIn: [FAILED]}", false),
        ("{type: C.ExecutionStatus, in: [], notIn: []}", true),
        ("{type: C.ExecutionStatus, in: '[\"{{ trigger.state }}\"]'}", true),
        ("{type: C.ExecutionStatusCondition, in: ['{{ trigger.state }}']}", true),
        ("{type: C.ExecutionOutputs, expression: \"{{ trigger.state == 'FAILED' }}\"}", true),
        ("{type: C.ExecutionOutputs, expression: 'false'}", false),
        ("{type: C.HasRetryAttempt, in: [FAILED]}", true),
        ("{type: C.HasRetryAttemptCondition, in: [KILLED]}", false),
        ("{type: C.HasRetryAttempt, notIn: [FAILED, SUCCESS]}", false),
        ("{type: C.FlowCondition, namespace: company.monitoring, flowId: alerts}", true),
        ("{type: C.FlowCondition, namespace: company.team, flowId: daily}", false),
        ("{type: C.FlowNamespaceCondition, namespace: company, prefix: true}", true),
        ("{type: C.FlowNamespaceCondition, namespace: company}", false),
        ("{type: C.ExecutionNamespace, namespace: company.team}", true),
        ("{type: C.ExecutionNamespace, namespace: company}", false),
        ("{type: C.ExecutionNamespace, namespace: company, prefix: true}", true),
        ("{type: C.ExecutionNamespace, namespace: compan, comparison: PREFIX}", true),
        ("{type: C.ExecutionNamespace, namespace: team, comparison: SUFFIX}", true),
        ("{type: C.ExecutionNamespace, namespace: company, prefix: true, comparison: EQUALS}", false),
        ("{type: C.ExecutionFlow, namespace: company.team, flowId: daily}", true),
        ("{type: C.ExecutionFlow, namespace: company.team, flowId: other}", false),
        ("{type: C.ExecutionFlow, namespace: '{{ trigger.namespace }}', flowId: daily}", true),
        ("{type: C.ExecutionLabels, labels: {team: blue, tier: 1}}", true),
        ("{type: C.ExecutionLabels, labels: {team: blue, other: x}}", false),
        ("{type: C.Expression, expression: '0'}", true),
        ("{type: C.Expression, expression: \"{{ '  ' }}\"}", false),
        ("{type: C.Expression, expression: '{{ 1 > 2 }}'}", false),
    ] {
        assert_eq!(holds(yaml), expected, "{yaml}");
    }
    assert!(holds("") && holds(&format!("{YES}, {YES}")) && !holds(&format!("{YES}, {NO}")), "all must hold");
    assert!(
        holds(&format!("{{type: C.Or, conditions: [{NO}, {YES}]}}"))
            && !holds(&format!("{{type: C.Or, conditions: [{NO}]}}"))
    );
    assert!(
        holds(&format!("{{type: C.Not, conditions: [{NO}, {NO}]}}"))
            && !holds(&format!("{{type: C.Not, conditions: [{NO}, {YES}]}}"))
    );
}

#[test]
fn what_has_no_answer_is_an_error() {
    let variables = Map::new();
    let environment = Environment::new(&variables, &NoServices);
    let without = evaluate_all(&conditions("{type: C.ExecutionStatus, in: [FAILED]}"), None, &environment);
    assert_eq!(without, Err(ConditionError::NoExecution));
    let broken = evaluate_all(&conditions("{type: C.Expression, expression: '{{ nope }}'}"), None, &environment);
    assert!(matches!(broken, Err(ConditionError::Expression(_))));
}

#[test]
fn a_flow_trigger_listens_to_ends_and_pauses_unless_it_says_otherwise() {
    let of = |states: &str| {
        let source = format!(
            "id: f\nnamespace: a\ntriggers: [{{id: x, type: io.kestra.plugin.core.trigger.Flow{states}}}]\ntasks: [{{id: t, type: io.kestra.plugin.core.log.Log, message: hi}}]\n"
        );
        match compile(&source).expect("valid").triggers.remove(0).kind {
            TriggerKind::Flow(trigger) => trigger.states,
            other => panic!("{other:?}"),
        }
    };
    let default = of("");
    assert!(
        default.contains(&State::Paused) && default.contains(&State::Skipped) && !default.contains(&State::Running)
    );
    assert_eq!(of(", states: [RUNNING]"), [State::Running]);
}

#[test]
fn properties_are_rendered_and_converted_one_by_one() {
    let properties = Properties::from(&json!({
        "text": "a {{ x }}", "number": 5, "list": "{{ [1, 'b'] }}", "items": ["{{ x }}", 2, null], "flag": "{{ x == 'v' }}",
        "wait": "PT{{ 1 + 1 }}S", "level": "WARN", "{{ x }}": 1, "nothing": "{{ null }}", "broken": "{{ nope }}", "bad": "{{ x", "v": "second"
    }));
    let variables = map(json!({"x": "v"}));
    let env = Environment::new(&variables, &NoServices);
    assert_eq!(properties.text("text", &env), Ok(Some("a v".to_owned())));
    assert_eq!(properties.text("number", &env), Ok(Some("5".to_owned())));
    assert_eq!(properties.int("number", &env), Ok(Some(5)));
    assert_eq!(properties.bool("flag", &env), Ok(Some(true)));
    assert_eq!(properties.duration("wait", &env), Ok(Some(Duration::from_secs(2))));
    assert_eq!(properties.duration("number", &env), Ok(Some(Duration::from_secs(5))));
    assert_eq!(properties.level("level", &env), Ok(Some(Level::Warn)));
    assert_eq!(properties.list("list", &env), Ok(Some(vec![json!(1), json!("b")])));
    assert_eq!(properties.list("items", &env), Ok(Some(vec![json!("v"), json!(2), Value::Null])));
    assert_eq!(properties.typed("list", &env), Ok(Some(json!([1, "b"]))));
    assert_eq!(properties.value("list", &env), Ok(Some(json!("[1,\"b\"]"))));
    assert_eq!(properties.text("nothing", &env), Ok(Some(String::new())));
    assert_eq!(properties.text("absent", &env), Ok(None));
    let message = |error: windhover_flow::PropertyError| error.to_string();
    assert_eq!(properties.required_text("absent", &env).map_err(message), Err("absent: must not be null".to_owned()));
    assert_eq!(
        properties.int("text", &env).map_err(message),
        Err("text: expected a whole number, but got a text that is none".to_owned())
    );
    assert!(properties.text("broken", &env).map_err(message).unwrap_err().starts_with("broken: Unable to find `nope`"));
    assert!(properties.text("bad", &env).map_err(message).unwrap_err().starts_with("bad: "));
    let kept = Properties::from(&json!({"{{ x }}": "first", "v": "second", "n": {"deep": "{{ x }}"}}));
    assert_eq!(kept.render(&env), Ok(json!({"v": "first", "n": {"deep": "v"}})));
}
