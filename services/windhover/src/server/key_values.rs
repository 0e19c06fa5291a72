//! Key-value stores of namespaces, for tasks and expressions.

use async_trait::async_trait;
use windhover_store::{KvKeys, KvVersions, NewKv, Store};
use windhover_tasks::{KeyTest, KeyValueSource, KvFound, KvKind, KvPurge, KvWrite};
use windhover_types::Tenant;

/// Keys of one page.
const PAGE: u64 = 1_000;
/// Versions of one statement: a batch of the executor must not wait for more.
const VERSIONS: u32 = 1_000;

pub(super) struct StoredKeyValues(pub(super) Store);

#[async_trait]
impl KeyValueSource for StoredKeyValues {
    async fn get(&self, tenant: &Tenant, namespace: &str, key: &str) -> Result<KvFound, String> {
        let Some(row) = self.0.get_kv(tenant, namespace, key).await.map_err(|error| error.to_string())? else {
            return Ok(KvFound::Absent);
        };
        if row.expired {
            return Ok(KvFound::Expired);
        }
        let kind = KvKind::parse(&row.kind).ok_or_else(|| format!("the key '{key}' has a kind that is not known"))?;
        let value =
            serde_json::from_str(&row.value).map_err(|_| format!("the value of the key '{key}' is not JSON"))?;
        Ok(KvFound::Value { value, kind })
    }

    async fn put(&self, tenant: &Tenant, namespace: &str, key: &str, write: KvWrite) -> Result<bool, String> {
        let value = write.value.to_string();
        let new = NewKv {
            namespace,
            key,
            value: &value,
            kind: write.kind.as_str(),
            description: write.description.as_deref(),
            expires_in: write.ttl,
            overwrite: write.overwrite,
        };
        let written = self.0.put_kv(tenant, &new).await.map_err(|error| error.to_string())?;
        Ok(written.is_some())
    }

    async fn delete(&self, tenant: &Tenant, namespace: &str, key: &str) -> Result<bool, String> {
        self.0.delete_kv(tenant, namespace, key).await.map_err(|error| error.to_string())
    }

    async fn keys(&self, tenant: &Tenant, namespace: &str, prefix: &str) -> Result<Vec<String>, String> {
        let mut keys: Vec<String> = Vec::new();
        loop {
            let after = keys.last().cloned();
            let page = self.0.list_kv(tenant, namespace, prefix, after.as_deref(), PAGE).await;
            let page = page.map_err(|error| error.to_string())?;
            let complete = (page.len() as u64) < PAGE;
            keys.extend(page.into_iter().map(|row| row.key));
            if complete {
                return Ok(keys);
            }
        }
    }

    async fn purge(&self, tenant: &Tenant, namespace: &str, chosen: &KeyTest, purge: KvPurge) -> Result<u64, String> {
        let (keys, versions) = match purge {
            KvPurge::Keys { expired_only: true } => (KvKeys::Expired, None),
            KvPurge::Keys { expired_only: false } => (KvKeys::Present, None),
            KvPurge::WrittenUntil(at) => (KvKeys::WithVersions { more_than: 1 }, Some(KvVersions::WrittenUntil(at))),
            KvPurge::AllButNewest(kept) => {
                (KvKeys::WithVersions { more_than: kept }, Some(KvVersions::AllButNewest(kept)))
            }
        };
        let (store, told) = (&self.0, |error: windhover_store::StoreError| error.to_string());
        let mut purged = 0;
        let mut after: Option<String> = None;
        loop {
            let mut page = store.kv_keys(tenant, namespace, keys, after.as_deref(), PAGE).await.map_err(told)?;
            let complete = (page.len() as u64) < PAGE;
            after = page.last().cloned();
            page.retain(|key| chosen(key));
            match versions {
                None => {
                    let expired_only = keys == KvKeys::Expired;
                    purged += store.purge_kv_keys(tenant, namespace, &page, expired_only).await.map_err(told)?;
                }
                Some(which) => {
                    for key in &page {
                        loop {
                            let gone = store.purge_kv_versions(tenant, namespace, key, which, VERSIONS).await;
                            let gone = gone.map_err(told)?;
                            purged += gone;
                            if gone < u64::from(VERSIONS) {
                                break;
                            }
                        }
                    }
                }
            }
            if complete {
                return Ok(purged);
            }
        }
    }

    async fn namespace_exists(&self, tenant: &Tenant, namespace: &str) -> Result<bool, String> {
        self.0.namespace_exists(tenant, namespace).await.map_err(|error| error.to_string())
    }
}
