//! `http` (expression reference, section 15.3).

use crate::error::{Fault, Interrupt};
use crate::eval::{Args, Frame};
use crate::filters::encoding::form_encode;
use crate::json;
use crate::services::{HttpAnswer, HttpCall};
use crate::value::Value;

type Answer = Result<Value, Fault>;

pub(super) fn http(frame: &mut Frame<'_, '_>, args: &Args) -> Answer {
    let Some(uri) = args.get(0) else {
        return Err(Fault::engine("The 'http' function expects an argument 'uri'."));
    };
    let text = |position: usize, default: &str| match args.get(position) {
        None => Ok(default.to_owned()),
        Some(value) => frame.session.printer().plain_text(value),
    };
    let content_type = text(4, "application/json")?;
    let mut headers = vec![("Accept".to_owned(), text(7, "application/json")?)];
    headers.extend(own_headers(frame, args.get(5))?);
    let body = body(frame, args.get(3), &content_type)?;
    if body.is_some() {
        headers.push(("Content-Type".to_owned(), content_type));
    }
    let options = args.get(6).cloned().unwrap_or(Value::Null);
    let allow_failed = matches!(frame.entry(&options, "allowFailed")?, Some(Value::Bool(true)));
    let call = HttpCall {
        method: text(1, "GET")?.to_uppercase(),
        uri: with_query(frame, frame.session.printer().plain_text(uri)?, args.get(2))?,
        headers,
        body,
        options,
    };
    let answer = frame.session.environment.services.http(&call).map_err(|interrupt| match interrupt {
        Interrupt::Failed(message) if !message.starts_with("The 'http' function") => {
            Fault::engine(format!("Failed to execute HTTP Request: {message}"))
        }
        other => Fault::from(other),
    })?;
    if answer.status >= 400 && !allow_failed {
        return Err(Fault::engine(format!(
            "Failed to execute HTTP Request, server respond with status {} : {}",
            answer.status, answer.reason
        )));
    }
    parsed(frame, &answer)
}

fn own_headers(frame: &Frame<'_, '_>, headers: Option<&Value>) -> Result<Vec<(String, String)>, Fault> {
    let Some(headers) = headers else { return Ok(Vec::new()) };
    let Some(entries) = headers.entries()? else {
        return Err(Fault::engine("The 'http' function expects an argument 'headers' with type map."));
    };
    let mut list = Vec::new();
    for (name, value) in entries {
        let name = frame.session.printer().plain_text(&name)?;
        if name.eq_ignore_ascii_case("accept") || name.eq_ignore_ascii_case("content-type") {
            continue;
        }
        match value.items() {
            Some(values) => {
                for value in values.iter() {
                    list.push((name.clone(), frame.session.printer().plain_text(value)?));
                }
            }
            None => list.push((name, frame.session.printer().plain_text(&value)?)),
        }
    }
    Ok(list)
}

fn body(frame: &Frame<'_, '_>, body: Option<&Value>, content_type: &str) -> Result<Option<String>, Fault> {
    let Some(body) = body else { return Ok(None) };
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if body.is_map() || body.items().is_some() {
        return match media_type {
            "application/json" => frame.session.printer().json_text(body).map(Some),
            "application/yaml" | "application/x-yaml" => crate::yaml::to_text(frame.session, body).map(Some),
            other => Err(Fault::engine(format!("Unsupported content type: {other}"))),
        };
    }
    match body {
        Value::Text(text) if media_type != "application/json" => Ok(Some(text.to_string())),
        Value::Text(text) => Ok(Some(text.to_string())),
        other => frame.session.printer().plain_text(other).map(Some),
    }
}

fn with_query(frame: &Frame<'_, '_>, uri: String, query: Option<&Value>) -> Result<String, Fault> {
    let Some(query) = query else { return Ok(uri) };
    let Some(entries) = query.entries()? else {
        return Err(Fault::engine("The 'http' function expects an argument 'query' with type map."));
    };
    let mut uri = uri;
    for (name, value) in entries {
        uri.push(if uri.contains('?') { '&' } else { '?' });
        uri.push_str(&form_encode(&frame.session.printer().plain_text(&name)?));
        uri.push('=');
        uri.push_str(&form_encode(&frame.session.printer().plain_text(&value)?));
    }
    Ok(uri)
}

/// YAML types as YAML, everything else as JSON; what is not JSON and does not claim to be stays text.
fn parsed(frame: &Frame<'_, '_>, answer: &HttpAnswer) -> Answer {
    if answer.body.is_empty() {
        return Ok(Value::Null);
    }
    frame.session.meter.elements(answer.body.len() / 4)?;
    let media_type = answer.content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if media_type.contains("yaml") {
        return crate::yaml::parse(frame.session, &answer.body)
            .map_err(|error| Fault::engine(format!("Invalid yaml: {error}")));
    }
    match json::parse_exactly(&answer.body) {
        Ok(value) => Ok(value),
        Err(error) if media_type.ends_with("json") => Err(Fault::engine(format!("Invalid json: {error}"))),
        Err(_) => {
            frame.session.meter.text(answer.body.len())?;
            Ok(Value::text(&answer.body))
        }
    }
}
