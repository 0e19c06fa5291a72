//! Inputs and outputs by the corner cases of the flow model references.

use serde_json::{Map, Value, json};
use windhover_expression::{Environment, Interrupt, NoServices, SecretRequest, Services};
use windhover_flow::{Flow, InputsError, OutputsError, compile, fill_defaults, resolve_inputs, resolve_outputs};

fn flow(inputs: &str) -> Flow {
    let source = format!(
        "id: f\nnamespace: company.team\ninputs: [{inputs}]\ntasks: [{{id: t, type: io.kestra.plugin.core.log.Log, message: hi}}]\n"
    );
    compile(&source).unwrap_or_else(|violations| panic!("{inputs}: {violations:#?}"))
}

fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("{other} is no map"),
    }
}

fn variables() -> Map<String, Value> {
    map(json!({"flow": {"id": "f", "namespace": "company.team"}, "envs": {"region": "eu"}, "inputs": {"leaked": true}}))
}

fn resolve(inputs: &str, supplied: Value) -> Result<Value, Vec<String>> {
    let (flow, variables) = (flow(inputs), variables());
    match resolve_inputs(&flow.inputs, &map(supplied), &Environment::new(&variables, &NoServices)) {
        Ok(resolved) => Ok(Value::Object(resolved.values)),
        Err(InputsError::Invalid(errors)) => Err(errors.into_iter().map(|error| error.message).collect()),
        Err(other) => panic!("{other}"),
    }
}

/// The value of the only input `a` of this type, given so; or the message.
fn one(options: &str, given: Value) -> Result<Value, String> {
    let resolved = resolve(&format!("{{id: a, {options}}}"), json!({ "a": given }));
    resolved.map(|values| values["a"].clone()).map_err(|errors| errors.join("|"))
}

#[test]
fn texts_and_native_values_become_what_the_type_says() {
    for (options, given, value) in [
        ("type: STRING", json!(""), json!("")),
        ("type: STRING", json!(42), json!("42")),
        ("type: STRING", json!({"a": 1}), json!("{\"a\":1}")),
        ("type: INT", json!("42"), json!(42)),
        ("type: INT, min: 5", json!("5"), json!(5)),
        ("type: INT", json!(-2_147_483_648_i64), json!(-2_147_483_648_i64)),
        ("type: FLOAT", json!("42.42"), json!(42.42)),
        ("type: FLOAT", json!(1), json!(1.0)),
        ("type: BOOLEAN", json!("TRUE"), json!(true)),
        ("type: BOOL", json!("yes"), json!(false)),
        ("type: BOOL", json!("1"), json!(false)),
        ("type: BOOL", json!(true), json!(true)),
        ("type: DATETIME", json!("2024-01-01T02:00:00+02:00"), json!("2024-01-01T00:00:00Z")),
        ("type: DATETIME", json!("2019-10-06T18:27:49.5Z"), json!("2019-10-06T18:27:49.500Z")),
        ("type: DATE, after: 2024-01-01", json!("2024-01-01"), json!("2024-01-01")),
        ("type: TIME", json!("18:27"), json!("18:27:00")),
        ("type: TIME", json!("18:27:49.25"), json!("18:27:49.250")),
        ("type: DURATION", json!("PT5M6S"), json!(306.0)),
        ("type: JSON", json!("{\"a\": \"b\"}"), json!({"a": "b"})),
        ("type: JSON", json!("3"), json!(3)),
        ("type: JSON", json!([1, 2]), json!([1, 2])),
        (
            "type: YAML",
            json!("some: property\nalist:\n- of\n- values"),
            json!({"some": "property", "alist": ["of", "values"]}),
        ),
        ("type: YAML", json!({"a": 1}), json!({"a": 1})),
        ("type: URI", json!("http://localhost:8080"), json!("http://localhost:8080")),
        ("type: URI", json!("mailto:a@b"), json!("mailto:a@b")),
        ("type: EMAIL", json!(""), json!("")),
        ("type: EMAIL", json!("a@b"), json!("a@b")),
        ("type: EMAIL", json!("o’neil+x@example.org"), json!("o’neil+x@example.org")),
        ("type: ARRAY, itemType: INT", json!("[\"1\", 2]"), json!([1, 2])),
        ("type: ARRAY, itemType: STRING", json!(["a", 1]), json!(["a", "1"])),
        ("type: SELECT, values: [x, y]", json!("y"), json!("y")),
        ("type: SELECT, values: [x], required: false", json!("z"), json!("z")),
        ("type: SELECT, values: [x], allowCustomValue: true", json!("z"), json!("z")),
        ("type: MULTISELECT, values: [x, y]", json!("[\"y\"]"), json!(["y"])),
        ("type: ENUM, values: [x]", json!("x"), json!("x")),
        ("type: FILE, allowedFileExtensions: [.csv]", json!("kestra:///a/b.CSV"), json!("kestra:///a/b.CSV")),
        ("type: STRING, validator: 'a+'", json!("aaa"), json!("aaa")),
        ("type: STRING, validator: '(?=.*\\d)(?=.*[a-z]).{3,}+'", json!("a1b"), json!("a1b")),
    ] {
        assert_eq!(one(options, given.clone()), Ok(value), "{options} given {given}");
    }
}

#[test]
fn what_cannot_be_the_value_is_refused_with_the_reason() {
    for (options, given, reason) in [
        ("type: INT, min: 5", json!("4"), "it must be more than `5`"),
        ("type: INT, max: 20", json!("21"), "it must be less than `20`"),
        ("type: INT", json!("5.0"), "Expected `INT` but received `5.0`"),
        ("type: INT", json!(2_147_483_648_i64), "Expected `INT`"),
        ("type: INT", json!(""), "Expected `INT`"),
        ("type: FLOAT", json!("NaN"), "Expected `FLOAT`"),
        ("type: DATETIME", json!("2024-01-01T00:00:00"), "Expected `DATETIME`"),
        ("type: DATE, after: 2023-01-01", json!("2022-01-01"), "it must be after `2023-01-01`"),
        ("type: DATE, before: 2023-12-31", json!("2024-01-01"), "it must be before `2023-12-31`"),
        ("type: DATE", json!("2024-1-1"), "Expected `DATE`"),
        ("type: TIME, after: '01:00:00'", json!("00:00:01"), "it must be after `01:00:00`"),
        ("type: TIME", json!("25:00"), "Expected `TIME`"),
        ("type: DURATION, min: PT10S", json!("PT1S"), "It must be more than `PT10S`"),
        ("type: DURATION, max: PT20S", json!("PT30S"), "It must be less than `PT20S`"),
        ("type: JSON", json!("{bad"), "Expected `JSON`"),
        ("type: YAML", json!("a: [b"), "Expected `YAML`"),
        ("type: URI", json!("no scheme"), "Invalid URI format."),
        ("type: EMAIL", json!("a b@c"), "Expected `EMAIL`"),
        ("type: EMAIL", json!("o'neil@c"), "Expected `EMAIL`"),
        ("type: ARRAY, itemType: INT", json!("[\"1\",\"s1\"]"), "Unable to parse array element as `INT` on `s1`"),
        ("type: ARRAY, itemType: INT", json!("1"), "Expected `ARRAY`"),
        ("type: SELECT, values: [x, y]", json!("z"), "it must match the values `[x, y]`"),
        ("type: MULTISELECT, values: [x]", json!(["x", "z"]), "it must match the values `[x]`"),
        ("type: ENUM, values: [ENUM_VALUE, OTHER]", json!("INVALID"), "it must match the values `[ENUM_VALUE, OTHER]`"),
        ("type: STRING, validator: 'a+'", json!("aab"), "it must match the pattern `a+`"),
        ("type: FILE", json!("/etc/passwd"), "expected a `kestra://` URI"),
        (
            "type: FILE, allowedFileExtensions: [.csv, .json]",
            json!("kestra:///a.txt"),
            "Accepted extensions: .csv, .json",
        ),
    ] {
        let message = one(options, given.clone()).expect_err(options);
        assert!(
            message.starts_with("Invalid value for input `a`. Cause: ") && message.contains(reason),
            "{options} given {given}: {message}"
        );
    }
}

#[test]
fn missing_inputs_are_defaults_null_or_an_error() {
    assert_eq!(resolve("{id: a, type: INT}", json!({"a": null})), Err(vec!["Missing required input:a".to_owned()]));
    assert_eq!(resolve("{id: a, type: INT, required: false}", json!({})), Ok(json!({"a": null})));
    assert_eq!(resolve("{id: a, type: INT, defaults: '5'}", json!({})), Ok(json!({"a": 5})));
    assert_eq!(resolve("{id: a, type: INT, prefill: 5, required: false}", json!({})), Ok(json!({"a": null})));
    assert_eq!(resolve("{id: a, type: STRING, defaults: ''}", json!({})), Ok(json!({"a": ""})));
    assert_eq!(resolve("{id: a, type: YAML, defaults: {k: [1]}}", json!({})), Ok(json!({"a": {"k": [1]}})));
    assert_eq!(
        resolve("{id: a, type: SELECT, values: [x, y], autoSelectFirst: true}", json!({})),
        Ok(json!({"a": "x"}))
    );
    assert_eq!(
        resolve("{id: a, type: MULTISELECT, values: [x, y], autoSelectFirst: true}", json!({})),
        Ok(json!({"a": ["x"]}))
    );
    let two = resolve("{id: a, type: INT}, {id: b, type: STRING}", json!({"a": "x"}));
    let both = vec![
        "Invalid value for input `a`. Cause: Expected `INT` but received `x`".to_owned(),
        "Missing required input:b".to_owned(),
    ];
    assert_eq!(two, Err(both), "all, in order of declaration");
}

#[test]
fn defaults_are_rendered_and_see_only_what_they_depend_on() {
    assert_eq!(
        resolve("{id: a, type: STRING, defaults: '{{ flow.id }}-{{ envs.region }}'}", json!({})),
        Ok(json!({"a": "f-eu"}))
    );
    assert_eq!(resolve("{id: a, type: INT, defaults: '{{ 1 + 1 }}'}", json!({})), Ok(json!({"a": 2})));
    let target = "{id: target, type: STRING, dependsOn: {inputs: [env]}, defaults: 'host.{{ inputs.env }}'}, {id: env, type: STRING}";
    assert_eq!(
        resolve(target, json!({"env": "dev"})),
        Ok(json!({"target": "host.dev", "env": "dev"})),
        "declared later, resolved before"
    );
    for hidden in ["inputs.b", "inputs.leaked"] {
        let source = format!(
            "{{id: a, type: STRING, defaults: '{{{{ {hidden} }}}}'}}, {{id: b, type: STRING, required: false}}"
        );
        let errors = resolve(&source, json!({"b": "x"})).expect_err(hidden);
        assert!(errors[0].starts_with("Invalid value for input `a`. Cause: Invalid default: "), "{errors:?}");
    }
}

#[test]
fn an_input_is_asked_for_only_when_what_it_depends_on_says_so() {
    let chain = "{id: a, type: STRING}, {id: b, type: STRING, dependsOn: {inputs: [a], condition: \"{{ inputs.a == 'on' }}\"}}, {id: c, type: STRING, dependsOn: {inputs: [b]}}";
    assert_eq!(resolve(chain, json!({"a": "on", "b": "x", "c": "y"})), Ok(json!({"a": "on", "b": "x", "c": "y"})));
    assert_eq!(
        resolve(chain, json!({"a": "off", "b": "x", "c": "y"})),
        Ok(json!({"a": "off"})),
        "what was given is dropped"
    );
    assert_eq!(
        resolve(chain, json!({"a": "on"})),
        Err(vec!["Missing required input:b".to_owned()]),
        "c is not asked for"
    );
    let condition = |text: &str| {
        format!(
            "{{id: a, type: STRING, required: false, defaults: z}}, {{id: b, type: STRING, required: false, dependsOn: {{inputs: [a], condition: \"{text}\"}}}}"
        )
    };
    for text in ["yes", "1", "true ", "{{ 'true' }}"] {
        assert_eq!(resolve(&condition(text), json!({"b": "x"})), Ok(json!({"a": "z"})), "{text}");
    }
    assert_eq!(resolve(&condition("{{ 1 == 1 }}"), json!({"b": "x"})), Ok(json!({"a": "z", "b": "x"})));
    let broken =
        resolve(&condition("{{ inputs.unknown }}"), json!({"b": "x"})).expect_err("the condition cannot be rendered");
    assert!(broken[0].contains("Invalid condition: "), "{broken:?}");
    let nothing = "{id: a, type: STRING, required: false}, {id: b, type: STRING, dependsOn: {inputs: [a]}}";
    assert_eq!(resolve(nothing, json!({})), Ok(json!({"a": null})), "null disables what depends on it");
}

#[test]
fn the_expression_of_a_select_gives_its_values() {
    let select =
        |expression: &str| format!("{{id: a, type: SELECT, expression: \"{expression}\", autoSelectFirst: true}}");
    assert_eq!(resolve(&select("{{ ['x', null, 2] }}"), json!({})), Ok(json!({"a": "x"})));
    assert_eq!(resolve(&select("{{ ['x', 2] }}"), json!({"a": "2"})), Ok(json!({"a": "2"})));
    let map = resolve(&select("{{ {'k': 1} }}"), json!({"a": "x"})).expect_err("a map is no list");
    assert!(map[0].contains("Invalid expression result. Expected a list of strings"), "{map:?}");
    assert_eq!(resolve(&select("{{ [] }}"), json!({})), Err(vec!["Missing required input:a".to_owned()]));
}

#[test]
fn ids_with_dots_are_nested_and_undeclared_ones_are_told() {
    assert_eq!(
        resolve("{id: db.user, type: STRING}, {id: db.port, type: INT}", json!({"db.user": "u", "db.port": "1"})),
        Ok(json!({"db": {"user": "u", "port": 1}}))
    );
    let conflict = resolve("{id: a, type: STRING}, {id: a.b, type: STRING}", json!({"a": "x", "a.b": "y"}))
        .expect_err("both cannot be");
    assert!(conflict[0].contains("conflicts with the input `a`"), "{conflict:?}");
    let (flow, variables) = (flow("{id: a, type: STRING}"), variables());
    let resolved =
        resolve_inputs(&flow.inputs, &map(json!({"a": "x", "zzz": 1})), &Environment::new(&variables, &NoServices))
            .expect("valid");
    assert_eq!((resolved.values, resolved.warnings.len()), (map(json!({"a": "x"})), 1));
    assert!(resolved.warnings[0].contains("`zzz`"));
}

struct Unloaded;

impl Services for Unloaded {
    fn secret(&self, request: &SecretRequest) -> Result<Option<String>, Interrupt> {
        Err(Interrupt::Needs(format!("secret {}", request.key)))
    }
}

#[test]
fn a_missing_fact_is_asked_for_and_nothing_is_decided_without_it() {
    let (flow, variables) = (flow("{id: a, type: STRING, defaults: \"{{ secret('KEY') }}\"}"), variables());
    let environment = Environment::new(&variables, &Unloaded);
    let needs = Err(InputsError::Needs("secret KEY".to_owned()));
    assert_eq!(resolve_inputs(&flow.inputs, &Map::new(), &environment), needs);
    assert_eq!(
        fill_defaults(&flow.inputs, &Map::new(), &environment).map(|_| ()),
        Err(InputsError::Needs("secret KEY".to_owned()))
    );
}

#[test]
fn a_long_chain_of_dependencies_is_resolved_without_a_deep_stack() {
    let inputs: Vec<String> = (0..5_000)
        .map(|n| {
            format!("{{id: i{n}, type: STRING, required: false, defaults: x, dependsOn: {{inputs: [i{}]}}}}", n + 1)
        })
        .collect();
    let source = format!("{}, {{id: i5000, type: STRING}}", inputs.join(", "));
    let values = resolve(&source, json!({"i5000": "end"})).expect("all are asked for");
    assert_eq!((&values["i0"], values.as_object().map(Map::len)), (&json!("x"), Some(5_001)));
}

#[test]
fn a_trigger_fills_in_defaults_and_requires_nothing() {
    let flow = flow(
        "{id: a, type: INT, defaults: 3}, {id: b, type: STRING}, {id: c, type: INT, defaults: '{{ nope }}'}, {id: d.e, type: STRING, required: false}",
    );
    let variables = variables();
    let given = map(json!({"a": "not a number", "other": 1}));
    let values =
        fill_defaults(&flow.inputs, &given, &Environment::new(&variables, &NoServices)).expect("nothing is missing");
    assert_eq!(Value::Object(values), json!({"a": "not a number", "other": 1, "d": {"e": null}}));
    let values = fill_defaults(&flow.inputs, &Map::new(), &Environment::new(&variables, &NoServices))
        .expect("nothing is missing");
    assert_eq!(Value::Object(values), json!({"a": 3, "d": {"e": null}}));
}

fn outputs(outputs: &str) -> Result<(Value, usize), String> {
    let source = format!(
        "id: f\nnamespace: a\noutputs: [{outputs}]\ntasks: [{{id: t, type: io.kestra.plugin.core.log.Log, message: hi}}]\n"
    );
    let flow = compile(&source).unwrap_or_else(|violations| panic!("{violations:#?}"));
    let variables = map(json!({"outputs": {"t": {"value": "42", "list": [1, 2], "nothing": null}}}));
    match resolve_outputs(&flow.outputs, &Environment::new(&variables, &NoServices)) {
        Ok(resolved) => Ok((Value::Object(resolved.values), resolved.warnings.len())),
        Err(OutputsError::Invalid(message)) => Err(message),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn outputs_are_rendered_and_converted() {
    let all = "{id: a, type: INT, value: '{{ outputs.t.value }}'}, {id: b.c, type: JSON, value: {x: '{{ outputs.t.value }}', y: [1]}}, {id: d, type: ARRAY, value: '{{ outputs.t.list }}'}, {id: e, type: STRING, value: ''}";
    assert_eq!(outputs(all), Ok((json!({"a": 42, "b": {"c": {"x": "42", "y": [1]}}, "d": [1, 2], "e": ""}), 0)));
}

#[test]
fn an_output_without_value_fails_unless_it_is_not_required() {
    for value in ["'{{ outputs.unknown }}'", "'{{ outputs.t.nothing }}'", "five"] {
        let required = outputs(&format!("{{id: a, type: INT, value: {value}}}")).expect_err(value);
        assert!(required.starts_with("Invalid value for output `a`. Cause: "), "{required}");
        assert_eq!(
            outputs(&format!("{{id: a, type: INT, required: false, value: {value}}}")),
            Ok((json!({"a": null}), 1)),
            "{value}"
        );
    }
}
