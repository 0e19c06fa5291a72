//! `io.kestra.plugin.core.http.*` and what notifications and expressions share with it (flow model reference 5.4, 1.x
//! 5.4).

mod call;
mod charset;
mod disposition;
mod download;
mod events;
mod form;
mod function;
mod options;
mod poll;
mod request;
mod sse;

pub(crate) use download::Download;
pub(crate) use options::Options;
pub(crate) use request::HttpRequest;
pub(crate) use sse::SseRequest;

pub use call::seal_body;
pub use function::{free_port, send};
pub use poll::Poll;

/// Characters of a response that a failure repeats.
const MAX_QUOTED: usize = 10_000;

/// The text of an attempt that failed because of a status.
pub(crate) fn failure(status: u16, body: &str) -> String {
    if body.trim().is_empty() {
        return format!("Failed http request with response code '{status}'");
    }
    let quoted: String = body.chars().take(MAX_QUOTED).collect();
    let more = if quoted.len() < body.len() { "…" } else { "" };
    format!("Failed http request with response code '{status}' and body: {quoted}{more}")
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
