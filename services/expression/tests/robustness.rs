//! No text makes the library panic, exhaust the stack or pass its limits.

use proptest::prelude::*;
use serde_json::json;
use windhover_expression::{
    Environment, ErrorKind, ExpressionError, Limits, NoServices, SharedVariables, TemplateCache, Value,
    render_structure, render_text, render_typed,
};

fn variables() -> SharedVariables {
    let mut variables = SharedVariables::default();
    variables.set_json("m", json!({"a": 1, "b": [1, 2, {"c": "x"}], "n": null, "s": "text"}).into());
    variables.set_json("l", json!([3, 1, 2]).into());
    variables.set("d", Value::text("2024-01-15T10:30:45Z"));
    variables
}

fn small() -> Limits {
    Limits { max_steps: 200_000, max_memory: 4 << 20, max_output: 64 << 10, ..Limits::default() }
}

fn render(template: &str) -> Result<String, ExpressionError> {
    render_text(template, &Environment::new(&variables(), &NoServices).with_limits(small()))
}

fn kind(template: &str) -> ErrorKind {
    match render(template) {
        Ok(text) => panic!("{:.60} gives {:.60}", template, text),
        Err(error) => error.kind(),
    }
}

/// Pieces from which expressions are made that get further than arbitrary text does.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "{{",
            "}}",
            "{%",
            "%}",
            "{#",
            "#}",
            "-",
            " ",
            "\n",
            "'",
            "\"",
            "#{",
            "}",
            "(",
            ")",
            "[",
            "]",
            "{",
            ":",
            ",",
            ".",
            "|",
            "?",
            "??",
            "???",
            "+",
            "*",
            "/",
            "%",
            "~",
            "..",
            "==",
            "<",
            "is",
            "is not",
            "not",
            "and",
            "or",
            "contains",
            "isIn",
            "if",
            "endif",
            "else",
            "for",
            "in",
            "endfor",
            "set",
            "=",
            "macro",
            "endmacro",
            "block",
            "endblock",
            "filter",
            "endfilter",
            "raw",
            "endraw",
            "verbatim",
            "endverbatim",
            "m",
            "l",
            "d",
            "x",
            "loop",
            "index",
            "0",
            "1",
            "9223372036854775807",
            "1.5",
            "true",
            "null",
            "join",
            "sort",
            "date",
            "dateAdd",
            "replace",
            "split",
            "jq",
            "yaml",
            "toIon",
            "number",
            "numberFormat",
            "range",
            "render",
            "fromJson",
            "fromIon",
            "kv",
            "secret",
            "'a'",
            "'[0-9]+'",
            "'.[]'",
            "'yyyy-MM-dd'",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,3}",
    ]
}

/// A well-formed print of something applied to something.
fn application() -> impl Strategy<Value = String> {
    let value = prop::sample::select(vec![
        "m",
        "l",
        "d",
        "m.b",
        "m.n",
        "1",
        "-7",
        "1.5",
        "'a,b'",
        "''",
        "[1, 'x', null]",
        "{'k': [1]}",
        "'a,b' | split(',')",
        "true",
        "1..3",
        "m | keys",
        "('abc' | first)",
        "'{\"a\": [1]}'",
        "'😀é'",
    ]);
    let filter = prop::sample::select(vec![
        "abbreviate",
        "abs",
        "base64decode",
        "base64encode",
        "capitalize",
        "chunk",
        "className",
        "date",
        "dateAdd",
        "default",
        "distinct",
        "endsWith",
        "escapeChar",
        "first",
        "flatten",
        "indent",
        "join",
        "jq",
        "json",
        "keys",
        "last",
        "length",
        "lower",
        "md5",
        "merge",
        "nindent",
        "nl2br",
        "number",
        "numberFormat",
        "replace",
        "reverse",
        "rsort",
        "sha1",
        "slice",
        "slugify",
        "sort",
        "split",
        "startsWith",
        "string",
        "substringAfter",
        "substringBeforeLast",
        "timestamp",
        "timestampNano",
        "title",
        "toIon",
        "trim",
        "upper",
        "urldecode",
        "urlencode",
        "values",
        "yaml",
    ]);
    (value.clone(), filter, prop::collection::vec(value, 0..3))
        .prop_map(|(input, filter, arguments)| format!("{{{{ ({input}) | {filter}({}) }}}}", arguments.join(", ")))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,200}") {
        let _ = render(&text);
        let _ = render(&format!("{{{{ {text} }}}}"));
    }

    #[test]
    fn arbitrary_pieces_never_panic(pieces in prop::collection::vec(piece(), 0..40)) {
        let text = pieces.join(" ");
        let _ = render(&text);
        let _ = render(&format!("{{{{ {text} }}}}"));
        let variables = variables();
        let environment = Environment::new(&variables, &NoServices).with_limits(small()).with_recursive(true);
        let _ = render_typed(&text, &environment);
    }

    #[test]
    fn any_value_through_any_filter_never_panics(template in application()) {
        let _ = render(&template);
    }

    #[test]
    fn arbitrary_arguments_of_filters_never_panic(text in "\\PC{0,40}", argument in "\\PC{0,20}") {
        let mut variables = variables();
        variables.set("t", Value::text(&text));
        variables.set("a", Value::text(&argument));
        let environment = Environment::new(&variables, &NoServices).with_limits(small());
        for template in [
            "{{ t | date(a) }}", "{{ d | date(a) }}", "{{ d | date(timeZone=a) }}", "{{ t | date(existingFormat=a) }}", "{{ t | split(a) }}",
            "{{ t | replace({a: 'x'}, true) }}", "{{ t | replace({'.': a}, true) }}", "{{ t | number }}", "{{ 1.5 | numberFormat(a) }}",
            "{{ m | jq(a) }}", "{{ t | jq('.') }}", "{{ fromJson(t) }}", "{{ fromIon(t, true) }}", "{{ yaml(t) }}", "{{ t | yaml }}",
            "{{ t | toIon }}", "{{ render(t) }}", "{{ t | slugify }}", "{{ t | urldecode }}", "{{ t is json }}", "{{ t | indent(2) }}",
            "{{ t | slice(0, 2) }}", "{{ t | base64decode }}", "{{ t | title }}",
        ] {
            let _ = render_text(template, &environment);
        }
    }

    #[test]
    fn written_json_yaml_and_ion_read_back(text in "\\PC{0,30}|[\\x00-\\x7f]{0,12}|[ \\n-]{0,6}") {
        let mut variables = SharedVariables::default();
        variables.set("t", Value::text(&text));
        let environment = Environment::new(&variables, &NoServices);
        for template in ["{{ fromJson([t] | toJson)[0] == t }}", "{{ fromIon([t] | toIon)[0] == t }}"] {
            prop_assert_eq!(render_text(template, &environment), Ok("true".to_owned()));
        }
    }

    #[test]
    fn arbitrary_programs_of_jq_never_panic(pieces in prop::collection::vec(prop::sample::select(vec![
        ".", "..", ".a", ".b", "[]", "[0]", "[1:]", "[", "]", "{", "}", "(", ")", "|", ",", "//", "?", "+", "-", "*", "/", "%", "==", "<",
        "and", "or", "not", "if", "then", "else", "end", "try", "catch", "reduce", "foreach", "as", "$x", "def", "f", ":", ";", "label",
        "break", "$out", "map", "select", "recurse", "path", "del", "to_entries", "range", "limit", "first", "until", "while", "\"x\"",
        "\"\\(.)\"", "1", "3", "null", "true", "length", "keys", "add", "sort", "group_by", "=", "|=", "+=", "@csv", "@base64", "error",
        "test", "sub", "splits", "walk", "paths", "getpath", "setpath", "empty", "tojson", "infinite", "flatten", "indices",
    ]), 1..14)) {
        let mut variables = variables();
        variables.set("program", Value::text(pieces.join(" ")));
        let _ = render_text("{{ m | jq(program) }}", &Environment::new(&variables, &NoServices).with_limits(small()));
    }
}

#[test]
fn deeply_nested_syntax_is_refused() {
    for (open, close) in
        [("(", ")"), ("[", "]"), ("{'k': ", "}"), ("-", ""), ("not ", ""), ("\"#{", "}\""), ("m[", "]"), ("max(", ")")]
    {
        let template = format!("{{{{ {}1{} }}}}", open.repeat(50_000), close.repeat(50_000));
        assert_eq!(kind(&template), ErrorKind::Syntax, "{open}");
    }
    for operator in ["+", "and", "| lower |", "??", ".."] {
        let template = format!("{{{{ 1 {} lower }}}}", format!("{operator} lower ").repeat(50_000));
        assert_eq!(kind(&template), ErrorKind::Syntax, "{operator}");
    }
    assert_eq!(kind(&format!("{{{{ {}1 }}}}", "true ? 1 : ".repeat(50_000))), ErrorKind::Syntax);
    assert_eq!(kind(&"{% if true %}".repeat(50_000)), ErrorKind::Syntax);
    assert_eq!(kind(&"{% filter upper %}".repeat(50_000)), ErrorKind::Syntax);
}

#[test]
fn the_deepest_syntax_that_is_accepted_fits_the_stack() {
    for (open, close) in [("(", ")"), ("[", "]"), ("{'k': ", "}"), ("-", ""), ("\"#{", "}\"")] {
        for depth in (20..130).step_by(3) {
            let _ = render(&format!("{{{{ {}1{} }}}}", open.repeat(depth), close.repeat(depth)));
            let tags = "{% for x in l %}{% if true %}".repeat(depth / 4);
            let ends = "{% endif %}{% endfor %}".repeat(depth / 4);
            let nested = format!("{tags}{{{{ {}1{} }}}}{ends}", open.repeat(depth), close.repeat(depth));
            let _ = render_text(&nested, &Environment::new(&variables(), &NoServices).with_limits(small()));
        }
    }
}

#[test]
fn long_chains_of_concatenation_are_fine() {
    let template = format!("{{{{ 'a'{} }}}}", " ~ 'a'".repeat(5_000));
    assert_eq!(render(&template).map(|text| text.len()), Ok(5_001));
}

#[test]
fn macros_and_blocks_that_call_themselves_stop() {
    assert_eq!(kind("{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}"), ErrorKind::Limit);
    assert_eq!(kind("{% block b %}{{ block('b') }}{% endblock %}"), ErrorKind::Limit);
    assert_eq!(
        kind(
            "{% macro f(n) %}{% for i in [1] %}{% if [f(n)] is empty %}{% endif %}{% endfor %}{% endmacro %}{{ f(1) }}"
        ),
        ErrorKind::Limit
    );
}

#[test]
fn renderings_that_nest_stop() {
    let mut variables = SharedVariables::default();
    variables.set("t", Value::text("{{ [[[[render(t)]]]] }}"));
    let error = render_text("{{ render(t) }}", &Environment::new(&variables, &NoServices)).expect_err("too deep");
    assert!(error.to_string().contains("Maximum render() nesting depth (16) exceeded"), "{error}");
}

#[test]
fn programs_of_jq_that_never_end_stop() {
    for program in [
        "def f: f; f",
        "def f: 1 + f; f",
        "last(range(infinite))",
        "[recurse(. + 1)]",
        "[range(1e12)]",
        "until(false; .)",
        "[limit(1e9; while(true; .))]",
        "reduce range(1e9) as $x (0; [.])",
        "\"x\" * 1e12",
        "[range(100000)] | combinations(3)",
        "reduce range(100) as $x (\"a\"; . + .)",
        "reduce range(60) as $x ([1]; [., .]) | tojson",
        "def f(g): f(g | g); f(.)",
        "[.[] as [$a] | repeat]",
        "setpath([1e9]; 1)",
        "[range(3000)] | sort_by([range(3000)])",
    ] {
        let mut variables = variables();
        variables.set("p", Value::text(program));
        let result =
            render_text("{{ [1, 2] | jq(p) }}", &Environment::new(&variables, &NoServices).with_limits(small()));
        assert!(result.is_err(), "{program}");
    }
}

#[test]
fn patterns_that_backtrack_for_ever_stop() {
    let mut variables = SharedVariables::default();
    variables.set("t", Value::text("a".repeat(60)));
    for pattern in ["(?:(a)|(aa)|(aaa)|a\\1)+b$", "^(?:a?(?=a)){60}(a)\\1{60}b", "(?=(a|aa|aaa)+b)x?"] {
        variables.set("p", Value::text(pattern));
        let environment = Environment::new(&variables, &NoServices).with_limits(small());
        let _ = render_text("{{ t | replace({p: 'x'}, true) }}{{ t | split(p) | join }}", &environment);
    }
}

#[test]
fn loops_texts_and_lists_stay_within_their_limits() {
    for template in [
        "{% for i in 1..1000000000 %}x{% endfor %}",
        "{% for i in 1..1000 %}{% for j in 1..1000 %}{% for k in 1..1000 %}{% endfor %}{% endfor %}{% endfor %}",
        "{% set s = 'x' %}{% for i in 1..60 %}{% set s = s ~ s %}{% endfor %}{{ s }}",
        "{% set s = ['x'] %}{% for i in 1..60 %}{% set s = [s, s] %}{% endfor %}{{ s }}",
        "{% set s = ['x'] %}{% for i in 1..60 %}{% set s = s + s %}{% endfor %}",
        "{% set s = {'x': 1} %}{% for i in 1..60 %}{% set s = {'a': s, 'b': s} %}{% endfor %}{{ s == {'a': s, 'b': s} }}{{ s | yaml }}",
        "{{ 'x' | indent(9223372036854775807, 'yy') }}{{ \"a\nb\" | indent(9223372036854775807, 'yy') }}",
        "{{ 'x'.repeat(('2147483647' | number)) }}",
        "{% set a = [1] %}{% set b = a + [a] %}{{ a }}",
        "{{ ('a' ~ range(1, 9999)) | replace({'(.*)*x': ''}, true) }}{{ range(1, 99999999) }}",
    ] {
        assert_eq!(kind(template), ErrorKind::Limit, "{template}");
    }
}

#[test]
fn lists_nested_by_a_loop_are_freed_without_recursion() {
    let template = "{% set a = [] %}{% for i in 1..200000 %}{% set a = [a] %}{% endfor %}{% set m = 1 %}{% for i in 1..1 %}{% endfor %}done";
    let result = render_text(template, &Environment::new(&variables_without_m(), &NoServices));
    assert_eq!(result, Ok("done".to_owned()));
    let maps = "{% set a = {} %}{% for i in 1..200000 %}{% set a = {'k': a} %}{% endfor %}done";
    assert_eq!(render_text(maps, &Environment::new(&variables_without_m(), &NoServices)), Ok("done".to_owned()));
}

fn variables_without_m() -> SharedVariables {
    SharedVariables::default()
}

#[test]
fn a_list_that_contains_itself_is_an_error_and_leaves_nothing_behind() {
    let error =
        render_typed("{% set a = [1] %}{{ a + [a] }}", &Environment::new(&SharedVariables::default(), &NoServices));
    assert!(matches!(error, Err(ExpressionError::Limit { .. })), "{error:?}");
}

#[test]
fn deep_documents_are_read_and_refused_without_exhausting_the_stack() {
    for depth in [100, 1_000, 100_000] {
        let mut variables = SharedVariables::default();
        variables.set("j", Value::text(format!("{}1{}", "[".repeat(depth), "]".repeat(depth))));
        variables.set("o", Value::text(format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth))));
        variables.set("i", Value::text(format!("{}1{}", "a::[".repeat(depth), "]".repeat(depth))));
        let environment = Environment::new(&variables, &NoServices);
        for template in [
            "{{ fromJson(j) }}",
            "{{ fromJson(o) | yaml }}",
            "{{ fromIon(i) | toIon }}",
            "{{ yaml(j) }}",
            "{{ j | jq('flatten') }}",
            "{{ fromJson(j) | jq('.. | tojson') }}",
            "{{ fromJson(o) == fromJson(o) }}",
            "{{ j is json }}",
            "{{ yaml(o) ~ '' }}",
            "{{ fromJson(o) | replace({'1': '2'}) }}",
            "{{ render(fromJson(o)) }}",
        ] {
            let _ = render_text(template, &environment);
            let _ = render_typed(template, &environment);
        }
    }
}

#[test]
fn a_deep_structure_is_refused() {
    let mut document = json!("{{ 1 }}");
    for _ in 0..500 {
        document = json!([document]);
    }
    let result = render_structure(&document, &Environment::new(&SharedVariables::default(), &NoServices));
    assert!(matches!(result, Err(ExpressionError::Limit { .. })));
}

#[test]
fn the_cache_stays_within_its_capacity_and_gives_the_same_results() {
    let cache = TemplateCache::new(10);
    let variables = variables();
    let environment = Environment::new(&variables, &NoServices).with_cache(&cache);
    for round in 0..3 {
        for number in 0..100 {
            assert_eq!(
                render_text(&format!("{{{{ {number} + 1 }}}}"), &environment),
                Ok((number + 1).to_string()),
                "{round}"
            );
        }
    }
}
