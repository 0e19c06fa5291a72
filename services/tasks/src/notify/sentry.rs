//! Sentry (notifications reference 9).

use async_trait::async_trait;
use http::{HeaderValue, Method, header};
use serde_json::{Value, json};
use windhover_outbound::{Request, Url};
use windhover_types::Level;

use super::send::mask_tokens;
use crate::{
    Task, TaskContext, TaskError, TaskOutcome,
    context::now,
    http::{Options, failure},
};

const MAX_EVENT: usize = 1 << 20;
const MAX_ENVELOPE: usize = 100 << 20;

/// Sends one event.
pub(crate) struct SentryAlert;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Endpoint {
    Envelope,
    Store,
}

#[async_trait]
impl Task for SentryAlert {
    async fn run(&self, context: &TaskContext) -> Result<TaskOutcome, TaskError> {
        let dsn = context.required_text("dsn").await?.trim().to_owned();
        if dsn.is_empty() {
            return Err(TaskError::failed("dsn: must not be blank"));
        }
        context.task_log().add_secret(&dsn);
        let endpoint = match context.text("endpointType").await?.as_deref().map(str::trim) {
            None | Some("ENVELOPE") => Endpoint::Envelope,
            Some("STORE") => Endpoint::Store,
            Some(other) => {
                return Err(TaskError::failed(format!("endpointType: '{other}' is neither ENVELOPE nor STORE")));
            }
        };
        let payload = match context.text("payload").await? {
            Some(payload) => serde_json::from_str::<Value>(&payload)
                .map_err(|error| TaskError::failed(format!("payload: this is no JSON: {error}")))?,
            None => default_event(context),
        };
        send(context, &dsn, endpoint, &payload).await?;
        Ok(TaskOutcome::success(None))
    }
}

async fn send(context: &TaskContext, dsn: &str, endpoint: Endpoint, event: &Value) -> Result<(), TaskError> {
    let url = url_of(dsn, endpoint)?;
    mask_tokens(context, &url);
    let options = Options::parse(context.map("options").await?)?;
    let event_text = event.to_string();
    context.log(Level::Debug, &format!("Sending: {event_text}"));
    let body = match endpoint {
        Endpoint::Store => event_text,
        Endpoint::Envelope => envelope(context, event, &event_text)?,
    };
    let mut request = Request::new(Method::POST, url);
    request.headers = options.headers.clone();
    request.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    options.apply(&mut request);
    request.body = body.into();
    let response = context.services.http.send(request).await?;
    context.log(Level::Debug, &format!("Response: {}", response.text_lossy()));
    if response.is_success() {
        if response.status == 200 {
            context.log(Level::Info, "Request succeeded");
        }
        return Ok(());
    }
    if endpoint == Endpoint::Envelope && matches!(response.status, 401 | 404) {
        context.log(Level::Error, "The server refuses envelopes: try `endpointType: STORE`");
    } else {
        context.log(Level::Warn, "The event was not taken");
    }
    Err(TaskError::failed(failure(response.status, &response.text_lossy())))
}

/// Where events of a DSN go; what is no DSN is the address itself.
fn url_of(dsn: &str, endpoint: Endpoint) -> Result<String, TaskError> {
    // Never with the text: whoever has it can send events.
    let wrong = || TaskError::failed("dsn: this is neither a DSN of Sentry nor an address");
    let url = Url::parse(dsn).map_err(|_| wrong())?;
    if url.username().is_empty() {
        return Ok(dsn.to_owned());
    }
    let host = url.host_str().ok_or_else(wrong)?;
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let (path, project) = url.path().trim_end_matches('/').rsplit_once('/').ok_or_else(wrong)?;
    if project.is_empty() {
        return Err(wrong());
    }
    let kind = match endpoint {
        Endpoint::Envelope => "envelope",
        Endpoint::Store => "store",
    };
    let (scheme, key) = (url.scheme(), url.username());
    Ok(format!(
        "{scheme}://{host}{port}{path}/api/{project}/{kind}/?sentry_version=7&sentry_client=java&sentry_key={key}"
    ))
}

fn envelope(context: &TaskContext, event: &Value, text: &str) -> Result<String, TaskError> {
    if text.len() > MAX_EVENT {
        return Err(TaskError::failed("Event payload size exceeds 1MB limit"));
    }
    let id = event.get("event_id").and_then(Value::as_str).map_or_else(|| event_id(context), str::to_owned);
    let head = json!({
        "event_id": id, "sdk": {"name": "java", "version": "7"}, "sent_at": now().to_string(),
    });
    let item = json!({
        "type": "event", "length": text.len(), "content_type": "application/json", "filename": "application.log",
    });
    let envelope = format!("{head}\n{item}\n{text}\n");
    if envelope.len() > MAX_ENVELOPE {
        return Err(TaskError::failed("Envelope size exceeds 100MB limit for decompressed data"));
    }
    Ok(envelope)
}

/// What is sent when the flow gives no event.
fn default_event(context: &TaskContext) -> Value {
    json!({
        "exception": {"values": [{"type": "Kestra Alert"}]},
        "event_id": event_id(context),
        "level": "info",
        "platform": "java",
        "timestamp": now().to_string(),
        "extra": {
            "Namespace": context.flow.namespace,
            "Flow ID": context.flow.id,
            "Execution ID": context.execution.to_string(),
        },
    })
}

/// 32 hexadecimal digits that no other event has.
fn event_id(context: &TaskContext) -> String {
    let id = windhover_types::Id::derived(
        now(),
        &[b"sentry", context.task_run.as_bytes(), context.unique_name().as_bytes()],
    );
    id.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dsn_names_its_project_and_anything_else_is_the_address() {
        let url = |dsn: &str, endpoint| url_of(dsn, endpoint).map_err(|error| error.to_string());
        let query = "sentry_version=7&sentry_client=java&sentry_key=abc123";
        assert_eq!(
            url("https://abc123@o1.ingest.sentry.io/42", Endpoint::Envelope),
            Ok(format!("https://o1.ingest.sentry.io/api/42/envelope/?{query}"))
        );
        assert_eq!(
            url("http://abc123:secret@sentry.local:9000/errors/42", Endpoint::Store),
            Ok(format!("http://sentry.local:9000/errors/api/42/store/?{query}"))
        );
        let plain = "http://127.0.0.1:1/hook?x=1";
        assert_eq!(url(plain, Endpoint::Envelope), Ok(plain.to_owned()));
        for wrong in ["nothing", "https://abc123@host/"] {
            let error = url(wrong, Endpoint::Store).unwrap_err();
            assert!(error.starts_with("dsn: ") && !error.contains("abc123"), "{error}");
        }
    }
}
