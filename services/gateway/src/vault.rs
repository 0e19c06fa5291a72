//! Encryption of secrets on their way to the store.

use windhover_executor::now;
use windhover_storage::{CryptoError, DataKey, Keyring};
use windhover_store::Store;
use windhover_types::{Error, ErrorKind, Secret, Tenant};

use crate::error::Result;

/// Number of a tenant's first data key.
const FIRST: u32 = 1;

/// Encrypts secrets with the data key of their tenant.
pub(crate) struct Vault {
    pub(crate) store: Store,
    pub(crate) keyring: Keyring,
}

impl Vault {
    /// What is stored of a secret. It opens only for this tenant, namespace and name (in upper case).
    pub(crate) async fn encrypt(
        &self,
        tenant: &Tenant,
        namespace: &str,
        name: &str,
        value: &Secret,
    ) -> Result<Vec<u8>> {
        if !self.keyring.knows(tenant) {
            self.load_keys(tenant).await?;
        }
        self.keyring.encrypt(tenant, &["secret", namespace, name], value).map_err(failed)
    }

    /// Takes the tenant's data keys into use; the first secret of a tenant makes its first one.
    async fn load_keys(&self, tenant: &Tenant) -> Result<()> {
        let mut keys = self.store.data_keys(tenant).await?;
        if keys.is_empty() {
            let drawn = self.keyring.new_data_key(tenant, FIRST).map_err(failed)?;
            let drawn = windhover_store::DataKey { id: drawn.id, wrapped: drawn.wrapped };
            // Another process may have been first: what is stored counts.
            keys.push(self.store.add_data_key(tenant, &drawn, now()).await?);
        }
        let keys: Vec<_> = keys.into_iter().map(|key| DataKey { id: key.id, wrapped: key.wrapped }).collect();
        self.keyring.add(tenant, &keys).map_err(failed)
    }
}

fn failed(error: CryptoError) -> Error {
    Error::new(
        ErrorKind::Internal,
        windhover_proto::reasons::INTERNAL,
        format!("a secret cannot be encrypted: {error}"),
    )
}
