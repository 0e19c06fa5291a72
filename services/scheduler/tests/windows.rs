//! Windows of Flow triggers on real databases.

mod support;

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use support::{Mortal, PATIENCE, commit, executions};
use windhover_engine::WindowOffer;
use windhover_executor::{ApplyOptions, Flows, new_id};
use windhover_flow::WindowEvent;
use windhover_scheduler::Scheduler;
use windhover_store::{Batch, Store, WindowOfferRow};
use windhover_testkit::{TestStore, wait_until};
use windhover_types::{JsonMap, Tenant, Timestamp};

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

async fn start(store: &Store) -> Result<Scheduler> {
    support::start(store, &Flows::load(store.clone()).await?).await
}

/// Offers in this order, after the `earlier` ones: which condition each fulfils, and its outputs. All within one day.
async fn offer(store: &Store, tenant: &Tenant, earlier: usize, offers: &[(&str, Value)]) -> Result<()> {
    // Not across midnight.
    let day = 86_400_000;
    let noon = |now: Timestamp| Timestamp::from_millis(now.as_millis().div_euclid(day) * day + day / 2);
    let row = |(number, (condition, outputs)): (usize, &(&str, Value)), now: Timestamp| {
        let id = new_id();
        let event = WindowEvent {
            at: noon(now).plus(Duration::from_millis((earlier + number) as u64)),
            held: vec![(*condition).to_owned()],
            outputs: outputs.as_object().cloned().unwrap_or_default(),
        };
        let variables: JsonMap = [("executionId".to_owned(), json!(id.to_string()))].into_iter().collect();
        let inputs = Ok([("day".to_owned(), json!("from upstream"))].into_iter().collect());
        WindowOfferRow {
            tenant: tenant.clone(),
            namespace: "company".to_owned(),
            flow_id: "listener".to_owned(),
            trigger_id: "both".to_owned(),
            upstream: id,
            offer: WindowOffer { id, event, labels: Vec::new(), variables, inputs, trace_parent: None },
        }
    };
    commit(store, |now| {
        let window_offers = offers.iter().enumerate().map(|offer| row(offer, now)).collect();
        Batch { window_offers, ..Batch::default() }
    })
    .await
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
    let made = wait_until("the execution", PATIENCE, async || {
        executions(&test.store, &tenant, None).await.ok().filter(|made| !made.is_empty())
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
        let schedulers = Mortal::start_all(&stores)?;
        offer(&test.store, &tenant, round * parts[0].len(), part).await?;
        for (index, scheduler) in schedulers.into_iter().enumerate() {
            scheduler.die_after(Duration::from_millis(20 + (round * 3 + index) as u64 * 41 % 150)).await;
        }
    }
    let last = start(&test.store).await?;
    wait_until("all offers to be taken", PATIENCE, async || {
        test.store.window_offers(1).await.ok()?.is_empty().then_some(())
    })
    .await?;
    last.stop().await;
    let made = executions(&test.store, &tenant, None).await?;
    let ids: BTreeSet<_> = made.iter().map(|execution| execution.id).collect();
    ensure!(made.len() == PAIRS && ids.len() == PAIRS, "{} executions of {PAIRS}", made.len());
    ensure!(made.iter().all(|execution| execution.inputs["day"] == "from upstream"));
    Ok(())
}
