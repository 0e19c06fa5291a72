//! The HTTP server that cases send to: it records every request and answers as it was told.

use std::{
    collections::HashMap,
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderValue, Response, StatusCode, header::CONTENT_TYPE},
};
use serde_json::Value;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use crate::findings::shorten;

/// More than any case sends.
const MAX_BODY: usize = 64 << 20;

/// A request as it came in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordedRequest {
    pub method: String,
    pub path: String,
    /// In order, decoded.
    pub query: Vec<(String, String)>,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl RecordedRequest {
    pub fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    pub fn summary(&self) -> String {
        format!("{} {} {}", self.method, self.path, shorten(&String::from_utf8_lossy(&self.body), 600))
    }
}

/// What a path is answered with.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub body: String,
    pub content_type: Option<String>,
}

impl Default for Answer {
    fn default() -> Self {
        Self { status: 200, body: "ok".to_owned(), content_type: None }
    }
}

#[derive(Default)]
struct Shared {
    requests: Mutex<Vec<RecordedRequest>>,
    answers: Mutex<HashMap<String, Answer>>,
}

/// A receiver that runs until it is dropped.
pub struct Receiver {
    url: String,
    shared: Arc<Shared>,
    arrived: watch::Receiver<usize>,
    server: JoinHandle<()>,
}

impl Receiver {
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("opening the receiver's port")?;
        let url = format!("http://{}", listener.local_addr()?);
        let shared = Arc::new(Shared::default());
        let (announce, arrived) = watch::channel(0);
        let router = Router::new().fallback(receive).with_state((Arc::clone(&shared), Arc::new(announce)));
        let server = tokio::spawn(async move {
            // Accepting goes on after errors of single connections; it only ends with the task.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { url, shared, arrived, server })
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// From now on this path is answered so.
    pub fn answer(&self, path: String, answer: Answer) {
        lock(&self.shared.answers).insert(path, answer);
    }

    pub fn requests(&self) -> Vec<RecordedRequest> {
        lock(&self.shared.requests).clone()
    }

    /// Number of requests, on this path or on all.
    pub fn count(&self, path: Option<&str>) -> usize {
        lock(&self.shared.requests).iter().filter(|request| path.is_none_or(|path| request.path == path)).count()
    }

    /// Waits for at least so many requests; tells whether they came.
    pub async fn wait(&self, path: Option<&str>, count: usize, timeout: Duration) -> bool {
        let mut arrived = self.arrived.clone();
        let enough = arrived.wait_for(|_| self.count(path) >= count);
        matches!(tokio::time::timeout(timeout, enough).await, Ok(Ok(_)))
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

type Shares = (Arc<Shared>, Arc<watch::Sender<usize>>);

async fn receive(State((shared, announce)): State<Shares>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY).await else {
        // The sender went away in the middle: it was no request.
        return Response::new(Body::empty());
    };
    let path = head.uri.path().to_owned();
    let headers = head
        .headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
    let recorded = RecordedRequest {
        method: head.method.as_str().to_owned(),
        query: head.uri.query().map(query).unwrap_or_default(),
        headers: headers.collect(),
        body: body.to_vec(),
        path: path.clone(),
    };
    let answer = lock(&shared.answers).get(&path).cloned().unwrap_or_default();
    lock(&shared.requests).push(recorded);
    announce.send_modify(|count| *count += 1);
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Some(content_type) = answer.content_type.and_then(|text| HeaderValue::from_str(&text).ok()) {
        response.headers_mut().insert(CONTENT_TYPE, content_type);
    }
    response
}

/// Pairs of a query string, decoded.
fn query(text: &str) -> Vec<(String, String)> {
    let decoded = |part: &str| percent_decoded(&part.replace('+', " "));
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (decoded(key), decoded(value)))
        .collect()
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.filter(|_| first == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whoever panicked while holding it left a whole value behind.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn send(receiver: &Receiver, request: &str) -> String {
        let address = receiver.url().trim_start_matches("http://").to_owned();
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn requests_are_recorded_and_answered_as_told() {
        let receiver = Receiver::start().await.unwrap();
        receiver.answer("/down".into(), Answer { status: 503, body: "down".into(), content_type: Some("a/b".into()) });
        let post = "POST /a/b?x=1&x=a%20b+c HTTP/1.1\r\nhost: h\r\nx-one: 1\r\nconnection: close\r\n\
                    content-length: 7\r\n\r\n{\"a\":1}";
        let answer = send(&receiver, post).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok"), "{answer}");
        let answer = send(&receiver, "GET /down HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("content-type: a/b"), "{answer}");
        assert!(receiver.wait(None, 2, Duration::from_secs(5)).await);
        assert!(!receiver.wait(Some("/down"), 2, Duration::from_millis(1)).await);
        let requests = receiver.requests();
        assert_eq!(requests[0].query, [("x".to_owned(), "1".to_owned()), ("x".to_owned(), "a b c".to_owned())]);
        assert_eq!(requests[0].json(), Some(serde_json::json!({"a": 1})));
        assert!(requests[0].headers.contains(&("x-one".to_owned(), "1".to_owned())));
        assert_eq!((requests[1].method.as_str(), requests[1].path.as_str()), ("GET", "/down"));
    }
}
