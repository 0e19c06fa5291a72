//! Expectations about the requests that the receiver recorded.

use serde_json::{Map, Value, json};

use super::Seen;
use crate::{
    expectation::{ReceiverProperties, RequestProperties},
    findings::{Findings, shorten},
    matching::assign,
    receiver::RecordedRequest,
    template::resolve_text,
};

pub(super) fn check(path: Option<&str>, expected: &ReceiverProperties, seen: &Seen, findings: &mut Findings) {
    let at = format!("receiver {}", path.unwrap_or("(all paths)"));
    let requests: Vec<&RecordedRequest> =
        seen.requests.iter().filter(|request| path.is_none_or(|path| request.path == path)).collect();
    if let Some(count) = &expected.count {
        seen.compare(count, Some(&json!(requests.len())), &format!("{at}: count"), findings);
    }
    if expected.ordered {
        let mut rest = requests.iter();
        for (index, wanted) in expected.requests.iter().enumerate() {
            if !rest.any(|request| compare(wanted, request, seen).is_empty()) {
                unmet(index, wanted, &requests, &at, seen, findings);
                break;
            }
        }
    } else {
        let fits = |wanted: usize, request: usize| {
            compare(&expected.requests[wanted], requests[request], seen).mismatches.is_empty()
        };
        if let Err(index) = assign(expected.requests.len(), requests.len(), fits) {
            unmet(index, &expected.requests[index], &requests, &at, seen, findings);
        }
    }
    for (index, forbidden) in expected.forbid.iter().enumerate() {
        for request in &requests {
            let at = format!("{at}: forbid[{index}]");
            match forbidden_by(forbidden, request, seen) {
                Ok(false) => {}
                Ok(true) => findings.mismatch(&at, format_args!("saw {}", request.summary())),
                Err(error) => findings.mismatch(&at, error),
            }
        }
    }
}

/// Says why no request meets the entry: the differences to each that is left.
fn unmet(
    index: usize,
    wanted: &RequestProperties,
    requests: &[&RecordedRequest],
    at: &str,
    seen: &Seen,
    findings: &mut Findings,
) {
    let at = format!("{at}: requests[{index}]");
    if requests.is_empty() {
        return findings.mismatch(&at, "there was no request");
    }
    let why: Vec<String> = requests
        .iter()
        .map(|request| {
            let different = compare(wanted, request, seen).mismatches;
            let different = if different.is_empty() { "it meets another entry".into() } else { different.join("; ") };
            format!("\n    {}\n      {}", request.summary(), shorten(&different, 600))
        })
        .collect();
    findings.mismatch(&at, format_args!("no request of its own:{}", why.concat()));
}

/// Whether the request meets an entry of `forbid`. What cannot be resolved would forbid nothing, so it is an error.
fn forbidden_by(forbidden: &RequestProperties, request: &RecordedRequest, seen: &Seen) -> Result<bool, String> {
    for text in &forbidden.body_contains {
        resolve_text(text, seen.world)?;
    }
    Ok(compare(forbidden, request, seen).is_empty())
}

fn compare(wanted: &RequestProperties, request: &RecordedRequest, seen: &Seen) -> Findings {
    let mut findings = Findings::default();
    if let Some(path) = &wanted.path {
        seen.compare(path, Some(&json!(request.path)), "path", &mut findings);
    }
    if let Some(method) = &wanted.method {
        seen.compare(method, Some(&json!(request.method)), "method", &mut findings);
    }
    for (name, value) in &wanted.query {
        let saw = values(value, request.query.iter().filter(|(key, _)| key == name).map(|(_, value)| value));
        seen.compare(value, saw.as_ref(), &format!("query.{name}"), &mut findings);
    }
    for (name, value) in &wanted.headers {
        let named = request.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        let saw = values(value, named.map(|(_, value)| value));
        seen.compare(value, saw.as_ref(), &format!("headers.{name}"), &mut findings);
    }
    if let Some(json) = &wanted.json {
        match request.json() {
            Some(body) => seen.compare(json, Some(&body), "json", &mut findings),
            None => findings.mismatch("json", "the body is no JSON"),
        }
    }
    let body = String::from_utf8_lossy(&request.body);
    for text in &wanted.body_contains {
        match resolve_text(text, seen.world) {
            Ok(text) if body.contains(&text) => {}
            Ok(text) => findings.mismatch("body_contains", format_args!("`{text}` is not in the body")),
            Err(error) => findings.mismatch("body_contains", error),
        }
    }
    findings
}

/// What is compared: a list when one is expected (or nothing but a list can be), else the first value.
fn values<'a>(expected: &Value, mut saw: impl Iterator<Item = &'a String>) -> Option<Value> {
    let list = |map: &Map<String, Value>| map.keys().any(|key| ["$unordered", "$has"].contains(&key.as_str()));
    if expected.is_array() || expected.as_object().is_some_and(list) {
        return Some(json!(saw.collect::<Vec<_>>()));
    }
    saw.next().map(|value| json!(value))
}
