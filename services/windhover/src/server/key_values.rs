//! Key-value stores of namespaces, for tasks and expressions.

use async_trait::async_trait;
use windhover_store::{NewKv, Store};
use windhover_tasks::{KeyValueSource, KvFound, KvKind, KvWrite};
use windhover_types::Tenant;

/// Keys of one page.
const PAGE: u64 = 1_000;

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

    async fn namespace_exists(&self, tenant: &Tenant, namespace: &str) -> Result<bool, String> {
        self.0.namespace_exists(tenant, namespace).await.map_err(|error| error.to_string())
    }
}
