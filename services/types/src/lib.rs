//! Words that every part of Windhover shares: ids, time, states, labels, errors. No I/O, no clock, no randomness.

mod error;
mod id;
mod label;
mod level;
mod sealed;
mod secret;
mod state;
mod tenant;
mod time;

pub use error::{Error, ErrorKind, FieldViolation, Severity, Violation};
pub use id::{Id, IdError};
pub use label::{Label, correlation_id, label_value, merge_labels, nested_labels};
pub use level::Level;
pub use sealed::{Cipher, SEALED_TYPE, has_sealed, open_all, sealed_text, sealed_value};
pub use secret::{Masker, Secret};
pub use state::{State, StateChange, StateHistory};
pub use tenant::Tenant;
pub use time::Timestamp;

/// A JSON object with its keys in the order in which they were written.
pub type JsonMap = serde_json::Map<String, serde_json::Value>;

/// The number of shards of a new installation; stored at first start, never changed afterwards.
pub const DEFAULT_SHARDS: u16 = 64;

/// The shard that owns an execution: a hash of tenant and id, modulo the number of shards.
pub fn shard_of(tenant: &Tenant, execution: Id, shards: u16) -> u16 {
    let hash = id::fnv1a(&[tenant.as_str().as_bytes(), execution.as_bytes()]);
    (hash % u64::from(shards.max(1))) as u16
}
