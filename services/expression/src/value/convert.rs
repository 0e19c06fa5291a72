//! To and from `serde_json` values.

use std::sync::Arc;

use num_bigint::BigInt;
use serde_json::{Map as JsonMap, Number, Value as Json};

use super::document::scalar;
use super::{Document, Printer, Value};
use crate::error::{ExpressionError, Fault};
use crate::limits::{Limits, Meter};

const MAX_DEPTH: u32 = 200;
/// Longer numbers are refused; they cost more than they are worth.
const MAX_DIGITS: usize = 1_000;

impl Value {
    /// A value that reads this document in place. Whole numbers that fit 32 bits are int32, other whole numbers int64.
    pub fn from_shared_json(document: Arc<Json>) -> Self {
        scalar(&document).unwrap_or_else(|| Self::Json(Document::new(document)))
    }

    /// The same from a borrowed document, which is copied once.
    pub fn from_json(document: &Json) -> Self {
        scalar(document).unwrap_or_else(|| Self::Json(Document::new(Arc::new(document.clone()))))
    }

    /// The value as JSON with nothing lost that JSON can say: entries that are null stay. Other kinds than JSON's become what section
    /// 7.4 of the expression reference says (texts for dates, seconds for durations). Numbers that a JSON number of `serde_json` cannot
    /// hold (bigint, NaN) become texts; so do decimals that a float would change.
    ///
    /// # Errors
    /// A value nested too deeply or too large, or a lazy object that fails or needs a fact.
    pub fn to_json(&self) -> Result<Json, ExpressionError> {
        self.json_with(true)
    }

    /// The value as JSON as the language prints it: entries whose value is null are left out at any depth.
    ///
    /// # Errors
    /// As [`Self::to_json`].
    pub fn to_printed_json(&self) -> Result<Json, ExpressionError> {
        self.json_with(false)
    }

    fn json_with(&self, keep_nulls: bool) -> Result<Json, ExpressionError> {
        let meter = Meter::new(&Limits::default());
        let converter = Converter { printer: Printer::utc(&meter), keep_nulls };
        converter.convert(self, 0).map_err(|fault| fault.into_error(""))
    }
}

struct Converter<'a> {
    printer: Printer<'a>,
    keep_nulls: bool,
}

impl Converter<'_> {
    fn convert(&self, value: &Value, depth: u32) -> Result<Json, Fault> {
        self.printer.meter.elements(1)?;
        if depth > MAX_DEPTH {
            return Err(Fault::Limit("A value is nested too deeply".to_owned()));
        }
        if let Value::Json(document) = value
            && document.is_unchanged()
            && self.keep_nulls
        {
            return Ok(document.json().clone());
        }
        if let Some(items) = value.items() {
            return items.iter().map(|item| self.convert(item, depth + 1)).collect::<Result<_, _>>().map(Json::Array);
        }
        if let Some(entries) = value.entries()? {
            return self.object(entries, depth);
        }
        Ok(match value {
            Value::Null => Json::Null,
            Value::Bool(value) => Json::Bool(*value),
            Value::Int(value) => Json::from(*value),
            Value::Long(value) => Json::from(*value),
            Value::BigInt(value) => {
                u64::try_from(value.as_ref()).map_or_else(|_| Json::String(value.to_string()), Json::from)
            }
            Value::Float(value) => {
                // by way of the shortest digits, so that 3.14 stays 3.14
                let double = value.to_string().parse().unwrap_or(f64::from(*value));
                Number::from_f64(double).map_or_else(|| Json::String(super::java_float(*value)), Json::Number)
            }
            Value::Double(value) => {
                Number::from_f64(*value).map_or_else(|| Json::String(super::java_double(*value)), Json::Number)
            }
            Value::Decimal(value) => {
                let text = super::decimal_json(value);
                let exact = text.parse::<f64>().ok().filter(|double| double.to_string() == super::decimal_plain(value));
                exact.and_then(Number::from_f64).map_or(Json::String(text), Json::Number)
            }
            Value::Duration(span) => {
                let seconds = span.json().parse().ok().and_then(Number::from_f64);
                seconds.map_or(Json::Null, Json::Number)
            }
            Value::Entry(entry) => return self.object(vec![(entry.key().clone(), entry.value().clone())], depth),
            Value::Text(text) | Value::Markup(text) | Value::Uri(text) => Json::String(text.to_string()),
            Value::Char(value) => Json::String(value.to_string()),
            other => {
                let quoted = self.printer.json_text(other)?;
                Json::String(quoted.trim_matches('"').to_owned())
            }
        })
    }

    fn object(&self, entries: Vec<(Value, Value)>, depth: u32) -> Result<Json, Fault> {
        let mut object = JsonMap::with_capacity(entries.len());
        for (key, value) in entries {
            if value.is_null() && !self.keep_nulls {
                continue;
            }
            let key = match &key {
                Value::Text(key) => key.to_string(),
                key => self.printer.plain_text(key)?,
            };
            object.insert(key, self.convert(&value, depth + 1)?);
        }
        Ok(Json::Object(object))
    }
}

/// The value of a number in JSON text: int32, int64 or bigint without a point or exponent, else float64.
pub(crate) fn from_json_number_text(text: &str) -> Option<Value> {
    if text.len() > MAX_DIGITS {
        return None;
    }
    if text.contains(['.', 'e', 'E']) {
        return text.parse().ok().map(Value::Double);
    }
    if let Ok(value) = text.parse::<i64>() {
        return Some(Value::whole(value));
    }
    text.parse::<BigInt>().ok().map(|value| Value::BigInt(Arc::new(value)))
}
