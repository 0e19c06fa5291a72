//! The keys of a process: the master key, and the tenants' data keys as far as they were needed.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use windhover_types::{Cipher, Secret, Tenant};
use zeroize::Zeroizing;

use crate::{
    CryptoError, MasterKey,
    sealed::{self, Key},
};

/// What an installation is known by: sealed with the master key at the first start.
const CHECK: &[u8] = b"windhover key check";

/// A tenant's data key as it is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct DataKey {
    /// From 1, a new number with every rotation.
    pub id: u32,
    /// Opens with the master key, for this tenant and number alone.
    pub wrapped: Vec<u8>,
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DataKey({})", self.id)
    }
}

/// Encrypts and decrypts for tenants. Cheap to clone; clones share what they know.
///
/// Wrapped keys come from the store: a caller that gets [`CryptoError::NoDataKey`] gives them by [`Keyring::add`] and
/// asks again; a tenant without any gets its first from [`Keyring::new_data_key`], which the store keeps.
#[derive(Clone)]
pub struct Keyring(Arc<Inner>);

struct Inner {
    master: MasterKey,
    /// By tenant; the key with the highest number encrypts.
    tenants: RwLock<HashMap<Tenant, Vec<(u32, Key)>>>,
}

impl Keyring {
    pub fn new(master: MasterKey) -> Self {
        Self(Arc::new(Inner { master, tenants: RwLock::default() }))
    }

    /// A key of the installation for something that is no secret of a tenant; see [`MasterKey::derive`].
    pub fn derive_key(&self, purpose: &str) -> [u8; 32] {
        self.0.master.derive(purpose)
    }

    /// Draws a data key for a tenant, wrapped and not yet in use: another process may be first, so the caller stores
    /// it and adds what is stored.
    pub fn new_data_key(&self, tenant: &Tenant, id: u32) -> Result<DataKey, CryptoError> {
        let key = sealed::random_key()?;
        Ok(DataKey { id, wrapped: self.0.master.wrap(&data_key_context(tenant, &id.to_be_bytes()), &*key)? })
    }

    /// Takes stored keys of a tenant into use.
    pub fn add(&self, tenant: &Tenant, keys: &[DataKey]) -> Result<(), CryptoError> {
        let mut opened = Vec::with_capacity(keys.len());
        for key in keys {
            opened.push((key.id, self.unwrap(tenant, key)?));
        }
        let mut tenants = self.0.tenants.write().unwrap_or_else(PoisonError::into_inner);
        let known = tenants.entry(tenant.clone()).or_default();
        for (id, key) in opened {
            known.retain(|(have, _)| *have != id);
            known.push((id, key));
        }
        known.sort_by_key(|(id, _)| *id);
        Ok(())
    }

    /// Whether the tenant has a key to encrypt with.
    pub fn knows(&self, tenant: &Tenant) -> bool {
        let tenants = self.0.tenants.read().unwrap_or_else(PoisonError::into_inner);
        tenants.get(tenant).is_some_and(|keys| !keys.is_empty())
    }

    /// The same data key wrapped by another master key: what a rotation of the master key stores.
    pub fn rewrap(&self, tenant: &Tenant, key: &DataKey, master: &MasterKey) -> Result<DataKey, CryptoError> {
        let opened = self.unwrap(tenant, key)?;
        Ok(DataKey { id: key.id, wrapped: master.wrap(&data_key_context(tenant, &key.id.to_be_bytes()), &*opened)? })
    }

    /// Encrypts for a tenant. `place` says what the value is (for a secret its namespace and name): it opens there only.
    pub fn encrypt(&self, tenant: &Tenant, place: &[&str], value: &Secret) -> Result<Vec<u8>, CryptoError> {
        let tenants = self.0.tenants.read().unwrap_or_else(PoisonError::into_inner);
        let (id, key) = tenants.get(tenant).and_then(|keys| keys.last()).ok_or(CryptoError::NoDataKey(1))?;
        sealed::seal(key, *id, &value_context(tenant, place), value.expose().as_bytes())
    }

    /// What was encrypted for this tenant and place.
    pub fn decrypt(&self, tenant: &Tenant, place: &[&str], sealed: &[u8]) -> Result<Secret, CryptoError> {
        let id = sealed::key_id(sealed)?;
        let tenants = self.0.tenants.read().unwrap_or_else(PoisonError::into_inner);
        let keys = tenants.get(tenant).map(Vec::as_slice).unwrap_or_default();
        let (_, key) = keys.iter().find(|(have, _)| *have == id).ok_or(CryptoError::NoDataKey(id))?;
        let value = sealed::open(key, &value_context(tenant, place), sealed)?;
        let text = std::str::from_utf8(&value).map_err(|_| CryptoError::UnknownFormat)?;
        Ok(Secret::new(text))
    }

    /// What seals values of executions of this tenant: they open wherever they are carried, for this tenant alone.
    pub fn of_tenant(&self, tenant: &Tenant) -> TenantCipher {
        TenantCipher { keyring: self.clone(), tenant: tenant.clone() }
    }

    /// Something to be stored with the installation, by which [`Keyring::verify_check`] tells a wrong master key.
    pub fn key_check(&self) -> Result<Vec<u8>, CryptoError> {
        self.0.master.wrap(&[CHECK], CHECK)
    }

    pub fn verify_check(&self, stored: &[u8]) -> Result<(), CryptoError> {
        self.0.master.unwrap(&[CHECK], stored).map(|_| ())
    }

    fn unwrap(&self, tenant: &Tenant, key: &DataKey) -> Result<Key, CryptoError> {
        let bytes = self.0.master.unwrap(&data_key_context(tenant, &key.id.to_be_bytes()), &key.wrapped)?;
        <[u8; 32]>::try_from(bytes.as_slice()).map(Zeroizing::new).map_err(|_| CryptoError::UnknownFormat)
    }
}

/// Seals values of one tenant's executions to texts: base64 of the second form of [`crate::sealed`], since a tenant may
/// have many more of them than of secrets.
#[derive(Clone)]
pub struct TenantCipher {
    keyring: Keyring,
    tenant: Tenant,
}

impl TenantCipher {
    fn context(&self) -> Vec<&[u8]> {
        value_context(&self.tenant, &["sealed value"])
    }

    fn seal_bytes(&self, value: &Secret) -> Result<Vec<u8>, CryptoError> {
        let tenants = self.keyring.0.tenants.read().unwrap_or_else(PoisonError::into_inner);
        let (id, key) = tenants.get(&self.tenant).and_then(|keys| keys.last()).ok_or(CryptoError::NoDataKey(1))?;
        sealed::seal_one_of_many(key, *id, &self.context(), value.expose().as_bytes())
    }

    fn open_bytes(&self, sealed: &[u8]) -> Result<Secret, CryptoError> {
        let id = sealed::key_id(sealed)?;
        let tenants = self.keyring.0.tenants.read().unwrap_or_else(PoisonError::into_inner);
        let keys = tenants.get(&self.tenant).map(Vec::as_slice).unwrap_or_default();
        let (_, key) = keys.iter().find(|(have, _)| *have == id).ok_or(CryptoError::NoDataKey(id))?;
        let value = sealed::open(key, &self.context(), sealed)?;
        std::str::from_utf8(&value).map(Secret::new).map_err(|_| CryptoError::UnknownFormat)
    }
}

impl Cipher for TenantCipher {
    fn seal(&self, value: &Secret) -> Result<String, String> {
        self.seal_bytes(value).map(|sealed| BASE64_STANDARD.encode(sealed)).map_err(|error| error.to_string())
    }

    fn open(&self, sealed: &str) -> Result<Option<Secret>, String> {
        let Ok(bytes) = BASE64_STANDARD.decode(sealed) else { return Ok(None) };
        match self.open_bytes(&bytes) {
            Ok(secret) => Ok(Some(secret)),
            // Nobody here has sealed it.
            Err(CryptoError::UnknownFormat) => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl fmt::Debug for TenantCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TenantCipher({}, ******)", self.tenant)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyring(******)")
    }
}

fn data_key_context<'a>(tenant: &'a Tenant, id: &'a [u8]) -> [&'a [u8]; 3] {
    [b"data key", tenant.as_str().as_bytes(), id]
}

fn value_context<'a>(tenant: &'a Tenant, place: &[&'a str]) -> Vec<&'a [u8]> {
    let mut context: Vec<&[u8]> = vec![b"value", tenant.as_str().as_bytes()];
    context.extend(place.iter().map(|part| part.as_bytes()));
    context
}
