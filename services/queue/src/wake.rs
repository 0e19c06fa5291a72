//! Wake-ups and reports for the owners of shards.

use std::fmt;

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
pub struct Acknowledge(Waiting);

/// Who waits for it.
#[derive(Debug)]
enum Waiting {
    Nobody,
    Here(oneshot::Sender<()>),
    /// A sender in another process.
    Elsewhere(Box<dyn Settle>),
}

/// Brings an acknowledgement to another process.
pub(crate) trait Settle: Send + fmt::Debug {
    /// `committed`, or to be sent again.
    fn settle(&self, committed: bool);
}

impl Acknowledge {
    /// With the end at which the sender waits.
    pub fn pair() -> (Self, oneshot::Receiver<()>) {
        let (sender, receiver) = oneshot::channel();
        (Self(Waiting::Here(sender)), receiver)
    }

    /// For what nobody waits for.
    pub fn nobody() -> Self {
        Self(Waiting::Nobody)
    }

    pub(crate) fn elsewhere(settle: Box<dyn Settle>) -> Self {
        Self(Waiting::Elsewhere(settle))
    }

    /// What the report said is committed, or needs no commit because it is out of date.
    pub fn done(mut self) {
        match std::mem::replace(&mut self.0, Waiting::Nobody) {
            Waiting::Nobody => {}
            // The sender may have gone meanwhile; then nobody needs to know.
            Waiting::Here(sender) => drop(sender.send(())),
            Waiting::Elsewhere(settle) => settle.settle(true),
        }
    }
}

impl Drop for Acknowledge {
    fn drop(&mut self) {
        if let Waiting::Elsewhere(settle) = &self.0 {
            settle.settle(false);
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
