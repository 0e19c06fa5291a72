//! Trees of literals and templates: the properties of tasks, and what else a flow writes freely.

use serde_json::Value;
use windhover_expression::{Environment, ExpressionError};
use windhover_types::JsonMap;

use crate::Text;

/// A tree whose texts are templates.
///
/// Texts without `{` are literals. The root of a task's properties is a map with canonical names (aliases are
/// resolved when the flow is compiled).
#[derive(Debug, Clone)]
pub enum Properties {
    Literal(Value),
    Text(Text),
    List(Vec<Properties>),
    Map(Vec<(Key, Properties)>),
}

/// A key of a map; keys are templates too.
#[derive(Debug, Clone)]
pub enum Key {
    Literal(String),
    Text(Text),
}

impl Key {
    pub fn new(source: &str) -> Self {
        if source.contains('{') { Self::Text(Text::new(source)) } else { Self::Literal(source.to_owned()) }
    }

    /// As it was written.
    pub fn source(&self) -> &str {
        match self {
            Self::Literal(text) => text,
            Self::Text(text) => text.source(),
        }
    }

    fn render(&self, environment: &Environment<'_>) -> Result<String, ExpressionError> {
        match self {
            Self::Literal(text) => Ok(text.clone()),
            Self::Text(text) => text.render(environment),
        }
    }
}

impl Default for Properties {
    fn default() -> Self {
        Self::Map(Vec::new())
    }
}

impl From<&Value> for Properties {
    fn from(value: &Value) -> Self {
        match value {
            Value::String(text) if text.contains('{') => Self::Text(Text::new(text)),
            Value::Array(items) => Self::List(items.iter().map(Self::from).collect()),
            Value::Object(map) => {
                Self::Map(map.iter().map(|(key, value)| (Key::new(key), Self::from(value))).collect())
            }
            other => Self::Literal(other.clone()),
        }
    }
}

impl Properties {
    /// The property of this name; absent and null are the same. `None` for what is no map.
    pub fn get(&self, name: &str) -> Option<&Properties> {
        match self {
            Self::Map(entries) => entries
                .iter()
                .find(|(key, _)| key.source() == name)
                .map(|(_, value)| value)
                .filter(|value| !value.is_null()),
            _ => None,
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Self::Literal(Value::Null))
    }

    /// As it was written, templates unrendered.
    pub fn source(&self) -> Value {
        match self {
            Self::Literal(value) => value.clone(),
            Self::Text(text) => Value::String(text.source().to_owned()),
            Self::List(items) => Value::Array(items.iter().map(Self::source).collect()),
            Self::Map(entries) => {
                Value::Object(entries.iter().map(|(key, value)| (key.source().to_owned(), value.source())).collect())
            }
        }
    }

    /// Renders the structure (expression reference 1.1): texts become texts, what is no text stays; of keys that
    /// become equal the first wins.
    ///
    /// # Errors
    /// The first text that cannot be rendered.
    pub fn render(&self, environment: &Environment<'_>) -> Result<Value, ExpressionError> {
        match self {
            Self::Literal(value) => Ok(value.clone()),
            Self::Text(text) => text.render_leaf(environment),
            Self::List(items) => {
                items.iter().map(|item| item.render(environment)).collect::<Result<_, _>>().map(Value::Array)
            }
            Self::Map(entries) => {
                let mut rendered = JsonMap::new();
                for (key, value) in entries {
                    let (key, value) = (key.render(environment)?, value.render(environment)?);
                    rendered.entry(key).or_insert(value);
                }
                Ok(Value::Object(rendered))
            }
        }
    }

    /// Renders with types: a text alone keeps the type of its expression; inside lists and maps as [`Self::render`].
    ///
    /// # Errors
    /// As [`Self::render`].
    pub fn render_typed(&self, environment: &Environment<'_>) -> Result<Value, ExpressionError> {
        match self {
            Self::Text(text) => text.render_typed(environment),
            other => other.render(environment),
        }
    }

    /// As [`Self::render`], and every text that is one expression keeps the type of its value, wherever it stands.
    ///
    /// # Errors
    /// The first that a text gives.
    pub fn render_values(&self, environment: &Environment<'_>) -> Result<Value, ExpressionError> {
        match self {
            Self::Literal(_) | Self::Text(_) => self.render_typed(environment),
            Self::List(items) => {
                items.iter().map(|item| item.render_values(environment)).collect::<Result<_, _>>().map(Value::Array)
            }
            Self::Map(entries) => {
                let mut rendered = JsonMap::new();
                for (key, value) in entries {
                    let (key, value) = (key.render(environment)?, value.render_values(environment)?);
                    rendered.entry(key).or_insert(value);
                }
                Ok(Value::Object(rendered))
            }
        }
    }

    /// Every text in the tree, keys included.
    pub fn each_text<'a>(&'a self, visit: &mut dyn FnMut(&'a Text)) {
        match self {
            Self::Literal(_) => {}
            Self::Text(text) => visit(text),
            Self::List(items) => items.iter().for_each(|item| item.each_text(visit)),
            Self::Map(entries) => {
                for (key, value) in entries {
                    if let Key::Text(text) = key {
                        visit(text);
                    }
                    value.each_text(visit);
                }
            }
        }
    }

    /// Whether the executor may render the whole tree ([`Text::is_pure`]).
    pub fn is_pure(&self) -> bool {
        let mut pure = true;
        self.each_text(&mut |text| pure &= text.is_pure());
        pure
    }
}
