//! Tasks over key-value stores, states of flows, and `kv` in expressions.

mod support;

use serde_json::{Value, json};
use support::{Ran, Try, variables};

async fn run(attempt: &Try, name: &str, properties: Value) -> Ran {
    attempt.run(&format!("io.kestra.plugin.core.{name}"), properties).await
}

async fn shown(attempt: &Try, template: &str) -> Value {
    run(attempt, "debug.Return", json!({ "format": template })).await.outputs()["value"].clone()
}

fn attempt() -> Try {
    Try {
        variables: variables(json!({"flow": {"namespace": "company.team", "id": "hello"}, "n": [1, 2]})),
        ..Try::default()
    }
}

#[tokio::test]
async fn a_value_keeps_the_type_that_it_was_stored_with() {
    let attempt = attempt();
    run(&attempt, "kv.Set", json!({"key": "list", "value": "{{ [1, 2] }}"})).await.outputs();
    assert_eq!(run(&attempt, "kv.Get", json!({"key": "list"})).await.outputs(), json!({"value": [1, 2]}));
    assert_eq!(shown(&attempt, "{{ kv('list') | last }}").await, json!("2"));
    for (kind, text, value) in [
        ("NUMBER", "12", json!(12)),
        ("BOOLEAN", "true", json!(true)),
        ("JSON", "{\"a\":1}", json!({"a": 1})),
        ("DATE", "2026-01-02T00:00:00Z", json!("2026-01-02")),
        ("STRING", "12", json!("12")),
    ] {
        let set = run(&attempt, "kv.Set", json!({"key": "k", "value": text, "kvType": kind})).await;
        assert_eq!(set.error(), "", "{kind}");
        assert_eq!(run(&attempt, "kv.Get", json!({"key": "k"})).await.outputs()["value"], value, "{kind}");
    }
    let wrong = run(&attempt, "kv.Set", json!({"key": "k", "value": "x", "kvType": "NUMBER"})).await.error();
    assert!(wrong.contains("NUMBER"), "{wrong}");
    run(&attempt, "kv.Set", json!({"key": "wait", "value": "P1D"})).await;
    assert_eq!(shown(&attempt, "{{ kv('wait') | className }}").await, json!("java.time.Duration"));
}

#[tokio::test]
async fn an_existing_key_is_kept_when_overwriting_is_not_allowed() {
    let attempt = attempt();
    let set = async |value: i64| run(&attempt, "kv.Set", json!({"key": "k", "value": value, "overwrite": false})).await;
    assert_eq!(set(1).await.error(), "");
    assert!(set(2).await.error().contains("already exists"));
    assert_eq!(shown(&attempt, "{{ kv('k') }}").await, json!("1"));
}

#[tokio::test]
async fn a_key_is_looked_for_in_the_parents_of_the_flows_own_namespace_alone() {
    let attempt = attempt();
    let set = json!({"key": "k", "value": "parent", "namespace": "company"});
    assert_eq!(run(&attempt, "kv.Set", set).await.error(), "");
    assert_eq!(run(&attempt, "kv.Get", json!({"key": "k"})).await.outputs()["value"], json!("parent"));
    let own = json!({"key": "k", "namespace": "company.team"});
    assert_eq!(run(&attempt, "kv.Get", own).await.outputs()["value"], json!("parent"));
    let unknown = run(&attempt, "kv.Get", json!({"key": "k", "namespace": "nowhere"})).await.error();
    assert!(unknown.contains("'nowhere' does not exist"), "{unknown}");
}

#[tokio::test]
async fn a_missing_key_is_null_or_an_error_and_an_expired_one_always_an_error() {
    let attempt = attempt();
    assert_eq!(run(&attempt, "kv.Get", json!({"key": "k"})).await.outputs(), json!({"value": null}));
    let strict = run(&attempt, "kv.Get", json!({"key": "k", "errorOnMissing": true})).await.error();
    assert!(strict.contains("No value found"), "{strict}");
    attempt.world.entries.lock().insert(("company.team".to_owned(), "old".to_owned()), None);
    assert!(run(&attempt, "kv.Get", json!({"key": "old"})).await.error().contains("expired"));
    assert_eq!(shown(&attempt, "{{ kv('old') ?? 'none' }}").await, json!("none"));
    assert_eq!(run(&attempt, "kv.Delete", json!({"key": "k"})).await.outputs(), json!({"deleted": false}));
    run(&attempt, "kv.Set", json!({"key": "a.b", "value": 1})).await;
    assert_eq!(run(&attempt, "kv.GetKeys", json!({"prefix": "a"})).await.outputs(), json!({"keys": ["a.b"]}));
    assert_eq!(run(&attempt, "kv.Delete", json!({"key": "a.b"})).await.outputs(), json!({"deleted": true}));
    let wrong = run(&attempt, "kv.Set", json!({"key": "-a", "value": 1})).await.error();
    assert!(wrong.starts_with("key: must start with an alphanumeric character"), "{wrong}");
}

#[tokio::test]
async fn put_merges_maps_and_sets_paths() {
    let attempt = attempt();
    let put = async |value: Value| run(&attempt, "kv.Put", json!({"key": "k", "value": value})).await.error();
    let stored = async || run(&attempt, "kv.Get", json!({"key": "k"})).await.outputs()["value"].clone();
    assert_eq!(put(json!({"a": {"b": 1}})).await, "");
    assert_eq!(put(json!({"a": {"c": 2}})).await, "");
    assert_eq!(stored().await, json!({"a": {"b": 1, "c": 2}}));
    assert_eq!(put(json!([{"key": "a.b", "value": 3}, {"key": "d", "value": 4}])).await, "");
    assert_eq!(stored().await, json!({"a": {"b": 3, "c": 2}, "d": 4}));
    assert_eq!(put(json!([{"value": "whole"}])).await, "");
    assert_eq!(stored().await, json!("whole"));
}

#[tokio::test]
async fn a_state_is_merged_and_belongs_to_its_flow_and_iteration() {
    let mut attempt = attempt();
    let set = json!({"name": "s", "data": {"a": {"b": 1}}});
    let first = run(&attempt, "state.Set", set).await.outputs();
    assert_eq!(first, json!({"count": 1, "key": "hello_states_tasks-states_s"}));
    run(&attempt, "state.Set", json!({"name": "s", "data": {"a": {"c": 2}, "d": 3}})).await;
    let found = run(&attempt, "state.Get", json!({"name": "s"})).await.outputs();
    assert_eq!(found, json!({"count": 2, "data": {"a": {"b": 1, "c": 2}, "d": 3}}));

    attempt.variables.extend(variables(json!({"taskrun": {"value": "x"}})));
    assert_eq!(run(&attempt, "state.Get", json!({"name": "s"})).await.outputs(), json!({"count": 0, "data": {}}));
    let strict = json!({"name": "s", "errorOnMissing": true});
    assert!(run(&attempt, "state.Get", strict).await.error().contains("there is no state"));
    let shared = json!({"name": "s", "taskrunValue": false});
    assert_eq!(run(&attempt, "state.Get", shared.clone()).await.outputs()["count"], json!(2));
    assert_eq!(run(&attempt, "state.Delete", shared.clone()).await.outputs(), json!({"deleted": true}));
    assert_eq!(run(&attempt, "state.Delete", shared).await.outputs(), json!({"deleted": false}));
    let whole = run(&attempt, "state.Set", json!({"namespace": true, "taskrunValue": false, "data": {}})).await;
    assert_eq!(whole.outputs()["key"], json!("states_tasks-states_default"));
}
