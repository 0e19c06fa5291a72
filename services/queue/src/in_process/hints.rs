//! [`Hints`] in memory: a watch channel for what somebody follows, nothing for the rest.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::sync::watch;
use windhover_types::{Id, Tenant};

use crate::{Hints, Subscription, hints::Guard};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Topic {
    Execution(Tenant, Id),
    Shard(u16),
}

#[derive(Default)]
struct Topics {
    /// Number of topics, readable without the lock: zero means that there is nothing to do.
    followed: AtomicUsize,
    senders: Mutex<HashMap<Topic, watch::Sender<u64>, ahash::RandomState>>,
}

/// Hints within one process.
#[derive(Clone, Default)]
pub struct InProcessHints {
    topics: Arc<Topics>,
}

/// Ends a topic when its last follower goes.
struct Following {
    topic: Topic,
    topics: Arc<Topics>,
}

impl InProcessHints {
    /// Everybody for whom `concerned` answers true looks again: hints of other processes may have been missed.
    pub(crate) fn notify_all(&self, concerned: impl Fn(Option<(&Tenant, Id)>, Option<u16>) -> bool) {
        for (topic, sender) in self.topics.senders.lock().iter() {
            let concerned = match topic {
                Topic::Execution(tenant, id) => concerned(Some((tenant, *id)), None),
                Topic::Shard(shard) => concerned(None, Some(*shard)),
            };
            if concerned {
                sender.send_modify(|count| *count = count.wrapping_add(1));
            }
        }
    }

    fn follow(&self, topic: Topic) -> Subscription {
        let mut senders = self.topics.senders.lock();
        let receiver = senders.entry(topic.clone()).or_insert_with(|| watch::channel(0).0).subscribe();
        self.topics.followed.store(senders.len(), Ordering::SeqCst);
        Subscription::new(receiver, Arc::new(Following { topic, topics: self.topics.clone() }))
    }
}

impl Hints for InProcessHints {
    fn subscribe(&self, tenant: &Tenant, execution: Id) -> Subscription {
        self.follow(Topic::Execution(tenant.clone(), execution))
    }

    fn subscribe_shard(&self, shard: u16) -> Subscription {
        self.follow(Topic::Shard(shard))
    }

    fn notify(&self, shard: u16, tenant: &Tenant, execution: Id) {
        if self.topics.followed.load(Ordering::SeqCst) == 0 {
            return;
        }
        let senders = self.topics.senders.lock();
        for topic in [Topic::Execution(tenant.clone(), execution), Topic::Shard(shard)] {
            if let Some(sender) = senders.get(&topic) {
                sender.send_modify(|count| *count = count.wrapping_add(1));
            }
        }
    }
}

impl Guard for Following {}

impl Drop for Following {
    fn drop(&mut self) {
        let mut senders = self.topics.senders.lock();
        // The subscription's own receiver is gone already: fields are dropped in order.
        if senders.get(&self.topic).is_some_and(|sender| sender.receiver_count() == 0) {
            senders.remove(&self.topic);
        }
        self.topics.followed.store(senders.len(), Ordering::SeqCst);
    }
}

impl fmt::Debug for Following {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.topic.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use windhover_types::Timestamp;

    use super::*;

    fn id(number: u8) -> Id {
        Id::new(Timestamp::from_millis(1), [number; 10])
    }

    #[tokio::test]
    async fn a_follower_hears_of_its_own_execution_only() {
        let hints = InProcessHints::default();
        let (tenant, other) = (Tenant::main(), Tenant::trusted("other"));
        let mut mine = hints.subscribe(&tenant, id(1));
        hints.notify(0, &tenant, id(2));
        hints.notify(0, &other, id(1));
        assert!(!mine.take());
        hints.notify(0, &tenant, id(1));
        hints.notify(0, &tenant, id(1));
        assert!(mine.changed().await);
        assert!(!mine.take(), "several hints are one");
    }

    #[tokio::test]
    async fn a_shards_follower_hears_of_all_its_executions() {
        let hints = InProcessHints::default();
        let mut shard = hints.subscribe_shard(3);
        hints.notify(4, &Tenant::main(), id(1));
        assert!(!shard.take());
        hints.notify(3, &Tenant::main(), id(1));
        assert!(shard.changed().await);
    }

    #[test]
    fn nothing_is_kept_after_the_last_follower() {
        let hints = InProcessHints::default();
        let first = hints.subscribe(&Tenant::main(), id(1));
        let second = hints.subscribe(&Tenant::main(), id(1));
        drop(first);
        assert_eq!(hints.topics.followed.load(Ordering::SeqCst), 1);
        drop(second);
        assert_eq!(hints.topics.followed.load(Ordering::SeqCst), 0);
        assert!(hints.topics.senders.lock().is_empty());
    }
}
