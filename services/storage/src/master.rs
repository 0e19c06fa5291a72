//! The master key: 32 bytes that the operator gives, in base64.

use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD};
use sha2::{Digest, Sha256};
use windhover_types::Secret;
use zeroize::Zeroizing;

use crate::{
    CryptoError,
    sealed::{self, Key},
};

/// A text that is no master key. Does not repeat the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MasterKeyError {
    #[error("the master key must be base64; `openssl rand -base64 32` makes one")]
    NotBase64,
    #[error("the master key must have 32 bytes, not {0}; `openssl rand -base64 32` makes one")]
    Length(usize),
}

/// The key that wraps tenants' data keys. From a file or the environment; never stored by Windhover.
#[derive(Clone)]
pub struct MasterKey {
    key: Key,
    /// Tells which master key something was wrapped with, without telling anything of it.
    mark: u32,
}

impl MasterKey {
    /// From base64, blanks around it allowed.
    pub fn parse(text: &Secret) -> Result<Self, MasterKeyError> {
        let bytes =
            BASE64_STANDARD.decode(text.expose().trim()).map(Zeroizing::new).map_err(|_| MasterKeyError::NotBase64)?;
        let key = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| MasterKeyError::Length(bytes.len()))?;
        Ok(Self::new(Zeroizing::new(key)))
    }

    /// A new one, for a first start on one's own machine.
    pub fn generate() -> Result<Self, CryptoError> {
        Ok(Self::new(sealed::random_key()?))
    }

    /// As [`MasterKey::parse`] reads it, to be kept in a file.
    pub fn to_base64(&self) -> Secret {
        Secret::new(BASE64_STANDARD.encode(*self.key))
    }

    /// A key for something else, the same in every process with this master key; nothing of the master key can be
    /// told from it. Different purposes give different keys.
    pub fn derive(&self, purpose: &str) -> [u8; 32] {
        // The master key has a fixed length and stands behind a fixed text, so that no two inputs are the same bytes.
        let digest = Sha256::new_with_prefix(b"windhover derived key").chain_update(*self.key).chain_update(purpose);
        digest.finalize().into()
    }

    fn new(key: Key) -> Self {
        let digest = Sha256::new_with_prefix(b"windhover master key mark").chain_update(*key).finalize();
        let mark = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
        Self { key, mark }
    }

    /// Seals something under the master key itself; opens only with the same `context`.
    pub(crate) fn wrap(&self, context: &[&[u8]], value: &[u8]) -> Result<Vec<u8>, CryptoError> {
        sealed::seal(&self.key, self.mark, context, value)
    }

    pub(crate) fn unwrap(&self, context: &[&[u8]], wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        if sealed::key_id(wrapped)? != self.mark {
            return Err(CryptoError::WrongMasterKey);
        }
        sealed::open(&self.key, context, wrapped)
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(******)")
    }
}
