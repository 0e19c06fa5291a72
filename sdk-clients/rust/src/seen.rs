//! Which log lines a follower has seen.

use std::collections::BTreeSet;

/// Positions of log lines that were handed on. Bounded: of very many, only the last are remembered, and whatever lies
/// before those counts as seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    positions: BTreeSet<u64>,
    /// Everything below has been seen.
    floor: u64,
}

impl Seen {
    const REMEMBERED: usize = 65_536;

    /// Tells whether this line is new, and remembers it.
    pub(crate) fn first_time(&mut self, position: u64) -> bool {
        if position < self.floor || !self.positions.insert(position) {
            return false;
        }
        if self.positions.len() > Self::REMEMBERED
            && let Some(oldest) = self.positions.pop_first()
        {
            self.floor = oldest + 1;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_counts_once_however_often_and_in_whatever_order_it_comes() {
        let mut seen = Seen::default();
        assert!(seen.first_time(7) && seen.first_time(3) && seen.first_time(0));
        assert!(!seen.first_time(7) && !seen.first_time(3) && !seen.first_time(0));
    }

    #[test]
    fn memory_is_bounded_and_old_lines_stay_seen() {
        let mut seen = Seen::default();
        for position in 0..200_000 {
            assert!(seen.first_time(position));
        }
        assert!(seen.positions.len() <= Seen::REMEMBERED);
        assert!(!seen.first_time(0) && !seen.first_time(199_999) && seen.first_time(200_000));
    }
}
