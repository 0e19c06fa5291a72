//! Reading Ion text.

use std::sync::Arc;

use bigdecimal::BigDecimal;
use chrono::{FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, Timelike};
use num_bigint::BigInt;

use super::lex::{Result, Source};
use crate::value::{Value, Zone, Zoned};

const MAX_DEPTH: u32 = 100;
const MAX_DIGITS: usize = 1_000;

/// All values of a text, or only the first.
pub(crate) fn parse(text: &str, all: bool) -> Result<Vec<Value>> {
    let mut reader = Reader { source: Source::new(text) };
    let mut values = Vec::new();
    loop {
        reader.source.blanks();
        if reader.source.rest().is_empty() || (!all && !values.is_empty()) {
            return Ok(values);
        }
        values.push(reader.value(0)?);
    }
}

struct Reader<'a> {
    source: Source<'a>,
}

/// What a word or quoted symbol turns out to be.
enum Symbol {
    Annotation(String),
    Value(Value),
}

fn is_identifier(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '$')
}

impl Reader<'_> {
    fn value(&mut self, depth: u32) -> Result<Value> {
        if depth > MAX_DEPTH {
            return self.source.error("The value is nested too deeply");
        }
        self.source.blanks();
        let Some(c) = self.source.rest().chars().next() else { return self.source.error("Unexpected end of the text") };
        match c {
            '{' if self.source.rest().starts_with("{{") => self.lob(),
            '{' => self.fields(depth),
            '[' => self.items("[", "]", depth),
            '(' => self.items("(", ")", depth),
            '"' => {
                self.source.advance(1);
                self.source.quoted("\"").map(Value::text)
            }
            '\'' if self.source.rest().starts_with("'''") => self.long_text(),
            '0'..='9' | '-' | '+' => self.number(),
            _ => match self.symbol()? {
                Symbol::Value(value) => Ok(value),
                Symbol::Annotation(annotation) => {
                    let value = self.value(depth + 1)?;
                    annotated(&annotation, value)
                }
            },
        }
    }

    fn long_text(&mut self) -> Result<Value> {
        let mut text = String::new();
        while self.source.skip("'''") {
            text.push_str(&self.source.quoted("'''")?);
            self.source.blanks();
        }
        Ok(Value::text(text))
    }

    /// Bytes or characters between double braces, as the text that stands there.
    fn lob(&mut self) -> Result<Value> {
        self.source.advance(2);
        let text = self.source.take_while(|c| c != '}').trim().to_owned();
        if self.source.skip("}}") { Ok(Value::text(text)) } else { self.source.error("Unclosed bytes") }
    }

    fn symbol(&mut self) -> Result<Symbol> {
        let quoted = self.source.skip("'");
        let name = if quoted { self.source.quoted("'")? } else { self.source.take_while(is_identifier).to_owned() };
        if !quoted && name.is_empty() {
            return self.source.error("Unexpected character");
        }
        self.source.blanks();
        if self.source.skip("::") {
            return Ok(Symbol::Annotation(name));
        }
        if quoted {
            return Ok(Symbol::Value(Value::text(name)));
        }
        Ok(Symbol::Value(match name.as_str() {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            "nan" => Value::Double(f64::NAN),
            "null" => {
                if self.source.skip(".") {
                    self.source.take_while(is_identifier);
                }
                Value::Null
            }
            _ => Value::text(name),
        }))
    }

    fn items(&mut self, open: &str, close: &str, depth: u32) -> Result<Value> {
        self.source.skip(open);
        let mut items = Vec::new();
        loop {
            self.source.blanks();
            if self.source.skip(close) {
                return Ok(Value::list(items));
            }
            items.push(self.value(depth + 1)?);
            self.source.blanks();
            let separated = close == ")" || self.source.skip(",");
            if !separated && !self.source.rest().starts_with(close) {
                return self.source.error("Expected a comma between the elements of a list");
            }
        }
    }

    fn fields(&mut self, depth: u32) -> Result<Value> {
        self.source.skip("{");
        let mut entries = Vec::new();
        loop {
            self.source.blanks();
            if self.source.skip("}") {
                return Ok(Value::Map(entries.into_iter().collect()));
            }
            let name = self.field_name()?;
            self.source.blanks();
            if !self.source.skip(":") {
                return self.source.error("Expected a colon behind the name of a field");
            }
            entries.push((Value::text(name), self.value(depth + 1)?));
            self.source.blanks();
            if !self.source.skip(",") && !self.source.rest().starts_with('}') {
                return self.source.error("Expected a comma between fields");
            }
        }
    }

    fn field_name(&mut self) -> Result<String> {
        if self.source.rest().starts_with("'''") {
            return match self.long_text()? {
                Value::Text(text) => Ok(text.to_string()),
                _ => self.source.error("Expected the name of a field"),
            };
        }
        for quote in ["'", "\""] {
            if self.source.skip(quote) {
                return self.source.quoted(quote);
            }
        }
        let name = self.source.take_while(is_identifier);
        if name.is_empty() { self.source.error("Expected the name of a field") } else { Ok(name.to_owned()) }
    }

    fn number(&mut self) -> Result<Value> {
        for (text, value) in [("+inf", f64::INFINITY), ("-inf", f64::NEG_INFINITY)] {
            if self.source.skip(text) {
                return Ok(Value::Double(value));
            }
        }
        let text = self.source.take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '_' | ':'));
        if text.len() > MAX_DIGITS {
            return self.source.error("The number is too long");
        }
        let is_time = text.len() >= 5 && (text.as_bytes()[4] == b'T' || text.as_bytes()[4] == b'-');
        let value = if is_time { timestamp(text) } else { number(text) };
        value.map_or_else(|| self.source.error("Invalid number"), Ok)
    }
}

fn number(text: &str) -> Option<Value> {
    let plain = text.replace('_', "");
    let (sign, unsigned) = plain.strip_prefix('-').map_or(("", plain.as_str()), |rest| ("-", rest));
    for (prefixes, radix) in [(["0x", "0X"], 16), (["0b", "0B"], 2)] {
        if let Some(digits) = prefixes.iter().find_map(|prefix| unsigned.strip_prefix(prefix)) {
            return whole(&format!("{sign}{digits}"), radix);
        }
    }
    if unsigned.contains(['e', 'E']) {
        return plain.parse().ok().map(Value::Double);
    }
    if unsigned.contains(['.', 'd', 'D']) {
        let text = plain.replace(['d', 'D'], "e");
        let exponent = text.split_once('e').map_or(Some(0), |(_, exponent)| exponent.parse::<i32>().ok())?;
        if exponent.unsigned_abs() as usize > MAX_DIGITS {
            return None;
        }
        return text.trim_end_matches('.').parse::<BigDecimal>().ok().map(|number| Value::Decimal(Arc::new(number)));
    }
    whole(&plain, 10)
}

fn whole(text: &str, radix: u32) -> Option<Value> {
    let number = BigInt::parse_bytes(text.as_bytes(), radix)?;
    Some(i64::try_from(&number).map_or_else(|_| Value::BigInt(Arc::new(number)), Value::whole))
}

/// `2024T`, `2024-01T`, `2024-01-02`, `2024-01-02T03:04Z`, with seconds and a fraction.
fn timestamp(text: &str) -> Option<Value> {
    let (date, time) = text.split_once('T').unwrap_or((text, ""));
    let mut parts = date.split('-').map(|part| part.parse::<u32>().ok());
    let year = i32::try_from(parts.next()??).ok()?;
    let month = parts.next().unwrap_or(Some(1))?;
    let day = parts.next().unwrap_or(Some(1))?;
    let date = NaiveDate::from_ymd_opt(year, month, day).filter(|_| parts.next().is_none())?;
    if time.is_empty() {
        return Some(Value::LocalDate(date));
    }
    let offset_at = time.find(['Z', '+', '-'])?;
    let (clock, offset) = time.split_at(offset_at);
    let clock =
        NaiveTime::parse_from_str(clock, "%H:%M:%S%.f").or_else(|_| NaiveTime::parse_from_str(clock, "%H:%M")).ok()?;
    let local = date.and_time(clock);
    let zone = if matches!(offset, "Z" | "-00:00") { None } else { Some(offset.parse::<Zone>().ok()?) };
    let offset = match zone {
        Some(Zone::Offset(offset)) => offset,
        _ => FixedOffset::east_opt(0)?,
    };
    let instant = local.and_local_timezone(offset).single()?.to_utc();
    if offset.local_minus_utc() != 0 {
        return Some(Value::Zoned(Zoned { instant, zone: Zone::Offset(offset) }));
    }
    let midnight = clock.num_seconds_from_midnight() == 0 && clock.nanosecond() == 0;
    Some(if midnight { Value::LocalDate(date) } else { Value::Instant(instant) })
}

/// A text with an annotation is a value of that kind; other annotations mean nothing.
fn annotated(annotation: &str, value: Value) -> Result<Value> {
    let Value::Text(text) = &value else { return Ok(value) };
    let offset_time = || chrono::DateTime::parse_from_rfc3339(text.split('[').next().unwrap_or(text)).ok();
    let read = match annotation {
        "Instant" => offset_time().map(|time| Value::Instant(time.to_utc())),
        "ZonedDateTime" | "OffsetDateTime" => zoned(text),
        "LocalDateTime" => {
            let formats = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M"];
            formats.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok()).map(Value::LocalDateTime)
        }
        "LocalDate" => text.parse().ok().map(Value::LocalDate),
        "LocalTime" => local_time(text),
        _ => return Ok(value),
    };
    read.ok_or_else(|| format!("Invalid {annotation}: {text}"))
}

fn local_time(text: &str) -> Option<Value> {
    let formats = ["%H:%M:%S%.f", "%H:%M"];
    formats.iter().find_map(|format| NaiveTime::parse_from_str(text, format).ok()).map(Value::LocalTime)
}

/// An ISO text with an offset, seconds optional, and perhaps a region in brackets.
fn zoned(text: &str) -> Option<Value> {
    match crate::date::read(&Value::text(text), Zone::default(), None) {
        Ok(zoned) => Some(Value::Zoned(zoned)),
        Err(_) => None,
    }
}
