//! Counting and purging.

use std::time::Duration;

use windhover_store::{
    Batch, CountFilter, EndedFilter, ExecutionPlace, FileRemoval, FlowCount, InboxMessage, InboxRow, KvKeys,
    KvVersions, LogPurge, NamespaceFilter, NewKv, PurgeOf, SlotAsk, Store, TimeRange,
};
use windhover_testkit::{TestStore, wait_until};
use windhover_types::{Level, State, Tenant};

use crate::{fixtures::*, on_both};

on_both!(
    executions_are_counted_by_flow,
    ended_executions_are_purged_page_by_page_and_leave_their_files_to_be_removed,
    the_slot_of_a_purged_execution_is_given_back,
    lines_are_purged_by_what_they_are_in_steps,
    the_last_line_of_an_open_execution_stays,
    versions_of_keys_are_kept_until_they_are_purged,
    keys_are_purged_with_all_that_they_have_been,
    namespaces_with_flows_are_listed,
);

const EVERYTHING: PurgeOf = PurgeOf { executions: true, logs: true, metrics: true, files: true };

async fn executions_are_counted_by_flow(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let globex = globex(store).await?;
    let fence = owner(store).await?;
    let in_flow = |n, namespace: &str, flow_id: &str| windhover_engine::Execution {
        namespace: namespace.to_owned(),
        flow_id: flow_id.to_owned(),
        ..execution(&acme(), n)
    };
    let executions = [
        in_flow(1, "a", "f"),
        ended(in_flow(2, "a", "f"), State::Success),
        ended(in_flow(3, "a", "g"), State::Failed),
        in_flow(4, "a.b", "f"),
        execution(&globex, 5),
    ];
    store.commit(&fence, &created(executions)).await?;
    let count = |namespace: &str, flow_id: &str, count| FlowCount {
        namespace: namespace.to_owned(),
        flow_id: flow_id.to_owned(),
        count,
    };
    let flow = |namespace: &str, flow_id: &str| (namespace.to_owned(), flow_id.to_owned());
    let filter =
        CountFilter { flows: vec![flow("a.b", "f"), flow("a", "f"), flow("a", "none")], ..CountFilter::default() };
    assert_eq!(store.count_executions(&acme(), &filter).await?, [count("a", "f", 2), count("a.b", "f", 1)]);
    assert_eq!(store.count_executions(&globex, &filter).await?, []);
    let filter = CountFilter {
        flows: vec![flow("a", "f")],
        namespaces: vec!["a".to_owned()],
        states: vec![State::Success, State::Failed],
        created: TimeRange::default(),
    };
    assert_eq!(store.count_executions(&acme(), &filter).await?, [count("a", "f", 1), count("a", "g", 1)]);
    let late = TimeRange { from: Some(t(3)), until: Some(t(4)) };
    let filter = CountFilter { created: late, ..filter };
    assert_eq!(store.count_executions(&acme(), &filter).await?, [count("a", "g", 1)]);
    Ok(())
}

async fn ended_executions_are_purged_page_by_page_and_leave_their_files_to_be_removed(
    test: TestStore,
) -> anyhow::Result<()> {
    let store = &test.store;
    let globex = globex(store).await?;
    let fence = owner(store).await?;
    let over: Vec<_> = (1..=5).map(|n| ended(execution(&acme(), n), State::Success)).collect();
    let failed = ended(execution(&acme(), 6), State::Failed);
    let open = execution(&acme(), 7);
    let others = ended(execution(&globex, 8), State::Success);
    let mut batch = created(over.iter().chain([&failed, &open, &others]).cloned());
    for execution in &over {
        batch.logs.extend([log(execution, 0, Level::Info, "a"), log(execution, 1, Level::Info, "b")]);
        batch.metrics.push(metric(execution));
    }
    store.commit(&fence, &batch).await?;

    let filter = EndedFilter {
        namespaces: vec![NamespaceFilter::Within("company".to_owned())],
        flow_ids: vec!["orders".to_owned()],
        states: vec![State::Success],
        created: TimeRange { from: Some(t(2)), until: None },
        ended: TimeRange { from: None, until: Some(t(13)) },
    };
    let first = store.ended_executions(&acme(), &filter, None, 2).await?;
    let place = |execution: &windhover_engine::Execution| ExecutionPlace {
        tenant: execution.tenant.clone(),
        id: execution.id,
        namespace: "company.team".to_owned(),
        flow_id: "orders".to_owned(),
    };
    assert_eq!(first, [place(&over[1]), place(&over[2])]);
    let rest = store.ended_executions(&acme(), &filter, Some(first[1].id), 10).await?;
    assert_eq!(rest, [place(&over[3])], "the fifth ended later");
    let elsewhere = EndedFilter { namespaces: vec![NamespaceFilter::Exact("company".to_owned())], ..filter };
    assert_eq!(store.ended_executions(&acme(), &elsewhere, None, 10).await?, []);

    let without = PurgeOf { executions: false, metrics: false, ..EVERYTHING };
    let purged = store.purge_executions(&acme(), &[over[0].id, open.id], without).await?;
    assert_eq!((purged.executions, purged.logs, purged.metrics), (vec![over[0].id], 2, 0));
    assert!(store.get_execution(&acme(), over[0].id).await?.is_some());
    let ids = [over[0].id, over[1].id, open.id, failed.id];
    let purged = store.purge_executions(&acme(), &ids, EVERYTHING).await?;
    assert_eq!((purged.executions, purged.logs, purged.metrics), (vec![over[0].id, over[1].id, failed.id], 2, 2));
    assert_eq!(store.purge_executions(&acme(), &ids, EVERYTHING).await?, Default::default());
    assert_eq!(store.purge_executions(&globex, &[over[2].id], EVERYTHING).await?, Default::default());
    assert!(store.get_execution(&acme(), open.id).await?.is_some());

    let later = store.now().await?.plus(Duration::from_secs(1));
    let before = windhover_types::Timestamp::from_micros(0);
    assert_eq!(store.file_removals(before, 10).await?, []);
    let mut left = store.file_removals(later, 10).await?;
    left.sort_by_key(|removal| removal.place.id);
    let removal =
        |execution: &windhover_engine::Execution| FileRemoval { place: place(execution), outputs_only: false };
    assert_eq!(left, [removal(&over[0]), removal(&over[1]), removal(&failed)]);
    store.files_removed(&acme(), &[over[0].id, failed.id]).await?;
    store.files_removed(&globex, &[over[1].id]).await?;
    assert_eq!(store.file_removals(later, 10).await?, [removal(&over[1])]);
    Ok(())
}

async fn the_slot_of_a_purged_execution_is_given_back(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let fence = owner(store).await?;
    let over = ended(execution(&acme(), 1), State::Success);
    let slot =
        InboxMessage::Slot { namespace: over.namespace.clone(), flow_id: over.flow_id.clone(), ask: SlotAsk::GiveBack };
    let give_back = InboxRow { message: slot, ..message(&over, 2) };
    let batch = Batch { inbox_sent: vec![message(&over, 1), give_back.clone()], ..created([over.clone()]) };
    store.commit(&fence, &batch).await?;
    store.purge_executions(&acme(), &[over.id], EVERYTHING).await?;
    assert_eq!(store.inbox(&all_shards(), None, 10).await?.rows, [give_back]);
    Ok(())
}

async fn lines_are_purged_by_what_they_are_in_steps(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let globex = globex(store).await?;
    let fence = owner(store).await?;
    let over = [1, 2].map(|n| ended(execution(&acme(), n), State::Success));
    let others = ended(execution(&globex, 3), State::Success);
    let mut batch = created(over.iter().chain([&others]).cloned());
    for execution in over.iter().chain([&others]) {
        for (position, level) in [Level::Info, Level::Warn, Level::Error, Level::Info].into_iter().enumerate() {
            batch.logs.push(log(execution, position as i64, level, "line"));
        }
    }
    store.commit(&fence, &batch).await?;
    let left = async |tenant: &Tenant, execution: &windhover_engine::Execution| -> anyhow::Result<Vec<i64>> {
        let rows = store.list_execution_logs(tenant, execution.id, &Default::default(), 0, 10).await?;
        Ok(rows.into_iter().map(|row| row.position).collect())
    };
    let purge = LogPurge {
        namespaces: vec![NamespaceFilter::Within("company".to_owned())],
        flow_ids: vec!["orders".to_owned()],
        levels: vec![Level::Info, Level::Error],
        at: TimeRange { from: Some(t(1_000)), until: Some(t(1_003)) },
        executions: vec![over[0].id],
    };
    assert_eq!(store.purge_logs(&acme(), &purge, 1).await?, 1);
    assert_eq!(left(&acme(), &over[0]).await?, [1, 2, 3], "the oldest first");
    assert_eq!(store.purge_logs(&acme(), &purge, 10).await?, 1);
    assert_eq!(store.purge_logs(&acme(), &purge, 10).await?, 0);
    assert_eq!(left(&acme(), &over[0]).await?, [1, 3]);
    let elsewhere = LogPurge { namespaces: vec![NamespaceFilter::Exact("company".to_owned())], ..LogPurge::default() };
    assert_eq!(store.purge_logs(&acme(), &elsewhere, 10).await?, 0);
    assert_eq!(store.purge_logs(&acme(), &LogPurge::default(), 10).await?, 6);
    assert_eq!(left(&globex, &others).await?, [0, 1, 2, 3]);
    Ok(())
}

async fn the_last_line_of_an_open_execution_stays(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let fence = owner(store).await?;
    let open = execution(&acme(), 1);
    let mut batch = created([open.clone()]);
    batch.logs.extend((0..3).map(|position| log(&open, position, Level::Info, "line")));
    store.commit(&fence, &batch).await?;
    assert_eq!(store.purge_logs(&acme(), &LogPurge::default(), 10).await?, 2);
    let snapshot = store.execution_snapshot(&acme(), open.id).await?;
    assert_eq!(snapshot.map(|snapshot| snapshot.next_log), Some(3), "or positions would be given twice");
    Ok(())
}

fn entry<'a>(key: &'a str, value: &'a str) -> NewKv<'a> {
    NewKv { namespace: "a.b", key, value, kind: "NUMBER", description: None, expires_in: None, overwrite: true }
}

async fn keys(store: &Store, which: KvKeys) -> anyhow::Result<Vec<String>> {
    Ok(store.kv_keys(&acme(), "a.b", which, None, 10).await?)
}

async fn versions_of_keys_are_kept_until_they_are_purged(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let globex = globex(store).await?;
    for value in ["1", "2", "3", "4"] {
        store.put_kv(&acme(), &entry("k", value)).await?;
        store.put_kv(&globex, &entry("k", value)).await?;
    }
    store.put_kv(&acme(), &entry("once", "1")).await?;
    store.put_kv(&acme(), &entry("gone", "1")).await?;
    store.delete_kv(&acme(), "a.b", "gone").await?;
    assert_eq!(keys(store, KvKeys::Present).await?, ["k", "once"]);
    assert_eq!(keys(store, KvKeys::WithVersions { more_than: 0 }).await?, ["gone", "k", "once"]);
    assert_eq!(keys(store, KvKeys::WithVersions { more_than: 1 }).await?, ["k"]);
    assert_eq!(store.kv_keys(&acme(), "a.b", KvKeys::Present, Some("k"), 10).await?, ["once"]);
    assert!(store.kv_keys(&acme(), "a", KvKeys::Present, None, 10).await?.is_empty());

    let purge = async |which, limit| store.purge_kv_versions(&acme(), "a.b", "k", which, limit).await;
    assert_eq!(purge(KvVersions::WrittenUntil(t(0)), 10).await?, 0);
    assert_eq!(purge(KvVersions::AllButNewest(2), 1).await?, 1);
    assert_eq!(purge(KvVersions::AllButNewest(2), 10).await?, 1);
    assert_eq!(purge(KvVersions::AllButNewest(2), 10).await?, 0);
    let later = store.now().await?.plus(Duration::from_secs(60));
    assert_eq!(purge(KvVersions::WrittenUntil(later), 10).await?, 1, "never the newest");
    assert_eq!(store.get_kv(&acme(), "a.b", "k").await?.map(|row| row.value), Some("4".to_owned()));
    assert_eq!(store.put_kv(&acme(), &entry("k", "5")).await?, Some(5));
    assert_eq!(purge(KvVersions::AllButNewest(0), 10).await?, 2);
    assert_eq!(store.get_kv(&acme(), "a.b", "k").await?, None);
    assert_eq!(store.put_kv(&acme(), &entry("k", "6")).await?, Some(1));
    assert_eq!(store.put_kv(&globex, &entry("k", "5")).await?, Some(5));
    Ok(())
}

async fn keys_are_purged_with_all_that_they_have_been(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let globex = globex(store).await?;
    for tenant in [&acme(), &globex] {
        store.put_kv(tenant, &entry("old", "0")).await?;
        let brief = NewKv { expires_in: Some(Duration::from_millis(1)), ..entry("old", "1") };
        store.put_kv(tenant, &brief).await?;
        store.put_kv(tenant, &entry("new", "1")).await?;
    }
    wait_until("the key to expire", Duration::from_secs(10), || async {
        keys(store, KvKeys::Expired).await.ok().filter(|keys| *keys == ["old"]).map(|_| ())
    })
    .await?;
    let both = ["old".to_owned(), "new".to_owned()];
    assert_eq!(store.purge_kv_keys(&acme(), "a.b", &both, true).await?, 1);
    assert_eq!(keys(store, KvKeys::WithVersions { more_than: 0 }).await?, ["new"]);
    assert_eq!(store.purge_kv_keys(&acme(), "a.b", &both, false).await?, 1);
    assert!(keys(store, KvKeys::WithVersions { more_than: 0 }).await?.is_empty());
    assert_eq!(store.purge_expired_kv(10).await?, 1, "that of the other tenant");
    assert_eq!(store.put_kv(&globex, &entry("old", "2")).await?, Some(1));
    assert_eq!(store.put_kv(&globex, &entry("new", "2")).await?, Some(2));
    Ok(())
}

async fn namespaces_with_flows_are_listed(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let globex = globex(store).await?;
    for (namespace, id) in [("a", "f"), ("a", "g"), ("a.b", "f"), ("c", "f")] {
        store.put_flow(&acme(), namespace, id, &format!("id: {id}")).await?;
    }
    store.delete_flow(&acme(), "c", "f").await?;
    store.put_kv(&acme(), &entry("k", "1")).await?;
    assert_eq!(store.list_flow_namespaces(&acme(), None, 10).await?, ["a", "a.b"]);
    assert_eq!(store.list_flow_namespaces(&acme(), Some("a"), 10).await?, ["a.b"]);
    assert_eq!(store.list_flow_namespaces(&acme(), None, 1).await?, ["a"]);
    assert!(store.list_flow_namespaces(&globex, None, 10).await?.is_empty());
    Ok(())
}
