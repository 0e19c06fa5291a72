//! What a job carries sealed: inputs and outputs of type SECRET (flow model reference 2.2, 3.7).

mod support;

use std::sync::Arc;

use serde_json::{Value, json};
use support::{Try, Turned, variables};
use windhover_flow::Flow;
use windhover_types::{Cipher, Level, Secret, sealed_value};

fn sealed(plain: &str) -> Value {
    sealed_value(Turned.seal(&Secret::new(plain)).expect("it seals everything"))
}

fn says(message: &str) -> Arc<Flow> {
    let task = json!({"id": "t", "type": "io.kestra.plugin.core.log.Log", "message": message});
    let inputs = json!([{"id": "db.key", "type": "SECRET"}, {"id": "doc", "type": "JSON"}]);
    let source = json!({"id": "f", "namespace": "a", "inputs": inputs, "tasks": [task]}).to_string();
    Arc::new(windhover_flow::compile(&source).unwrap_or_else(|violations| panic!("{violations:?}")))
}

#[tokio::test]
async fn a_task_sees_the_plain_values_and_its_lines_do_not() {
    let attempt = Try {
        variables: variables(json!({
            "inputs": {"db": {"key": sealed("hunter2")}, "doc": sealed("of nobody")},
            "outputs": {"a": {"list": [sealed("tr0ub4dor")]}},
            "trigger": {"body": sealed("c0rrect")},
        })),
        ..Try::default()
    };
    let message = "{{ inputs.db.key | upper }} {{ inputs.db.key }} {{ outputs.a.list[0] | length }} {{ outputs.a.list[0] }} {{ trigger.body }} {{ inputs.doc.value }}";
    let ran = attempt.run_sealed(says(message)).await.expect("it can be opened");
    assert_eq!(ran.logs, [(Level::Info, "HUNTER2 ****** 9 ****** ****** <ydobon fo".to_owned())]);
}

#[tokio::test]
async fn a_task_that_reads_none_of_them_masks_them_too() {
    let attempt = Try { variables: variables(json!({"inputs": {"db": {"key": sealed("hunter2")}}})), ..Try::default() };
    let ran = attempt.run_sealed(says("hunter2, aHVudGVyMg==")).await.expect("it can be opened");
    assert_eq!(ran.logs, [(Level::Info, "******, ******".to_owned())]);
}

#[tokio::test]
async fn what_cannot_be_opened_is_told_with_its_name() {
    let changed = sealed_value("!".to_owned());
    for (variables_of, told) in [
        (
            json!({"inputs": {"db": {"key": changed}}}),
            "the input `db.key` cannot be read: the encrypted value was changed",
        ),
        (json!({"outputs": {"t": changed}}), "a sealed value cannot be read: the encrypted value was changed"),
    ] {
        let attempt = Try { variables: variables(variables_of), ..Try::default() };
        assert_eq!(attempt.run_sealed(says("hi")).await.err().as_deref(), Some(told));
    }
}
