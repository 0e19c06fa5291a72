//! `http.Request`.

use async_trait::async_trait;
use http::{HeaderMap, HeaderValue, Method, header};
use serde_json::{Value, json};
use windhover_flow::{PropertyError, text_of};
use windhover_outbound::{Request, Response, Url};
use windhover_types::{JsonMap, Level};

use super::{
    charset, failure, form, header_map,
    options::{LogPart, Options, headers},
};
use crate::{Metric, Task, TaskContext, TaskError, TaskOutcome};

/// Larger bodies fail the task (flow model 1.x reference 5.4).
const MAX_BODY: usize = 19 << 20;

/// Sends one request and gives its answer back.
pub(crate) struct HttpRequest;

/// The properties, rendered.
struct Rendered {
    uri: String,
    method: String,
    params: JsonMap,
    headers: JsonMap,
    body: Option<String>,
    form: Option<JsonMap>,
    content_type: Option<String>,
    options: Option<JsonMap>,
    allow_failed: bool,
    insecure_tls: bool,
    encrypt_body: bool,
}

#[async_trait]
impl Task for HttpRequest {
    async fn run(&self, context: &TaskContext) -> Result<TaskOutcome, TaskError> {
        let rendered = render(context).await?;
        if rendered.encrypt_body {
            return Err(TaskError::failed("encryptBody: this server has no encryption key for outputs"));
        }
        let options = Options::parse(rendered.options.clone())?;
        let url = target(&rendered)?;
        let request = build(&rendered, &options, url.clone())?;
        log_request(context, &options, &request);
        let bytes_sent = request.body.len();
        let method = request.method.to_string();
        let response = context.services.http.send(request).await?;
        log_response(context, &options, &response);
        let mut outcome = judge(&rendered, &options, &url, &response)?;
        metrics(&mut outcome, &method, &url, bytes_sent, &response);
        Ok(outcome)
    }
}

async fn render(context: &TaskContext) -> Result<Rendered, PropertyError> {
    context
        .render(|properties, environment| {
            let ssl = properties.map("sslOptions", environment)?.unwrap_or_default();
            Ok(Rendered {
                uri: properties.required_text("uri", environment)?,
                method: properties.text("method", environment)?.unwrap_or_else(|| "GET".to_owned()),
                params: properties.map("params", environment)?.unwrap_or_default(),
                headers: properties.map("headers", environment)?.unwrap_or_default(),
                body: properties.text("body", environment)?,
                form: properties.map("formData", environment)?,
                content_type: properties.text("contentType", environment)?,
                options: properties.map("options", environment)?,
                allow_failed: properties.bool("allowFailed", environment)?.unwrap_or(false),
                insecure_tls: ssl.get("insecureTrustAllCertificates").is_some_and(|value| text_of(value) == "true"),
                encrypt_body: properties.bool("encryptBody", environment)?.unwrap_or(false),
            })
        })
        .await
}

/// The address with the parameters in its query; blanks are written as such.
fn target(rendered: &Rendered) -> Result<Url, TaskError> {
    let text = rendered.uri.trim().replace(' ', "%20");
    let mut url = Url::parse(&text).map_err(|error| TaskError::failed(format!("uri: invalid URL: {error}")))?;
    form::append_query(&mut url, &rendered.params);
    Ok(url)
}

fn build(rendered: &Rendered, options: &Options, url: Url) -> Result<Request, TaskError> {
    let method = Method::from_bytes(rendered.method.trim().to_ascii_uppercase().as_bytes())
        .map_err(|_| TaskError::failed("method: this is no method of HTTP"))?;
    let mut request = Request::new(method, url);
    request.headers = options.headers.clone();
    for (name, value) in headers("headers", Some(&rendered.headers))? {
        // The iterator names a header once for several values.
        if let Some(name) = name {
            request.headers.remove(&name);
            request.headers.append(name, value);
        } else if let Some(last) = request.headers.keys().last().cloned() {
            request.headers.append(last, value);
        }
    }
    options.apply(&mut request);
    request.insecure_tls |= rendered.insecure_tls;
    let limit = options.max_content_length.map_or(MAX_BODY, |limit| limit.min(MAX_BODY));
    request.max_response_bytes = Some(limit);
    let content_type = content(rendered, options, &mut request)?;
    if let Some(content_type) = content_type {
        let value = HeaderValue::from_str(&content_type)
            .map_err(|_| TaskError::failed("contentType: this is no value of a header"))?;
        request.headers.insert(header::CONTENT_TYPE, value);
    }
    Ok(request)
}

/// Sets the body and tells its content type: what the task names, what a form is, what the headers say, JSON.
fn content(rendered: &Rendered, options: &Options, request: &mut Request) -> Result<Option<String>, TaskError> {
    if let Some(data) = &rendered.form {
        let multipart = rendered.content_type.as_deref().map(str::trim) == Some("multipart/form-data");
        let form = form::encode(data, multipart, &boundary(data)).map_err(TaskError::failed)?;
        request.body = form.body.into();
        let named = rendered.content_type.clone().filter(|_| !multipart);
        return Ok(Some(named.unwrap_or(form.content_type)));
    }
    if let Some(body) = &rendered.body {
        request.body = options.charset.encode(body).0.into_owned().into();
    }
    let in_headers = request.headers.contains_key(header::CONTENT_TYPE);
    let default = (!in_headers).then(|| "application/json".to_owned());
    Ok(rendered.content_type.clone().or(default))
}

/// A boundary that does not occur in the data: found by trying, so that no randomness is needed.
fn boundary(data: &JsonMap) -> String {
    let content = Value::Object(data.clone()).to_string();
    let mut boundary = "windhover-form".to_owned();
    while content.contains(&boundary) {
        boundary.push_str("-x");
    }
    boundary
}

fn judge(rendered: &Rendered, options: &Options, url: &Url, response: &Response) -> Result<TaskOutcome, TaskError> {
    if !options.accepts(response.status, rendered.allow_failed) {
        return Ok(TaskOutcome::failed(failure(response)));
    }
    let charset = charset::of(&response.headers, options.charset);
    let body = charset::decode(&response.body, charset).map_err(TaskError::failed)?;
    let mut outputs = json!({
        "uri": url.as_str(),
        "code": response.status,
        "headers": header_map(&response.headers),
        "body": body,
    });
    if let Some(form) = &rendered.form {
        outputs["formData"] = Value::Object(form.clone());
    }
    Ok(TaskOutcome::success(Some(outputs)))
}

fn metrics(outcome: &mut TaskOutcome, method: &str, url: &Url, bytes_sent: usize, response: &Response) {
    let tag = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let tags = [
        tag("request.method", method),
        tag("request.scheme", url.scheme()),
        tag("request.hostname", url.host_str().unwrap_or_default()),
        tag("response.code", &response.status.to_string()),
    ];
    let length =
        response.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<f64>().ok());
    let mut record = |name: &str, value: f64| outcome.record(Metric::counter(name, value, &tags));
    record("request.count", 1.0);
    record("request.bytes", bytes_sent as f64);
    record("response.count", 1.0);
    record("response.bytes", response.body.len() as f64);
    if let Some(length) = length {
        record("response.length", length);
    }
}

fn log_request(context: &TaskContext, options: &Options, request: &Request) {
    if options.logs.contains(&LogPart::RequestHeaders) {
        context.log(Level::Info, &format!("request headers: {}", headers_text(&request.headers)));
    }
    if options.logs.contains(&LogPart::RequestBody) {
        context.log(Level::Info, &format!("request body: {}", String::from_utf8_lossy(&request.body)));
    }
}

fn log_response(context: &TaskContext, options: &Options, response: &Response) {
    if options.logs.contains(&LogPart::ResponseHeaders) {
        context.log(Level::Info, &format!("response headers: {}", headers_text(&response.headers)));
    }
    if options.logs.contains(&LogPart::ResponseBody) {
        context.log(Level::Info, &format!("response body: {}", response.text_lossy()));
    }
}

/// Headers for people; credentials are not among them.
fn headers_text(headers: &HeaderMap) -> String {
    let secret = [header::AUTHORIZATION, header::PROXY_AUTHORIZATION, header::COOKIE, header::SET_COOKIE];
    let mut shown = headers.clone();
    for name in secret {
        if shown.contains_key(&name) {
            shown.insert(name, HeaderValue::from_static("******"));
        }
    }
    Value::Object(header_map(&shown)).to_string()
}
