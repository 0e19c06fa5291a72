//! Writing Ion text.

use std::fmt::Write;

use bigdecimal::BigDecimal;

use crate::error::Fault;
use crate::eval::Session;
use crate::value::{Value, iso_local, iso_offset, java_double, local_time_text};

const MAX_DEPTH: usize = 100;

/// The text of a value, without spaces; null entries are kept.
pub(crate) fn to_text(session: &Session<'_>, value: &Value) -> Result<String, Fault> {
    let mut writer = Writer { session, out: String::new() };
    writer.value(value, 0)?;
    session.meter.text(writer.out.len())?;
    Ok(writer.out)
}

/// A JSON value as one line of a file of items, without the line's end.
///
/// # Errors
/// It is nested too deeply.
pub fn item_line(value: &serde_json::Value) -> Result<String, String> {
    let mut line = String::new();
    json_item(value, 0, &mut line)?;
    Ok(line)
}

fn json_item(value: &serde_json::Value, depth: usize, out: &mut String) -> Result<(), String> {
    use serde_json::Value as Json;
    if depth > MAX_DEPTH {
        return Err("A value to be written as Ion is nested too deeply".to_owned());
    }
    match value {
        Json::Null => out.push_str("null"),
        Json::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Json::Number(number) => match number.as_f64() {
            Some(double) if number.is_f64() => out.push_str(&float(double)),
            _ => out.push_str(&number.to_string()),
        },
        Json::String(text) => quoted(text, '"', out),
        Json::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                json_item(item, depth + 1, out)?;
            }
            out.push(']');
        }
        Json::Object(map) => {
            out.push('{');
            for (index, (key, item)) in map.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                if is_identifier(key) {
                    out.push_str(key)
                } else {
                    quoted(key, '\'', out)
                }
                out.push(':');
                json_item(item, depth + 1, out)?;
            }
            out.push('}');
        }
    }
    Ok(())
}

struct Writer<'a, 's> {
    session: &'s Session<'a>,
    out: String,
}

impl Writer<'_, '_> {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Fault> {
        self.session.meter.steps(1)?;
        self.session.meter.check_output(self.out.len())?;
        if depth > MAX_DEPTH {
            return Err(Fault::Limit("A value to be written as Ion is nested too deeply".to_owned()));
        }
        if let Some(items) = value.items() {
            self.out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    self.out.push(',');
                }
                self.value(item, depth + 1)?;
            }
            self.out.push(']');
            return Ok(());
        }
        if let Some(entries) = value.entries()? {
            return self.fields(&entries, depth);
        }
        match value {
            Value::Entry(entry) => return self.fields(&[(entry.key().clone(), entry.value().clone())], depth),
            Value::Text(text) | Value::Markup(text) | Value::Uri(text) => quoted(text, '"', &mut self.out),
            Value::Char(c) => quoted(&c.to_string(), '"', &mut self.out),
            Value::Float(number) => self.out.push_str(&float(f64::from(*number))),
            Value::Double(number) => self.out.push_str(&float(*number)),
            Value::Decimal(number) => self.out.push_str(&decimal(number)),
            Value::Instant(instant) => {
                let text = instant.naive_utc().format("%Y-%m-%dT%H:%M:%S%.3fZ");
                let _ = write!(self.out, "{text}");
            }
            Value::Zoned(zoned) => self.annotated("ZonedDateTime", &iso_offset(zoned)),
            Value::LocalDateTime(local) => self.annotated("LocalDateTime", &iso_local(*local)),
            Value::LocalTime(time) => self.annotated("LocalTime", &local_time_text(*time)),
            Value::Null => self.out.push_str("null"),
            other => {
                let text = self.session.printer().json_text(other)?;
                self.out.push_str(text.trim_matches('"'));
            }
        }
        Ok(())
    }

    fn fields(&mut self, entries: &[(Value, Value)], depth: usize) -> Result<(), Fault> {
        self.out.push('{');
        for (index, (key, value)) in entries.iter().enumerate() {
            if index > 0 {
                self.out.push(',');
            }
            let key = self.session.printer().plain_text(key)?;
            if is_identifier(&key) {
                self.out.push_str(&key)
            } else {
                quoted(&key, '\'', &mut self.out)
            }
            self.out.push(':');
            self.value(value, depth + 1)?;
        }
        self.out.push('}');
        Ok(())
    }

    fn annotated(&mut self, annotation: &str, text: &str) {
        let _ = write!(self.out, "{annotation}::\"{text}\"");
    }
}

fn is_identifier(text: &str) -> bool {
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '$'));
    starts
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '$'))
        && !matches!(text, "null" | "true" | "false" | "nan")
}

fn quoted(text: &str, quote: char, out: &mut String) {
    out.push(quote);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\\' => out.push_str("\\\\"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c if u32::from(c) < 0x20 || c == '\u{7f}' => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push(quote);
}

/// `2.5e0`; numbers that Java prints with an exponent keep that form.
fn float(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "+inf" } else { "-inf" }.to_owned();
    }
    let text = java_double(number);
    if text.contains('E') {
        return text;
    }
    format!("{}e0", text.strip_suffix(".0").unwrap_or(&text))
}

fn decimal(number: &BigDecimal) -> String {
    let (digits, scale) = number.as_bigint_and_exponent();
    match scale {
        0 => format!("{digits}."),
        1..=50 => crate::value::decimal_plain(number),
        _ => format!("{digits}d{}", -scale),
    }
}
