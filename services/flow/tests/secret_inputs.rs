//! Inputs and outputs of type SECRET (flow model reference 2.2, 2.6; 1.x reference 2.2; corner case 51).

use serde_json::{Map, Value, json};
use windhover_expression::{Environment, Interrupt, Services};
use windhover_flow::{
    Flow, InputsError, compile, fill_defaults, open_inputs, resolve_inputs, resolve_outputs, resume_inputs, seal_given,
    sealed_inputs, texts_of_secrets,
};
use windhover_types::{Secret, sealed_value};

fn flow(rest: &str) -> Flow {
    let source =
        format!("id: f\nnamespace: a\n{rest}\ntasks: [{{id: t, type: io.kestra.plugin.core.log.Log, message: hi}}]\n");
    compile(&source).unwrap_or_else(|violations| panic!("{rest}: {violations:#?}"))
}

fn map(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_else(|| panic!("{value} is no map"))
}

/// Seals by turning the text round.
struct Turned;

impl Services for Turned {
    fn seal(&self, value: &str) -> Result<String, Interrupt> {
        Ok(format!("<{}", value.chars().rev().collect::<String>()))
    }

    fn open(&self, sealed: &str) -> Result<Option<String>, Interrupt> {
        Ok(sealed.strip_prefix('<').map(|text| text.chars().rev().collect()))
    }
}

/// Nothing can be sealed, or not yet.
struct Stopped(fn() -> Interrupt);

impl Services for Stopped {
    fn seal(&self, _: &str) -> Result<String, Interrupt> {
        Err(self.0())
    }
}

fn sealed(plain: &str) -> Value {
    sealed_value(Turned.seal(plain).unwrap())
}

fn resolve(inputs: &str, given: Value, services: &dyn Services) -> Result<Value, InputsError> {
    let (flow, variables) = (flow(&format!("inputs: [{inputs}]")), Map::new());
    let environment = Environment::new(&variables, services);
    resolve_inputs(&flow.inputs, &map(given), &environment).map(|resolved| Value::Object(resolved.values))
}

fn messages(result: Result<Value, InputsError>) -> String {
    result.expect_err("it is refused").to_string()
}

#[test]
fn what_is_given_is_sealed_and_the_pattern_sees_the_plain_text() {
    let input = "{id: db.key, type: SECRET, validator: 'ab+'}";
    assert_eq!(resolve(input, json!({"db.key": "abb"}), &Turned).unwrap(), json!({"db": {"key": sealed("abb")}}));
    // As a replay or a resumption gives it.
    let given = json!({"db.key": sealed("ab")});
    assert_eq!(resolve(input, given, &Turned).unwrap(), json!({"db": {"key": sealed("ab")}}));
    let told = messages(resolve(input, json!({"db.key": "hunter2"}), &Turned));
    assert_eq!(told, "Invalid value for input `db.key`. Cause: it must match the pattern `ab+`");
    assert_eq!(messages(resolve(input, json!({"db.key": sealed("no")}), &Turned)), told);
    let number = resolve("{id: a, type: SECRET}", json!({"a": 42}), &Turned).unwrap();
    assert_eq!(number, json!({"a": sealed("42")}));
}

#[test]
fn defaults_are_sealed_too_and_what_is_optional_stays_null() {
    let inputs = "{id: a, type: SECRET, defaults: 'x{{ 1 + 1 }}'}, {id: b, type: SECRET, required: false}";
    assert_eq!(resolve(inputs, json!({}), &Turned).unwrap(), json!({"a": sealed("x2"), "b": null}));
    assert_eq!(messages(resolve("{id: a, type: SECRET}", json!({}), &Turned)), "Missing required input:a");
}

#[test]
fn other_inputs_see_the_plain_text_and_no_message_tells_it() {
    let inputs = "{id: a, type: SECRET}, {id: b, type: STRING, dependsOn: {inputs: [a], condition: \"{{ inputs.a == 'hunter2' }}\"}, defaults: '{{ inputs.a | length }}'}";
    let given = json!({"a": "hunter2"});
    assert_eq!(resolve(inputs, given.clone(), &Turned).unwrap(), json!({"a": sealed("hunter2"), "b": "7"}));
    let quoting = "{id: n, type: INT, dependsOn: {inputs: [a]}, defaults: '{{ inputs.a }}'}, {id: a, type: SECRET}";
    let told = messages(resolve(quoting, given, &Turned));
    assert_eq!(told, "Invalid value for input `n`. Cause: Expected `INT` but received `******`");
}

#[test]
fn without_a_key_the_input_is_refused_with_the_reason_or_waited_for() {
    let input = "{id: a, type: SECRET}";
    let no_key = Stopped(|| Interrupt::failed("set windhover.master-key"));
    let told = messages(resolve(input, json!({"a": "hunter2"}), &no_key));
    assert_eq!(told, "Invalid value for input `a`. Cause: set windhover.master-key");
    let needs = resolve(input, json!({"a": "x"}), &Stopped(|| Interrupt::Needs("keys".to_owned())));
    assert_eq!(needs, Err(InputsError::Needs("keys".to_owned())));
    // A flow that asks for none needs no key.
    assert_eq!(resolve("{id: a, type: STRING}", json!({"a": "x"}), &no_key).unwrap(), json!({"a": "x"}));
}

#[test]
fn what_a_trigger_gives_is_sealed_whether_it_comes_plain_or_sealed() {
    let flow = flow(
        "inputs: [{id: a, type: SECRET}, {id: b, type: SECRET}, {id: c, type: SECRET, defaults: own}, {id: d, type: SECRET}]",
    );
    let variables = Map::new();
    let given = map(json!({"a": "plain", "b": sealed("before"), "other": 1}));
    let filled = fill_defaults(&flow.inputs, &given, &Environment::new(&variables, &Turned)).unwrap();
    let expected = json!({"a": sealed("plain"), "b": sealed("before"), "other": 1, "c": sealed("own")});
    assert_eq!(Value::Object(filled), expected);
    let no_key = Stopped(|| Interrupt::failed("set windhover.master-key"));
    let refused = fill_defaults(&flow.inputs, &map(json!({"a": "plain"})), &Environment::new(&variables, &no_key));
    assert!(matches!(refused, Err(InputsError::Invalid(_))), "never plain instead: {refused:?}");
}

#[test]
fn sealed_inputs_can_be_picked_out_and_opened_in_their_places_only() {
    let flow = flow("inputs: [{id: db.key, type: SECRET}, {id: json, type: JSON}]");
    let kept = map(json!({"db": {"key": sealed("k")}, "json": sealed("not an input of this type")}));
    assert_eq!(Value::Object(sealed_inputs(&flow.inputs, &kept)), json!({"db": {"key": sealed("k")}}));
    let mut clear = kept.clone();
    let open = |_: &windhover_flow::Input, text: &str| Ok::<_, Interrupt>(Turned.open(text)?.map(Secret::new));
    open_inputs(&flow.inputs, &mut clear, open).unwrap();
    assert_eq!(Value::Object(clear), json!({"db": {"key": "k"}, "json": kept["json"]}));
}

#[test]
fn nobody_has_a_sealed_value_opened_by_giving_it_as_his_own() {
    let flow = flow("inputs: [{id: a, type: SECRET}, {id: b, type: JSON}]");
    let mut given = map(json!({"a": sealed("of somebody else"), "b": {"x": 1}}));
    let as_text = sealed("of somebody else").to_string();
    let mut kept = given.clone();
    texts_of_secrets(&flow.inputs, &mut given);
    assert_eq!(Value::Object(given), json!({"a": as_text.clone(), "b": {"x": 1}}));
    seal_given(&flow.inputs, &mut kept, |secret| Turned.seal(secret.expose())).unwrap();
    assert_eq!(Value::Object(kept), json!({"a": sealed(&as_text), "b": {"x": 1}}));
}

#[test]
fn what_two_pauses_ask_for_by_one_name_is_sealed_once() {
    let pause = |id: &str| {
        format!(
            "{{id: {id}, type: io.kestra.plugin.core.flow.Pause, onResume: [{{id: code, type: SECRET}}, {{id: n, type: INT}}]}}"
        )
    };
    let source = format!("id: f\nnamespace: a\ntasks: [{}, {}]\n", pause("p"), pause("q"));
    let flow = compile(&source).expect("a flow");
    let mut given = map(json!({"code": "c0de", "n": 1}));
    seal_given(resume_inputs(&flow), &mut given, |secret| Turned.seal(secret.expose())).unwrap();
    assert_eq!(Value::Object(given), json!({"code": sealed("c0de"), "n": 1}));
}

#[test]
fn outputs_of_this_type_are_sealed() {
    let flow = flow("outputs: [{id: o.x, type: SECRET, value: '{{ 1 + 1 }}'}, {id: p, type: STRING, value: y}]");
    let variables = Map::new();
    let resolved = resolve_outputs(&flow.outputs, &Environment::new(&variables, &Turned)).unwrap();
    assert_eq!(Value::Object(resolved.values), json!({"o": {"x": sealed("2")}, "p": "y"}));
    let no_key = Stopped(|| Interrupt::failed("set windhover.master-key"));
    let failed = resolve_outputs(&flow.outputs, &Environment::new(&variables, &no_key)).unwrap_err();
    assert!(failed.to_string().contains("Invalid value for output `o.x`. Cause: set windhover.master-key"), "{failed}");
}
