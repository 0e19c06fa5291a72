//! Labels of flows and executions.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Id, JsonMap};

/// A label. Keys that start with `system.` are set by Windhover alone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Label {
    pub key: String,
    pub value: String,
}

impl Label {
    pub const SYSTEM_PREFIX: &'static str = "system.";
    pub const CORRELATION_ID: &'static str = "system.correlationId";
    pub const FROM: &'static str = "system.from";
    pub const READ_ONLY: &'static str = "system.readOnly";
    pub const RESTARTED: &'static str = "system.restarted";
    pub const REPLAY: &'static str = "system.replay";

    pub fn new(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self { key: key.into(), value: value.into() }
    }

    pub fn is_system(&self) -> bool {
        self.key.starts_with(Self::SYSTEM_PREFIX)
    }
}

/// All labels in order; of equal keys the last value stays, at the place of the first; empty keys and values go.
pub fn merge_labels<'a>(groups: impl IntoIterator<Item = &'a [Label]>) -> Vec<Label> {
    let mut merged: Vec<Label> = Vec::new();
    for label in groups.into_iter().flatten().filter(|label| !label.key.is_empty() && !label.value.is_empty()) {
        match merged.iter_mut().find(|have| have.key == label.key) {
            Some(have) => have.value.clone_from(&label.value),
            None => merged.push(label.clone()),
        }
    }
    merged
}

/// The value of a key.
pub fn label_value<'a>(labels: &'a [Label], key: &str) -> Option<&'a str> {
    labels.iter().rev().find(|label| label.key == key).map(|label| label.value.as_str())
}

/// The label that ties an execution to those that it causes.
pub fn correlation_id(id: Id) -> Label {
    Label::new(Label::CORRELATION_ID, id.to_string())
}

/// Labels as expressions see them: `a.b` is both `labels.a.b` and `labels['a.b']`.
pub fn nested_labels(labels: &[Label]) -> JsonMap {
    let mut root = JsonMap::new();
    for label in labels {
        let mut at = &mut root;
        let mut parts = label.key.split('.').peekable();
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                // A longer key that came before keeps its map: `a.b` and `a` cannot both be `labels.a`.
                if !matches!(at.get(part), Some(Value::Object(_))) {
                    at.insert(part.to_owned(), Value::String(label.value.clone()));
                }
                break;
            }
            let slot = at.entry(part).or_insert_with(|| Value::Object(JsonMap::new()));
            if !slot.is_object() {
                *slot = Value::Object(JsonMap::new());
            }
            match slot {
                Value::Object(map) => at = map,
                _ => break,
            }
        }
    }
    for label in labels.iter().filter(|label| label.key.contains('.')) {
        root.insert(label.key.clone(), Value::String(label.value.clone()));
    }
    root
}
