//! Operators, paths and the order of values.

use std::cmp::Ordering;
use std::sync::Arc;

use super::ast::Op;
use super::eval::{Stop, error};
use super::strings;
use super::value::{Fields, Json};
use crate::eval::Session;
use crate::value::Value;

type Answer = Result<Json, Stop>;

/// Lists longer than this are not filled up to reach an index.
const MAX_FILL: usize = 1_000_000;

pub(super) fn compute(session: &Session<'_>, op: Op, left: &Json, right: &Json) -> Answer {
    match op {
        Op::Add => add(session, left, right),
        Op::Subtract => subtract(session, left, right),
        Op::Multiply => multiply(session, left, right),
        Op::Divide => divide(session, left, right),
        Op::Remainder => remainder(left, right),
        Op::Equal => Ok(Json::Bool(compare(session, left, right)?.is_eq())),
        Op::NotEqual => Ok(Json::Bool(compare(session, left, right)?.is_ne())),
        Op::Less => Ok(Json::Bool(compare(session, left, right)?.is_lt())),
        Op::LessOrEqual => Ok(Json::Bool(compare(session, left, right)?.is_le())),
        Op::Greater => Ok(Json::Bool(compare(session, left, right)?.is_gt())),
        Op::GreaterOrEqual => Ok(Json::Bool(compare(session, left, right)?.is_ge())),
    }
}

fn refuse(left: &Json, right: &Json, what: &str) -> Answer {
    error(format!("{} and {} cannot be {what}", strings::describe(left), strings::describe(right)))
}

/// Two whole numbers with a checked operation, else floating point.
fn arithmetic(
    left: &Json,
    right: &Json,
    whole: fn(i64, i64) -> Option<i64>,
    real: fn(f64, f64) -> f64,
) -> Option<Json> {
    if let (Some(a), Some(b)) = (left.integer(), right.integer())
        && let Some(result) = whole(a, b)
    {
        return Some(Json::whole(result));
    }
    Some(Json::computed(real(left.number()?, right.number()?)))
}

pub(super) fn add(session: &Session<'_>, left: &Json, right: &Json) -> Answer {
    match (left, right) {
        (Json::Null, other) | (other, Json::Null) => Ok(other.clone()),
        (Json::Text(a), Json::Text(b)) => {
            session.meter.text(a.len() + b.len())?;
            Ok(Json::text(format!("{a}{b}")))
        }
        (Json::List(a), Json::List(b)) => {
            session.meter.elements(a.content.len() + b.content.len())?;
            Json::list(a.content.iter().chain(&b.content).cloned().collect())
        }
        (Json::Object(a), Json::Object(b)) => {
            session.meter.elements(a.content.len() + b.content.len())?;
            let mut fields = a.content.clone();
            fields.extend(b.content.iter().map(|(key, value)| (Arc::clone(key), value.clone())));
            Json::object(fields)
        }
        _ => arithmetic(left, right, i64::checked_add, |a, b| a + b).map_or_else(|| refuse(left, right, "added"), Ok),
    }
}

pub(super) fn subtract(session: &Session<'_>, left: &Json, right: &Json) -> Answer {
    if let (Json::List(a), Json::List(b)) = (left, right) {
        let mut kept = Vec::new();
        for item in &a.content {
            let mut found = false;
            for unwanted in &b.content {
                found = found || compare(session, item, unwanted)?.is_eq();
            }
            if !found {
                session.meter.elements(1)?;
                kept.push(item.clone());
            }
        }
        return Json::list(kept);
    }
    arithmetic(left, right, i64::checked_sub, |a, b| a - b).map_or_else(|| refuse(left, right, "subtracted"), Ok)
}

fn multiply(session: &Session<'_>, left: &Json, right: &Json) -> Answer {
    match (left, right) {
        (Json::Text(text), Json::Number(_)) => {
            let count = right.number().unwrap_or(0.0);
            if count <= 0.0 {
                return Ok(Json::Null);
            }
            let count = count.max(1.0) as usize;
            session.meter.text(text.len().saturating_mul(count))?;
            Ok(Json::text(text.repeat(count)))
        }
        (Json::Object(a), Json::Object(b)) => {
            session.meter.elements(a.content.len() + b.content.len())?;
            let mut fields = a.content.clone();
            for (key, value) in &b.content {
                let merged = match (fields.get(key), value) {
                    (Some(old @ Json::Object(_)), Json::Object(_)) => multiply(session, &old.clone(), value)?,
                    _ => value.clone(),
                };
                fields.insert(Arc::clone(key), merged);
            }
            Json::object(fields)
        }
        _ => arithmetic(left, right, i64::checked_mul, |a, b| a * b)
            .map_or_else(|| refuse(left, right, "multiplied"), Ok),
    }
}

fn divide(session: &Session<'_>, left: &Json, right: &Json) -> Answer {
    if let (Json::Text(text), Json::Text(separator)) = (left, right) {
        return strings::split(session, text, separator);
    }
    if right.number() == Some(0.0) && left.number().is_some() {
        return refuse(left, right, "divided because the divisor is zero");
    }
    let exact = |a: i64, b: i64| if a.checked_rem(b) == Some(0) { a.checked_div(b) } else { None };
    arithmetic(left, right, exact, |a, b| a / b).map_or_else(|| refuse(left, right, "divided"), Ok)
}

fn remainder(left: &Json, right: &Json) -> Answer {
    let (Some(a), Some(b)) = (left.number(), right.number()) else { return refuse(left, right, "divided") };
    let (a, b) = (left.integer().unwrap_or(a as i64), right.integer().unwrap_or(b as i64));
    match a.checked_rem(b) {
        Some(rest) => Ok(Json::whole(rest)),
        None if b == 0 => refuse(left, right, "divided because the divisor is zero"),
        None => Ok(Json::whole(0)),
    }
}

fn rank(value: &Json) -> u8 {
    match value {
        Json::Null => 0,
        Json::Bool(false) => 1,
        Json::Bool(true) => 2,
        Json::Number(_) => 3,
        Json::Text(_) => 4,
        Json::List(_) => 5,
        Json::Object(_) => 6,
    }
}

/// The order of all values: null, false, true, numbers, texts, lists, objects.
pub(super) fn compare(session: &Session<'_>, left: &Json, right: &Json) -> Result<Ordering, Stop> {
    session.meter.steps(1)?;
    match (left, right) {
        (Json::Number(_), Json::Number(_)) => Ok(match (left.integer(), right.integer()) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => left.number().partial_cmp(&right.number()).unwrap_or(Ordering::Less),
        }),
        (Json::Text(a), Json::Text(b)) => {
            session.meter.steps(a.len().min(b.len()) as u64 / 64)?;
            Ok(a.cmp(b))
        }
        (Json::List(a), Json::List(b)) => {
            if Arc::ptr_eq(a, b) {
                return Ok(Ordering::Equal);
            }
            for (a, b) in a.content.iter().zip(&b.content) {
                let order = compare(session, a, b)?;
                if order.is_ne() {
                    return Ok(order);
                }
            }
            Ok(a.content.len().cmp(&b.content.len()))
        }
        (Json::Object(a), Json::Object(b)) => {
            if Arc::ptr_eq(a, b) {
                return Ok(Ordering::Equal);
            }
            compare_objects(session, &a.content, &b.content)
        }
        _ => Ok(rank(left).cmp(&rank(right))),
    }
}

fn compare_objects(session: &Session<'_>, a: &Fields, b: &Fields) -> Result<Ordering, Stop> {
    session.meter.elements(a.len() + b.len())?;
    let sorted = |fields: &Fields| {
        let mut keys: Vec<Arc<str>> = fields.keys().cloned().collect();
        keys.sort_unstable();
        keys
    };
    let (a_keys, b_keys) = (sorted(a), sorted(b));
    let order = a_keys.cmp(&b_keys);
    if order.is_ne() {
        return Ok(order);
    }
    for key in &a_keys {
        if let (Some(a), Some(b)) = (a.get(key), b.get(key)) {
            let order = compare(session, a, b)?;
            if order.is_ne() {
                return Ok(order);
            }
        }
    }
    Ok(Ordering::Equal)
}

/// Sorts by a key for each item.
pub(super) fn sort_pairs(session: &Session<'_>, pairs: &mut [(Json, Json)]) -> Result<(), Stop> {
    let mut failure = None;
    pairs.sort_by(|(a, _), (b, _)| match compare(session, a, b) {
        Ok(order) => order,
        Err(stop) => {
            failure.get_or_insert(stop);
            Ordering::Equal
        }
    });
    failure.map_or(Ok(()), Err)
}

/// The values inside a list or object.
pub(super) fn children(value: &Json) -> Result<Vec<Json>, Stop> {
    match value {
        Json::List(node) => Ok(node.content.clone()),
        Json::Object(node) => Ok(node.content.values().cloned().collect()),
        other => error(format!("Cannot iterate over {}", strings::describe(other))),
    }
}

/// The keys or positions inside a list or object; none in null.
pub(super) fn keys(value: &Json) -> Result<Vec<Json>, Stop> {
    match value {
        Json::List(node) => Ok((0..node.content.len()).map(|index| Json::whole(index as i64)).collect()),
        Json::Object(node) => Ok(node.content.keys().map(|key| Json::Text(Arc::clone(key))).collect()),
        Json::Null => Ok(Vec::new()),
        other => error(format!("Cannot iterate over {}", strings::describe(other))),
    }
}

pub(super) fn index(value: &Json, key: &Json) -> Answer {
    match (value, key) {
        (Json::Null, Json::Null | Json::Number(_) | Json::Text(_) | Json::Object(_)) => Ok(Json::Null),
        (Json::Object(node), Json::Text(key)) => Ok(node.content.get(key).cloned().unwrap_or(Json::Null)),
        (Json::List(node), Json::Number(_)) => {
            let place = position(key, node.content.len());
            Ok(place.and_then(|place| node.content.get(place)).cloned().unwrap_or(Json::Null))
        }
        (Json::List(node), Json::Object(range)) => {
            let bound = |name: &str| range.content.get(name).cloned().unwrap_or(Json::Null);
            let (from, to) = ends(node.content.len(), &bound("start"), &bound("end"));
            Json::list(node.content[from..to].to_vec())
        }
        (Json::List(_), Json::List(_)) => error("Cannot index array with array"),
        (value, Json::Text(key)) => error(format!("Cannot index {} with \"{key}\"", value.kind())),
        (value, key) => error(format!("Cannot index {} with {}", value.kind(), key.kind())),
    }
}

/// A position from the start, or from the end if it is negative.
fn position(key: &Json, length: usize) -> Option<usize> {
    let number = key.number()?.floor();
    if number < 0.0 { length.checked_sub((-number) as usize) } else { Some(number as usize) }
}

fn ends(length: usize, from: &Json, to: &Json) -> (usize, usize) {
    let clamp = |number: f64| {
        let number = if number < 0.0 { number + length as f64 } else { number };
        (number.max(0.0) as usize).min(length)
    };
    let from = from.number().map_or(0, |number| clamp(number.floor()));
    let to = to.number().map_or(length, |number| clamp(number.ceil()));
    (from, to.max(from))
}

pub(super) fn slice(session: &Session<'_>, value: &Json, from: &Json, to: &Json) -> Answer {
    for end in [from, to] {
        if !matches!(end, Json::Null | Json::Number(_)) {
            return error("Start and end indices of an array slice must be numbers");
        }
    }
    match value {
        Json::Null => Ok(Json::Null),
        Json::List(node) => {
            let (from, to) = ends(node.content.len(), from, to);
            session.meter.elements(to - from)?;
            Json::list(node.content[from..to].to_vec())
        }
        Json::Text(text) => {
            session.meter.text(text.len())?;
            let chars: Vec<char> = text.chars().collect();
            let (from, to) = ends(chars.len(), from, to);
            Ok(Json::text(chars[from..to].iter().collect::<String>()))
        }
        other => error(format!("Cannot index {} with object", other.kind())),
    }
}

/// A slice as a key in a path.
pub(super) fn range_key(from: &Json, to: &Json) -> Answer {
    Json::object(Fields::from_iter([(Arc::from("start"), from.clone()), (Arc::from("end"), to.clone())]))
}

pub(super) fn get_path(value: &Json, path: &[Json]) -> Answer {
    let mut current = value.clone();
    for key in path {
        if matches!(current, Json::Null) {
            return Ok(Json::Null);
        }
        current = index(&current, key)?;
    }
    Ok(current)
}

pub(super) fn set_path(session: &Session<'_>, value: &Json, path: &[Json], new: Json) -> Answer {
    let Some((key, rest)) = path.split_first() else { return Ok(new) };
    match (value, key) {
        (Json::Null | Json::Object(_), Json::Text(key)) => {
            let mut fields = match value {
                Json::Object(node) => node.content.clone(),
                _ => Fields::default(),
            };
            session.meter.elements(fields.len() + 1)?;
            let old = fields.get(key).cloned().unwrap_or(Json::Null);
            fields.insert(Arc::clone(key), set_path(session, &old, rest, new)?);
            Json::object(fields)
        }
        (Json::Null | Json::List(_), Json::Number(_)) => {
            let mut items = match value {
                Json::List(node) => node.content.clone(),
                _ => Vec::new(),
            };
            let Some(place) = position(key, items.len()) else { return error("Out of bounds negative array index") };
            if place > MAX_FILL {
                return error("Array index too large");
            }
            session.meter.elements(items.len().max(place) + 1)?;
            if items.len() <= place {
                items.resize(place + 1, Json::Null);
            }
            items[place] = set_path(session, &items[place], rest, new)?;
            Json::list(items)
        }
        (Json::Null | Json::List(_), Json::Object(range)) => {
            let items = match value {
                Json::List(node) => node.content.clone(),
                _ => Vec::new(),
            };
            let bound = |name: &str| range.content.get(name).cloned().unwrap_or(Json::Null);
            let (from, to) = ends(items.len(), &bound("start"), &bound("end"));
            let part = set_path(session, &Json::list(items[from..to].to_vec())?, rest, new)?;
            let Json::List(part) = part else { return error("A slice of an array can only be assigned another array") };
            session.meter.elements(items.len() + part.content.len())?;
            Json::list([&items[..from], &part.content, &items[to..]].concat())
        }
        (value, Json::Text(key)) => error(format!("Cannot index {} with \"{key}\"", value.kind())),
        (value, key) => error(format!("Cannot index {} with {}", value.kind(), key.kind())),
    }
}

/// Deletes the longest and last paths first, so that the others stay valid.
pub(super) fn delete_paths(session: &Session<'_>, value: &Json, paths: Vec<Vec<Json>>) -> Answer {
    let mut pairs = Vec::with_capacity(paths.len());
    for path in paths {
        session.meter.elements(path.len() + 1)?;
        pairs.push((Json::list(path)?, Json::Null));
    }
    sort_pairs(session, &mut pairs)?;
    let mut result = value.clone();
    for (path, _) in pairs.iter().rev() {
        if let Json::List(path) = path {
            result = delete_path(session, &result, &path.content)?;
        }
    }
    Ok(result)
}

fn delete_path(session: &Session<'_>, value: &Json, path: &[Json]) -> Answer {
    let Some((key, rest)) = path.split_first() else { return Ok(Json::Null) };
    if matches!(value, Json::Null) {
        return Ok(Json::Null);
    }
    if !rest.is_empty() {
        let inner = index(value, key)?;
        if matches!(inner, Json::Null) {
            return Ok(value.clone());
        }
        return set_path(session, value, std::slice::from_ref(key), delete_path(session, &inner, rest)?);
    }
    match (value, key) {
        (Json::Object(node), Json::Text(key)) => {
            session.meter.elements(node.content.len())?;
            let mut fields = node.content.clone();
            fields.shift_remove(key);
            Json::object(fields)
        }
        (Json::List(node), Json::Number(_)) => {
            session.meter.elements(node.content.len())?;
            let mut items = node.content.clone();
            if let Some(place) = position(key, items.len()).filter(|place| *place < items.len()) {
                items.remove(place);
            }
            Json::list(items)
        }
        (Json::List(node), Json::Object(range)) => {
            let bound = |name: &str| range.content.get(name).cloned().unwrap_or(Json::Null);
            let (from, to) = ends(node.content.len(), &bound("start"), &bound("end"));
            session.meter.elements(node.content.len())?;
            Json::list([&node.content[..from], &node.content[to..]].concat())
        }
        (value, key) => error(format!("Cannot delete field of {} with {}", value.kind(), key.kind())),
    }
}

/// The number as one of the kinds that math functions give.
pub(super) fn real(number: f64) -> Json {
    Json::Number(Value::Double(number))
}
