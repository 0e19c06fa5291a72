//! Printing in ordinary output and the plain text form (expression reference, sections 7.1 and 7.2).

use std::fmt::Write;

use super::json_text::Printer;
use super::{
    SpanText, Value, decimal_json, decimal_plain, instant_text, java_double, java_float, local_date_time_text,
    local_time_text, time, zoned_text,
};
use crate::error::Fault;

const MAX_DEPTH: u32 = 100;

impl Printer<'_> {
    /// Writes a value as ordinary output: collections as JSON text, null as nothing.
    pub(crate) fn output(&self, value: &Value, out: &mut String) -> Result<(), Fault> {
        match value {
            Value::Null => Ok(()),
            Value::Decimal(decimal) => self.add(out, &decimal_plain(decimal)),
            Value::List(_) | Value::Array(_) | Value::Set(_) | Value::Map(_) | Value::Json(_) | Value::Object(_) => {
                self.json(value, out)
            }
            other => self.plain(other, out),
        }
    }

    /// Writes the plain text form; null as nothing on its own and as `null` inside collections.
    pub(crate) fn plain(&self, value: &Value, out: &mut String) -> Result<(), Fault> {
        if value.is_null() { Ok(()) } else { self.plain_inner(value, out, 0) }
    }

    /// Writes the plain text form with null spelled out, as `+` and `join` do.
    pub(crate) fn plain_or_null(&self, value: &Value, out: &mut String) -> Result<(), Fault> {
        self.plain_inner(value, out, 0)
    }

    /// The plain text form as an own text.
    pub(crate) fn plain_text(&self, value: &Value) -> Result<String, Fault> {
        let mut out = String::new();
        self.plain(value, &mut out)?;
        Ok(out)
    }

    fn plain_inner(&self, value: &Value, out: &mut String, depth: u32) -> Result<(), Fault> {
        if depth > MAX_DEPTH {
            return Err(Fault::Limit("A value to be printed is nested too deeply".to_owned()));
        }
        match value {
            Value::Null => self.add(out, "null"),
            Value::Bool(value) => self.add(out, if *value { "true" } else { "false" }),
            Value::Int(value) => self.display(out, value),
            Value::Long(value) => self.display(out, value),
            Value::BigInt(value) => self.display(out, value),
            Value::Float(value) => self.add(out, &java_float(*value)),
            Value::Double(value) => self.add(out, &java_double(*value)),
            Value::Decimal(value) => self.add(out, &decimal_json(value)),
            Value::Char(value) => self.display(out, value),
            Value::Text(text) | Value::Markup(text) | Value::Uri(text) => self.add(out, text),
            Value::Instant(instant) => self.add(out, &instant_text(*instant)),
            Value::Zoned(zoned) => self.add(out, &zoned_text(zoned)),
            Value::LocalDateTime(local) => self.add(out, &local_date_time_text(*local)),
            Value::LocalDate(date) => self.add(out, &time::date_text(*date)),
            Value::LocalTime(time) => self.add(out, &local_time_text(*time)),
            Value::Duration(span) => self.display(out, SpanText(*span)),
            Value::Entry(entry) => {
                self.plain_inner(entry.key(), out, depth + 1)?;
                self.add(out, "=")?;
                self.plain_inner(entry.value(), out, depth + 1)
            }
            Value::Array(list) => {
                // the host prints an identity here that nobody can rely on
                let name = format!("[Ljava.lang.Object;@{:x}", list.len());
                self.add(out, &name)
            }
            Value::List(_) | Value::Set(_) | Value::Map(_) | Value::Json(_) | Value::Object(_) | Value::Loop(_) => {
                self.plain_collection(value, out, depth)
            }
        }
    }

    fn plain_collection(&self, value: &Value, out: &mut String, depth: u32) -> Result<(), Fault> {
        if let Some(items) = value.collection_items() {
            self.add(out, "[")?;
            for (index, item) in items.iter().enumerate() {
                self.add(out, if index == 0 { "" } else { ", " })?;
                self.plain_inner(item, out, depth + 1)?;
            }
            return self.add(out, "]");
        }
        self.add(out, "{")?;
        for (index, (key, item)) in value.entries()?.unwrap_or_default().iter().enumerate() {
            self.add(out, if index == 0 { "" } else { ", " })?;
            self.plain_inner(key, out, depth + 1)?;
            self.add(out, "=")?;
            self.plain_inner(item, out, depth + 1)?;
        }
        self.add(out, "}")
    }

    fn display(&self, out: &mut String, value: impl std::fmt::Display) -> Result<(), Fault> {
        let before = out.len();
        let _ = write!(out, "{value}");
        self.meter.steps(1 + (out.len() - before) as u64 / 64)?;
        self.meter.check_output(out.len())
    }
}
