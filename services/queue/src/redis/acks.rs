//! Acknowledgements between processes: published to the channel of the process that has sent the report, many in one
//! message.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::{keys::Keys, link::Link, script::command};
use crate::{Acknowledge, wake::Settle};

/// Acknowledgements that may wait to be sent; further ones are lost, and their senders send again.
const CAPACITY: usize = 16_384;

/// First byte of a message: what it says about the numbers that follow.
pub(super) const COMMITTED: u8 = b'a';
pub(super) const AGAIN: u8 = b'n';

/// Reports of this process that are not acknowledged yet.
#[derive(Default)]
pub(super) struct Pending {
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, (Acknowledge, Instant)>>,
}

impl Pending {
    /// A number under which something will be sent.
    pub(super) fn reserve(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn add(&self, sequence: u64, acknowledge: Acknowledge) {
        self.waiting.lock().insert(sequence, (acknowledge, Instant::now()));
    }

    /// Drops it: its sender sends again.
    pub(super) fn remove(&self, sequence: u64) {
        let removed = self.waiting.lock().remove(&sequence);
        drop(removed);
    }

    fn settle(&self, sequence: u64, committed: bool) {
        let settled = self.waiting.lock().remove(&sequence);
        if let Some((acknowledge, _)) = settled
            && committed
        {
            acknowledge.done();
        }
    }

    /// Reads a message for this process. `false`: it is not one about reports.
    pub(super) fn told(&self, message: &[u8]) -> bool {
        let Some((kind @ (&COMMITTED | &AGAIN), numbers)) = message.split_first() else {
            return false;
        };
        for number in numbers.chunks_exact(8) {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(number);
            self.settle(u64::from_be_bytes(bytes), *kind == COMMITTED);
        }
        true
    }

    /// Gives up what was sent longer ago.
    pub(super) fn give_up(&self, older: Duration) {
        let mut late = Vec::new();
        {
            let mut waiting = self.waiting.lock();
            let numbers: Vec<u64> =
                waiting.iter().filter(|(_, (_, sent))| sent.elapsed() >= older).map(|(number, _)| *number).collect();
            late.extend(numbers.into_iter().filter_map(|number| waiting.remove(&number)));
        }
        // Outside of the lock: dropping wakes the sender.
        drop(late);
    }
}

#[derive(Debug)]
struct Ack {
    process: Arc<str>,
    sequence: u64,
    committed: bool,
}

/// Collects what is to be acknowledged.
#[derive(Clone, Debug)]
pub(super) struct Acks {
    sender: mpsc::Sender<Ack>,
}

/// One report's way back.
#[derive(Debug)]
struct Way {
    acks: Acks,
    process: Arc<str>,
    sequence: u64,
}

impl Settle for Way {
    fn settle(&self, committed: bool) {
        let ack = Ack { process: Arc::clone(&self.process), sequence: self.sequence, committed };
        // Full, or nobody sends any more: the sender's time runs out.
        let _ = self.acks.sender.try_send(ack);
    }
}

impl Acks {
    /// With the task that sends them; it ends when nobody can acknowledge any more.
    pub(super) fn start(link: Arc<Link>, keys: Keys, own: Arc<str>, pending: Arc<Pending>) -> Self {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        tokio::spawn(send(link, keys, own, pending, receiver));
        Self { sender }
    }

    /// For a report that this process has received.
    pub(super) fn acknowledge(&self, process: Arc<str>, sequence: u64) -> Acknowledge {
        Acknowledge::elsewhere(Box::new(Way { acks: self.clone(), process, sequence }))
    }
}

async fn send(link: Arc<Link>, keys: Keys, own: Arc<str>, pending: Arc<Pending>, mut acks: mpsc::Receiver<Ack>) {
    let mut batch = Vec::new();
    while acks.recv_many(&mut batch, 4_096).await > 0 {
        let mut messages: HashMap<(Arc<str>, bool), Vec<u8>> = HashMap::new();
        for ack in batch.drain(..) {
            if ack.process == own {
                pending.settle(ack.sequence, ack.committed);
                continue;
            }
            let kind = if ack.committed { COMMITTED } else { AGAIN };
            let message = messages.entry((ack.process, ack.committed)).or_insert_with(|| vec![kind]);
            message.extend(ack.sequence.to_be_bytes());
        }
        let published = messages.into_iter().map(|((process, _), message)| {
            let channel = keys.process_channel(&process);
            let link = &link;
            async move { link.query::<()>(&command("PUBLISH", &[channel.as_bytes(), &message])).await }
        });
        for result in futures::future::join_all(published).await {
            if let Err(error) = result {
                tracing::debug!(%error, "acknowledgements are lost; the reports come again");
            }
        }
    }
}
