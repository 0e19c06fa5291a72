//! The shortest way: memory for the shards of this process, Redis for the others.

use std::{fmt, sync::Arc};

use async_trait::async_trait;

use crate::{InProcessWakeups, QueueError, RedisWakeups, Wake, Wakeups};

/// Whether this process owns a shard just now.
pub type Owns = Arc<dyn Fn(u16) -> bool + Send + Sync>;

/// Sends to the owner's channel in this process when it owns the shard, else through Redis.
#[derive(Clone)]
pub struct RoutedWakeups {
    local: InProcessWakeups,
    owns: Owns,
    remote: RedisWakeups,
}

impl RoutedWakeups {
    pub fn new(local: InProcessWakeups, owns: Owns, remote: RedisWakeups) -> Self {
        Self { local, owns, remote }
    }

    fn split(&self, wakes: Vec<Wake>) -> (Vec<Wake>, Vec<Wake>) {
        wakes.into_iter().partition(|wake| match wake {
            Wake::Look { shard, .. } => (self.owns)(*shard),
            Wake::Report { report, .. } => (self.owns)(report.shard),
        })
    }
}

#[async_trait]
impl Wakeups for RoutedWakeups {
    async fn send(&self, wakes: Vec<Wake>) -> Result<(), QueueError> {
        let (here, elsewhere) = self.split(wakes);
        let local = async {
            match here.is_empty() {
                true => Ok(()),
                false => self.local.send(here).await,
            }
        };
        // Both in any case: trouble on one way is none of the other's.
        let (local, remote) = tokio::join!(local, self.remote.send(elsewhere));
        local.and(remote)
    }

    fn try_send(&self, wakes: Vec<Wake>) -> bool {
        let (here, elsewhere) = self.split(wakes);
        let local = here.is_empty() || self.local.try_send(here);
        let remote = elsewhere.is_empty() || self.remote.try_send(elsewhere);
        local && remote
    }
}

impl fmt::Debug for RoutedWakeups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoutedWakeups").finish_non_exhaustive()
    }
}
