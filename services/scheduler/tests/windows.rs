//! Windows of Flow triggers on real databases.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use serde_json::{Value, json};
use windhover_engine::{Execution, WindowOffer};
use windhover_executor::{ApplyOptions, Flows, SecretSource, new_id};
use windhover_flow::WindowEvent;
use windhover_outbound::{Client, ClientConfig};
use windhover_queue::in_process_wakeups;
use windhover_scheduler::{ScheduleSettings, Scheduler, SchedulerConfig};
use windhover_store::{Batch, ExecutionFilter, Registration, Store, WindowOfferRow};
use windhover_telemetry::{Metrics, MetricsConfig};
use windhover_testkit::{TestStore, wait_until};
use windhover_types::{JsonMap, Secret, Tenant};

const LISTENER: &str = "id: listener
namespace: company
inputs:
  - {id: day, type: STRING}
  - {id: size, type: INT, defaults: 3}
tasks:
  - {id: t, type: io.kestra.plugin.core.log.Log, message: m}
triggers:
  - id: both
    type: io.kestra.plugin.core.trigger.Flow
    inputs: {day: \"{{ trigger.outputs.day }}\"}
    preconditions:
      id: both
      flows:
        - {namespace: company, flowId: a}
        - {namespace: company, flowId: b}
";

struct NoSecrets;

#[async_trait]
impl SecretSource for NoSecrets {
    async fn secret(&self, _: &Tenant, _: &str, key: &str) -> Result<Secret, String> {
        Err(format!("Cannot find secret for key '{key}'"))
    }
}

async fn start(store: &Store) -> Result<Scheduler> {
    let (wakeups, _receiver) = in_process_wakeups(16);
    let config = SchedulerConfig {
        store: store.clone(),
        flows: Flows::load(store.clone()).await?,
        wakeups: Arc::new(wakeups),
        secrets: Arc::new(NoSecrets),
        world: Arc::new(windhover_executor::NoWorld),
        http: Client::new(ClientConfig::default())?,
        metrics: Metrics::new(MetricsConfig::default()),
        settings: ScheduleSettings::default(),
    };
    Ok(Scheduler::start(config).await?)
}

/// Offers in this order, after the `earlier` ones: which condition each fulfils, and its outputs. All within one day.
async fn offer(store: &Store, tenant: &Tenant, earlier: usize, offers: &[(&str, Value)]) -> Result<()> {
    let registration = Registration { id: new_id(), host: "test".to_owned(), exclusive: false };
    store.register_instance(&registration).await?;
    let claim = store.claim_shards(registration.id, None).await?;
    // Not across midnight.
    let day = 86_400_000;
    let noon = windhover_types::Timestamp::from_millis(store.now().await?.as_millis().div_euclid(day) * day + day / 2);
    let mut batch = Batch::default();
    for (number, (condition, outputs)) in offers.iter().enumerate() {
        let id = new_id();
        let at = noon.plus(Duration::from_millis((earlier + number) as u64));
        let event = WindowEvent {
            at,
            held: vec![(*condition).to_owned()],
            outputs: outputs.as_object().cloned().unwrap_or_default(),
        };
        let variables: JsonMap = [("executionId".to_owned(), json!(id.to_string()))].into_iter().collect();
        let inputs = Ok([("day".to_owned(), json!("from upstream"))].into_iter().collect());
        batch.window_offers.push(WindowOfferRow {
            tenant: tenant.clone(),
            namespace: "company".to_owned(),
            flow_id: "listener".to_owned(),
            trigger_id: "both".to_owned(),
            upstream: id,
            offer: WindowOffer { id, event, labels: Vec::new(), variables, inputs, trace_parent: None },
        });
    }
    store.commit(&claim.fence, &batch).await?;
    store.unregister(registration.id).await?;
    Ok(())
}

async fn executions(store: &Store, tenant: &Tenant) -> Result<Vec<Execution>> {
    Ok(store.list_executions(tenant, &ExecutionFilter::default(), None, 1_000).await?)
}

async fn with_listener(store: &Store) -> Result<Tenant> {
    let tenant = Tenant::trusted("main");
    let flows = Flows::load(store.clone()).await?;
    flows.apply(&tenant, LISTENER, ApplyOptions::default()).await?;
    Ok(tenant)
}

#[tokio::test]
async fn a_complete_set_starts_one_execution_with_the_outputs_of_all() -> Result<()> {
    let test = TestStore::sqlite().await?;
    let tenant = with_listener(&test.store).await?;
    let events = [
        ("condition_1", json!({"day": "monday"})),
        ("condition_1", json!({})),
        ("condition_2", json!({"day": "tuesday", "x": 1})),
    ];
    offer(&test.store, &tenant, 0, &events).await?;
    let scheduler = start(&test.store).await?;
    let made = wait_until("the execution", Duration::from_secs(30), async || {
        executions(&test.store, &tenant).await.ok().filter(|made| !made.is_empty())
    })
    .await?;
    let trigger = made[0].trigger.as_ref().context("a trigger")?;
    ensure!(made.len() == 1 && trigger.id == "both" && trigger.type_name == "io.kestra.plugin.core.trigger.Flow");
    ensure!(trigger.variables["outputs"] == json!({"day": "monday", "x": 1}), "{:?}", trigger.variables);
    ensure!(trigger.variables["executionId"] == json!(made[0].id.to_string()), "by the one that completed it");
    ensure!(
        *made[0].inputs == *json!({"day": "monday", "size": 3}).as_object().context("a map")?,
        "{:?}",
        made[0].inputs
    );
    ensure!(test.store.window_offers(10).await?.is_empty());
    scheduler.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn schedulers_that_die_take_each_offer_once() -> Result<()> {
    const PAIRS: usize = 300;
    let test = TestStore::postgres().await?;
    let tenant = with_listener(&test.store).await?;
    let events: Vec<_> = (0..PAIRS).flat_map(|_| [("condition_1", json!({})), ("condition_2", json!({}))]).collect();
    let mut stores = Vec::new();
    for name in ["one", "two", "three"] {
        stores.push(test.another(name).await?);
    }
    let parts: Vec<_> = events.chunks(PAIRS / 5).map(<[_]>::to_vec).collect();
    for (round, part) in parts.iter().enumerate() {
        let runtimes: Vec<_> = stores
            .iter()
            .map(|store| {
                let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
                let store = store.clone();
                runtime.spawn(async move {
                    let Ok(scheduler) = start(&store).await else { return };
                    std::future::pending::<()>().await;
                    scheduler.stop().await;
                });
                Ok(runtime)
            })
            .collect::<Result<_>>()?;
        offer(&test.store, &tenant, round * parts[0].len(), part).await?;
        for (index, runtime) in runtimes.into_iter().enumerate() {
            // Not a wait for anything: how long this one lives.
            tokio::time::sleep(Duration::from_millis(20 + (round * 3 + index) as u64 * 41 % 150)).await;
            runtime.shutdown_background();
        }
    }
    let last = start(&test.store).await?;
    wait_until("all offers to be taken", Duration::from_secs(60), async || {
        test.store.window_offers(1).await.ok()?.is_empty().then_some(())
    })
    .await?;
    last.stop().await;
    let made = executions(&test.store, &tenant).await?;
    let ids: BTreeSet<_> = made.iter().map(|execution| execution.id).collect();
    ensure!(made.len() == PAIRS && ids.len() == PAIRS, "{} executions of {PAIRS}", made.len());
    ensure!(made.iter().all(|execution| execution.inputs["day"] == "from upstream"));
    Ok(())
}
