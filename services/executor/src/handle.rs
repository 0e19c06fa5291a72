//! The handle through which the rest of a process reaches the owners of executions, wherever they are.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use windhover_engine::{Event, Execution};
use windhover_queue::{Hints, Subscription, Wakeups};
use windhover_store::Store;
use windhover_types::{Error, Id, StateHistory, Tenant, shard_of};

use crate::{
    act::Acted,
    clock,
    core::{SHARD_MOVED, unavailable},
    flows::Flows,
    message::{ActionKey, CreateRequest, CreatedExecution, Input, Pending, RequestKey},
    owned::OwnedShards,
    remote::Remote,
};

/// What a handle without an executor works with.
pub struct RemoteConfig {
    pub store: Store,
    pub flows: Flows,
    pub wakeups: Arc<dyn Wakeups>,
    pub hints: Arc<dyn Hints>,
    /// Number of shards of the installation.
    pub shard_count: u16,
}

/// Reaches the owners of executions: the executor of this process by memory, others by the store. Cheap to clone.
#[derive(Clone)]
pub struct ExecutorHandle {
    local: Option<Local>,
    remote: Option<Remote>,
    hints: Arc<dyn Hints>,
    store: Store,
    shard_count: u16,
}

/// The executor of this process.
#[derive(Clone)]
pub(crate) struct Local {
    pub(crate) inputs: mpsc::UnboundedSender<Input>,
    pub(crate) owned: OwnedShards,
}

/// How often an id is drawn until one falls into a shard of this process.
const DRAWS: usize = 256;

impl ExecutorHandle {
    /// For a process without an executor. Starts what writes for it, which ends with the last clone; needs a runtime.
    pub fn remote(config: RemoteConfig) -> Self {
        let RemoteConfig { store, flows, wakeups, hints, shard_count } = config;
        let remote = Remote::start(store.clone(), flows, wakeups, Arc::clone(&hints), shard_count);
        Self { local: None, remote: Some(remote), hints, store, shard_count }
    }

    pub(crate) fn local(
        local: Local,
        remote: Option<Remote>,
        hints: Arc<dyn Hints>,
        store: Store,
        shard_count: u16,
    ) -> Self {
        Self { local: Some(local), remote, hints, store, shard_count }
    }

    /// An id for a new execution of the tenant: one whose owner is this process, if it owns anything, so that the
    /// execution is created and run by one commit.
    pub fn new_id(&self, tenant: &Tenant) -> Id {
        let Some(local) = &self.local else { return clock::new_id() };
        let mut id = clock::new_id();
        if self.remote.is_some() && !local.owned.list().is_empty() {
            for _ in 0..DRAWS {
                if local.owned.owns(shard_of(tenant, id, self.shard_count)) {
                    break;
                }
                id = clock::new_id();
            }
        }
        id
    }

    /// Answers after the commit, with the execution as it was created. The same request id and content answers the
    /// first one (`replayed`); with other content ALREADY_EXISTS, reason REQUEST_ID_REUSED. UNAVAILABLE with the reason
    /// FLOW_MOVED: the flow was changed elsewhere since it was looked up; the flows of this process are new by then, and
    /// the request is to be made out again.
    pub async fn create(&self, mut request: CreateRequest) -> Result<CreatedExecution, Error> {
        if let Some(key) = &mut request.request {
            // As it is stored: two that are one there must not come into one batch.
            key.request_id = key.request_id.replace('\0', "\u{fffd}");
        }
        let tenant = request.tenant.clone();
        let created = self.create_somewhere(request).await?;
        if !created.replayed {
            return Ok(created);
        }
        // Revision, labels and inputs are those of the first request.
        match self.store.get_execution(&tenant, created.execution.id).await? {
            Some(stored) => Ok(CreatedExecution { execution: as_created(stored), ..created }),
            None => Ok(created),
        }
    }

    async fn create_somewhere(&self, request: CreateRequest) -> Result<CreatedExecution, Error> {
        let (local, remote) = match (&self.local, &self.remote) {
            (Some(local), None) => return local.create(request).await,
            (local, Some(remote)) => (local, remote),
            (None, None) => return Err(unavailable("there is no executor")),
        };
        if let Some(local) = local
            && local.owned.owns(shard_of(&request.tenant, request.new.id, self.shard_count))
        {
            match local.create(request.clone()).await {
                // With the same id: what was made of it meanwhile is found.
                Err(error) if error.reason == SHARD_MOVED => {}
                outcome => return outcome,
            }
        }
        remote.create(request).await
    }

    /// Has something done to an execution, and answers after the commit of what became of it. With a key the first
    /// outcome is answered again; without one a double is harmless.
    ///
    /// # Errors
    /// EXECUTION_NOT_FOUND, EXECUTION_PARKED, REQUEST_ID_REUSED; UNAVAILABLE when nobody has answered in time: it is
    /// done all the same then, if it was stored.
    pub async fn act(&self, tenant: &Tenant, id: Id, event: Event, key: Option<RequestKey>) -> Result<Acted, Error> {
        let key = key.map(|key| {
            let request_id = key.request_id.replace('\0', "\u{fffd}");
            ActionKey::from(RequestKey { request_id, ..key })
        });
        let is_local =
            |local: &&Local| self.remote.is_none() || local.owned.owns(shard_of(tenant, id, self.shard_count));
        if let Some(local) = self.local.as_ref().filter(is_local) {
            match local.act(tenant, id, event.clone(), key.clone()).await {
                Err(error) if error.reason == SHARD_MOVED && self.remote.is_some() => {}
                outcome => return outcome,
            }
        }
        let Some(remote) = &self.remote else { return Err(unavailable("there is no executor")) };
        // Somewhere its outcome has to be found.
        let key = key.unwrap_or_else(|| ActionKey {
            method: "executor.Act".into(),
            request_id: clock::new_id().to_string(),
            content: [0; 32],
        });
        remote.act(tenant, id, event, key).await
    }

    /// Answers after the wish is committed. Doubles are harmless; `false` when the execution had ended.
    pub async fn kill(&self, tenant: &Tenant, id: Id) -> Result<bool, Error> {
        Ok(!self.act(tenant, id, Event::Kill, None).await?.is_too_late())
    }

    /// Hints that something about the execution was committed.
    pub fn subscribe(&self, tenant: &Tenant, id: Id) -> Subscription {
        self.hints.subscribe(tenant, id)
    }
}

impl Local {
    async fn create(&self, request: CreateRequest) -> Result<CreatedExecution, Error> {
        let (reply, answer) = oneshot::channel();
        self.send(Input::Create { request: Box::new(request), reply })?;
        answer.await.map_err(|_| unavailable("the server is stopping"))?
    }

    async fn act(&self, tenant: &Tenant, id: Id, event: Event, action: Option<ActionKey>) -> Result<Acted, Error> {
        let (waiter, answer) = oneshot::channel();
        let pending = Pending { waiter: Some(waiter), action, ..Pending::new(event) };
        self.send(Input::Event { tenant: tenant.clone(), execution: id, pending })?;
        answer.await.map_err(|_| unavailable("the server is stopping"))?
    }

    fn send(&self, input: Input) -> Result<(), Error> {
        self.inputs.send(input).map_err(|_| unavailable("the server is stopping"))
    }
}

/// An execution as it was when it was created.
fn as_created(execution: Execution) -> Execution {
    let first = execution.state.entries().first().copied();
    let state = first.map_or_else(|| execution.state.clone(), |first| StateHistory::new(first.state, first.at));
    Execution { state, outputs: None, error: None, version: 1, ..execution }
}
