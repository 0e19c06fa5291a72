//! JSON text as the language writes it (expression reference, section 7.4).

use serde_json::Value as Json;

use super::document::json_number;
use super::{Value, Zone, Zoned, decimal_json, instant_text, java_double, java_float, local_time_text, time};
use crate::error::Fault;
use crate::limits::Meter;

const MAX_DEPTH: u32 = 200;

/// Writes values as text and pays for it.
pub(crate) struct Printer<'a> {
    pub(crate) meter: &'a Meter,
    /// The server's zone, to which zoned date-times are converted inside JSON.
    pub(crate) zone: Zone,
}

impl<'a> Printer<'a> {
    /// A printer for a server in UTC.
    pub(crate) fn utc(meter: &'a Meter) -> Self {
        Self { meter, zone: Zone::default() }
    }
}

impl Printer<'_> {
    /// Appends a text, within the limits.
    pub(crate) fn add(&self, out: &mut String, text: &str) -> Result<(), Fault> {
        self.meter.steps(1 + text.len() as u64 / 64)?;
        out.push_str(text);
        self.meter.check_output(out.len())
    }

    /// Writes JSON text; entries whose value is null are left out.
    pub(crate) fn json(&self, value: &Value, out: &mut String) -> Result<(), Fault> {
        self.json_inner(value, out, 0)
    }

    /// JSON text as an own text.
    pub(crate) fn json_text(&self, value: &Value) -> Result<String, Fault> {
        let mut out = String::new();
        self.json(value, &mut out)?;
        Ok(out)
    }

    fn json_inner(&self, value: &Value, out: &mut String, depth: u32) -> Result<(), Fault> {
        if depth > MAX_DEPTH {
            return Err(Fault::Limit("A value to be printed is nested too deeply".to_owned()));
        }
        match value {
            Value::Null => self.add(out, "null"),
            Value::Bool(value) => self.add(out, if *value { "true" } else { "false" }),
            Value::Int(value) => self.add(out, &value.to_string()),
            Value::Long(value) => self.add(out, &value.to_string()),
            Value::BigInt(value) => self.add(out, &value.to_string()),
            Value::Float(value) => self.number(out, f64::from(*value).is_finite(), &java_float(*value)),
            Value::Double(value) => self.number(out, value.is_finite(), &java_double(*value)),
            Value::Decimal(value) => self.add(out, &decimal_json(value)),
            Value::Char(value) => self.json_string(&value.to_string(), out),
            Value::Text(text) | Value::Uri(text) => self.json_string(text, out),
            Value::Markup(_) => Err(Fault::engine("The result of a macro cannot be written as JSON")),
            Value::Instant(instant) => self.json_string(&instant_text(*instant), out),
            Value::Zoned(zoned) => {
                self.json_string(&time::iso_offset(&Zoned { instant: zoned.instant, zone: self.zone }), out)
            }
            Value::LocalDateTime(local) => self.json_string(&time::iso_local(*local), out),
            Value::LocalDate(date) => self.json_string(&time::date_text(*date), out),
            Value::LocalTime(time) => self.json_string(&local_time_text(*time), out),
            Value::Duration(span) => self.add(out, &span.json()),
            Value::Entry(entry) => {
                self.add(out, "{")?;
                self.member(entry.key(), entry.value(), out, depth)?;
                self.add(out, "}")
            }
            Value::Json(document) if document.is_unchanged() => self.raw_json(document.json(), out, 0),
            Value::Array(_) | Value::List(_) | Value::Set(_) => self.json_items(value, out, depth),
            Value::Json(document) if document.is_list() => self.json_items(value, out, depth),
            Value::Json(_) | Value::Map(_) | Value::Object(_) | Value::Loop(_) => self.json_entries(value, out, depth),
        }
    }

    fn number(&self, out: &mut String, finite: bool, text: &str) -> Result<(), Fault> {
        if finite { self.add(out, text) } else { self.json_string(text, out) }
    }

    fn json_items(&self, value: &Value, out: &mut String, depth: u32) -> Result<(), Fault> {
        self.add(out, "[")?;
        for (index, item) in value.items().iter().flat_map(|items| items.iter()).enumerate() {
            if index > 0 {
                out.push(',');
            }
            self.json_inner(item, out, depth + 1)?;
        }
        self.add(out, "]")
    }

    fn json_entries(&self, value: &Value, out: &mut String, depth: u32) -> Result<(), Fault> {
        self.add(out, "{")?;
        let mut first = true;
        for (key, item) in value.entries()?.unwrap_or_default() {
            if key.is_null() {
                return Err(Fault::engine(
                    "Null key for a Map not allowed in JSON (use a converting NullKeySerializer?)",
                ));
            }
            if item.is_null() {
                continue;
            }
            if !first {
                out.push(',');
            }
            first = false;
            self.member(&key, &item, out, depth)?;
        }
        self.add(out, "}")
    }

    fn member(&self, key: &Value, value: &Value, out: &mut String, depth: u32) -> Result<(), Fault> {
        match key {
            Value::Text(key) => self.json_string(key, out)?,
            key => self.json_string(&self.plain_text(key)?, out)?,
        }
        out.push(':');
        self.json_inner(value, out, depth + 1)
    }

    /// A subtree of a document, without building values.
    fn raw_json(&self, node: &Json, out: &mut String, depth: u32) -> Result<(), Fault> {
        if depth > MAX_DEPTH {
            return Err(Fault::Limit("A value to be printed is nested too deeply".to_owned()));
        }
        match node {
            Json::Array(items) => {
                self.add(out, "[")?;
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    self.raw_json(item, out, depth + 1)?;
                }
                self.add(out, "]")
            }
            Json::Object(entries) => {
                self.add(out, "{")?;
                for (index, (key, item)) in entries.iter().filter(|(_, item)| !item.is_null()).enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    self.json_string(key, out)?;
                    out.push(':');
                    self.raw_json(item, out, depth + 1)?;
                }
                self.add(out, "}")
            }
            Json::Null => self.add(out, "null"),
            Json::Bool(value) => self.add(out, if *value { "true" } else { "false" }),
            Json::String(text) => self.json_string(text, out),
            Json::Number(number) => self.json_inner(&json_number(number), out, depth),
        }
    }

    fn json_string(&self, text: &str, out: &mut String) -> Result<(), Fault> {
        self.meter.steps(1 + text.len() as u64 / 64)?;
        write_json_string(text, out);
        self.meter.check_output(out.len())
    }
}

/// Writes a quoted JSON string; only quotes, backslashes and control characters are escaped.
pub(crate) fn write_json_string(text: &str, out: &mut String) {
    out.reserve(text.len() + 2);
    out.push('"');
    let mut start = 0;
    for (place, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.push_str(&text[start..place]);
        start = place + 1;
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            0x08 => out.push_str("\\b"),
            0x09 => out.push_str("\\t"),
            0x0A => out.push_str("\\n"),
            0x0C => out.push_str("\\f"),
            0x0D => out.push_str("\\r"),
            other => out.push_str(&format!("\\u{other:04X}")),
        }
    }
    out.push_str(&text[start..]);
    out.push('"');
}
