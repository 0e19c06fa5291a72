//! FlowService.

use std::sync::Arc;

use tonic::{Request, Response, Status};
use windhover_executor::{ApplyOptions, Expect, Outcome, StoredFlow};
use windhover_flow::Flow;
use windhover_proto::{
    reasons,
    v1::{self as proto, flow_service_server::FlowService},
};
use windhover_store::FlowRow;
use windhover_types::{Error, ErrorKind, Severity, Tenant, Violation};

use super::{Shared, answer, internal, open, plugin};
use crate::{
    auth::Caller,
    convert,
    create::{check_request_id, flow_not_found},
    error::{Result, invalid},
};

/// Bytes of a flow's source at most.
const MAX_SOURCE: usize = 1024 * 1024;

pub(crate) struct FlowApi(pub(crate) Arc<Shared>);

#[tonic::async_trait]
impl FlowService for FlowApi {
    async fn apply_flow(
        &self,
        request: Request<proto::ApplyFlowRequest>,
    ) -> Result<Response<proto::ApplyFlowResponse>, Status> {
        let (caller, request) = open(request)?;
        answer(self.apply(&caller, request).await)
    }

    async fn get_flow(
        &self,
        request: Request<proto::GetFlowRequest>,
    ) -> Result<Response<proto::GetFlowResponse>, Status> {
        let (caller, request) = open(request)?;
        answer(self.get(&caller.tenant, request).await)
    }

    async fn list_flows(
        &self,
        request: Request<proto::ListFlowsRequest>,
    ) -> Result<Response<proto::ListFlowsResponse>, Status> {
        let (caller, request) = open(request)?;
        answer(self.list(&caller.tenant, request).await)
    }

    async fn list_flow_revisions(
        &self,
        request: Request<proto::ListFlowRevisionsRequest>,
    ) -> Result<Response<proto::ListFlowRevisionsResponse>, Status> {
        let (caller, request) = open(request)?;
        answer(self.revisions(&caller.tenant, request).await)
    }

    async fn delete_flow(
        &self,
        request: Request<proto::DeleteFlowRequest>,
    ) -> Result<Response<proto::DeleteFlowResponse>, Status> {
        let (caller, request) = open(request)?;
        answer(self.delete(&caller.tenant, request).await)
    }

    async fn validate_flow(
        &self,
        request: Request<proto::ValidateFlowRequest>,
    ) -> Result<Response<proto::ValidateFlowResponse>, Status> {
        let (caller, request) = open(request)?;
        answer(self.validate(&caller.tenant, &request.source).await)
    }

    async fn get_flow_schema(
        &self,
        request: Request<proto::GetFlowSchemaRequest>,
    ) -> Result<Response<proto::GetFlowSchemaResponse>, Status> {
        open(request)?;
        answer(Ok(plugin::schema()))
    }

    async fn list_plugins(
        &self,
        request: Request<proto::ListPluginsRequest>,
    ) -> Result<Response<proto::ListPluginsResponse>, Status> {
        let (_, request) = open(request)?;
        answer(plugin::list(&self.0, &request))
    }

    async fn get_plugin(
        &self,
        request: Request<proto::GetPluginRequest>,
    ) -> Result<Response<proto::GetPluginResponse>, Status> {
        let (_, request) = open(request)?;
        answer(plugin::get(&request.r#type))
    }
}

impl FlowApi {
    async fn apply(&self, caller: &Caller, request: proto::ApplyFlowRequest) -> Result<proto::ApplyFlowResponse> {
        check_source(&request.source)?;
        check_name(&request)?;
        let tenant = &caller.tenant;
        let options = ApplyOptions {
            validate_only: request.validate_only,
            etag: (!request.etag.is_empty()).then_some(request.etag),
            expect: Expect::Any,
            denied_groups: self.0.denied_groups(tenant).await?,
        };
        let applied = self.0.flows.apply(tenant, &request.source, options).await?;
        if !request.validate_only {
            self.sync_triggers(tenant, &applied.namespace, &applied.id).await;
        }
        let outcome = match applied.outcome {
            Outcome::Created => proto::apply_flow_response::Outcome::Created,
            Outcome::Updated => proto::apply_flow_response::Outcome::Updated,
            Outcome::Unchanged => proto::apply_flow_response::Outcome::Unchanged,
        };
        let flow = if request.validate_only && applied.outcome != Outcome::Unchanged {
            proto::Flow {
                namespace: applied.namespace,
                id: applied.id,
                revision: applied.revision,
                etag: applied.etag,
                ..described(windhover_flow::validate(&request.source).flow.as_ref(), Some(&request.source))
            }
        } else {
            let stored = self.0.flows.get(tenant, &applied.namespace, &applied.id, Some(applied.revision)).await?;
            let stored = stored.ok_or_else(|| internal("a flow that was just applied is not there"))?;
            flow(&stored, true)
        };
        let unknown = self.0.unknown_groups(tenant, &applied.worker_groups).await?;
        let warnings = applied.warnings.into_iter().chain(unknown).map(violation).collect();
        Ok(proto::ApplyFlowResponse { outcome: outcome as i32, flow: Some(flow), warnings })
    }

    async fn get(&self, tenant: &Tenant, request: proto::GetFlowRequest) -> Result<proto::GetFlowResponse> {
        require_name(&request.namespace, &request.flow_id)?;
        let found = self.0.flows.get(tenant, &request.namespace, &request.flow_id, request.revision).await?;
        let stored = found.ok_or_else(|| flow_not_found(&request.namespace, &request.flow_id, request.revision))?;
        Ok(proto::GetFlowResponse { flow: Some(flow(&stored, true)) })
    }

    async fn delete(&self, tenant: &Tenant, request: proto::DeleteFlowRequest) -> Result<proto::DeleteFlowResponse> {
        require_name(&request.namespace, &request.flow_id)?;
        check_request_id(&request.request_id)?;
        if self.0.done_before(tenant, "DeleteFlow", &request.request_id, &request).await? {
            return Ok(proto::DeleteFlowResponse {});
        }
        if !request.etag.is_empty() {
            let stored = self.0.flows.get(tenant, &request.namespace, &request.flow_id, None).await?;
            let stored = stored.ok_or_else(|| flow_not_found(&request.namespace, &request.flow_id, None))?;
            if stored.etag != request.etag {
                let message = "the flow was changed since it was read";
                return Err(Error::new(ErrorKind::Aborted, reasons::ETAG_MISMATCH, message).with("etag", &stored.etag));
            }
        }
        self.0.flows.delete(tenant, &request.namespace, &request.flow_id).await?;
        self.sync_triggers(tenant, &request.namespace, &request.flow_id).await;
        self.0.remember(tenant, "DeleteFlow", &request.request_id, &request).await;
        Ok(proto::DeleteFlowResponse {})
    }
}

impl FlowApi {
    async fn validate(&self, tenant: &Tenant, source: &str) -> Result<proto::ValidateFlowResponse> {
        check_source(source)?;
        let validation = self.0.flows.validate(tenant, source);
        let named = &validation.worker_groups;
        let mut violations = validation.violations;
        violations.extend(windhover_executor::denied(named, &self.0.denied_groups(tenant).await?));
        violations.extend(self.0.unknown_groups(tenant, named).await?);
        violations.sort_by_key(|violation| (violation.line, violation.column));
        let valid = violations.iter().all(|violation| violation.severity != Severity::Error);
        Ok(proto::ValidateFlowResponse {
            valid,
            namespace: validation.namespace.unwrap_or_default(),
            flow_id: validation.id.unwrap_or_default(),
            violations: violations.into_iter().map(violation).collect(),
        })
    }

    /// Puts the flow's schedules into effect. The flow is stored: what fails here the scheduler does a moment later.
    async fn sync_triggers(&self, tenant: &Tenant, namespace: &str, flow_id: &str) {
        if let Err(error) = self.0.triggers.sync_flow(tenant, namespace, flow_id).await {
            tracing::debug!(%tenant, namespace, flow_id, reason = error.reason, "its triggers wait for the scheduler");
        }
    }

    /// A stored revision, also one that says that the flow was deleted.
    pub(super) async fn revision(&self, tenant: &Tenant, row: &FlowRow, full: bool) -> Result<proto::Flow> {
        if !row.deleted
            && let Some(stored) = self.0.flows.get(tenant, &row.namespace, &row.id, Some(row.revision)).await?
        {
            return Ok(flow(&stored, full));
        }
        let compiled = windhover_flow::compile_stored(&row.source).ok();
        Ok(proto::Flow {
            namespace: row.namespace.clone(),
            id: row.id.clone(),
            revision: row.revision,
            created: Some(convert::time(row.created_at)),
            deleted: row.deleted,
            ..described(compiled.as_ref(), full.then_some(&row.source))
        })
    }
}

fn check_source(source: &str) -> Result<()> {
    if source.trim().is_empty() {
        return Err(invalid("source", "is required"));
    }
    if source.len() > MAX_SOURCE {
        let why = format!("{} bytes; at most {MAX_SOURCE}", source.len());
        let error = Error::new(ErrorKind::ResourceExhausted, reasons::MESSAGE_TOO_LARGE, format!("source: {why}"));
        return Err(error.with("limit", MAX_SOURCE).field("source", why));
    }
    Ok(())
}

/// The names that guard an update. What is wrong with the source itself is said by whoever applies it.
fn check_name(request: &proto::ApplyFlowRequest) -> Result<()> {
    if request.namespace.is_empty() && request.flow_id.is_empty() {
        return Ok(());
    }
    let Some(flow) = windhover_flow::validate(&request.source).flow else { return Ok(()) };
    let mut error = Error::new(ErrorKind::InvalidArgument, reasons::INVALID_FLOW, "");
    for (wanted, have, what) in [(&request.flow_id, &flow.id, "id"), (&request.namespace, &flow.namespace, "namespace")]
    {
        if !wanted.is_empty() && wanted != have {
            let why = format!("illegal flow {what} update: the source is of `{have}`, not of `{wanted}`");
            error = error.field(format!("source {what}"), why);
        }
    }
    if error.fields.is_empty() {
        return Ok(());
    }
    let lines: Vec<_> = error.fields.iter().map(|field| field.description.as_str()).collect();
    error.message = format!("Invalid flow: {}", lines.join("\n"));
    Err(error)
}

pub(super) fn require_name(namespace: &str, flow_id: &str) -> Result<()> {
    if namespace.is_empty() {
        return Err(invalid("namespace", "is required"));
    }
    if flow_id.is_empty() {
        return Err(invalid("flow_id", "is required"));
    }
    Ok(())
}

fn violation(violation: Violation) -> proto::Violation {
    let severity = match violation.severity {
        Severity::Error => proto::Severity::Error,
        Severity::Warning => proto::Severity::Warning,
    };
    proto::Violation {
        severity: severity as i32,
        path: violation.path,
        line: violation.line,
        column: violation.column,
        message: violation.message,
        suggestion: violation.suggestion.unwrap_or_default(),
        unsupported: violation.unsupported,
    }
}

/// A stored revision; with its source in the view FULL.
pub(super) fn flow(stored: &StoredFlow, full: bool) -> proto::Flow {
    proto::Flow {
        namespace: stored.namespace.clone(),
        id: stored.id.clone(),
        revision: stored.revision,
        created: Some(convert::time(stored.created_at)),
        etag: stored.etag.clone(),
        ..described(stored.flow.as_ref().ok().map(Arc::as_ref), full.then_some(&stored.source))
    }
}

/// What the flow says of itself; nothing when it can no longer be read.
fn described(flow: Option<&Flow>, source: Option<&str>) -> proto::Flow {
    proto::Flow {
        description: flow.and_then(|flow| flow.description.clone()).unwrap_or_default(),
        labels: flow.map(|flow| convert::labels(&flow.labels)).unwrap_or_default(),
        disabled: flow.is_some_and(|flow| flow.disabled),
        source: source.unwrap_or_default().to_owned(),
        ..proto::Flow::default()
    }
}
