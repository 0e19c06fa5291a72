//! Hints for followers: "something about this execution was committed, look".

use std::sync::Arc;

use tokio::sync::watch;
use windhover_types::{Id, Tenant};

/// Publishes and delivers hints. Nothing is kept: who subscribes looks at the store first.
pub trait Hints: Send + Sync + 'static {
    /// Hints about one execution.
    fn subscribe(&self, tenant: &Tenant, execution: Id) -> Subscription;

    /// Hints about every execution of a shard (readers of its feed).
    fn subscribe_shard(&self, shard: u16) -> Subscription;

    /// After a commit. Costs next to nothing while nobody follows.
    fn notify(&self, shard: u16, tenant: &Tenant, execution: Id);
}

/// One follower's end. Hints that come while it does not look are one hint.
#[derive(Debug)]
pub struct Subscription {
    receiver: watch::Receiver<u64>,
    /// Ends the subscription at the publisher when the last one goes.
    _guard: Arc<dyn Guard>,
}

/// Something that acts when it is dropped.
pub(crate) trait Guard: Send + Sync + std::fmt::Debug {}

/// Two guards as one.
#[derive(Debug)]
struct Both {
    _first: Arc<dyn Guard>,
    _second: Arc<dyn Guard>,
}

impl Guard for Both {}

impl Subscription {
    pub(crate) fn new(receiver: watch::Receiver<u64>, guard: Arc<dyn Guard>) -> Self {
        Self { receiver, _guard: guard }
    }

    /// The same, and when it goes, so does `other`.
    pub(crate) fn with(self, other: Arc<dyn Guard>) -> Self {
        Self { receiver: self.receiver, _guard: Arc::new(Both { _first: self._guard, _second: other }) }
    }

    /// Waits for a hint that came after the last one seen. `false`: no more will come (the server stops).
    pub async fn changed(&mut self) -> bool {
        self.receiver.changed().await.is_ok()
    }

    /// Takes a hint that is there already.
    pub fn take(&mut self) -> bool {
        let new = self.receiver.has_changed().unwrap_or(false);
        self.receiver.mark_unchanged();
        new
    }
}
