//! What the conformance cases do not show: facts that are missing, laziness, analysis, and that a caller's values stay as they are.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use windhover_expression::{
    Environment, ErrorKind, ExpressionError, Interrupt, KvAnswer, KvRequest, NoServices, NoVariables, Object, Reads,
    SecretRequest, Services, SharedVariables, Template, TemplateCache, Value, Variables, render_structure, render_text,
    render_typed,
};

fn analysis(template: &str) -> windhover_expression::Analysis {
    Template::compile(template).expect("a template").analysis().clone()
}

fn ids(ids: &[&str]) -> Reads {
    Reads::Some(ids.iter().map(|id| (*id).to_owned()).collect())
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Services that lack every fact.
struct Nothing;

impl Services for Nothing {
    fn kv(&self, request: &KvRequest) -> Result<KvAnswer, Interrupt> {
        Err(Interrupt::Needs(format!("kv:{}:{}", request.namespaces.join(","), request.key)))
    }

    fn secret(&self, request: &SecretRequest) -> Result<Option<String>, Interrupt> {
        Err(Interrupt::Needs(format!("secret:{}", request.key)))
    }
}

/// Outputs that are loaded one by one.
#[derive(Default)]
struct Outputs {
    gets: AtomicUsize,
    all: AtomicUsize,
}

impl Object for Outputs {
    fn get(&self, key: &str) -> Result<Option<Value>, Interrupt> {
        self.gets.fetch_add(1, Ordering::Relaxed);
        match key {
            "known" => Ok(Some(Value::from_json(&json!({"value": 7, "list": [3, 1, 2], "none": null})))),
            "absent" => Ok(None),
            other => Err(Interrupt::Needs(format!("output:{other}"))),
        }
    }

    fn entries(&self) -> Result<Vec<(String, Value)>, Interrupt> {
        self.all.fetch_add(1, Ordering::Relaxed);
        Err(Interrupt::Needs("outputs".to_owned()))
    }
}

fn lazy() -> (Arc<Outputs>, SharedVariables) {
    let outputs = Arc::new(Outputs::default());
    let mut variables = SharedVariables::default();
    variables.set("outputs", Value::Object(Arc::clone(&outputs) as Arc<dyn Object>));
    variables.set_json("flow", Arc::new(json!({"id": "f", "namespace": "a.b"})));
    (outputs, variables)
}

#[test]
fn a_missing_fact_stops_the_evaluation_and_nothing_swallows_it() {
    let (_, variables) = lazy();
    let environment = Environment::new(&variables, &Nothing);
    for (template, key) in [
        ("{{ outputs.later.value }}", "output:later"),
        ("{{ outputs.later.value ?? 'd' }}", "output:later"),
        ("{{ outputs.later.value ??? 'd' }}", "output:later"),
        ("{{ outputs.later | default('d') }}", "output:later"),
        ("{{ outputs.later is defined }}", "output:later"),
        ("{{ outputs.later == 1 }}", "output:later"),
        ("{% if outputs.later %}{% endif %}", "output:later"),
        ("{{ render('{{ outputs.later }}') ?? 'd' }}", "output:later"),
        ("{{ outputs }}", "outputs"),
        ("{{ outputs | length }}", "outputs"),
        ("{% for o in outputs %}{% endfor %}", "outputs"),
        ("{{ outputs | jq('.later') }}", "outputs"),
        ("{{ kv('k') ?? 'd' }}", "kv:a.b,a:k"),
        ("{{ kv('k', 'other') | default('d') }}", "kv:other:k"),
        ("{{ secret('s') ?? 'd' }}", "secret:s"),
    ] {
        assert_eq!(render_text(template, &environment), Err(ExpressionError::Needs(key.to_owned())), "{template}");
    }
    let typed = render_typed("{{ outputs.later ?? 'd' }}", &environment);
    assert_eq!(typed.err(), Some(ExpressionError::Needs("output:later".to_owned())));
    // typed rendering hands the lazy map on as it is
    assert!(matches!(render_typed("{{ outputs }}", &environment), Ok(Value::Object(_))));
}

#[test]
fn a_root_can_be_a_missing_fact() {
    struct Roots;
    impl Variables for Roots {
        fn root(&self, name: &str) -> Result<Option<Value>, Interrupt> {
            Err(Interrupt::Needs(name.to_owned()))
        }
        fn names(&self) -> Vec<String> {
            vec!["inputs".to_owned()]
        }
    }
    let result = render_text("{{ inputs.a ?? 'd' }}", &Environment::new(&Roots, &NoServices));
    assert_eq!(result, Err(ExpressionError::Needs("inputs".to_owned())));
}

#[test]
fn a_lazy_object_is_asked_only_for_what_is_touched_and_only_once() {
    let (outputs, variables) = lazy();
    let template = "{{ outputs.known.value }}{{ outputs['known'].value + 1 }}{{ outputs.absent ?? 'x' }}{{ outputs.absent ?? 'y' }}";
    assert_eq!(render_text(template, &Environment::new(&variables, &NoServices)), Ok("78xy".to_owned()));
    assert_eq!(outputs.gets.load(Ordering::Relaxed), 2);
    assert_eq!(outputs.all.load(Ordering::Relaxed), 0);
}

#[test]
fn functions_of_the_world_fail_clearly_where_there_is_no_world() {
    let environment = Environment::new(&NoVariables, &NoServices);
    for (template, message) in [
        ("{{ read('a.txt') }}", "The 'read' function is not available here"),
        ("{{ fileSize('a.txt') }}", "The 'fileSize' function is not available here"),
        ("{{ kv('k') ?? 1 }}", "The 'kv' function is not available here"),
        ("{{ secret('k') }}", "The 'secret' function is not available here"),
        ("{{ http('http://localhost') }}", "The 'http' function is not available here"),
        ("{{ now() }}", "The 'now' function is not available here"),
        ("{{ randomPort() }}", "The 'randomPort' function is not available here"),
        ("{{ id() }}", "Random values are not available here"),
    ] {
        let error = render_text(template, &environment).expect_err(template);
        assert_eq!(error.kind(), ErrorKind::Failed, "{template}");
        assert!(error.to_string().starts_with(message), "{error}");
    }
}

#[test]
fn what_a_template_changes_is_seen_later_in_it_and_never_outside() {
    let document = Arc::new(json!({"l": [3, 1, 2], "deep": [{"l": [2, 1]}]}));
    let mut variables = SharedVariables::default();
    variables.set_json("v", Arc::clone(&document));
    variables.set("own", Value::list(vec![Value::Long(2), Value::Long(1)]));
    let environment = Environment::new(&variables, &NoServices);
    for _ in 0..2 {
        let template = "{{ v.l | sort }}{{ v.l }}{{ v }}{{ v.deep[0].l + 5 }}{{ v.deep }}{{ own | sort }}{{ own }}";
        let expected =
            concat!("[1,2,3][1,2,3]{\"l\":[1,2,3],\"deep\":[{\"l\":[2,1]}]}", "[2,1,5][{\"l\":[2,1,5]}][1,2][1,2]");
        assert_eq!(render_text(template, &environment), Ok(expected.to_owned()));
    }
    assert_eq!(*document, json!({"l": [3, 1, 2], "deep": [{"l": [2, 1]}]}));
    assert_eq!(render_text("{{ own }}", &environment), Ok("[2,1]".to_owned()));
}

#[test]
fn a_typed_result_that_was_changed_can_be_given_to_another_evaluation() {
    let mut variables = SharedVariables::default();
    variables.set_json("v", Arc::new(json!({"l": [2, 1]})));
    let value =
        render_typed("{% set s = v.l | sort %}{{ v }}", &Environment::new(&variables, &NoServices)).expect("a map");
    assert_eq!(value.to_json(), Ok(json!({"l": [1, 2]})));
    variables.set("v", value);
    assert_eq!(render_text("{{ v }}", &Environment::new(&variables, &NoServices)), Ok("{\"l\":[1,2]}".to_owned()));
}

#[test]
fn lossless_json_keeps_nulls_and_printed_json_does_not() {
    let value = Value::map([("a", Value::Null), ("b", Value::list(vec![Value::Null, Value::Int(1)]))]);
    assert_eq!(value.to_json(), Ok(json!({"a": null, "b": [null, 1]})));
    assert_eq!(value.to_printed_json(), Ok(json!({"b": [null, 1]})));
    let document = Value::from_json(&json!({"a": null, "b": {"c": null}}));
    assert_eq!(document.to_json(), Ok(json!({"a": null, "b": {"c": null}})));
    assert_eq!(document.to_printed_json(), Ok(json!({"b": {}})));
}

#[test]
fn texts_without_braces_are_constant() {
    assert!(Template::compile("plain } text").expect("a template").is_constant());
    assert!(!Template::compile("a { b").expect("a template").is_constant());
    assert_eq!(analysis("plain"), windhover_expression::Analysis::default());
}

#[test]
fn fixed_task_ids_are_told_exactly() {
    let found = analysis("{{ outputs.a.value }} {{ outputs['b-1'][taskrun.value].x ?? tasks.c.state }} {{ inputs.x }}");
    assert_eq!(found.outputs, ids(&["a", "b-1"]));
    assert_eq!(found.tasks, ids(&["c"]));
    assert_eq!(found.roots, names(&["inputs", "outputs", "taskrun", "tasks"]));
    assert!(found.is_pure() && !found.is_dynamic());
}

#[test]
fn computed_task_ids_and_whole_maps_may_be_anything() {
    for template in [
        "{{ outputs[inputs.id].value }}",
        "{{ outputs }}",
        "{{ outputs | keys }}",
        "{{ outputs.a }}{{ outputs.size() }}",
        "{% for o in outputs %}{% endfor %}",
        "{% set o = outputs %}{{ o.a }}",
        "{{ render(vars.x) }}",
        "{{ printContext() }}",
    ] {
        assert_eq!(analysis(template).outputs, Reads::All, "{template}");
    }
    assert_eq!(analysis("{{ tasksWithState('FAILED') }}").tasks, Reads::All);
}

#[test]
fn every_part_of_a_template_is_analysed() {
    let found = analysis(concat!(
        "{% macro m(a=outputs.one) %}{{ outputs.two }}{% endmacro %}{% block b %}{{ outputs.three }}{% endblock %}",
        "{% if outputs.four %}{% elseif x is defined %}{{ outputs.five }}{% else %}{{ outputs.six }}{% endif %}",
        "{% for i in outputs.seven %}{% else %}{{ outputs.eight }}{% endfor %}{% filter replace({'a': outputs.nine}) %}{% endfilter %}",
        "{{ \"#{outputs.ten}\" }}{{ [outputs.eleven] ~ {outputs.twelve: -outputs.thirteen} }}{{ m(a=outputs.fourteen) ? 1 : outputs.fifteen }}",
    ));
    let all = [
        "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen",
        "fourteen", "fifteen",
    ];
    assert_eq!(found.outputs, ids(&all));
}

#[test]
fn functions_tell_what_they_reach() {
    let found = analysis("{{ kv('k') }}{{ max(1, 2) }}");
    assert_eq!(found.functions, names(&["kv", "max"]));
    assert!(found.asks_world && !found.asks_chance && !found.is_pure());
    assert!(found.roots.contains("flow"));
    assert!(analysis("{{ now() }}").asks_chance);
    assert!(analysis("{{ uuid() }}").asks_chance);
    let rendering = analysis("{{ render(x) }}");
    assert!(rendering.renders && rendering.is_dynamic() && rendering.asks_world);
    assert!(
        analysis("{{ currentEachOutput(outputs.a) }}").roots.is_superset(&names(&["parents", "taskrun", "outputs"]))
    );
}

#[test]
fn errors_tell_their_place() {
    let error = Template::compile("one\ntwo {{ 1 + }}").expect_err("malformed");
    assert_eq!((error.kind(), error.position()), (ErrorKind::Syntax, Some((2, 12))));
    let error = render_text("é {{ a.b }}", &Environment::new(&NoVariables, &NoServices)).expect_err("undefined");
    assert_eq!((error.kind(), error.position()), (ErrorKind::Undefined, Some((1, 6))));
    let ExpressionError::Undefined { name, .. } = error else { panic!("{error}") };
    assert_eq!(name, "a");
}

#[test]
fn structures_are_rendered_with_their_keys() {
    let mut variables = SharedVariables::default();
    variables.set_json("v", Arc::new(json!({"k": "key", "n": null})));
    let cache = TemplateCache::default();
    let environment = Environment::new(&variables, &NoServices).with_cache(&cache);
    let document =
        json!({"{{ v.k }}": ["{{ 1 + 1 }}", 2, null, true], "key": "second", "n": "{{ v.n }}", "t": "{{ v.n }}."});
    let expected = json!({"key": ["2", 2, null, true], "n": null, "t": "."});
    assert_eq!(render_structure(&document, &environment), Ok(expected));
}

#[test]
fn templates_and_values_can_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Template>();
    shared::<Value>();
    shared::<TemplateCache>();
    shared::<SharedVariables>();
    assert!(size_of::<Value>() <= 32, "{}", size_of::<Value>());
}

#[test]
fn programs_of_jq_do_what_jq_does() {
    let mut variables = SharedVariables::default();
    variables.set_json("v", Arc::new(json!({"a": [3, 1, 2], "o": {"x": 1, "y": {"z": [true, null]}}, "s": "a,b, c"})));
    for (program, expected) in [
        (".a | sort | reverse", "[[3,2,1]]"),
        ("[.a[] | if . > 1 then . * 10 elif . == 1 then \"one\" else empty end]", "[[30,\"one\",20]]"),
        (
            "[paths]",
            "[[[\"a\"],[\"a\",0],[\"a\",1],[\"a\",2],[\"o\"],[\"o\",\"x\"],[\"o\",\"y\"],[\"o\",\"y\",\"z\"],[\"o\",\"y\",\"z\",0],[\"o\",\"y\",\"z\",1],[\"s\"]]]",
        ),
        ("[leaf_paths | length] | add", "[13]"),
        (".o | with_entries(.value |= type)", "[{\"x\":\"number\",\"y\":\"object\"}]"),
        ("del(.a[0, 2], .o, .s)", "[{\"a\":[1]}]"),
        (".a | to_entries | map(select(.value > 1)) | map(.key)", "[[0,2]]"),
        ("[.s | splits(\", *\")]", "[[\"a\",\"b\",\"c\"]]"),
        (".s | gsub(\"(?<l>[a-z])\"; \"<\" + .l + \">\")", "[\"<a>,<b>, <c>\"]"),
        ("[.s | match(\"[a-z]\"; \"g\").offset]", "[[0,2,5]]"),
        (".s | capture(\"(?<first>[a-z]),(?<rest>.*)\")", "[{\"first\":\"a\",\"rest\":\"b, c\"}]"),
        ("[.s | scan(\"[a-z]\")] | join(\"-\")", "[\"a-b-c\"]"),
        ("try error(\"x\") catch .", "[\"x\"]"),
        ("[.[] | try length catch \"none\"]", "[[3,2,6]]"),
        (".nope.deep // \"d\"", "[\"d\"]"),
        ("[.a[] as $x | .a[] as $y | select($x < $y) | [$x, $y]] | length", "[3]"),
        (". as {a: [$first, $second], o: {$x}} | [$first, $second, $x]", "[[3,1,1]]"),
        ("[foreach .a[] as $i (0; . + $i; [$i, .])]", "[[[3,3],[1,4],[2,6]]]"),
        ("label $out | .a[] | if . == 1 then ., break $out else . end", "[3,1]"),
        ("def f(g): g | g; 2 | f(. * 3)", "[18]"),
        ("def fac: if . <= 1 then 1 else . * (. - 1 | fac) end; 5 | fac", "[120]"),
        ("[range(0; 10; 3)]", "[[0,3,6,9]]"),
        ("[1, [2, [3]]] | flatten(1)", "[[1,2,[3]]]"),
        (".o.y.z |= map(not)", "[{\"a\":[3,1,2],\"o\":{\"x\":1,\"y\":{\"z\":[false,true]}},\"s\":\"a,b, c\"}]"),
        (".a[1:] = [9] | .a", "[[3,9]]"),
        (".a |= (.[0] = 5 | .[-1] = 6) | .a", "[[5,1,6]]"),
        ("[.a[] | select(. != 1)] | @csv, @json, @sh", "[\"3,2\",\"[3,2]\",\"3 2\"]"),
        ("@base64 \"x\\(.s)y\", (\"aGk=\" | @base64d), @uri \"\\(\"a b\")\"", "[\"xYSxiLCBjy\",\"hi\",\"a%20b\"]"),
        ("[.a | group_by(. > 1)[] | length], (.a | min), (.a | max_by(-.)), (.a | unique | length)", "[[1,2],1,1,3]"),
        ("[.a | indices(1)], (.s | indices(\",\")), (.s | index(\",\")), (.s | rindex(\",\"))", "[[[1]],[1,3],1,3]"),
        ("[[1, 2], [3, 4]] | transpose, [combinations]", "[[[1,3],[2,4]],[[1,3],[1,4],[2,3],[2,4]]]"),
        ("walk(if type == \"number\" then . + 1 else . end) | .a", "[[4,2,3]]"),
        (
            "\"ab\" | explode | implode, (\"Ab\" | ascii_upcase, ascii_downcase), (\"é\" | utf8bytelength)",
            "[\"ab\",\"AB\",\"ab\",2]",
        ),
        ("[.a | first, last, nth(1)], [first(.a[]), last(.a[]), nth(1; .a[])]", "[[3,2,1],[3,2,1]]"),
        ("(.a | any(. > 2)), (.a | all(. > 2)), ([true, false] | any, all)", "[true,false,true,false]"),
        ("7 % 3, -7 % 3, 1 / 4, 2 * 1.5, (10 | pow(.; 2)), (9 | sqrt), (1.5 | floor)", "[1,-1,0.25,3,100,3.0,1.0]"),
        (". as $d | {$d} | keys", "[[\"d\"]]"),
        ("{a: 1} + {b: 2} | has(\"a\"), contains({b: 2}), (tojson | fromjson | .b)", "[true,true,2]"),
        ("[[] | while(length < 3; . + [1])] | length, ([] | until(length == 2; . + [1]))", "[3,[1,1]]"),
        (
            "getpath([\"o\", \"y\", \"z\", 0]), ([paths(type == \"boolean\")] | length), (path(..) | select(length == 4))",
            "[true,1,[\"o\",\"y\",\"z\",0],[\"o\",\"y\",\"z\",1]]",
        ),
    ] {
        variables.set("p", Value::text(program));
        let result = render_text("{{ v | jq(p) }}", &Environment::new(&variables, &NoServices));
        assert_eq!(result, Ok(expected.to_owned()), "{program}");
    }
}
