//! Colours, times and other small things that are printed in many places. What is not a terminal gets no colours:
//! `anstream` takes them out.

use std::{borrow::Cow, time::Duration};

use anstyle::{AnsiColor, Color, Style};
use chrono::{DateTime, Local, SecondsFormat, Utc};
use prost_types::Timestamp;
use windhover_client::v1::{Execution, LogLevel, State};

pub(crate) const BOLD: Style = Style::new().bold();
pub(crate) const DIM: Style = Style::new().dimmed();
pub(crate) const ERROR: Style = colour(AnsiColor::Red).bold();
pub(crate) const WARNING: Style = colour(AnsiColor::Yellow);
pub(crate) const GOOD: Style = colour(AnsiColor::Green);
pub(crate) const BUSY: Style = colour(AnsiColor::Cyan);

const fn colour(colour: AnsiColor) -> Style {
    Style::new().fg_color(Some(Color::Ansi(colour)))
}

pub(crate) fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

pub(super) fn state(state: State) -> String {
    let style = match state {
        State::Success => GOOD,
        State::Warning | State::Retrying | State::Paused | State::Killing => WARNING,
        State::Failed | State::Killed | State::Cancelled => ERROR,
        _ => BUSY,
    };
    paint(style, state_name(state))
}

/// A state that this version does not know has no name.
pub(super) fn state_name(state: State) -> &'static str {
    match state {
        State::Unspecified => "UNKNOWN",
        known => known.short_name(),
    }
}

/// Five characters wide.
pub(super) fn level(level: LogLevel) -> String {
    let (style, name) = match level {
        LogLevel::Error => (ERROR, "ERROR"),
        LogLevel::Warn => (WARNING, "WARN "),
        LogLevel::Info => (GOOD, "INFO "),
        LogLevel::Debug => (DIM, "DEBUG"),
        LogLevel::Trace => (DIM, "TRACE"),
        LogLevel::Unspecified => (DIM, "     "),
    };
    paint(style, name)
}

/// Text of users without what a terminal would obey: control characters other than line feed and tab.
pub(crate) fn safe(text: &str) -> Cow<'_, str> {
    let harmful = |letter: char| letter.is_control() && !matches!(letter, '\n' | '\t');
    if !text.contains(harmful) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(
        text.replace("\r\n", "\n").chars().map(|letter| if harmful(letter) { '\u{fffd}' } else { letter }).collect(),
    )
}

/// A duration as people say it.
pub(super) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{} ms", duration.as_millis()),
        1..60 => format!("{:.2} s", duration.as_secs_f64()),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// From creation to end; of what has not ended, nothing.
pub(super) fn duration_of(execution: &Execution) -> String {
    match (utc(execution.created.as_ref()), utc(execution.ended.as_ref())) {
        (Some(created), Some(ended)) => duration((ended - created).to_std().unwrap_or_default()),
        _ => String::new(),
    }
}

pub(super) fn utc(at: Option<&Timestamp>) -> Option<DateTime<Utc>> {
    at.and_then(|at| DateTime::from_timestamp(at.seconds, u32::try_from(at.nanos).ok()?))
}

/// `2026-01-31 12:00:01` in the local time zone; nothing for nothing.
pub(super) fn date_time(at: Option<&Timestamp>) -> String {
    utc(at).map(|at| at.with_timezone(&Local).format("%Y-%m-%d %H:%M:%S").to_string()).unwrap_or_default()
}

/// `12:00:01.123` in the local time zone.
pub(crate) fn local_time_of_day(at: DateTime<Utc>) -> String {
    at.with_timezone(&Local).format("%H:%M:%S%.3f").to_string()
}

/// RFC 3339 with milliseconds, in UTC: with date, for what is kept.
pub(super) fn instant(at: Option<&Timestamp>) -> String {
    utc(at).map(|at| at.to_rfc3339_opts(SecondsFormat::Millis, true)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_users_cannot_drive_the_terminal() {
        assert_eq!(safe("a\u{1b}[2J\r\nb\tc"), "a\u{fffd}[2J\nb\tc");
        assert!(matches!(safe("plain ➛ text"), Cow::Borrowed(_)));
    }

    #[test]
    fn durations_are_said_in_the_unit_that_fits() {
        let said = [17, 1_234, 61_000, 7_320_000].map(|millis| duration(Duration::from_millis(millis)));
        assert_eq!(said, ["17 ms", "1.23 s", "1 min 1 s", "2 h 2 min"]);
    }
}
