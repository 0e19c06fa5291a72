//! What tasks do with the data of their tenant beyond their own execution.

use std::sync::Arc;

use async_trait::async_trait;
use windhover_engine::Event;
use windhover_executor::{Acted, ExecutorHandle, Flows, RequestKey};
use windhover_flow::{resume_inputs, seal_given};
use windhover_store::{CountFilter, EndedFilter, LogPurge, NamespaceFilter, PurgeOf, Store, TimeRange, TriggerKey};
use windhover_tasks::{
    CountedExecutions, EndedExecution, EndedExecutions, ExecutionCount, NamespaceScope, Period, PurgeCount, PurgedLogs,
    PurgedParts, Resumed, Upkeep,
};
use windhover_types::{ErrorKind, Id, JsonMap, Tenant, Timestamp};

use super::secrets::StoredSecrets;

/// Names of one page.
const PAGE: u64 = 1_000;
/// Lines of one statement: a batch of the executor must not wait for more.
const LINES: u64 = 1_000;

pub(super) struct StoredUpkeep {
    pub(super) store: Store,
    pub(super) executor: ExecutorHandle,
    pub(super) flows: Flows,
    pub(super) secrets: Arc<StoredSecrets>,
}

impl StoredUpkeep {
    /// Encrypts what is given for inputs of type SECRET before the action is written down for the execution's owner.
    async fn seal(&self, tenant: &Tenant, execution: Id, inputs: &mut JsonMap) -> Result<(), String> {
        if inputs.is_empty() {
            return Ok(());
        }
        let Some(of) = self.store.get_execution(tenant, execution).await.map_err(told)? else { return Ok(()) };
        let flow = self.flows.get(tenant, &of.namespace, &of.flow_id, Some(of.flow_revision)).await.map_err(told)?;
        let Some(Ok(flow)) = flow.as_ref().map(|stored| stored.flow.as_ref()) else { return Ok(()) };
        let secret: Vec<_> =
            resume_inputs(flow).filter(|input| input.kind.is_secret() && inputs.contains_key(&input.id)).collect();
        if secret.is_empty() {
            return Ok(());
        }
        let cipher = windhover_tasks::SecretSource::cipher(self.secrets.as_ref(), tenant).await?;
        seal_given(secret, inputs, |secret| cipher.seal(secret))
    }
}

/// What the user reads of a failure.
fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// The store's ranges leave their end out.
fn range(period: Period) -> TimeRange {
    TimeRange { from: period.from, until: period.until.map(after) }
}

fn after(at: Timestamp) -> Timestamp {
    Timestamp::from_micros(at.as_micros().saturating_add(1))
}

fn namespaces(scope: Option<&NamespaceScope>) -> Vec<NamespaceFilter> {
    let filter = |scope: &NamespaceScope| match scope.below {
        true => NamespaceFilter::Within(scope.namespace.clone()),
        false => NamespaceFilter::Exact(scope.namespace.clone()),
    };
    scope.map(filter).into_iter().collect()
}

#[async_trait]
impl Upkeep for StoredUpkeep {
    async fn count_executions(
        &self,
        tenant: &Tenant,
        wanted: &CountedExecutions,
    ) -> Result<Vec<ExecutionCount>, String> {
        let filter = CountFilter {
            flows: wanted.flows.clone(),
            namespaces: wanted.namespaces.clone(),
            states: wanted.states.clone(),
            created: range(wanted.created),
        };
        let counts = self.store.count_executions(tenant, &filter).await.map_err(told)?;
        let count = |count: windhover_store::FlowCount| ExecutionCount {
            namespace: count.namespace,
            flow_id: count.flow_id,
            count: count.count,
        };
        Ok(counts.into_iter().map(count).collect())
    }

    async fn ended_executions(
        &self,
        tenant: &Tenant,
        wanted: &EndedExecutions,
        after_id: Option<Id>,
        limit: u64,
    ) -> Result<Vec<EndedExecution>, String> {
        let filter = EndedFilter {
            namespaces: namespaces(wanted.scope.as_ref()),
            flow_ids: wanted.flow_id.iter().cloned().collect(),
            states: wanted.states.clone(),
            created: TimeRange { from: wanted.created_from, until: None },
            ended: TimeRange { from: None, until: wanted.ended_until.map(after) },
        };
        let found = self.store.ended_executions(tenant, &filter, after_id, limit).await.map_err(told)?;
        let execution = |place: windhover_store::ExecutionPlace| EndedExecution {
            id: place.id,
            namespace: place.namespace,
            flow_id: place.flow_id,
        };
        Ok(found.into_iter().map(execution).collect())
    }

    async fn purge_executions(&self, tenant: &Tenant, ids: &[Id], parts: PurgedParts) -> Result<PurgeCount, String> {
        let PurgedParts { executions, logs, metrics, files } = parts;
        let of = PurgeOf { executions, logs, metrics, files };
        let purged = self.store.purge_executions(tenant, ids, of).await.map_err(told)?;
        Ok(PurgeCount { executions: purged.executions, logs: purged.logs, metrics: purged.metrics })
    }

    async fn files_purged(&self, tenant: &Tenant, ids: &[Id]) -> Result<(), String> {
        self.store.files_removed(tenant, ids).await.map_err(told)
    }

    async fn purge_logs(&self, tenant: &Tenant, wanted: &PurgedLogs) -> Result<u64, String> {
        let purge = LogPurge {
            namespaces: namespaces(wanted.scope.as_ref()),
            flow_ids: wanted.flow_id.iter().cloned().collect(),
            executions: wanted.execution.into_iter().collect(),
            levels: wanted.levels.clone(),
            at: range(wanted.written),
        };
        self.store.purge_logs(tenant, &purge, LINES).await.map_err(told)
    }

    async fn namespaces(&self, tenant: &Tenant, with_flows: bool) -> Result<Vec<String>, String> {
        let mut names: Vec<String> = Vec::new();
        loop {
            let last = names.last().cloned();
            let page = match with_flows {
                true => self.store.list_flow_namespaces(tenant, last.as_deref(), PAGE).await,
                false => self.store.list_namespaces(tenant, last.as_deref(), PAGE).await,
            };
            let page = page.map_err(told)?;
            let complete = (page.len() as u64) < PAGE;
            names.extend(page);
            if complete {
                return Ok(names);
            }
        }
    }

    async fn set_trigger_disabled(
        &self,
        tenant: &Tenant,
        namespace: &str,
        flow_id: &str,
        trigger_id: &str,
        disabled: bool,
    ) -> Result<bool, String> {
        let key = TriggerKey {
            tenant: tenant.clone(),
            namespace: namespace.to_owned(),
            flow_id: flow_id.to_owned(),
            trigger_id: trigger_id.to_owned(),
        };
        // The next date stays as it is (flow model reference 5.7).
        let changed = self.store.change_trigger(&key, |_, state| {
            state.disabled = disabled;
            Ok::<(), std::convert::Infallible>(())
        });
        Ok(changed.await.map_err(told)?.is_some())
    }

    async fn resume(
        &self,
        tenant: &Tenant,
        execution: Id,
        inputs: JsonMap,
        request: String,
    ) -> Result<Resumed, String> {
        let mut inputs = inputs;
        self.seal(tenant, execution, &mut inputs).await?;
        let event = Event::Resume { inputs, by: None, undeclared: true };
        let key = RequestKey { method: "task/execution.Resume", request_id: request, content: [0; 32] };
        match self.executor.act(tenant, execution, event, Some(key)).await {
            Ok(Acted::Done) => Ok(Resumed::Done),
            Ok(Acted::Refused(refusal)) => Ok(Resumed::Refused(refusal.message)),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(Resumed::NotFound),
            Err(error) => Err(error.message),
        }
    }
}
