//! `@csv`, `@base64` and the other formats.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::eval::{Stop, error};
use super::strings;
use super::value::Json;
use crate::eval::Session;

/// `@name` applied to a value.
pub(super) fn apply(session: &Session<'_>, name: &str, value: &Json) -> Result<Json, Stop> {
    text(session, name, value).map(Json::text)
}

/// The text of a value in a format.
pub(super) fn text(session: &Session<'_>, name: &str, value: &Json) -> Result<String, Stop> {
    let out = match name {
        "text" => strings::to_text(session, value)?,
        "json" => strings::to_json(session, value)?,
        "html" => escaped(&strings::to_text(session, value)?),
        "uri" => percent(&strings::to_text(session, value)?),
        "base64" => STANDARD.encode(strings::to_text(session, value)?),
        "base64d" => {
            let text = strings::to_text(session, value)?;
            match crate::functions::decode_base64(text.trim_end_matches('=')) {
                Some(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                None => return error(format!("{} is not valid base64 data", strings::describe(value))),
            }
        }
        "sh" => match value {
            Json::List(node) => row(session, &node.content, " ", shell)?,
            other => shell(session, other)?,
        },
        "csv" | "tsv" => {
            let Json::List(node) = value else {
                return error(format!("{} cannot be {name}-formatted, only an array can be", strings::describe(value)));
            };
            if name == "csv" { row(session, &node.content, ",", csv)? } else { row(session, &node.content, "\t", tsv)? }
        }
        other => return Err(Stop::Invalid(format!("{other} is not a valid format"))),
    };
    session.meter.text(out.len())?;
    Ok(out)
}

type Cell = fn(&Session<'_>, &Json) -> Result<String, Stop>;

fn row(session: &Session<'_>, items: &[Json], separator: &str, cell: Cell) -> Result<String, Stop> {
    let cells = items.iter().map(|item| cell(session, item)).collect::<Result<Vec<_>, _>>()?;
    Ok(cells.join(separator))
}

fn scalar(session: &Session<'_>, value: &Json, format: &str) -> Result<String, Stop> {
    match value {
        Json::List(_) | Json::Object(_) => {
            error(format!("{} is not valid in a {format} row", strings::describe(value)))
        }
        Json::Null => Ok(String::new()),
        other => strings::to_text(session, other),
    }
}

fn csv(session: &Session<'_>, value: &Json) -> Result<String, Stop> {
    match value {
        Json::Text(text) => Ok(format!("\"{}\"", text.replace('"', "\"\""))),
        other => scalar(session, other, "csv"),
    }
}

fn tsv(session: &Session<'_>, value: &Json) -> Result<String, Stop> {
    let text = scalar(session, value, "tsv")?;
    Ok(text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r"))
}

fn shell(session: &Session<'_>, value: &Json) -> Result<String, Stop> {
    match value {
        Json::Text(text) => Ok(format!("'{}'", text.replace('\'', "'\\''"))),
        Json::List(_) | Json::Object(_) => error(format!("{} can not be escaped for shell", strings::describe(value))),
        other => strings::to_text(session, other),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\'', "&#39;").replace('"', "&quot;")
}

fn percent(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
