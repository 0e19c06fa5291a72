//! Time and chance of the shell: drawn here, handed to the pure parts as arguments.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use rand::RngCore;
use windhover_types::{Id, Timestamp};

/// By how much this process's clock is set wrong on purpose, in microseconds.
static OFFSET: AtomicI64 = AtomicI64::new(0);

/// Sets this process's clock wrong by so many microseconds (setting `windhover.clock.offset`), for tests of what wrong
/// clocks do. Before anything asks for the time.
pub fn set_clock_offset(micros: i64) {
    OFFSET.store(micros, Ordering::Relaxed);
}

/// The present time of this process.
pub fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let micros = i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(micros.saturating_add(OFFSET.load(Ordering::Relaxed)))
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
