//! Files of executions over plain HTTP, for browsers and `curl` (operations reference 8.3, flow model reference 8.6).

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Path, Request, State, rejection::PathRejection},
    response::Response,
};
use http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts};
use windhover_executor::now;
use windhover_proto::{metadata, reasons};
use windhover_storage::{FileUri, Files, FilesError};
use windhover_store::Store;
use windhover_types::{Error, ErrorKind, Id, Tenant};

use super::HttpError;
use crate::{
    auth::{Authenticator, Caller, Credentials, Rates, Role},
    request::peer,
};

/// What downloads need.
pub(crate) struct Downloads {
    pub(crate) auth: Arc<Authenticator>,
    pub(crate) rates: Arc<Rates>,
    pub(crate) store: Store,
    pub(crate) files: Option<Files>,
}

type Answer = Result<Response, HttpError>;

/// In the tenant of the credential.
pub(crate) async fn of_caller(
    State(downloads): State<Arc<Downloads>>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Answer {
    let Path(execution) = path?;
    downloads.answer(None, &execution, &request.into_parts().0).await
}

pub(crate) async fn in_tenant(
    State(downloads): State<Arc<Downloads>>,
    path: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Answer {
    let Path((tenant, execution)) = path?;
    // Whoever has no credential is not told which tenants there are.
    let Ok(tenant) = Tenant::parse(&tenant) else { return Err(execution_not_found()) };
    downloads.answer(Some(&tenant), &execution, &request.into_parts().0).await
}

impl Downloads {
    /// The file that the parameter `path` names, if it is one of the execution; of another execution: where to ask.
    async fn answer(&self, tenant: Option<&Tenant>, execution: &str, request: &Parts) -> Answer {
        let caller = self.caller(tenant, request).await?;
        let id: Id = execution.parse().map_err(|_| execution_not_found())?;
        let place = self.store.execution_place(&caller.tenant, id).await.map_err(Error::from)?;
        let place = place.ok_or_else(execution_not_found)?;
        let query = request.uri.query().unwrap_or_default();
        let path = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "path").map(|(_, value)| value);
        let path = path.ok_or_else(|| refused("path: must be given, as the URI of a file".to_owned()))?;
        let uri: FileUri = path.parse().map_err(|error| refused(format!("path: {error}")))?;
        if uri.relative_to(&FileUri::execution(&place.namespace, &place.flow_id, id)).is_some() {
            return self.content(&caller.tenant, &uri).await;
        }
        match execution_of(&uri).filter(|other| *other != id) {
            Some(other) => Ok(elsewhere(tenant, other, &uri)),
            None => Err(refused(format!("path: Invalid prefix path: {uri} is no file of an execution"))),
        }
    }

    /// # Errors
    /// No good credential, or one that may not read; the tenant has used up its rate.
    async fn caller(&self, tenant: Option<&Tenant>, request: &Parts) -> Result<Caller, Error> {
        let mut headers = request.headers.clone();
        if let Some(tenant) = tenant.and_then(|tenant| HeaderValue::from_str(tenant.as_str()).ok()) {
            headers.insert(metadata::TENANT, tenant);
        }
        tell_origin(&mut headers, request);
        let credentials = Credentials { headers: &headers, peer: peer(&request.extensions), now: now() };
        let caller = self.auth.caller(&credentials).await?;
        caller.require(Role::Viewer)?;
        self.rates.check(&caller.tenant)?;
        Ok(caller)
    }

    async fn content(&self, tenant: &Tenant, uri: &FileUri) -> Answer {
        let missing =
            || Error::new(ErrorKind::Unavailable, reasons::UNAVAILABLE, "this gateway has no internal storage");
        let files = self.files.as_ref().ok_or_else(missing)?;
        let entry = files.find(tenant, uri).await.map_err(failed)?;
        let entry = entry.ok_or_else(|| failed(FilesError::NotFound(uri.clone())))?;
        let content = files.stream(tenant, uri).await.map_err(failed)?;
        let mut response = Response::new(Body::from_stream(content));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(entry.size));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        headers.insert(header::CONTENT_DISPOSITION, attachment(uri.name()));
        // Whatever a task has written, no browser is to run it on this site.
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
        Ok(response)
    }
}

/// A page that asks the host which it came from need not say where it comes from. Its name for that host tells it: one
/// that resolves to loopback is no loopback address, and must not gain what callers of this machine may do.
fn tell_origin(headers: &mut HeaderMap, request: &Parts) {
    if headers.contains_key(header::ORIGIN) {
        return;
    }
    let named = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = named.or_else(|| request.uri.authority().map(|authority| authority.as_str()));
    if let Some(origin) = host.and_then(|host| HeaderValue::from_str(&format!("http://{host}")).ok()) {
        headers.insert(header::ORIGIN, origin);
    }
}

/// The execution whose file this is: `/…/<flow>/executions/<id>/…`. Names with an underscore in front are no namespaces.
fn execution_of(uri: &FileUri) -> Option<Id> {
    let segments: Vec<&str> = uri.segments().take_while(|segment| !segment.starts_with('_')).collect();
    let place = |at: &usize| segments[*at] == "executions" && segments.len() > *at + 2;
    (2..segments.len()).filter(place).find_map(|at| segments[at + 1].parse().ok())
}

fn elsewhere(tenant: Option<&Tenant>, execution: Id, uri: &FileUri) -> Response {
    let tenant = tenant.map(|tenant| format!("/{tenant}")).unwrap_or_default();
    let path: String = form_urlencoded::byte_serialize(uri.to_string().as_bytes()).collect();
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    if let Ok(place) = HeaderValue::from_str(&format!("/api/v1{tenant}/executions/{execution}/file?path={path}")) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    response
}

/// `Content-Disposition` with this name, also for those who know ASCII alone (RFC 6266, appendix D).
fn attachment(name: &str) -> HeaderValue {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let plain: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    let encoded = form_urlencoded::byte_serialize(name.as_bytes()).collect::<String>().replace('+', "%20");
    HeaderValue::from_str(&format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}"))
        .unwrap_or(HeaderValue::from_static("attachment"))
}

fn execution_not_found() -> HttpError {
    Error::new(ErrorKind::NotFound, reasons::EXECUTION_NOT_FOUND, "Execution not found").into()
}

fn refused(message: String) -> HttpError {
    HttpError::new(StatusCode::UNPROCESSABLE_ENTITY, message)
}

fn failed(error: FilesError) -> HttpError {
    match error {
        FilesError::NotFound(uri) => {
            Error::new(ErrorKind::NotFound, reasons::FILE_NOT_FOUND, format!("there is no file {uri}"))
        }
        other => Error::new(ErrorKind::Unavailable, reasons::UNAVAILABLE, other.to_string()),
    }
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_an_execution_is_known_by_its_place() {
        let id = Id::from_bytes([7; 16]);
        for (path, is_known) in [
            (format!("/company/team/flow/executions/{id}/tasks/t/x/f.txt"), true),
            (format!("/a/executions/b/flow/executions/{id}/inputs/i/f"), true),
            (format!("/company/flow/executions/{id}"), false),
            (format!("/executions/{id}/f"), false),
            (format!("/company/_files/flow/executions/{id}/f"), false),
            ("/company/flow/executions/no-id/f".to_owned(), false),
        ] {
            let uri = format!("kestra://{path}").parse().expect("a URI");
            assert_eq!(execution_of(&uri), is_known.then_some(id), "{path}");
        }
    }

    #[test]
    fn a_name_is_told_to_old_and_new_clients() {
        let told = attachment("größe \"1\"+.csv");
        let expected = "attachment; filename=\"gr__e__1__.csv\"; filename*=UTF-8''gr%C3%B6%C3%9Fe%20%221%22%2B.csv";
        assert_eq!(told.to_str().ok(), Some(expected));
    }
}
