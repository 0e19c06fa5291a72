//! Webhooks: the one thing that cases do over plain HTTP.

use std::time::Duration;

use chrono::Utc;
use serde_json::{Map, Value, json};

use crate::{api::Refusal, case::Webhook, findings::shorten, seen};

/// What a webhook was answered.
#[derive(Debug)]
pub enum Answer {
    /// The execution as the answer shows it.
    Created(Box<seen::Execution>),
    /// Accepted, and nothing was created.
    Nothing,
}

/// Sends webhooks to one server.
#[derive(Debug, Clone)]
pub struct Webhooks {
    http: reqwest::Client,
    server: String,
}

impl Webhooks {
    /// `server`: base URL without a slash at its end.
    pub fn new(server: &str) -> anyhow::Result<Self> {
        // Another crate of the process may have chosen one before; any will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().build()?;
        Ok(Self { http, server: server.to_owned() })
    }

    /// Calls the webhook of a tenant's flow. Query, headers and body must have been resolved.
    pub async fn call(&self, tenant: &str, webhook: &Webhook, timeout: Duration) -> Result<Answer, Refusal> {
        let fault = |error: &dyn std::fmt::Display| Refusal::Fault(format!("calling the webhook: {error}"));
        let mut url = reqwest::Url::parse(&self.server).map_err(|error| fault(&error))?;
        let Webhook { namespace, flow, key, .. } = webhook;
        url.path_segments_mut().map_err(|()| fault(&"the server's address has no path"))?.extend([
            "api",
            "v1",
            tenant,
            "executions",
            "webhook",
            namespace,
            flow,
            key,
        ]);
        if !webhook.query.is_empty() {
            url.query_pairs_mut().extend_pairs(pairs(&webhook.query));
        }
        let method = webhook.method.parse().map_err(|error| fault(&error))?;
        let mut request = self.http.request::<reqwest::Url>(method, url).timeout(timeout);
        if let Some(body) = &webhook.body {
            request = request.header("content-type", "application/json").body(body.to_string());
        } else if let Some(body) = &webhook.raw_body {
            request = request.header("content-type", "text/plain; charset=utf-8").body(body.clone());
        }
        for (name, value) in pairs(&webhook.headers) {
            request = request.header(name, value);
        }
        let response = request.send().await.map_err(|error| fault(&error))?;
        let status = response.status().as_u16();
        let body = response.bytes().await.map_err(|error| fault(&error))?;
        answer(status, &body)
    }
}

/// Each value of each name: a list has several.
fn pairs(map: &Map<String, Value>) -> Vec<(&str, String)> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    map.iter()
        .flat_map(|(name, value)| match value {
            Value::Array(values) => values.iter().map(|value| (name.as_str(), text(value))).collect(),
            one => vec![(name.as_str(), text(one))],
        })
        .collect()
}

fn answer(status: u16, body: &[u8]) -> Result<Answer, Refusal> {
    let text = String::from_utf8_lossy(body);
    let message = || format!("HTTP {status} {}", shorten(&text, 2_000));
    match status {
        204 => Ok(Answer::Nothing),
        200..=299 => {
            let document: Value = serde_json::from_slice(body).map_err(|_| Refusal::Fault(message()))?;
            let execution =
                execution(&document).ok_or_else(|| Refusal::Fault(format!("no execution: {}", message())))?;
            Ok(Answer::Created(Box::new(execution)))
        }
        404 => Err(Refusal::NotFound(message())),
        400..=499 => Err(Refusal::Rejected(message())),
        501 => Err(Refusal::Unsupported(message())),
        _ => Err(Refusal::Fault(message())),
    }
}

/// The execution as Kestra's JSON has it.
fn execution(document: &Value) -> Option<seen::Execution> {
    let text = |key: &str| document.get(key).and_then(Value::as_str).map(str::to_owned).unwrap_or_default();
    let labels = document
        .get("labels")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|label| Some((label.get("key")?.as_str()?.to_owned(), label.get("value").cloned()?)));
    let state = document.get("state").and_then(|state| state.get("current").unwrap_or(state).as_str());
    let trigger = document.get("trigger").filter(|trigger| !trigger.is_null());
    Some(seen::Execution {
        id: document.get("id")?.as_str()?.to_owned(),
        namespace: text("namespace"),
        flow: text("flowId"),
        revision: document.get("flowRevision").and_then(Value::as_u64).and_then(|n| n.try_into().ok()).unwrap_or(0),
        state: state.unwrap_or("CREATED").to_owned(),
        history: vec![(state.unwrap_or("CREATED").to_owned(), Utc::now())],
        labels: labels.collect(),
        inputs: document.get("inputs").cloned(),
        outputs: document.get("outputs").cloned(),
        trigger: trigger.map(|trigger| {
            json!({
                "id": trigger.get("id"), "type": trigger.get("type"), "variables": trigger.get("variables"),
            })
        }),
        ..seen::Execution::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_has_its_outcome() {
        let body = br#"{"id": "e1", "flowId": "f", "state": {"current": "SUCCESS"}, "outputs": {"a": 1}}"#;
        let Ok(Answer::Created(created)) = answer(200, body) else { panic!("not created") };
        assert_eq!((created.id.as_str(), created.flow.as_str(), created.state.as_str()), ("e1", "f", "SUCCESS"));
        assert_eq!(created.outputs, Some(json!({"a": 1})));
        assert!(matches!(answer(204, b""), Ok(Answer::Nothing)));
        assert!(matches!(answer(404, b"{}"), Err(Refusal::NotFound(_))));
        assert!(matches!(answer(422, b"{}"), Err(Refusal::Rejected(_))));
        assert!(matches!(answer(501, b"{}"), Err(Refusal::Unsupported(_))));
        assert!(matches!(answer(500, b"{}"), Err(Refusal::Fault(_))));
        assert!(matches!(answer(200, b"{}"), Err(Refusal::Fault(_))));
        assert!(matches!(answer(200, b"hello"), Err(Refusal::Fault(_))));
    }
}
