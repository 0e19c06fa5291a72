//! Texts: conversion, splitting, messages.

use super::eval::Stop;
use super::value::Json;
use crate::eval::Session;
use crate::value::{Value, decimal_json, java_double, java_float, write_json_string};

type Answer = Result<Json, Stop>;

/// The value as JSON text.
pub(super) fn to_json(session: &Session<'_>, value: &Json) -> Result<String, Stop> {
    let mut out = String::new();
    write(session, value, &mut out)?;
    session.meter.text(out.len())?;
    Ok(out)
}

/// A text as it is, anything else as JSON.
pub(super) fn to_text(session: &Session<'_>, value: &Json) -> Result<String, Stop> {
    match value {
        Json::Text(text) => Ok(text.to_string()),
        other => to_json(session, other),
    }
}

fn write(session: &Session<'_>, value: &Json, out: &mut String) -> Result<(), Stop> {
    session.meter.steps(1)?;
    session.meter.check_output(out.len())?;
    match value {
        Json::Null => out.push_str("null"),
        Json::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Json::Number(number) => out.push_str(&number_text(number)),
        Json::Text(text) => write_json_string(text, out),
        Json::List(node) => {
            out.push('[');
            for (index, item) in node.content.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(session, item, out)?;
            }
            out.push(']');
        }
        Json::Object(node) => {
            out.push('{');
            for (index, (key, item)) in node.content.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_json_string(key, out);
                out.push(':');
                write(session, item, out)?;
            }
            out.push('}');
        }
    }
    Ok(())
}

fn number_text(number: &Value) -> String {
    match number {
        Value::Int(number) => number.to_string(),
        Value::Long(number) => number.to_string(),
        Value::BigInt(number) => number.to_string(),
        Value::Decimal(number) => decimal_json(number),
        Value::Float(number) if number.is_finite() => java_float(*number),
        Value::Double(number) if number.is_finite() => java_double(*number),
        Value::Double(number) if number.is_infinite() => java_double(if *number > 0.0 { f64::MAX } else { f64::MIN }),
        _ => "null".to_owned(),
    }
}

/// The kind of a value with a short form of it, for messages.
pub(super) fn describe(value: &Json) -> String {
    match value {
        Json::Text(text) => format!("string (\"{}\")", text.chars().take(11).collect::<String>()),
        Json::Number(number) => format!("number ({})", number_text(number)),
        Json::Bool(value) => format!("boolean ({value})"),
        other => other.kind().to_owned(),
    }
}

/// The text of an error.
pub(super) fn message(error: &Json) -> String {
    match error {
        Json::Text(text) => text.to_string(),
        other => describe(other),
    }
}

/// The parts of a text between separators; none for the empty text.
pub(super) fn split(session: &Session<'_>, text: &str, separator: &str) -> Answer {
    session.meter.text(text.len())?;
    if text.is_empty() {
        return Json::list(Vec::new());
    }
    let parts: Vec<Json> = if separator.is_empty() {
        session.meter.elements(text.len())?;
        text.chars().map(|c| Json::text(c.to_string())).collect()
    } else {
        text.split(separator).map(Json::text).collect()
    };
    session.meter.elements(parts.len())?;
    Json::list(parts)
}
