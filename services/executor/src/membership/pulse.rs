//! The heartbeat of this process, and what it tells about the clocks of others.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use windhover_store::{ClaimError, HEARTBEAT, Store};
use windhover_types::Id;

/// For so long this process must have been heard of without a gap before it takes others for dead: after a restart of
/// the database everybody looks dead for a moment.
const STEADY: Duration = Duration::from_secs(3);
/// A longer silence between two heartbeats is a gap.
const GAP: Duration = Duration::from_millis(2_500);

/// Since when this process has been heard of, and when last.
#[derive(Default)]
pub(super) struct Pulse(Mutex<Option<(Instant, Instant)>>);

impl Pulse {
    /// Beats until the instance is gone; answers the reason.
    pub(super) async fn beat(&self, store: &Store, instance: Id) -> String {
        let mut tick = tokio::time::interval(HEARTBEAT);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            match store.heartbeat(instance).await {
                Ok(_) => self.heard(Instant::now()),
                Err(ClaimError::Gone) => return "it was taken for dead and another server has its shards".to_owned(),
                Err(ClaimError::Store(error)) => {
                    tracing::warn!(%error, "the heartbeat does not reach the database");
                }
            }
        }
    }

    fn heard(&self, now: Instant) {
        let mut heard = self.0.lock();
        let since = match *heard {
            Some((since, last)) if now.saturating_duration_since(last) < GAP => since,
            _ => now,
        };
        *heard = Some((since, now));
    }

    /// Heard of without a gap for long enough, and just now.
    pub(super) fn is_steady(&self) -> bool {
        self.is_steady_at(Instant::now())
    }

    fn is_steady_at(&self, now: Instant) -> bool {
        self.0.lock().is_some_and(|(since, last)| {
            last.saturating_duration_since(since) >= STEADY && now.saturating_duration_since(last) < GAP
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_begins_the_wait_anew_and_a_silent_pulse_is_not_steady() {
        let (pulse, start) = (Pulse::default(), Instant::now());
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        (0..=2).for_each(|second| pulse.heard(at(second)));
        assert!(!pulse.is_steady_at(at(2)));
        pulse.heard(at(3));
        assert!(pulse.is_steady_at(at(4)) && !pulse.is_steady_at(at(6)));
        pulse.heard(at(9));
        assert!(!pulse.is_steady_at(at(9)), "it was away for six seconds");
    }
}
