//! Brings what is not in memory: executions, and facts that the engine asked for.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::{StreamExt, stream};
use tokio::sync::mpsc;
use windhover_engine::{Answer, ChildState, Fact, FactValue, Question};
use windhover_store::Store;
use windhover_types::{Error, ErrorKind, Id, Secret, Tenant};

use crate::{
    batch::FlowName,
    core::FactRequest,
    flows::Flows,
    message::{Input, LoadedRun},
};

const RETRY: Duration = Duration::from_millis(200);
/// Executions read by one query.
const PAGE: usize = 500;
/// Lookups of facts at the same time.
const CONCURRENT_FACTS: usize = 32;
/// How often a fact is asked for that the store has and cannot read.
const UNREADABLE_TRIES: u32 = 10;

/// Key-value stores and files, for templates that the executor itself renders.
#[async_trait]
pub trait WorldSource: Send + Sync + 'static {
    /// An answer of the question's own kind.
    async fn answer(&self, tenant: &Tenant, question: &Question) -> Answer;
}

/// Neither key-value stores nor files.
pub struct NoWorld;

#[async_trait]
impl WorldSource for NoWorld {
    async fn answer(&self, _: &Tenant, question: &Question) -> Answer {
        let nothing = || "there are no key-value stores and no files here".to_owned();
        match question {
            Question::KeyValue(_) => Answer::KeyValue(Err(nothing())),
            Question::Content(_) => Answer::Content(Err(nothing())),
            Question::Info(_) => Answer::Info(Err(nothing())),
        }
    }
}

/// Decrypted secrets, for templates that the executor itself renders.
#[async_trait]
pub trait SecretSource: Send + Sync + 'static {
    /// The value in the namespace or the nearest parent that has it; the error is a sentence for the user.
    async fn secret(&self, tenant: &Tenant, namespace: &str, key: &str) -> Result<Secret, String>;
}

/// Loads executions that events wait for. What arrives while one query runs is the next query.
pub(crate) async fn executions(
    store: Store,
    flows: Flows,
    mut wanted: mpsc::UnboundedReceiver<(Tenant, Id)>,
    inputs: mpsc::UnboundedSender<Input>,
) {
    let mut keys = Vec::with_capacity(PAGE);
    while wanted.recv_many(&mut keys, PAGE).await > 0 {
        let asked = std::mem::take(&mut keys);
        let Loaded { runs, unreadable } = loop {
            match load(&store, &flows, &asked).await {
                Ok(loaded) => break loaded,
                Err(error) => tracing::warn!(%error, "executions cannot be read; trying again"),
            }
            tokio::time::sleep(RETRY).await;
        };
        if inputs.send(Input::Loaded { runs, unreadable, asked }).is_err() {
            return;
        }
    }
}

/// What was found of the executions that were asked for.
#[derive(Default)]
pub(crate) struct Loaded {
    pub(crate) runs: Vec<LoadedRun>,
    /// They are there, and the store cannot read them.
    pub(crate) unreadable: Vec<(Tenant, Id)>,
}

/// Executions with their flows. One that cannot be read does not keep back the others.
///
/// # Errors
/// The database is away, or none of several can be read: asking again may help.
pub(crate) async fn load(store: &Store, flows: &Flows, keys: &[(Tenant, Id)]) -> Result<Loaded, Error> {
    let first = match load_together(store, flows, keys).await {
        Ok(runs) => return Ok(Loaded { runs, unreadable: Vec::new() }),
        Err(error) if error.kind == ErrorKind::Unavailable => return Err(error),
        Err(error) => error,
    };
    let mut loaded = Loaded::default();
    for key in keys {
        match load_together(store, flows, std::slice::from_ref(key)).await {
            Ok(runs) => loaded.runs.extend(runs),
            Err(error) if error.kind == ErrorKind::Unavailable => return Err(error),
            Err(error) => {
                let (tenant, id) = key;
                tracing::error!(%tenant, execution = %id, %error, "a stored execution cannot be read; it is left aside");
                loaded.unreadable.push(key.clone());
            }
        }
    }
    if keys.len() > 1 && loaded.unreadable.len() == keys.len() { Err(first) } else { Ok(loaded) }
}

async fn load_together(store: &Store, flows: &Flows, keys: &[(Tenant, Id)]) -> Result<Vec<LoadedRun>, Error> {
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
    let requests =
        stream::unfold(requests, |mut requests| async { requests.recv().await.map(|next| (next, requests)) });
    requests
        .for_each_concurrent(CONCURRENT_FACTS, |FactRequest { tenant, execution, facts }| {
            let (store, flows, secrets, world, inputs) = (&store, &flows, &secrets, &world, &inputs);
            async move {
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
        })
        .await;
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
