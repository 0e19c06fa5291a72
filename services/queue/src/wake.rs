//! Wake-ups and reports for the owners of shards.

use async_trait::async_trait;
use tokio::sync::oneshot;
use windhover_types::{Id, Tenant};

use crate::{QueueError, Report};

/// What an owner is told. Only [`Wake::Report`] carries something that the store does not say yet, and its sender
/// keeps it until it is acknowledged.
#[derive(Debug)]
pub enum Wake {
    /// The store holds something new for this execution (an inbox row, a new execution): look.
    Look { shard: u16, tenant: Tenant, execution: Id },
    /// Something from a worker; acknowledge after the commit.
    Report { report: Report, acknowledge: Acknowledge },
}

/// Tells the sender of a report that it is committed. Dropped unused, the sender sends again.
#[derive(Debug)]
pub struct Acknowledge(Option<oneshot::Sender<()>>);

impl Acknowledge {
    /// With the end at which the sender waits.
    pub fn pair() -> (Self, oneshot::Receiver<()>) {
        let (sender, receiver) = oneshot::channel();
        (Self(Some(sender)), receiver)
    }

    /// For what nobody waits for.
    pub fn nobody() -> Self {
        Self(None)
    }

    /// What the report said is committed, or needs no commit because it is out of date.
    pub fn done(self) {
        if let Some(sender) = self.0 {
            // The sender may have gone meanwhile; then nobody needs to know.
            let _ = sender.send(());
        }
    }
}

/// Brings wake-ups to whichever process owns the shard.
#[async_trait]
pub trait Wakeups: Send + Sync + 'static {
    /// Sends a batch; waits while the owner is behind.
    async fn send(&self, wakes: Vec<Wake>) -> Result<(), QueueError>;

    /// Sends if there is room at once. A hint that finds none is lost; the owner's sweep finds what it was about.
    fn try_send(&self, wakes: Vec<Wake>) -> bool;
}
