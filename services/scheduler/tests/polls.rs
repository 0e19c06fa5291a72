//! Polling triggers on real databases, against a local server.

mod support;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use axum::{Router, extract::State as Shared, http::StatusCode};
use parking_lot::Mutex;
use serde_json::json;
use support::{Mortal, PATIENCE, start, start_measured};
use tokio::sync::Notify;
use windhover_engine::Execution;
use windhover_executor::{ApplyOptions, Flows, new_id};
use windhover_scheduler::{NewBackfill, ScheduleSettings, Scheduler, TriggerKey, Triggers};
use windhover_store::Store;
use windhover_telemetry::{Metrics, MetricsConfig};
use windhover_testkit::{TestStore, wait_until};
use windhover_types::{JsonMap, Label, State, Tenant, Timestamp, label_value};

/// Counts what it is asked, and answers with this status and body; the header `x-token` is in the answer.
#[derive(Clone, Default)]
struct Asked {
    count: Arc<AtomicUsize>,
    answer: Arc<Mutex<(u16, String)>>,
    /// What is asked now is answered once this is told.
    gate: Arc<Mutex<Option<Arc<Notify>>>>,
    /// Of how many answers nobody waited for the end.
    unwanted: Arc<AtomicUsize>,
    url: String,
}

/// Counts an answer that is dropped before it is given.
struct Unwanted(Option<Arc<AtomicUsize>>);

impl Drop for Unwanted {
    fn drop(&mut self) {
        if let Some(count) = self.0.take() {
            count.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Asked {
    async fn start() -> Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let asked = Self { url, ..Self::default() };
        asked.says(200, "{\"n\": 1}");
        let answer = |Shared(asked): Shared<Asked>, headers: axum::http::HeaderMap| async move {
            asked.count.fetch_add(1, Ordering::SeqCst);
            let (status, body) = asked.answer.lock().clone();
            let gate = asked.gate.lock().clone();
            let mut unwanted = Unwanted(Some(Arc::clone(&asked.unwanted)));
            if let Some(gate) = gate {
                gate.notified().await;
            }
            unwanted.0 = None;
            let token = headers.get("x-token").and_then(|token| token.to_str().ok()).unwrap_or_default().to_owned();
            (StatusCode::from_u16(status).unwrap_or_default(), [("x-seen", token)], body)
        };
        let router = Router::new().fallback(answer).with_state(asked.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(asked)
    }

    fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    fn says(&self, status: u16, body: &str) {
        *self.answer.lock() = (status, body.to_owned());
    }

    /// Keeps what is asked from now on waiting; other requests wait no more.
    fn keeps_waiting(&self, gate: Option<&Arc<Notify>>) {
        *self.gate.lock() = gate.map(Arc::clone);
    }

    async fn asked_more_than(&self, count: usize) -> Result<()> {
        wait_until("another request", PATIENCE, async || (self.count() > count).then_some(())).await
    }
}

struct Fixture {
    test: TestStore,
    flows: Flows,
    triggers: Triggers,
    tenant: Tenant,
    asked: Asked,
}

impl Fixture {
    async fn on(test: TestStore) -> Result<Self> {
        let flows = Flows::load(test.store.clone()).await?;
        let triggers = Triggers::new(test.store.clone(), flows.clone(), ScheduleSettings::default());
        Ok(Self { test, flows, triggers, tenant: Tenant::main(), asked: Asked::start().await? })
    }

    fn store(&self) -> &Store {
        &self.test.store
    }

    /// A flow that asks the server each second; `more` are properties of the trigger.
    async fn apply(&self, flow: &str, more: &str) -> Result<TriggerKey> {
        let url = &self.asked.url;
        let source = format!(
            "id: {flow}
namespace: company
labels: {{team: a}}
inputs:
  - {{id: size, type: INT, defaults: 7}}
tasks:
  - {{id: t, type: io.kestra.plugin.core.log.Log, message: m}}
triggers:
  - id: poll
    type: io.kestra.plugin.core.http.Trigger
    uri: {url}/status
    interval: PT1S
{more}"
        );
        self.flows.apply(&self.tenant, &source, ApplyOptions::default()).await?;
        self.triggers.sync_flow(&self.tenant, "company", flow).await?;
        let (namespace, trigger_id) = ("company".to_owned(), "poll".to_owned());
        Ok(TriggerKey { tenant: self.tenant.clone(), namespace, flow_id: flow.to_owned(), trigger_id })
    }

    async fn scheduler(&self) -> Result<Scheduler> {
        start(self.store(), &self.flows).await
    }

    async fn executions(&self, flow: &str) -> Result<Vec<Execution>> {
        support::executions(self.store(), &self.tenant, Some(flow)).await
    }

    /// Waits until there are so many executions of a flow.
    async fn made(&self, flow: &str, count: usize) -> Result<Vec<Execution>> {
        wait_until("executions", PATIENCE, async || {
            self.executions(flow).await.ok().filter(|found| found.len() >= count)
        })
        .await
    }

    /// Somebody began to evaluate it a minute ago, and has not been heard of since.
    async fn not_heard_of(&self, key: &TriggerKey) -> Result<()> {
        let long_ago = Timestamp::from_micros(self.store().now().await?.as_micros() - 60_000_000);
        let changed = self.store().change_trigger(key, |_, state| {
            state.evaluating_at = Some(long_ago);
            state.worker = Some("scheduler-gone".to_owned());
            Ok::<(), ()>(())
        });
        ensure!(changed.await?.is_some(), "there is no trigger");
        Ok(())
    }

    async fn message(&self, key: &TriggerKey) -> Result<String> {
        let key = key.clone();
        wait_until("a message", PATIENCE, async || self.triggers.get(&key).await.ok()?.state.message).await
    }

    async fn end(&self, execution: Execution, state: State) -> Result<()> {
        support::end(self.store(), execution, state).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_starts_an_execution_that_has_it_and_the_next_waits_for_its_end() -> Result<()> {
    let fixture = Fixture::on(TestStore::sqlite().await?).await?;
    let more = "    headers: {X-Token: \"{{ secret('TOKEN') }}\"}
    responseCondition: \"{{ response.statusCode == 200 and json(response.body).n > 0 and response.headers['x-seen'][0] == 'hunter2' }}\"
    labels: {why: \"{{ trigger.code }}\"}
    stopAfter: [FAILED]
";
    let key = fixture.apply("watch", more).await?;
    let scheduler = fixture.scheduler().await?;
    let first = fixture.made("watch", 1).await?.remove(0);
    let trigger = first.trigger.clone().context("it has a trigger")?;
    assert_eq!((trigger.id.as_str(), trigger.type_name.as_str()), ("poll", "io.kestra.plugin.core.http.Trigger"));
    assert_eq!((&trigger.variables["code"], &trigger.variables["body"]), (&json!(200), &json!("{\"n\": 1}")));
    assert_eq!(trigger.variables["uri"], json!(format!("{}/status", fixture.asked.url)));
    for (name, value) in [("team", "a"), ("why", "200"), (Label::FROM, "trigger")] {
        assert_eq!(label_value(&first.labels, name), Some(value), "{name}");
    }
    assert_eq!(label_value(&first.labels, Label::CORRELATION_ID), Some(first.id.to_string().as_str()));
    assert_eq!(first.inputs["size"], json!(7));

    // While it runs nothing is asked; unlocked, or when it ends, the next is.
    let row = fixture.triggers.get(&key).await?;
    assert_eq!((row.state.execution, row.state.evaluating_at), (Some(first.id), None));
    let before = fixture.asked.count();
    fixture.triggers.unlock(&key).await?;
    fixture.asked.asked_more_than(before).await?;
    let second = fixture.made("watch", 2).await?.into_iter().find(|one| one.id != first.id).context("a second")?;
    fixture.end(second, State::Success).await?;
    let third = fixture.made("watch", 3).await?.into_iter().next().context("a third")?;

    // stopAfter.
    fixture.end(third, State::Failed).await?;
    let asked_key = key.clone();
    let stopped = async || fixture.triggers.get(&asked_key).await.ok().filter(|row| row.state.disabled);
    let row = wait_until("stopAfter", PATIENCE, stopped).await?;
    assert_eq!(row.state.message.as_deref(), Some("stopAfter: an execution ended FAILED"));
    scheduler.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_is_told_in_the_trigger_or_in_an_execution_that_fails() -> Result<()> {
    let fixture = Fixture::on(TestStore::sqlite().await?).await?;
    fixture.asked.says(500, "hunter2 is down");
    // The default condition does not take it: nothing is wrong, and nothing happens.
    let quiet = fixture.apply("quiet", "").await?;
    let broken = fixture.apply("broken", "    responseCondition: \"{{ response.nothing }}\"\n").await?;
    let secret = fixture.apply("secret", "    headers: {\"bad header\": \"{{ secret('TOKEN') }}\"}\n").await?;
    let alarm =
        fixture.apply("alarm", "    contentType: \"{{ secret('NONE') }}\"\n    failOnTriggerError: true\n").await?;
    let condition =
        "    conditions:\n      - {type: io.kestra.plugin.core.condition.Expression, expression: \"{{ nothing }}\"}\n";
    fixture.apply("unclear", condition).await?;
    let never = "    conditions:\n      - {type: io.kestra.plugin.core.condition.Expression, expression: \"{{ trigger.date is empty }}\"}\n";
    let never = fixture.apply("never", never).await?;
    let scheduler = fixture.scheduler().await?;

    assert!(fixture.message(&broken).await?.starts_with("responseCondition: "), "{}", fixture.message(&broken).await?);
    let message = fixture.message(&secret).await?;
    assert!(message.contains("headers.bad header") && !message.contains("hunter2"), "{message}");
    let failed = fixture.made("alarm", 1).await?.remove(0);
    let error = failed.error.context("it fails")?.message;
    assert!(error.contains("the trigger `poll` failed: contentType: ") && error.contains("NONE"), "{error}");
    assert_eq!(fixture.triggers.get(&alarm).await?.state.execution, Some(failed.id));
    let failed = fixture.made("unclear", 1).await?.remove(0);
    assert!(failed.error.context("it fails")?.message.contains("conditions: "));
    for flow in ["quiet", "broken", "secret", "never"] {
        assert_eq!(fixture.executions(flow).await?.len(), 0, "{flow}");
    }
    for key in [&quiet, &never] {
        let key = key.clone();
        let evaluated = async || fixture.triggers.get(&key).await.ok().filter(|row| row.state.last_at.is_some());
        let row = wait_until("an evaluation", PATIENCE, evaluated).await?;
        assert_eq!((row.state.message, row.state.execution), (None, None));
    }
    scheduler.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_is_disabled_and_has_no_dates_to_run_again() -> Result<()> {
    let fixture = Fixture::on(TestStore::sqlite().await?).await?;
    let key = fixture.apply("rests", "    allowConcurrent: true\n").await?;
    fixture.triggers.set_disabled(&key, true).await?;
    let other = fixture.apply("acts", "    allowConcurrent: true\n").await?;
    let scheduler = fixture.scheduler().await?;
    // With allowConcurrent nothing is waited for.
    fixture.made("acts", 2).await?;
    assert_eq!(fixture.executions("rests").await?.len(), 0);
    assert_eq!(fixture.triggers.get(&other).await?.state.execution, None);
    fixture.triggers.set_disabled(&key, false).await?;
    fixture.made("rests", 1).await?;

    let from = fixture.store().now().await?.plus(Duration::from_secs(600));
    let dates = fixture.triggers.next_dates(&key, Some(from), 3).await?;
    let expected: Vec<_> = (0..3).map(|n| from.plus(Duration::from_secs(n))).collect();
    assert_eq!(dates, expected);
    let (inputs, labels) = (JsonMap::new(), Vec::new());
    let backfill = NewBackfill { id: new_id(), start: fixture.store().now().await?, end: None, inputs, labels };
    let refused = fixture.triggers.create_backfill(&key, backfill).await;
    assert_eq!(refused.map_err(|error| error.reason), Err("TRIGGER_NOT_SCHEDULED"));
    let shown = scheduler.view().json().await?;
    assert_eq!(shown["schedulable"][0]["trigger"]["interval"], "PT1S", "{shown}");
    // Without its flow it is gone.
    fixture.flows.delete(&fixture.tenant, "company", "rests").await?;
    fixture.triggers.sync_flow(&fixture.tenant, "company", "rests").await?;
    assert_eq!(fixture.store().get_trigger(&key).await?, None);
    scheduler.stop().await;
    Ok(())
}

/// Several schedulers, of which one dies every moment, ask for many triggers.
async fn schedulers_that_die_make_one_execution_of_each_evaluation(test: TestStore, stores: Vec<Store>) -> Result<()> {
    const FLOWS: usize = 30;
    let fixture = Fixture::on(test).await?;
    for flow in 0..FLOWS {
        fixture.apply(&format!("f{flow}"), "").await?;
    }
    let mut round = 0_u64;
    // Each of them locks its trigger, so that of each there is one and no other.
    loop {
        for scheduler in Mortal::start_all(&stores)? {
            round += 1;
            scheduler.die_after(Duration::from_millis(40 + round * 37 % 160)).await;
        }
        let made = support::executions(fixture.store(), &fixture.tenant, None).await?;
        let mut counts: HashMap<String, usize> = HashMap::new();
        for execution in &made {
            *counts.entry(execution.flow_id.clone()).or_default() += 1;
        }
        ensure!(counts.values().all(|count| *count == 1), "{counts:?}");
        // What a scheduler left that died is another one's after a while; the others are done.
        let left = fixture.store().stale_evaluations(fixture.store().now().await?, 1_000).await?.len();
        if counts.len() + left >= FLOWS && left < FLOWS {
            break;
        }
        ensure!(round < 1_000, "the evaluations do not end: {} of {FLOWS}", counts.len());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn schedulers_that_die_make_one_execution_of_each_evaluation_on_postgres() -> Result<()> {
    let test = TestStore::postgres().await?;
    let mut stores = Vec::new();
    for name in ["one", "two", "three"] {
        stores.push(test.another(name).await?);
    }
    schedulers_that_die_make_one_execution_of_each_evaluation(test, stores).await
}

#[tokio::test(flavor = "multi_thread")]
async fn schedulers_that_die_make_one_execution_of_each_evaluation_on_sqlite() -> Result<()> {
    let test = TestStore::sqlite().await?;
    let stores = vec![test.store.clone(), test.store.clone()];
    schedulers_that_die_make_one_execution_of_each_evaluation(test, stores).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_evaluation_of_a_scheduler_that_is_gone_is_taken_over() -> Result<()> {
    let fixture = Fixture::on(TestStore::sqlite().await?).await?;
    let key = fixture.apply("left", "").await?;
    fixture.not_heard_of(&key).await?;
    let scheduler = fixture.scheduler().await?;
    fixture.made("left", 1).await?;
    scheduler.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_comes_after_another_scheduler_took_over_changes_nothing() -> Result<()> {
    let fixture = Fixture::on(TestStore::sqlite().await?).await?;
    let gate = Arc::new(Notify::new());
    fixture.asked.keeps_waiting(Some(&gate));
    let key = fixture.apply("slow", "").await?;
    let metrics = Metrics::new(MetricsConfig::default());
    let first = start_measured(fixture.store(), &fixture.flows, metrics.clone()).await?;
    fixture.asked.asked_more_than(0).await?;
    fixture.asked.keeps_waiting(None);
    fixture.asked.says(200, "{\"n\": 2}");
    fixture.not_heard_of(&key).await?;
    let second = fixture.scheduler().await?;
    let made = fixture.made("slow", 1).await?.remove(0);

    gate.notify_one();
    let name = metrics.name("scheduler.trigger.evaluation.duration");
    let evaluations = metrics.registry().timer(&name, &[("trigger_type", "io.kestra.plugin.core.http.Trigger")]);
    let unwanted = &fixture.asked.unwanted;
    wait_until("the first scheduler to have its answer, or to want none", PATIENCE, async || {
        (evaluations.count() == 1 || unwanted.load(Ordering::SeqCst) == 1).then_some(())
    })
    .await?;
    first.stop().await;
    let row = fixture.triggers.get(&key).await?;
    ensure!((row.state.execution, row.state.evaluating_at) == (Some(made.id), None), "{row:?}");
    let all = fixture.executions("slow").await?;
    ensure!(all.len() == 1, "{} executions", all.len());
    let trigger = made.trigger.context("it has a trigger")?;
    ensure!(trigger.variables["body"] == "{\"n\": 2}", "{:?}", trigger.variables);
    second.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_to_be_kept_secret_is_seen_by_the_condition_and_kept_sealed() -> Result<()> {
    let fixture = Fixture::on(TestStore::sqlite().await?).await?;
    let more = "    encryptBody: true\n    responseCondition: \"{{ json(response.body).n == 1 }}\"\n";
    let key = fixture.apply("sealed", more).await?;
    // Files are a task's: whatever form a trigger sends, it has none.
    let form = "    method: POST\n    contentType: multipart/form-data\n    formData: {file: \"nsfile:///q.sql\"}\n";
    let form = fixture.apply("form", form).await?;
    let scheduler = fixture.scheduler().await?;
    let made = fixture.made("sealed", 1).await?.remove(0);
    let variables = made.trigger.context("it has a trigger")?.variables;
    let sealed = json!({"type": "io.kestra.datatype:aes_encrypted", "value": "<}1 :\"n\"{"});
    ensure!(variables["encryptedBody"] == sealed && !variables.contains_key("body"), "{variables:?}");
    ensure!(fixture.triggers.get(&key).await?.state.execution == Some(made.id), "it waits for its execution");
    let message = fixture.message(&form).await?;
    ensure!(message.starts_with("formData.file: stored files cannot be sent here"), "{message}");
    scheduler.stop().await;
    Ok(())
}
