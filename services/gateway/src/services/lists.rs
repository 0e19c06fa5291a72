//! Lists: pages, filters, and what both have in common.

use std::future::Future;

use prost::Message;
use windhover_engine::TaskRun;
use windhover_executor::{StoredFlow, now};
use windhover_proto::v1 as proto;
use windhover_store::{
    Batch, CommitError, FlowFilter, LogFilter, LogRow, NamespaceFilter, RequestIdRow, TaskRunFilter,
};
use windhover_types::{Error, ErrorKind, Id, Tenant, label_value};

use super::{ExecutionApi, FlowApi, Shared, internal};
use crate::{
    convert,
    create::{content_of, flow_not_found},
    error::Result,
    filter::{self, EXECUTIONS, FLOWS, Filter, Have, Op, Record, TASK_RUNS, Value},
    page::{Binding, page_size},
};

/// Executions of a page at most in the view FULL.
const MAX_FULL: u32 = 100;
/// Rows that one call looks at at most, when its filter lets few of them through.
const MAX_SCANNED: usize = 50_000;
/// How long an action remembers its request id.
const REQUEST_IDS_KEPT: std::time::Duration = std::time::Duration::from_secs(2 * 24 * 60 * 60);

/// Items of a page, and what to begin the next one after.
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    pub(super) next: Option<Vec<u8>>,
}

/// Reads a page through a filter: `fetch` reads rows after a position, `position` names a row's place.
pub(super) async fn scan<T, F>(
    size: u32,
    mut after: Option<Vec<u8>>,
    unfiltered: bool,
    mut fetch: impl FnMut(Option<Vec<u8>>, u64) -> F,
    position: impl Fn(&T) -> Vec<u8>,
    keep: impl Fn(&T) -> bool,
) -> Result<Page<T>>
where
    F: Future<Output = Result<Vec<T>>>,
{
    let size = size as usize;
    // One more than the page holds tells whether there is another page.
    let limit = if unfiltered { size + 1 } else { (size + 1).max(500) };
    let mut items: Vec<T> = Vec::new();
    let mut scanned = 0;
    loop {
        let rows = fetch(after.clone(), limit as u64).await?;
        let last = rows.len() < limit;
        scanned += rows.len();
        for row in rows {
            if keep(&row) {
                if items.len() == size {
                    let next = items.last().map(&position);
                    return Ok(Page { items, next });
                }
                after = Some(position(&row));
                items.push(row);
            } else {
                after = Some(position(&row));
            }
        }
        if last {
            return Ok(Page { items, next: None });
        }
        if scanned >= MAX_SCANNED {
            return Ok(Page { items, next: after });
        }
    }
}

impl Shared {
    /// Where a page begins, out of its token.
    pub(super) fn begin(&self, binding: &Binding, token: &str) -> Result<Option<Vec<u8>>> {
        if token.is_empty() {
            return Ok(None);
        }
        self.tokens.open("page_token", binding, token, now()).map(Some)
    }

    /// The token of the next page; empty when there is none.
    pub(super) fn next_token(&self, binding: &Binding, next: Option<Vec<u8>>) -> String {
        next.map(|position| self.tokens.sign(binding, &position, now())).unwrap_or_default()
    }

    /// Whether this very request was answered before.
    ///
    /// # Errors
    /// REQUEST_ID_REUSED when the id was used for another content.
    pub(super) async fn done_before<M: Message>(
        &self,
        tenant: &Tenant,
        method: &str,
        request_id: &str,
        request: &M,
    ) -> Result<bool> {
        if request_id.is_empty() {
            return Ok(false);
        }
        match self.store.request_id(tenant, method, request_id, now()).await? {
            None => Ok(false),
            Some(row) if row.content == content_of(request) => Ok(true),
            Some(_) => Err(reused(request_id)),
        }
    }

    /// Remembers that this request was answered. What it asked for is done: a failure here only costs that the same
    /// request again is not recognised.
    pub(super) async fn remember<M: Message>(&self, tenant: &Tenant, method: &str, request_id: &str, request: &M) {
        if let Err(error) = self.reserve(tenant, method, request_id, request).await {
            tracing::warn!(method, reason = error.reason, "a request id was not kept");
        }
    }

    /// Takes a request id for good, before anything is done.
    ///
    /// # Errors
    /// REQUEST_ID_REUSED when it was used before, for whatever.
    pub(super) async fn reserve<M: Message>(
        &self,
        tenant: &Tenant,
        method: &str,
        request_id: &str,
        request: &M,
    ) -> Result<()> {
        if request_id.is_empty() {
            return Ok(());
        }
        let row = RequestIdRow {
            tenant: tenant.clone(),
            method: method.to_owned(),
            request_id: request_id.to_owned(),
            content: content_of(request),
            result: String::new(),
            expires_at: now().plus(REQUEST_IDS_KEPT),
        };
        let batch = Batch { request_ids: vec![row], ..Batch::default() };
        match self.store.create(&batch).await {
            Ok(()) => Ok(()),
            Err(CommitError::RequestIds(_)) => Err(reused(request_id)),
            Err(CommitError::Unavailable(_) | CommitError::Unknown(_)) => Err(Error::new(
                ErrorKind::Unavailable,
                windhover_proto::reasons::UNAVAILABLE,
                "the database is not available",
            )),
            Err(error) => Err(internal(error)),
        }
    }

    /// Task runs in order of creation.
    pub(super) async fn task_runs(
        &self,
        tenant: &Tenant,
        execution: Id,
        after: Option<u32>,
        limit: u64,
    ) -> Result<Vec<TaskRun>> {
        Ok(self.store.list_task_runs(tenant, execution, &TaskRunFilter::default(), after, limit).await?)
    }
}

fn reused(request_id: &str) -> Error {
    let message = "the request id was used before";
    Error::new(ErrorKind::AlreadyExists, windhover_proto::reasons::REQUEST_ID_REUSED, message)
        .with("request_id", request_id)
        .field("request_id", message)
}

/// A position inside a token that is a number.
fn number(position: &[u8]) -> Option<i64> {
    position.try_into().ok().map(i64::from_be_bytes)
}

impl ExecutionApi {
    pub(super) async fn list(
        &self,
        tenant: &Tenant,
        request: proto::ListExecutionsRequest,
    ) -> Result<proto::ListExecutionsResponse> {
        let full = convert::is_full(request.view, false)?;
        let mut size = page_size(request.page_size)?;
        if full {
            size = size.min(MAX_FULL);
        }
        let filter = &filter::for_store(&Filter::parse(&request.filter, EXECUTIONS)?);
        let binding =
            Binding::new(&["executions", tenant.as_str(), &request.filter, if full { "full" } else { "basic" }]);
        let after = self.0.begin(&binding, &request.page_token)?;
        let store = &self.0.store;
        let page = scan(
            size,
            after,
            true,
            |after, limit| async move {
                let after = after.and_then(|bytes| bytes.try_into().ok()).map(Id::from_bytes);
                Ok(match full {
                    true => store.list_executions(tenant, filter, after, limit).await?,
                    false => store.list_executions_without_outputs(tenant, filter, after, limit).await?,
                })
            },
            |execution| execution.id.as_bytes().to_vec(),
            |_| true,
        )
        .await?;
        let mut executions = Vec::with_capacity(page.items.len());
        for execution in &page.items {
            executions.push(self.0.shown(execution, full).await?);
        }
        Ok(proto::ListExecutionsResponse { executions, next_page_token: self.0.next_token(&binding, page.next) })
    }

    pub(super) async fn list_runs(
        &self,
        tenant: &Tenant,
        request: proto::ListTaskRunsRequest,
    ) -> Result<proto::ListTaskRunsResponse> {
        let id = convert::id("execution_id", &request.execution_id)?;
        let full = convert::is_full(request.view, false)?;
        let size = page_size(request.page_size)?;
        let filter = Filter::parse(&request.filter, TASK_RUNS)?;
        let binding = Binding::new(&[
            "task runs",
            tenant.as_str(),
            &request.execution_id,
            &request.filter,
            if full { "full" } else { "basic" },
        ]);
        let after = self.0.begin(&binding, &request.page_token)?;
        self.0.execution(tenant, id).await?;
        let narrowed = &narrow_task_runs(&filter);
        let store = &self.0.store;
        let page = scan(
            size,
            after,
            filter.is_empty(),
            |after, limit| async move {
                let after = after.as_deref().and_then(number).and_then(|seq| u32::try_from(seq).ok());
                Ok(match full {
                    true => store.list_task_runs(tenant, id, narrowed, after, limit).await?,
                    false => store.list_task_runs_without_outputs(tenant, id, narrowed, after, limit).await?,
                })
            },
            |run| i64::from(run.seq).to_be_bytes().to_vec(),
            |run| filter.holds(run),
        )
        .await?;
        Ok(proto::ListTaskRunsResponse {
            task_runs: page.items.iter().map(|run| convert::task_run(id, run, full)).collect(),
            next_page_token: self.0.next_token(&binding, page.next),
        })
    }
}

/// What the store can leave out beforehand.
fn narrow_task_runs(filter: &Filter) -> TaskRunFilter {
    let mut narrowed = TaskRunFilter::default();
    for check in filter.required().into_iter().filter(|check| check.op == Op::Equal) {
        match (check.field, &check.value) {
            ("task", Value::Text(task)) => narrowed.task_ids = vec![task.clone()],
            ("state", Value::State(state)) => narrowed.states = vec![*state],
            ("parent", Value::Id(parent)) => narrowed.parent = Some(*parent),
            _ => {}
        }
    }
    narrowed
}

/// What the store can leave out beforehand.
pub(super) fn narrow_logs(filter: &Filter) -> LogFilter {
    let mut narrowed = LogFilter::default();
    for check in filter.required() {
        match (check.field, check.op, &check.value) {
            ("task", Op::Equal, Value::Text(task)) => narrowed.task_ids = vec![task.clone()],
            ("task_run", Op::Equal, Value::Id(run)) => narrowed.task_runs = vec![*run],
            ("level", Op::Equal | Op::GreaterOrEqual | Op::Greater, Value::Level(level)) => {
                narrowed.min_level = Some(*level)
            }
            _ => {}
        }
    }
    narrowed
}

impl Record for TaskRun {
    fn have(&self, field: &str, _: Option<&str>) -> Have<'_> {
        match field {
            "state" => Have::State(self.state.current()),
            "task" => Have::Text(&self.task_id),
            "parent" => self.parent_id.map_or(Have::Nothing, Have::Id),
            "value" => self.value.as_deref().map_or(Have::Nothing, Have::Text),
            _ => Have::Nothing,
        }
    }
}

impl Record for LogRow {
    fn have(&self, field: &str, _: Option<&str>) -> Have<'_> {
        match field {
            "task" => self.line.task_id.as_deref().map_or(Have::Nothing, Have::Text),
            "task_run" => self.line.task_run_id.map_or(Have::Nothing, Have::Id),
            "level" => Have::Level(self.line.level),
            "time" => Have::Time(self.line.at),
            "text" => Have::Text(&self.line.message),
            _ => Have::Nothing,
        }
    }
}

impl Record for StoredFlow {
    fn have(&self, field: &str, key: Option<&str>) -> Have<'_> {
        let flow = self.flow.as_ref().ok();
        match (field, key) {
            ("namespace", _) => Have::Text(&self.namespace),
            ("flow", _) => Have::Text(&self.id),
            ("disabled", _) => Have::Bool(flow.is_some_and(|flow| flow.disabled)),
            ("labels", Some(key)) => {
                flow.and_then(|flow| label_value(&flow.labels, key)).map_or(Have::Nothing, Have::Text)
            }
            _ => Have::Nothing,
        }
    }
}

impl FlowApi {
    pub(super) async fn list(
        &self,
        tenant: &Tenant,
        request: proto::ListFlowsRequest,
    ) -> Result<proto::ListFlowsResponse> {
        let full = convert::is_full(request.view, false)?;
        let size = page_size(request.page_size)?;
        let filter = Filter::parse(&request.filter, FLOWS)?;
        let binding = Binding::new(&["flows", tenant.as_str(), &request.filter, if full { "full" } else { "basic" }]);
        let after = self.0.begin(&binding, &request.page_token)?;
        let narrowed = &narrow_flows(&filter);
        let known = &self.0.flows;
        let store = &self.0.store;
        let page = scan(
            size,
            after,
            filter.is_empty(),
            |after, limit| async move {
                let after = after.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
                let after = after.as_deref().and_then(|text| text.split_once('\n'));
                let mut flows = Vec::new();
                for row in store.list_flows(tenant, narrowed, after, limit).await? {
                    // Compiled once per revision and kept.
                    let stored = known.get(tenant, &row.namespace, &row.id, Some(row.revision)).await?;
                    flows.extend(stored);
                }
                Ok(flows)
            },
            |stored| format!("{}\n{}", stored.namespace, stored.id).into_bytes(),
            |stored| filter.holds(stored.as_ref()),
        )
        .await?;
        Ok(proto::ListFlowsResponse {
            flows: page.items.iter().map(|stored| super::flow::flow(stored, full)).collect(),
            next_page_token: self.0.next_token(&binding, page.next),
        })
    }

    pub(super) async fn revisions(
        &self,
        tenant: &Tenant,
        request: proto::ListFlowRevisionsRequest,
    ) -> Result<proto::ListFlowRevisionsResponse> {
        let proto::ListFlowRevisionsRequest { namespace, flow_id, page_token, .. } = &request;
        super::flow::require_name(namespace, flow_id)?;
        let full = convert::is_full(request.view, false)?;
        let size = page_size(request.page_size)?;
        let view = if full { "full" } else { "basic" };
        let binding = Binding::new(&["revisions", tenant.as_str(), namespace, flow_id, view]);
        let before = self.0.begin(&binding, page_token)?;
        let first = before.is_none();
        let store = &self.0.store;
        let page = scan(
            size,
            before,
            true,
            |before, limit| async move {
                let before = before.as_deref().and_then(number).and_then(|revision| u32::try_from(revision).ok());
                Ok(store.list_revisions(tenant, namespace, flow_id, before, limit).await?)
            },
            |row| i64::from(row.revision).to_be_bytes().to_vec(),
            |_| true,
        )
        .await?;
        if first && page.items.is_empty() {
            return Err(flow_not_found(namespace, flow_id, None));
        }
        let mut flows = Vec::with_capacity(page.items.len());
        for row in &page.items {
            flows.push(self.revision(tenant, row, full).await?);
        }
        Ok(proto::ListFlowRevisionsResponse { flows, next_page_token: self.0.next_token(&binding, page.next) })
    }
}

/// What the store can leave out beforehand.
pub(super) fn narrow_flows(filter: &Filter) -> FlowFilter {
    let mut narrowed = FlowFilter::default();
    for check in filter.required() {
        match (check.field, check.op, &check.value) {
            ("namespace", Op::Has, Value::Below(parent)) => {
                narrowed.namespaces = vec![NamespaceFilter::Below(parent.clone())]
            }
            ("namespace", Op::Equal, Value::Text(name)) => {
                narrowed.namespaces = vec![NamespaceFilter::Exact(name.clone())]
            }
            ("flow", Op::Equal, Value::Text(id)) => narrowed.ids = vec![id.clone()],
            _ => {}
        }
    }
    narrowed
}
