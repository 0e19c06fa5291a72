//! Functions that are not written in jq.

use std::sync::Arc;

use super::ast::Ast;
use super::collections::{contains, extreme, flattened, grouped, indices, sorted, unique};
use super::eval::{Emit, Env, Interpreter, Stop, error};
use super::loops::{limited, limited_places, range, recurse, repeated, until};
use super::paths::{EmitPlace, Place};
use super::value::{Fields, Json};
use super::{ops, regex, strings};
use crate::error::Fault;

type Answer = Result<Json, Stop>;

/// Functions of the input alone.
type Plain = fn(&Interpreter<'_, '_>, &Json) -> Answer;
/// Functions of the input and one value.
type WithValue = fn(&Interpreter<'_, '_>, &Json, &Json) -> Answer;
/// Functions that order the items of the input by a term.
type ByKey = fn(&Interpreter<'_, '_>, Vec<(Json, Json)>) -> Answer;

fn plain(name: &str) -> Option<Plain> {
    Some(match name {
        "not" => |_, input| Ok(Json::Bool(!input.is_true())),
        "length" => length,
        "utf8bytelength" => |_, input| match input {
            Json::Text(text) => Ok(Json::whole(text.len() as i64)),
            other => error(format!("{} only strings have UTF-8 byte length", strings::describe(other))),
        },
        "keys" => |jq, input| {
            let mut pairs: Vec<_> = ops::keys(input)?.into_iter().map(|key| (key, Json::Null)).collect();
            if matches!(input, Json::Null) {
                return error("null has no keys");
            }
            ops::sort_pairs(jq.session, &mut pairs)?;
            Json::list(pairs.into_iter().map(|(key, _)| key).collect())
        },
        "keys_unsorted" => |_, input| match input {
            Json::Null => error("null has no keys"),
            other => Json::list(ops::keys(other)?),
        },
        "tojson" => |jq, input| strings::to_json(jq.session, input).map(Json::text),
        "tostring" => |jq, input| strings::to_text(jq.session, input).map(Json::text),
        "fromjson" => from_json,
        "tonumber" => to_number,
        "type" => |_, input| Ok(Json::text(input.kind())),
        "sort" => |jq, input| {
            let pairs = items(input, "sorted")?.into_iter().map(|item| (item.clone(), item)).collect();
            sorted(jq, pairs)
        },
        "unique" => |jq, input| {
            let pairs = items(input, "sorted")?.into_iter().map(|item| (item.clone(), item)).collect();
            unique(jq, pairs)
        },
        "min" => {
            |jq, input| extreme(jq, items(input, "iterated over")?.into_iter().map(|i| (i.clone(), i)).collect(), false)
        }
        "max" => {
            |jq, input| extreme(jq, items(input, "iterated over")?.into_iter().map(|i| (i.clone(), i)).collect(), true)
        }
        "reverse" => |_, input| match input {
            Json::Text(text) => Ok(Json::text(text.chars().rev().collect::<String>())),
            Json::Null => Json::list(Vec::new()),
            other => Json::list(items(other, "reversed")?.into_iter().rev().collect()),
        },
        "explode" => |jq, input| match input {
            Json::Text(text) => {
                jq.session.meter.elements(text.len())?;
                Json::list(text.chars().map(|c| Json::whole(i64::from(u32::from(c)))).collect())
            }
            other => error(format!("{} cannot be exploded", strings::describe(other))),
        },
        "implode" => |jq, input| {
            let mut text = String::new();
            for code in items(input, "imploded")? {
                let c = code.integer().and_then(|code| char::from_u32(u32::try_from(code).ok()?));
                let Some(c) = c else { return error("Unicode codepoint must be numeric") };
                text.push(c);
            }
            jq.session.meter.text(text.len())?;
            Ok(Json::text(text))
        },
        "infinite" => |_, _| Ok(ops::real(f64::INFINITY)),
        "nan" => |_, _| Ok(ops::real(f64::NAN)),
        "isinfinite" => |_, input| Ok(Json::Bool(real_input(input)?.is_infinite())),
        "isnan" => |_, input| Ok(Json::Bool(real_input(input)?.is_nan())),
        "isnormal" => |_, input| Ok(Json::Bool(real_input(input)?.is_normal())),
        "now" => |jq, _| {
            let now = jq.session.environment.services.now().map_err(|interrupt| Stop::Fault(Fault::from(interrupt)))?;
            Ok(ops::real(now.timestamp_micros() as f64 / 1_000_000.0))
        },
        _ => return None,
    })
}

/// Functions of one number.
fn math(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "floor" => f64::floor,
        "sqrt" => f64::sqrt,
        "round" => f64::round,
        "trunc" => f64::trunc,
        "fabs" => f64::abs,
        "cbrt" => f64::cbrt,
        "exp" => f64::exp,
        "exp2" => f64::exp2,
        "exp10" => |number| 10f64.powf(number),
        "expm1" => f64::exp_m1,
        "log" => f64::ln,
        "log2" => f64::log2,
        "log10" => f64::log10,
        "log1p" => f64::ln_1p,
        "sin" => f64::sin,
        "cos" => f64::cos,
        "tan" => f64::tan,
        "asin" => f64::asin,
        "acos" => f64::acos,
        "atan" => f64::atan,
        "sinh" => f64::sinh,
        "cosh" => f64::cosh,
        "tanh" => f64::tanh,
        "asinh" => f64::asinh,
        "acosh" => f64::acosh,
        "atanh" => f64::atanh,
        _ => return None,
    })
}

fn with_value(name: &str) -> Option<WithValue> {
    Some(match name {
        "has" => |_, input, key| match (input, key) {
            (Json::Object(node), Json::Text(key)) => Ok(Json::Bool(node.content.contains_key(key))),
            (Json::List(node), Json::Number(_)) => {
                let number = key.number().unwrap_or(-1.0);
                Ok(Json::Bool(number >= 0.0 && number < node.content.len() as f64))
            }
            (input, key) => error(format!("Cannot check whether {} has a {} key", input.kind(), key.kind())),
        },
        "contains" => |jq, input, other| contains(jq, input, other).map(Json::Bool),
        "error" => |_, _, value| Err(Stop::Error(value.clone())),
        "getpath" => |_, input, path| match ops::get_path(input, &items(path, "used as a path")?) {
            Err(Stop::Error(_)) => Ok(Json::Null),
            other => other,
        },
        "delpaths" => |jq, input, paths| {
            let paths = items(paths, "used as paths")?
                .iter()
                .map(|path| items(path, "used as a path"))
                .collect::<Result<_, _>>()?;
            ops::delete_paths(jq.session, input, paths)
        },
        "startswith" => {
            |_, input, part| texts(input, part, "startswith").map(|(text, part)| Json::Bool(text.starts_with(part)))
        }
        "endswith" => {
            |_, input, part| texts(input, part, "endswith").map(|(text, part)| Json::Bool(text.ends_with(part)))
        }
        "ltrimstr" => |_, input, part| match (input, part) {
            (Json::Text(text), Json::Text(part)) => Ok(Json::text(text.strip_prefix(&**part).unwrap_or(text))),
            (input, _) => Ok(input.clone()),
        },
        "rtrimstr" => |_, input, part| match (input, part) {
            (Json::Text(text), Json::Text(part)) => Ok(Json::text(text.strip_suffix(&**part).unwrap_or(text))),
            (input, _) => Ok(input.clone()),
        },
        "split" => |jq, input, separator| {
            let (text, separator) = texts(input, separator, "split")?;
            strings::split(jq.session, text, separator)
        },
        "indices" => indices,
        "flatten" => |jq, input, depth| {
            let depth = depth.number().filter(|depth| *depth >= 0.0);
            let Some(depth) = depth else { return error("flatten depth must not be negative") };
            flattened(jq, input, depth)
        },
        _ => return None,
    })
}

fn by_key(name: &str) -> Option<ByKey> {
    Some(match name {
        "sort_by" => sorted,
        "group_by" => grouped,
        "unique_by" => unique,
        "min_by" => |jq, pairs| extreme(jq, pairs, false),
        "max_by" => |jq, pairs| extreme(jq, pairs, true),
        _ => return None,
    })
}

/// Whether there is a function of this name with so many arguments.
pub(super) fn exists(name: &str, count: usize) -> bool {
    match count {
        0 => matches!(name, "empty" | "error" | "recurse" | "flatten") || plain(name).is_some() || math(name).is_some(),
        1 => {
            matches!(name, "path" | "range" | "first" | "recurse")
                || with_value(name).is_some()
                || by_key(name).is_some()
        }
        2 => matches!(name, "range" | "limit" | "until" | "while" | "setpath" | "pow" | "atan2"),
        3 => matches!(name, "range" | "_match"),
        _ => false,
    }
}

pub(super) fn call<'p>(
    jq: &Interpreter<'_, '_>,
    name: &str,
    arguments: &'p [Arc<Ast>],
    env: &Env<'p>,
    input: Json,
    emit: Emit<'_>,
) -> Result<(), Stop> {
    match (name, arguments) {
        ("empty", []) => Ok(()),
        ("error", []) => Err(Stop::Error(input)),
        ("flatten", []) => emit(flattened(jq, &input, f64::INFINITY)?),
        ("recurse", []) => jq.eval(&Ast::RecurseAll, env, input, emit),
        ("recurse", [step]) => recurse(jq, step, env, input, emit),
        ("path", [term]) => jq.paths(term, env, &input)?.into_iter().try_for_each(|path| emit(Json::list(path)?)),
        ("first", [term]) => limited(jq, term, 1, env, input, emit),
        ("limit", [count, term]) => jq.eval(count, env, input.clone(), &mut |count| {
            limited(jq, term, count.number().unwrap_or(0.0) as i64, env, input.clone(), emit)
        }),
        ("until", [condition, step]) => until(jq, condition, step, env, input, emit),
        ("while", [condition, step]) => repeated(jq, condition, step, env, input, emit),
        ("range", [end]) => {
            jq.eval(end, env, input, &mut |end| range(jq, &Json::whole(0), &end, &Json::whole(1), emit))
        }
        ("range", [start, end]) => jq.eval(start, env, input.clone(), &mut |start| {
            jq.eval(end, env, input.clone(), &mut |end| range(jq, &start, &end, &Json::whole(1), emit))
        }),
        ("range", [start, end, step]) => jq.eval(start, env, input.clone(), &mut |start| {
            jq.eval(end, env, input.clone(), &mut |end| {
                jq.eval(step, env, input.clone(), &mut |step| range(jq, &start, &end, &step, emit))
            })
        }),
        ("setpath", [path, value]) => jq.eval(path, env, input.clone(), &mut |path| {
            let path = items(&path, "used as a path")?;
            jq.eval(value, env, input.clone(), &mut |value| emit(ops::set_path(jq.session, &input, &path, value)?))
        }),
        ("pow" | "atan2", [a, b]) => jq.eval(b, env, input.clone(), &mut |b| {
            jq.eval(a, env, input.clone(), &mut |a| {
                let (a, b) = (real_input(&a)?, real_input(&b)?);
                emit(if name == "pow" { Json::computed(a.powf(b)) } else { ops::real(a.atan2(b)) })
            })
        }),
        ("_match", [pattern, flags, test]) => jq.eval(pattern, env, input.clone(), &mut |pattern| {
            jq.eval(flags, env, input.clone(), &mut |flags| {
                jq.eval(test, env, input.clone(), &mut |test| {
                    emit(regex::matches(jq.session, &input, &pattern, &flags, test.is_true())?)
                })
            })
        }),
        (name, []) => match (plain(name), math(name)) {
            (Some(plain), _) => emit(plain(jq, &input)?),
            (None, Some(math)) => emit(ops::real(math(real_input(&input)?))),
            (None, None) => Err(Stop::Invalid(format!("{name}/0 is not defined"))),
        },
        (name, [argument]) => match (with_value(name), by_key(name)) {
            (Some(function), _) => {
                jq.eval(argument, env, input.clone(), &mut |value| emit(function(jq, &input, &value)?))
            }
            (None, Some(function)) => {
                let mut pairs = Vec::new();
                for item in items(&input, "ordered")? {
                    let key = Json::list(jq.all(argument, env, item.clone())?)?;
                    jq.session.meter.elements(2)?;
                    pairs.push((key, item));
                }
                emit(function(jq, pairs)?)
            }
            (None, None) => Err(Stop::Invalid(format!("{name}/1 is not defined"))),
        },
        (name, arguments) => Err(Stop::Invalid(format!("{name}/{} is not defined", arguments.len()))),
    }
}

/// The functions that lead to places.
pub(super) fn places<'p>(
    jq: &Interpreter<'_, '_>,
    name: &str,
    arguments: &'p [Arc<Ast>],
    env: &Env<'p>,
    place: Place,
    emit: EmitPlace<'_>,
) -> Result<(), Stop> {
    match (name, arguments) {
        ("empty", []) => Ok(()),
        ("error", []) => Err(Stop::Error(place.value)),
        ("error", [message]) => jq.eval(message, env, place.value, &mut |value| Err(Stop::Error(value))),
        ("recurse", []) => jq.recursed(place, emit),
        ("recurse", [step]) => {
            let mut pending = vec![place];
            while let Some(place) = pending.pop() {
                emit(place.clone())?;
                let mut next = Vec::new();
                jq.places(step, env, place, &mut |place| {
                    next.push(place);
                    Ok(())
                })?;
                pending.extend(next.into_iter().rev());
            }
            Ok(())
        }
        ("first", [term]) => limited_places(jq, term, 1, env, place, emit),
        ("limit", [count, term]) => jq.eval(count, env, place.value.clone(), &mut |count| {
            limited_places(jq, term, count.number().unwrap_or(0.0) as i64, env, place.clone(), emit)
        }),
        ("getpath", [path]) => jq.eval(path, env, place.value.clone(), &mut |path| {
            let path = items(&path, "used as a path")?;
            let value = match ops::get_path(&place.value, &path) {
                Err(Stop::Error(_)) => Json::Null,
                other => other?,
            };
            let mut keys = place.keys.clone();
            keys.extend(path);
            emit(Place { keys, value })
        }),
        _ => error(format!("Invalid path expression with result {}", strings::describe(&place.value))),
    }
}

fn items(value: &Json, what: &str) -> Result<Vec<Json>, Stop> {
    match value {
        Json::List(node) => Ok(node.content.clone()),
        other => error(format!("{} cannot be {what}, as it is not an array", strings::describe(other))),
    }
}

fn texts<'v>(input: &'v Json, part: &'v Json, function: &str) -> Result<(&'v str, &'v str), Stop> {
    match (input, part) {
        (Json::Text(text), Json::Text(part)) => Ok((text, part)),
        _ => error(format!("{function} input and argument must be strings")),
    }
}

fn real_input(value: &Json) -> Result<f64, Stop> {
    match value.number() {
        Some(number) => Ok(number),
        None => error(format!("{} number required", strings::describe(value))),
    }
}

fn length(jq: &Interpreter<'_, '_>, input: &Json) -> Answer {
    Ok(match input {
        Json::Null => Json::whole(0),
        Json::Bool(_) => return error(format!("{} has no length", strings::describe(input))),
        Json::Number(_) => match input.integer() {
            Some(number) => Json::whole(number.saturating_abs()),
            None => ops::real(input.number().unwrap_or(0.0).abs()),
        },
        Json::Text(text) => {
            jq.session.meter.steps(text.len() as u64 / 64)?;
            Json::whole(text.chars().count() as i64)
        }
        Json::List(node) => Json::whole(node.content.len() as i64),
        Json::Object(node) => Json::whole(node.content.len() as i64),
    })
}

fn from_json(jq: &Interpreter<'_, '_>, input: &Json) -> Answer {
    let Json::Text(text) = input else {
        return error(format!("{} cannot be parsed as JSON, as it is not a string", strings::describe(input)));
    };
    jq.session.meter.elements(text.len() / 4)?;
    match crate::json::parse_exactly(text) {
        Ok(value) => keeping_nulls(&value),
        Err(problem) => error(format!("{problem} (while parsing '{text}')")),
    }
}

/// A parsed document with all its entries, as programs see what they parse themselves.
fn keeping_nulls(value: &crate::value::Value) -> Answer {
    use crate::value::Value;
    match value {
        Value::Null => Ok(Json::Null),
        Value::Bool(value) => Ok(Json::Bool(*value)),
        Value::Text(text) => Ok(Json::Text(Arc::clone(text))),
        Value::List(list) => Json::list(list.snapshot().iter().map(keeping_nulls).collect::<Result<_, _>>()?),
        Value::Map(map) => {
            let mut fields = Fields::default();
            for (key, value) in map.iter() {
                if let Value::Text(key) = key {
                    fields.insert(Arc::clone(key), keeping_nulls(value)?);
                }
            }
            Json::object(fields)
        }
        number => Ok(Json::Number(number.clone())),
    }
}

fn to_number(_: &Interpreter<'_, '_>, input: &Json) -> Answer {
    match input {
        Json::Number(_) => Ok(input.clone()),
        Json::Text(text) => match crate::json::parse_exactly(text) {
            Ok(number) if number.is_number() => Ok(Json::Number(number)),
            _ => error(format!("{} cannot be parsed as a number", strings::describe(input))),
        },
        other => error(format!("{} cannot be parsed as a number", strings::describe(other))),
    }
}
