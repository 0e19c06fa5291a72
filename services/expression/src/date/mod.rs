//! Dates: reading values and texts, patterns, named formats (expression reference, section 13).

mod add;
mod format;
mod iso;
mod locale;
mod parse;
mod pattern;
mod zone_names;

pub(crate) use add::add;
pub(crate) use format::format;
pub(crate) use locale::Locale;
pub(crate) use pattern::Pattern;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};

use crate::value::{Value, Zone, Zoned};

/// What a date filter says when it fails.
pub(crate) type Problem = String;

/// What a text says: a point in time, or a local time that needs a zone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Moment {
    Fixed(Zoned),
    Local(NaiveDateTime),
}

impl Moment {
    fn within(self, zone: Zone) -> Result<Zoned, Problem> {
        match self {
            Self::Fixed(zoned) => Ok(zoned),
            Self::Local(local) => zoned(local, zone),
        }
    }
}

fn zoned(local: NaiveDateTime, zone: Zone) -> Result<Zoned, Problem> {
    let instant = zone.instant_of(local).ok_or_else(|| format!("The time {local} is out of range"))?;
    Ok(Zoned { instant, zone })
}

/// Reads a value as a point in time; local forms are taken in `zone`.
pub(crate) fn read(value: &Value, zone: Zone, existing: Option<&Pattern>) -> Result<Zoned, Problem> {
    let noon = NaiveTime::from_hms_opt(12, 0, 0).unwrap_or_default();
    match value {
        Value::Instant(instant) => Ok(Zoned { instant: *instant, zone }),
        Value::Zoned(zoned) => Ok(*zoned),
        Value::LocalDateTime(local) => zoned(*local, zone),
        Value::LocalDate(date) => zoned(date.and_time(noon), zone),
        Value::Long(number) => {
            let instant = epoch(*number).ok_or_else(|| format!("The number {number} is no time"))?;
            Ok(Zoned { instant, zone })
        }
        Value::Text(text) | Value::Markup(text) => match existing {
            Some(pattern) => parse::parse(text, pattern)?.within(zone),
            None => iso::parse(text)?.within(zone),
        },
        other => Err(format!("Unable to read a date from a value of type {}", other.class_name())),
    }
}

/// Seconds; written with 13 digits milliseconds, with 19 nanoseconds. A minus sign counts as a digit.
fn epoch(number: i64) -> Option<DateTime<Utc>> {
    match number.to_string().len() {
        13 => DateTime::from_timestamp_millis(number),
        19 => Some(DateTime::from_timestamp_nanos(number)),
        _ => DateTime::from_timestamp(number, 0),
    }
}

/// The number of days of a month.
fn days_in_month(year: i32, month: u32) -> u32 {
    let next = if month == 12 {
        NaiveDate::from_ymd_opt(year.saturating_add(1), 1, 1)
    } else {
        NaiveDate::from_ymd_opt(year, month + 1, 1)
    };
    next.and_then(|next| next.pred_opt()).map_or(31, |last| chrono::Datelike::day(&last))
}
