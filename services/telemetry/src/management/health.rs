//! Health of the process (operations reference 2.2).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use serde_json::{Map, Value, json};

/// Worse ones last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    Up,
    Unknown,
    Down,
}

impl Status {
    pub const fn as_str(self) -> &'static str {
        match self {
            Status::Up => "UP",
            Status::Unknown => "UNKNOWN",
            Status::Down => "DOWN",
        }
    }
}

/// What an indicator found. Never put credentials into details: anybody may read them.
#[derive(Debug, Clone)]
pub struct Health {
    pub status: Status,
    pub details: Map<String, Value>,
}

impl Health {
    pub fn up() -> Self {
        Self { status: Status::Up, details: Map::new() }
    }

    pub fn down() -> Self {
        Self { status: Status::Down, details: Map::new() }
    }

    /// Down for this reason.
    pub fn error(reason: impl Into<String>) -> Self {
        Self::down().detail("error", reason.into())
    }

    #[must_use]
    pub fn detail(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.details.insert(key.to_owned(), value.into());
        self
    }

    /// A group with one part: a data source under its URL.
    #[must_use]
    pub fn of(name: &str, key: &str, part: Health) -> Self {
        Self { status: part.status, details: Map::from_iter([(key.to_owned(), part.document(name))]) }
    }

    pub(super) fn document(&self, name: &str) -> Value {
        let mut document = json!({"name": name, "status": self.status.as_str()});
        if !self.details.is_empty() {
            document["details"] = Value::Object(self.details.clone());
        }
        document
    }
}

/// Looks at one component.
#[async_trait]
pub trait HealthIndicator: Send + Sync + 'static {
    /// Key in `details`: `jdbc`, `service`, `diskSpace` …
    fn key(&self) -> &str;

    /// `name` is the application's, for [`Health::of`].
    async fn check(&self, name: &str) -> Health;
}

/// `service`: up after the start, until the end begins.
#[derive(Debug, Clone, Default)]
pub struct Ready(Arc<AtomicBool>);

impl Ready {
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Release);
    }
}

#[async_trait]
impl HealthIndicator for Ready {
    fn key(&self) -> &str {
        "service"
    }

    async fn check(&self, _: &str) -> Health {
        if self.0.load(Ordering::Acquire) { Health::up() } else { Health::down() }
    }
}

/// All indicators.
#[derive(Clone)]
pub struct HealthChecks {
    name: String,
    timeout: Duration,
    indicators: Vec<Arc<dyn HealthIndicator>>,
}

impl HealthChecks {
    /// `name`: `micronaut.application.name`. An indicator that takes longer than `timeout` is down.
    pub fn new(name: impl Into<String>, timeout: Duration) -> Self {
        Self { name: name.into(), timeout, indicators: Vec::new() }
    }

    #[must_use]
    pub fn with(mut self, indicator: impl HealthIndicator) -> Self {
        self.indicators.push(Arc::new(indicator));
        self
    }

    /// Asks all indicators at once. Checks of Kestra's own ask for the empty discovery client; it is there.
    pub(super) async fn check(&self) -> (Status, Value) {
        let running: Vec<_> = self.indicators.iter().map(|indicator| self.ask(indicator.clone())).collect();
        let mut status = if running.is_empty() { Status::Unknown } else { Status::Up };
        let discovery = Health::up().detail("services", json!({}));
        let mut details = Map::from_iter([("compositeDiscoveryClient()".to_owned(), discovery.document(&self.name))]);
        for (indicator, asked) in self.indicators.iter().zip(running) {
            let health = asked.await.unwrap_or_else(|_| Health::error("the check itself failed"));
            status = status.max(health.status);
            details.insert(indicator.key().to_owned(), health.document(&self.name));
        }
        (status, json!({"name": self.name, "status": status.as_str(), "details": details}))
    }

    fn ask(&self, indicator: Arc<dyn HealthIndicator>) -> tokio::task::JoinHandle<Health> {
        let (name, timeout) = (self.name.clone(), self.timeout);
        tokio::spawn(async move {
            let late = |_| Health::error(format!("no answer within {} ms", timeout.as_millis()));
            tokio::time::timeout(timeout, indicator.check(&name)).await.unwrap_or_else(late)
        })
    }

    /// The process answers; that is all that liveness asks.
    pub(super) fn alive(&self) -> Value {
        json!({"name": self.name, "status": "UP", "details": {}})
    }
}
