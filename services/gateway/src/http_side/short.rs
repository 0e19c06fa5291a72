//! The short paths of the seed documents: no flow in the URL, so only the default tenant's one webhook can be meant.

use std::sync::Arc;

use axum::{
    extract::{Path, Request, State, rejection::PathRejection},
    response::Response,
};
use http::StatusCode;
use windhover_executor::StoredFlow;

use super::{
    HttpError, Webhooks,
    webhook::{Called, check_method, enabled_webhooks},
};

pub(crate) async fn without_key(
    State(webhooks): State<Arc<Webhooks>>,
    request: Request,
) -> Result<Response, HttpError> {
    webhooks.call_short(None, request).await
}

pub(crate) async fn with_key(
    State(webhooks): State<Arc<Webhooks>>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, HttpError> {
    let Path(key) = path?;
    webhooks.call_short(Some(&key), request).await
}

/// A flow and which of its triggers.
type Candidate = (Arc<StoredFlow>, String);

impl Webhooks {
    async fn call_short(&self, key: Option<&str>, request: Request) -> Result<Response, HttpError> {
        check_method(request.method())?;
        self.admit(&self.default_tenant).await?;
        let (stored, id) = only(self.candidates(key).await, key.is_some())?;
        let Ok(flow) = stored.flow.clone() else { return Err(ambiguous(0, key.is_some())) };
        let chosen = enabled_webhooks(&flow).find(|(trigger, _)| trigger.id == id);
        let Some((trigger, webhook)) = chosen else { return Err(ambiguous(0, key.is_some())) };
        let called = Called { stored, flow: Arc::clone(&flow), trigger, webhook };
        self.run(called, request).await
    }

    async fn candidates(&self, key: Option<&str>) -> Vec<Candidate> {
        let mut found = Vec::new();
        for stored in self.creator.flows.webhooks(&self.default_tenant) {
            let Ok(flow) = stored.flow.clone() else { continue };
            if flow.disabled {
                continue;
            }
            match key {
                None => {
                    found.extend(enabled_webhooks(&flow).map(|(trigger, _)| (Arc::clone(&stored), trigger.id.clone())))
                }
                Some(key) => {
                    let with_key = self.with_key(&stored, &flow, key).await;
                    found.extend(with_key.map(|(trigger, _)| (Arc::clone(&stored), trigger.id.clone())));
                }
            }
        }
        found
    }
}

fn only(mut candidates: Vec<Candidate>, by_key: bool) -> Result<Candidate, HttpError> {
    match candidates.len() {
        1 => Ok(candidates.swap_remove(0)),
        count => Err(ambiguous(count, by_key)),
    }
}

/// Names the paths that say which webhook is meant, not the webhooks: callers have shown no key.
fn ambiguous(count: usize, by_key: bool) -> HttpError {
    let which = if by_key { "with this key" } else { "to choose" };
    let found = if count == 0 {
        format!("there is no webhook {which}")
    } else {
        format!("there is more than one webhook {which}")
    };
    HttpError::new(
        StatusCode::NOT_FOUND,
        format!(
            "Webhook not found: {found}; use /api/v1/executions/webhook/{{namespace}}/{{flow}}/{{key}} or /api/v1/{{tenant}}/executions/webhook/{{namespace}}/{{flow}}/{{key}}"
        ),
    )
}
