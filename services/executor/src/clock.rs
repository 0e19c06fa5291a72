//! Time and chance of the shell: drawn here, handed to the pure parts as arguments.

use std::time::{SystemTime, UNIX_EPOCH};

use rand::RngCore;
use windhover_types::{Id, Timestamp};

/// The present time of this process.
pub fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
}

/// A new id for something made now.
pub fn new_id() -> Id {
    let mut entropy = [0; 10];
    rand::rng().fill_bytes(&mut entropy);
    Id::new(now(), entropy)
}

/// A seed for what is random in one step.
pub(crate) fn seed() -> u64 {
    rand::rng().next_u64()
}
