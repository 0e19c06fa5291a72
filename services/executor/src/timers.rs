//! Timers of this process's shards: those that are due soon in memory, all of them in the store.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashSet},
    time::Duration,
};

use tokio::sync::mpsc;
use windhover_engine::Timer;
use windhover_store::{Store, TimerRow};
use windhover_types::{Id, Timestamp};

use crate::{clock, message::Input};

/// Timers further away than this are left to the store; a sweep brings them in time.
const HORIZON: Duration = Duration::from_secs(600);
/// How often the store is asked; also finds what a lost message would have told.
const SWEEP: Duration = Duration::from_secs(60);
const PAGE: u64 = 10_000;
/// After an error of the store.
const RETRY: Duration = Duration::from_secs(1);

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
    known: HashSet<(Id, Timer)>,
}

impl Clock {
    fn add(&mut self, timers: Vec<TimerRow>, until: Timestamp) {
        for row in timers.into_iter().filter(|row| row.at <= until) {
            if self.known.insert((row.execution, row.timer.clone())) {
                self.heap.push(Reverse(Due(row.at, row)));
            }
        }
    }

    fn take_due(&mut self, now: Timestamp) -> Vec<TimerRow> {
        let mut due = Vec::new();
        while self.heap.peek().is_some_and(|Reverse(first)| first.0 <= now) {
            if let Some(Reverse(Due(_, row))) = self.heap.pop() {
                self.known.remove(&(row.execution, row.timer.clone()));
                due.push(row);
            }
        }
        due
    }

    fn next(&self) -> Option<Timestamp> {
        self.heap.peek().map(|Reverse(first)| first.0)
    }
}

/// Fires timers until nobody listens any more.
pub(crate) async fn run(
    store: Store,
    shards: Vec<u16>,
    mut set: mpsc::UnboundedReceiver<Vec<TimerRow>>,
    inputs: mpsc::UnboundedSender<Input>,
) {
    let mut clock = Clock::default();
    let mut sweep = tokio::time::interval(SWEEP);
    sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let pause = clock.next().map_or(SWEEP, |next| next.since(clock::now()));
        tokio::select! {
            timers = set.recv() => match timers {
                Some(timers) => clock.add(timers, clock::now().plus(HORIZON)),
                None => return,
            },
            () = tokio::time::sleep(pause) => {}
            _ = sweep.tick() => {
                let until = clock::now().plus(HORIZON);
                let mut limit = PAGE;
                loop {
                    match store.due_timers(&shards, until, limit).await {
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
