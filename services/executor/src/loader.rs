//! Brings what is not in memory: executions, and facts that the engine asked for.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::{StreamExt, stream};
use tokio::sync::{Semaphore, mpsc};
use windhover_engine::{Answer, ChildState, Fact, FactValue, Question, Whole};
use windhover_store::{Store, StoreError};
use windhover_types::{Cipher, Error, ErrorKind, Id, Secret, Tenant};

use crate::{
    batch::FlowName,
    core::FactRequest,
    fair::in_rounds,
    flows::Flows,
    message::{Input, LoadedRun},
};

const RETRY: Duration = Duration::from_millis(200);
/// Executions read by one query.
const PAGE: usize = 500;
/// Of them, a flooding tenant's while others have little to load.
const SHARE: usize = 32;
/// Lookups of facts at the same time.
const CONCURRENT_FACTS: usize = 32;
/// Calls to servers that one tenant has under way at the same time: others do not wait behind them.
const CALLS_OF_TENANT: usize = 8;
/// How often a fact is asked for that the store has and cannot read.
const UNREADABLE_TRIES: u32 = 10;

/// Key-value stores, files and servers, for templates that are rendered outside of workers.
#[async_trait]
pub trait WorldSource: Send + Sync + 'static {
    /// An answer of the question's own kind.
    async fn answer(&self, tenant: &Tenant, question: &Question) -> Answer;
}

/// Neither key-value stores nor files, and nobody to call.
pub struct NoWorld;

#[async_trait]
impl WorldSource for NoWorld {
    async fn answer(&self, _: &Tenant, question: &Question) -> Answer {
        question.refused("there are no key-value stores, no files and no calls here")
    }
}

/// Decrypted secrets, for templates that the executor itself renders, and what encrypts and decrypts values of type
/// SECRET.
#[async_trait]
pub trait SecretSource: Send + Sync + 'static {
    /// The value in the namespace or the nearest parent that has it; the error is a sentence for the user.
    async fn secret(&self, tenant: &Tenant, namespace: &str, key: &str) -> Result<Secret, String>;

    /// What seals and opens values of the tenant, with its keys in memory; the error is a sentence for the user.
    async fn cipher(&self, _tenant: &Tenant) -> Result<Arc<dyn Cipher>, String> {
        Err(NO_KEY.to_owned())
    }

    /// The same without waiting, if the tenant's keys are in memory.
    fn known_cipher(&self, _tenant: &Tenant) -> Option<Arc<dyn Cipher>> {
        None
    }
}

/// Values of type SECRET in a process without keys.
const NO_KEY: &str = "values of type SECRET cannot be encrypted without a key: set windhover.master-key (WINDHOVER_MASTER_KEY) or windhover.master-key-file";

/// Loads executions that events wait for. What arrives of a tenant while a query for it runs is in the next one.
pub(crate) async fn executions(
    store: Store,
    flows: Flows,
    wanted: mpsc::UnboundedReceiver<(Tenant, Id)>,
    inputs: mpsc::UnboundedSender<Input>,
) {
    let (store, flows, inputs) = (&store, &flows, &inputs);
    in_rounds(
        wanted,
        SHARE,
        |(tenant, _)| tenant,
        |keys| {
            let asked: Vec<(Tenant, Id)> = keys.take(PAGE).collect();
            async move {
                let Loaded { runs, unreadable, corrupt } = loop {
                    match load(store, flows, &asked).await {
                        Ok(loaded) => break loaded,
                        Err(error) => tracing::warn!(%error, "executions cannot be read; trying again"),
                    }
                    tokio::time::sleep(RETRY).await;
                };
                let _ = inputs.send(Input::Loaded { runs, unreadable, corrupt, asked });
            }
        },
    )
    .await;
}

/// What was found of the executions that were asked for.
#[derive(Default)]
pub(crate) struct Loaded {
    pub(crate) runs: Vec<LoadedRun>,
    /// They are there, and the store does not give them: asking again may help.
    pub(crate) unreadable: Vec<(Tenant, Id)>,
    /// What is stored of them cannot be read, with the reason: asking again does not help.
    pub(crate) corrupt: Vec<(Tenant, Id, String)>,
}

/// Why executions were not loaded.
enum Failure {
    Corrupt(String),
    Other(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Corrupt { .. } | StoreError::OutputsGone { .. } => Self::Corrupt(error.to_string()),
            error => Self::Other(error.into()),
        }
    }
}

/// Executions with their flows. One that cannot be read does not keep back the others.
///
/// # Errors
/// The database is away, or gives none of several: asking again may help.
pub(crate) async fn load(store: &Store, flows: &Flows, keys: &[(Tenant, Id)]) -> Result<Loaded, Error> {
    match load_together(store, flows, keys).await {
        Ok(runs) => return Ok(Loaded { runs, ..Loaded::default() }),
        Err(Failure::Other(error)) if error.kind == ErrorKind::Unavailable => return Err(error),
        Err(_) => {}
    }
    let mut loaded = Loaded::default();
    let mut refused = None;
    for key in keys {
        match load_together(store, flows, std::slice::from_ref(key)).await {
            Ok(runs) => loaded.runs.extend(runs),
            Err(Failure::Corrupt(reason)) => loaded.corrupt.push((key.0.clone(), key.1, reason)),
            Err(Failure::Other(error)) if error.kind == ErrorKind::Unavailable => return Err(error),
            Err(Failure::Other(error)) => {
                let (tenant, id) = key;
                tracing::error!(%tenant, execution = %id, %error, "a stored execution cannot be read; it is left aside");
                loaded.unreadable.push(key.clone());
                refused = Some(error);
            }
        }
    }
    match refused {
        Some(error) if keys.len() > 1 && loaded.unreadable.len() == keys.len() => Err(error),
        _ => Ok(loaded),
    }
}

async fn load_together(store: &Store, flows: &Flows, keys: &[(Tenant, Id)]) -> Result<Vec<LoadedRun>, Failure> {
    let mut loaded = Vec::with_capacity(keys.len());
    for stored in store.load_runs(keys).await? {
        let of = &stored.execution;
        let flow = flows.get(&of.tenant, &of.namespace, &of.flow_id, Some(of.flow_revision)).await?;
        loaded.push(LoadedRun { stored, flow });
    }
    Ok(loaded)
}

/// Looks facts up, many executions at a time.
pub(crate) async fn facts(
    store: Store,
    flows: Flows,
    secrets: Arc<dyn SecretSource>,
    world: Arc<dyn WorldSource>,
    requests: mpsc::UnboundedReceiver<FactRequest>,
    inputs: mpsc::UnboundedSender<Input>,
) {
    let looker = Looker { store, flows, secrets, world, inputs };
    let (slow, waiting) = mpsc::unbounded_channel();
    let (looker, slow) = (&looker, &slow);
    let calls = TenantCalls::default();
    let quick = as_stream(requests).for_each_concurrent(CONCURRENT_FACTS, |request| async move {
        match request.facts.iter().any(calls_out) {
            // Whoever is called may take his time: that must not be the time of others.
            true => drop(slow.send(request)),
            false => looker.answer(request).await,
        }
    });
    let slowly = as_stream(waiting).for_each_concurrent(None, |request| {
        let calls = calls.of(&request.tenant);
        async move {
            let _turn = calls.acquire().await;
            looker.answer(request).await;
        }
    });
    tokio::select! {
        () = quick => {}
        () = slowly => {}
    }
}

fn as_stream<T>(receiver: mpsc::UnboundedReceiver<T>) -> impl futures::Stream<Item = T> {
    stream::unfold(receiver, |mut receiver| async { receiver.recv().await.map(|next| (next, receiver)) })
}

fn calls_out(fact: &Fact) -> bool {
    matches!(fact, Fact::World(question) if question.calls_out())
}

/// Who may call out at the same time, by tenant.
#[derive(Default)]
struct TenantCalls(parking_lot::Mutex<HashMap<Tenant, Arc<Semaphore>>>);

impl TenantCalls {
    fn of(&self, tenant: &Tenant) -> Arc<Semaphore> {
        let mut tenants = self.0.lock();
        // Tenants that nobody calls for are forgotten.
        tenants.retain(|known, calls| known == tenant || Arc::strong_count(calls) > 1);
        let calls = tenants.entry(tenant.clone()).or_insert_with(|| Arc::new(Semaphore::new(CALLS_OF_TENANT)));
        Arc::clone(calls)
    }
}

/// Answers requests for facts.
struct Looker {
    store: Store,
    flows: Flows,
    secrets: Arc<dyn SecretSource>,
    world: Arc<dyn WorldSource>,
    inputs: mpsc::UnboundedSender<Input>,
}

impl Looker {
    async fn answer(&self, FactRequest { tenant, execution, facts }: FactRequest) {
        let Self { store, flows, secrets, world, inputs } = self;
        let mut found = HashMap::new();
        let mut tries = 0;
        for fact in facts {
            let value = loop {
                match look_up(store, flows, secrets.as_ref(), world.as_ref(), &tenant, execution, &fact).await {
                    Ok(value) => break value,
                    Err(error) if error.kind != ErrorKind::Unavailable && tries >= UNREADABLE_TRIES => {
                        let _ = inputs.send(Input::Unreadable { tenant, execution });
                        return;
                    }
                    Err(error) => {
                        tries += u32::from(error.kind != ErrorKind::Unavailable);
                        tracing::warn!(%tenant, %execution, %error, "a fact cannot be read; trying again");
                    }
                }
                tokio::time::sleep(RETRY).await;
            };
            found.insert(fact, value);
        }
        let _ = inputs.send(Input::Facts { execution, facts: found.into_iter().collect() });
    }
}

async fn look_up(
    store: &Store,
    flows: &Flows,
    secrets: &dyn SecretSource,
    world: &dyn WorldSource,
    tenant: &Tenant,
    execution: Id,
    fact: &Fact,
) -> Result<FactValue, Error> {
    Ok(match fact {
        Fact::Flow { namespace, flow_id, revision } => {
            FactValue::Flow(flows.get(tenant, namespace, flow_id, *revision).await?.map(|flow| flow.as_found()))
        }
        Fact::Outputs { task_id } => {
            FactValue::Outputs(store.ended_task_runs(tenant, execution, task_id.as_deref()).await?)
        }
        Fact::Child { execution } => {
            let child = store.get_execution(tenant, *execution).await?;
            FactValue::Child(child.map(|child| Box::new(ChildState::of(&child))))
        }
        Fact::Whole { execution } => {
            let found = store.get_execution(tenant, *execution).await?;
            let task_runs = match &found {
                Some(_) => store.ended_task_runs(tenant, *execution, None).await?,
                None => Vec::new(),
            };
            FactValue::Whole(found.map(|execution| Box::new(Whole { execution, task_runs })))
        }
        Fact::Cipher => FactValue::Cipher(secrets.cipher(tenant).await),
        Fact::Secret { namespace, key } => FactValue::Secret(secrets.secret(tenant, namespace, key).await),
        Fact::World(question) => FactValue::World(world.answer(tenant, question).await),
    })
}

/// Reads the slots of flows that somebody asks for.
pub(crate) async fn slots(
    store: Store,
    mut wanted: mpsc::UnboundedReceiver<FlowName>,
    inputs: mpsc::UnboundedSender<Input>,
) {
    while let Some(name) = wanted.recv().await {
        let (tenant, namespace, flow_id) = &name;
        let rows = loop {
            match store.slots_of_flow(tenant, namespace, flow_id).await {
                Ok(rows) => break rows,
                Err(error) => tracing::warn!(%tenant, namespace, flow_id, %error, "slots cannot be read; trying again"),
            }
            tokio::time::sleep(RETRY).await;
        };
        if inputs.send(Input::Slots { name, rows }).is_err() {
            return;
        }
    }
}
