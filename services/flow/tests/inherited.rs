//! What flows get from their namespaces and from the server.

use serde_json::{Value, json};
use windhover_flow::{Flow, Inherited, PluginDefaults, Properties, TaskKind, Validation, validate_within};
use windhover_types::JsonMap;

const LOG: &str = "io.kestra.plugin.core.log.Log";

fn map(value: Value) -> JsonMap {
    match value {
        Value::Object(map) => map,
        other => panic!("{other} is no map"),
    }
}

fn defaults(list: Value) -> PluginDefaults {
    let Value::Array(list) = list else { panic!("{list} is no list") };
    let (defaults, violations) = PluginDefaults::read(&list, "defaults");
    assert!(violations.is_empty(), "{violations:?}");
    defaults
}

/// The flow below these, the nearest first: variables and plugin defaults of each.
fn within(source: &str, layers: &[(Value, Value)]) -> Validation {
    let layers: Vec<_> = layers.iter().map(|(own, list)| (map(own.clone()), defaults(list.clone()))).collect();
    let inherited = Inherited::of(layers.iter().map(|(own, list)| (own, list)));
    validate_within(source, &|namespace| {
        assert_eq!(namespace, "company.team");
        inherited.clone()
    })
}

fn good(validation: Validation) -> Flow {
    validation.flow.unwrap_or_else(|| panic!("{:?}", validation.violations))
}

/// A property of the only task, as it is written.
fn property(flow: &Flow, name: &str) -> Option<Value> {
    let TaskKind::Runnable(runnable) = &flow.tasks[0].kind else { panic!("a runnable task") };
    runnable.properties.get(name).map(Properties::source)
}

fn logging(task: &str, rest: &str) -> String {
    format!("id: f\nnamespace: company.team\n{rest}tasks:\n  - id: l\n    type: {LOG}\n    message: m\n{task}")
}

#[test]
fn what_is_nearer_wins_and_what_the_flow_says_wins_over_all() {
    let level = |level: &str| json!([{"type": LOG, "values": {"level": level}}]);
    let none = || json!({});
    let team = (none(), level("WARN"));
    let company = (none(), level("ERROR"));
    let of = |source: &str| property(&good(within(source, &[team.clone(), company.clone()])), "level");
    assert_eq!(of(&logging("", "")), Some(json!("WARN")));
    assert_eq!(of(&logging("    level: DEBUG\n", "")), Some(json!("DEBUG")));
    let own = format!("pluginDefaults:\n  - type: {LOG}\n    values: {{level: TRACE}}\n");
    assert_eq!(of(&logging("", &own)), Some(json!("TRACE")));
    let parent = within(&logging("", ""), &[(none(), json!([])), company.clone()]);
    assert_eq!(property(&good(parent), "level"), Some(json!("ERROR")));
}

#[test]
fn what_is_forced_wins_over_tasks_and_the_nearer_over_the_farther() {
    let forced = |level: &str| (json!({}), json!([{"type": LOG, "forced": true, "values": {"level": level}}]));
    let source = logging("    level: DEBUG\n", "");
    assert_eq!(property(&good(within(&source, &[forced("WARN"), forced("ERROR")])), "level"), Some(json!("WARN")));
    let farther = [(json!({}), json!([{"type": LOG, "values": {"level": "WARN"}}])), forced("ERROR")];
    assert_eq!(property(&good(within(&source, &farther)), "level"), Some(json!("ERROR")));
    let own = format!("pluginDefaults:\n  - type: {LOG}\n    forced: true\n    values: {{level: TRACE}}\n");
    let source = logging("    level: DEBUG\n", &own);
    assert_eq!(property(&good(within(&source, &[forced("WARN")])), "level"), Some(json!("TRACE")));
}

#[test]
fn what_a_type_needs_can_come_from_the_namespace() {
    let source = format!("id: f\nnamespace: company.team\ntasks:\n  - id: l\n    type: {LOG}\n");
    let given = [(json!({}), json!([{"type": "io.kestra.plugin.core.log", "values": {"message": "given"}}]))];
    assert_eq!(property(&good(within(&source, &given)), "message"), Some(json!("given")));
    assert!(within(&source, &[]).flow.is_none());
    // A value that turns out to be wrong is told at the task that gets it.
    let wrong =
        [(json!({}), json!([{"type": "io.kestra.plugin.core.log", "values": {"message": "m", "level": "LOUD"}}]))];
    let validation = within(&source, &wrong);
    let [violation] = &validation.violations[..] else { panic!("{:?}", validation.violations) };
    assert_eq!((violation.path.as_str(), violation.line), ("tasks[0].level", 4));
}

#[test]
fn variables_are_put_together_key_by_key() {
    let layers = [
        (json!({"db": {"host": "team"}, "plain": "team"}), json!([])),
        (json!({"db": {"host": "company", "port": 1}, "region": "eu", "plain": {"a": 1}}), json!([])),
    ];
    let flow = good(within(&logging("", "variables: {plain: own, db: {port: 2}}\n"), &layers));
    assert_eq!(
        Value::Object(flow.variables.clone()),
        json!({"plain": "own", "db": {"port": 2, "host": "team"}, "region": "eu"})
    );
    assert_eq!(
        Value::Object(flow.namespace_variables.as_ref().clone()),
        json!({"db": {"host": "team", "port": 1}, "plain": "team", "region": "eu"})
    );
    assert_eq!(flow.initial_variables().as_deref(), Some(&flow.variables));
    let alone = good(within(&logging("", "variables: {a: 1}\n"), &[]));
    assert_eq!(alone.initial_variables(), None, "its revision says the same for ever");
}

#[test]
fn what_is_wrong_with_defaults_names_type_and_property_and_the_rest_is_good() {
    let list = [
        json!({"type": LOG, "values": {"levle": "INFO", "message": "kept"}}),
        json!({"type": LOG, "values": {"level": "LOUD"}}),
        json!({"type": "io.kestra.plugin.core.http.Request", "values": {"options": {"followRedirect": true}}}),
        json!({"type": "io.kestra.plugin.core.flow.Sequential", "values": {"errors": []}}),
        json!({"type": "io.kestra.plugin.core", "values": {"disabled": true}}),
        json!({"type": "io.kestra.plugin.core.trigger.Schedule", "values": {"disabled": true}}),
        json!({"type": LOG, "value": {}}),
        json!({"type": "com.example.Unknown", "values": {"anything": 1}}),
    ];
    let (read, violations) = PluginDefaults::read(&list, "defaults");
    let told: Vec<_> = violations.iter().map(|one| one.path.as_str()).collect();
    assert_eq!(
        told,
        [
            "defaults[0].values.levle",
            "defaults[1].values.level",
            "defaults[2].values.options.followRedirect",
            "defaults[3].values.errors",
            "defaults[4].values.disabled",
            "defaults[6].value",
            "defaults[6].values",
        ]
    );
    assert_eq!(violations[0].suggestion.as_deref(), Some("level"));
    assert!(violations[0].message.contains("No property 'levle' exists in plugin 'io.kestra.plugin.core.log.Log'"));
    let source = format!("id: f\nnamespace: company.team\ntasks:\n  - id: l\n    type: {LOG}\n");
    let inherited = Inherited::of([(&JsonMap::new(), &read)]);
    let flow = good(validate_within(&source, &|_| inherited.clone()));
    assert_eq!(property(&flow, "message"), Some(json!("kept")));
    assert_eq!(property(&flow, "level"), None);
}

#[test]
fn worker_groups_are_told_with_their_places() {
    let source = logging("    workerGroup:\n      key: gpu\n", "");
    let validation = windhover_flow::validate(&source);
    let [named] = &validation.worker_groups[..] else { panic!("{:?}", validation.worker_groups) };
    assert_eq!((named.name.as_str(), named.path.as_str()), ("gpu", "tasks[0].workerGroup.key"));
    assert_eq!((named.line, named.column), (8, 12));
}
