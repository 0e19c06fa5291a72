//! Windows: sets of conditions that must all have held within some time, by whichever executions (flow model reference
//! 7.2 and 7.3). Pure: where a window is kept is for others to know.

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, NaiveTime, TimeDelta, Timelike, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use windhover_expression::Zone;
use windhover_types::{JsonMap, Timestamp};

use crate::{
    Condition,
    schedule::{local, moment_of},
};

/// A set of conditions with its time: `preconditions` of a Flow trigger, or its MultipleCondition.
#[derive(Debug)]
pub struct WindowSpec {
    /// Names the window within the flow.
    pub id: String,
    /// By name, in order. Never empty.
    pub conditions: Vec<(String, Condition)>,
    pub time: TimeWindow,
    /// A window that has fired is over.
    pub reset_on_success: bool,
}

/// How long what has held counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimeWindow {
    /// Begins at a round time.
    Duration { window: Duration, advance: Duration },
    /// Begins with the first event.
    Sliding { window: Duration },
    /// The same hours of each day.
    Daily { start: NaiveTime, end: NaiveTime },
    /// From midnight on.
    Deadline { deadline: NaiveTime },
}

/// What has held so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpenWindow {
    pub start: Timestamp,
    pub end: Timestamp,
    /// Names of the conditions that have held.
    pub held: Vec<String>,
    /// Outputs of the executions that they held for, merged: of equal keys the earlier one's.
    #[serde(default, skip_serializing_if = "JsonMap::is_empty")]
    pub outputs: JsonMap,
}

/// An execution for which some of the conditions hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WindowEvent {
    pub at: Timestamp,
    pub held: Vec<String>,
    #[serde(default, skip_serializing_if = "JsonMap::is_empty")]
    pub outputs: JsonMap,
}

/// What an event makes of a window.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowStep {
    /// The window to keep, if any.
    pub window: Option<OpenWindow>,
    /// The set is complete: the merged outputs.
    pub fires: Option<JsonMap>,
}

impl WindowSpec {
    /// Takes an event in. `zone`: the server's.
    pub fn take(&self, stored: Option<OpenWindow>, event: &WindowEvent, zone: Zone) -> WindowStep {
        let valid = |window: &OpenWindow| window.start <= event.at && event.at <= window.end;
        let Some(mut window) = stored.filter(valid).or_else(|| self.time.open(event.at, zone)).filter(valid) else {
            return WindowStep { window: None, fires: None };
        };
        for name in &event.held {
            if !window.held.contains(name) {
                window.held.push(name.clone());
            }
        }
        merge(&mut window.outputs, &event.outputs);
        let complete = self.conditions.iter().all(|(name, _)| window.held.contains(name));
        let fires = complete.then(|| window.outputs.clone());
        let over = complete && self.reset_on_success;
        WindowStep { window: (!over).then_some(window), fires }
    }
}

impl TimeWindow {
    /// The window that an event at this time opens; it may be one that the event is not in.
    fn open(&self, at: Timestamp, zone: Zone) -> Option<OpenWindow> {
        let now = at.to_utc()?;
        let today = local(now, zone).naive_local();
        let (start, end) = match self {
            Self::Duration { window, advance } => {
                let start = moment_of(floor(today, *window)?, zone)?.checked_add_signed(delta(*advance)?)?;
                (start, start.checked_add_signed(delta(*window)?)?.checked_sub_signed(TimeDelta::milliseconds(1))?)
            }
            Self::Sliding { window } => (now, now.checked_add_signed(delta(*window)?)?),
            Self::Daily { start, end } => (time_of(today, *start, zone)?, time_of(today, *end, zone)?),
            Self::Deadline { deadline } => (time_of(today, NaiveTime::MIN, zone)?, time_of(today, *deadline, zone)?),
        };
        let (start, end) = (Timestamp::from_utc(start), Timestamp::from_utc(end));
        Some(OpenWindow { start, end, held: Vec::new(), outputs: JsonMap::new() })
    }
}

/// The round time at or before `now`: midnight for days, the hour for hours, else a multiple of the window within the
/// hour.
fn floor(now: NaiveDateTime, window: Duration) -> Option<NaiveDateTime> {
    let minutes = u32::try_from(window.as_secs() / 60).unwrap_or(u32::MAX);
    match minutes {
        1_440.. => Some(now.date().and_time(NaiveTime::MIN)),
        60.. => now.date().and_hms_opt(now.hour(), 0, 0),
        minutes => now.date().and_hms_opt(now.hour(), now.minute() - now.minute() % minutes.max(1), 0),
    }
}

fn time_of(today: NaiveDateTime, time: NaiveTime, zone: Zone) -> Option<DateTime<Utc>> {
    moment_of(today.date().and_time(time), zone)
}

fn delta(duration: Duration) -> Option<TimeDelta> {
    TimeDelta::from_std(duration).ok()
}

/// Adds what is not there yet, deeply.
fn merge(into: &mut JsonMap, from: &JsonMap) {
    for (key, value) in from {
        match (into.get_mut(key), value) {
            (Some(Value::Object(own)), Value::Object(other)) => merge(own, other),
            (Some(_), _) => {}
            (None, value) => drop(into.insert(key.clone(), value.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Text;

    fn at(text: &str) -> Timestamp {
        Timestamp::from_utc(DateTime::parse_from_rfc3339(text).unwrap().to_utc())
    }

    fn spec(time: TimeWindow, reset_on_success: bool) -> WindowSpec {
        let conditions = ["a", "b"].map(|name| (name.to_owned(), Condition::Expression(Text::new("true")))).into();
        WindowSpec { id: "w".to_owned(), conditions, time, reset_on_success }
    }

    fn event(time: &str, held: &[&str], outputs: Value) -> WindowEvent {
        let held = held.iter().map(|name| (*name).to_owned()).collect();
        WindowEvent { at: at(time), held, outputs: outputs.as_object().cloned().unwrap_or_default() }
    }

    const DAY: TimeWindow = TimeWindow::Duration { window: Duration::from_secs(86_400), advance: Duration::ZERO };

    /// Whether each of the events completes the set.
    fn fires(spec: &WindowSpec, events: &[(&str, &[&str])]) -> Vec<bool> {
        let mut window = None;
        let mut fired = Vec::new();
        for (time, held) in events {
            let step = spec.take(window, &event(time, held, json!({})), Zone::default());
            window = step.window;
            fired.push(step.fires.is_some());
        }
        fired
    }

    #[test]
    fn a_set_is_complete_with_whichever_executions_and_then_begins_anew() {
        let events: [(&str, &[&str]); 6] = [
            ("2024-05-01T01:00:00Z", &["a"]),
            ("2024-05-01T02:00:00Z", &["a"]),
            ("2024-05-01T03:00:00Z", &["b"]),
            ("2024-05-01T04:00:00Z", &["b"]),
            ("2024-05-01T05:00:00Z", &["a"]),
            ("2024-05-01T06:00:00Z", &["a", "b"]),
        ];
        assert_eq!(fires(&spec(DAY, true), &events), [false, false, true, false, true, true]);
        assert_eq!(fires(&spec(DAY, false), &events), [false, false, true, true, true, true]);
    }

    #[test]
    fn what_held_in_another_window_does_not_count() {
        let over_midnight: [(&str, &[&str]); 2] = [("2024-05-01T23:59:59Z", &["a"]), ("2024-05-02T00:00:00Z", &["b"])];
        assert_eq!(fires(&spec(DAY, true), &over_midnight), [false, false]);
        let sliding = TimeWindow::Sliding { window: Duration::from_secs(3_600) };
        assert_eq!(fires(&spec(sliding.clone(), true), &over_midnight), [false, true]);
        let later: [(&str, &[&str]); 2] = [("2024-05-01T10:00:00Z", &["a"]), ("2024-05-01T11:00:01Z", &["b"])];
        assert_eq!(fires(&spec(sliding, true), &later), [false, false]);
        let quarter = TimeWindow::Duration { window: Duration::from_secs(900), advance: Duration::ZERO };
        let quarters: [(&str, &[&str]); 3] =
            [("2024-05-01T10:14:59Z", &["a"]), ("2024-05-01T10:15:00Z", &["b"]), ("2024-05-01T10:29:59Z", &["a"])];
        assert_eq!(fires(&spec(quarter, true), &quarters), [false, false, true]);
    }

    #[test]
    fn a_deadline_and_hours_of_the_day_shut_out_what_comes_outside() {
        let time = |hour| NaiveTime::from_hms_opt(hour, 0, 0).unwrap();
        let events: [(&str, &[&str]); 3] =
            [("2024-05-01T08:00:00Z", &["a"]), ("2024-05-01T09:05:00Z", &["b"]), ("2024-05-02T08:30:00Z", &["a", "b"])];
        assert_eq!(fires(&spec(TimeWindow::Deadline { deadline: time(9) }, true), &events), [false, false, true]);
        let hours = TimeWindow::Daily { start: time(9), end: time(10) };
        assert_eq!(fires(&spec(hours, true), &events), [false, false, false]);
    }

    #[test]
    fn outputs_are_merged_and_the_earlier_one_wins() {
        let spec = spec(DAY, true);
        let first =
            spec.take(None, &event("2024-05-01T01:00:00Z", &["a"], json!({"x": 1, "m": {"p": 1}})), Zone::default());
        let second = event("2024-05-01T02:00:00Z", &["b"], json!({"x": 2, "y": 3, "m": {"p": 2, "q": 2}}));
        let fires = spec.take(first.window, &second, Zone::default()).fires.unwrap();
        assert_eq!(Value::Object(fires), json!({"x": 1, "m": {"p": 1, "q": 2}, "y": 3}));
    }
}
