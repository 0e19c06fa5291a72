//! Secrets of the store, decrypted for those that render them.

use async_trait::async_trait;
use windhover_storage::{CryptoError, DataKey, Keyring};
use windhover_store::{Store, StoredSecret};
use windhover_types::{Secret, Tenant};

/// Looks a secret up in a namespace and its parents and decrypts it.
pub(super) struct StoredSecrets {
    store: Store,
    keyring: Keyring,
}

impl StoredSecrets {
    pub(super) fn new(store: Store, keyring: Keyring) -> Self {
        Self { store, keyring }
    }

    async fn find(&self, tenant: &Tenant, namespace: &str, key: &str) -> Result<Option<Secret>, String> {
        let found = self.store.find_secret(tenant, namespace, key).await.map_err(|error| error.to_string())?;
        match found {
            Some(stored) => self.decrypt(tenant, &stored).await.map(Some),
            None => Ok(None),
        }
    }

    async fn decrypt(&self, tenant: &Tenant, stored: &StoredSecret) -> Result<Secret, String> {
        let name = stored.name.to_uppercase();
        let place = ["secret", stored.namespace.as_str(), name.as_str()];
        let opened = match self.keyring.decrypt(tenant, &place, &stored.ciphertext) {
            // Sealed under a data key that this process has not seen yet.
            Err(CryptoError::NoDataKey { .. }) => {
                self.load_keys(tenant).await?;
                self.keyring.decrypt(tenant, &place, &stored.ciphertext)
            }
            opened => opened,
        };
        opened.map_err(|error| format!("the secret '{name}' cannot be decrypted: {error}"))
    }

    async fn load_keys(&self, tenant: &Tenant) -> Result<(), String> {
        let keys = self.store.data_keys(tenant).await.map_err(|error| error.to_string())?;
        let keys: Vec<DataKey> = keys.into_iter().map(|key| DataKey { id: key.id, wrapped: key.wrapped }).collect();
        self.keyring.add(tenant, &keys).map_err(|error| format!("the tenant's keys cannot be used: {error}"))
    }
}

/// For tasks on a worker.
#[async_trait]
impl windhover_tasks::SecretSource for StoredSecrets {
    async fn secret(&self, tenant: &Tenant, namespace: &str, key: &str) -> Result<Option<Secret>, String> {
        self.find(tenant, namespace, key).await
    }
}

/// For what the executor and the gateway render.
#[async_trait]
impl windhover_executor::SecretSource for StoredSecrets {
    async fn secret(&self, tenant: &Tenant, namespace: &str, key: &str) -> Result<Secret, String> {
        let found = self.find(tenant, namespace, key).await?;
        found.ok_or_else(|| format!("Cannot find secret for key '{key}'."))
    }
}
