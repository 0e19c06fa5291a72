//! An HTTP server that records what it gets and answers as it is told.

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Received {
    pub method: String,
    /// Without the query.
    pub path: String,
    /// As it was sent, without `?`.
    pub query: String,
    /// Names in lower case; a repeated header is there repeatedly.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Received {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON, if it is.
    pub fn json(&self) -> Option<serde_json::Value> {
        serde_json::from_slice(&self.body).ok()
    }
}

/// What the receiver says on a path.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub body: String,
    pub content_type: String,
    /// How long it waits before it answers.
    pub delay: Duration,
}

impl Default for Answer {
    fn default() -> Self {
        Self { status: 200, body: "ok".to_owned(), content_type: "text/plain".to_owned(), delay: Duration::ZERO }
    }
}

#[derive(Default)]
struct Shared {
    received: Mutex<Vec<Received>>,
    answers: Mutex<HashMap<String, Answer>>,
    arrived: Notify,
}

/// A running receiver on a free port of the loopback interface; it ends when this is dropped.
pub struct Receiver {
    shared: Arc<Shared>,
    address: SocketAddr,
    _stop: oneshot::Sender<()>,
}

impl Receiver {
    pub async fn start() -> anyhow::Result<Self> {
        let shared = Arc::new(Shared::default());
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let router = Router::new().fallback(receive).with_state(Arc::clone(&shared));
        let (stop, stopped) = oneshot::channel::<()>();
        let server = axum::serve(listener, router).into_future();
        tokio::spawn(async move {
            tokio::select! {
                _ = server => {}
                _ = stopped => {}
            }
        });
        Ok(Self { shared, address, _stop: stop })
    }

    /// `http://127.0.0.1:PORT`, without a slash at its end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A Sentry DSN that leads here.
    pub fn dsn(&self) -> String {
        format!("http://0123456789abcdef0123456789abcdef@{}/1", self.address)
    }

    /// From now on this is what it says on `path`.
    pub fn answer(&self, path: &str, answer: Answer) {
        self.shared.answers.lock().insert(path.to_owned(), answer);
    }

    /// Everything that came, in order of arrival.
    pub fn received(&self) -> Vec<Received> {
        self.shared.received.lock().clone()
    }

    pub fn received_on(&self, path: &str) -> Vec<Received> {
        self.shared.received.lock().iter().filter(|request| request.path == path).cloned().collect()
    }

    pub fn count(&self) -> usize {
        self.shared.received.lock().len()
    }

    pub fn clear(&self) {
        self.shared.received.lock().clear();
    }

    /// Everything that came, once it is at least `count`.
    pub async fn wait_for(&self, count: usize, timeout: Duration) -> anyhow::Result<Vec<Received>> {
        let waiting = async {
            loop {
                let arrived = self.shared.arrived.notified();
                tokio::pin!(arrived);
                // Before looking, so that a request in between is not missed.
                arrived.as_mut().enable();
                if self.count() >= count {
                    return self.received();
                }
                arrived.await;
            }
        };
        let got = || format!("{} requests of {count} came within {timeout:?}", self.count());
        tokio::time::timeout(timeout, waiting).await.map_err(|_| anyhow::anyhow!(got()))
    }
}

async fn receive(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let headers = headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let path = uri.path().to_owned();
    let answer = shared.answers.lock().get(&path).cloned().unwrap_or_default();
    shared.received.lock().push(Received {
        method: method.to_string(),
        path,
        query: uri.query().unwrap_or_default().to_owned(),
        headers,
        body: body.to_vec(),
    });
    shared.arrived.notify_waiters();
    if !answer.delay.is_zero() {
        tokio::time::sleep(answer.delay).await;
    }
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(header::CONTENT_TYPE, answer.content_type)], answer.body).into_response()
}
