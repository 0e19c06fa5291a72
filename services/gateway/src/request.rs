//! What happens to every request before and after its handler: an id, credentials, role, rate, panics.

use std::{net::IpAddr, panic::AssertUnwindSafe, sync::Arc, time::Instant};

use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use futures::FutureExt;
use http::{Extensions, HeaderValue};
use tonic::{Code, Status, transport::server::TcpConnectInfo};
use windhover_proto::{metadata, reasons};
use windhover_types::{Error, ErrorKind};

use crate::{
    auth::{Authenticator, Credentials, Rates, Required, required},
    error::{internal, plain_status, status},
};

tokio::task_local! {
    static REQUEST_ID: Arc<str>;
}

/// The id of the request that is being handled; `-` outside of one.
pub(crate) fn request_id() -> Arc<str> {
    REQUEST_ID.try_with(Arc::clone).unwrap_or_else(|_| "-".into())
}

/// Runs `work` as a part of the request with this id (for what goes on in a task of its own).
pub(crate) async fn within<T>(id: Arc<str>, work: impl Future<Output = T>) -> T {
    REQUEST_ID.scope(id, work).await
}

pub(crate) fn new_request_id() -> Arc<str> {
    format!("{:032x}", rand::random::<u128>()).into()
}

/// The address of the other end, if the connection has one.
pub(crate) fn peer(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get::<TcpConnectInfo>()?.remote_addr().map(|address| address.ip())
}

/// What every gRPC request passes.
pub(crate) struct Entry {
    pub(crate) auth: Arc<Authenticator>,
    pub(crate) rates: Arc<Rates>,
    pub(crate) max_request_bytes: usize,
}

/// The layer around all gRPC services.
pub(crate) async fn grpc(State(entry): State<Arc<Entry>>, request: Request, next: Next) -> Response {
    let id = new_request_id();
    let begun = Instant::now();
    let path = request.uri().path().to_owned();
    let handled = within(Arc::clone(&id), async {
        match AssertUnwindSafe(entry.handle(request, next)).catch_unwind().await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => status(error).into_http(),
            Err(_) => {
                tracing::error!(request_id = %id, path, "a handler panicked");
                plain_status(internal(&id)).into_http()
            }
        }
    });
    let mut response = handled.await;
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(metadata::REQUEST_ID, value);
    }
    let code = response.headers().get("grpc-status").and_then(|code| code.to_str().ok()).unwrap_or("0");
    tracing::debug!(request_id = %id, path, code, micros = begun.elapsed().as_micros() as u64, "request");
    response
}

impl Entry {
    async fn handle(&self, mut request: Request, next: Next) -> Result<Response, Error> {
        let path = request.uri().path();
        let Some(required) = required(path) else {
            let message = format!("there is no method {path}");
            return Err(Error::new(ErrorKind::Unimplemented, reasons::METHOD_NOT_FOUND, message));
        };
        let Required::Role(role) = required else { return Ok(next.run(request).await) };
        let credentials = Credentials {
            headers: request.headers(),
            peer: peer(request.extensions()),
            now: windhover_executor::now(),
        };
        let caller = self.auth.caller(&credentials).await?;
        caller.require(role)?;
        self.rates.check(&caller.tenant)?;
        request.extensions_mut().insert(caller);
        let response = next.run(request).await;
        match self.refused_by_transport(&response) {
            Some(error) => Err(error),
            None => Ok(response),
        }
    }

    /// What tonic refused by itself, before any handler saw it, in our words.
    fn refused_by_transport(&self, response: &Response<Body>) -> Option<Error> {
        let status = Status::from_header_map(response.headers())?;
        if status.code() == Code::Ok || !status.details().is_empty() {
            return None;
        }
        let limit = self.max_request_bytes;
        let text = status.message();
        Some(match status.code() {
            // Too long as it came, or once it is unpacked.
            Code::OutOfRange | Code::ResourceExhausted => {
                let message = format!("the request is larger than the limit of {limit} bytes");
                Error::new(ErrorKind::ResourceExhausted, reasons::MESSAGE_TOO_LARGE, message).with("limit", limit)
            }
            // Bytes that are no message of this kind, or none at all.
            Code::Internal | Code::InvalidArgument => Error::new(
                ErrorKind::InvalidArgument,
                reasons::INVALID_ARGUMENT,
                format!("the request cannot be read: {text}"),
            ),
            Code::Unimplemented => Error::new(ErrorKind::Unimplemented, reasons::UNSUPPORTED, text.to_owned()),
            Code::DeadlineExceeded => {
                Error::new(ErrorKind::DeadlineExceeded, reasons::DEADLINE_EXCEEDED, text.to_owned())
            }
            _ => return None,
        })
    }
}

/// The caller of a request that came through [`grpc`].
///
/// # Errors
/// INTERNAL when the layer is missing: no handler runs without it.
pub(crate) fn caller<T>(request: &tonic::Request<T>) -> Result<crate::auth::Caller, Status> {
    request
        .extensions()
        .get::<crate::auth::Caller>()
        .cloned()
        .ok_or_else(|| status(Error::new(ErrorKind::Internal, reasons::INTERNAL, "a request without a caller")))
}
