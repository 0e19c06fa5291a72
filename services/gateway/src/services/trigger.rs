//! TriggerService.

use std::{collections::HashMap, sync::Arc};

use tonic::{Request, Response, Status};
use windhover_executor::{StoredFlow, new_id, now};
use windhover_flow::{InputType, Trigger, TriggerKind};
use windhover_proto::{
    reasons,
    v1::{self as proto, trigger_service_server::TriggerService},
};
use windhover_scheduler::{NewBackfill, TriggerKey, TriggerRow};
use windhover_store::{Backfill, NamespaceFilter, TriggerFilter};
use windhover_types::{Error, ErrorKind, Label, Tenant};

use super::{
    Shared, answer,
    lists::{narrow_flows, scan},
    open,
};
use crate::{
    auth::Caller,
    convert,
    create::check_request_id,
    error::{Result, invalid},
    filter::{Filter, Have, Record, TRIGGERS},
    page::{Binding, page_size},
};

/// Dates of an answer when the request says nothing, and at most.
const DEFAULT_DATES: u32 = 10;
const MAX_DATES: u32 = 100;
/// Flows and triggers that are read at once.
const STEP: u64 = 500;

pub(crate) struct TriggerApi(pub(crate) Arc<Shared>);

/// The name of a trigger in a request.
macro_rules! key {
    ($caller:expr, $request:expr) => {
        key(&$caller.tenant, &$request.namespace, &$request.flow_id, &$request.trigger_id)
    };
}

#[tonic::async_trait]
impl TriggerService for TriggerApi {
    async fn list_triggers(
        &self,
        request: Request<proto::ListTriggersRequest>,
    ) -> Result<Response<proto::ListTriggersResponse>, Status> {
        let (caller, request) = open(request)?;
        answer(self.list(&caller.tenant, request).await)
    }

    async fn get_trigger(
        &self,
        request: Request<proto::GetTriggerRequest>,
    ) -> Result<Response<proto::GetTriggerResponse>, Status> {
        let (caller, request) = open(request)?;
        let found = match key!(caller, request) {
            Ok(key) => self.get(&key).await,
            Err(error) => Err(error),
        };
        answer(found.map(|trigger| proto::GetTriggerResponse { trigger: Some(trigger) }))
    }

    async fn set_trigger_disabled(
        &self,
        request: Request<proto::SetTriggerDisabledRequest>,
    ) -> Result<Response<proto::SetTriggerDisabledResponse>, Status> {
        let (caller, request) = open(request)?;
        let set = self.set_disabled(&caller, request).await;
        answer(set.map(|trigger| proto::SetTriggerDisabledResponse { trigger: Some(trigger) }))
    }

    async fn unlock_trigger(
        &self,
        request: Request<proto::UnlockTriggerRequest>,
    ) -> Result<Response<proto::UnlockTriggerResponse>, Status> {
        let (caller, request) = open(request)?;
        let unlocked = self.unlock(&caller, request).await;
        answer(unlocked.map(|trigger| proto::UnlockTriggerResponse { trigger: Some(trigger) }))
    }

    async fn list_trigger_dates(
        &self,
        request: Request<proto::ListTriggerDatesRequest>,
    ) -> Result<Response<proto::ListTriggerDatesResponse>, Status> {
        let (caller, request) = open(request)?;
        answer(self.dates(&caller, request).await)
    }

    async fn create_backfill(
        &self,
        request: Request<proto::CreateBackfillRequest>,
    ) -> Result<Response<proto::CreateBackfillResponse>, Status> {
        let (caller, request) = open(request)?;
        let created = self.create_backfill(&caller, request).await;
        answer(created.map(|trigger| proto::CreateBackfillResponse { trigger: Some(trigger) }))
    }

    async fn pause_backfill(
        &self,
        request: Request<proto::PauseBackfillRequest>,
    ) -> Result<Response<proto::PauseBackfillResponse>, Status> {
        let (caller, request) = open(request)?;
        let paused = self.pause_backfill(&caller, request).await;
        answer(paused.map(|trigger| proto::PauseBackfillResponse { trigger: Some(trigger) }))
    }

    async fn resume_backfill(
        &self,
        request: Request<proto::ResumeBackfillRequest>,
    ) -> Result<Response<proto::ResumeBackfillResponse>, Status> {
        let (caller, request) = open(request)?;
        let resumed = self.resume_backfill(&caller, request).await;
        answer(resumed.map(|trigger| proto::ResumeBackfillResponse { trigger: Some(trigger) }))
    }

    async fn delete_backfill(
        &self,
        request: Request<proto::DeleteBackfillRequest>,
    ) -> Result<Response<proto::DeleteBackfillResponse>, Status> {
        let (caller, request) = open(request)?;
        let deleted = self.delete_backfill(&caller, request).await;
        answer(deleted.map(|trigger| proto::DeleteBackfillResponse { trigger: Some(trigger) }))
    }
}

impl TriggerApi {
    async fn list(&self, tenant: &Tenant, request: proto::ListTriggersRequest) -> Result<proto::ListTriggersResponse> {
        let size = page_size(request.page_size)?;
        let filter = Filter::parse(&request.filter, TRIGGERS)?;
        let binding = Binding::new(&["triggers", tenant.as_str(), &request.filter]);
        let after = self.0.begin(&binding, &request.page_token)?;
        let filter = &filter;
        let page = scan(
            size,
            after,
            filter.is_empty(),
            |after, limit| self.read(tenant, filter, after, limit),
            Found::position,
            |found| filter.holds(found),
        )
        .await?;
        Ok(proto::ListTriggersResponse {
            triggers: page.items.iter().map(Found::shown).collect(),
            next_page_token: self.0.next_token(&binding, page.next),
        })
    }

    /// Triggers of flows by name, behind a position: at least `limit`, as long as there are more.
    async fn read(&self, tenant: &Tenant, filter: &Filter, after: Option<Vec<u8>>, limit: u64) -> Result<Vec<Found>> {
        let narrowed = narrow_flows(filter);
        let mut place = after.and_then(|bytes| Place::read(&bytes));
        let mut found = Vec::new();
        if let Some(place) = &place
            && let Some(stored) = self.0.flows.get(tenant, &place.namespace, &place.flow, None).await?
        {
            // What is left of the flow in which the page before ended.
            let rest = self.of_flows(tenant, vec![stored]).await?;
            found.extend(rest.into_iter().filter(|one| one.index > place.index));
        }
        while (found.len() as u64) < limit {
            let after = place.as_ref().map(|place| (place.namespace.as_str(), place.flow.as_str()));
            let rows = self.0.store.list_flows(tenant, &narrowed, after, STEP).await?;
            let Some(last) = rows.last() else { break };
            place = Some(Place { namespace: last.namespace.clone(), flow: last.id.clone(), index: 0 });
            let complete = (rows.len() as u64) < STEP;
            let mut flows = Vec::with_capacity(rows.len());
            for row in rows {
                flows.extend(self.0.flows.get(tenant, &row.namespace, &row.id, Some(row.revision)).await?);
            }
            found.extend(self.of_flows(tenant, flows).await?);
            if complete {
                break;
            }
        }
        Ok(found)
    }

    /// The triggers of these flows, with what is stored of them.
    async fn of_flows(&self, tenant: &Tenant, flows: Vec<Arc<StoredFlow>>) -> Result<Vec<Found>> {
        let mut found: Vec<Found> = flows.into_iter().flat_map(Found::of).collect();
        let mut wanted = TriggerFilter::default();
        for one in found.iter().filter(|one| one.is_scheduled()) {
            let (namespace, flow) = (&one.stored.namespace, &one.stored.id);
            if !wanted.flow_ids.contains(flow) {
                wanted.flow_ids.push(flow.clone());
            }
            let namespace = NamespaceFilter::Exact(namespace.clone());
            if !wanted.namespaces.contains(&namespace) {
                wanted.namespaces.push(namespace);
            }
        }
        if wanted.flow_ids.is_empty() {
            return Ok(found);
        }
        let mut rows: HashMap<TriggerKey, TriggerRow> = HashMap::new();
        let mut after: Option<TriggerKey> = None;
        loop {
            let from =
                after.as_ref().map(|key| (key.namespace.as_str(), key.flow_id.as_str(), key.trigger_id.as_str()));
            let page = self.0.store.list_triggers(tenant, &wanted, from, STEP).await?;
            let last = (page.len() as u64) < STEP;
            after = page.last().map(|row| row.key.clone());
            rows.extend(page.into_iter().map(|row| (row.key.clone(), row)));
            if last {
                break;
            }
        }
        for one in &mut found {
            one.row = rows.remove(&one.key(tenant));
        }
        Ok(found)
    }

    /// The trigger in the newest revision of its flow.
    async fn find(&self, key: &TriggerKey) -> Result<Found> {
        let stored = self.0.flows.get(&key.tenant, &key.namespace, &key.flow_id, None).await?;
        let found = stored.into_iter().flat_map(Found::of).find(|found| found.trigger().id == key.trigger_id);
        found.ok_or_else(|| not_found(key))
    }

    async fn get(&self, key: &TriggerKey) -> Result<proto::Trigger> {
        let found = self.find(key).await?;
        if !found.is_scheduled() {
            return Ok(found.shown());
        }
        let row = Some(self.0.triggers.get(key).await?);
        // Reading it fits it to the newest revision, which may be newer by now.
        Ok(Found { row, ..self.find(key).await? }.shown())
    }

    async fn set_disabled(&self, caller: &Caller, request: proto::SetTriggerDisabledRequest) -> Result<proto::Trigger> {
        let key = key!(caller, request)?;
        let row = self.0.triggers.set_disabled(&key, request.disabled).await?;
        self.changed(key, row).await
    }

    async fn unlock(&self, caller: &Caller, request: proto::UnlockTriggerRequest) -> Result<proto::Trigger> {
        const METHOD: &str = "UnlockTrigger";
        let key = key!(caller, request)?;
        check_request_id(&request.request_id)?;
        if self.0.done_before(&caller.tenant, METHOD, &request.request_id, &request).await? {
            return self.get(&key).await;
        }
        let row = self.0.triggers.unlock(&key).await?;
        self.0.remember(&caller.tenant, METHOD, &request.request_id, &request).await;
        self.changed(key, row).await
    }

    async fn dates(
        &self,
        caller: &Caller,
        request: proto::ListTriggerDatesRequest,
    ) -> Result<proto::ListTriggerDatesResponse> {
        let key = key!(caller, request)?;
        let count = match request.count {
            0 => DEFAULT_DATES,
            1..=MAX_DATES => request.count,
            _ => return Err(invalid("count", format!("at most {MAX_DATES}; 0 means {DEFAULT_DATES}"))),
        };
        let from = request.from.map(|from| convert::from_time("from", from)).transpose()?;
        let dates = self.0.triggers.next_dates(&key, from, count as usize).await?;
        Ok(proto::ListTriggerDatesResponse { dates: dates.into_iter().map(convert::time).collect() })
    }

    async fn create_backfill(&self, caller: &Caller, request: proto::CreateBackfillRequest) -> Result<proto::Trigger> {
        const METHOD: &str = "CreateBackfill";
        let key = key!(caller, request)?;
        check_request_id(&request.request_id)?;
        let start = request.start.ok_or_else(|| invalid("start", "is required"))?;
        let start = convert::from_time("start", start)?;
        let end = request.end.map(|end| convert::from_time("end", end)).transpose()?;
        let now = now();
        for (field, at) in [("start", Some(start)), ("end", end)] {
            if at.is_some_and(|at| at > now) {
                return Err(invalid(field, "lies in the future: only dates of the past are run"));
            }
        }
        if end.is_some_and(|end| end < start) {
            return Err(invalid("end", "lies before `start`"));
        }
        let labels = convert::request_labels(request.labels.clone())?;
        if let Some(index) = labels.iter().position(Label::is_system) {
            return Err(convert::reserved_label(index, &labels[index].key));
        }
        let mut inputs = convert::inputs(request.inputs.clone(), self.0.creator.max_input_bytes)?;
        if self.0.done_before(&caller.tenant, METHOD, &request.request_id, &request).await? {
            return self.get(&key).await;
        }
        let stored = self.0.creator.flows.get(&caller.tenant, &key.namespace, &key.flow_id, None).await?;
        if let Some(Ok(flow)) = stored.as_ref().map(|stored| stored.flow.as_ref()) {
            self.0.creator.seal(&caller.tenant, flow.inputs.iter(), &mut inputs).await?;
        }
        let new = NewBackfill { id: new_id(), start, end, inputs, labels };
        let row = self.0.triggers.create_backfill(&key, new).await?;
        self.0.remember(&caller.tenant, METHOD, &request.request_id, &request).await;
        self.changed(key, row).await
    }

    async fn pause_backfill(&self, caller: &Caller, request: proto::PauseBackfillRequest) -> Result<proto::Trigger> {
        let key = key!(caller, request)?;
        let row = self.0.triggers.pause_backfill(&key).await?;
        self.changed(key, row).await
    }

    async fn resume_backfill(&self, caller: &Caller, request: proto::ResumeBackfillRequest) -> Result<proto::Trigger> {
        let key = key!(caller, request)?;
        let row = self.0.triggers.resume_backfill(&key).await?;
        self.changed(key, row).await
    }

    async fn delete_backfill(&self, caller: &Caller, request: proto::DeleteBackfillRequest) -> Result<proto::Trigger> {
        const METHOD: &str = "DeleteBackfill";
        let key = key!(caller, request)?;
        check_request_id(&request.request_id)?;
        if self.0.done_before(&caller.tenant, METHOD, &request.request_id, &request).await? {
            return self.get(&key).await;
        }
        let row = self.0.triggers.delete_backfill(&key).await?;
        self.0.remember(&caller.tenant, METHOD, &request.request_id, &request).await;
        self.changed(key, row).await
    }

    /// A trigger as it was just written.
    async fn changed(&self, key: TriggerKey, row: TriggerRow) -> Result<proto::Trigger> {
        Ok(Found { row: Some(row), ..self.find(&key).await? }.shown())
    }
}

fn key(tenant: &Tenant, namespace: &str, flow_id: &str, trigger_id: &str) -> Result<TriggerKey> {
    for (field, value) in [("namespace", namespace), ("flow_id", flow_id), ("trigger_id", trigger_id)] {
        if value.is_empty() {
            return Err(invalid(field, "is required"));
        }
    }
    Ok(TriggerKey {
        tenant: tenant.clone(),
        namespace: namespace.to_owned(),
        flow_id: flow_id.to_owned(),
        trigger_id: trigger_id.to_owned(),
    })
}

fn not_found(key: &TriggerKey) -> Error {
    let TriggerKey { namespace, flow_id, trigger_id, .. } = key;
    let message = format!("there is no trigger `{trigger_id}` in a flow {namespace}.{flow_id}");
    Error::new(ErrorKind::NotFound, reasons::TRIGGER_NOT_FOUND, message)
        .with("namespace", namespace)
        .with("flow", flow_id)
        .with("trigger", trigger_id)
}

/// Where a trigger stands in the list.
struct Place {
    namespace: String,
    flow: String,
    /// Among the triggers of its flow.
    index: usize,
}

impl Place {
    fn read(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut parts = text.split('\n');
        let [namespace, flow, index] = [parts.next()?, parts.next()?, parts.next()?];
        Some(Self { namespace: namespace.to_owned(), flow: flow.to_owned(), index: index.parse().ok()? })
    }
}

/// A trigger in its flow, with what is stored of it if schedulers evaluate it.
struct Found {
    stored: Arc<StoredFlow>,
    flow: Arc<windhover_flow::Flow>,
    index: usize,
    row: Option<TriggerRow>,
}

impl Found {
    /// The triggers of a flow; none when its source can no longer be read.
    fn of(stored: Arc<StoredFlow>) -> Vec<Self> {
        let Ok(flow) = &stored.flow else { return Vec::new() };
        let flow = Arc::clone(flow);
        (0..flow.triggers.len())
            .map(|index| Self { stored: Arc::clone(&stored), flow: Arc::clone(&flow), index, row: None })
            .collect()
    }

    fn trigger(&self) -> &Trigger {
        &self.flow.triggers[self.index]
    }

    fn is_scheduled(&self) -> bool {
        matches!(self.trigger().kind, TriggerKind::Schedule(_) | TriggerKind::Http(_))
    }

    fn key(&self, tenant: &Tenant) -> TriggerKey {
        TriggerKey {
            tenant: tenant.clone(),
            namespace: self.stored.namespace.clone(),
            flow_id: self.stored.id.clone(),
            trigger_id: self.trigger().id.clone(),
        }
    }

    fn position(&self) -> Vec<u8> {
        format!("{}\n{}\n{}", self.stored.namespace, self.stored.id, self.index).into_bytes()
    }

    fn disabled_in_flow(&self) -> bool {
        self.flow.disabled || self.trigger().disabled
    }

    fn disabled(&self) -> bool {
        self.disabled_in_flow() || self.row.as_ref().is_some_and(|row| row.state.disabled)
    }

    fn shown(&self) -> proto::Trigger {
        let trigger = self.trigger();
        let shown = proto::Trigger {
            namespace: self.stored.namespace.clone(),
            flow_id: self.stored.id.clone(),
            id: trigger.id.clone(),
            r#type: trigger.type_name.clone(),
            flow_revision: self.stored.revision,
            disabled: self.disabled(),
            disabled_in_flow: self.disabled_in_flow(),
            scheduled: self.is_scheduled(),
            ..Default::default()
        };
        let Some(state) = self.row.as_ref().map(|row| &row.state) else { return shown };
        proto::Trigger {
            next_date: state.next_at.map(convert::time),
            last_date: state.last_at.map(convert::time),
            running_execution_id: state.execution.map(|id| id.to_string()).unwrap_or_default(),
            last_execution_id: state.last_execution.map(|id| id.to_string()).unwrap_or_default(),
            message: state.message.clone().unwrap_or_default(),
            backfill: state.backfill.as_ref().map(|backfill| shown_backfill(backfill, &self.flow)),
            ..shown
        }
    }
}

fn shown_backfill(backfill: &Backfill, flow: &windhover_flow::Flow) -> proto::Backfill {
    let secret =
        |id: &str| flow.inputs.iter().any(|input| input.id == id && input.kind.input_type() == InputType::Secret);
    proto::Backfill {
        start: Some(convert::time(backfill.start)),
        end: Some(convert::time(backfill.end)),
        current: Some(convert::time(backfill.current)),
        paused: backfill.paused,
        inputs: (backfill.inputs.iter())
            .filter(|(id, _)| !secret(id))
            .map(|(id, value)| (id.clone(), convert::json(value)))
            .collect(),
        labels: convert::labels(&backfill.labels),
    }
}

impl Record for Found {
    fn have(&self, field: &str, _: Option<&str>) -> Have<'_> {
        let state = self.row.as_ref().map(|row| &row.state);
        match field {
            "namespace" => Have::Text(&self.stored.namespace),
            "flow" => Have::Text(&self.stored.id),
            "trigger" => Have::Text(&self.trigger().id),
            "type" => Have::Text(&self.trigger().type_name),
            "disabled" => Have::Bool(self.disabled()),
            "locked" => Have::Bool(state.is_some_and(|state| state.execution.is_some())),
            "backfill" => Have::Bool(state.is_some_and(|state| state.backfill.is_some())),
            _ => Have::Nothing,
        }
    }
}
