//! Secrets of the store, decrypted for those that render them, and what seals values of type SECRET.

use std::sync::Arc;

use async_trait::async_trait;
use windhover_storage::{CryptoError, DataKey, Keyring};
use windhover_store::{Store, StoredSecret};
use windhover_types::{Cipher, Secret, Tenant};

/// Number of a tenant's first data key.
const FIRST: u32 = 1;

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

    /// With the tenant's keys in memory; the first value of a tenant makes its first key.
    async fn keyed(&self, tenant: &Tenant) -> Result<Arc<dyn Cipher>, String> {
        if !self.keyring.knows(tenant) {
            self.load_keys(tenant).await?;
        }
        if !self.keyring.knows(tenant) {
            let unusable = |error: CryptoError| format!("a key for values of type SECRET cannot be made: {error}");
            let drawn = self.keyring.new_data_key(tenant, FIRST).map_err(unusable)?;
            let drawn = windhover_store::DataKey { id: drawn.id, wrapped: drawn.wrapped };
            // Another process may have been first: what is stored counts.
            let kept = self.store.add_data_key(tenant, &drawn, windhover_executor::now()).await;
            kept.map_err(|error| error.to_string())?;
            self.load_keys(tenant).await?;
        }
        Ok(Arc::new(self.keyring.of_tenant(tenant)))
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

    async fn cipher(&self, tenant: &Tenant) -> Result<Arc<dyn Cipher>, String> {
        self.keyed(tenant).await
    }
}

/// For what the executor and the gateway render.
#[async_trait]
impl windhover_executor::SecretSource for StoredSecrets {
    async fn secret(&self, tenant: &Tenant, namespace: &str, key: &str) -> Result<Secret, String> {
        let found = self.find(tenant, namespace, key).await?;
        found.ok_or_else(|| format!("Cannot find secret for key '{key}'."))
    }

    async fn cipher(&self, tenant: &Tenant) -> Result<Arc<dyn Cipher>, String> {
        self.keyed(tenant).await
    }

    fn known_cipher(&self, tenant: &Tenant) -> Option<Arc<dyn Cipher>> {
        self.keyring.knows(tenant).then(|| Arc::new(self.keyring.of_tenant(tenant)) as Arc<dyn Cipher>)
    }
}
