//! Values of users: one JSON text each.

use std::collections::BTreeMap;

use serde_json::Value;
use windhover_proto::{reasons, v1 as proto};
use windhover_types::{Error, ErrorKind, JsonMap, Label};

use crate::error::{Result, invalid};

/// Labels of a request at most.
const MAX_LABELS: usize = 100;
const MAX_LABEL_KEY: usize = 256;
const MAX_LABEL_VALUE: usize = 1_024;

pub(crate) fn json<T: serde::Serialize + ?Sized>(value: &T) -> proto::Json {
    // Values out of the store and the engine have text keys and finite numbers: they always print.
    proto::Json { text: serde_json::to_string(value).unwrap_or_else(|_| "null".into()) }
}

/// An object, absent when there is nothing in it.
pub(crate) fn object(map: &JsonMap) -> Option<proto::Json> {
    (!map.is_empty()).then(|| json(map))
}

/// The inputs of a request.
///
/// # Errors
/// MESSAGE_TOO_LARGE above `limit` bytes together; INVALID_INPUT with every text that is no JSON.
pub(crate) fn inputs(inputs: BTreeMap<String, proto::Json>, limit: usize) -> Result<JsonMap> {
    let size: usize = inputs.iter().map(|(id, value)| id.len() + value.text.len()).sum();
    if size > limit {
        let error = Error::new(
            ErrorKind::ResourceExhausted,
            reasons::MESSAGE_TOO_LARGE,
            format!("the inputs have {size} bytes together, the limit is {limit}; pass larger values as files"),
        );
        return Err(error.with("limit", limit).field("inputs", format!("{size} bytes together; at most {limit}")));
    }
    let mut values = JsonMap::new();
    let mut wrong = Vec::new();
    for (id, value) in inputs {
        match serde_json::from_str::<Value>(&value.text) {
            Ok(value) => {
                values.insert(id, value);
            }
            Err(error) => wrong.push((id, format!("not a JSON text: {error}"))),
        }
    }
    if wrong.is_empty() {
        return Ok(values);
    }
    let text = wrong.iter().map(|(id, why)| format!("input `{id}` is {why}")).collect::<Vec<_>>().join("\n");
    let error = Error::new(ErrorKind::InvalidArgument, reasons::INVALID_INPUT, text);
    Err(wrong.into_iter().fold(error, |error, (id, why)| error.field(format!("inputs.{id}"), why)))
}

/// The labels of a request that creates an execution.
///
/// # Errors
/// LABEL_RESERVED for `system.` keys but `system.correlationId`; INVALID_ARGUMENT for empty or long keys and values,
/// and for too many.
pub(crate) fn request_labels(labels: Vec<proto::Label>) -> Result<Vec<Label>> {
    let labels = any_labels(labels)?;
    let reserved = |label: &Label| label.is_system() && label.key != Label::CORRELATION_ID;
    match labels.iter().position(reserved) {
        Some(index) => Err(reserved_label(index, &labels[index].key)),
        None => Ok(labels),
    }
}

/// The labels of a request, `system.` ones as well.
///
/// # Errors
/// INVALID_ARGUMENT for empty or long keys and values, and for too many.
pub(crate) fn any_labels(labels: Vec<proto::Label>) -> Result<Vec<Label>> {
    if labels.len() > MAX_LABELS {
        return Err(invalid("labels", format!("at most {MAX_LABELS}; these are {}", labels.len())));
    }
    for (index, label) in labels.iter().enumerate() {
        if label.key.is_empty() || label.key.chars().count() > MAX_LABEL_KEY {
            return Err(invalid(&format!("labels[{index}].key"), format!("1 to {MAX_LABEL_KEY} characters")));
        }
        if label.value.is_empty() || label.value.chars().count() > MAX_LABEL_VALUE {
            return Err(invalid(&format!("labels[{index}].value"), format!("1 to {MAX_LABEL_VALUE} characters")));
        }
    }
    Ok(labels.into_iter().map(|label| Label::new(label.key, label.value)).collect())
}

/// LABEL_RESERVED for a label of a request.
pub(crate) fn reserved_label(index: usize, key: &str) -> Error {
    let why = format!("`{key}` is reserved: labels that begin with `system.` are set by Windhover alone");
    Error::new(ErrorKind::InvalidArgument, reasons::LABEL_RESERVED, format!("labels[{index}]: {why}"))
        .with("label", key)
        .field(format!("labels[{index}].key"), why)
}

pub(crate) fn labels(labels: &[Label]) -> Vec<proto::Label> {
    labels.iter().map(|label| proto::Label { key: label.key.clone(), value: label.value.clone() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(key: &str, value: &str) -> proto::Label {
        proto::Label { key: key.into(), value: value.into() }
    }

    #[test]
    fn reserved_empty_and_long_labels_are_refused_by_name() {
        let refused = |labels: Vec<proto::Label>| {
            let error = request_labels(labels).unwrap_err();
            (error.reason, error.fields[0].field.clone())
        };
        assert_eq!(
            refused(vec![label("a", "b"), label("system.from", "x")]),
            (reasons::LABEL_RESERVED, "labels[1].key".into())
        );
        assert_eq!(refused(vec![label("", "b")]), (reasons::INVALID_ARGUMENT, "labels[0].key".into()));
        assert_eq!(refused(vec![label("a", "")]), (reasons::INVALID_ARGUMENT, "labels[0].value".into()));
        assert_eq!(
            refused(vec![label("a", &"x".repeat(1_025))]),
            (reasons::INVALID_ARGUMENT, "labels[0].value".into())
        );
        assert_eq!(refused(vec![label("a", "b"); 101]), (reasons::INVALID_ARGUMENT, "labels".into()));
        assert_eq!(request_labels(vec![label("system.correlationId", "x")]).unwrap().len(), 1);
    }

    #[test]
    fn inputs_are_json_texts_within_a_limit() {
        let given = |text: &str| {
            BTreeMap::from([
                ("a".to_owned(), proto::Json { text: text.into() }),
                ("b".to_owned(), proto::Json { text: "[".into() }),
            ])
        };
        let error = inputs(given(""), 100).unwrap_err();
        assert_eq!(error.reason, reasons::INVALID_INPUT);
        assert_eq!(error.fields.iter().map(|field| field.field.as_str()).collect::<Vec<_>>(), ["inputs.a", "inputs.b"]);
        let error = inputs(given("\"0123456789\""), 10).unwrap_err();
        assert_eq!((error.reason, error.metadata["limit"].as_str()), (reasons::MESSAGE_TOO_LARGE, "10"));
    }
}
