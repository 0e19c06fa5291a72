//! From what was given to the value of an input: conversion and validation (flow model reference 2.2, 1.x reference
//! 2.2).

use std::time::Duration;

use chrono::{DateTime, NaiveDate, NaiveTime, SecondsFormat, Timelike, Utc};
use fancy_regex::Regex;
use serde_json::Value;
use std::sync::LazyLock;

use super::{Bounds, InputKind, InputType};
use crate::property::text_of;
use crate::{format_duration, parse_duration, yaml};

/// Characters of local part and domain as the reference lists them (flow model reference 2.2, below the table).
static EMAIL: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\A[A-Za-z0-9_!#$%&\x{2019}*+/=?`{|}~^.-]+@[A-Za-z0-9.-]+\z").expect("a constant pattern")
});

/// Converts and validates; every violation is one line of the error.
///
/// # Errors
/// The cause, to follow "Invalid value for input `id`. Cause: ".
pub(crate) fn convert(kind: &InputKind, value: &Value, required: bool) -> Result<Value, String> {
    match kind {
        InputKind::String { validator } | InputKind::Secret { validator } => {
            let text = text_of(value);
            match validator {
                Some(pattern) if !pattern.matches(&text) => {
                    Err(format!("it must match the pattern `{}`", pattern.source()))
                }
                _ => Ok(Value::String(text)),
            }
        }
        InputKind::Int(bounds) => {
            let number = int(value)?;
            more_or_less(bounds, &i64::from(number), &|bound| bound.to_string(), "it")?;
            Ok(number.into())
        }
        InputKind::Float(bounds) => {
            let number = float(value)?;
            more_or_less(bounds, &number, &|bound| bound.to_string(), "it")?;
            Ok(number.into())
        }
        InputKind::Bool => Ok(Value::Bool(bool_of(value))),
        InputKind::DateTime(bounds) => {
            let at = instant(value)?;
            after_or_before(bounds, &at, &instant_text)?;
            Ok(Value::String(instant_text(&at)))
        }
        InputKind::Date(bounds) => {
            let date = date(value)?;
            after_or_before(bounds, &date, &|bound| bound.to_string())?;
            Ok(Value::String(date.to_string()))
        }
        InputKind::Time(bounds) => {
            let time = time(value)?;
            after_or_before(bounds, &time, &time_text)?;
            Ok(Value::String(time_text(&time)))
        }
        InputKind::Duration(bounds) => {
            let duration = duration(value)?;
            more_or_less(bounds, &duration, &|bound| format_duration(*bound), "It")?;
            // As it is stored by the reference: a decimal number of seconds.
            Ok(duration.as_secs_f64().into())
        }
        InputKind::File { allowed_extensions } => file(value, allowed_extensions),
        InputKind::Json => json(value),
        InputKind::Yaml => yaml_value(value),
        InputKind::Uri => uri(value),
        InputKind::Email => email(value),
        InputKind::Array { item } => elements(*item, value),
        InputKind::Select(select) => {
            let text = text_of(value);
            if required && !select.allow_custom_value {
                one_of(&text, &select.values)?;
            }
            Ok(Value::String(text))
        }
        InputKind::MultiSelect { select, item } => {
            let list = elements(*item, value)?;
            if !select.allow_custom_value {
                for element in list.as_array().into_iter().flatten() {
                    one_of(&text_of(element), &select.values)?;
                }
            }
            Ok(list)
        }
        InputKind::Enum { values } => {
            let text = text_of(value);
            if required {
                one_of(&text, values)?;
            }
            Ok(Value::String(text))
        }
    }
}

/// Converts a flow output by its type. Types with options have none here: choices are texts, elements of arrays stay
/// as they are.
///
/// # Errors
/// The cause.
pub(crate) fn convert_output(output: InputType, value: &Value) -> Result<Value, String> {
    match output {
        InputType::Array | InputType::MultiSelect => list_of(output, value).map(Value::Array),
        // A SECRET is sealed by the caller.
        InputType::Select | InputType::Enum | InputType::Secret => Ok(Value::String(text_of(value))),
        plain => convert_element(plain, value),
    }
}

/// Converts one element, by a type without options.
///
/// # Errors
/// The cause.
pub(crate) fn convert_element(item: InputType, value: &Value) -> Result<Value, String> {
    let kind = match item {
        InputType::Int => InputKind::Int(Bounds::default()),
        InputType::Float => InputKind::Float(Bounds::default()),
        InputType::Bool => InputKind::Bool,
        InputType::DateTime => InputKind::DateTime(Bounds::default()),
        InputType::Date => InputKind::Date(Bounds::default()),
        InputType::Time => InputKind::Time(Bounds::default()),
        InputType::Duration => InputKind::Duration(Bounds::default()),
        InputType::File => InputKind::File { allowed_extensions: Vec::new() },
        InputType::Json => InputKind::Json,
        InputType::Yaml => InputKind::Yaml,
        InputType::Uri => InputKind::Uri,
        InputType::Email => InputKind::Email,
        InputType::String
        | InputType::Secret
        | InputType::Array
        | InputType::Select
        | InputType::MultiSelect
        | InputType::Enum => InputKind::String { validator: None },
    };
    convert(&kind, value, true)
}

/// Why a literal cannot be the default of an input, if it cannot: found when the flow is validated (flow model 1.x
/// reference 12, row FM 2.1). Choices that are only known at run time are not looked at.
pub(crate) fn literal_problem(kind: &InputKind, value: &Value, required: bool) -> Option<String> {
    let undecided = match kind {
        InputKind::Select(select) | InputKind::MultiSelect { select, .. } => select.expression.is_some(),
        InputKind::File { .. } => true,
        _ => false,
    };
    if undecided { None } else { convert(kind, value, required).err() }
}

fn expected(what: &str, value: &Value) -> String {
    format!("Expected `{what}` but received `{}`", text_of(value))
}

fn int(value: &Value) -> Result<i32, String> {
    let number = match value {
        Value::Number(number) => number.as_i64().and_then(|number| i32::try_from(number).ok()),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    number.ok_or_else(|| expected("INT", value))
}

fn float(value: &Value) -> Result<f64, String> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse::<f64>().ok(),
        _ => None,
    };
    number.filter(|number| number.is_finite()).ok_or_else(|| expected("FLOAT", value))
}

/// Every text but `true`, in any letter case, is false.
fn bool_of(value: &Value) -> bool {
    match value {
        Value::Bool(bool) => *bool,
        other => text_of(other).eq_ignore_ascii_case("true"),
    }
}

pub(super) fn instant(value: &Value) -> Result<DateTime<Utc>, String> {
    value
        .as_str()
        .and_then(|text| DateTime::parse_from_rfc3339(text).ok())
        .map(|at| at.with_timezone(&Utc))
        .ok_or_else(|| expected("DATETIME", value))
}

pub(super) fn date(value: &Value) -> Result<NaiveDate, String> {
    let strict = |text: &str| text.len() == 10;
    value
        .as_str()
        .filter(|text| strict(text))
        .and_then(|text| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok())
        .ok_or_else(|| expected("DATE", value))
}

pub(super) fn time(value: &Value) -> Result<NaiveTime, String> {
    let parse =
        |text: &str| ["%H:%M", "%H:%M:%S%.f"].iter().find_map(|format| NaiveTime::parse_from_str(text, format).ok());
    value
        .as_str()
        .filter(|text| text.len() >= 5 && text.as_bytes().get(2) == Some(&b':'))
        .and_then(parse)
        .ok_or_else(|| expected("TIME", value))
}

pub(super) fn duration(value: &Value) -> Result<Duration, String> {
    match value {
        Value::String(_) | Value::Number(_) => parse_duration(&text_of(value)).map_err(|_| expected("DURATION", value)),
        _ => Err(expected("DURATION", value)),
    }
}

fn instant_text(at: &DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

fn time_text(time: &NaiveTime) -> String {
    if time.nanosecond() == 0 { time.format("%H:%M:%S").to_string() } else { time.format("%H:%M:%S%.f").to_string() }
}

fn file(value: &Value, allowed: &[String]) -> Result<Value, String> {
    let text = text_of(value);
    if text.starts_with("nsfile://") || text.starts_with("file://") {
        return Err(format!("`{text}`: namespace files and files of the server are not supported yet"));
    }
    // Any other text was a path on the server's disk to the reference; nobody may read that.
    if !text.starts_with("kestra://") {
        return Err(format!("`{text}` is no file: expected a `kestra://` URI"));
    }
    let lower = text.to_lowercase();
    if !allowed.is_empty() && !allowed.iter().any(|extension| lower.ends_with(&extension.to_lowercase())) {
        return Err(format!("File type not allowed. Accepted extensions: {}", allowed.join(", ")));
    }
    Ok(Value::String(text))
}

fn json(value: &Value) -> Result<Value, String> {
    match value {
        Value::String(text) => {
            serde_json::from_str(text).map_err(|error| format!("{}: {error}", expected("JSON", value)))
        }
        native => Ok(native.clone()),
    }
}

fn yaml_value(value: &Value) -> Result<Value, String> {
    match value {
        Value::String(text) => yaml::to_value(text).map_err(|error| format!("{}: {error}", expected("YAML", value))),
        native => Ok(native.clone()),
    }
}

fn uri(value: &Value) -> Result<Value, String> {
    let text = text_of(value);
    let scheme = text.split_once(':').filter(|(_, rest)| !rest.is_empty()).map(|(scheme, _)| scheme);
    let good = scheme.is_some_and(|scheme| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
    });
    if good && !text.contains(char::is_whitespace) {
        Ok(Value::String(text))
    } else {
        Err("Invalid URI format.".to_owned())
    }
}

fn email(value: &Value) -> Result<Value, String> {
    let text = text_of(value);
    if text.is_empty() || EMAIL.is_match(&text).unwrap_or(false) {
        return Ok(Value::String(text));
    }
    Err(expected("EMAIL", value))
}

fn list_of(kind: InputType, value: &Value) -> Result<Vec<Value>, String> {
    match value {
        Value::Array(items) => Ok(items.clone()),
        Value::String(text) => serde_json::from_str(text).map_err(|_| expected(kind.as_str(), value)),
        _ => Err(expected(kind.as_str(), value)),
    }
}

fn elements(item: InputType, value: &Value) -> Result<Value, String> {
    let convert = |element: &Value| {
        convert_element(item, element)
            .map_err(|_| format!("Unable to parse array element as `{}` on `{}`", item.as_str(), text_of(element)))
    };
    list_of(InputType::Array, value)?.iter().map(convert).collect::<Result<_, _>>().map(Value::Array)
}

fn one_of(text: &str, values: &[String]) -> Result<(), String> {
    if values.iter().any(|value| value == text) {
        return Ok(());
    }
    Err(format!("it must match the values `[{}]`", values.join(", ")))
}

fn more_or_less<T: PartialOrd>(
    bounds: &Bounds<T>,
    value: &T,
    show: &dyn Fn(&T) -> String,
    it: &str,
) -> Result<(), String> {
    between(bounds, value, show, &format!("{it} must be more than"), &format!("{it} must be less than"))
}

fn after_or_before<T: PartialOrd>(bounds: &Bounds<T>, value: &T, show: &dyn Fn(&T) -> String) -> Result<(), String> {
    between(bounds, value, show, "it must be after", "it must be before")
}

fn between<T: PartialOrd>(
    bounds: &Bounds<T>,
    value: &T,
    show: &dyn Fn(&T) -> String,
    low: &str,
    high: &str,
) -> Result<(), String> {
    let mut causes = Vec::new();
    if let Some(bound) = bounds.low.as_ref().filter(|bound| value < *bound) {
        causes.push(format!("{low} `{}`", show(bound)));
    }
    if let Some(bound) = bounds.high.as_ref().filter(|bound| value > *bound) {
        causes.push(format!("{high} `{}`", show(bound)));
    }
    if causes.is_empty() { Ok(()) } else { Err(causes.join("\n")) }
}
