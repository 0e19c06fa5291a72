//! To and from the values of the expression language.

use std::sync::Arc;

use super::eval::Stop;
use super::value::{Fields, Json};
use crate::error::Fault;
use crate::eval::Session;
use crate::json;
use crate::value::Value;

const MAX_DEPTH: u32 = 140;

/// A value as JSON: null entries of maps are dropped, dates become texts.
pub(super) fn from_value(session: &Session<'_>, value: &Value, depth: u32) -> Result<Json, Fault> {
    session.meter.elements(1)?;
    if depth > MAX_DEPTH {
        return Err(Fault::Limit("The input of the jq program is nested too deeply".to_owned()));
    }
    let fault = |stop: Stop| match stop {
        Stop::Fault(fault) => fault,
        _ => Fault::host("the input cannot be converted"),
    };
    if let Some(items) = value.items() {
        let items = items.iter().map(|item| from_value(session, item, depth + 1)).collect::<Result<_, _>>()?;
        return Json::list(items).map_err(fault);
    }
    let entries = match value {
        Value::Entry(entry) => Some(vec![(entry.key().clone(), entry.value().clone())]),
        other => other.entries()?,
    };
    if let Some(entries) = entries {
        let mut fields = Fields::default();
        for (key, value) in entries.iter().filter(|(_, value)| !value.is_null()) {
            let key = session.printer().plain_text(key)?;
            fields.insert(Arc::from(key), from_value(session, value, depth + 1)?);
        }
        return Json::object(fields).map_err(fault);
    }
    Ok(match value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Text(text) | Value::Uri(text) => Json::Text(Arc::clone(text)),
        number if number.is_number() => Json::Number(number.clone()),
        other => {
            let text = session.printer().json_text(other)?;
            match json::parse_first(&text) {
                Ok(Value::Text(text)) => Json::Text(text),
                Ok(number) => Json::Number(number),
                Err(_) => Json::text(text),
            }
        }
    })
}

pub(super) fn to_value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => number.clone(),
        Json::Text(text) => Value::Text(Arc::clone(text)),
        Json::List(node) => Value::list(node.content.iter().map(to_value).collect()),
        Json::Object(node) => Value::Map(
            node.content.iter().map(|(key, value)| (Value::Text(Arc::clone(key)), to_value(value))).collect(),
        ),
    }
}
