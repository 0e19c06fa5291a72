//! `http.SseRequest`: a stream of server-sent events, read until the server closes it.

use async_trait::async_trait;
use http::{HeaderValue, header};
use serde_json::{Value, json};
use windhover_flow::{Text, text_of};
use windhover_types::{JsonMap, Level};

use super::{
    call::{Call, Exchange, MAX_BODY, log_request, log_response_headers, refusal},
    events::{Event, Events},
    failure, header_map,
    options::Options,
};
use crate::{Metric, Task, TaskContext, TaskError, TaskOutcome};

/// A failure quotes so many characters of an event.
const MAX_QUOTED: usize = 500;

/// Collects the events of a stream.
pub(crate) struct SseRequest;

#[async_trait]
impl Task for SseRequest {
    async fn run(&self, context: &TaskContext) -> Result<TaskOutcome, TaskError> {
        let call = Call::of(context).await?;
        let program = context.text("concatJqExpression").await?.filter(|program| !program.trim().is_empty());
        let fails_on_missing = context.bool("failedOnMissingJq").await?.unwrap_or(true);
        let options = Options::parse(call.options.clone())?;
        let url = call.target()?;
        let mut request = call.request(&options, url.clone(), Some(MAX_BODY))?;
        request.headers.entry(header::ACCEPT).or_insert(HeaderValue::from_static("text/event-stream"));
        log_request(context, &options, &request);
        let (sent, method) = (request.body.len(), request.method.to_string());
        let mut answer = context.services.http.open(request).await?;
        log_response_headers(context, &options, &answer.headers);

        let (status, headers) = (answer.status, header_map(&answer.headers));
        let mut outcome = if call.accepts(&options, status) {
            let mut events = Events::default();
            while let Some(piece) = answer.chunk().await? {
                events.add(&piece);
            }
            let events: Vec<Value> = events.finish().into_iter().map(shown).collect();
            let size = events.len();
            let result = match &program {
                Some(program) => concatenated(context, program, &events, fails_on_missing).await?,
                None => None,
            };
            let mut outputs = JsonMap::new();
            outputs.insert("uri".to_owned(), json!(url.as_str()));
            outputs.insert("code".to_owned(), json!(status));
            outputs.insert("headers".to_owned(), Value::Object(headers));
            outputs.insert("events".to_owned(), if result.is_some() { Value::Null } else { Value::Array(events) });
            outputs.insert("size".to_owned(), json!(size));
            outputs.insert("result".to_owned(), json!(result));
            let mut outcome = TaskOutcome::success(Some(Value::Object(outputs)));
            outcome.record(Metric::counter("size", size as f64, &[]));
            outcome
        } else {
            TaskOutcome::failed(failure(status, &refusal(&mut answer).await))
        };
        let (received, length) = (answer.received(), answer.length());
        Exchange { method: &method, url: &url, sent, status, received, length }.record(&mut outcome);
        Ok(outcome)
    }
}

/// An event as outputs and jq programs see it: data that is JSON is read.
fn shown(event: Event) -> Value {
    let data = serde_json::from_str(&event.data).unwrap_or(Value::String(event.data));
    json!({"data": data, "id": event.id, "name": event.name, "comment": event.comment, "retry": event.retry})
}

/// What the program makes of each event, put together; `None`: nothing of any.
async fn concatenated(
    context: &TaskContext,
    program: &str,
    events: &[Value],
    fails_on_missing: bool,
) -> Result<Option<String>, TaskError> {
    let template = Text::new("{{ event | jq(program) }}");
    let mut result = None;
    for event in events {
        let variables = [("event".to_owned(), event.clone()), ("program".to_owned(), json!(program))];
        let evaluated = context.evaluate_typed(&template, variables.into_iter().collect()).await;
        let values = evaluated.map_err(|error| error.to_string()).map(|value| match value {
            Value::Array(values) => values,
            other => vec![other],
        });
        match values.and_then(|values| last_scalar(&values)) {
            Ok(Some(text)) => result.get_or_insert_with(String::new).push_str(&text),
            Ok(None) => {}
            Err(why) => {
                let shown: String = event.to_string().chars().take(MAX_QUOTED).collect();
                let why = format!("Failed to resolve JQ expression '{program}' and value '{shown}': {why}");
                if fails_on_missing {
                    return Err(TaskError::failed(why));
                }
                context.log(Level::Debug, &format!("{why}; the event is skipped"));
            }
        }
    }
    Ok(result)
}

/// Of several results the last counts, and all have to be texts, numbers or booleans.
fn last_scalar(values: &[Value]) -> Result<Option<String>, String> {
    let wrong = values.iter().find(|value| !matches!(value, Value::String(_) | Value::Number(_) | Value::Bool(_)));
    match wrong {
        Some(Value::Null) => Err("it gives null".to_owned()),
        Some(Value::Array(_)) => Err("it gives a list".to_owned()),
        Some(_) => Err("it gives a map".to_owned()),
        None => Ok(values.last().map(text_of)),
    }
}
