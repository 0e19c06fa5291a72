//! Sources of strangers: whatever they hold, reading ends, stays small and does not panic.

use proptest::prelude::*;
use windhover_flow::{Limits, Mode, compile_stored, parse, validate};

const HEAD: &str = "id: a\nnamespace: b\n";

const GOOD: &str = "id: f
namespace: company.team
labels: {a: b}
inputs:
  - {id: a, type: INT, min: 1, defaults: 3, dependsOn: {inputs: [b], condition: '{{ inputs.b }}'}}
  - {id: b, type: SELECT, values: [x, y]}
pluginDefaults: [{type: io.kestra.plugin.core.log, values: {level: INFO}}]
tasks:
  - id: each
    type: io.kestra.plugin.core.flow.ForEach
    values: &v [1, 2]
    tasks:
      - id: t
        type: io.kestra.plugin.core.log.Log
        message: ['{{ inputs.a-1 }}', *v]
        retry: {type: constant, interval: PT1S, maxAttempts: 2}
  - id: dag
    type: io.kestra.plugin.core.flow.Dag
    tasks:
      - task: {id: d1, type: io.kestra.plugin.core.log.Log, message: a}
      - task: {id: d2, type: io.kestra.plugin.core.log.Log, message: b}
        dependsOn: [d1]
  - id: loop
    type: io.kestra.plugin.core.flow.LoopUntil
    condition: '{{ outputs.loop.iterationCount > 2 }}'
    checkFrequency: {interval: PT1S, maxIterations: 3}
    tasks: [{id: l, type: io.kestra.plugin.core.log.Log, message: c}]
  - id: pause
    type: io.kestra.plugin.core.flow.Pause
    pauseDuration: PT1S
    behavior: WARN
    onResume: [{id: why, type: STRING}]
    onPause: {id: ask, type: io.kestra.plugin.core.log.Log, message: d}
  - {id: dir, type: io.kestra.plugin.core.flow.WorkingDirectory, inputFiles: {a: b}, tasks: [{id: w, type: io.kestra.plugin.core.log.Log, message: e}]}
  - {id: items, type: io.kestra.plugin.core.flow.ForEachItem, items: '{{ inputs.b }}', namespace: n, flowId: g, batch: {rows: 2}}
concurrency: {limit: 2, behavior: CANCEL}
sla: [{id: s, type: MAX_DURATION, duration: PT1H, behavior: NONE, labels: {late: yes}}]
checks: [{condition: '{{ true }}', message: m, behavior: FAIL_EXECUTION}]
listeners: [{conditions: [{type: io.kestra.plugin.core.condition.ExecutionStatus, in: [FAILED]}], tasks: [{id: li, type: io.kestra.plugin.core.log.Log, message: f}]}]
afterExecution: [{id: after, type: io.kestra.plugin.core.log.Log, message: g}]
triggers:
  - id: x
    type: io.kestra.plugin.core.trigger.Flow
    conditions: [{type: io.kestra.plugin.core.condition.ExecutionStatus, in: [FAILED]}]
outputs: [{id: o, type: STRING, value: '{{ outputs }}'}]
";

#[track_caller]
fn refused(source: &str, message: &str) {
    let validation = validate(source);
    assert!(validation.flow.is_none());
    assert!(validation.violations.iter().any(|v| v.message.contains(message)), "{:#?}", validation.violations);
}

#[test]
fn an_alias_bomb_is_refused_before_it_grows() {
    let mut bomb = format!("{HEAD}variables:\n  a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..30 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        bomb.push_str(&format!("  a{level}: &a{level} [{aliases}]\n"));
    }
    refused(&bomb, "aliases included");
    let long = format!("{HEAD}variables:\n  a: &a {}\n  b: [{}]\n", "x".repeat(500_000), vec!["*a"; 1000].join(", "));
    refused(&long, "aliases included");
}

#[test]
fn deep_nesting_is_refused() {
    for nested in ["[".repeat(100_000), "{a: ".repeat(100_000), "- ".repeat(100_000)] {
        refused(&format!("{HEAD}variables:\n  {nested}"), "Illegal flow source");
    }
    let aliased = format!(
        "{HEAD}variables:\n  a: &a {}x{}\n  b: {}*a {}\n",
        "[".repeat(60),
        "]".repeat(60),
        "[".repeat(60),
        "]".repeat(60)
    );
    refused(&aliased, "nested deeper than 100 levels");
}

#[test]
fn flowables_and_conditions_may_be_nested_as_deeply_as_the_limit_lets_them() {
    let mut task = "{id: t, type: io.kestra.plugin.core.log.Log, message: hi}".to_owned();
    let mut condition = "{type: io.kestra.plugin.core.condition.Expression, expression: x}".to_owned();
    for level in 0..47 {
        task = format!("{{id: s{level}, type: io.kestra.plugin.core.flow.Sequential, tasks: [{task}]}}");
        condition = format!("{{type: io.kestra.plugin.core.condition.Not, conditions: [{condition}]}}");
    }
    let trigger = format!("{{id: x, type: io.kestra.plugin.core.trigger.Flow, conditions: [{condition}]}}");
    let flow = validate(&format!("{HEAD}tasks: [{task}]\ntriggers: [{trigger}]\n")).flow;
    assert_eq!(flow.map(|flow| flow.index.len()), Some(48));
}

#[test]
fn a_source_that_is_too_large_is_refused() {
    refused(&format!("{HEAD}description: {}\n", "x".repeat(1 << 20)), "at most 1048576 are allowed");
    let small = Limits { max_nodes: 10, ..Limits::default() };
    assert!(parse(GOOD, &small, Mode::Strict).flow.is_none());
    assert!(validate(GOOD).flow.is_some(), "{:#?}", validate(GOOD).violations);
}

#[test]
fn plugin_defaults_cannot_fill_the_memory() {
    let default = format!("pluginDefaults: [{{type: io.kestra, values: {{message: {}}}}}]\n", "x".repeat(500_000));
    let task = |n: usize| format!("  - {{id: t{n}, type: io.kestra.plugin.core.log.Log}}\n");
    let source = format!("{HEAD}{default}tasks:\n{}", (0..5_000).map(task).collect::<String>());
    refused(&source, "the defaults make the flow too large");
}

#[test]
fn the_flow_that_is_mutated_is_a_good_one() {
    let refusing: Vec<_> =
        validate(GOOD).violations.into_iter().filter(|v| v.severity == windhover_types::Severity::Error).collect();
    assert!(refusing.is_empty(), "{refusing:#?}");
}

#[test]
fn a_long_chain_of_a_dag_is_read_in_a_step_for_each_task() {
    let node = |n: usize| {
        format!("{{task: {{id: t{n}, type: io.kestra.plugin.core.log.Log, message: m}}, dependsOn: [t{}]}}", n + 1)
    };
    let mut nodes: Vec<String> = (0..6_000).map(node).collect();
    let dag = |nodes: &[String]| {
        format!("{HEAD}tasks: [{{id: d, type: io.kestra.plugin.core.flow.Dag, tasks: [{}]}}]", nodes.join(", "))
    };
    nodes.push("{task: {id: t6000, type: io.kestra.plugin.core.log.Log, message: m}}".to_owned());
    assert!(validate(&dag(&nodes)).flow.is_some());
    nodes.pop();
    nodes.push("{task: {id: t6000, type: io.kestra.plugin.core.log.Log, message: m}, dependsOn: [t0]}".to_owned());
    refused(&dag(&nodes), "Cyclic dependency detected");
}

#[test]
fn a_thousand_mistakes_are_told_up_to_a_bound() {
    let source: String = (0..3_000).map(|n| format!("unknown{n}: 1\n")).collect();
    let validation = validate(&source);
    assert!(validation.violations.len() <= 501);
    assert!(validation.violations.last().is_some_and(|v| v.message.contains("more violations are not shown")));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_text_is_read_without_a_panic(source in "\\PC{0,200}") {
        let _ = validate(&source);
        let _ = compile_stored(&source);
    }

    #[test]
    fn any_yaml_like_text_is_read_without_a_panic(source in "([ \\-:{}\\[\\]&*!|>'\"%#,?\n\tab1~]|tasks|type|id|\\{\\{|<<){0,120}") {
        let _ = validate(&source);
    }

    #[test]
    fn a_mutated_flow_is_read_without_a_panic(
        cuts in prop::collection::vec((0usize..GOOD.len(), 0usize..40, "[ \\-:{}\\[\\]&*'\"a1\n]{0,6}"), 1..6)
    ) {
        let mut source = GOOD.to_owned();
        for (start, length, insert) in cuts {
            let start = start.min(source.len());
            let end = (start + length).min(source.len());
            source.replace_range(start..end, &insert);
        }
        let validation = validate(&source);
        let refused = validation.violations.iter().any(|v| v.severity == windhover_types::Severity::Error);
        prop_assert_eq!(validation.flow.is_none(), refused, "a flow is there exactly when nothing refuses it");
        let lines = u32::try_from(source.lines().count() + 2).unwrap_or(u32::MAX);
        for violation in &validation.violations {
            prop_assert!(violation.line >= 1 && violation.line <= lines && violation.column >= 1);
        }
    }
}
