//! What namespaces pass down, and slots of flows.

use serde_json::json;
use windhover_store::{Batch, CommitError, NamespaceSettings, NewKv, SlotKey, SlotRow};
use windhover_testkit::TestStore;

use crate::{fixtures::*, on_both};

on_both!(
    settings_of_a_namespace_are_changed_over_the_version_that_was_read,
    namespaces_are_listed_by_what_is_in_them,
    slots_of_a_flow_follow_its_owner,
);

fn settings(day: &str) -> NamespaceSettings {
    NamespaceSettings {
        description: Some("the team's".to_owned()),
        variables: json!({"day": day, "nul": "a\u{0}b"}).as_object().cloned().unwrap_or_default(),
        plugin_defaults: vec![json!({"type": "io.kestra.plugin.core.log.Log", "values": {"level": "WARN"}})],
    }
}

async fn settings_of_a_namespace_are_changed_over_the_version_that_was_read(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let globex = globex(store).await?;
    assert_eq!(store.get_namespace(&acme(), "a.b").await?, None);
    let before = store.tenant_version(&acme()).await?;
    assert_eq!(store.put_namespace(&acme(), "a.b", &settings("1"), Some(1)).await?, None);
    assert_eq!(store.tenant_version(&acme()).await?, before, "nothing has changed");
    assert_eq!(store.put_namespace(&acme(), "a.b", &settings("1"), Some(0)).await?, Some(1));
    assert_eq!(store.put_namespace(&acme(), "a.b", &settings("2"), Some(0)).await?, None);
    assert_eq!(store.put_namespace(&acme(), "a.b", &settings("2"), Some(1)).await?, Some(2));
    assert_eq!(store.put_namespace(&acme(), "a", &NamespaceSettings::default(), None).await?, Some(1));
    assert_eq!(store.tenant_version(&acme()).await?, before + 3, "flows mean something else now");
    let stored = store.get_namespace(&acme(), "a.b").await?.map(|row| (row.settings, row.version));
    assert_eq!(stored, Some((settings("2"), 2)));
    let lineage = store.namespace_lineage(&acme(), "a.b.c").await?;
    assert_eq!(lineage.iter().map(|row| row.namespace.as_str()).collect::<Vec<_>>(), ["a.b", "a"]);
    assert_eq!(store.all_namespace_settings(&acme()).await?.len(), 2);
    assert_eq!(store.namespace_lineage(&globex, "a.b.c").await?, []);
    assert!(store.delete_namespace(&acme(), "a.b").await?);
    assert!(!store.delete_namespace(&acme(), "a.b").await?);
    assert_eq!(store.tenant_version(&acme()).await?, before + 4);
    Ok(())
}

async fn namespaces_are_listed_by_what_is_in_them(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let globex = globex(store).await?;
    for (namespace, flow) in [("d", "f"), ("d", "g"), ("gone", "f")] {
        store.put_flow(&acme(), namespace, flow, "id: f").await?;
    }
    store.delete_flow(&acme(), "gone", "f").await?;
    store.put_namespace(&acme(), "b", &settings("1"), None).await?;
    let entry = NewKv {
        namespace: "c.d",
        key: "k",
        value: "1",
        kind: "NUMBER",
        description: None,
        expires_in: None,
        overwrite: true,
    };
    store.put_kv(&acme(), &entry).await?;
    for namespace in ["", "a"] {
        store.put_secret(&acme(), namespace, "KEY", b"ciphertext", t(0)).await?;
    }
    store.put_flow(&globex, "e", "f", "id: f").await?;
    assert_eq!(store.list_namespaces(&acme(), None, 10).await?, ["a", "b", "c.d", "d"]);
    assert_eq!(store.list_namespaces(&acme(), Some("a"), 2).await?, ["b", "c.d"]);
    assert_eq!(store.list_namespaces(&globex, None, 10).await?, ["e"]);
    Ok(())
}

async fn slots_of_a_flow_follow_its_owner(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let fence = owner(store).await?;
    let key = |n| SlotKey {
        tenant: acme(),
        namespace: "company.team".to_owned(),
        flow_id: "orders".to_owned(),
        execution: id("execution", n),
    };
    let row = |n, holds, since| SlotRow { key: key(n), shard: 2, holds, since: t(since) };
    let set = |slots_set| Batch { slots_set, ..Default::default() };
    store.commit(&fence, &set(vec![row(1, true, 1), row(3, false, 5), row(2, false, 9)])).await?;
    assert!(matches!(store.create(&set(vec![row(4, true, 1)])).await, Err(CommitError::Fenced)));
    let expected = [row(1, true, 1), row(3, false, 5), row(2, false, 9)];
    assert_eq!(store.slots_of_flow(&acme(), "company.team", "orders").await?, expected);
    let granted = Batch { slots_cleared: vec![key(1), key(9)], ..set(vec![row(3, true, 10)]) };
    store.commit(&fence, &granted).await?;
    assert_eq!(store.flow_slots(&[2]).await?, [row(2, false, 9), row(3, true, 10)]);
    assert_eq!(store.flow_slots(&[0, 1, 3]).await?, []);
    Ok(())
}
