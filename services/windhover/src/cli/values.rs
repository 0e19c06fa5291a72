//! Values on the command line: inputs, labels, durations, filters.

use std::{fs, path::Path, time::Duration};

use serde_json::Value;
use windhover_client::v1::{Json, Label, State};

/// One `--input`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Input {
    /// `id=text`, or `id=@FILE`: the content of the file. Sent as text, read by the server as the input's type.
    Text(String, String),
    /// `@FILE.json`: a JSON object with any number of inputs, sent as they are.
    Values(Vec<(String, Json)>),
}

impl Input {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if let Some(file) = text.strip_prefix('@') {
            return object(&read(Path::new(file))?).map(Self::Values).map_err(|why| format!("{file}: {why}"));
        }
        let (id, value) = pair(text)?;
        let value = match value.strip_prefix('@') {
            // `@@` for a text that begins with `@`.
            Some(rest) if rest.starts_with('@') => rest.to_owned(),
            Some(file) => read(Path::new(file))?,
            None => value,
        };
        Ok(Self::Text(id, value))
    }

    pub(super) fn into_values(self) -> Vec<(String, Json)> {
        match self {
            Self::Text(id, text) => vec![(id, windhover_client::json(&Value::String(text)))],
            Self::Values(values) => values,
        }
    }
}

fn object(text: &str) -> Result<Vec<(String, Json)>, String> {
    match serde_json::from_str(text) {
        Ok(Value::Object(values)) => {
            Ok(values.iter().map(|(id, value)| (id.clone(), windhover_client::json(value))).collect())
        }
        Ok(_) => Err("is no JSON object of inputs".to_owned()),
        Err(error) => Err(format!("is no JSON: {error}")),
    }
}

fn read(file: &Path) -> Result<String, String> {
    fs::read_to_string(file).map_err(|error| format!("cannot read {}: {error}", file.display()))
}

/// `KEY=VALUE`; the value may hold more of `=`.
fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("must be KEY=VALUE".to_owned()),
    }
}

pub(super) fn label(text: &str) -> Result<Label, String> {
    pair(text).map(|(key, value)| Label { key, value })
}

pub(super) fn state(text: &str) -> Result<State, String> {
    match State::from_short_name(text) {
        Some(state) if state != State::Unspecified => Ok(state),
        _ => {
            Err("is no state; states are CREATED, RUNNING, PAUSED, QUEUED, SUCCESS, WARNING, FAILED, KILLED …"
                .to_owned())
        }
    }
}

/// `90`, `90s`, `1500ms`, `5m`, `2h`, `30d`: a number and a unit, seconds when there is none.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "must be a number and a unit: ms, s, m, h or d".to_owned();
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().map_err(|_| wrong())?;
    let millis = match &text[digits..] {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(millis).map(Duration::from_millis).ok_or_else(|| "is too long".to_owned())
}

/// An instant in RFC 3339, e.g. `2026-01-31T12:00:00Z`.
pub(super) fn instant(text: &str) -> Result<prost_types::Timestamp, String> {
    let at =
        chrono::DateTime::parse_from_rfc3339(text).map_err(|error| format!("{error} (as 2026-01-31T12:00:00Z)"))?;
    let nanos = i32::try_from(at.timestamp_subsec_nanos()).map_err(|_| "is no instant".to_owned())?;
    Ok(prost_types::Timestamp { seconds: at.timestamp(), nanos })
}

/// Parts of a filter, all of which must hold.
#[derive(Debug, Default)]
pub(super) struct Filter(Vec<String>);

impl Filter {
    /// `field operator "value"`, when there is a value.
    pub(super) fn and(mut self, field: &str, operator: &str, value: Option<&str>) -> Self {
        if let Some(value) = value {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"");
            self.0.push(format!("{field} {operator} \"{value}\""));
        }
        self
    }

    /// Any of these.
    pub(super) fn and_any(mut self, field: &str, values: &[&str]) -> Self {
        let parts: Vec<String> = values.iter().map(|value| format!("{field} = {value}")).collect();
        match parts.as_slice() {
            [] => {}
            [part] => self.0.push(part.clone()),
            parts => self.0.push(format!("({})", parts.join(" OR "))),
        }
        self
    }

    /// A filter that the user wrote.
    pub(super) fn and_text(mut self, filter: Option<&str>) -> Self {
        if let Some(filter) = filter.filter(|filter| !filter.trim().is_empty()) {
            self.0.push(filter.to_owned());
        }
        self
    }

    pub(super) fn text(self) -> String {
        match self.0.as_slice() {
            [part] => part.clone(),
            parts => parts.iter().map(|part| format!("({part})")).collect::<Vec<_>>().join(" AND "),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(text: &str) -> Result<Vec<(String, String)>, String> {
        Ok(Input::parse(text)?.into_values().into_iter().map(|(id, json)| (id, json.text)).collect())
    }

    fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
        of.iter().map(|(id, text)| ((*id).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn inputs_come_from_the_line_from_a_file_or_many_from_one_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("in.json");
        fs::write(&file, r#"{"n": 1, "s": "1", "list": [1, 2]}"#).unwrap();
        let file = file.display();
        assert_eq!(inputs("a=1=2"), Ok(pairs(&[("a", r#""1=2""#)])));
        assert_eq!(inputs("a="), Ok(pairs(&[("a", r#""""#)])));
        assert_eq!(inputs("a=@@me"), Ok(pairs(&[("a", r#""@me""#)])));
        assert_eq!(inputs(&format!("@{file}")), Ok(pairs(&[("n", "1"), ("s", r#""1""#), ("list", "[1,2]")])));
        assert!(inputs(&format!("a=@{file}")).unwrap()[0].1.contains("list"));
        assert!(inputs("a").is_err() && inputs("=1").is_err() && inputs("@/no/such/file").is_err());
    }

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1500ms"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7200)));
        for text in ["", "s", "-1s", "1.5s", "5 m", "99999999999999999999d", "9999999999999999999d"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn filters_quote_what_users_give_and_keep_what_users_write() {
        let filter = Filter::default().and("namespace", "=", Some(r#"a"b"#)).and("flow", "=", None);
        assert_eq!(filter.text(), r#"namespace = "a\"b""#);
        let filter = Filter::default().and_any("state", &["FAILED", "KILLED"]).and_text(Some("a = 1 OR b = 2"));
        assert_eq!(filter.text(), "((state = FAILED OR state = KILLED)) AND (a = 1 OR b = 2)");
        assert_eq!(Filter::default().and_text(Some(" ")).text(), "");
    }
}
