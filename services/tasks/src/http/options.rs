//! `options` of HTTP tasks: the nested form of 1.x and the flat one of before.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use encoding_rs::{Encoding, UTF_8};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde_json::Value;
use windhover_flow::{parse_duration, text_of};
use windhover_outbound::{Login, Proxy, ProxyKind, Request};
use windhover_types::{JsonMap, Secret};

use super::charset;
use crate::TaskError;

/// Parts of the exchange that are written to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogPart {
    RequestHeaders,
    RequestBody,
    ResponseHeaders,
    ResponseBody,
}

#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) read_timeout: Option<Duration>,
    pub(crate) read_idle_timeout: Option<Duration>,
    pub(crate) max_content_length: Option<usize>,
    pub(crate) authorization: Option<HeaderValue>,
    pub(crate) digest: Option<Login>,
    pub(crate) proxy: Option<Proxy>,
    pub(crate) insecure_tls: bool,
    pub(crate) follow_redirects: bool,
    pub(crate) allow_failed: bool,
    pub(crate) allowed_codes: Option<Vec<u16>>,
    pub(crate) charset: &'static Encoding,
    pub(crate) headers: HeaderMap,
    pub(crate) logs: Vec<LogPart>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: None,
            read_timeout: None,
            read_idle_timeout: None,
            max_content_length: None,
            authorization: None,
            digest: None,
            proxy: None,
            insecure_tls: false,
            follow_redirects: true,
            allow_failed: false,
            allowed_codes: None,
            charset: UTF_8,
            headers: HeaderMap::new(),
            logs: Vec::new(),
        }
    }
}

impl Options {
    /// From the rendered property.
    pub(crate) fn parse(options: Option<JsonMap>) -> Result<Self, TaskError> {
        let Some(map) = options else {
            return Ok(Self::default());
        };
        let root = Reader { map: Some(&map), path: "options".to_owned() };
        let (timeout, ssl) = (root.child("timeout")?, root.child("ssl")?);
        let (authorization, digest) = match credentials(&root)? {
            Some(Credentials::Header(value)) => (Some(value), None),
            Some(Credentials::Digest(login)) => (None, Some(login)),
            None => (None, None),
        };
        let either = |nested: Option<Duration>, flat: Option<Duration>| nested.or(flat);
        Ok(Self {
            connect_timeout: either(timeout.duration("connectTimeout")?, root.duration("connectTimeout")?),
            read_timeout: root.duration("readTimeout")?,
            read_idle_timeout: either(timeout.duration("readIdleTimeout")?, root.duration("readIdleTimeout")?),
            max_content_length: root
                .number("maxContentLength")?
                .map(|bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX)),
            authorization,
            digest,
            proxy: proxy(&root)?,
            insecure_tls: ssl.bool("insecureTrustAllCertificates")?.unwrap_or(false),
            follow_redirects: root.bool("followRedirects")?.unwrap_or(true),
            allow_failed: root.bool("allowFailed")?.unwrap_or(false),
            allowed_codes: allowed_codes(&root)?,
            charset: root
                .text("defaultCharset")
                .map_or(Ok(UTF_8), |name| charset::charset(&name))
                .map_err(|error| root.error("defaultCharset", error))?,
            headers: headers("options.headers", root.child("headers")?.map)?,
            logs: logs(&root)?,
        })
    }

    /// Puts on the request what is not its content.
    pub(crate) fn apply(&self, request: &mut Request) {
        request.connect_timeout = self.connect_timeout;
        request.read_idle_timeout = self.read_idle_timeout;
        request.timeout = self.read_timeout;
        request.max_response_bytes = self.max_content_length;
        request.follow_redirects = self.follow_redirects;
        request.insecure_tls = self.insecure_tls;
        request.proxy = self.proxy.clone();
        request.digest = self.digest.clone();
        if let Some(authorization) = &self.authorization {
            request.headers.insert(header::AUTHORIZATION, authorization.clone());
        }
    }

    /// Whether the answer's status is a success (flow model 1.x reference 5.4).
    pub(crate) fn accepts(&self, status: u16, allow_failed: bool) -> bool {
        match &self.allowed_codes {
            Some(codes) => codes.contains(&status),
            None => status < 400 || allow_failed || self.allow_failed,
        }
    }
}

/// A map of headers; errors name the header, not its value. A list gives several of the same name.
pub(crate) fn headers(path: &str, map: Option<&JsonMap>) -> Result<HeaderMap, TaskError> {
    let mut headers = HeaderMap::new();
    for (name, value) in map.into_iter().flatten() {
        let invalid = |what: &str| TaskError::failed(format!("{path}.{name}: this is no {what} of a header"));
        let key = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| invalid("name"))?;
        let values = match value {
            Value::Null => continue,
            Value::Array(values) => values.iter().map(text_of).collect(),
            value => vec![text_of(value)],
        };
        for value in values {
            let value = HeaderValue::from_bytes(value.trim().as_bytes()).map_err(|_| invalid("value"))?;
            headers.append(key.clone(), value);
        }
    }
    Ok(headers)
}

/// What a server gets to see of the user.
enum Credentials {
    /// `authorization`, with every request.
    Header(HeaderValue),
    /// When it asks for them.
    Digest(Login),
}

fn credentials(root: &Reader<'_>) -> Result<Option<Credentials>, TaskError> {
    let auth = root.child("auth")?;
    let basic = |user: String, password: String| format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
    let (user, password) = (auth.text("username").unwrap_or_default(), auth.text("password").unwrap_or_default());
    let text = match auth.text("type").map(|kind| kind.trim().to_ascii_uppercase()).as_deref() {
        Some("BASIC") => basic(user, password),
        Some("DIGEST") => {
            return Ok(Some(Credentials::Digest(Login { user, password: Secret::new(password) })));
        }
        Some("BEARER") => {
            let token = auth.text("token").ok_or_else(|| auth.error("token", "must not be null"))?;
            format!("Bearer {}", token.trim())
        }
        Some(other) => return Err(auth.error("type", format!("`{other}` is none of BASIC, BEARER, DIGEST"))),
        None => match (root.text("basicAuthUser"), root.text("basicAuthPassword")) {
            (Some(user), Some(password)) => basic(user, password),
            _ => return Ok(None),
        },
    };
    let mut value = HeaderValue::from_str(&text).map_err(|_| auth.error("token", "holds what no header can hold"))?;
    value.set_sensitive(true);
    Ok(Some(Credentials::Header(value)))
}

fn proxy(root: &Reader<'_>) -> Result<Option<Proxy>, TaskError> {
    let nested = root.child("proxy")?;
    let get = |nested_name: &str, flat: &str| nested.text(nested_name).or_else(|| root.text(flat));
    let Some(address) = get("address", "proxyAddress") else {
        return Ok(None);
    };
    let kind = match get("type", "proxyType").map(|kind| kind.trim().to_ascii_uppercase()).as_deref() {
        None | Some("DIRECT") => return Ok(None),
        Some("HTTP") => ProxyKind::Http,
        Some("SOCKS") => ProxyKind::Socks,
        Some(other) => return Err(nested.error("type", format!("`{other}` is none of DIRECT, HTTP, SOCKS"))),
    };
    let port = match nested.number("port")? {
        Some(port) => Some(port),
        None => root.number("proxyPort")?,
    };
    let port = port.ok_or_else(|| nested.error("port", "must not be null"))?;
    let credentials = get("username", "proxyUsername")
        .map(|user| (user, Secret::new(get("password", "proxyPassword").unwrap_or_default())));
    Ok(Some(Proxy { kind, address, port, credentials }))
}

fn allowed_codes(root: &Reader<'_>) -> Result<Option<Vec<u16>>, TaskError> {
    let Some(list) = root.list("allowedResponseCodes")? else {
        return Ok(None);
    };
    let code = |value: &Value| {
        text_of(value).trim().parse().map_err(|_| root.error("allowedResponseCodes", "expected a list of status codes"))
    };
    list.iter().map(code).collect::<Result<_, _>>().map(Some)
}

fn logs(root: &Reader<'_>) -> Result<Vec<LogPart>, TaskError> {
    let part = |value: &Value| match value.as_str().map(str::trim) {
        Some("REQUEST_HEADERS") => Ok(LogPart::RequestHeaders),
        Some("REQUEST_BODY") => Ok(LogPart::RequestBody),
        Some("RESPONSE_HEADERS") => Ok(LogPart::ResponseHeaders),
        Some("RESPONSE_BODY") => Ok(LogPart::ResponseBody),
        _ => Err(root.error("logs", "expected REQUEST_HEADERS, REQUEST_BODY, RESPONSE_HEADERS or RESPONSE_BODY")),
    };
    root.list("logs")?.unwrap_or_default().iter().map(part).collect()
}

/// Reads converted values out of a rendered map; an empty text is an absent one.
struct Reader<'a> {
    map: Option<&'a JsonMap>,
    path: String,
}

impl<'a> Reader<'a> {
    fn get(&self, name: &str) -> Option<&'a Value> {
        self.map?.get(name).filter(|value| !value.is_null() && value.as_str() != Some(""))
    }

    fn error(&self, name: &str, reason: impl std::fmt::Display) -> TaskError {
        TaskError::failed(format!("{}.{name}: {reason}", self.path))
    }

    fn child(&self, name: &str) -> Result<Reader<'a>, TaskError> {
        let map = match self.get(name) {
            None => None,
            Some(Value::Object(map)) => Some(map),
            Some(_) => return Err(self.error(name, "expected a map")),
        };
        Ok(Reader { map, path: format!("{}.{name}", self.path) })
    }

    fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(text_of)
    }

    fn bool(&self, name: &str) -> Result<Option<bool>, TaskError> {
        let convert = |text: String| match text.trim().to_ascii_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(self.error(name, "expected a boolean")),
        };
        self.text(name).map(convert).transpose()
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, TaskError> {
        let convert = |text: String| text.trim().parse().map_err(|_| self.error(name, "expected a whole number"));
        self.text(name).map(convert).transpose()
    }

    fn duration(&self, name: &str) -> Result<Option<Duration>, TaskError> {
        let convert = |text: String| parse_duration(&text).map_err(|_| self.error(name, "expected a duration"));
        self.text(name).map(convert).transpose()
    }

    fn list(&self, name: &str) -> Result<Option<Vec<Value>>, TaskError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Array(items)) => Ok(Some(items.clone())),
            Some(Value::String(text)) => {
                serde_json::from_str(text).map(Some).map_err(|_| self.error(name, "expected a list"))
            }
            Some(_) => Err(self.error(name, "expected a list")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(value: Value) -> Result<Options, TaskError> {
        Options::parse(value.as_object().cloned())
    }

    #[test]
    fn the_nested_and_the_flat_form_say_the_same() {
        let nested = json!({"timeout": {"connectTimeout": "PT2S", "readIdleTimeout": "PT3S"},
            "auth": {"type": "BASIC", "username": "u", "password": "p"},
            "proxy": {"type": "SOCKS", "address": "proxy", "port": "1080", "username": "x", "password": "y"}});
        let flat = json!({"connectTimeout": "PT2S", "readIdleTimeout": 3, "basicAuthUser": "u", "basicAuthPassword": "p",
            "proxyType": "SOCKS", "proxyAddress": "proxy", "proxyPort": 1080, "proxyUsername": "x", "proxyPassword": "y"});
        for form in [nested, flat] {
            let options = parse(form).expect("options");
            assert_eq!(options.connect_timeout, Some(Duration::from_secs(2)));
            assert_eq!(options.read_idle_timeout, Some(Duration::from_secs(3)));
            assert_eq!(options.authorization.as_ref().map(HeaderValue::as_bytes), Some(b"Basic dTpw".as_slice()));
            let proxy = options.proxy.expect("a proxy");
            assert_eq!((proxy.kind, proxy.port), (ProxyKind::Socks, 1080));
        }
    }

    #[test]
    fn only_the_codes_that_are_allowed_pass_whatever_else_is_said() {
        let options = parse(json!({"allowFailed": true, "allowedResponseCodes": [404]})).expect("options");
        assert!(options.accepts(404, true) && !options.accepts(200, true));
        assert!(!Options::default().accepts(400, false) && Options::default().accepts(399, false));
        assert!(!parse(json!({"ssl": {"insecureTrustAllCertificates": false}})).expect("options").insecure_tls);
    }

    #[test]
    fn errors_name_the_field_and_not_its_value() {
        for (form, field) in [
            (json!({"auth": {"type": "NTLM", "password": "hunter2"}}), "options.auth.type"),
            (json!({"auth": {"type": "BEARER", "token": "hunter2\n"}}), ""),
            (json!({"auth": {"type": "BEARER", "token": "hun\u{1}ter2"}}), "options.auth.token"),
            (json!({"headers": {"X-Key": "hun\nter2"}}), "options.headers.X-Key"),
            (json!({"timeout": {"connectTimeout": "hunter2"}}), "options.timeout.connectTimeout"),
            (json!({"followRedirects": "hunter2"}), "options.followRedirects"),
            (json!({"logs": ["hunter2"]}), "options.logs"),
            (json!({"defaultCharset": "none-such"}), "options.defaultCharset"),
        ] {
            match parse(form) {
                Ok(_) => assert!(field.is_empty(), "{field} was accepted"),
                Err(error) => {
                    let text = error.to_string();
                    assert!(text.starts_with(field) && !text.contains("hunter2") && !text.contains("ter2"), "{text}");
                }
            }
        }
    }
}
