//! Which shards this process owns, for everybody in it who wants to know.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::watch;

/// The shards of this process. Clones are the same set. What it says may be a moment old: the fence decides, this only
/// chooses the way that a message takes.
#[derive(Clone)]
pub struct OwnedShards(Arc<Inner>);

struct Inner {
    flags: Box<[AtomicBool]>,
    list: watch::Sender<Arc<Vec<u16>>>,
}

impl OwnedShards {
    /// None of the `count` shards of the installation.
    pub fn new(count: u16) -> Self {
        let flags = (0..count).map(|_| AtomicBool::new(false)).collect();
        Self(Arc::new(Inner { flags, list: watch::channel(Arc::default()).0 }))
    }

    /// Number of shards of the installation.
    pub fn count(&self) -> u16 {
        self.0.flags.len() as u16
    }

    pub fn owns(&self, shard: u16) -> bool {
        self.0.flags.get(usize::from(shard)).is_some_and(|flag| flag.load(Ordering::Acquire))
    }

    /// In order.
    pub fn list(&self) -> Arc<Vec<u16>> {
        Arc::clone(&self.0.list.borrow())
    }

    /// Tells of every change.
    pub fn changes(&self) -> watch::Receiver<Arc<Vec<u16>>> {
        self.0.list.subscribe()
    }

    /// [`Self::owns`] for those who know nothing of executors.
    pub fn as_fn(&self) -> Arc<dyn Fn(u16) -> bool + Send + Sync> {
        let owned = self.clone();
        Arc::new(move |shard| owned.owns(shard))
    }

    pub(crate) fn add(&self, shards: &[u16]) {
        self.set(shards, true);
    }

    pub(crate) fn remove(&self, shards: &[u16]) {
        self.set(shards, false);
    }

    pub(crate) fn clear(&self) {
        self.set(&self.list(), false);
    }

    fn set(&self, shards: &[u16], owned: bool) {
        self.0.list.send_if_modified(|list| {
            let mut changed = false;
            for flag in shards.iter().filter_map(|shard| self.0.flags.get(usize::from(*shard))) {
                changed |= flag.swap(owned, Ordering::AcqRel) != owned;
            }
            if changed {
                *list = Arc::new((0..self.count()).filter(|shard| self.owns(*shard)).collect());
            }
            changed
        });
    }
}

impl fmt::Debug for OwnedShards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OwnedShards").field(&self.list()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_follows_what_is_added_and_removed_and_unknown_shards_are_nobodys() {
        let owned = OwnedShards::new(4);
        let changes = owned.changes();
        owned.add(&[3, 1, 9]);
        assert_eq!(*owned.list(), [1, 3]);
        assert!(owned.owns(3) && !owned.owns(9) && changes.has_changed().is_ok_and(|changed| changed));
        owned.remove(&[3]);
        assert_eq!(*owned.list(), [1]);
        owned.clear();
        assert!(owned.list().is_empty());
    }
}
