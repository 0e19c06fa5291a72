//! Schedulers on real databases.

mod support;

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use support::{Mortal, PATIENCE, start};
use windhover_engine::Execution;
use windhover_executor::{ApplyOptions, Flows, new_id};
use windhover_scheduler::{NewBackfill, ScheduleSettings, Scheduler, TriggerKey, Triggers};
use windhover_store::Store;
use windhover_testkit::{TestStore, wait_until};
use windhover_types::{Id, JsonMap, Label, State, Tenant, Timestamp, label_value};

struct Fixture {
    /// The data go with it.
    _test: Option<TestStore>,
    store: Store,
    flows: Flows,
    triggers: Triggers,
    tenant: Tenant,
}

impl Fixture {
    async fn on(store: Store) -> Result<Self> {
        let flows = Flows::load(store.clone()).await?;
        let triggers = Triggers::new(store.clone(), flows.clone(), ScheduleSettings::default());
        let tenant = Tenant::trusted("main");
        Ok(Self { _test: None, store, flows, triggers, tenant })
    }

    async fn on_sqlite() -> Result<Self> {
        let test = TestStore::sqlite().await?;
        let fixture = Self::on(test.store.clone()).await?;
        Ok(Self { _test: Some(test), ..fixture })
    }

    async fn apply(&self, flow: &str, trigger: &str) -> Result<TriggerKey> {
        self.apply_with(flow, "", trigger).await
    }

    async fn apply_with(&self, flow: &str, inputs: &str, trigger: &str) -> Result<TriggerKey> {
        let source = format!(
            "id: {flow}
namespace: company
labels: {{team: a}}
{inputs}tasks:
  - {{id: t, type: io.kestra.plugin.core.log.Log, message: m}}
triggers:
  - id: s
    type: io.kestra.plugin.core.trigger.Schedule
{trigger}"
        );
        self.flows.apply(&self.tenant, &source, ApplyOptions::default()).await?;
        self.triggers.sync_flow(&self.tenant, "company", flow).await?;
        Ok(TriggerKey {
            tenant: self.tenant.clone(),
            namespace: "company".to_owned(),
            flow_id: flow.to_owned(),
            trigger_id: "s".to_owned(),
        })
    }

    async fn scheduler(&self) -> Result<Scheduler> {
        start(&self.store, &self.flows).await
    }

    async fn executions(&self, flow: &str) -> Result<Vec<Execution>> {
        support::executions(&self.store, &self.tenant, Some(flow)).await
    }

    /// Waits for an execution that is not this one.
    async fn another(&self, flow: &str, than: Option<Id>) -> Result<Execution> {
        wait_until("an execution", PATIENCE, async || {
            self.executions(flow).await.ok()?.into_iter().find(|execution| Some(execution.id) != than)
        })
        .await
    }

    async fn end(&self, execution: Execution, state: State) -> Result<()> {
        support::end(&self.store, execution, state).await
    }

    fn new_backfill(start: Timestamp, end: Timestamp) -> NewBackfill {
        NewBackfill { id: new_id(), start, end: Some(end), inputs: JsonMap::new(), labels: Vec::new() }
    }
}

/// 1 January 2024, 00:00 UTC, and so many seconds.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis((1_704_067_200 + seconds) * 1_000)
}

fn date_of(execution: &Execution) -> Option<&str> {
    execution.trigger.as_ref()?.variables.get("date")?.as_str()
}

fn dates(executions: &[Execution]) -> BTreeMap<String, usize> {
    let mut counted = BTreeMap::new();
    for date in executions.iter().filter_map(date_of) {
        *counted.entry(date.to_owned()).or_default() += 1;
    }
    counted
}

/// Several schedulers, of which one dies every moment, work through one backfill.
async fn schedulers_that_die_start_each_date_once(test: TestStore, stores: Vec<Store>) -> Result<()> {
    const DATES: usize = 240;
    let fixture = Fixture::on(test.store.clone()).await?;
    let key =
        fixture.apply("many", "    cron: \"* * * * * *\"\n    withSeconds: true\n    allowConcurrent: true\n").await?;
    fixture.triggers.set_disabled(&key, true).await?;
    fixture.triggers.create_backfill(&key, Fixture::new_backfill(at(1), at(DATES as i64))).await?;
    fixture.triggers.set_disabled(&key, false).await?;
    let mut round = 0_u64;
    loop {
        for scheduler in Mortal::start_all(&stores)? {
            round += 1;
            scheduler.die_after(Duration::from_millis(40 + round * 37 % 160)).await;
        }
        if fixture.triggers.get(&key).await?.state.backfill.is_none() {
            break;
        }
        ensure!(round < 1_000, "the backfill does not end");
    }
    let made: Vec<Execution> = fixture.executions("many").await?;
    let in_backfill: BTreeMap<String, usize> =
        dates(&made).into_iter().filter(|(date, _)| date.starts_with("2024-01-01T")).collect();
    ensure!(in_backfill.len() == DATES, "{} dates of {DATES}", in_backfill.len());
    ensure!(in_backfill.values().all(|count| *count == 1), "{in_backfill:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn schedulers_that_die_start_each_date_once_on_postgres() -> Result<()> {
    let test = TestStore::postgres().await?;
    let mut stores = Vec::new();
    for name in ["one", "two", "three"] {
        stores.push(test.another(name).await?);
    }
    schedulers_that_die_start_each_date_once(test, stores).await
}

#[tokio::test(flavor = "multi_thread")]
async fn schedulers_that_die_start_each_date_once_on_sqlite() -> Result<()> {
    let test = TestStore::sqlite().await?;
    let stores = vec![test.another("one").await?];
    schedulers_that_die_start_each_date_once(test, stores).await
}

#[tokio::test]
async fn dates_of_a_backfill_follow_the_end_of_the_execution_before_and_carry_its_inputs_and_labels() -> Result<()> {
    let fixture = Fixture::on_sqlite().await?;
    let inputs = "inputs:\n  - {id: day, type: STRING}\n  - {id: size, type: INT, defaults: 3}\n";
    let trigger = "    cron: \"@hourly\"\n    inputs: {day: \"{{ trigger.date | date('dd') }}\"}\n    labels: {hour: \"{{ trigger.date | date('HH') }}\"}\n";
    let key = fixture.apply_with("f", inputs, trigger).await?;
    let before = fixture.triggers.get(&key).await?.state.next_at;
    let mut wanted = Fixture::new_backfill(at(0), at(7_200));
    wanted.inputs.insert("size".to_owned(), 7.into());
    wanted.labels.push(Label::new("why", "again"));
    let started = fixture.triggers.create_backfill(&key, wanted.clone()).await?;
    let again = fixture.triggers.create_backfill(&key, wanted).await?;
    ensure!(again.version == started.version, "the same backfill is asked for once");
    let other = fixture.triggers.create_backfill(&key, Fixture::new_backfill(at(0), at(10))).await;
    ensure!(other.is_err_and(|error| error.reason == "BACKFILL_EXISTS"));

    let scheduler = fixture.scheduler().await?;
    for number in 0..3_usize {
        let newest = wait_until("the next execution", PATIENCE, async || {
            let made = fixture.executions("f").await.ok()?;
            (made.len() > number).then_some(made)
        })
        .await?;
        ensure!(newest.len() == number + 1, "one at a time");
        // Newest first.
        let execution = newest[0].clone();
        ensure!(date_of(&execution) == Some(format!("2024-01-01T0{number}:00:00Z").as_str()), "{execution:?}");
        ensure!(execution.inputs["day"] == "01" && execution.inputs["size"] == 7, "{:?}", execution.inputs);
        let label = |key: &str| label_value(&execution.labels, key);
        ensure!(
            label("team") == Some("a") && label("why") == Some("again") && label("hour") == Some(&format!("0{number}"))
        );
        ensure!(
            label("system.from") == Some("trigger") && label("system.correlationId") == Some(&execution.id.to_string())
        );
        ensure!(fixture.triggers.get(&key).await?.state.execution == Some(execution.id), "the trigger waits for it");
        fixture.end(execution, State::Success).await?;
    }
    let over = wait_until("the end of the backfill", PATIENCE, async || {
        let row = fixture.triggers.get(&key).await.ok()?;
        (row.state.backfill.is_none() && row.state.execution.is_none()).then_some(row)
    });
    ensure!(over.await?.state.next_at == before, "the schedule goes on where it stood");
    scheduler.stop().await;
    Ok(())
}

#[tokio::test]
async fn stop_after_disables_the_trigger_once_its_execution_has_ended_so() -> Result<()> {
    let fixture = Fixture::on_sqlite().await?;
    let key = fixture.apply("f", "    cron: \"* * * * * *\"\n    withSeconds: true\n    stopAfter: [FAILED]\n").await?;
    let scheduler = fixture.scheduler().await?;
    let one = fixture.another("f", None).await?;
    fixture.end(one.clone(), State::Success).await?;
    let two = fixture.another("f", Some(one.id)).await?;
    fixture.end(two, State::Failed).await?;
    let row = wait_until("the trigger to be disabled", PATIENCE, async || {
        fixture.triggers.get(&key).await.ok().filter(|row| row.state.disabled)
    });
    let row = row.await?;
    ensure!(row.state.execution.is_none() && row.state.message.as_deref().is_some_and(|text| text.contains("FAILED")));
    ensure!(fixture.executions("f").await?.len() == 2);
    let enabled = fixture.triggers.set_disabled(&key, false).await?;
    ensure!(!enabled.state.disabled && enabled.state.message.is_none());
    scheduler.stop().await;
    Ok(())
}

#[tokio::test]
async fn inputs_that_do_not_fit_make_an_execution_that_says_why() -> Result<()> {
    let fixture = Fixture::on_sqlite().await?;
    let inputs = "inputs:\n  - {id: size, type: INT}\n";
    let key = fixture.apply_with("f", inputs, "    cron: \"@hourly\"\n    inputs: {size: large}\n").await?;
    fixture.triggers.create_backfill(&key, Fixture::new_backfill(at(0), at(10))).await?;
    let scheduler = fixture.scheduler().await?;
    let made = wait_until("the execution", PATIENCE, async || fixture.executions("f").await.ok()?.into_iter().next());
    let error = made.await?.error.context("an error")?;
    ensure!(
        error.message.contains("`s`")
            && error.message.contains("2024-01-01T00:00:00Z")
            && error.message.contains("size"),
        "{}",
        error.message
    );
    scheduler.stop().await;
    Ok(())
}

#[tokio::test]
async fn rows_follow_the_flow() -> Result<()> {
    let fixture = Fixture::on_sqlite().await?;
    let key = fixture.apply("f", "    cron: \"@hourly\"\n").await?;
    let hourly = fixture.triggers.get(&key).await?;
    fixture.triggers.set_disabled(&key, true).await?;
    // Another trigger of the same name: its dates begin anew, a user's wish that it rests stays.
    fixture.apply("f", "    cron: \"0 0 1 1 *\"\n").await?;
    let yearly = fixture.triggers.get(&key).await?;
    ensure!(yearly.definition != hourly.definition && yearly.state.next_at > hourly.state.next_at);
    ensure!(yearly.state.disabled && yearly.enabled);
    fixture.apply("f", "    cron: \"0 0 1 1 *\"\n    disabled: true\n").await?;
    ensure!(!fixture.triggers.get(&key).await?.enabled);
    // What changes without the API's help, the scheduler finds.
    fixture.flows.delete(&fixture.tenant, "company", "f").await?;
    let scheduler = fixture.scheduler().await?;
    wait_until("the row to go", PATIENCE, async || fixture.store.get_trigger(&key).await.ok()?.is_none().then_some(()))
        .await?;
    let gone = fixture.triggers.get(&key).await;
    ensure!(gone.is_err_and(|error| error.reason == "TRIGGER_NOT_FOUND"));
    scheduler.stop().await;
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_done_with_a_trigger_is_refused_with_its_reason() -> Result<()> {
    let fixture = Fixture::on_sqlite().await?;
    let key = fixture.apply("f", "    cron: \"0 12 * * MON\"\n    timezone: Europe/Paris\n").await?;
    let reason = |result: Result<_, windhover_types::Error>| result.err().map(|error| error.reason);
    ensure!(reason(fixture.triggers.unlock(&key).await.map(drop)) == Some("TRIGGER_NOT_LOCKED"));
    ensure!(reason(fixture.triggers.pause_backfill(&key).await.map(drop)) == Some("BACKFILL_NOT_FOUND"));
    let other = TriggerKey { trigger_id: "other".to_owned(), ..key.clone() };
    ensure!(reason(fixture.triggers.get(&other).await.map(drop)) == Some("TRIGGER_NOT_FOUND"));
    let backwards = Fixture::new_backfill(at(10), at(0));
    ensure!(reason(fixture.triggers.create_backfill(&key, backwards).await.map(drop)) == Some("INVALID_ARGUMENT"));
    let mut reserved = Fixture::new_backfill(at(0), at(10));
    reserved.labels.push(Label::new("system.from", "me"));
    ensure!(reason(fixture.triggers.create_backfill(&key, reserved).await.map(drop)) == Some("LABEL_RESERVED"));
    let next = fixture.triggers.next_dates(&key, Some(at(0)), 2).await?;
    // Mondays, 12:00 in Paris.
    ensure!(next == [at(11 * 3_600), at(7 * 86_400 + 11 * 3_600)], "{next:?}");

    fixture.triggers.create_backfill(&key, Fixture::new_backfill(at(0), at(86_400))).await?;
    let paused = fixture.triggers.pause_backfill(&key).await?;
    ensure!(paused.state.next_at.is_none() && paused.state.backfill.is_some_and(|backfill| backfill.paused));
    let resumed = fixture.triggers.resume_backfill(&key).await?;
    ensure!(resumed.state.next_at == Some(at(0)));
    let deleted = fixture.triggers.delete_backfill(&key).await?;
    ensure!(deleted.state.backfill.is_none() && deleted.state.next_at.is_some_and(|next| next > at(86_400)));
    Ok(())
}
