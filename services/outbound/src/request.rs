//! What is sent and what comes back.

use std::{fmt, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method};
use windhover_types::Secret;

/// One outgoing call.
#[derive(Clone)]
pub struct Request {
    pub method: Method,
    pub url: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// For the TCP and TLS handshakes.
    pub connect_timeout: Option<Duration>,
    /// Between two parts of the answer.
    pub read_idle_timeout: Option<Duration>,
    /// For everything, redirects included; at most what the client allows.
    pub timeout: Option<Duration>,
    /// Of the body, in bytes; at most what the client allows.
    pub max_response_bytes: Option<usize>,
    pub follow_redirects: bool,
    /// Accept every certificate.
    pub insecure_tls: bool,
    pub proxy: Option<Proxy>,
    /// Shown to the server of `url` when it demands a digest (401): the request is then sent once more with it.
    pub digest: Option<Login>,
}

impl Request {
    /// A request without headers, body, proxy or limits of its own, that follows redirects.
    pub fn new(method: Method, url: impl Into<String>) -> Self {
        Self {
            method,
            url: url.into(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            connect_timeout: None,
            read_idle_timeout: None,
            timeout: None,
            max_response_bytes: None,
            follow_redirects: true,
            insecure_tls: false,
            proxy: None,
            digest: None,
        }
    }
}

/// Method and host only.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = reqwest::Url::parse(&self.url).ok().and_then(|url| url.host_str().map(str::to_owned));
        f.debug_struct("Request").field("method", &self.method).field("host", &host).finish_non_exhaustive()
    }
}

/// Who asks, and what proves it.
#[derive(Debug, Clone)]
pub struct Login {
    pub user: String,
    pub password: Secret,
}

/// A proxy that one request goes through. Its own address is checked as any other.
#[derive(Debug, Clone)]
pub struct Proxy {
    pub kind: ProxyKind,
    pub address: String,
    pub port: u16,
    pub credentials: Option<(String, Secret)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyKind {
    Http,
    Socks,
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Response {
    /// Where it came from, after redirects.
    pub url: reqwest::Url,
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Response {
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The length of the body in bytes, where the server has told it.
    pub fn length(&self) -> Option<u64> {
        self.headers.get(http::header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
    }

    /// The body as text, for people: what is not UTF-8 is replaced.
    pub fn text_lossy(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}
