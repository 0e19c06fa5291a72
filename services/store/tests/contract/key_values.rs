//! Values by key.

use std::time::Duration;

use windhover_store::{NewKv, Store};
use windhover_testkit::{TestStore, wait_until};

use crate::{fixtures::*, on_both};

on_both!(
    an_entry_is_written_once_or_over_and_counts_its_versions,
    an_entry_whose_time_has_passed_counts_as_absent,
    entries_are_listed_by_prefix_and_page,
);

fn entry<'a>(key: &'a str, value: &'a str) -> NewKv<'a> {
    NewKv { namespace: "a.b", key, value, kind: "STRING", description: None, expires_in: None, overwrite: true }
}

async fn an_entry_is_written_once_or_over_and_counts_its_versions(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let globex = globex(store).await?;
    assert!(!store.namespace_exists(&acme(), "a").await?);
    let first = NewKv { description: Some("what it is"), overwrite: false, ..entry("k", r#""one""#) };
    assert_eq!(store.put_kv(&acme(), &first).await?, Some(1));
    assert_eq!(store.put_kv(&acme(), &first).await?, None);
    let stored = store.get_kv(&acme(), "a.b", "k").await?;
    let Some(stored) = stored else { anyhow::bail!("it is there") };
    assert_eq!((stored.value.as_str(), stored.kind.as_str(), stored.version), (r#""one""#, "STRING", 1));
    assert_eq!((stored.description.as_deref(), stored.expires_at, stored.expired), (Some("what it is"), None, false));
    assert_eq!(store.put_kv(&acme(), &NewKv { kind: "NUMBER", ..entry("k", "2") }).await?, Some(2));
    let again = store.get_kv(&acme(), "a.b", "k").await?.map(|row| (row.value, row.kind, row.created_at));
    assert_eq!(again, Some(("2".to_owned(), "NUMBER".to_owned(), stored.created_at)));
    assert_eq!(store.get_kv(&globex, "a.b", "k").await?, None);
    assert_eq!(store.get_kv(&acme(), "a", "k").await?, None, "parents do not lend theirs");

    for (namespace, exists) in [("a", true), ("a.b", true), ("a.b.c", false), ("b", false)] {
        assert_eq!(store.namespace_exists(&acme(), namespace).await?, exists, "{namespace}");
    }
    assert!(!store.namespace_exists(&globex, "a").await?);
    store.put_flow(&globex, "a.c", "f", "id: f").await?;
    assert!(store.namespace_exists(&globex, "a").await?);
    store.delete_flow(&globex, "a.c", "f").await?;
    assert!(!store.namespace_exists(&globex, "a").await?);

    assert!(!store.delete_kv(&globex, "a.b", "k").await?);
    assert!(store.delete_kv(&acme(), "a.b", "k").await?);
    assert!(!store.delete_kv(&acme(), "a.b", "k").await?);
    assert_eq!(store.put_kv(&acme(), &entry("k", "3")).await?, Some(3), "its versions are kept");
    Ok(())
}

async fn an_entry_whose_time_has_passed_counts_as_absent(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let brief = |key| NewKv { expires_in: Some(Duration::from_millis(1)), ..entry(key, "1") };
    for key in ["k", "l", "m"] {
        store.put_kv(&acme(), &brief(key)).await?;
    }
    store.put_kv(&acme(), &NewKv { expires_in: Some(Duration::from_secs(3_600)), ..entry("n", "1") }).await?;
    expired(store, "m").await?;
    let keys: Vec<String> = store.list_kv(&acme(), "a.b", "", None, 10).await?.into_iter().map(|row| row.key).collect();
    assert_eq!(keys, ["n"]);
    let new = NewKv { overwrite: false, ..entry("k", "2") };
    assert_eq!(store.put_kv(&acme(), &new).await?, Some(2), "as if there had been none");
    assert_eq!(store.get_kv(&acme(), "a.b", "k").await?.map(|row| (row.expired, row.version)), Some((false, 2)));
    assert!(!store.delete_kv(&acme(), "a.b", "l").await?);
    assert_eq!(store.get_kv(&acme(), "a.b", "l").await?, None);
    assert_eq!(store.purge_expired_kv(10).await?, 1);
    assert_eq!(store.get_kv(&acme(), "a.b", "m").await?, None);
    assert_eq!(store.list_kv(&acme(), "a.b", "", None, 10).await?.len(), 2);
    assert_eq!(store.put_kv(&acme(), &entry("m", "1")).await?, Some(1), "its versions went with it");
    assert_eq!(store.put_kv(&acme(), &entry("l", "1")).await?, Some(2), "the versions of a deleted one stay");
    Ok(())
}

async fn expired(store: &Store, key: &str) -> anyhow::Result<()> {
    wait_until("the entry to expire", Duration::from_secs(10), || async {
        store.get_kv(&acme(), "a.b", key).await.ok().flatten().filter(|row| row.expired).map(|_| ())
    })
    .await
}

async fn entries_are_listed_by_prefix_and_page(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    for key in ["a", "ab", "ab%", "abc", "b", "Ab", "ab\u{e9}", "ab\u{10ffff}z"] {
        store.put_kv(&acme(), &entry(key, "1")).await?;
    }
    let other = NewKv { namespace: "a.b.c", ..entry("abd", "1") };
    store.put_kv(&acme(), &other).await?;
    let keys = async |prefix: &str, after: Option<&str>, limit| -> anyhow::Result<Vec<String>> {
        Ok(store.list_kv(&acme(), "a.b", prefix, after, limit).await?.into_iter().map(|row| row.key).collect())
    };
    assert_eq!(keys("ab", None, 10).await?, ["ab", "ab%", "abc", "ab\u{e9}", "ab\u{10ffff}z"]);
    assert_eq!(keys("", None, 3).await?, ["Ab", "a", "ab"]);
    assert_eq!(keys("", Some("ab"), 2).await?, ["ab%", "abc"]);
    assert_eq!(keys("c", None, 10).await?, Vec::<String>::new());
    Ok(())
}
