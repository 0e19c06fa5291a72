//! Nodes of a document.

use serde_json::Value;
use windhover_types::JsonMap;

use super::scalar;

/// Line and column, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Position {
    pub(crate) line: u32,
    pub(crate) column: u32,
}

/// A value and where it begins.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) at: Position,
    pub(crate) content: Content,
}

#[derive(Debug, Clone)]
pub(crate) enum Content {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One entry of a map.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_at: Position,
    pub(crate) value: Node,
}

/// A scalar as it was written.
#[derive(Debug, Clone)]
pub(crate) struct Scalar {
    pub(crate) text: String,
    /// Neither quoted nor tagged as text: what it is depends on how it looks.
    pub(crate) plain: bool,
}

impl Scalar {
    pub(crate) fn value(&self) -> Value {
        if self.plain { scalar::resolve(&self.text) } else { Value::String(self.text.clone()) }
    }
}

impl Node {
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.content, Content::Scalar(scalar) if scalar.value().is_null())
    }

    /// The entries of a map; none for what is no map.
    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.content {
            Content::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The value of a key; null counts as absent.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|entry| entry.key == key).map(|entry| &entry.value).filter(|node| !node.is_null())
    }

    /// The text of a scalar as it was written, null excluded.
    pub(crate) fn scalar_text(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar(scalar) if !self.is_null() => Some(&scalar.text),
            _ => None,
        }
    }

    /// A tree that is not part of a source; everything in it stands at `at`.
    pub(crate) fn of_value(value: &Value, at: Position) -> Self {
        let scalar = |text: String, plain| Content::Scalar(Scalar { text, plain });
        let content = match value {
            Value::String(text) => scalar(text.clone(), false),
            Value::Null | Value::Bool(_) | Value::Number(_) => scalar(value.to_string(), true),
            Value::Array(items) => Content::List(items.iter().map(|item| Self::of_value(item, at)).collect()),
            Value::Object(map) => {
                let entry = |(key, value): (&String, &Value)| Entry {
                    key: key.clone(),
                    key_at: at,
                    value: Self::of_value(value, at),
                };
                Content::Map(map.iter().map(entry).collect())
            }
        };
        Self { at, content }
    }

    /// Says that the whole tree stands at `at`.
    pub(crate) fn place(&mut self, at: Position) {
        self.at = at;
        match &mut self.content {
            Content::Scalar(_) => {}
            Content::List(items) => items.iter_mut().for_each(|item| item.place(at)),
            Content::Map(entries) => entries.iter_mut().for_each(|entry| {
                entry.key_at = at;
                entry.value.place(at);
            }),
        }
    }

    pub(crate) fn to_value(&self) -> Value {
        match &self.content {
            Content::Scalar(scalar) => scalar.value(),
            Content::List(items) => Value::Array(items.iter().map(Self::to_value).collect()),
            Content::Map(entries) => Value::Object(
                entries.iter().map(|entry| (entry.key.clone(), entry.value.to_value())).collect::<JsonMap>(),
            ),
        }
    }

    /// What it is, for messages.
    pub(crate) fn describe(&self) -> &'static str {
        match &self.content {
            Content::List(_) => "a list",
            Content::Map(_) => "a map",
            Content::Scalar(scalar) => match scalar.value() {
                Value::Null => "null",
                Value::Bool(_) => "a boolean",
                Value::Number(_) => "a number",
                _ => "a text",
            },
        }
    }
}
