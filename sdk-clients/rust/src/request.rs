//! Requests that are easier to build than to write out.

use std::time::SystemTime;

use serde_json::Value;

use crate::v1::{CreateExecutionRequest, Json, Label};

/// A value as the API carries it.
pub fn json(value: &Value) -> Json {
    Json { text: value.to_string() }
}

/// What to start and with what; becomes a [`CreateExecutionRequest`].
#[derive(Debug, Clone, Default)]
pub struct NewExecution {
    request: CreateExecutionRequest,
}

impl NewExecution {
    /// The newest revision of this flow, without inputs.
    pub fn of(namespace: impl Into<String>, flow_id: impl Into<String>) -> Self {
        Self {
            request: CreateExecutionRequest {
                namespace: namespace.into(),
                flow_id: flow_id.into(),
                ..CreateExecutionRequest::default()
            },
        }
    }

    /// A value for an input. A text is read as whatever type the input has.
    #[must_use]
    pub fn input(mut self, id: impl Into<String>, value: impl Into<Value>) -> Self {
        self.request.inputs.insert(id.into(), json(&value.into()));
        self
    }

    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.request.labels.push(Label { key: key.into(), value: value.into() });
        self
    }

    #[must_use]
    pub fn revision(mut self, revision: u32) -> Self {
        self.request.revision = Some(revision);
        self
    }

    /// Not before this time.
    #[must_use]
    pub fn schedule(mut self, at: SystemTime) -> Self {
        self.request.schedule_time = Some(at.into());
        self
    }

    /// Makes it safe to send the same request again.
    #[must_use]
    pub fn request_id(mut self, id: impl Into<String>) -> Self {
        self.request.request_id = id.into();
        self
    }
}

impl From<NewExecution> for CreateExecutionRequest {
    fn from(new: NewExecution) -> Self {
        new.request
    }
}
