//! Key-value stores: what expressions and tasks read and write (flow model reference 5.6 and 8.4, the same of 1.x).

pub(crate) mod patch;
mod purge;
mod tasks;

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use serde_json::Value as Json;
use windhover_expression::{KvAnswer, KvRequest, Span, Value};
use windhover_types::Tenant;

pub(crate) use purge::{PurgeKv, Versions, versions};
pub(crate) use tasks::{Delete, Get, GetKeys, Put, Set};

use crate::{KeyValueSource, KvFound, KvKind};

/// Looks a key up where a template asks for it.
///
/// # Errors
/// A sentence for the user.
pub async fn look_up(source: &dyn KeyValueSource, tenant: &Tenant, request: &KvRequest) -> Result<KvAnswer, String> {
    for namespace in &request.namespaces {
        match source.get(tenant, namespace, &request.key).await? {
            KvFound::Value { value, kind } => return Ok(KvAnswer::Found(typed(&value, kind))),
            KvFound::Expired => return Ok(KvAnswer::Expired),
            KvFound::Absent => {}
        }
    }
    let [named] = request.namespaces.as_slice() else { return Ok(KvAnswer::Absent) };
    if request.explicit && !is_above(named, &request.flow_namespace) && !source.namespace_exists(tenant, named).await? {
        return Ok(KvAnswer::NoSuchNamespace);
    }
    Ok(KvAnswer::Absent)
}

/// Whether it is the other one or a parent of it.
pub(crate) fn is_above(namespace: &str, other: &str) -> bool {
    other.strip_prefix(namespace).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The value with the type that it was stored with.
fn typed(value: &Json, kind: KvKind) -> Value {
    let text = value.as_str().unwrap_or_default();
    let as_it_is = || Value::from_json(value);
    match kind {
        KvKind::DateTime => match (text.parse::<DateTime<Utc>>(), text.parse::<NaiveDateTime>()) {
            (Ok(instant), _) => Value::Instant(instant),
            (_, Ok(local)) => Value::LocalDateTime(local),
            _ => as_it_is(),
        },
        KvKind::Date => text.parse::<NaiveDate>().map_or_else(|_| as_it_is(), Value::LocalDate),
        KvKind::Duration => Span::parse(text).map_or_else(as_it_is, Value::Duration),
        KvKind::String | KvKind::Number | KvKind::Boolean | KvKind::Json => as_it_is(),
    }
}

/// What a value is when nobody says (flow model reference 8.4).
pub fn inferred(value: &Json) -> KvKind {
    match value {
        Json::Null => KvKind::String,
        Json::Bool(_) => KvKind::Boolean,
        Json::Number(_) => KvKind::Number,
        Json::String(text) if Span::parse(text).is_some() => KvKind::Duration,
        Json::String(_) => KvKind::String,
        Json::Array(_) | Json::Object(_) => KvKind::Json,
    }
}
