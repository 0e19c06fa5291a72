//! Removes what has served its time, in small steps beside the work.

use std::time::Duration;

use windhover_executor::{OwnedShards, now};
use windhover_store::Store;
use windhover_types::{Error, Timestamp};

const INTERVAL: Duration = Duration::from_secs(60);
/// How long the feed is kept for readers that were away.
const FEED_KEPT: Duration = Duration::from_secs(24 * 3_600);
/// Rows that one statement removes: a batch of the executor must not wait for more.
const STEP: u64 = 1_000;

/// Runs until it is aborted, for the shards of this process; what belongs to no shard is the owner's of shard 0.
pub(super) async fn run(store: Store, owned: OwnedShards) {
    let mut tick = tokio::time::interval(INTERVAL);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if let Err(error) = remove_old(&store, &owned).await {
            tracing::warn!(%error, "old request ids and feed rows stay for now");
        }
    }
}

async fn remove_old(store: &Store, owned: &OwnedShards) -> Result<(), Error> {
    let now = now();
    if owned.owns(0) {
        while store.purge_request_ids(now, STEP).await? == STEP {}
    }
    let before = Timestamp::from_micros(now.as_micros() - FEED_KEPT.as_micros() as i64);
    for shard in owned.list().iter() {
        while store.purge_feed(*shard, before, STEP).await? == STEP {}
    }
    Ok(())
}
