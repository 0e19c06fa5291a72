//! Whatever a template says: no panic, no unbounded time or memory, and the same answer twice.

#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use serde_json::json;
use windhover_expression::{
    Environment, Limits, NoServices, SharedVariables, Template, Value, render_structure, render_text,
};

/// Those that tasks see, small; and pieces of text that are templates themselves.
fn variables() -> &'static SharedVariables {
    static VARIABLES: OnceLock<SharedVariables> = OnceLock::new();
    VARIABLES.get_or_init(|| {
        let mut variables = SharedVariables::default();
        let mut set = |name: &str, value: serde_json::Value| variables.set_json(name, value.into());
        set("inputs", json!({"day": "2024-01-15", "n": 3, "f": 2.5, "yes": true, "none": null, "list": [3, 1, 2]}));
        set("outputs", json!({"a": {"value": "text", "rows": [{"k": 1, "v": "x"}, {"k": 2, "v": "y"}]}, "b": {}}));
        set("vars", json!({"x": "<{{ inputs.day }}>", "deep": {"er": {"still": [1, [2, [3]]]}}, "self": "{{ render(vars.self) }}"}));
        set("flow", json!({"id": "f", "namespace": "company.team", "revision": 1}));
        set("execution", json!({"id": "4f3b", "startDate": "2024-01-15T10:30:45.123Z"}));
        set("taskrun", json!({"id": "t", "value": "{\"k\": [1, 2]}", "attemptsCount": 0}));
        set("labels", json!({"env": "prod", "system": {"correlationId": "4f3b"}}));
        variables.set("date", Value::text("2024-01-15T10:30:45+02:00"));
        variables.set("text", Value::text("ä{{ b }} %20 &amp; a,b;c\n"));
        variables
    })
}

/// Small enough that a thousand inputs take a second at most, large enough that everything can happen.
fn limits() -> Limits {
    Limits { max_steps: 100_000, max_memory: 2 << 20, max_output: 64 << 10, ..Limits::default() }
}

fuzz_target!(|source: &str| {
    let environment = Environment::new(variables(), &NoServices).with_limits(limits());
    let Ok(template) = Template::compile(source) else { return };
    let text = template.render_text(&environment);
    if let Ok(text) = &text {
        assert!(text.len() <= limits().max_output, "a result of {} bytes", text.len());
    }
    // Nothing random is asked of it: services that know nothing refuse.
    let again = render_text(source, &environment);
    assert_eq!(text.as_ref().ok(), again.as_ref().ok(), "rendered twice");
    if let Ok(value) = template.render_typed(&environment) {
        let _ = value.to_printed_json();
    }
    let document = json!({source: [source, {"inner": source}]});
    let _ = render_structure(&document, &environment.with_recursive(true));
    let _ = template.analysis().is_pure();
});
