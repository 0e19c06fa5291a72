//! Schedulers for tests: how they are started, how they die, and owners of shards beside them.

#![allow(dead_code, reason = "each test file uses what it needs")]

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use async_trait::async_trait;
use tokio::runtime::{Builder, Runtime};
use windhover_engine::Execution;
use windhover_executor::{Flows, NoWorld, SecretSource, new_id};
use windhover_outbound::{AddressPolicy, Client, ClientConfig};
use windhover_queue::in_process_wakeups;
use windhover_scheduler::{ScheduleSettings, Scheduler, SchedulerConfig};
use windhover_store::{Batch, ExecutionFilter, Registration, Store};
use windhover_telemetry::{Metrics, MetricsConfig};
use windhover_types::{Cipher, Secret, State, Tenant, Timestamp};

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Knows `TOKEN`, and seals by turning the text round.
struct OneSecret;

#[async_trait]
impl SecretSource for OneSecret {
    async fn secret(&self, _: &Tenant, _: &str, key: &str) -> Result<Secret, String> {
        match key {
            "TOKEN" => Ok(Secret::new("hunter2")),
            other => Err(format!("Cannot find secret for key '{other}'")),
        }
    }

    async fn cipher(&self, _: &Tenant) -> Result<Arc<dyn Cipher>, String> {
        Ok(Arc::new(Turned))
    }
}

#[derive(Debug)]
struct Turned;

impl Cipher for Turned {
    fn seal(&self, value: &Secret) -> Result<String, String> {
        Ok(format!("<{}", value.expose().chars().rev().collect::<String>()))
    }

    fn open(&self, sealed: &str) -> Result<Option<Secret>, String> {
        Ok(sealed.strip_prefix('<').map(|text| Secret::new(text.chars().rev().collect::<String>())))
    }
}

/// A scheduler that may call servers of this machine.
pub(crate) async fn start(store: &Store, flows: &Flows) -> Result<Scheduler> {
    start_measured(store, flows, Metrics::new(MetricsConfig::default())).await
}

/// A scheduler that counts here.
pub(crate) async fn start_measured(store: &Store, flows: &Flows, metrics: Metrics) -> Result<Scheduler> {
    let (wakeups, _receiver) = in_process_wakeups(16);
    let addresses = AddressPolicy::public().allow_private(true);
    let config = SchedulerConfig {
        store: store.clone(),
        flows: flows.clone(),
        wakeups: Arc::new(wakeups),
        secrets: Arc::new(OneSecret),
        world: Arc::new(NoWorld),
        http: Client::new(ClientConfig { addresses, ..ClientConfig::default() })?,
        metrics,
        settings: ScheduleSettings::default(),
    };
    Ok(Scheduler::start(config).await?)
}

/// A scheduler on a runtime of its own, which ends at whatever it waits for when this goes.
pub(crate) struct Mortal(Option<Runtime>);

impl Mortal {
    pub(crate) fn start(store: &Store) -> Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let store = store.clone();
        runtime.spawn(async move {
            let Ok(flows) = Flows::load(store.clone()).await else { return };
            let Ok(scheduler) = start(&store, &flows).await else { return };
            std::future::pending::<()>().await;
            scheduler.stop().await;
        });
        Ok(Self(Some(runtime)))
    }

    /// One on each of these.
    pub(crate) fn start_all(stores: &[Store]) -> Result<Vec<Self>> {
        stores.iter().map(Self::start).collect()
    }

    /// Lives so long, which is no wait for anything.
    pub(crate) async fn die_after(self, life: Duration) {
        tokio::time::sleep(life).await;
    }
}

impl Drop for Mortal {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Executions of this flow (of all, without one), the newest first.
pub(crate) async fn executions(store: &Store, tenant: &Tenant, flow: Option<&str>) -> Result<Vec<Execution>> {
    let flow_ids = flow.map(str::to_owned).into_iter().collect();
    let filter = ExecutionFilter { flow_ids, ..ExecutionFilter::default() };
    Ok(store.list_executions(tenant, &filter, None, 10_000).await?)
}

/// Commits what is made at the time of the database, as an owner of shards would.
pub(crate) async fn commit(store: &Store, make: impl FnOnce(Timestamp) -> Batch) -> Result<()> {
    let registration = Registration { id: new_id(), host: "test".to_owned(), exclusive: false };
    store.register_instance(&registration).await?;
    let claim = store.claim_shards(registration.id, None).await?;
    store.commit(&claim.fence, &make(store.now().await?)).await?;
    store.unregister(registration.id).await?;
    Ok(())
}

/// Ends an execution as its owner would.
pub(crate) async fn end(store: &Store, mut execution: Execution, state: State) -> Result<()> {
    commit(store, |now| {
        execution.state.set(State::Running, now);
        execution.state.set(state, now);
        execution.version += 1;
        Batch { changed_executions: vec![execution], ..Batch::default() }
    })
    .await
}
