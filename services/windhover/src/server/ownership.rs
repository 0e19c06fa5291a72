//! What makes this process the owner of its shards: an instance with an epoch, and a heartbeat that keeps it.

use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::sync::watch;
use windhover_executor::new_id;
use windhover_store::{Claim, ClaimError, Fence, HEARTBEAT, OWNERSHIP_EXPIRY, RegisterError, Registration, Store};
use windhover_types::Id;

/// A server that has just died still looks alive for a while; the next one waits for that long.
const PATIENCE: Duration = OWNERSHIP_EXPIRY.saturating_add(Duration::from_secs(2));
const RETRY: Duration = Duration::from_millis(200);

pub(super) struct Ownership {
    store: Store,
    instance: Id,
    claim: Claim,
    shard_count: u16,
    lost: watch::Receiver<Option<String>>,
    heartbeat: tokio::task::JoinHandle<()>,
}

impl Ownership {
    /// Registers the process and takes every shard. Refused with a plain sentence while another server is alive.
    pub(super) async fn take(store: &Store, shard_count: u16) -> Result<Self> {
        let registration = Registration { id: new_id(), host: host(), exclusive: true };
        let started = Instant::now();
        let mut told = false;
        loop {
            match store.register_instance(&registration).await {
                Ok(_) => break,
                Err(RegisterError::AnotherInstance { host, .. }) if started.elapsed() < PATIENCE => {
                    if !told {
                        tracing::info!(%host, "another server is registered on this database; waiting whether it is gone");
                        told = true;
                    }
                    tokio::time::sleep(RETRY).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
        let claim = store.claim_shards(registration.id, None).await?;
        let (lose, lost) = watch::channel(None);
        let heartbeat = tokio::spawn(beat(store.clone(), registration.id, claim.fence.epoch, lose));
        Ok(Self { store: store.clone(), instance: registration.id, claim, shard_count, lost, heartbeat })
    }

    pub(super) fn fence(&self) -> Fence {
        self.claim.fence
    }

    pub(super) fn shards(&self) -> Vec<u16> {
        self.claim.shards.iter().map(|(shard, _)| *shard).collect()
    }

    pub(super) fn shard_count(&self) -> u16 {
        self.shard_count
    }

    /// Waits until the shards are somebody else's; answers a sentence for people.
    pub(super) async fn lost(&self) -> String {
        let mut lost = self.lost.clone();
        match lost.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => "the heartbeat of this server has ended".to_owned(),
        }
    }

    /// Lets the next server start at once.
    pub(super) async fn give_back(self) {
        self.heartbeat.abort();
        if let Err(error) = self.store.unregister(self.instance).await {
            tracing::warn!(%error, "this server stays registered until its heartbeat has expired");
        }
    }
}

async fn beat(store: Store, instance: Id, epoch: i64, lose: watch::Sender<Option<String>>) {
    let mut tick = tokio::time::interval(HEARTBEAT);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let reason = match store.heartbeat(instance).await {
            Ok(now) if now == epoch => continue,
            Ok(_) => "its shards were taken over by another server",
            Err(ClaimError::Gone) => "it was taken for dead and another server has its shards",
            Err(ClaimError::Store(error)) => {
                tracing::warn!(%error, "the heartbeat does not reach the database");
                continue;
            }
        };
        let _ = lose.send(Some(format!("this server stops: {reason}")));
        return;
    }
}

/// Machine and process, for people.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_else(|_| "unknown".to_owned());
    format!("{}/{}", name.trim(), std::process::id())
}
