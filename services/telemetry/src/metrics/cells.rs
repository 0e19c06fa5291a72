//! What a series consists of: numbers that are changed without a lock.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// A number with a fraction that several threads add to.
#[derive(Debug, Default)]
pub(super) struct AtomicF64(AtomicU64);

impl AtomicF64 {
    pub(super) fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }

    pub(super) fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }

    pub(super) fn update(&self, change: impl Fn(f64) -> f64) {
        let change = |bits| Some(change(f64::from_bits(bits)).to_bits());
        // The closure never refuses, so this never fails.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change);
    }
}

/// Something that is counted; never falls.
#[derive(Debug, Clone, Default)]
pub struct Counter(pub(super) Arc<AtomicF64>);

impl Counter {
    pub fn increment(&self) {
        self.add(1.0);
    }

    /// Adds; what is negative or no number is left out.
    pub fn add(&self, value: f64) {
        if value > 0.0 && value.is_finite() {
            self.0.update(|sum| sum + value);
        }
    }

    pub fn value(&self) -> f64 {
        self.0.get()
    }
}

/// A number that rises and falls.
#[derive(Debug, Clone, Default)]
pub struct Gauge(pub(super) Arc<AtomicF64>);

impl Gauge {
    pub fn set(&self, value: f64) {
        self.0.set(value);
    }

    pub fn add(&self, value: f64) {
        self.0.update(|sum| sum + value);
    }

    pub fn value(&self) -> f64 {
        self.0.get()
    }
}

/// How often something happened and how long it took: count, total and a maximum of the last minute
/// (operations reference 1.6 point 5).
#[derive(Debug, Clone)]
pub struct Timer(pub(super) Arc<TimerCell>);

impl Timer {
    pub fn record(&self, took: Duration) {
        self.record_value(took.as_secs_f64());
    }

    /// For what is not a time: the same figures over any quantity.
    pub fn record_value(&self, value: f64) {
        self.0.record(value, Instant::now());
    }

    pub fn count(&self) -> u64 {
        self.0.count.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
pub(super) struct TimerCell {
    count: AtomicU64,
    sum: AtomicF64,
    max: WindowMax,
}

/// A maximum that is forgotten: three slots that are used in turn.
#[derive(Debug)]
struct WindowMax {
    start: Instant,
    slot: Duration,
    slots: [Slot; 3],
}

#[derive(Debug, Default)]
struct Slot {
    turn: AtomicU64,
    max: AtomicF64,
}

/// Count, total and maximum as of one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct TimerFigures {
    pub(super) count: u64,
    pub(super) sum: f64,
    pub(super) max: f64,
}

impl TimerCell {
    /// `window`: how long a maximum is remembered.
    pub(super) fn new(window: Duration) -> Self {
        let slot = (window / 3).max(Duration::from_millis(1));
        let max = WindowMax { start: Instant::now(), slot, slots: Default::default() };
        Self { count: AtomicU64::new(0), sum: AtomicF64::default(), max }
    }

    pub(super) fn record(&self, value: f64, now: Instant) {
        if !value.is_finite() || value < 0.0 {
            return;
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        self.sum.update(|sum| sum + value);
        self.max.record(value, now);
    }

    pub(super) fn figures(&self, now: Instant) -> TimerFigures {
        TimerFigures { count: self.count.load(Ordering::Relaxed), sum: self.sum.get(), max: self.max.get(now) }
    }
}

impl WindowMax {
    /// Number of the slot's turn, from 1: 0 is a slot that was never used.
    fn turn(&self, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.start).as_nanos() / self.slot.as_nanos().max(1);
        u64::try_from(passed).unwrap_or(u64::MAX - 1) + 1
    }

    fn record(&self, value: f64, now: Instant) {
        let turn = self.turn(now);
        let slot = &self.slots[(turn % 3) as usize];
        // Of several threads that come first in a new turn one empties the slot; a value that another writes in
        // between may be lost, which a figure of this kind can bear.
        if slot.turn.swap(turn, Ordering::Relaxed) != turn {
            slot.max.set(0.0);
        }
        slot.max.update(|max| max.max(value));
    }

    fn get(&self, now: Instant) -> f64 {
        let turn = self.turn(now);
        let fresh = |slot: &&Slot| {
            let used = slot.turn.load(Ordering::Relaxed);
            used > 0 && used + 2 >= turn
        };
        self.slots.iter().filter(fresh).map(|slot| slot.max.get()).fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_maximum_of_a_timer_is_forgotten_after_its_window_and_the_total_is_not() {
        let cell = TimerCell::new(Duration::from_secs(60));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        cell.record(9.0, at(1));
        cell.record(2.0, at(30));
        assert_eq!(cell.figures(at(45)), TimerFigures { count: 2, sum: 11.0, max: 9.0 });
        assert_eq!(cell.figures(at(75)).max, 2.0);
        assert_eq!(cell.figures(at(500)), TimerFigures { count: 2, sum: 11.0, max: 0.0 });
        cell.record(1.0, at(501));
        assert_eq!(cell.figures(at(502)).max, 1.0);
    }

    #[test]
    fn what_is_no_quantity_is_left_out() {
        let (counter, cell) = (Counter::default(), TimerCell::new(Duration::from_secs(60)));
        for value in [-1.0, f64::NAN, f64::INFINITY] {
            counter.add(value);
            cell.record(value, Instant::now());
        }
        assert_eq!((counter.value(), cell.figures(Instant::now()).count), (0.0, 0));
    }
}
