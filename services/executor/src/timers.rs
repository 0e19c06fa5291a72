//! Timers of this process's shards: those that are due soon in memory, all of them in the store.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    time::Duration,
};

use tokio::sync::mpsc;
use windhover_engine::Timer;
use windhover_store::{Store, TimerRow};
use windhover_types::{Id, Timestamp};

use crate::{clock, message::Input, owned::OwnedShards};

/// Timers further away than this are left to the store; a sweep brings them in time.
const HORIZON: Duration = Duration::from_secs(600);
/// How often the store is asked; also finds what a lost message would have told.
const SWEEP: Duration = Duration::from_secs(60);
const PAGE: u64 = 10_000;
/// After an error of the store.
const RETRY: Duration = Duration::from_secs(1);
/// How long it sleeps at most: the clock of the process may be set while it sleeps.
const NAP: Duration = Duration::from_secs(1);

/// Brings new timers to the clock.
#[derive(Clone)]
pub(crate) struct TimerSender(mpsc::UnboundedSender<Vec<TimerRow>>);

impl TimerSender {
    pub(crate) fn pair() -> (Self, mpsc::UnboundedReceiver<Vec<TimerRow>>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), receiver)
    }

    pub(crate) fn set(&self, timers: Vec<TimerRow>) {
        if !timers.is_empty() {
            let _ = self.0.send(timers);
        }
    }
}

/// Order in the heap: by time, then by execution.
struct Due(Timestamp, TimerRow);

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Due {}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1.execution).cmp(&(other.0, other.1.execution))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

#[derive(Default)]
struct Clock {
    heap: BinaryHeap<Reverse<Due>>,
    /// When each is due; one that was set again stands in the heap twice, and counts once.
    known: HashMap<(Id, Timer), Timestamp>,
}

impl Clock {
    fn add(&mut self, timers: Vec<TimerRow>, until: Timestamp) {
        for row in timers {
            let key = (row.execution, row.timer.clone());
            if row.at > until {
                // Set again, to a date that a later sweep brings.
                self.known.remove(&key);
            } else if self.known.insert(key, row.at) != Some(row.at) {
                self.heap.push(Reverse(Due(row.at, row)));
            }
        }
    }

    fn take_due(&mut self, now: Timestamp) -> Vec<TimerRow> {
        let mut due = Vec::new();
        while self.heap.peek().is_some_and(|Reverse(first)| first.0 <= now) {
            if let Some(Reverse(Due(at, row))) = self.heap.pop() {
                let key = (row.execution, row.timer.clone());
                if self.known.get(&key) == Some(&at) {
                    self.known.remove(&key);
                    due.push(row);
                }
            }
        }
        due
    }

    /// Forgets those of other shards.
    fn retain(&mut self, owned: impl Fn(u16) -> bool) {
        let known = &mut self.known;
        self.heap.retain(|Reverse(Due(_, row))| {
            let stays = owned(row.shard);
            if !stays {
                known.remove(&(row.execution, row.timer.clone()));
            }
            stays
        });
    }

    fn next(&self) -> Option<Timestamp> {
        self.heap.peek().map(|Reverse(first)| first.0)
    }
}

/// Fires timers until nobody listens any more.
pub(crate) async fn run(
    store: Store,
    owned: OwnedShards,
    mut set: mpsc::UnboundedReceiver<Vec<TimerRow>>,
    inputs: mpsc::UnboundedSender<Input>,
) {
    let mut clock = Clock::default();
    let mut changes = owned.changes();
    let mut sweep = tokio::time::interval(SWEEP);
    sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let pause = clock.next().map_or(NAP, |next| next.since(clock::now()).min(NAP));
        tokio::select! {
            timers = set.recv() => match timers {
                Some(timers) => clock.add(timers, clock::now().plus(HORIZON)),
                None => return,
            },
            () = tokio::time::sleep(pause) => {}
            Ok(()) = changes.changed() => {
                clock.retain(|shard| owned.owns(shard));
                // What those that came have left.
                sweep.reset_immediately();
            }
            _ = sweep.tick() => {
                let until = clock::now().plus(HORIZON);
                let mut limit = PAGE;
                loop {
                    match store.due_timers(&owned.list(), until, limit).await {
                        Ok(timers) => {
                            let more = timers.len() as u64 >= limit;
                            clock.add(timers, until);
                            if !more {
                                break;
                            }
                            // They are read from the earliest on each time.
                            limit = limit.saturating_mul(2);
                        }
                        Err(error) => {
                            tracing::warn!(%error, "timers cannot be read; trying again");
                            sweep.reset_after(RETRY);
                            break;
                        }
                    }
                }
            }
        }
        let due = clock.take_due(clock::now());
        if !due.is_empty() && inputs.send(Input::Timers(due)).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use windhover_types::Tenant;

    use super::*;

    fn row(shard: u16, at: i64) -> TimerRow {
        let execution = Id::new(Timestamp::from_millis(1), [shard as u8; 10]);
        let at = Timestamp::from_millis(at);
        TimerRow { shard, tenant: Tenant::main(), execution, timer: Timer::Schedule, at }
    }

    #[test]
    fn a_timer_that_was_set_again_or_swept_twice_fires_once_and_at_its_last_date() {
        let (mut clock, until) = (Clock::default(), Timestamp::from_millis(100));
        clock.add(vec![row(1, 10), row(1, 10)], until);
        clock.add(vec![row(1, 20)], until);
        assert!(clock.take_due(Timestamp::from_millis(15)).is_empty());
        // The clock jumps ahead and back again.
        assert_eq!(clock.take_due(Timestamp::from_millis(90)), [row(1, 20)]);
        assert!(clock.take_due(Timestamp::from_millis(20)).is_empty() && clock.known.is_empty());
    }

    #[test]
    fn timers_of_shards_that_left_and_those_set_beyond_the_horizon_do_not_fire() {
        let (mut clock, until) = (Clock::default(), Timestamp::from_millis(100));
        clock.add(vec![row(1, 10), row(2, 10), row(3, 10)], until);
        clock.add(vec![row(3, 1_000)], until);
        clock.retain(|shard| shard != 1);
        assert_eq!(clock.take_due(until), [row(2, 10)]);
    }
}
