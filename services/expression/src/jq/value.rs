//! Values of jq programs.

use std::sync::Arc;

use indexmap::IndexMap;

use super::eval::Stop;
use crate::error::Fault;
use crate::value::Value;

/// Values nested deeper are refused.
const MAX_DEPTH: u32 = 150;

pub(super) type Fields = IndexMap<Arc<str>, Json, ahash::RandomState>;

#[derive(Clone, Debug)]
pub(super) enum Json {
    Null,
    Bool(bool),
    /// One of the number kinds of [`Value`].
    Number(Value),
    Text(Arc<str>),
    List(Arc<Node<Vec<Json>>>),
    Object(Arc<Node<Fields>>),
}

/// A collection that knows how deep it is.
#[derive(Clone, Debug)]
pub(super) struct Node<T> {
    pub(super) content: T,
    depth: u32,
}

impl Json {
    pub(super) fn text(text: impl AsRef<str>) -> Self {
        Self::Text(Arc::from(text.as_ref()))
    }

    pub(super) fn whole(number: i64) -> Self {
        Self::Number(Value::whole(number))
    }

    /// The result of arithmetic: whole numbers are whole again.
    pub(super) fn computed(number: f64) -> Self {
        if number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0 {
            Self::whole(number as i64)
        } else {
            Self::Number(Value::Double(number))
        }
    }

    pub(super) fn list(items: Vec<Json>) -> Result<Self, Stop> {
        let depth = deeper(items.iter())?;
        Ok(Self::List(Arc::new(Node { content: items, depth })))
    }

    pub(super) fn object(fields: Fields) -> Result<Self, Stop> {
        let depth = deeper(fields.values())?;
        Ok(Self::Object(Arc::new(Node { content: fields, depth })))
    }

    fn depth(&self) -> u32 {
        match self {
            Self::List(node) => node.depth,
            Self::Object(node) => node.depth,
            _ => 0,
        }
    }

    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => crate::eval::as_f64(number),
            _ => None,
        }
    }

    /// The number if it is a whole one of 64 bits.
    pub(super) fn integer(&self) -> Option<i64> {
        match self {
            Self::Number(Value::Int(number)) => Some(i64::from(*number)),
            Self::Number(Value::Long(number)) => Some(*number),
            _ => None,
        }
    }

    pub(super) fn is_true(&self) -> bool {
        !matches!(self, Self::Null | Self::Bool(false))
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Number(_) => "number",
            Self::Text(_) => "string",
            Self::List(_) => "array",
            Self::Object(_) => "object",
        }
    }
}

fn deeper<'a>(children: impl Iterator<Item = &'a Json>) -> Result<u32, Stop> {
    let depth = children.map(Json::depth).max().unwrap_or(0) + 1;
    if depth > MAX_DEPTH {
        return Err(Stop::Fault(Fault::Limit("A value of the jq program is nested too deeply".to_owned())));
    }
    Ok(depth)
}
