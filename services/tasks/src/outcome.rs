//! How an attempt ended.

use serde_json::Value;
use windhover_engine::MetricKind;
use windhover_flow::PropertyError;
use windhover_outbound::OutboundError;
use windhover_types::State;

/// Why an attempt failed: a sentence for whoever reads the log. Secrets are masked by the worker.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TaskError {
    #[error(transparent)]
    Property(#[from] PropertyError),
    #[error(transparent)]
    Outbound(#[from] OutboundError),
    #[error("{0}")]
    Failed(String),
}

impl TaskError {
    pub fn failed(message: impl Into<String>) -> Self {
        Self::Failed(message.into())
    }
}

/// What an attempt left behind, besides its log lines.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskOutcome {
    /// SUCCESS, WARNING or FAILED.
    pub state: State,
    /// Of a failed attempt.
    pub error: Option<String>,
    pub outputs: Option<Value>,
    pub metrics: Vec<Metric>,
    /// The outputs of the WorkingDirectory around the task, as they are now.
    pub directory_outputs: Option<Value>,
}

impl TaskOutcome {
    pub fn success(outputs: Option<Value>) -> Self {
        Self { state: State::Success, error: None, outputs, metrics: Vec::new(), directory_outputs: None }
    }

    pub fn failed(error: impl Into<String>) -> Self {
        Self {
            state: State::Failed,
            error: Some(error.into()),
            outputs: None,
            metrics: Vec::new(),
            directory_outputs: None,
        }
    }

    /// Records a metric; one of the same kind, name and tags is added to (operations reference 1.5), and of a gauge the
    /// last value counts.
    pub fn record(&mut self, metric: Metric) {
        match self.metrics.iter_mut().find(|known| known.same_series(&metric)) {
            Some(known) if metric.kind == MetricKind::Gauge => known.value = metric.value,
            Some(known) => known.value += metric.value,
            None => self.metrics.push(metric),
        }
    }
}

/// A number that a task published.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    pub name: String,
    pub kind: MetricKind,
    /// Milliseconds for timers.
    pub value: f64,
    pub tags: Vec<(String, String)>,
}

impl Metric {
    pub fn counter(name: impl Into<String>, value: f64, tags: &[(String, String)]) -> Self {
        Self { name: name.into(), kind: MetricKind::Counter, value, tags: tags.to_vec() }
    }

    fn same_series(&self, other: &Self) -> bool {
        self.kind == other.kind && self.name == other.name && self.tags == other.tags
    }
}
