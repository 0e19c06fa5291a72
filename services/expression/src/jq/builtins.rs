//! Functions that are written in jq themselves.

use std::sync::{Arc, OnceLock};

use super::ast::Definition;
use super::eval::{Binding, Env, extend};
use super::parser::parse_definitions;

const SOURCE: &str = r#"
def map(f): [.[] | f];
def map_values(f): .[] |= f;
def select(f): if f then . else empty end;
def recurse_down: recurse;
def values: select(. != null);
def nulls: select(. == null);
def booleans: select(type == "boolean");
def numbers: select(type == "number");
def strings: select(type == "string");
def arrays: select(type == "array");
def objects: select(type == "object");
def iterables: select(type | . == "array" or . == "object");
def scalars: select(type | . != "array" and . != "object");
def recurse(f; cond): recurse(f | select(cond));
def to_entries: [keys_unsorted[] as $k | {key: $k, value: .[$k]}];
def from_entries: reduce .[] as $x ({}; . + {($x | (if .key == false then .key else .key // .k // .name // .Name // .K // .Key end)
    | if type == "string" then . else tojson end): ($x | if has("value") then .value elif has("v") then .v else .Value end)});
def with_entries(f): to_entries | map(f) | from_entries;
def add: reduce .[] as $x (null; . + $x);
def in(xs): . as $x | xs | has($x);
def inside(xs): . as $x | xs | contains($x);
def any: reduce .[] as $x (false; . or $x);
def all: reduce .[] as $x (true; . and $x);
def any(f): reduce (.[] | f) as $x (false; . or $x);
def all(f): reduce (.[] | f) as $x (true; . and $x);
def isempty(g): first((g | false), true);
def any(g; f): isempty(first(g | f or empty)) | not;
def all(g; f): isempty(first(g | f and empty));
def first: .[0];
def last: .[-1];
def nth($n): .[$n];
def last(f): reduce f as $x (null; $x);
def nth($n; f): if $n < 0 then error("Out of bounds negative array index") else last(limit($n + 1; f)) end;
def del(f): delpaths([path(f)]);
def paths: path(..) | select(length > 0);
def paths(f): paths as $p | select(getpath($p) | f) | $p;
def leaf_paths: paths(scalars);
def combinations: if length == 0 then [] else .[0][] as $x | (.[1:] | combinations) as $w | [$x] + $w end;
def combinations(n): . as $dot | [range(n)] | map($dot) | combinations;
def walk(f): . as $in | if type == "object" then reduce keys_unsorted[] as $key ({}; . + {($key): ($in[$key] | walk(f))}) | f
    elif type == "array" then map(walk(f)) | f else f end;
def transpose: if . == [] then [] else . as $in | (map(length) | max) as $max
    | [range(0; $max) as $j | [range(0; $in | length) as $i | $in[$i][$j]]] end;
def index($i): indices($i) | .[0];
def rindex($i): indices($i) | .[-1:][0];
def join($x): reduce .[] as $i (null; (if . == null then "" else . + $x end)
    + ($i | if . == null then "" elif type == "boolean" or type == "number" then tojson else . end)) // "";
def ascii_downcase: explode | map(if 65 <= . and . <= 90 then . + 32 else . end) | implode;
def ascii_upcase: explode | map(if 97 <= . and . <= 122 then . - 32 else . end) | implode;
def finites: select(isinfinite or isnan | not);
def normals: select(isnormal);
def match($re; $flags): _match($re; $flags; false) | .[];
def match($val): ($val | type) as $t | if $t == "string" then match($val; null) elif $t == "array" and ($val | length) > 1
    then match($val[0]; $val[1]) elif $t == "array" then match($val[0]; null) else error($t + " not a string or array") end;
def test($re; $flags): _match($re; $flags; true);
def test($val): if ($val | type) == "array" then test($val[0]; $val[1]) else test($val; null) end;
def capture($val): match($val) | [.captures | .[] | select(.name != null) | {key: .name, value: .string}] | from_entries;
def capture($re; $flags): match($re; $flags) | [.captures | .[] | select(.name != null) | {key: .name, value: .string}] | from_entries;
def scan($re): match($re; "g") | if (.captures | length) > 0 then [.captures | .[] | .string] else .string end;
def split($re; $flags): . as $s | [foreach ((match($re; $flags + "g") | [.offset, .length]), null) as $m ([0, null];
    if $m == null then [.[0], $s[.[0]:]] else [$m[0] + $m[1], $s[.[0]:$m[0]]] end; .[1])];
def splits($re; $flags): split($re; $flags) | .[];
def splits($re): splits($re; null);
def _captures: reduce (.captures | .[] | select(.name != null) | {key: .name, value: .string}) as $pair ({}; . + {($pair.key): $pair.value});
def sub($re; str; $flags): . as $in | (reduce _match($re; $flags; false)[] as $edit ([0, ""];
    [$edit.offset + $edit.length, .[1] + $in[.[0]:$edit.offset] + ($edit | _captures | str)])) | .[1] + $in[.[0]:];
def sub($re; str): sub($re; str; "");
def gsub($re; str; $flags): sub($re; str; $flags + "g");
def gsub($re; str): sub($re; str; "g");
def ascii: [.] | implode;
"#;

static DEFINITIONS: OnceLock<Vec<Arc<Definition>>> = OnceLock::new();

/// The environment of every program.
pub(super) fn environment() -> Env<'static> {
    let definitions = DEFINITIONS.get_or_init(|| parse_definitions(SOURCE).unwrap_or_default());
    let mut env = None;
    for definition in definitions {
        env = extend(&env, Binding::Function(definition));
    }
    env
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_in_compiles() {
        assert!(parse_definitions(SOURCE).expect("the definitions compile").len() > 60);
    }
}
