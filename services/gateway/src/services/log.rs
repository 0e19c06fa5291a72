//! LogService.

use std::sync::Arc;

use tonic::{Request, Response, Status};
use windhover_proto::v1::{self as proto, log_service_server::LogService};
use windhover_store::LogRow;
use windhover_types::Tenant;

use super::{
    Shared, answer,
    lists::{narrow_logs, scan},
    open,
};
use crate::{
    convert,
    error::Result,
    filter::{Filter, LOGS},
    page::{Binding, page_size},
};

pub(crate) struct LogApi(pub(crate) Arc<Shared>);

#[tonic::async_trait]
impl LogService for LogApi {
    async fn list_logs(
        &self,
        request: Request<proto::ListLogsRequest>,
    ) -> Result<Response<proto::ListLogsResponse>, Status> {
        let (caller, request) = open(request)?;
        answer(self.list(&caller.tenant, request).await)
    }
}

impl LogApi {
    async fn list(&self, tenant: &Tenant, request: proto::ListLogsRequest) -> Result<proto::ListLogsResponse> {
        let id = convert::id("execution_id", &request.execution_id)?;
        let size = page_size(request.page_size)?;
        let filter = Filter::parse(&request.filter, LOGS)?;
        let binding = Binding::new(&["logs", tenant.as_str(), &request.execution_id, &request.filter]);
        let after = self.0.begin(&binding, &request.page_token)?;
        self.0.execution(tenant, id).await?;
        let narrowed = &narrow_logs(&filter);
        let store = &self.0.store;
        let page = scan(
            size,
            after,
            filter.is_empty(),
            |after, limit| async move {
                let after = after.and_then(|bytes| bytes.try_into().ok()).map(i64::from_be_bytes);
                let from = after.map_or(0, |position| position.saturating_add(1));
                Ok(store.list_execution_logs(tenant, id, narrowed, from, limit).await?)
            },
            |row: &LogRow| row.position.to_be_bytes().to_vec(),
            |row| filter.holds(row),
        )
        .await?;
        Ok(proto::ListLogsResponse {
            lines: page.items.into_iter().map(line).collect(),
            next_page_token: self.0.next_token(&binding, page.next),
        })
    }
}

/// A line as the API shows it.
pub(super) fn line(row: LogRow) -> proto::LogLine {
    proto::LogLine {
        time: Some(convert::time(row.line.at)),
        level: convert::level(row.line.level) as i32,
        message: row.line.message,
        namespace: row.namespace,
        flow_id: row.flow_id,
        execution_id: row.execution.to_string(),
        task_id: row.line.task_id.unwrap_or_default(),
        task_run_id: row.line.task_run_id.map(|id| id.to_string()).unwrap_or_default(),
        attempt: row.line.attempt,
        trigger_id: String::new(),
        position: u64::try_from(row.position).unwrap_or_default(),
    }
}
