//! What is not gRPC on the port: webhooks, files of executions, and JSON errors for everything else.

mod body;
mod download;
mod short;
mod waiting;
mod webhook;

use std::{panic::AssertUnwindSafe, sync::Arc, time::Instant};

use axum::{
    Router,
    body::Body,
    extract::{Request, rejection::PathRejection},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{any, get},
};
use futures::FutureExt;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use windhover_proto::metadata;
use windhover_types::{Error, ErrorKind};

pub(crate) use download::Downloads;
pub(crate) use webhook::Webhooks;

use crate::{
    error::{internal, without_internals},
    request::{new_request_id, request_id, within},
};

/// The HTTP side of the port.
pub(crate) fn router(webhooks: Arc<Webhooks>, downloads: Arc<Downloads>) -> Router {
    let downloads = Router::new()
        .route("/api/v1/executions/{execution}/file", get(download::of_caller))
        .route("/api/v1/{tenant}/executions/{execution}/file", get(download::in_tenant))
        .method_not_allowed_fallback(only_read)
        .with_state(downloads);
    Router::new()
        .route("/api/v1/executions/webhook/{namespace}/{flow}/{key}", any(webhook::in_default_tenant))
        .route("/api/v1/{tenant}/executions/webhook/{namespace}/{flow}/{key}", any(webhook::in_tenant))
        .route("/api/v1/triggers/webhook", any(short::without_key))
        .route("/api/v1/triggers/webhook/{key}", any(short::with_key))
        .fallback(unknown_path)
        .with_state(webhooks)
        .merge(downloads)
        .layer(middleware::from_fn(around))
}

async fn only_read() -> HttpError {
    HttpError::new(StatusCode::METHOD_NOT_ALLOWED, "files are read here, by GET")
}

async fn unknown_path() -> HttpError {
    HttpError::new(
        StatusCode::NOT_FOUND,
        "Not Found: there is nothing at this path; calls are gRPC or gRPC-web, webhooks stand under /api/v1/executions/webhook",
    )
}

/// An id for every request, and an answer also when a handler panics. The path is not logged: it may hold a key.
async fn around(request: Request, next: Next) -> Response {
    let id = new_request_id();
    let begun = Instant::now();
    let method = request.method().clone();
    let mut response = within(Arc::clone(&id), async {
        match AssertUnwindSafe(next.run(request)).catch_unwind().await {
            Ok(response) => response,
            Err(_) => {
                tracing::error!(request_id = %id, "an HTTP handler panicked");
                HttpError::from(internal(&id)).into_response()
            }
        }
    })
    .await;
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(metadata::REQUEST_ID, value);
    }
    tracing::debug!(request_id = %id, %method, status = response.status().as_u16(), micros = begun.elapsed().as_micros() as u64, "HTTP request");
    response
}

/// An error of the HTTP side: `{"message": …}` (operations reference 8.2).
#[derive(Debug)]
pub(crate) struct HttpError {
    status: StatusCode,
    message: String,
    reason: Option<&'static str>,
    fields: Vec<(String, String)>,
    retry_after: Option<u64>,
}

impl HttpError {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), reason: None, fields: Vec::new(), retry_after: None }
    }
}

impl From<Error> for HttpError {
    fn from(error: Error) -> Self {
        let error = without_internals(error);
        let status = match error.kind {
            ErrorKind::InvalidArgument => StatusCode::UNPROCESSABLE_ENTITY,
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::AlreadyExists | ErrorKind::FailedPrecondition | ErrorKind::Aborted => StatusCode::CONFLICT,
            ErrorKind::PermissionDenied => StatusCode::FORBIDDEN,
            ErrorKind::Unauthenticated => StatusCode::UNAUTHORIZED,
            ErrorKind::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
            ErrorKind::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
            ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            ErrorKind::Unimplemented => StatusCode::NOT_IMPLEMENTED,
            ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self {
            status,
            message: error.message,
            reason: Some(error.reason),
            fields: error.fields.into_iter().map(|field| (field.field, field.description)).collect(),
            retry_after: error.retry_after.map(|after| after.as_secs().max(1)),
        }
    }
}

/// What is wrong with the parts of a path, e.g. bytes that are no UTF-8.
impl From<PathRejection> for HttpError {
    fn from(rejection: PathRejection) -> Self {
        Self::new(StatusCode::BAD_REQUEST, format!("path: {}", rejection.body_text()))
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let mut body = json!({"message": self.message, "requestId": *request_id()});
        if let Value::Object(map) = &mut body {
            if let Some(reason) = self.reason {
                map.insert("reason".into(), json!(reason));
            }
            if !self.fields.is_empty() {
                let errors: Vec<_> =
                    self.fields.iter().map(|(path, message)| json!({"path": path, "message": message})).collect();
                map.insert("_embedded".into(), json!({"errors": errors}));
            }
        }
        let mut response = json_response(self.status, &body);
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

pub(crate) fn json_response(status: StatusCode, body: &Value) -> Response {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
