//! `io.kestra.plugin.core.http.Request` and what notifications share with it (flow model reference 5.4, 1.x 5.4).

mod charset;
mod form;
mod options;
mod request;

pub(crate) use options::Options;
pub(crate) use request::HttpRequest;

use windhover_outbound::Response;

/// Characters of a response that a failure repeats.
const MAX_QUOTED: usize = 10_000;

/// The text of an attempt that failed because of a status.
pub(crate) fn failure(response: &Response) -> String {
    let body = response.text_lossy();
    if body.trim().is_empty() {
        return format!("Failed http request with response code '{}'", response.status);
    }
    let quoted: String = body.chars().take(MAX_QUOTED).collect();
    let more = if quoted.len() < body.len() { "…" } else { "" };
    format!("Failed http request with response code '{}' and body: {quoted}{more}", response.status)
}

/// Headers by name, in order, each with all its values: what `outputs.<task>.headers` shows.
pub(crate) fn header_map(headers: &http::HeaderMap) -> serde_json::Map<String, serde_json::Value> {
    let mut map = serde_json::Map::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        let values = map.entry(name.as_str()).or_insert_with(|| serde_json::Value::Array(Vec::new()));
        if let serde_json::Value::Array(values) = values {
            values.push(value.into());
        }
    }
    map
}
