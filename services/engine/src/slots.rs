//! Slots of a flow that limits how many of its executions are under way (flow model 1.x reference 4.10): a value that whoever owns
//! the flow's slots keeps, and changes by what executions ask for.
//!
//! Always true: an execution is in it at most once; asking twice and giving back twice change nothing.

use std::collections::{BTreeMap, BTreeSet};

use windhover_flow::ConcurrencyBehavior;
use windhover_types::{Id, Timestamp};

use crate::SlotAnswer;

/// Who holds a slot of one flow, and who waits for one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Slots {
    holders: BTreeSet<Id>,
    /// With the time since when.
    waiting: BTreeMap<Id, Timestamp>,
    /// The same, those that wait longest first.
    queue: BTreeSet<(Timestamp, Id)>,
}

impl Slots {
    /// As they are stored: who holds one, and who waits since when.
    ///
    /// What a change means for what is stored follows from its answer: [`SlotAnswer::Granted`] makes a holder and
    /// [`SlotAnswer::Queued`] one that waits; [`Slots::give_back`] takes the execution away, and those that it grants are holders then.
    pub fn of(holders: impl IntoIterator<Item = Id>, waiting: impl IntoIterator<Item = (Id, Timestamp)>) -> Self {
        let waiting: BTreeMap<Id, Timestamp> = waiting.into_iter().collect();
        let queue = waiting.iter().map(|(id, at)| (*at, *id)).collect();
        Self { holders: holders.into_iter().collect(), waiting, queue }
    }

    /// An execution asks for a slot ([`crate::Effect::TakeSlot`]); `limit` and `behavior` are those of its revision. `None`: it has been
    /// answered before.
    pub fn take(
        &mut self,
        execution: Id,
        at: Timestamp,
        limit: u32,
        behavior: ConcurrencyBehavior,
    ) -> Option<SlotAnswer> {
        if self.holders.contains(&execution) || self.waiting.contains_key(&execution) {
            return None;
        }
        if self.holders.len() < limit as usize {
            self.holders.insert(execution);
            return Some(SlotAnswer::Granted);
        }
        match behavior {
            ConcurrencyBehavior::Queue => {
                self.waiting.insert(execution, at);
                self.queue.insert((at, execution));
                Some(SlotAnswer::Queued)
            }
            ConcurrencyBehavior::Cancel | ConcurrencyBehavior::Fail => Some(SlotAnswer::Refused),
        }
    }

    /// An execution needs its slot, or its place in the queue, no longer ([`crate::Effect::GiveSlotBack`]). Answers who is granted one now:
    /// the one that waits longest, if a slot was freed and `limit` (of the newest revision; `None`: it has none any more) allows it.
    pub fn give_back(&mut self, execution: Id, limit: Option<u32>) -> Vec<Id> {
        if let Some(at) = self.waiting.remove(&execution) {
            self.queue.remove(&(at, execution));
        }
        if !self.holders.remove(&execution) {
            return Vec::new();
        }
        let mut granted = Vec::new();
        while let Some((at, next)) = self.queue.first().copied() {
            let room = limit.is_none_or(|limit| self.holders.len() < limit as usize);
            // One for the one that ended; everybody when there is no limit any more.
            if !room || (limit.is_some() && !granted.is_empty()) {
                break;
            }
            self.waiting.remove(&next);
            self.queue.remove(&(at, next));
            self.holders.insert(next);
            granted.push(next);
        }
        granted
    }

    /// Nobody holds one and nobody waits: it need not be kept.
    pub fn is_empty(&self) -> bool {
        self.holders.is_empty() && self.waiting.is_empty()
    }

    pub fn held(&self) -> usize {
        self.holders.len()
    }

    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> Id {
        Id::from_bytes([n; 16])
    }

    fn take(slots: &mut Slots, n: u8, limit: u32, behavior: ConcurrencyBehavior) -> Option<SlotAnswer> {
        // Those with higher numbers have waited longer.
        slots.take(id(n), Timestamp::from_millis(100 - i64::from(n)), limit, behavior)
    }

    #[test]
    fn the_one_that_waits_longest_gets_the_slot_that_is_given_back() {
        use ConcurrencyBehavior::{Cancel, Fail, Queue};
        let mut slots = Slots::default();
        assert_eq!(take(&mut slots, 1, 1, Queue), Some(SlotAnswer::Granted));
        assert_eq!(take(&mut slots, 1, 1, Queue), None, "asked twice");
        assert_eq!(take(&mut slots, 2, 1, Queue), Some(SlotAnswer::Queued));
        assert_eq!(take(&mut slots, 3, 1, Queue), Some(SlotAnswer::Queued));
        assert_eq!(take(&mut slots, 4, 1, Cancel), Some(SlotAnswer::Refused));
        assert_eq!(take(&mut slots, 5, 1, Fail), Some(SlotAnswer::Refused));
        // Case 147: one for one, whatever the limit has become.
        assert_eq!(slots.give_back(id(1), Some(3)), [id(3)]);
        assert!(slots.give_back(id(1), Some(3)).is_empty(), "given back twice");
        assert_eq!((slots.held(), slots.waiting()), (1, 1));
        assert!(slots.give_back(id(2), Some(1)).is_empty(), "one that waits frees nothing");
        assert!(slots.give_back(id(3), Some(1)).is_empty());
        assert!(slots.is_empty());
    }

    #[test]
    fn what_is_stored_is_what_was_there() {
        let waiting = [(id(2), Timestamp::from_millis(2)), (id(3), Timestamp::from_millis(1))];
        let mut slots = Slots::of([id(1)], waiting);
        assert_eq!((slots.held(), slots.waiting()), (1, 2));
        assert_eq!(slots.give_back(id(1), Some(1)), [id(3)]);
    }

    #[test]
    fn a_lower_limit_lets_nobody_in_and_none_lets_everybody_in() {
        let mut slots = Slots::default();
        for n in 1..=5 {
            take(&mut slots, n, 2, ConcurrencyBehavior::Queue);
        }
        assert!(slots.give_back(id(1), Some(1)).is_empty());
        assert_eq!(slots.give_back(id(2), None), [id(5), id(4), id(3)]);
    }
}
