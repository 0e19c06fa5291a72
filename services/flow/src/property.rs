//! One property of a task, rendered and converted to what the task wants of it.

use std::time::Duration;

use serde_json::Value;
use windhover_expression::{Environment, ExpressionError};
use windhover_types::{JsonMap, Level};

use crate::{Properties, parse_duration};

/// Why a property has no value. Never holds what was rendered: it may be secret.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PropertyError {
    #[error("{property}: must not be null")]
    Missing { property: String },
    #[error("{property}: {source}")]
    Render { property: String, source: ExpressionError },
    #[error("{property}: expected {expected}, but got {got}")]
    Kind { property: String, expected: &'static str, got: String },
}

impl PropertyError {
    /// The fact that has to be loaded before the property can be rendered, if that is all that is missing.
    pub fn needs(&self) -> Option<&str> {
        match self {
            Self::Render { source: ExpressionError::Needs(key), .. } => Some(key),
            _ => None,
        }
    }
}

/// What a value is, without saying its content.
pub(crate) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text that is none",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

/// The text of a scalar, as Java would print it; lists and maps as compact JSON, null as nothing.
pub fn text_of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

type Found<T> = Result<Option<T>, PropertyError>;

/// Getters of single properties: absent, null, or rendered to nothing by null is `None`. Typed properties are
/// rendered to text and then converted (expression reference 17).
impl Properties {
    fn rendered(&self, name: &str, environment: &Environment<'_>) -> Found<Value> {
        let Some(property) = self.get(name) else { return Ok(None) };
        let value = property
            .render(environment)
            .map_err(|source| PropertyError::Render { property: name.to_owned(), source })?;
        Ok((!value.is_null()).then_some(value))
    }

    fn converted<T>(
        &self,
        name: &str,
        environment: &Environment<'_>,
        expected: &'static str,
        convert: impl FnOnce(&Value) -> Option<T>,
    ) -> Found<T> {
        let Some(value) = self.rendered(name, environment)? else { return Ok(None) };
        match convert(&value) {
            Some(converted) => Ok(Some(converted)),
            None => Err(PropertyError::Kind { property: name.to_owned(), expected, got: kind_of(&value).to_owned() }),
        }
    }

    /// As text; numbers, booleans, lists and maps as they print. A template that writes nothing but null is the empty
    /// text (expression reference 1.1: null only inside a structure).
    pub fn text(&self, name: &str, environment: &Environment<'_>) -> Found<String> {
        if let Some(Properties::Text(text)) = self.get(name) {
            let rendered = text.render(environment);
            return rendered.map(Some).map_err(|source| PropertyError::Render { property: name.to_owned(), source });
        }
        Ok(self.rendered(name, environment)?.map(|value| text_of(&value)))
    }

    /// As [`Self::text`], and must be there.
    pub fn required_text(&self, name: &str, environment: &Environment<'_>) -> Result<String, PropertyError> {
        self.text(name, environment)?.ok_or_else(|| PropertyError::Missing { property: name.to_owned() })
    }

    /// Rendered as a structure, whatever it is.
    pub fn value(&self, name: &str, environment: &Environment<'_>) -> Found<Value> {
        self.rendered(name, environment)
    }

    /// A text that is one expression keeps the type of its value.
    pub fn typed(&self, name: &str, environment: &Environment<'_>) -> Found<Value> {
        let Some(property) = self.get(name) else { return Ok(None) };
        let value = property
            .render_typed(environment)
            .map_err(|source| PropertyError::Render { property: name.to_owned(), source })?;
        Ok((!value.is_null()).then_some(value))
    }

    /// `true` or `false` in any letter case.
    pub fn bool(&self, name: &str, environment: &Environment<'_>) -> Found<bool> {
        self.converted(name, environment, "a boolean", |value| match value {
            Value::Bool(bool) => Some(*bool),
            Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
                "true" => Some(true),
                "false" | "" => Some(false),
                _ => None,
            },
            _ => None,
        })
    }

    /// A whole number of 64 bits.
    pub fn int(&self, name: &str, environment: &Environment<'_>) -> Found<i64> {
        self.converted(name, environment, "a whole number", |value| match value {
            Value::Number(number) => number.as_i64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        })
    }

    /// ISO-8601 or a number of seconds.
    pub fn duration(&self, name: &str, environment: &Environment<'_>) -> Found<Duration> {
        self.converted(name, environment, "a duration", |value| match value {
            Value::Number(_) | Value::String(_) => parse_duration(&text_of(value)).ok(),
            _ => None,
        })
    }

    /// A level of log lines.
    pub fn level(&self, name: &str, environment: &Environment<'_>) -> Found<Level> {
        self.converted(name, environment, "one of TRACE, DEBUG, INFO, WARN, ERROR", |value| {
            value.as_str().and_then(|text| text.trim().to_ascii_uppercase().parse().ok())
        })
    }

    /// A list, or a text that renders to a JSON list.
    pub fn list(&self, name: &str, environment: &Environment<'_>) -> Found<Vec<Value>> {
        self.converted(name, environment, "a list", |value| match value {
            Value::Array(items) => Some(items.clone()),
            Value::String(text) => serde_json::from_str(text).ok(),
            _ => None,
        })
    }

    /// A map, or a text that renders to a JSON object.
    pub fn map(&self, name: &str, environment: &Environment<'_>) -> Found<JsonMap> {
        self.converted(name, environment, "a map", |value| match value {
            Value::Object(map) => Some(map.clone()),
            Value::String(text) => serde_json::from_str(text).ok(),
            _ => None,
        })
    }
}
