//! What is kept beside the database's rows: files of executions and namespaces ([`Files`]), and the encryption of
//! secrets: a data key per tenant encrypts values, the master key wraps data keys.
//!
//! Always true: a value opens only for the tenant and the place that it was sealed for; no key and no value is ever in
//! an error, in `Debug` output or left in memory that was given back. Whoever has the database without the master key
//! has nothing; a new master key means wrapping the data keys again, not the values.
//!
//! Not here: where wrapped keys and ciphertexts are kept (`store`), who may read what (`gateway`).

mod files;
mod keyring;
mod master;
mod sealed;

pub use files::{FileEntry, FileUri, FileVersion, Files, FilesError, NamespaceFile, S3Config, UriError, VersionError};
pub use keyring::{DataKey, Keyring, TenantCipher};
pub use master::{MasterKey, MasterKeyError};

/// Why something could not be opened. Says nothing of keys or values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CryptoError {
    /// Sealed with another master key than the one that is set.
    #[error("the master key is not the one that this was encrypted with")]
    WrongMasterKey,
    /// Changed, moved to another place or tenant, or sealed with another key.
    #[error("the encrypted value was changed, or belongs to another place")]
    Tampered,
    /// Written by a later version, or not a sealed value at all.
    #[error("the encrypted value has a form that this version does not know")]
    UnknownFormat,
    /// The tenant's data key of that number was not given.
    #[error("the data key {0} of the tenant is not known")]
    NoDataKey(u32),
    /// The random generator of the system, or a value of more than 64 GiB.
    #[error("the value cannot be encrypted")]
    Failed,
}
