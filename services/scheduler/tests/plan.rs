//! What follows for a trigger from its state, its dates and the time.

use windhover_expression::{Environment, NoServices, SharedVariables, Zone};
use windhover_flow::{Calendar, Flow, RecoverMissed, TriggerKind, compile};
use windhover_scheduler::{Backfill, Step, TriggerState, plan, unlocked};
use windhover_types::{Id, JsonMap, Timestamp};

fn flow(properties: &str) -> Flow {
    let source = format!(
        "id: f
namespace: company
tasks:
  - {{id: t, type: io.kestra.plugin.core.log.Log, message: m}}
triggers:
  - id: s
    type: io.kestra.plugin.core.trigger.Schedule
{properties}"
    );
    compile(&source).unwrap_or_else(|violations| panic!("{violations:?}"))
}

fn hourly() -> Flow {
    flow("    cron: \"@hourly\"\n")
}

/// A time of 1 January 2024, UTC.
fn at(time: &str) -> Timestamp {
    let text = format!("2024-01-01T{time}Z");
    let parsed = windhover_expression::render_text(
        &format!("{{{{ '{text}' | timestamp }}}}"),
        &Environment::new(&SharedVariables::default(), &NoServices),
    );
    Timestamp::from_millis(parsed.unwrap().parse::<i64>().unwrap() * 1_000)
}

fn next_at(time: &str) -> TriggerState {
    TriggerState { next_at: Some(at(time)), ..TriggerState::default() }
}

fn with<T>(flow: &Flow, look: impl FnOnce(&windhover_flow::Schedule, &Calendar<'_>) -> T) -> T {
    let variables = SharedVariables::default();
    let environment = Environment::new(&variables, &NoServices);
    let calendar = Calendar::of(&flow.triggers[0], Zone::default(), environment).unwrap().unwrap();
    let TriggerKind::Schedule(schedule) = &flow.triggers[0].kind else { panic!("a schedule") };
    look(schedule, &calendar)
}

fn step(flow: &Flow, state: &TriggerState, recover: RecoverMissed, now: &str) -> Step {
    with(flow, |schedule, calendar| plan(state, schedule, calendar, recover, at(now)))
}

/// The date that is dealt with, and what comes next.
fn dealt_with(step: Step) -> (Timestamp, TriggerState) {
    match step {
        Step::Date(moved) => (moved.date, moved.state),
        other => panic!("no date: {other:?}"),
    }
}

#[test]
fn a_date_is_dealt_with_when_it_has_come_and_not_before() {
    assert_eq!(step(&hourly(), &next_at("09:00:00"), RecoverMissed::All, "08:59:59"), Step::Rest);
    let (date, state) = dealt_with(step(&hourly(), &next_at("09:00:00"), RecoverMissed::All, "09:00:00"));
    assert_eq!((date, state.last_at, state.next_at), (at("09:00:00"), Some(at("09:00:00")), Some(at("10:00:00"))));
    assert_eq!(
        step(&hourly(), &TriggerState::default(), RecoverMissed::All, "09:00:00"),
        Step::Rest,
        "nothing follows"
    );
}

#[test]
fn missed_dates_are_recovered_all_or_the_last_or_none() {
    let state = next_at("09:00:00");
    let (all, after) = dealt_with(step(&hourly(), &state, RecoverMissed::All, "11:20:00"));
    assert_eq!((all, after.next_at), (at("09:00:00"), Some(at("10:00:00"))));
    let (last, after) = dealt_with(step(&hourly(), &state, RecoverMissed::Last, "11:20:00"));
    assert_eq!((last, after.next_at), (at("11:00:00"), Some(at("12:00:00"))));
    let none = step(&hourly(), &state, RecoverMissed::None, "11:20:00");
    assert_eq!(none, Step::Go(next_at("12:00:00")));
    // A scheduler that is a little behind has missed nothing.
    let (late, _) = dealt_with(step(&hourly(), &state, RecoverMissed::None, "09:00:04"));
    assert_eq!(late, at("09:00:00"));
}

#[test]
fn dates_beyond_the_maximum_delay_are_skipped() {
    let flow = flow("    cron: \"*/10 * * * *\"\n    lateMaximumDelay: PT1M\n");
    assert_eq!(step(&flow, &next_at("09:00:00"), RecoverMissed::All, "09:05:00"), Step::Go(next_at("09:10:00")));
    let (date, _) = dealt_with(step(&flow, &next_at("09:00:00"), RecoverMissed::All, "09:20:30"));
    assert_eq!(date, at("09:20:00"));
}

#[test]
fn conditions_on_dates_skip_to_the_date_that_they_let_pass() {
    let flow = flow(
        "    cron: \"@hourly\"\n    conditions:\n      - {type: io.kestra.plugin.core.condition.TimeBetween, after: \"11:30:00Z\", before: \"12:30:00Z\"}\n",
    );
    // The row was written before the condition was there.
    assert_eq!(step(&flow, &next_at("09:00:00"), RecoverMissed::All, "09:00:00"), Step::Go(next_at("12:00:00")));
}

#[test]
fn after_its_execution_a_schedule_goes_on_with_the_dates_that_passed_meanwhile() {
    let locked =
        TriggerState { execution: Some(Id::default()), locked_at: Some(at("09:00:00")), ..next_at("10:00:00") };
    for (recover, expected) in
        [(RecoverMissed::All, "10:00:00"), (RecoverMissed::Last, "11:00:00"), (RecoverMissed::None, "12:00:00")]
    {
        let free = with(&hourly(), |schedule, calendar| unlocked(&locked, schedule, calendar, recover, at("11:20:00")));
        assert_eq!(free, next_at(expected), "{recover:?}");
        let in_time =
            with(&hourly(), |schedule, calendar| unlocked(&locked, schedule, calendar, recover, at("09:30:00")));
        assert_eq!(in_time, next_at("10:00:00"), "{recover:?}");
    }
}

fn backfill(start: &str, end: &str) -> TriggerState {
    let backfill = Backfill {
        id: Id::default(),
        start: at(start),
        end: at(end),
        current: at(start),
        paused: false,
        inputs: JsonMap::new(),
        labels: Vec::new(),
        previous_next_at: Some(at("23:00:00")),
    };
    TriggerState { backfill: Some(backfill), ..next_at(start) }
}

#[test]
fn a_backfill_has_the_dates_from_start_to_end_and_then_the_schedule_goes_on() {
    let mut state = backfill("00:00:00", "03:00:00");
    let mut dates = Vec::new();
    // Missed dates and the maximum delay are of the schedule alone.
    while let Step::Date(moved) = step(&hourly(), &state, RecoverMissed::None, "22:00:00") {
        assert!(moved.backfill.is_some());
        dates.push(moved.date);
        state = moved.state;
    }
    assert_eq!(dates, ["00:00:00", "01:00:00", "02:00:00", "03:00:00"].map(at));
    assert_eq!((state.backfill, state.next_at), (None, Some(at("23:00:00"))));
}

#[test]
fn a_backfill_without_dates_is_over_at_once_and_a_paused_one_rests() {
    let over = step(&hourly(), &backfill("00:10:00", "00:50:00"), RecoverMissed::All, "22:00:00");
    assert_eq!(over, Step::Go(next_at("23:00:00")));
    let mut paused = backfill("00:00:00", "03:00:00");
    paused.backfill.as_mut().unwrap().paused = true;
    assert_eq!(step(&hourly(), &paused, RecoverMissed::All, "22:00:00"), Step::Rest);
}
