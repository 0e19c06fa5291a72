//! When a failed attempt is tried again (flow model reference 4.7, 1.x reference 4.6).

use std::time::Duration;

use windhover_expression::SeededRandom;
use windhover_flow::{Retry, RetryDelay};
use windhover_types::{Id, State, Timestamp};

use crate::{Attempt, Execution};

/// The date of the next attempt, or `None` when there is to be none.
///
/// Attempts of lost workers do not count. The delay counts from the end of the last attempt; the exponential one grows
/// as its name says (the reference's linear growth is an accident that it names). What is random depends on the task
/// run and the number of the attempt alone, so that the date can be computed again.
pub(crate) fn next_attempt(retry: &Retry, attempts: &[Attempt], task_run: Id) -> Option<Timestamp> {
    let counted = || attempts.iter().filter(|attempt| attempt.state.current() != State::Resubmitted);
    let done = u32::try_from(counted().count()).unwrap_or(u32::MAX);
    let (first, last) = (counted().next()?, counted().next_back()?);
    if retry.max_attempts.is_some_and(|max| done >= max) {
        return None;
    }
    let due = last.state.last().at.plus(delay(&retry.delay, done, task_run));
    let too_late = retry.max_duration.is_some_and(|max| due > first.state.started().plus(max));
    (!too_late).then_some(due)
}

/// The date of the execution that tries a failed one again, or `None` when there is to be none. Attempts are executions here, and the
/// longest duration counts from the creation of the first.
pub(crate) fn next_execution(retry: &Retry, execution: &Execution, failed_at: Timestamp) -> Option<Timestamp> {
    let done = execution.marks.earlier_attempts.saturating_add(1);
    if retry.max_attempts.is_some_and(|max| done >= max) {
        return None;
    }
    let first = execution.marks.original_created.unwrap_or_else(|| execution.state.started());
    let due = failed_at.plus(delay(&retry.delay, done, execution.id));
    let too_late = retry.max_duration.is_some_and(|max| due > first.plus(max));
    (!too_late).then_some(due)
}

/// The pause after `done` attempts, at least one.
fn delay(delay: &RetryDelay, done: u32, task_run: Id) -> Duration {
    match delay {
        RetryDelay::Constant { interval } => *interval,
        RetryDelay::Exponential { interval, max_interval, factor } => {
            let grown = interval.as_secs_f64() * factor.powi(i32::try_from(done.saturating_sub(1)).unwrap_or(i32::MAX));
            Duration::try_from_secs_f64(grown).unwrap_or(*max_interval).min(*max_interval)
        }
        RetryDelay::Random { min, max } => {
            let mut seed = [0; 8];
            seed.copy_from_slice(&task_run.as_bytes()[8..]);
            let drawn = SeededRandom::new(u64::from_be_bytes(seed) ^ u64::from(done)).next();
            let share = drawn as f64 / (u64::MAX as f64 + 1.0);
            *min + max.saturating_sub(*min).mul_f64(share.clamp(0.0, 1.0))
        }
    }
}

#[cfg(test)]
mod tests {
    use windhover_types::StateHistory;

    use super::*;

    fn attempts(ends: &[(State, i64)]) -> Vec<Attempt> {
        let attempt = |&(state, at): &(State, i64)| {
            let mut history = StateHistory::new(State::Created, Timestamp::from_millis(at - 100));
            history.set(state, Timestamp::from_millis(at));
            Attempt { state: history, dispatch: 0, worker: None, error: None }
        };
        ends.iter().map(attempt).collect()
    }

    fn retry(delay: RetryDelay) -> Retry {
        Retry { delay, max_attempts: None, max_duration: None, warning_on_retry: false, behavior: Default::default() }
    }

    fn constant(millis: u64) -> Retry {
        retry(RetryDelay::Constant { interval: Duration::from_millis(millis) })
    }

    #[test]
    fn the_number_of_attempts_includes_the_first_and_leaves_out_those_of_lost_workers() {
        let policy = Retry { max_attempts: Some(2), ..constant(500) };
        let due = |ends: &[(State, i64)]| next_attempt(&policy, &attempts(ends), Id::default());
        assert_eq!(due(&[(State::Failed, 1_000)]), Some(Timestamp::from_millis(1_500)));
        assert_eq!(due(&[(State::Failed, 1_000), (State::Failed, 2_000)]), None);
        assert_eq!(due(&[(State::Resubmitted, 1_000), (State::Failed, 2_000)]), Some(Timestamp::from_millis(2_500)));
    }

    #[test]
    fn no_attempt_is_planned_after_the_longest_duration() {
        // Case 101: 10 s are within 15 s, 20 s are not.
        let policy = Retry { max_duration: Some(Duration::from_secs(15)), ..constant(10_000) };
        assert!(next_attempt(&policy, &attempts(&[(State::Failed, 100)]), Id::default()).is_some());
        let twice = attempts(&[(State::Failed, 100), (State::Failed, 10_200)]);
        assert_eq!(next_attempt(&policy, &twice, Id::default()), None);
    }

    #[test]
    fn exponential_delays_grow_by_the_factor_up_to_their_longest() {
        let policy = RetryDelay::Exponential {
            interval: Duration::from_secs(1),
            max_interval: Duration::from_secs(5),
            factor: 2.0,
        };
        let seconds: Vec<u64> =
            (1..=4).chain([u32::MAX]).map(|done| delay(&policy, done, Id::default()).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 5, 5]);
    }

    #[test]
    fn random_delays_stay_in_their_range_and_can_be_computed_again() {
        let (min, max) = (Duration::from_secs(1), Duration::from_secs(2));
        let policy = RetryDelay::Random { min, max };
        let delays: Vec<Duration> = (1..50).map(|done| delay(&policy, done, Id::default())).collect();
        assert!(delays.iter().all(|delay| (min..max).contains(delay)));
        assert!(delays.windows(2).any(|pair| pair[0] != pair[1]));
        assert_eq!(delays[7], delay(&policy, 8, Id::default()));
    }
}
