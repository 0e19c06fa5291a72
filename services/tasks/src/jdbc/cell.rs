//! Values of a database as outputs show them. They come as text, whatever their type.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::{DateTime, FixedOffset, NaiveDateTime, NaiveTime, Offset, SecondsFormat, TimeZone, Timelike, Utc};
use serde_json::{Number, Value};
use windhover_expression::Zone;

/// Types by their numbers in `pg_type`, with those of their arrays.
const BOOL: [u32; 2] = [16, 1000];
const BYTES: [u32; 2] = [17, 1001];
const INTEGERS: [[u32; 2]; 4] = [[20, 1016], [21, 1005], [23, 1007], [26, 1028]];
const FLOATS: [[u32; 2]; 2] = [[700, 1021], [701, 1022]];
const NUMERIC: [u32; 2] = [1700, 1231];
const JSON: [[u32; 2]; 2] = [[114, 199], [3802, 3807]];
const TIME: [u32; 2] = [1083, 1183];
const TIME_ZONED: [u32; 2] = [1266, 1270];
const TIMESTAMP: [u32; 2] = [1114, 1115];
const TIMESTAMP_ZONED: [u32; 2] = [1184, 1185];
const INTERVAL: [u32; 2] = [1186, 1187];
/// name, char, text, bpchar, varchar, date, uuid, inet, cidr, xml: as they are.
const TEXTS: [[u32; 2]; 10] = [
    [19, 1003],
    [18, 1002],
    [25, 1009],
    [1042, 1014],
    [1043, 1015],
    [1082, 1182],
    [2950, 2951],
    [869, 1041],
    [650, 651],
    [142, 143],
];
const VOID: u32 = 2278;

/// Digits that a number keeps whatever reads it.
const EXACT_DIGITS: usize = 15;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Bool,
    Bytes,
    Integer,
    Float,
    Numeric,
    Json,
    Time,
    TimeZoned,
    Timestamp,
    TimestampZoned,
    Interval,
    Void,
}

/// The kind of a type, and whether it is an array.
fn kind_of(oid: u32) -> (Kind, bool) {
    let table: [(Kind, &[[u32; 2]]); 12] = [
        (Kind::Text, &TEXTS),
        (Kind::Bool, &[BOOL]),
        (Kind::Bytes, &[BYTES]),
        (Kind::Integer, &INTEGERS),
        (Kind::Float, &FLOATS),
        (Kind::Numeric, &[NUMERIC]),
        (Kind::Json, &JSON),
        (Kind::Time, &[TIME]),
        (Kind::TimeZoned, &[TIME_ZONED]),
        (Kind::Timestamp, &[TIMESTAMP]),
        (Kind::TimestampZoned, &[TIMESTAMP_ZONED]),
        (Kind::Interval, &[INTERVAL]),
    ];
    for (kind, types) in table {
        if types.iter().any(|[one, _]| *one == oid) {
            return (kind, false);
        }
        if types.iter().any(|[_, array]| *array == oid) {
            return (kind, true);
        }
    }
    (if oid == VOID { Kind::Void } else { Kind::Text }, false)
}

/// The value of a cell. What cannot be read as its type stays the text that it is.
pub(super) fn value_of(oid: u32, text: &str, zone: Zone) -> Value {
    match kind_of(oid) {
        (kind, false) => scalar(kind, text, zone),
        (kind, true) => array(kind, text, zone).unwrap_or_else(|| Value::from(text)),
    }
}

fn scalar(kind: Kind, text: &str, zone: Zone) -> Value {
    let read = match kind {
        Kind::Text => None,
        Kind::Void => Some(Value::Null),
        Kind::Bool => Some(Value::Bool(text == "t")),
        Kind::Bytes => text.strip_prefix("\\x").and_then(bytes).map(|bytes| Value::from(STANDARD.encode(bytes))),
        Kind::Integer => text.parse::<i64>().ok().map(Value::from),
        Kind::Float => text.parse::<f64>().ok().and_then(Number::from_f64).map(Value::Number),
        Kind::Numeric => numeric(text),
        Kind::Json => serde_json::from_str(text).ok(),
        Kind::Time => NaiveTime::parse_from_str(text, "%H:%M:%S%.f").ok().map(|time| Value::from(clock(time))),
        Kind::TimeZoned => time_zoned(text, zone),
        Kind::Timestamp => NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f")
            .ok()
            .map(|at| Value::from(format!("{}T{}", at.date(), clock(at.time())))),
        Kind::TimestampZoned => timestamp_zoned(text, zone),
        Kind::Interval => interval(text).map(Value::from),
    };
    read.unwrap_or_else(|| Value::from(text))
}

/// A number where none of its digits is lost, else a text.
fn numeric(text: &str) -> Option<Value> {
    if let Ok(whole) = text.parse::<i64>() {
        return Some(Value::from(whole));
    }
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    (digits <= EXACT_DIGITS).then(|| text.parse().ok().and_then(Number::from_f64)).flatten().map(Value::Number)
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let pair = |at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
    (0..hex.len()).step_by(2).map(pair).collect()
}

/// Hours, minutes, seconds, and as much of the rest as there is.
fn clock(time: NaiveTime) -> String {
    let micros = time.nanosecond() / 1_000;
    if micros == 0 {
        return time.format("%H:%M:%S").to_string();
    }
    format!("{}.{}", time.format("%H:%M:%S"), format!("{micros:06}").trim_end_matches('0'))
}

fn offset_at(zone: Zone, at: DateTime<Utc>) -> FixedOffset {
    match zone {
        Zone::Offset(offset) => offset,
        Zone::Region(region) => region.offset_from_utc_datetime(&at.naive_utc()).fix(),
    }
}

fn timestamp_zoned(text: &str, zone: Zone) -> Option<Value> {
    let at = DateTime::parse_from_str(&with_minutes(text), "%Y-%m-%d %H:%M:%S%.f%z").ok()?.to_utc();
    let local = at.with_timezone(&offset_at(zone, at));
    Some(Value::from(local.to_rfc3339_opts(SecondsFormat::AutoSi, true)))
}

/// The time of day in the zone, as of the first day of 1970.
fn time_zoned(text: &str, zone: Zone) -> Option<Value> {
    let at = DateTime::parse_from_str(&format!("1970-01-01 {}", with_minutes(text)), "%Y-%m-%d %H:%M:%S%.f%z").ok()?;
    let at = at.to_utc();
    Some(Value::from(clock(at.with_timezone(&offset_at(zone, at)).time())))
}

/// `+02` as `+02:00`.
fn with_minutes(text: &str) -> String {
    let offset = text.rfind(['+', '-']).map_or("", |at| &text[at..]);
    if offset.len() == 3 { format!("{text}:00") } else { text.to_owned() }
}

/// `1 year 2 mons 3 days -04:05:06` as `P1Y2M3DT-4H-5M-6S`.
fn interval(text: &str) -> Option<String> {
    let (mut years, mut months, mut days, mut time) = (0_i64, 0_i64, 0_i64, [0_i64; 3]);
    let mut words = text.split_whitespace();
    while let Some(word) = words.next() {
        if word.contains(':') {
            let sign = if word.starts_with('-') { -1 } else { 1 };
            let mut parts = word.trim_start_matches(['-', '+']).split(':');
            for part in &mut time {
                let whole = parts.next()?.split('.').next()?;
                *part = sign * whole.parse::<i64>().ok()?;
            }
            continue;
        }
        let amount: i64 = word.parse().ok()?;
        match words.next()? {
            "year" | "years" => years = amount,
            "mon" | "mons" => months = amount,
            "day" | "days" => days = amount,
            _ => return None,
        }
    }
    let [hours, minutes, seconds] = time;
    Some(format!("P{years}Y{months}M{days}DT{hours}H{minutes}M{seconds}S"))
}

/// `{1,NULL,"a b",{…}}`, with the bounds `[0:1]=` before it where they are unusual.
fn array(kind: Kind, text: &str, zone: Zone) -> Option<Value> {
    let text = if text.starts_with('[') { text.split_once('=')?.1 } else { text };
    let mut reader = Elements { rest: text, kind, zone };
    let array = reader.list(0)?;
    reader.rest.is_empty().then_some(array)
}

struct Elements<'a> {
    rest: &'a str,
    kind: Kind,
    zone: Zone,
}

impl Elements<'_> {
    /// Postgres has six dimensions.
    const DEEPEST: usize = 6;

    fn list(&mut self, depth: usize) -> Option<Value> {
        if depth >= Self::DEEPEST {
            return None;
        }
        self.rest = self.rest.strip_prefix('{')?;
        let mut items = Vec::new();
        if let Some(rest) = self.rest.strip_prefix('}') {
            self.rest = rest;
            return Some(Value::Array(items));
        }
        loop {
            items.push(match self.rest.chars().next()? {
                '{' => self.list(depth + 1)?,
                '"' => self.quoted()?,
                _ => self.plain()?,
            });
            if let Some(rest) = self.rest.strip_prefix('}') {
                self.rest = rest;
                return Some(Value::Array(items));
            }
            self.rest = self.rest.strip_prefix(',')?;
        }
    }

    fn quoted(&mut self) -> Option<Value> {
        let mut text = String::new();
        let mut characters = self.rest.char_indices().skip(1);
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return Some(scalar(self.kind, &text, self.zone));
                }
                '\\' => text.push(characters.next()?.1),
                other => text.push(other),
            }
        }
        None
    }

    fn plain(&mut self) -> Option<Value> {
        let end = self.rest.find([',', '}'])?;
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(if text == "NULL" { Value::Null } else { scalar(self.kind, text, self.zone) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_shown_as_their_types_are() {
        let paris: Zone = "Europe/Paris".parse().expect("a zone");
        let table = [
            (16, "t", json!(true)),
            (17, "\\x00ff", json!("AP8=")),
            (20, "9007199254740993", json!(9_007_199_254_740_993_i64)),
            (701, "1.5", json!(1.5)),
            (701, "NaN", json!("NaN")),
            (1700, "123.450", json!(123.45)),
            (1700, "12345678901234567890.5", json!("12345678901234567890.5")),
            (1082, "2024-02-29", json!("2024-02-29")),
            (1083, "04:05:06.5", json!("04:05:06.5")),
            (1266, "04:05:06-08", json!("13:05:06")),
            (1114, "2004-10-19 10:23:54.12", json!("2004-10-19T10:23:54.12")),
            (1114, "infinity", json!("infinity")),
            (1184, "2004-10-19 08:23:54+00", json!("2004-10-19T10:23:54+02:00")),
            (1186, "10 years 4 mons -5 days", json!("P10Y4M-5DT0H0M0S")),
            (1186, "-04:05:06.7", json!("P0Y0M0DT-4H-5M-6S")),
            (3802, "[1, {\"a\": null}]", json!([1, {"a": null}])),
            (2950, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", json!("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")),
            (1007, "{1,NULL,3}", json!([1, null, 3])),
            (1009, "{{\"a,\\\"b\",c},{\"NULL\",\"\"}}", json!([["a,\"b", "c"], ["NULL", ""]])),
            (1007, "[0:1]={1,2}", json!([1, 2])),
            (1007, "{}", json!([])),
            (1007, "{1,2", json!("{1,2")),
            (2278, "", json!(null)),
            (99_999, "mood", json!("mood")),
        ];
        for (oid, text, expected) in table {
            assert_eq!(value_of(oid, text, paris), expected, "{oid} {text}");
        }
        let utc = value_of(1184, "2004-10-19 08:23:54.5+00", Zone::default());
        assert_eq!(utc, json!("2004-10-19T08:23:54.500Z"));
    }
}
