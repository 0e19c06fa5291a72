//! What a deployment refuses, warns of and accepts, by the corner cases of the flow model reference.

use windhover_flow::{Flow, ForEachValues, TaskKind, Validation, compile_stored, validate};
use windhover_types::{Severity, Violation};

/// A flow with one good task and these further lines.
fn with(lines: &str) -> String {
    format!(
        "id: f\nnamespace: company.team\n{lines}\ntasks:\n  - {{id: t, type: io.kestra.plugin.core.log.Log, message: hi}}\n"
    )
}

/// A flow with this list of tasks.
fn tasks(list: &str) -> String {
    format!("id: f\nnamespace: company.team\ntasks:\n{list}\n")
}

/// A flow whose first task is a Log with these further properties.
fn log(properties: &str) -> String {
    tasks(&format!("  - id: t\n    type: io.kestra.plugin.core.log.Log\n    message: hi\n    {properties}"))
}

fn errors(validation: &Validation) -> Vec<&Violation> {
    validation.violations.iter().filter(|v| v.severity == Severity::Error).collect()
}

#[track_caller]
fn accepted(source: &str) -> Flow {
    let validation = validate(source);
    let violations = validation.violations;
    validation.flow.unwrap_or_else(|| panic!("{source}\n{violations:#?}"))
}

/// Refused with a violation, none of them "not supported", that says `message`.
#[track_caller]
fn refused(source: &str, message: &str) -> Violation {
    let validation = validate(source);
    assert!(validation.flow.is_none(), "accepted, and not refused with {message}:\n{source}");
    let found = errors(&validation).into_iter().find(|v| !v.unsupported && v.message.contains(message)).cloned();
    found.unwrap_or_else(|| panic!("{message} is not among {:#?}\n{source}", validation.violations))
}

#[track_caller]
fn unsupported(source: &str, what: &str) {
    let validation = validate(source);
    assert!(validation.is_only_unsupported(), "{source}\n{:#?}", validation.violations);
    assert!(errors(&validation).iter().any(|v| v.message.contains(what)), "{what}: {:#?}", validation.violations);
}

#[track_caller]
fn warned(source: &str, message: &str) {
    let validation = validate(source);
    assert!(validation.flow.is_some(), "{source}\n{:#?}", validation.violations);
    assert!(
        validation.violations.iter().any(|v| v.message.contains(message)),
        "{message}: {:#?}",
        validation.violations
    );
}

#[test]
fn ids_follow_their_rules() {
    for (id, good) in [("1-a_B", true), ("my.task", false), ("-a", false), ("a b", false), ("é", false)] {
        let source = tasks(&format!("  - {{id: '{id}', type: io.kestra.plugin.core.log.Log, message: hi}}"));
        if good {
            accepted(&source);
        } else {
            refused(&source, "id: must match");
        }
    }
    let named =
        |id: &str, namespace: &str| with("").replace("id: f", &format!("id: {id}")).replace("company.team", namespace);
    accepted(&named("a.b-c_D", "a.b-c_d"));
    refused(&named(&"a".repeat(101), "a"), "id: size must be between 1 and 100");
    refused(&named("a", &"a".repeat(151)), "namespace: size must be between 1 and 150");
    refused(&named("a", "Company"), "namespace: must match");
    refused(&named("''", "a"), "id: must not be blank");
    let task = |length: usize| log("").replace("id: t", &format!("id: {}", "t".repeat(length)));
    accepted(&task(256));
    refused(&task(257), "size must be between 1 and 256");
    warned(&named("pause", "a"), "reserved");
}

#[test]
fn every_mistake_is_told_at_once_and_in_its_place() {
    let source = "id: my#flow\nnamespace: a\ntasks:\n  - id: t\n    type: io.kestra.plugin.core.log.Logg\n  - id: t\n    type: io.kestra.plugin.core.log.Log\n    mesage: hi\n";
    let validation = validate(source);
    let told: Vec<(u32, u32, &str, &str)> =
        validation.violations.iter().map(|v| (v.line, v.column, v.path.as_str(), v.message.as_str())).collect();
    assert_eq!(
        told,
        [
            (1, 5, "id", "id: must match \"^[a-zA-Z0-9][a-zA-Z0-9._-]*\""),
            (
                5,
                11,
                "tasks[0].type",
                "Invalid type: io.kestra.plugin.core.log.Logg; no plugin registered for the defined type"
            ),
            (6, 5, "tasks[1].message", "message: must not be null"),
            (6, 9, "tasks[1].id", "Duplicate task id with name [t]"),
            (8, 5, "tasks[1].mesage", "Unrecognized field \"mesage\" (class io.kestra.plugin.core.log.Log)"),
        ]
    );
    let suggestions: Vec<_> = validation.violations.iter().filter_map(|v| v.suggestion.as_deref()).collect();
    assert_eq!(suggestions, ["io.kestra.plugin.core.log.Log", "message"]);
    assert_eq!((validation.id.as_deref(), validation.namespace.as_deref()), (Some("my#flow"), Some("a")));
}

#[test]
fn what_is_no_yaml_is_refused_with_the_place() {
    let printed = "id: a\nnamespace: company.team\ndescription: |\n  This flow will always fail. When it does, the other flow \nwill be triggered.\ntasks:\n  - id: say_hello\n";
    for (source, message, line) in [
        // Where the reader gives up: the key that it began a line earlier never came.
        (printed, "Illegal flow source", 6),
        ("id: a\nid: b\nnamespace: c\n", "Duplicate field 'id'", 2),
        ("id: a\n---\nid: b\n", "a source holds one document", 2),
        ("", "the source is empty", 1),
        ("just text", "expected a map", 1),
        ("id: a\nvariables: {x: {{ y }}}\n", "a key must be a text", 2),
        ("id: a\nvariables: &x [*x]\n", "refers to the node that it stands in", 2),
        ("id: a\nx: *unknown\n", "Illegal flow source", 2),
    ] {
        assert_eq!(refused(source, message).line, line, "{source}");
    }
    let nested = refused(
        "id: a\nnamespace: b\ntasks:\n  - {id: t, message: x}\n  - message: x\n    message: y\n",
        "Duplicate field 'message'",
    );
    assert_eq!((nested.path.as_str(), nested.line, nested.column), ("tasks[1].message", 6, 5));
}

#[test]
fn ids_of_tasks_are_unique_in_the_whole_flow() {
    let task = |id: &str| format!("{{id: {id}, type: io.kestra.plugin.core.log.Log, message: hi}}");
    let switch = format!(
        "  - id: s\n    type: io.kestra.plugin.core.flow.Switch\n    value: a\n    cases: {{a: [{}], b: [{}]}}",
        task("x"),
        task("x")
    );
    refused(&tasks(&switch), "Duplicate task id with name [x]");
    refused(&with(&format!("errors: [{}]", task("t"))), "Duplicate task id with name [t]");
    refused(&with(&format!("finally: [{}]", task("t"))), "Duplicate task id with name [t]");
    let unbuilt = format!(
        "  - id: d\n    type: io.kestra.plugin.core.flow.Dag\n    tasks: [{{task: {}}}, {{task: {}}}]",
        task("x"),
        task("x")
    );
    refused(&tasks(&unbuilt), "Duplicate task id with name [x]");
    let hook = "{id: t, type: io.kestra.plugin.core.trigger.Webhook, key: k}";
    accepted(&with(&format!("triggers: [{hook}]")));
    refused(&with(&format!("triggers: [{hook}, {hook}]")), "Duplicate trigger id with name [t]");
}

#[test]
fn unknown_properties_are_refused_at_deployment_and_ignored_when_stored() {
    refused(&log("foo: 1"), "Unrecognized field \"foo\"");
    refused(&with("foo: 1"), "Unrecognized field \"foo\"");
    refused(&log("retry: {type: constant, interval: PT1S, often: 3}"), "Unrecognized field \"often\"");
    let stored = compile_stored(&log("foo: 1")).expect("stored sources are read leniently");
    assert_eq!(stored.tasks.len(), 1);
}

#[test]
fn types_are_found_in_any_letter_case_and_by_alias_and_stay_as_written() {
    let flow = accepted(&log("").replace("io.kestra.plugin.core.log.Log", "IO.KESTRA.PLUGIN.CORE.LOG.LOG"));
    assert_eq!(flow.tasks[0].type_name, "IO.KESTRA.PLUGIN.CORE.LOG.LOG");
    warned(
        &log("").replace("io.kestra.plugin.core.log.Log", "io.kestra.core.tasks.log.Log"),
        "is replaced by io.kestra.plugin.core.log.Log",
    );
    unsupported(
        &log("").replace("io.kestra.plugin.core.log.Log", "io.kestra.plugin.notifications.sentry.SentryExecution"),
        "sentry.SentryExecution is not supported yet",
    );
    refused(&log("").replace("log.Log", "trigger.Flow"), "cannot stand here");
    refused(&tasks("  - {id: t, message: hi}"), "type: must not be null");
    refused(
        &tasks("  - {id: t, type: io.kestra.core.tasks.executions.Count}"),
        "Invalid type: io.kestra.core.tasks.executions.Count",
    );
}

#[test]
fn what_is_not_built_is_never_ignored() {
    for (property, what) in [
        ("logToFile: true", "`logToFile`"),
        ("taskCache: {enabled: true}", "`taskCache`"),
        ("assets: {a: b}", "`assets`"),
        ("disabled: '{{ true }}'", "a template in `disabled`"),
        ("workerGroup: {key: '{{ vars.group }}'}", "a template in `workerGroup.key`"),
    ] {
        unsupported(&log(property), what);
    }
    let request = |auth: &str| {
        tasks(&format!(
            "  - {{id: t, type: io.kestra.plugin.core.http.Request, uri: u, options: {{auth: {{type: {auth}}}}}}}"
        ))
    };
    accepted(&request("DIGEST"));
    refused(&request("NTLM"), "expected one of BASIC, BEARER, DIGEST");
    // What changes nothing is no reason to refuse.
    accepted(&with(
        "listeners: []\nsla: []\ntriggers: [{id: x, type: io.kestra.plugin.core.trigger.Webhook, key: k, wait: false}]",
    ));
    accepted(&log("logToFile: false\n    taskCache: null"));
    // A real mistake inside is told as such.
    refused(&with("concurrency: {limit: 0}"), "limit: must be greater than 0");
}

#[test]
fn a_purge_of_versions_goes_by_a_date_or_by_a_number() {
    for name in ["kv.PurgeKV", "namespace.PurgeFiles"] {
        let purge = |behavior: &str| {
            tasks(&format!(
                "  - {{id: t, type: io.kestra.plugin.core.{name}, behavior: {{type: version, {behavior}}}}}"
            ))
        };
        accepted(&purge("keepAmount: 3"));
        accepted(&purge("before: \"{{ now() }}\""));
        refused(&purge("before: \"{{ now() }}\", keepAmount: 3"), "cannot both be given");
    }
}

#[test]
fn retries_need_what_their_type_needs() {
    let retry = |fields: &str| log(&format!("retry: {{{fields}}}"));
    let flow = accepted(&retry("type: constant, interval: PT1S, maxAttempt: 3"));
    assert_eq!(flow.tasks[0].retry.as_ref().and_then(|retry| retry.max_attempts), Some(3));
    accepted(&retry("type: exponential, interval: PT1S, maxInterval: PT10S, delayFactor: 1.5, maxAttempts: 3"));
    accepted(&retry("type: random, minInterval: PT1S, maxInterval: 10"));
    for (fields, message) in [
        ("type: constant", "interval: must not be null"),
        ("type: constant, interval: PT1M, maxDuration: PT1M", "'interval' must be less than 'maxDuration' but is PT1M"),
        ("type: exponential, interval: PT1S", "maxInterval: must not be null"),
        ("type: random, minInterval: PT5S, maxInterval: PT5S", "'minInterval' must be less than 'maxInterval'"),
        (
            "type: random, minInterval: PT1S, maxInterval: PT9S, maxDuration: PT5S",
            "'maxInterval' must be less than 'maxDuration'",
        ),
        ("type: often, interval: PT1S", "Invalid type: often"),
        ("interval: PT1S", "type: must not be null"),
        ("type: constant, interval: soon", "is no duration"),
        ("type: constant, interval: PT1S, maxAttempts: 0", "must be greater than or equal to 1"),
        ("type: constant, interval: PT1S, maxAttempt: 1, maxAttempts: 2", "Duplicate field"),
        ("type: constant, interval: PT1S, behavior: NEVER", "expected one of RETRY_FAILED_TASK"),
    ] {
        refused(&retry(fields), message);
    }
}

#[test]
fn flowables_need_tasks() {
    let flowable =
        |kind: &str, fields: &str| tasks(&format!("  - {{id: x, type: io.kestra.plugin.core.flow.{kind}, {fields}}}"));
    for (kind, fields, message) in [
        ("Switch", "value: a, cases: {}", "neither cases or default have any tasks"),
        ("Switch", "value: a, cases: {a: 5}", "expected a list of tasks, but got a number"),
        ("If", "condition: a, then: []", "then: must not be empty"),
        ("If", "condition: a", "then: must not be null"),
        ("Parallel", "tasks: []", "tasks: must not be empty"),
        ("Sequential", "tasks: []", "tasks: must not be empty"),
        ("Sequential", "errors: []", "tasks: must not be null"),
        ("ForEach", "values: [1], concurrencyLimit: -1, tasks: []", "must be greater than or equal to 0"),
        ("ForEach", "tasks: []", "values: must not be null"),
        ("Subflow", "flowId: a", "namespace: must not be null"),
        ("Subflow", "namespace: company.team, flowId: f", "Recursive call to flow [company.team.f]"),
        ("Subflow", "namespace: a, flowId: b, revision: 0", "revision: must be greater than or equal to 1"),
        ("Subflow", "namespace: a, flowId: b, labels: {system.x: y}", "System labels"),
    ] {
        refused(&flowable(kind, fields), message);
    }
    accepted(&flowable("Subflow", "namespace: company.team, flowId: '{{ flow.id }}'"));
    accepted(&flowable("Subflow", "namespace: a, flowId: b, outputs: {x: '{{ outputs.t.value }}'}"));
    warned(&flowable("Template", "namespace: a, templateId: b, args: {c: d}"), "templates are not kept");
    refused("id: f\nnamespace: a\ntasks: []\n", "tasks: must not be empty");
    refused("id: f\nnamespace: a\n", "tasks: must not be empty");
}

#[test]
fn a_dag_says_what_its_tasks_wait_for() {
    // Cases 8, 22 and 83.
    let dag = |nodes: &str| tasks(&format!("  - {{id: d, type: io.kestra.core.tasks.flows.Dag, tasks: [{nodes}]}}"));
    let node = |id: &str, waits_for: &str| {
        format!("{{task: {{id: {id}, type: io.kestra.plugin.core.log.Log, message: m}}, dependsOn: [{waits_for}]}}")
    };
    let flow = accepted(&dag(&[node("b", "a"), node("a", ""), node("c", "a, b")].join(", ")));
    let TaskKind::Dag { depends_on, .. } = &flow.tasks[0].kind else { panic!("it is a Dag") };
    assert_eq!(*depends_on, [vec![1], vec![], vec![1, 0]]);
    refused(&dag(""), "No task defined");
    let unknown = refused(&dag(&node("a", "taskX")), "Not existing task id in dependency: taskX");
    assert_eq!(unknown.path, "tasks[0].tasks[0].dependsOn");
    refused(&dag(&[node("a", "b"), node("b", "a"), node("c", "b")].join(", ")), "Cyclic dependency detected: a, b, c");
    refused(&dag(&[node("a", ""), node("a", "")].join(", ")), "Duplicate task id with name [a]");
    refused(&dag("{dependsOn: []}"), "task: must not be null");
    let off = "{task: {id: a, type: io.kestra.plugin.core.log.Log, message: m, disabled: true}}";
    let flow = accepted(&dag(&format!("{off}, {}", node("b", "a"))));
    let TaskKind::Dag { depends_on, tasks, .. } = &flow.tasks[0].kind else { panic!("it is a Dag") };
    assert_eq!((depends_on.len(), depends_on[0].len(), tasks.len()), (1, 0, 1), "nobody waits for what is disabled");
}

#[test]
fn pauses_and_loops_take_what_the_reference_names() {
    let task =
        |kind: &str, more: &str| tasks(&format!("  - {{id: t, type: io.kestra.plugin.core.flow.{kind}, {more}}}"));
    let log = "type: io.kestra.plugin.core.log.Log, message: m";
    accepted(&task("Pause", "delay: PT1S, timeout: \"{{ inputs.t }}\", behavior: \"{{ inputs.b }}\""));
    let flow = accepted(&task("Pause", &format!("onPause: {{id: ask, {log}}}, onResume: [{{id: a, type: INT}}]")));
    assert_eq!(flow.index["ask"].parent, None);
    let wrong = refused(&task("Pause", "behavior: RESUM"), "expected one of RESUME, WARN, FAIL, CANCEL");
    assert_eq!(wrong.suggestion.as_deref(), Some("RESUME"));
    refused(&task("Pause", "onResume: [{id: a, type: INT}, {id: a, type: INT}]"), "Duplicate input");
    refused(&task("Pause", &format!("onPause: {{id: t, {log}}}")), "Duplicate task id with name [t]");
    let inside = format!("{{id: s, type: io.kestra.plugin.core.flow.Sequential, tasks: [{{id: a, {log}}}]}}");
    refused(&task("Pause", &format!("onPause: {inside}")), "only a runnable task");
    refused(&task("LoopUntil", &format!("tasks: [{{id: a, {log}}}]")), "condition: must not be null");
    refused(&task("WaitFor", "condition: x"), "tasks: must not be null");
    let often =
        |often: &str| task("WaitFor", &format!("condition: x, tasks: [{{id: a, {log}}}], checkFrequency: {often}"));
    accepted(&often("{interval: \"PT{{ 1 }}S\", maxIterations: \"{{ 3 }}\", maxDuration: PT1H}"));
    refused(&often("{maxIterations: many}"), "expected a whole number");
    let unknown = refused(&often("{intervall: PT1S}"), "Unrecognized field \"intervall\"");
    assert_eq!(unknown.suggestion.as_deref(), Some("interval"));
}

#[test]
fn what_a_flow_promises_of_its_executions_is_checked() {
    accepted(&with(
        "sla: [{id: s, type: MAX_DURATION, duration: PT5M, behavior: FAIL, labels: {sla: missed}}, {id: s, type: EXECUTION_ASSERTION, assert: '{{ true }}', behavior: NONE}]",
    ));
    for (sla, message) in [
        ("{id: s, type: MAX_DURATION, behavior: FAIL}", "duration: must not be null"),
        ("{id: s, type: EXECUTION_ASSERTION, behavior: FAIL}", "assert: must not be null"),
        (
            "{id: s, type: EXECUTION_ASSERTION, behavior: FAIL, assert: x, duration: PT1S}",
            "Unrecognized field \"duration\"",
        ),
        ("{id: s, type: MAX_DURATION, duration: PT1S}", "behavior: must not be null"),
        ("{id: '', type: MAX_DURATION, duration: PT1S, behavior: FAIL}", "id: must not be empty"),
        ("{id: s, type: max_duration, duration: PT1S, behavior: FAIL}", "Invalid type: max_duration"),
        ("{id: s, type: MAX_DURATION, duration: PT1S, behavior: FAIL, labels: {system.a: x}}", "System labels"),
    ] {
        refused(&with(&format!("sla: [{sla}]")), message);
    }
    let log = "{id: x, type: io.kestra.plugin.core.log.Log, message: m}";
    let flow = accepted(&with(&format!(
        "afterExecution: [{log}]\nlisteners: [{{tasks: [{}]}}]",
        log.replace("id: x", "id: y")
    )));
    assert_eq!((flow.after_execution.len(), flow.listeners.len(), flow.index.len()), (1, 1, 3));
    refused(&with("listeners: [{conditions: []}]"), "tasks: must not be null");
    refused(&with("listeners: [{tasks: []}]"), "tasks: must not be empty");
    refused(&with(&format!("afterExecution: [{log}]\nfinally: [{log}]")), "Duplicate task id with name [x]");
    accepted(&with(
        "concurrency: {limit: 2, behavior: CANCEL}\nchecks: [{condition: '{{ true }}', message: m, behavior: FAIL_EXECUTION}]",
    ));
    refused(&with("checks: [{message: m}]"), "condition: must not be null");
    let wrong =
        refused(&with("checks: [{condition: x, message: m, behavior: BLOCK}]"), "expected one of BLOCK_EXECUTION");
    assert_eq!(wrong.suggestion, None);
    let retry = accepted(&with("retry: {type: constant, interval: PT1S, behavior: CREATE_NEW_EXECUTION}")).retry;
    assert_eq!(retry.map(|retry| retry.behavior), Some(windhover_flow::RetryBehavior::NewExecution));
}

#[test]
fn labels_are_pairs_of_texts() {
    for (labels, message) in [
        ("{a: null}", "expected a text, a number or a boolean, but got null"),
        ("{a: [1]}", "but got a list"),
        ("{a: ''}", "must not be empty"),
        ("{Upper: x}", "must match"),
        ("{system.foo: x}", "offending label: system.foo=x"),
        ("[{key: a}]", "a label needs `key` and `value`"),
        ("[{key: a, value: b, color: red}]", "Unrecognized field \"color\""),
        ("text", "expected a map or a list"),
    ] {
        refused(&with(&format!("labels: {labels}")), message);
    }
    let flow = accepted(&with(
        "labels: [{key: a, value: 1}, {key: b, value: true}, {key: system.readOnly, value: 'true'}, {key: c, value: 1.10}]",
    ));
    let pairs: Vec<String> = flow.labels.iter().map(|label| format!("{}={}", label.key, label.value)).collect();
    assert_eq!(pairs, ["a=1", "b=true", "system.readOnly=true", "c=1.10"]);
}

#[test]
fn inputs_are_checked_by_their_types() {
    for (input, message) in [
        ("{id: a, type: string}", "Invalid type: string"),
        ("{id: a, type: FOO}", "Invalid type: FOO"),
        ("{id: a}", "type: must not be null"),
        ("{type: STRING}", "id: must not be null"),
        ("{id: 'a b', type: STRING}", "id: must match"),
        ("{id: a, type: STRING, min: 1}", "Unrecognized field \"min\""),
        ("{id: a, type: STRING, validator: '('}", "invalid pattern [(]"),
        ("{id: a, type: STRING, validator: 'a)|(b'}", "invalid pattern"),
        ("{id: a, type: INT, defaults: five}", "Invalid default: Expected `INT` but received `five`"),
        ("{id: a, type: INT, min: 5, defaults: 4}", "it must be more than `5`"),
        ("{id: a, type: INT, max: many}", "max: `many` is no value of this type"),
        ("{id: a, type: SELECT, values: [x], defaults: y}", "it must match the values `[x]`"),
        ("{id: a, type: ARRAY}", "itemType: must not be null"),
        ("{id: a, type: ARRAY, itemType: ARRAY}", "`itemType` cannot be `ARRAY`"),
        ("{id: a, type: ARRAY, itemType: SECRET}", "`itemType` cannot be `SECRET`"),
        ("{id: a, type: MULTISELECT, values: [x], options: [x]}", "cannot be given together"),
        ("{id: a, type: FILE, defaults: hello}", "must be a `file://` or `nsfile://` URI"),
        ("{id: a, type: FILE, allowedFileExtensions: [csv]}", "begins with a dot"),
        ("{id: a, type: STRING, dependsOn: {inputs: [b]}}", "depends on a non-existent input 'b'"),
        ("{id: a, type: STRING, dependsOn: {inputs: [a]}}", "Cycle dependency detected for input with id 'a'"),
        ("{id: a, type: STRING, dependsOn: {condition: x}}", "inputs: must not be null"),
    ] {
        refused(&with(&format!("inputs: [{input}]")), message);
    }
    let pair =
        "inputs: [{id: a, type: STRING, dependsOn: {inputs: [b]}}, {id: b, type: STRING, dependsOn: {inputs: [a]}}]";
    refused(&with(pair), "Cycle dependency detected for input with id 'a': [a, b]");
    accepted(&with("inputs: [{id: a, type: INT, defaults: '5'}, {id: a.b, type: STRING, defaults: '{{ flow.id }}'}]"));
    warned(&with("inputs: [{id: a, type: STRING, required: false, defaults: x}]"), "always has a value");
    refused(&with("outputs: [{id: a, type: STRING}]"), "value: must not be null");
    refused(&with("outputs: [{id: a, type: TEXT, value: x}]"), "Invalid type: TEXT");
    refused(
        &with("outputs: [{id: a, type: INT, value: 1}, {id: a, type: INT, value: 2}]"),
        "Duplicate output with name [a]",
    );
}

#[test]
fn a_dash_after_a_dot_is_told_from_a_subtraction() {
    let source = |inputs: &str, text: &str| {
        format!(
            "{}    level: INFO\n",
            log("").replace("hi", &format!("\"{text}\"")).replace("tasks:", &format!("inputs: [{inputs}]\ntasks:"))
        )
    };
    let dashed = "{id: a-b, type: INT}";
    let told = refused(&source(dashed, "{{ inputs.a-b }}"), "use bracket notation `inputs['a-b']`");
    assert_eq!(told.path, "tasks[0].message");
    refused(&source(dashed, "x {{ 1 + outputs.task-one.value }}"), "outputs['task-one']");
    accepted(&source(
        "{id: a, type: INT}",
        "{{ inputs.a-1 }} {{ inputs.a - 1 }} {{ inputs.a-b }} inputs.a-b {{ 'inputs.x-y' }}",
    ));
    accepted(&source(dashed, "{{ inputs['a-b'] }}"));
}

#[test]
fn a_template_that_does_not_compile_is_a_warning() {
    let source = log("").replace("hi", "'{{ nope'");
    warned(&source, "the template does not compile");
    let flow = accepted(&source);
    let TaskKind::Runnable(runnable) = &flow.tasks[0].kind else { panic!("a Log is runnable") };
    let text = runnable.properties.get("message").expect("the property stays");
    let mut broken = 0;
    text.each_text(&mut |text| broken += usize::from(text.broken().is_some()));
    assert_eq!(broken, 1);
}

#[test]
fn triggers_and_conditions_are_checked() {
    let trigger = |fields: &str| with(&format!("triggers: [{{id: x, type: io.kestra.plugin.core.trigger.{fields}}}]"));
    let condition =
        |fields: &str| trigger(&format!("Flow, conditions: [{{type: io.kestra.plugin.core.condition.{fields}}}]"));
    warned(&trigger("Flow"), "it fires for every execution");
    refused(&trigger("Flow, states: [DONE]"), "`DONE` is no state");
    refused(&trigger("Flow, labels: {system.x: y}"), "System labels");
    refused(&trigger("Webhook"), "key: must not be null");
    refused(&trigger(&format!("Webhook, key: {}", "k".repeat(257))), "key: size must be between 0 and 256");
    refused(&condition("Or, conditions: []"), "conditions: must not be empty");
    refused(&condition("ExecutionStatus, in: [NEVER]"), "`NEVER` is no state");
    refused(&condition("ExecutionFlow, flowId: a"), "namespace: must not be null");
    refused(&condition("ExecutionNamespace, namespace: a, comparison: LIKE"), "expected one of EQUALS, PREFIX, SUFFIX");
    refused(&condition("Unheard"), "Invalid type");
    accepted(&condition("Weekend"));
    let nested = "Not, conditions: [{type: io.kestra.core.models.conditions.types.ExecutionNamespaceCondition, namespace: a, prefix: true}]";
    warned(&condition(nested), "is replaced by io.kestra.plugin.core.condition.ExecutionNamespace");
}

#[test]
fn the_plan_holds_what_is_not_disabled() {
    let source = tasks(
        "  - {id: off, type: io.kestra.plugin.core.log.Log, message: a, disabled: true}
  - id: seq
    type: io.kestra.plugin.core.flow.Sequential
    tasks:
      - {id: inner-off, type: io.kestra.plugin.core.log.Log, message: a, disabled: yes}
      - {id: inner, type: io.kestra.plugin.core.log.Log, message: a}
  - id: off-block
    type: io.kestra.plugin.core.flow.Sequential
    disabled: true
    tasks: [{id: lost, type: io.kestra.plugin.core.log.Log, message: a}]
  - {id: last, type: io.kestra.plugin.core.log.Log, message: a}",
    );
    let flow = accepted(&source);
    let mut ids: Vec<&str> = flow.index.keys().map(String::as_str).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["inner", "last", "seq"]);
    let place = &flow.index["inner"];
    assert_eq!((place.parent.as_deref(), place.position), (Some("seq"), 0));
    assert_eq!(flow.index["last"].position, 1);
}

#[test]
fn values_keep_what_was_written() {
    let source = tasks(
        "  - {id: a, type: io.kestra.plugin.core.debug.Return, format: 1.10}
  - {id: b, type: io.kestra.plugin.core.output.OutputValues, values: {n: 1.10, b: yes, t: '1', l: [1, x], z: null}}
  - id: c
    type: io.kestra.plugin.core.flow.ForEach
    values: [1, {a: b}]
    tasks: [{id: d, type: io.kestra.plugin.core.log.Log, message: x}]",
    );
    let flow = accepted(&source);
    let properties = |index: usize| match &flow.tasks[index].kind {
        TaskKind::Runnable(runnable) => runnable.properties.source(),
        _ => panic!("task {index} is runnable"),
    };
    assert_eq!(properties(0), serde_json::json!({"format": "1.10"}));
    assert_eq!(properties(1), serde_json::json!({"values": {"n": 1.1, "b": true, "t": "1", "l": [1, "x"], "z": null}}));
    let TaskKind::ForEach { values: ForEachValues::List(values), concurrency_limit: 1, .. } = &flow.tasks[2].kind
    else {
        panic!("{:?}", flow.tasks[2])
    };
    assert_eq!(values.source(), serde_json::json!([1, {"a": "b"}]));
}

#[test]
fn plugin_defaults_fill_what_a_task_leaves_out() {
    let source = |defaults: &str, task: &str| {
        format!(
            "{}pluginDefaults: [{defaults}]\n",
            tasks(&format!("  - {{id: t, type: io.kestra.plugin.core.http.Request, {task}}}"))
        )
    };
    let of = |defaults: &str, task: &str| {
        let flow = accepted(&source(defaults, task));
        match &flow.tasks[0].kind {
            TaskKind::Runnable(runnable) => runnable.properties.source(),
            _ => panic!("a Request is runnable"),
        }
    };
    use serde_json::json;
    const REQUEST: &str = "type: io.kestra.plugin.core.http.Request";
    // A required property can come from a default; what the task says wins; null says nothing.
    assert_eq!(
        of(&format!("{{{REQUEST}, values: {{uri: d, method: PUT}}}}"), "method: POST"),
        json!({"uri": "d", "method": "POST"})
    );
    assert_eq!(of(&format!("{{{REQUEST}, values: {{uri: d}}}}"), "uri: null"), json!({"uri": "d"}));
    assert_eq!(of(&format!("{{{REQUEST}, forced: true, values: {{uri: d}}}}"), "uri: own"), json!({"uri": "d"}));
    // Maps merge, lists follow each other with the default first.
    let merged = of(
        &format!("{{{REQUEST}, values: {{headers: {{a: 1, b: 2}}, options: {{allowedResponseCodes: [200]}}}}}}"),
        "uri: u, headers: {b: 3}, options: {allowedResponseCodes: [404]}",
    );
    assert_eq!(merged["headers"], json!({"b": 3, "a": 1}));
    assert_eq!(merged["options"]["allowedResponseCodes"], json!([200, 404]));
    // Of several the earlier is more important, forced or not; prefixes and aliases match, and drop what a type does
    // not have.
    let two = |forced: &str| {
        format!(
            "{{{REQUEST}, {forced} values: {{uri: first}}}}, {{type: io.kestra.plugin.core, {forced} values: {{uri: second, foo: x}}}}"
        )
    };
    assert_eq!(of(&two(""), "method: GET")["uri"], "first");
    assert_eq!(of(&two("forced: true,"), "uri: own")["uri"], "first");
    assert_eq!(of("{type: io.kestra.plugin.fs.http.Request, values: {uri: alias}}", "method: GET")["uri"], "alias");
    // Mistakes in the defaults themselves.
    refused(&source(&format!("{{{REQUEST}, values: {{foo: 1}}}}"), "uri: u"), "No property 'foo' exists in plugin");
    refused(&source(&format!("{{{REQUEST}}}"), "uri: u"), "No 'values' provided");
    refused(&source("{values: {a: b}}", "uri: u"), "No 'type' provided");
    refused(&source(&format!("{{{REQUEST}, values: {{uri: null}}}}"), "uri: u"), "the value of 'uri' is null");
}

#[test]
fn worker_groups_and_timeouts_act_on_runnable_tasks_only() {
    let flow = accepted(&log("workerGroup: {key: gpu, fallback: FAIL}"));
    assert_eq!(flow.tasks[0].worker_group.as_ref().map(|group| group.key.as_str()), Some("gpu"));
    let block = tasks(
        "  - id: s
    type: io.kestra.plugin.core.flow.Sequential
    timeout: PT1S
    tasks: [{id: t, type: io.kestra.plugin.core.log.Log, message: a}]",
    );
    warned(&block, "`timeout` has no effect");
    assert!(accepted(&block).tasks[0].timeout.is_none());
}

#[test]
fn a_task_is_pure_when_none_of_its_templates_asks_the_world() {
    let pure = |property: &str| match &accepted(&log("").replace("message: hi", property)).tasks[0].kind {
        TaskKind::Runnable(runnable) => runnable.pure,
        _ => panic!("a Log is runnable"),
    };
    assert!(pure("message: '{{ outputs.a.value }}'"));
    assert!(pure("message: '{{ now() }} {{ uuid() }}'"), "time and seed are fixed for a step");
    for call in ["secret('A')", "render(vars.a)", "errorLogs()", "http(uri='https://a.b')", "randomPort()"] {
        assert!(!pure(&format!("message: [\"{{{{ {call} }}}}\"]")), "{call}");
    }
    assert!(!pure("message: a\n    runIf: \"{{ secret('A') }}\""));
}

#[test]
fn a_runner_of_scripts_is_a_process_of_the_worker() {
    const SCRIPT: &str = "  - id: t\n    type: io.kestra.plugin.scripts.shell.Script\n    script: ls\n    ";
    let script = |more: &str| tasks(&format!("{SCRIPT}{more}"));
    for more in [
        "containerImage: ubuntu",
        "runner: PROCESS",
        "docker: {image: ubuntu}",
        "taskRunner: {type: io.kestra.plugin.core.runner.Process}",
    ] {
        accepted(&script(more));
    }
    let docker = "taskRunner: {type: io.kestra.plugin.scripts.runner.docker.Docker, pullPolicy: NEVER}";
    unsupported(&script(docker), "scripts run as processes of the worker");
    unsupported(&script("runner: DOCKER"), "`runner`");
    let typo = refused(&script("taskRunner: {type: io.kestra.plugin.core.runner.Proces}"), "Invalid type");
    assert_eq!(typo.suggestion.as_deref(), Some("io.kestra.plugin.core.runner.Process"));
    let process = "taskRunner: {type: io.kestra.plugin.core.runner.Process, image: x}";
    refused(&script(process), "Unrecognized field \"image\"");
    refused(&script("taskRunner: {}"), "type: must not be null");
    refused(&script("taskRunner: docker"), "expected a map with a `type`");
    refused(&tasks("  - {id: t, type: io.kestra.plugin.scripts.python.Commands}"), "commands: must not be null");
}
