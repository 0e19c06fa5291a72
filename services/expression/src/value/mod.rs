//! The values of the language (expression reference, section 4).

mod collections;
mod convert;
mod document;
mod equality;
mod json_text;
mod number;
mod plain;
mod time;

use std::fmt;
use std::sync::Arc;

use bigdecimal::BigDecimal;
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use num_bigint::BigInt;

use crate::error::{Fault, Interrupt};

pub use collections::{Entry, List, Map, Set};
pub(crate) use convert::from_json_number_text;
pub(crate) use document::ChangedLists;
pub use document::Document;
pub(crate) use equality::strictly_equal;
pub(crate) use json_text::{Printer, write_json_string};
pub(crate) use number::{decimal_json, decimal_plain, java_double, java_float};
pub use time::{Span, Zone, Zoned};
pub(crate) use time::{SpanText, instant_text, local_date_time_text, local_time_text, offset_text, zoned_text};
pub(crate) use time::{grouped_fraction, iso_local, iso_offset};

/// A map that is loaded on demand, for example the outputs of task runs. Answers are remembered for the rest of the evaluation.
pub trait Object: Send + Sync {
    /// The entry with this key, `None` if there is none.
    fn get(&self, key: &str) -> Result<Option<Value>, Interrupt>;

    /// All entries in order; called only if a template needs the map as a whole.
    fn entries(&self) -> Result<Vec<(String, Value)>, Interrupt>;

    /// The number of entries, if that is known without loading them.
    fn length(&self) -> Option<usize> {
        None
    }
}

/// A value of the language. Cloning is cheap: at most a reference counter.
#[derive(Clone)]
pub enum Value {
    /// `null`.
    Null,
    /// A truth value.
    Bool(bool),
    /// A 32-bit whole number: from JSON and YAML data.
    Int(i32),
    /// A 64-bit whole number: literals and results of arithmetic.
    Long(i64),
    /// A whole number of any size.
    BigInt(Arc<BigInt>),
    /// A 32-bit floating point number.
    Float(f32),
    /// A 64-bit floating point number.
    Double(f64),
    /// A decimal number of any precision, with its scale.
    Decimal(Arc<BigDecimal>),
    /// A single character; never equal to a text.
    Char(char),
    /// A text.
    Text(Arc<str>),
    /// The result of a macro: a text that is equal to no text.
    Markup(Arc<str>),
    /// A URI.
    Uri(Arc<str>),
    /// A list.
    List(List),
    /// An array: the result of `split`.
    Array(List),
    /// A set: the keys of a map.
    Set(Set),
    /// A map.
    Map(Map),
    /// One entry of a map.
    Entry(Entry),
    /// A list or map inside a shared JSON document, read in place. Never a scalar.
    Json(Document),
    /// A map that is loaded on demand.
    Object(Arc<dyn Object>),
    /// A point in time.
    Instant(DateTime<Utc>),
    /// A date and time with a zone.
    Zoned(Zoned),
    /// A date and time without a zone.
    LocalDateTime(NaiveDateTime),
    /// A date.
    LocalDate(NaiveDate),
    /// A time of day.
    LocalTime(NaiveTime),
    /// A length of time.
    Duration(Span),
    /// The variable `loop`.
    Loop(LoopState),
}

/// Where a `for` loop stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoopState {
    /// The iteration, from 0.
    pub index: u32,
    /// The number of iterations.
    pub length: u32,
}

impl LoopState {
    pub(crate) fn get(self, name: &str) -> Option<Value> {
        let number = |value: u32| Value::Int(i32::try_from(value).unwrap_or(i32::MAX));
        Some(match name {
            "index" => number(self.index),
            "length" => number(self.length),
            "revindex" => number(self.length.saturating_sub(self.index + 1)),
            "first" => Value::Bool(self.index == 0),
            "last" => Value::Bool(self.index + 1 == self.length),
            _ => return None,
        })
    }

    /// The entries in the order in which they are printed.
    pub(crate) const NAMES: [&'static str; 5] = ["last", "length", "index", "revindex", "first"];
}

impl Value {
    /// A text.
    pub fn text(text: impl AsRef<str>) -> Self {
        Self::Text(Arc::from(text.as_ref()))
    }

    /// A list.
    pub fn list(items: Vec<Value>) -> Self {
        Self::List(List::new(items))
    }

    /// An array.
    pub fn array(items: Vec<Value>) -> Self {
        Self::Array(List::new(items))
    }

    /// A map with texts as keys.
    pub fn map<K: AsRef<str>>(entries: impl IntoIterator<Item = (K, Value)>) -> Self {
        Self::Map(entries.into_iter().map(|(key, value)| (Self::text(key), value)).collect())
    }

    /// A whole number as data has it: int32 if it fits, else int64.
    pub fn whole(value: i64) -> Self {
        i32::try_from(value).map_or(Self::Long(value), Self::Int)
    }

    /// Whether this is null.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Whether values are inside this one that have to be freed without recursion.
    fn is_nested(&self) -> bool {
        matches!(self, Self::List(_) | Self::Array(_) | Self::Set(_) | Self::Map(_) | Self::Entry(_))
    }

    /// Whether typed rendering joins this value to a text (section 7.3).
    pub(crate) fn is_scalar(&self) -> bool {
        matches!(self, Self::Text(_) | Self::Char(_) | Self::Bool(_)) || self.is_number()
    }

    pub(crate) fn is_number(&self) -> bool {
        matches!(
            self,
            Self::Int(_) | Self::Long(_) | Self::BigInt(_) | Self::Float(_) | Self::Double(_) | Self::Decimal(_)
        )
    }

    pub(crate) fn is_map(&self) -> bool {
        match self {
            Self::Map(_) | Self::Object(_) | Self::Loop(_) => true,
            Self::Json(document) => !document.is_list(),
            _ => false,
        }
    }

    pub(crate) fn is_list(&self) -> bool {
        match self {
            Self::List(_) => true,
            Self::Json(document) => document.is_list(),
            _ => false,
        }
    }

    /// The text of a text or markup.
    pub(crate) fn as_text(&self) -> Option<&Arc<str>> {
        match self {
            Self::Text(text) | Self::Markup(text) => Some(text),
            _ => None,
        }
    }

    /// Elements of a list only.
    pub(crate) fn list_items(&self) -> Option<Arc<Vec<Value>>> {
        match self {
            Self::List(list) => Some(list.snapshot()),
            Self::Json(document) if document.is_list() => Some(Arc::new(document.items())),
            _ => None,
        }
    }

    /// Elements of a list or an array.
    pub(crate) fn sequence_items(&self) -> Option<Arc<Vec<Value>>> {
        match self {
            Self::Array(list) => Some(list.snapshot()),
            other => other.list_items(),
        }
    }

    /// Elements of a list or a set, which the language calls collections.
    pub(crate) fn collection_items(&self) -> Option<Arc<Vec<Value>>> {
        match self {
            Self::Set(set) => Some(Arc::new(set.iter().cloned().collect())),
            other => other.list_items(),
        }
    }

    /// Elements of a list, a set or an array.
    pub(crate) fn items(&self) -> Option<Arc<Vec<Value>>> {
        match self {
            Self::Set(set) => Some(Arc::new(set.iter().cloned().collect())),
            other => other.sequence_items(),
        }
    }

    /// Entries of a map of any representation.
    pub(crate) fn entries(&self) -> Result<Option<Vec<(Value, Value)>>, Fault> {
        Ok(Some(match self {
            Self::Map(map) => map.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
            Self::Object(object) => {
                object.entries()?.into_iter().map(|(key, value)| (Self::text(key), value)).collect()
            }
            Self::Json(document) if !document.is_list() => {
                document.entries().into_iter().map(|(key, value)| (Self::Text(key), value)).collect()
            }
            Self::Loop(state) => {
                LoopState::NAMES.iter().map(|name| (Self::text(name), state.get(name).unwrap_or(Self::Null))).collect()
            }
            _ => return Ok(None),
        }))
    }

    /// The number of elements or entries of a collection or map.
    pub(crate) fn size(&self) -> Result<Option<usize>, Fault> {
        Ok(Some(match self {
            Self::List(list) | Self::Array(list) => list.len(),
            Self::Set(set) => set.len(),
            Self::Map(map) => map.len(),
            Self::Json(document) => document.len(),
            Self::Loop(_) => LoopState::NAMES.len(),
            Self::Object(object) => match object.length() {
                Some(length) => length,
                None => object.entries()?.len(),
            },
            _ => return Ok(None),
        }))
    }

    /// The name of the kind as the language shows it (`className`, messages).
    pub(crate) fn class_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "java.lang.Boolean",
            Self::Int(_) => "java.lang.Integer",
            Self::Long(_) => "java.lang.Long",
            Self::BigInt(_) => "java.math.BigInteger",
            Self::Float(_) => "java.lang.Float",
            Self::Double(_) => "java.lang.Double",
            Self::Decimal(_) => "java.math.BigDecimal",
            Self::Char(_) => "java.lang.Character",
            Self::Text(_) => "java.lang.String",
            Self::Markup(_) => "io.pebbletemplates.pebble.extension.escaper.SafeString",
            Self::Uri(_) => "java.net.URI",
            Self::List(_) => "java.util.ArrayList",
            Self::Array(_) => "[Ljava.lang.String;",
            Self::Set(_) => "java.util.LinkedHashSet",
            Self::Map(_) => "java.util.HashMap",
            Self::Object(_) => "java.util.LinkedHashMap",
            Self::Json(document) if document.is_list() => "java.util.ArrayList",
            Self::Json(_) => "java.util.LinkedHashMap",
            Self::Entry(_) => "java.util.Map$Entry",
            Self::Instant(_) => "java.time.Instant",
            Self::Zoned(_) => "java.time.ZonedDateTime",
            Self::LocalDateTime(_) => "java.time.LocalDateTime",
            Self::LocalDate(_) => "java.time.LocalDate",
            Self::LocalTime(_) => "java.time.LocalTime",
            Self::Duration(_) => "java.time.Duration",
            Self::Loop(_) => "java.util.HashMap",
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => formatter.write_str("Null"),
            Self::Bool(value) => write!(formatter, "Bool({value})"),
            Self::Int(value) => write!(formatter, "Int({value})"),
            Self::Long(value) => write!(formatter, "Long({value})"),
            Self::Text(value) => write!(formatter, "Text({value:?})"),
            Self::Object(_) => formatter.write_str("Object"),
            Self::List(list) => formatter.debug_tuple("List").field(&list.snapshot()).finish(),
            Self::Map(map) => formatter.debug_map().entries(map.iter()).finish(),
            Self::Json(document) => formatter.debug_tuple("Json").field(document).finish(),
            other => {
                let mut text = String::new();
                let meter = crate::limits::Meter::new(&crate::Limits::default());
                let _ = Printer::utc(&meter).plain(other, &mut text);
                write!(formatter, "{}({text})", other.class_name())
            }
        }
    }
}
