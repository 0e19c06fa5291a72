//! `execution.*` and `log.PurgeLogs` as far as they are about other executions (flow model reference 5.1, 5.2, the same
//! of 1.x).

mod count;
mod logs;
mod purge;
mod resume;

use chrono::DateTime;
use serde_json::Value;
use windhover_expression::Environment;
use windhover_flow::{Properties, PropertyError, text_of};
use windhover_types::{State, Timestamp};

pub(crate) use count::Count;
pub(crate) use logs::PurgeLogs;
pub(crate) use purge::PurgeExecutions;
pub(crate) use resume::Resume;

use crate::{NamespaceScope, TaskContext, TaskError};

/// The date and time with a zone that a property holds, as `2024-01-31T12:00:00+01:00[Europe/Paris]`.
async fn date(context: &TaskContext, property: &str) -> Result<Option<Timestamp>, TaskError> {
    let Some(text) = context.text(property).await? else { return Ok(None) };
    parse_date(&text).map(Some).ok_or_else(|| {
        TaskError::failed(format!("{property}: `{text}` is no date and time with a zone, as 2024-01-31T12:00:00Z"))
    })
}

pub(crate) fn parse_date(text: &str) -> Option<Timestamp> {
    // The name of the zone says nothing beyond the offset before it.
    let plain = text.trim().split('[').next()?;
    let without_seconds = || DateTime::parse_from_str(&plain.replace('Z', "+00:00"), "%Y-%m-%dT%H:%M%:z");
    let at = DateTime::parse_from_rfc3339(plain).or_else(|_| without_seconds()).ok()?;
    Some(Timestamp::from_utc(at.to_utc()))
}

/// As [`date`], and it must be there.
async fn required_date(context: &TaskContext, property: &str) -> Result<Timestamp, TaskError> {
    let found = date(context, property).await?;
    found.ok_or_else(|| TaskError::failed(format!("{property}: must not be null")))
}

/// `namespace` and `flowId`: without a flow all namespaces below are meant too.
async fn scope(context: &TaskContext) -> Result<(Option<NamespaceScope>, Option<String>), TaskError> {
    let flow_id = context.text("flowId").await?;
    let namespace = context.text("namespace").await?;
    let scope = namespace.map(|namespace| NamespaceScope { namespace, below: flow_id.is_none() });
    Ok((scope, flow_id))
}

/// `states`; empty: any.
async fn states(context: &TaskContext) -> Result<Vec<State>, TaskError> {
    let names = list(context, "states").await?.unwrap_or_default();
    let state = |name: &String| {
        let state = name.trim().to_ascii_uppercase().parse();
        state.map_err(|_| TaskError::failed(format!("states: '{name}' is no state of an execution")))
    };
    names.iter().map(state).collect()
}

/// A list of texts.
async fn list(context: &TaskContext, property: &str) -> Result<Option<Vec<String>>, TaskError> {
    let found = |properties: &Properties, environment: &Environment<'_>| -> Result<Option<Vec<Value>>, PropertyError> {
        properties.list(property, environment)
    };
    let items = context.render(found).await?;
    Ok(items.map(|items| items.iter().map(text_of).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_in_the_forms_that_they_are_printed_in() {
        let at = parse_date("2024-05-01T09:00:00Z");
        assert!(at.is_some());
        for text in [
            "2024-05-01T11:00:00+02:00",
            "2024-05-01T11:00:00.000000+02:00[Europe/Paris]",
            " 2024-05-01T09:00:00.000Z[UTC] ",
            "2024-05-01T09:00Z",
            "2024-05-01T11:00+02:00",
        ] {
            assert_eq!(parse_date(text), at, "{text}");
        }
        for text in ["", "2024-05-01", "2024-05-01T09:00:00", "tomorrow"] {
            assert_eq!(parse_date(text), None, "{text}");
        }
    }
}
