//! What can be read and called on values (expression reference, section 6).

use std::sync::Arc;

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, Timelike, Utc};

use super::Session;
use super::strings::{utf16_at, utf16_len, utf16_slice};
use crate::error::Fault;
use crate::filters::pattern;
use crate::value::{Entry, Set, Value, strictly_equal};

/// The members of Java objects that the engine refuses.
const DENIED: [&str; 5] = ["getClass", "class", "wait", "notify", "notifyAll"];

/// The value of `x.name` or `x[key]`, `None` if there is no such thing.
pub(super) fn attribute(session: &Session<'_>, value: &Value, key: &Value) -> Result<Option<Value>, Fault> {
    if value.is_null() {
        return Ok(None);
    }
    if value.is_map() {
        return match key {
            Value::Text(key) => entry(session, value, key),
            key => unusual_entry(value, key),
        };
    }
    if value.is_list() || matches!(value, Value::Array(_)) {
        if let Some(index) = index(key) {
            return Ok(usize::try_from(index).ok().and_then(|index| item(value, index)));
        }
        if matches!(value, Value::Array(_)) && !matches!(key, Value::Text(_)) {
            return Ok(None);
        }
    }
    match key {
        Value::Text(name) => member(session, value, name, &[]),
        _ => Ok(None),
    }
}

/// The entry of a map with this text as its key.
pub(super) fn entry(session: &Session<'_>, value: &Value, key: &str) -> Result<Option<Value>, Fault> {
    match value {
        Value::Map(map) => Ok(map.get(key).cloned()),
        Value::Json(document) => Ok(document.get(key)),
        Value::Object(object) => session.object_entry(object, key),
        Value::Loop(state) => Ok(state.get(key)),
        _ => Ok(None),
    }
}

/// A subscript that is no text: numbers are converted to the kind of the first key.
fn unusual_entry(value: &Value, key: &Value) -> Result<Option<Value>, Fault> {
    if key.is_null() {
        return Err(Fault::host("java.lang.NullPointerException: a map cannot be read with null"));
    }
    let first = match value {
        Value::Map(map) => map.first_key().cloned(),
        other if other.size()?.unwrap_or(0) > 0 => Some(Value::text("")),
        _ => None,
    };
    if !key.is_number() {
        return Ok(match value {
            Value::Map(map) => map.get_key(key).cloned(),
            _ => None,
        });
    }
    let Some(first) = first else {
        return Err(Fault::host("java.util.NoSuchElementException: an empty map cannot be read with a number"));
    };
    let number = super::as_f64(key).unwrap_or(f64::NAN);
    let converted = match first {
        Value::Int(_) => Value::Int(super::arithmetic::truncated(key).unwrap_or(0) as i32),
        Value::Long(_) => Value::Long(super::arithmetic::truncated(key).unwrap_or(0)),
        Value::Double(_) => Value::Double(number),
        Value::Float(_) => Value::Float(number as f32),
        other => {
            let key = crate::value::java_double(number);
            let key = key.strip_suffix(".0").unwrap_or(&key);
            return Err(Fault::host(format!("type class {} not supported for key {key}", other.class_name())));
        }
    };
    Ok(match value {
        Value::Map(map) => map.get_key(&converted).cloned(),
        _ => None,
    })
}

fn index(key: &Value) -> Option<i64> {
    match key {
        Value::Int(index) => Some(i64::from(*index)),
        Value::Long(index) => Some(*index),
        Value::Text(text) => text.parse::<i32>().ok().map(i64::from),
        _ => None,
    }
}

fn item(value: &Value, index: usize) -> Option<Value> {
    match value {
        Value::List(list) | Value::Array(list) => list.get(index),
        Value::Json(document) => document.index(index),
        _ => None,
    }
}

/// The result of `x.name(args)`, `None` if there is no such member for these arguments.
pub(super) fn call(session: &Session<'_>, value: &Value, name: &str, args: &[Value]) -> Result<Option<Value>, Fault> {
    if value.is_map() {
        return map_member(session, value, name, args);
    }
    member(session, value, name, args)
}

fn member(session: &Session<'_>, value: &Value, name: &str, args: &[Value]) -> Result<Option<Value>, Fault> {
    if DENIED.contains(&name) {
        return Err(Fault::engine(format!("Access to {name} method is denied for security reasons.")));
    }
    let found = match value {
        Value::Text(text) => text_member(session, text, name, args)?,
        Value::List(_) | Value::Json(_) => list_member(session, value, name, args)?,
        Value::Entry(entry) if args.is_empty() => entry_member(entry, name),
        Value::Instant(instant) if args.is_empty() => instant_member(*instant, name),
        Value::Zoned(zoned) if args.is_empty() => time_member(zoned.local(), name),
        Value::LocalDateTime(local) if args.is_empty() => time_member(*local, name),
        Value::LocalDate(date) if args.is_empty() => date_member(*date, name),
        _ => None,
    };
    if found.is_none() && name == "toString" && args.is_empty() && !value.is_null() {
        return Ok(Some(Value::text(session.printer().plain_text(value)?)));
    }
    Ok(found)
}

fn length(count: usize) -> Value {
    Value::Int(i32::try_from(count).unwrap_or(i32::MAX))
}

fn text_member(session: &Session<'_>, text: &Arc<str>, name: &str, args: &[Value]) -> Result<Option<Value>, Fault> {
    session.meter.text(text.len())?;
    let argument = |position: usize| args.get(position).and_then(Value::as_text);
    Ok(Some(match (name, args.len()) {
        ("length", 0) => length(utf16_len(text)),
        ("empty" | "isEmpty", 0) => Value::Bool(text.is_empty()),
        ("blank" | "isBlank", 0) => Value::Bool(text.chars().all(crate::syntax::is_java_whitespace)),
        ("toUpperCase", 0) => Value::text(text.to_uppercase()),
        ("toLowerCase", 0) => Value::text(text.to_lowercase()),
        ("trim", 0) => Value::text(text.trim_matches(|c| c <= ' ')),
        ("strip", 0) => Value::text(text.trim_matches(crate::syntax::is_java_whitespace)),
        ("toString", 0) => Value::Text(Arc::clone(text)),
        ("substring" | "charAt" | "repeat", _) => return numbered_member(session, text, name, args),
        (_, 1) => {
            let Some(other) = argument(0) else {
                return Ok(matches!(name, "equalsIgnoreCase").then_some(Value::Bool(false)));
            };
            match name {
                "startsWith" => Value::Bool(text.starts_with(&**other)),
                "endsWith" => Value::Bool(text.ends_with(&**other)),
                "concat" => {
                    session.meter.text(text.len() + other.len())?;
                    Value::text(format!("{text}{other}"))
                }
                "indexOf" => match text.find(&**other) {
                    Some(place) => length(utf16_len(&text[..place])),
                    None => Value::Int(-1),
                },
                "equalsIgnoreCase" => Value::Bool(text.to_lowercase() == other.to_lowercase()),
                "matches" => Value::Bool(pattern::matches_whole(session, text, other)?),
                "split" => Value::array(pattern::split(session, text, other, 0)?),
                _ => return Ok(None),
            }
        }
        ("replace", 2) => match (argument(0), argument(1)) {
            (Some(old), Some(new)) => Value::text(pattern::replace_literal(session, text, old, new)?),
            _ => return Ok(None),
        },
        ("replaceAll", 2) => match (argument(0), argument(1)) {
            (Some(old), Some(new)) => Value::text(pattern::replace(session, text, old, new)?),
            _ => return Ok(None),
        },
        _ => return Ok(None),
    }))
}

/// Members that take 32-bit numbers, which integer literals do not fit.
fn numbered_member(session: &Session<'_>, text: &str, name: &str, args: &[Value]) -> Result<Option<Value>, Fault> {
    let numbers: Option<Vec<i32>> =
        args.iter().map(|arg| if let Value::Int(number) = arg { Some(*number) } else { None }).collect();
    let Some(numbers) = numbers else { return Ok(None) };
    let out_of_bounds =
        || Fault::host("java.lang.StringIndexOutOfBoundsException: the position is outside of the text");
    let place = |number: i32| usize::try_from(number).map_err(|_| out_of_bounds());
    let size = utf16_len(text);
    match (name, numbers.as_slice()) {
        ("substring", [from]) => {
            let from = place(*from)?;
            if from > size { Err(out_of_bounds()) } else { Ok(Some(Value::text(utf16_slice(text, from, size)))) }
        }
        ("substring", [from, to]) => {
            let (from, to) = (place(*from)?, place(*to)?);
            if from > to || to > size {
                Err(out_of_bounds())
            } else {
                Ok(Some(Value::text(utf16_slice(text, from, to))))
            }
        }
        ("charAt", [at]) => utf16_at(text, place(*at)?).map(|c| Some(Value::Char(c))).ok_or_else(out_of_bounds),
        ("repeat", [count]) => {
            let count = place(*count)?;
            session.meter.text(text.len().saturating_mul(count))?;
            Ok(Some(Value::text(text.repeat(count))))
        }
        _ => Ok(None),
    }
}

fn list_member(session: &Session<'_>, value: &Value, name: &str, args: &[Value]) -> Result<Option<Value>, Fault> {
    let size = value.size()?.unwrap_or(0);
    Ok(match (name, args) {
        ("size", []) => Some(length(size)),
        ("empty" | "isEmpty", []) => Some(Value::Bool(size == 0)),
        ("first" | "getFirst", []) => item(value, 0),
        ("last" | "getLast", []) => size.checked_sub(1).and_then(|last| item(value, last)),
        ("get", [Value::Int(index)]) => {
            let found = usize::try_from(*index).ok().and_then(|index| item(value, index));
            return found.map(Some).ok_or_else(|| Fault::host("java.lang.IndexOutOfBoundsException: no such element"));
        }
        ("indexOf", [wanted]) => {
            for (place, item) in value.list_items().iter().flat_map(|items| items.iter()).enumerate() {
                if strictly_equal(item, wanted, &session.meter)? {
                    return Ok(Some(length(place)));
                }
            }
            Some(Value::Int(-1))
        }
        _ => None,
    })
}

fn map_member(session: &Session<'_>, value: &Value, name: &str, args: &[Value]) -> Result<Option<Value>, Fault> {
    if DENIED.contains(&name) {
        return Err(Fault::engine(format!("Access to {name} method is denied for security reasons.")));
    }
    let find = |key: &Value| match key {
        Value::Text(key) => entry(session, value, key),
        key => Ok(match value {
            Value::Map(map) => map.get_key(key).cloned(),
            _ => None,
        }),
    };
    let entries = || value.entries().map(Option::unwrap_or_default);
    Ok(match (name, args) {
        ("size", []) => Some(length(value.size()?.unwrap_or(0))),
        ("isEmpty" | "empty", []) => Some(Value::Bool(value.size()?.unwrap_or(0) == 0)),
        ("get", [key]) => Some(find(key)?.unwrap_or(Value::Null)),
        ("getOrDefault", [key, default]) => Some(find(key)?.unwrap_or_else(|| default.clone())),
        ("containsKey", [key]) => Some(Value::Bool(find(key)?.is_some())),
        ("keySet", []) => Some(Value::Set(entries()?.into_iter().map(|(key, _)| key).collect::<Set>())),
        ("values", []) => Some(Value::list(entries()?.into_iter().map(|(_, value)| value).collect())),
        ("entrySet", []) => {
            Some(Value::Set(entries()?.into_iter().map(|(key, value)| Value::Entry(Entry::new(key, value))).collect()))
        }
        ("toString", []) => Some(Value::text(session.printer().plain_text(value)?)),
        _ => None,
    })
}

fn entry_member(entry: &Entry, name: &str) -> Option<Value> {
    match name {
        "key" | "getKey" => Some(entry.key().clone()),
        "value" | "getValue" => Some(entry.value().clone()),
        _ => None,
    }
}

/// The name without the prefix of a getter.
fn property(name: &str) -> String {
    match name.strip_prefix("get") {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_uppercase()) => {
            let mut chars = rest.chars();
            chars.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(chars).collect()
        }
        _ => name.to_owned(),
    }
}

fn instant_member(instant: DateTime<Utc>, name: &str) -> Option<Value> {
    match property(name).as_str() {
        "epochSecond" => Some(Value::Long(instant.timestamp())),
        "nano" => Some(Value::Int(i32::try_from(instant.timestamp_subsec_nanos()).unwrap_or(0))),
        "toEpochMilli" => Some(Value::Long(instant.timestamp_millis())),
        _ => None,
    }
}

fn number(value: u32) -> Option<Value> {
    i32::try_from(value).ok().map(Value::Int)
}

fn time_member(local: NaiveDateTime, name: &str) -> Option<Value> {
    match property(name).as_str() {
        "hour" => number(local.hour()),
        "minute" => number(local.minute()),
        "second" => number(local.second()),
        "nano" => number(local.nanosecond() % 1_000_000_000),
        _ => date_member(local.date(), name),
    }
}

fn date_member(date: NaiveDate, name: &str) -> Option<Value> {
    const DAYS: [&str; 7] = ["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY"];
    const MONTHS: [&str; 12] = [
        "JANUARY",
        "FEBRUARY",
        "MARCH",
        "APRIL",
        "MAY",
        "JUNE",
        "JULY",
        "AUGUST",
        "SEPTEMBER",
        "OCTOBER",
        "NOVEMBER",
        "DECEMBER",
    ];
    match property(name).as_str() {
        "year" => Some(Value::Int(date.year())),
        "monthValue" => number(date.month()),
        "month" => MONTHS.get(date.month0() as usize).map(Value::text),
        "dayOfMonth" => number(date.day()),
        "dayOfYear" => number(date.ordinal()),
        "dayOfWeek" => DAYS.get(date.weekday().num_days_from_monday() as usize).map(Value::text),
        _ => None,
    }
}
