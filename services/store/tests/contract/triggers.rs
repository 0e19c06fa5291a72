//! Triggers that several schedulers share.

use std::time::Duration;

use windhover_store::{
    Backfill, Batch, ChangeTriggerError, CommitError, EndedLock, FlowTriggers, NamespaceFilter, Store, TriggerAdvance,
    TriggerDefinition, TriggerFilter, TriggerKey, TriggerRow, TriggerState,
};
use windhover_testkit::TestStore;
use windhover_types::{JsonMap, Label, State, Tenant};

use crate::{fixtures::*, on_both};

on_both!(
    rows_follow_the_newest_revision_of_their_flow,
    triggers_come_due_in_order_and_only_when_nothing_keeps_them,
    triggers_that_poll_come_due_apart_and_are_taken_over_from_who_is_silent,
    of_two_schedulers_one_makes_the_execution,
    what_users_change_is_checked_while_nobody_else_changes_it,
    a_trigger_whose_execution_has_ended_is_found,
    triggers_are_listed_by_pages_and_filters,
);

fn key(trigger: &str) -> TriggerKey {
    TriggerKey {
        tenant: acme(),
        namespace: "company.team".to_owned(),
        flow_id: "orders".to_owned(),
        trigger_id: trigger.to_owned(),
    }
}

fn definition(trigger: &str, text: u8, millis: i64) -> TriggerDefinition {
    TriggerDefinition {
        trigger_id: trigger.to_owned(),
        type_name: "io.kestra.plugin.core.trigger.Schedule".to_owned(),
        definition: [text; 32],
        enabled: true,
        next_at: Some(t(millis)),
    }
}

fn orders(revision: u32, triggers: Vec<TriggerDefinition>) -> FlowTriggers {
    FlowTriggers { namespace: "company.team".to_owned(), flow_id: "orders".to_owned(), revision, triggers }
}

/// A new revision of the flow `orders`.
async fn revise(store: &Store, text: &str) -> anyhow::Result<u32> {
    Ok(store.put_flow(&acme(), "company.team", "orders", text).await?.revision)
}

async fn synced(store: &Store, triggers: Vec<TriggerDefinition>) -> anyhow::Result<()> {
    let revision = revise(store, "id: orders").await?;
    let synced = store.sync_triggers(&acme(), &[orders(revision, triggers)]).await?;
    assert_eq!(synced.stale, []);
    Ok(())
}

async fn get(store: &Store, trigger: &str) -> anyhow::Result<TriggerRow> {
    store.get_trigger(&key(trigger)).await?.ok_or_else(|| anyhow::anyhow!("{trigger} is not there"))
}

fn advance(row: &TriggerRow, change: impl FnOnce(&mut TriggerState)) -> TriggerAdvance {
    let mut state = row.state.clone();
    change(&mut state);
    TriggerAdvance { key: row.key.clone(), expected: row.version, state }
}

fn full_state() -> TriggerState {
    TriggerState {
        disabled: true,
        next_at: Some(t(10)),
        last_at: Some(t(5)),
        execution: Some(id("execution", 1)),
        locked_at: Some(t(6)),
        last_execution: Some(id("execution", 1)),
        evaluating_at: Some(t(7)),
        worker: Some("w".to_owned()),
        backfill: Some(Backfill {
            id: id("backfill", 1),
            start: t(1),
            end: t(9),
            current: t(2),
            paused: true,
            inputs: JsonMap::from_iter([("day".to_owned(), "a\u{0}b".into())]),
            labels: vec![Label::new("why", "late")],
            previous_next_at: Some(t(20)),
        }),
        message: Some("no inputs".to_owned()),
    }
}

async fn rows_follow_the_newest_revision_of_their_flow(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let first = revise(store, "id: orders").await?;
    let flow = orders(first, vec![definition("kept", 1, 10), definition("changed", 1, 20), definition("gone", 1, 30)]);
    let made = store.sync_triggers(&acme(), std::slice::from_ref(&flow)).await?;
    assert_eq!(made.changed.len(), 3);
    assert_eq!(store.sync_triggers(&acme(), std::slice::from_ref(&flow)).await?, Default::default(), "the same again");
    for trigger in ["kept", "changed", "gone"] {
        let row = get(store, trigger).await?;
        assert_eq!((row.version, row.enabled, row.state.last_at), (1, true, None));
        assert_eq!(store.advance_triggers(&[advance(&row, |state| *state = full_state())]).await?, []);
        assert_eq!(get(store, trigger).await?.state, full_state());
    }

    let second = revise(store, "id: orders\ndescription: changed").await?;
    let mut kept = definition("kept", 1, 99);
    kept.enabled = false;
    let flow_now = orders(second, vec![kept, definition("changed", 2, 40), definition("new", 1, 50)]);
    assert_eq!(store.trigger_revisions(&acme()).await?, [("company.team".to_owned(), "orders".to_owned(), first)]);
    let synced = store.sync_triggers(&acme(), std::slice::from_ref(&flow_now)).await?;
    assert_eq!(synced.changed, [key("changed"), key("new")]);
    assert_eq!(synced.removed, [(key("gone"), full_state())]);
    let kept = get(store, "kept").await?;
    assert_eq!((kept.state, kept.enabled, kept.flow_revision), (full_state(), false, second));
    let changed = get(store, "changed").await?;
    assert!(changed.state.last_at > Some(t(1_000)), "the time of the change");
    let reset = TriggerState {
        disabled: true,
        next_at: Some(t(40)),
        last_at: changed.state.last_at,
        last_execution: Some(id("execution", 1)),
        ..Default::default()
    };
    assert_eq!((changed.state, changed.version), (reset, 3));

    // A scheduler that is behind undoes nothing.
    let name = ("company.team".to_owned(), "orders".to_owned());
    assert_eq!(store.sync_triggers(&acme(), &[flow]).await?.stale, std::slice::from_ref(&name));
    store.delete_flow(&acme(), "company.team", "orders").await?;
    assert_eq!(store.sync_triggers(&acme(), &[flow_now]).await?.stale, [name]);
    let gone = store.sync_triggers(&acme(), &[orders(second + 1, Vec::new())]).await?;
    assert_eq!(gone.removed.len(), 3);
    assert_eq!(store.trigger_revisions(&acme()).await?, []);
    Ok(())
}

async fn triggers_come_due_in_order_and_only_when_nothing_keeps_them(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    assert_eq!(store.next_trigger().await?, None);
    let names = ["a", "b", "c", "disabled", "locked", "evaluated", "never", "off"];
    let mut triggers: Vec<_> =
        names.iter().zip([30, 10, 20, 1, 1, 1, 1, 1]).map(|(n, at)| definition(n, 1, at)).collect();
    triggers[7].enabled = false;
    synced(store, triggers).await?;
    let set = async |name: &str, change: fn(&mut TriggerState)| -> anyhow::Result<()> {
        let row = get(store, name).await?;
        assert_eq!(store.advance_triggers(&[advance(&row, change)]).await?, []);
        Ok(())
    };
    set("disabled", |state| state.disabled = true).await?;
    set("locked", |state| state.execution = Some(id("execution", 1))).await?;
    set("evaluated", |state| state.evaluating_at = Some(t(0))).await?;
    set("never", |state| state.next_at = None).await?;
    let due = async |millis, limit| -> anyhow::Result<Vec<String>> {
        Ok(store.due_triggers(t(millis), limit).await?.into_iter().map(|row| row.key.trigger_id).collect())
    };
    assert_eq!(due(20, 10).await?, ["b", "c"]);
    assert_eq!(due(100, 1).await?, ["b"]);
    assert_eq!(due(100, 10).await?, ["b", "c", "a"]);
    assert_eq!(store.next_trigger().await?, Some(t(10)));
    Ok(())
}

async fn triggers_that_poll_come_due_apart_and_are_taken_over_from_who_is_silent(
    test: TestStore,
) -> anyhow::Result<()> {
    let store = &test.store;
    let poll = |name: &str, at| TriggerDefinition {
        type_name: "io.kestra.plugin.core.http.Trigger".to_owned(),
        ..definition(name, 1, at)
    };
    synced(store, vec![poll("a", 20), poll("b", 10), definition("dates", 1, 5)]).await?;
    let names = |rows: Vec<TriggerRow>| rows.into_iter().map(|row| row.key.trigger_id).collect::<Vec<_>>();
    assert_eq!(names(store.due_polls(t(20), &[], 10).await?), ["b", "a"]);
    assert_eq!(names(store.due_polls(t(20), &[], 1).await?), ["b"]);
    assert_eq!(names(store.due_polls(t(20), &[Tenant::trusted("globex")], 10).await?), ["b", "a"]);
    assert_eq!(names(store.due_polls(t(20), &[Tenant::trusted("globex"), acme()], 10).await?), Vec::<String>::new());
    assert_eq!(names(store.due_triggers(t(20), 10).await?), ["dates"]);
    assert_eq!(store.next_trigger().await?, Some(t(5)));

    let row = get(store, "b").await?;
    let claim = advance(&row, |state| {
        state.evaluating_at = Some(t(30));
        state.worker = Some("one".to_owned());
    });
    assert_eq!(store.advance_triggers(std::slice::from_ref(&claim)).await?, []);
    assert_eq!(
        store.advance_triggers(std::slice::from_ref(&claim)).await?,
        std::slice::from_ref(&row.key),
        "somebody has it"
    );
    assert_eq!(names(store.due_polls(t(50), &[], 10).await?), ["a"]);
    assert_eq!(names(store.stale_evaluations(t(29), 10).await?), Vec::<String>::new());
    assert_eq!(names(store.stale_evaluations(t(30), 10).await?), ["b"]);
    Ok(())
}

async fn of_two_schedulers_one_makes_the_execution(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    synced(store, vec![definition("daily", 1, 10), definition("hourly", 1, 10)]).await?;
    let daily = get(store, "daily").await?;
    let fire = |row: &TriggerRow, n: u32| {
        let execution = execution(&acme(), n);
        let advance = advance(row, |state| {
            state.execution = Some(execution.id);
            state.last_at = state.next_at;
            state.next_at = Some(t(20));
        });
        Batch { inbox_sent: vec![message(&execution, n)], triggers_advanced: vec![advance], ..created([execution]) }
    };
    // The same execution, as its id follows from the trigger and the slot; and another one.
    let (one, two) = (fire(&daily, 1), fire(&daily, 1));
    let (one, two) = tokio::join!(store.create(&one), store.create(&two));
    let lost = match (one, two) {
        (Ok(()), Err(lost)) | (Err(lost), Ok(())) => lost,
        other => anyhow::bail!("one of them: {other:?}"),
    };
    assert!(matches!(&lost, CommitError::TriggersMoved(keys) if keys[..] == [key("daily")]), "{lost:?}");
    let late = store.create(&fire(&daily, 2)).await.unwrap_err();
    assert!(matches!(&late, CommitError::TriggersMoved(keys) if keys[..] == [key("daily")]), "{late:?}");
    assert_eq!(store.get_execution(&acme(), id("execution", 2)).await?, None);
    let now = get(store, "daily").await?;
    assert_eq!((now.version, now.state.execution), (daily.version + 1, Some(id("execution", 1))));

    // Executions of a refused batch do not advance its triggers either.
    let hourly = get(store, "hourly").await?;
    let exists = store.create(&fire(&hourly, 1)).await.unwrap_err();
    assert!(matches!(exists, CommitError::Exists { .. }), "{exists:?}");
    assert_eq!(get(store, "hourly").await?, hourly);
    // Without executions each stands for itself.
    let advances = [advance(&daily, |_| ()), advance(&hourly, |state| state.next_at = None)];
    assert_eq!(store.advance_triggers(&advances).await?, [key("daily")]);
    assert_eq!(get(store, "hourly").await?.state.next_at, None);
    Ok(())
}

async fn what_users_change_is_checked_while_nobody_else_changes_it(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    synced(store, vec![definition("daily", 1, 10)]).await?;
    let unlock = |_: &TriggerRow, state: &mut TriggerState| match state.execution.take() {
        Some(_) => Ok(()),
        None => Err("it is not locked"),
    };
    let refused = store.change_trigger(&key("daily"), unlock).await;
    assert!(matches!(refused, Err(ChangeTriggerError::Refused("it is not locked"))), "{refused:?}");
    assert!(store.change_trigger(&key("nobody"), unlock).await.is_ok_and(|row| row.is_none()));
    let none = |_: &TriggerRow, _: &mut TriggerState| Ok::<_, ()>(());
    assert_eq!(store.change_trigger(&key("daily"), none).await.ok().flatten(), Some(get(store, "daily").await?));

    let many = 12;
    let mut changes = tokio::task::JoinSet::new();
    for n in 0..many {
        let store = store.clone();
        changes.spawn(async move {
            let add = |_: &TriggerRow, state: &mut TriggerState| {
                state.next_at = state.next_at.map(|at| at.plus(Duration::from_millis(1)));
                state.message = Some(format!("change {n}"));
                Ok::<_, ()>(())
            };
            store.change_trigger(&key("daily"), add).await.map(|row| row.map(|row| row.version))
        });
    }
    let mut versions: Vec<i64> = changes.join_all().await.into_iter().filter_map(|one| one.ok().flatten()).collect();
    versions.sort_unstable();
    assert_eq!(versions, (2..2 + many).collect::<Vec<_>>());
    assert_eq!(get(store, "daily").await?.state.next_at, Some(t(10 + many)));
    Ok(())
}

async fn a_trigger_whose_execution_has_ended_is_found(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    synced(store, ["running", "ended", "gone", "parked"].map(|name| definition(name, 1, 10)).to_vec()).await?;
    let fence = owner(store).await?;
    let mut batch =
        created([execution(&acme(), 1), ended(execution(&acme(), 2), State::Failed), execution(&acme(), 4)]);
    batch.parked = vec![windhover_store::ParkedRow {
        tenant: acme(),
        execution: id("execution", 4),
        reason: "an event of tomorrow".to_owned(),
    }];
    for (name, n) in ["running", "ended", "gone", "parked"].into_iter().zip(1..) {
        let row = get(store, name).await?;
        batch.triggers_advanced.push(advance(&row, |state| state.execution = Some(id("execution", n))));
    }
    store.commit(&fence, &batch).await?;
    let mut found = store.ended_locks(10).await?;
    found.sort_by(|a, b| a.row.key.cmp(&b.row.key));
    let at = batch.new_executions[1].state.ended();
    let expected = [
        EndedLock { row: get(store, "ended").await?, ended: at.map(|at| (State::Failed, at)) },
        EndedLock { row: get(store, "gone").await?, ended: None },
    ];
    assert_eq!(found, expected);
    Ok(())
}

async fn triggers_are_listed_by_pages_and_filters(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let other: Tenant = globex(store).await?;
    for (tenant, namespace, flow) in [
        (&acme(), "a", "one"),
        (&acme(), "a.b", "one"),
        (&acme(), "a.b", "two"),
        (&acme(), "c", "one"),
        (&other, "a", "x"),
    ] {
        let revision = store.put_flow(tenant, namespace, flow, "id: x").await?.revision;
        let triggers = vec![definition("t1", 1, 10), definition("t2", 1, 10)];
        let flow = FlowTriggers { namespace: namespace.to_owned(), flow_id: flow.to_owned(), revision, triggers };
        store.sync_triggers(tenant, &[flow]).await?;
    }
    let names = |rows: &[TriggerRow]| -> Vec<String> {
        rows.iter()
            .map(|TriggerRow { key, .. }| format!("{}/{}/{}", key.namespace, key.flow_id, key.trigger_id))
            .collect()
    };
    let everything = TriggerFilter::default();
    let mut all: Vec<TriggerRow> = Vec::new();
    loop {
        let after = all.last().map(|row| row.key.clone());
        let after = after.as_ref().map(|key| (&key.namespace[..], &key.flow_id[..], &key.trigger_id[..]));
        let page = store.list_triggers(&acme(), &everything, after, 3).await?;
        if page.is_empty() {
            break;
        }
        all.extend(page);
    }
    let whole =
        ["a/one/t1", "a/one/t2", "a.b/one/t1", "a.b/one/t2", "a.b/two/t1", "a.b/two/t2", "c/one/t1", "c/one/t2"];
    assert_eq!(names(&all), whole);
    assert_eq!(names(&store.list_triggers(&other, &everything, None, 9).await?), ["a/x/t1", "a/x/t2"]);

    let row = all[4].clone();
    let change = advance(&row, |state| {
        state.disabled = true;
        state.execution = Some(id("execution", 1));
        state.backfill = full_state().backfill;
    });
    store.advance_triggers(&[change]).await?;
    let listed = async |filter: TriggerFilter| -> anyhow::Result<usize> {
        Ok(store.list_triggers(&acme(), &filter, None, 100).await?.len())
    };
    let filter = TriggerFilter::default;
    assert_eq!(listed(TriggerFilter { disabled: Some(true), ..filter() }).await?, 1);
    assert_eq!(listed(TriggerFilter { disabled: Some(false), ..filter() }).await?, 7);
    assert_eq!(listed(TriggerFilter { locked: Some(true), ..filter() }).await?, 1);
    assert_eq!(listed(TriggerFilter { locked: Some(false), backfill: Some(false), ..filter() }).await?, 7);
    assert_eq!(listed(TriggerFilter { backfill: Some(true), ..filter() }).await?, 1);
    let below = vec![NamespaceFilter::Below("a".to_owned())];
    assert_eq!(listed(TriggerFilter { namespaces: below, trigger_ids: vec!["t1".to_owned()], ..filter() }).await?, 2);
    assert_eq!(listed(TriggerFilter { flow_ids: vec!["two".to_owned()], ..filter() }).await?, 2);
    assert_eq!(listed(TriggerFilter { text: Some("T1".to_owned()), ..filter() }).await?, 4);
    assert_eq!(listed(TriggerFilter { type_names: vec!["other".to_owned()], ..filter() }).await?, 0);
    Ok(())
}
