//! The JSON Schema says the same of flows as the reader does, as far as a schema can.

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use serde_json::{Value, json};
use windhover_flow::{json_schema, table, validate};

fn validator() -> &'static jsonschema::Validator {
    static VALIDATOR: LazyLock<jsonschema::Validator> =
        LazyLock::new(|| jsonschema::draft7::new(json_schema()).expect("the schema is one"));
    &VALIDATOR
}

fn document(source: &str) -> Value {
    serde_yaml::from_str(source).expect("YAML")
}

/// Paths and reasons of what is wrong.
fn errors(validator: &jsonschema::Validator, flow: &Value) -> Vec<String> {
    validator.iter_errors(flow).map(|error| format!("{}: {error}", error.instance_path)).collect()
}

/// YAML files below a folder.
fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|end| end == "yaml" || end == "yml")
            && let Ok(source) = fs::read_to_string(&path)
        {
            found.push((path, source));
        }
    }
    found.sort();
    found
}

/// Flows that the reader accepts are good for the schema too.
fn all_accepted(folder: &Path) -> usize {
    let validator = validator();
    let (mut looked_at, mut wrong) = (0, Vec::new());
    for (path, source) in sources(folder) {
        if validate(&source).flow.is_none() {
            continue;
        }
        // Types are written in any letter case; a schema cannot say that.
        let Ok(flow) = serde_yaml::from_str::<Value>(&source) else { continue };
        looked_at += 1;
        wrong.extend(errors(validator, &flow).into_iter().map(|why| format!("{}: {why}", path.display())));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    looked_at
}

#[test]
fn every_example_is_good_for_the_schema() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../windhover/examples");
    assert!(all_accepted(&examples) >= 2);
}

#[test]
fn every_flow_of_the_shared_cases_that_can_be_deployed_is_good_for_the_schema() {
    let shared = env::var_os("WINDHOVER_CONFORMANCE_DIR").map(PathBuf::from);
    let shared = shared.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance"));
    if !shared.join("flows").is_dir() {
        eprintln!("skipped: there is no folder {}", shared.display());
        return;
    }
    assert!(all_accepted(&shared.join("flows")) >= 100);
}

#[test]
fn every_example_of_the_descriptions_is_good_for_the_schema() {
    let validator = validator();
    let task = |example: &str| document(&format!("{example}\n"));
    let mut wrong = Vec::new();
    for entry in table::types().filter(|entry| entry.is_built()) {
        let Some(doc) = table::doc_of(entry.name) else { continue };
        let flow = match entry.family.role() {
            table::Role::Task | table::Role::Part => {
                json!({"id": "f", "namespace": "n", "tasks": [task(doc.example)]})
            }
            table::Role::Trigger => {
                let log = json!({"id": "l", "type": "io.kestra.plugin.core.log.Log", "message": "m"});
                json!({"id": "f", "namespace": "n", "tasks": [log], "triggers": [task(doc.example)]})
            }
            table::Role::Condition => {
                let log = json!({"id": "l", "type": "io.kestra.plugin.core.log.Log", "message": "m"});
                let trigger = json!({
                    "id": "t", "type": "io.kestra.plugin.core.trigger.Flow", "conditions": [task(doc.example)],
                });
                json!({"id": "f", "namespace": "n", "tasks": [log], "triggers": [trigger]})
            }
        };
        wrong.extend(errors(validator, &flow).into_iter().map(|why| format!("{}: {why}", entry.name)));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_is_wrong_is_refused_where_it_is() {
    let validator = validator();
    let flow = |rest: &str| document(&format!("id: f\nnamespace: a.b\n{rest}"));
    let log = "tasks:\n  - id: l\n    type: io.kestra.plugin.core.log.Log\n    message: m\n";
    for (rest, path) in [
        ("tasks:\n  - id: l\n    type: io.kestra.plugin.core.log.Log\n    mesage: m\n", "/tasks/0"),
        ("tasks:\n  - id: l\n    type: io.kestra.plugin.core.log.Log\n", "/tasks/0"),
        ("tasks:\n  - id: l\n    type: io.kestra.plugin.core.log.Logg\n    message: m\n", "/tasks/0/type"),
        (
            "tasks:\n  - id: l\n    type: io.kestra.plugin.core.log.Log\n    message: m\n    level: LOUD\n",
            "/tasks/0/level",
        ),
        (
            "tasks:\n  - id: s\n    type: io.kestra.plugin.core.flow.Sequential\n    tasks:\n      - id: l\n",
            "/tasks/0/tasks",
        ),
        (&format!("{log}nonsense: 1\n"), ""),
        (&format!("{log}inputs:\n  - id: i\n    type: STRINGS\n"), "/inputs/0/type"),
        (&format!("{log}inputs:\n  - id: i\n    type: ARRAY\n"), "/inputs/0"),
        (&format!("{log}concurrency:\n  limit: 1\n  behavior: WAIT\n"), "/concurrency/behavior"),
        (&format!("{log}triggers:\n  - id: t\n    type: io.kestra.plugin.core.trigger.Schedule\n"), "/triggers/0"),
        (&format!("{log}disabled: perhaps\n"), "/disabled"),
        (&format!("{log}labels:\n  a: [1]\n"), "/labels"),
    ] {
        let found = errors(validator, &flow(rest));
        assert!(found.iter().any(|error| error.starts_with(path)), "{rest}\n{found:?}");
        assert!(!found.is_empty(), "{rest}");
    }
    // What plugin defaults can give may be missing; what is unknown is still refused.
    let defaults = "pluginDefaults:\n  - type: io.kestra.plugin.core.log.Log\n    values: {message: m}\n";
    let without = "tasks:\n  - id: l\n    type: io.kestra.plugin.core.log.Log\n";
    assert_eq!(errors(validator, &flow(&format!("{without}{defaults}"))), [""; 0]);
    assert!(!errors(validator, &flow(&format!("{without}    mesage: m\n{defaults}"))).is_empty());
    let missing = json!({"namespace": "a.b", "tasks": []});
    assert!(!errors(validator, &missing).is_empty());
}
