//! [`Wakeups`] in memory: a bounded channel of batches.

use async_trait::async_trait;
use tokio::sync::mpsc;

use crate::{QueueError, Wake, Wakeups};

/// The sending end; cloned freely.
#[derive(Debug, Clone)]
pub struct InProcessWakeups {
    sender: mpsc::Sender<Vec<Wake>>,
}

/// The owner's end. Whatever arrived while its last commit was in flight is the next batch.
#[derive(Debug)]
pub struct WakeReceiver {
    receiver: mpsc::Receiver<Vec<Wake>>,
}

/// A channel that holds at most `capacity` batches.
pub fn in_process_wakeups(capacity: usize) -> (InProcessWakeups, WakeReceiver) {
    let (sender, receiver) = mpsc::channel(capacity.max(1));
    (InProcessWakeups { sender }, WakeReceiver { receiver })
}

#[async_trait]
impl Wakeups for InProcessWakeups {
    async fn send(&self, wakes: Vec<Wake>) -> Result<(), QueueError> {
        self.sender.send(wakes).await.map_err(|_| QueueError::Closed)
    }

    fn try_send(&self, wakes: Vec<Wake>) -> bool {
        self.sender.try_send(wakes).is_ok()
    }
}

impl WakeReceiver {
    /// Waits for something and takes all that is there, in order. `None`: nobody can send any more.
    pub async fn receive(&mut self) -> Option<Vec<Wake>> {
        let mut wakes = self.receiver.recv().await?;
        while let Ok(more) = self.receiver.try_recv() {
            wakes.extend(more);
        }
        Some(wakes)
    }

    /// Takes what is there without waiting.
    pub fn take(&mut self) -> Vec<Wake> {
        let mut wakes = Vec::new();
        while let Ok(more) = self.receiver.try_recv() {
            wakes.extend(more);
        }
        wakes
    }

    /// Refuses what is sent from now on; what is there can still be received.
    pub fn close(&mut self) {
        self.receiver.close();
    }
}

#[cfg(test)]
mod tests {
    use windhover_types::{Id, Tenant};

    use super::*;

    fn look(shard: u16) -> Wake {
        Wake::Look { shard, tenant: Tenant::main(), execution: Id::default() }
    }

    #[tokio::test]
    async fn batches_that_arrive_meanwhile_are_one() {
        let (sender, mut receiver) = in_process_wakeups(8);
        sender.send(vec![look(1), look(2)]).await.expect("open");
        sender.send(vec![look(3)]).await.expect("open");
        let shards: Vec<u16> = receiver
            .receive()
            .await
            .expect("something is there")
            .into_iter()
            .map(|wake| match wake {
                Wake::Look { shard, .. } => shard,
                Wake::Report { report, .. } => report.shard,
            })
            .collect();
        assert_eq!(shards, [1, 2, 3]);
    }

    #[tokio::test]
    async fn a_hint_that_finds_no_room_is_dropped_and_told() {
        let (sender, mut receiver) = in_process_wakeups(1);
        assert!(sender.try_send(vec![look(1)]));
        assert!(!sender.try_send(vec![look(2)]));
        assert_eq!(receiver.take().len(), 1);
        receiver.close();
        assert!(matches!(sender.send(vec![look(3)]).await, Err(QueueError::Closed)));
    }
}
