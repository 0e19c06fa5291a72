//! Context values of cases: plain YAML, and other kinds as maps with one key.

use serde_json::Value as Json;
use serde_yaml::Value as Yaml;
use windhover_expression::{Set, SharedVariables, Span, Value, Zone, Zoned};

pub(crate) fn variables(context: Option<&Yaml>) -> SharedVariables {
    let Some(Yaml::Mapping(entries)) = context else { return SharedVariables::default() };
    entries.iter().map(|(name, value)| (scalar_text(name).expect("a name"), self::value(value))).collect()
}

/// The text of a scalar that a case gives without quotes.
pub(crate) fn scalar_text(value: &Yaml) -> Option<String> {
    match value {
        Yaml::String(text) => Some(text.clone()),
        Yaml::Number(number) => Some(number.to_string()),
        Yaml::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}

pub(crate) fn json(value: &Yaml) -> Json {
    match value {
        Yaml::Null => Json::Null,
        Yaml::Bool(value) => Json::Bool(*value),
        Yaml::Number(number) => serde_json::to_value(number).expect("a number"),
        Yaml::String(text) => Json::String(text.clone()),
        Yaml::Sequence(items) => Json::Array(items.iter().map(json).collect()),
        Yaml::Mapping(entries) => {
            Json::Object(entries.iter().map(|(key, value)| (scalar_text(key).expect("a key"), json(value))).collect())
        }
        Yaml::Tagged(tagged) => json(&tagged.value),
    }
}

fn is_plain(value: &Yaml) -> bool {
    match value {
        Yaml::Sequence(items) => items.iter().all(is_plain),
        Yaml::Mapping(entries) => {
            entries.iter().all(|(key, value)| !key.as_str().is_some_and(|key| key.starts_with('$')) && is_plain(value))
        }
        _ => true,
    }
}

pub(crate) fn value(value: &Yaml) -> Value {
    // plain documents go the way that large documents go, read in place
    if is_plain(value) {
        return Value::from_json(&json(value));
    }
    match value {
        Yaml::Sequence(items) => Value::list(items.iter().map(self::value).collect()),
        Yaml::Mapping(entries) => match entries.iter().next() {
            Some((Yaml::String(key), content)) if entries.len() == 1 && key.starts_with('$') => special(key, content),
            _ => Value::map(entries.iter().map(|(key, value)| (scalar_text(key).expect("a key"), self::value(value)))),
        },
        other => Value::from_json(&json(other)),
    }
}

fn special(kind: &str, content: &Yaml) -> Value {
    let text = scalar_text(content).unwrap_or_default();
    let time = || chrono::DateTime::parse_from_rfc3339(&text).expect("a time");
    match kind {
        "$long" => Value::Long(content.as_i64().expect("a number")),
        "$float" => Value::Float(content.as_f64().expect("a number") as f32),
        "$decimal" => Value::Decimal(std::sync::Arc::new(text.parse().expect("a number"))),
        "$bigint" => Value::BigInt(std::sync::Arc::new(text.parse().expect("a number"))),
        "$array" => Value::array(content.as_sequence().expect("a list").iter().map(value).collect()),
        "$set" => Value::Set(content.as_sequence().expect("a list").iter().map(value).collect::<Set>()),
        "$uri" => Value::Uri(text.into()),
        "$instant" | "$date" => Value::Instant(time().to_utc()),
        "$zoned" => Value::Zoned(Zoned { instant: time().to_utc(), zone: Zone::Offset(*time().offset()) }),
        "$local_datetime" => {
            let formats = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M"];
            let parsed = formats.iter().find_map(|format| chrono::NaiveDateTime::parse_from_str(&text, format).ok());
            Value::LocalDateTime(parsed.expect("a local time"))
        }
        "$local_date" => Value::LocalDate(text.parse().expect("a date")),
        "$duration" => Value::Duration(Span::parse(&text).expect("a duration")),
        other => panic!("unknown kind {other}"),
    }
}
