//! What rendering costs once a template is compiled. The budget of the design: a property of ten variables in at most
//! five microseconds after its first use.

// Criterion's macros make items that nobody documents.
#![allow(missing_docs)]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::json;
use windhover_expression::{Environment, NoServices, SharedVariables, Template, TemplateCache, render_text};

/// Ten variables of all kinds that a task's property reads, as in the message of an alert.
const PROPERTY: &str = "{{ flow.namespace }}.{{ flow.id }} ({{ flow.revision }}) {{ execution.id }} of {{ inputs.day }}: \
                        {{ outputs.extract.rows }} rows of {{ outputs.extract.table }} for {{ vars.team }} in \
                        {{ labels.env }}, {{ taskrun.value }}";

/// The same with what templates do besides: filters, a condition, a fallback, arithmetic.
const WORK: &str = "{{ flow.namespace | upper }}.{{ flow.id }}: {{ outputs.extract.rows + 1 }} rows \
                    {{ outputs.extract.rows > 100 ? 'many' : 'few' }}, {{ inputs.comment ?? 'no comment' }} {{ vars.tags | join('-') }}";

fn variables() -> SharedVariables {
    let mut variables = SharedVariables::default();
    let mut set = |name: &str, value: serde_json::Value| variables.set_json(name, value.into());
    set("flow", json!({"namespace": "company.analytics", "id": "daily-report", "revision": 12, "tenantId": "main"}));
    set("execution", json!({"id": "0351SkE7hN98Ws8iB29V6P", "startDate": "2026-01-31T06:00:00Z"}));
    set("inputs", json!({"day": "2026-01-31", "comment": null}));
    set("outputs", json!({"extract": {"rows": 1250, "table": "orders", "uri": "kestra:///company/analytics/x.ion"}}));
    set("vars", json!({"team": "blue", "tags": ["a", "b", "c"]}));
    set("labels", json!({"env": "prod", "team": "blue"}));
    set("taskrun", json!({"id": "0351SkE7hN98Ws8iB29V6Q", "value": "north", "attemptsCount": 0}));
    variables
}

fn rendering(criterion: &mut Criterion) {
    let variables = variables();
    let environment = Environment::new(&variables, &NoServices);
    for (name, source) in [("property of ten variables", PROPERTY), ("filters and conditions", WORK)] {
        let template = Template::compile(source).expect("a good template");
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| black_box(&template).render_text(&environment).expect("it renders"));
        });
    }
    let typed = Template::compile("{{ outputs.extract.rows }}").expect("a good template");
    criterion.bench_function("one value with its type", |bencher| {
        bencher.iter(|| black_box(&typed).render_typed(&environment).expect("it renders"));
    });
}

fn compiling(criterion: &mut Criterion) {
    let variables = variables();
    criterion.bench_function("compile ten variables", |bencher| {
        bencher.iter(|| Template::compile(black_box(PROPERTY)).expect("a good template"));
    });
    // What `render(...)` pays for a text that is known only at run time, from the second time on.
    let cache = TemplateCache::default();
    let environment = Environment::new(&variables, &NoServices).with_cache(&cache);
    criterion.bench_function("ten variables from the cache", |bencher| {
        bencher.iter(|| render_text(black_box(PROPERTY), &environment).expect("it renders"));
    });
}

criterion_group!(benches, rendering, compiling);
criterion_main!(benches);
