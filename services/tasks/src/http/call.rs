//! What every HTTP task does: from its properties to a request, and from the answer to outputs, metrics and log lines.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use serde_json::{Value, json};
use windhover_expression::Environment;
use windhover_flow::{Properties, PropertyError, text_of};
use windhover_outbound::{Incoming, Request, Response, Url};
use windhover_storage::FileUri;
use windhover_types::{Cipher, JsonMap, Level, Secret, sealed_value};

use super::{
    charset, form, header_map,
    options::{LogPart, Options, headers},
};
use crate::{Metric, TaskContext, TaskError, TaskOutcome, directory::namespace_file};

/// Larger bodies fail what reads them into memory (flow model 1.x reference 5.4).
pub(super) const MAX_BODY: usize = 19 << 20;

/// Of the body of a refusal so many bytes are read, to tell them.
const MAX_REFUSAL: u64 = 64 << 10;

/// All files of a form together, in bytes.
const MAX_FORM_FILES: u64 = 64 << 20;

/// The properties that all HTTP tasks and the polling trigger have, rendered.
#[derive(Debug)]
pub(crate) struct Call {
    pub(super) uri: String,
    pub(super) method: String,
    pub(super) params: JsonMap,
    pub(super) headers: JsonMap,
    pub(super) body: Option<String>,
    pub(super) form: Option<JsonMap>,
    pub(super) content_type: Option<String>,
    pub(super) options: Option<JsonMap>,
    pub(super) allow_failed: bool,
    pub(super) insecure_tls: bool,
    /// Contents of the stored files that the form names.
    pub(super) files: BTreeMap<String, Bytes>,
}

impl Call {
    pub(crate) fn render(properties: &Properties, environment: &Environment<'_>) -> Result<Self, PropertyError> {
        let ssl = properties.map("sslOptions", environment)?.unwrap_or_default();
        Ok(Self {
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
            files: BTreeMap::new(),
        })
    }

    /// Renders the properties of a task and brings the files that its form sends.
    pub(super) async fn of(context: &TaskContext) -> Result<Self, TaskError> {
        let mut call = context.render(Self::render).await?;
        let mut left = MAX_FORM_FILES;
        for uri in call.form.as_ref().map(form::stored_files).unwrap_or_default() {
            let content = stored_file(context, uri, left).await;
            let content = content.map_err(|error| TaskError::failed(format!("formData: {error}")))?;
            left -= content.len() as u64;
            call.files.insert(uri.to_owned(), content);
        }
        Ok(call)
    }

    /// The address with the parameters in its query; blanks are written as such.
    pub(super) fn target(&self) -> Result<Url, TaskError> {
        let text = self.uri.trim().replace(' ', "%20");
        let mut url = Url::parse(&text).map_err(|error| TaskError::failed(format!("uri: invalid URL: {error}")))?;
        form::append_query(&mut url, &self.params);
        Ok(url)
    }

    /// The request; of the answer's body at most `limit` bytes are wanted (`None`: what the client allows).
    pub(super) fn request(&self, options: &Options, url: Url, limit: Option<usize>) -> Result<Request, TaskError> {
        let method = Method::from_bytes(self.method.trim().to_ascii_uppercase().as_bytes())
            .map_err(|_| TaskError::failed("method: this is no method of HTTP"))?;
        let mut request = Request::new(method, url);
        request.headers = options.headers.clone();
        for (name, value) in headers("headers", Some(&self.headers))? {
            // The iterator names a header once for several values.
            if let Some(name) = name {
                request.headers.remove(&name);
                request.headers.append(name, value);
            } else if let Some(last) = request.headers.keys().last().cloned() {
                request.headers.append(last, value);
            }
        }
        options.apply(&mut request);
        request.insecure_tls |= self.insecure_tls;
        request.max_response_bytes = match (options.max_content_length, limit) {
            (Some(wanted), Some(limit)) => Some(wanted.min(limit)),
            (wanted, limit) => wanted.or(limit),
        };
        if let Some(content_type) = self.content(options, &mut request)? {
            let value = HeaderValue::from_str(&content_type)
                .map_err(|_| TaskError::failed("contentType: this is no value of a header"))?;
            request.headers.insert(header::CONTENT_TYPE, value);
        }
        Ok(request)
    }

    /// Sets the body and tells its content type: what the task names, what a form is, what the headers say, JSON.
    fn content(&self, options: &Options, request: &mut Request) -> Result<Option<String>, TaskError> {
        if let Some(data) = &self.form {
            let multipart = self.content_type.as_deref().map(str::trim) == Some("multipart/form-data");
            let form = form::encode(data, multipart, &self.files).map_err(TaskError::failed)?;
            request.body = form.body.into();
            let named = self.content_type.clone().filter(|_| !multipart);
            return Ok(Some(named.unwrap_or(form.content_type)));
        }
        if let Some(body) = &self.body {
            request.body = options.charset.encode(body).0.into_owned().into();
        }
        let in_headers = request.headers.contains_key(header::CONTENT_TYPE);
        let default = (!in_headers).then(|| "application/json".to_owned());
        Ok(self.content_type.clone().or(default))
    }

    /// Whether the status of an answer is a success.
    pub(super) fn accepts(&self, options: &Options, status: u16) -> bool {
        options.accepts(status, self.allow_failed)
    }

    /// The outputs of `http.Request` for an answer: a body that is no text is an error.
    pub(super) fn outputs(&self, options: &Options, url: &Url, response: &Response) -> Result<JsonMap, String> {
        let charset = charset::of(&response.headers, options.charset);
        let body = charset::decode(&response.body, charset)?;
        let mut outputs = JsonMap::new();
        outputs.insert("uri".to_owned(), json!(url.as_str()));
        outputs.insert("code".to_owned(), json!(response.status));
        outputs.insert("headers".to_owned(), Value::Object(header_map(&response.headers)));
        outputs.insert("body".to_owned(), Value::String(body));
        if let Some(form) = &self.form {
            outputs.insert("formData".to_owned(), Value::Object(form.clone()));
        }
        Ok(outputs)
    }
}

/// The content of a file of internal storage or of a namespace, of at most `limit` bytes.
async fn stored_file(context: &TaskContext, uri: &str, limit: u64) -> Result<Bytes, TaskError> {
    let file: FileUri = match form::is_of_namespace(uri) {
        true => namespace_file(context, uri).await?,
        false => uri.parse()?,
    };
    Ok(context.services.files.read(&context.tenant, &file, limit).await?)
}

/// Puts the body away encrypted: `encryptedBody` instead of `body`.
///
/// # Errors
/// A sentence for the user, without the body.
pub fn seal_body(outputs: &mut JsonMap, cipher: &dyn Cipher) -> Result<(), String> {
    if let Some(body) = outputs.remove("body") {
        let sealed = cipher.seal(&Secret::new(text_of(&body)));
        let sealed = sealed.map_err(|why| format!("encryptBody: the body cannot be encrypted: {why}"))?;
        outputs.insert("encryptedBody".to_owned(), sealed_value(sealed));
    }
    Ok(())
}

/// What was sent and what came back, for metrics (flow model 1.x reference 5.4).
pub(super) struct Exchange<'a> {
    pub(super) method: &'a str,
    pub(super) url: &'a Url,
    pub(super) sent: usize,
    pub(super) status: u16,
    /// Of the body, in bytes.
    pub(super) received: u64,
    /// What the server has told of that.
    pub(super) length: Option<u64>,
}

impl Exchange<'_> {
    pub(super) fn record(&self, outcome: &mut TaskOutcome) {
        let tag = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let tags = [
            tag("request.method", self.method),
            tag("request.scheme", self.url.scheme()),
            tag("request.hostname", self.url.host_str().unwrap_or_default()),
            tag("response.code", &self.status.to_string()),
        ];
        let mut record = |name: &str, value: f64| outcome.record(Metric::counter(name, value, &tags));
        record("request.count", 1.0);
        record("request.bytes", self.sent as f64);
        record("response.count", 1.0);
        record("response.bytes", self.received as f64);
        if let Some(length) = self.length {
            record("response.length", length as f64);
        }
    }
}

/// The beginning of what a server says instead of an answer that was wanted.
pub(super) async fn refusal(answer: &mut Incoming) -> String {
    let mut text = Vec::new();
    while answer.received() < MAX_REFUSAL {
        match answer.chunk().await {
            Ok(Some(piece)) => text.extend_from_slice(&piece),
            // What has come is better than nothing.
            Ok(None) | Err(_) => break,
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

pub(super) fn log_request(context: &TaskContext, options: &Options, request: &Request) {
    if options.logs.contains(&LogPart::RequestHeaders) {
        context.log(Level::Info, &format!("request headers: {}", headers_text(&request.headers)));
    }
    if options.logs.contains(&LogPart::RequestBody) {
        context.log(Level::Info, &format!("request body: {}", String::from_utf8_lossy(&request.body)));
    }
}

pub(super) fn log_response_headers(context: &TaskContext, options: &Options, headers: &HeaderMap) {
    if options.logs.contains(&LogPart::ResponseHeaders) {
        context.log(Level::Info, &format!("response headers: {}", headers_text(headers)));
    }
}

pub(super) fn log_response_body(context: &TaskContext, options: &Options, response: &Response) {
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
