//! What the functions `http` and `randomPort` of expressions do (expression reference 15.2, 15.3).

use std::{
    net::{Ipv4Addr, TcpListener},
    time::Duration,
};

use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use windhover_engine::HttpQuestion;
use windhover_expression::HttpAnswer;
use windhover_outbound::{Client, Request};

use super::{charset, options::Options};
use crate::TaskError;

/// Longer answers do not come into an expression, in bytes.
const MAX_ANSWER: usize = 16 << 20;

/// Sends what `http` asks for, and answers what came back, whatever its status: within `at_most`.
///
/// # Errors
/// A sentence for the user, without the path, the query and the headers: they may be secret.
pub async fn send(client: &Client, question: &HttpQuestion, at_most: Duration) -> Result<HttpAnswer, String> {
    let (options, request) = request_of(question, at_most).map_err(|error| error.to_string())?;
    let response = client.send(request).await.map_err(|error| error.to_string())?;
    let text = |name| response.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let content_type = text(header::CONTENT_TYPE).to_owned();
    let reason = StatusCode::from_u16(response.status).ok().and_then(|status| status.canonical_reason());
    Ok(HttpAnswer {
        status: response.status,
        reason: reason.unwrap_or_default().to_owned(),
        content_type,
        body: charset::decode(&response.body, charset::of(&response.headers, options.charset))?,
    })
}

fn request_of(question: &HttpQuestion, at_most: Duration) -> Result<(Options, Request), TaskError> {
    let options = match serde_json::from_str(&question.options) {
        Ok(serde_json::Value::Object(map)) => Options::parse(Some(map))?,
        Ok(serde_json::Value::Null) => Options::default(),
        _ => return Err(TaskError::failed("options: a map is expected")),
    };
    let method = Method::from_bytes(question.method.trim().as_bytes())
        .map_err(|_| TaskError::failed("method: this is no method of HTTP"))?;
    let mut request = Request::new(method, question.uri.trim().replace(' ', "%20"));
    request.headers = options.headers.clone();
    for (name, value) in &question.headers {
        let invalid = |what: &str| TaskError::failed(format!("headers.{name}: this is no {what} of a header"));
        let key = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| invalid("name"))?;
        let value = HeaderValue::from_bytes(value.trim().as_bytes()).map_err(|_| invalid("value"))?;
        request.headers.append(key, value);
    }
    options.apply(&mut request);
    if let Some(body) = &question.body {
        request.body = options.charset.encode(body).0.into_owned().into();
    }
    request.timeout = Some(request.timeout.map_or(at_most, |wanted| wanted.min(at_most)));
    request.max_response_bytes = Some(request.max_response_bytes.map_or(MAX_ANSWER, |wanted| wanted.min(MAX_ANSWER)));
    Ok((options, request))
}

/// A TCP port that nobody on this machine listens on at the moment.
///
/// # Errors
/// A sentence for the user: the machine has none.
pub fn free_port() -> Result<u16, String> {
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|error| format!("there is no free port: {error}"))
}
