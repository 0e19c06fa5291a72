//! What follows for a trigger from its state, its dates and the time. Pure.

use std::time::Duration;

use windhover_flow::{Calendar, Next, RecoverMissed, Schedule, ScheduleDates};
use windhover_store::{Backfill, TriggerState};
use windhover_types::{Id, Timestamp};

/// A date that is dealt with later than this was missed: nobody looked, or an execution was in the way. A scheduler
/// that lives looks each second.
pub(crate) const MISSED_AFTER: Duration = Duration::from_secs(5);

/// What to do about a trigger now.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Nothing: it is not due.
    Rest,
    /// No date has to be dealt with, and the trigger goes on like this.
    Go(TriggerState),
    /// This date has to be dealt with.
    Date(Moved),
}

/// A date, and the trigger behind it.
#[derive(Debug, Clone, PartialEq)]
pub struct Moved {
    pub date: Timestamp,
    /// The backfill that the date is of.
    pub backfill: Option<Backfill>,
    /// The trigger once the date is dealt with, as if no execution came of it.
    pub state: TriggerState,
}

impl Moved {
    /// The trigger once the date has its execution, which it waits for unless `concurrent`.
    #[must_use]
    pub fn with_execution(mut self, execution: Id, now: Timestamp, concurrent: bool) -> TriggerState {
        self.state.last_execution = Some(execution);
        if !concurrent {
            self.state.execution = Some(execution);
            self.state.locked_at = Some(now);
        }
        self.state
    }
}

/// What has to be done about a trigger that nothing keeps from going on.
pub fn plan(
    state: &TriggerState,
    schedule: &Schedule,
    calendar: &Calendar<'_>,
    recover: RecoverMissed,
    now: Timestamp,
) -> Step {
    match &state.backfill {
        Some(backfill) if backfill.paused => Step::Rest,
        Some(backfill) => in_backfill(state, backfill, calendar),
        None => regular(state, schedule, calendar, recover, now),
    }
}

/// Dates from the start to the end, one after another, however long ago they are.
fn in_backfill(state: &TriggerState, backfill: &Backfill, calendar: &Calendar<'_>) -> Step {
    match calendar.from(backfill.current) {
        Next::At(date) if date <= backfill.end => {
            let next = calendar.after(date).look_at();
            let mut after = go_on(state, backfill, next);
            after.last_at = Some(date);
            Step::Date(Moved { date, backfill: Some(backfill.clone()), state: after })
        }
        found => Step::Go(go_on(state, backfill, found.look_at())),
    }
}

/// The backfill goes on there, or is over.
fn go_on(state: &TriggerState, backfill: &Backfill, next: Option<Timestamp>) -> TriggerState {
    let mut after = TriggerState { message: None, ..state.clone() };
    match next.filter(|next| *next <= backfill.end) {
        Some(next) => {
            after.next_at = Some(next);
            after.backfill = Some(Backfill { current: next, ..backfill.clone() });
        }
        None => {
            after.next_at = backfill.previous_next_at;
            after.backfill = None;
        }
    }
    after
}

fn regular(
    state: &TriggerState,
    schedule: &Schedule,
    calendar: &Calendar<'_>,
    recover: RecoverMissed,
    now: Timestamp,
) -> Step {
    let Some(next_at) = state.next_at.filter(|at| *at <= now) else { return Step::Rest };
    let go = |next: Next| Step::Go(TriggerState { next_at: next.look_at(), ..state.clone() });
    let in_time = schedule.late_maximum_delay.map(|delay| minus(now, delay));
    let found = calendar.from(in_time.map_or(next_at, |in_time| next_at.max(in_time)));
    let Next::At(mut date) = found else { return go(found) };
    if date > now {
        return go(found);
    }
    // A list of dates is caught up with once, when a scheduler starts: dates that were past from the beginning are no
    // missed ones.
    if now.since(date) > MISSED_AFTER && matches!(schedule.dates, ScheduleDates::Cron(_)) {
        match recover {
            RecoverMissed::All => {}
            RecoverMissed::Last => date = last_until(calendar, now).unwrap_or(date).max(date),
            RecoverMissed::None => return go(calendar.after(now)),
        }
    }
    let mut after = TriggerState { message: None, ..state.clone() };
    after.next_at = calendar.after(date).look_at();
    after.last_at = Some(date);
    Step::Date(Moved { date, backfill: None, state: after })
}

/// The last date that has come by `now`.
pub(crate) fn last_until(calendar: &Calendar<'_>, now: Timestamp) -> Option<Timestamp> {
    calendar.before(now.plus(Duration::from_micros(1))).date()
}

fn minus(at: Timestamp, duration: Duration) -> Timestamp {
    let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(at.as_micros().saturating_sub(micros))
}

/// The trigger once its execution has ended, or somebody no longer wants to wait for it: dates that passed meanwhile
/// are dealt with as missed ones (flow model 1.x reference 6.1).
pub fn unlocked(
    state: &TriggerState,
    schedule: &Schedule,
    calendar: &Calendar<'_>,
    recover: RecoverMissed,
    now: Timestamp,
) -> TriggerState {
    let free = TriggerState { execution: None, locked_at: None, ..state.clone() };
    if matches!(schedule.dates, ScheduleDates::Cron(_)) { caught_up(free, calendar, recover, now) } else { free }
}

/// The trigger after a time in which nobody looked.
pub(crate) fn caught_up(
    mut state: TriggerState,
    calendar: &Calendar<'_>,
    recover: RecoverMissed,
    now: Timestamp,
) -> TriggerState {
    let Some(next_at) = state.next_at.filter(|at| state.backfill.is_none() && *at <= now) else { return state };
    state.next_at = match recover {
        RecoverMissed::All => Some(next_at),
        RecoverMissed::Last => Some(last_until(calendar, now).unwrap_or(next_at).max(next_at)),
        RecoverMissed::None => calendar.after(now).look_at(),
    };
    state
}
