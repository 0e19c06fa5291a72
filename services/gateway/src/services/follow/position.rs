//! Where a follower stands, exact to the message: what its cursors say.

/// What a follower has been sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    /// All changes of task runs up to this number of the shard's feed were sent; -1: none were.
    pub(super) feed: i64,
    /// Changes after `feed` that are being sent.
    pub(super) round: Option<Round>,
    /// The next log line.
    pub(super) log: i64,
    /// Version of the execution; 0: none was sent.
    pub(super) version: i64,
}

/// Task runs that changed up to a number of the feed, on their way in order of creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Round {
    /// Number of the feed.
    pub(super) until: i64,
    /// Those before this one were sent.
    pub(super) next: u32,
}

/// In a cursor, instead of the end of a round: there is none under way.
const NO_ROUND: i64 = -1;

impl Position {
    pub(super) const BEGINNING: Self = Self { feed: -1, round: None, log: 0, version: 0 };

    pub(super) fn write(self) -> Vec<u8> {
        let (until, next) = self.round.map_or((NO_ROUND, 0), |round| (round.until, i64::from(round.next)));
        [self.feed, self.log, self.version, until, next].into_iter().flat_map(i64::to_be_bytes).collect()
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (numbers, []) = bytes.as_chunks::<8>() else { return None };
        let numbers: Vec<i64> = numbers.iter().map(|number| i64::from_be_bytes(*number)).collect();
        let (feed, log, version, round) = match numbers[..] {
            // As gateways wrote it before rounds were a part of it.
            [feed, log, version] | [feed, log, version, NO_ROUND, _] => (feed, log, version, None),
            [feed, log, version, until, next] => {
                (feed, log, version, Some(Round { until, next: u32::try_from(next).ok()? }))
            }
            _ => return None,
        };
        Some(Self { feed, round, log, version })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_survive_a_cursor() {
        let between = Position { feed: 7, round: None, log: i64::MAX, version: 3 };
        let within = Position { round: Some(Round { until: 9, next: u32::MAX }), ..between };
        for position in [Position::BEGINNING, between, within] {
            assert_eq!(Position::read(&position.write()), Some(position));
        }
        assert_eq!(Position::read(&between.write()[..24]), Some(between));
        for length in [0, 8, 23, 32, 39, 48] {
            assert_eq!(Position::read(&vec![0; length]), None, "{length}");
        }
    }
}
