//! Dates, times and durations as values, and their texts (expression reference, sections 7.1 and 7.4).

use std::fmt::{self, Write};
use std::str::FromStr;

use chrono::{DateTime, Datelike, FixedOffset, NaiveDateTime, NaiveTime, Offset, TimeZone, Timelike, Utc};
use chrono_tz::Tz;

/// A time zone: a fixed offset or a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    /// A fixed offset from UTC.
    Offset(FixedOffset),
    /// A region with its rules.
    Region(Tz),
}

impl Default for Zone {
    fn default() -> Self {
        Self::Region(Tz::UTC)
    }
}

impl Zone {
    /// The offset of this zone at an instant.
    pub(crate) fn offset_at(self, instant: DateTime<Utc>) -> FixedOffset {
        match self {
            Self::Offset(offset) => offset,
            Self::Region(region) => region.offset_from_utc_datetime(&instant.naive_utc()).fix(),
        }
    }

    /// The instant of a local time. One that the zone skips moves forward by the gap; an ambiguous one takes the earlier offset.
    pub(crate) fn instant_of(self, local: NaiveDateTime) -> Option<DateTime<Utc>> {
        match self {
            Self::Offset(offset) => offset.from_local_datetime(&local).single().map(|time| time.to_utc()),
            Self::Region(region) => match region.from_local_datetime(&local) {
                chrono::LocalResult::Single(time) => Some(time.to_utc()),
                chrono::LocalResult::Ambiguous(earlier, later) => Some(earlier.to_utc().min(later.to_utc())),
                chrono::LocalResult::None => {
                    let before = local.checked_sub_signed(chrono::TimeDelta::hours(24))?;
                    let offset = region.from_local_datetime(&before).earliest()?.offset().fix();
                    offset.from_local_datetime(&local).single().map(|time| time.to_utc())
                }
            },
        }
    }
}

/// A region (`Europe/Paris`), an offset (`+05:30`, `Z`) or one with a prefix (`UTC+2`, `GMT-03:00`).
impl FromStr for Zone {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || format!("Unknown time-zone ID: {text}");
        if text == "Z" {
            return Ok(Self::Offset(FixedOffset::east_opt(0).ok_or_else(unknown)?));
        }
        if text.starts_with(['+', '-']) {
            return parse_offset(text).map(Self::Offset).ok_or_else(unknown);
        }
        for prefix in ["UTC", "GMT", "UT"] {
            if let Some(rest) = text.strip_prefix(prefix)
                && rest.starts_with(['+', '-'])
            {
                return parse_offset(rest).map(Self::Offset).ok_or_else(unknown);
            }
        }
        // the three-letter names that the region tables know are refused, as their meaning is ambiguous
        if matches!(text, "EST" | "MST" | "HST") {
            return Err(unknown());
        }
        Tz::from_str(text).map(Self::Region).map_err(|_| unknown())
    }
}

fn parse_offset(text: &str) -> Option<FixedOffset> {
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let body = text.get(1..)?;
    let parts: Vec<&str> = if body.contains(':') {
        body.split(':').collect()
    } else {
        match body.len() {
            1 | 2 => vec![body],
            4 => vec![body.get(..2)?, body.get(2..)?],
            6 => vec![body.get(..2)?, body.get(2..4)?, body.get(4..)?],
            _ => return None,
        }
    };
    if parts.len() > 3
        || parts.iter().any(|part| part.is_empty() || part.len() > 2 || !part.bytes().all(|b| b.is_ascii_digit()))
    {
        return None;
    }
    let number = |index: usize| parts.get(index).map_or(Some(0), |part| part.parse::<i32>().ok());
    let (hours, minutes, seconds) = (number(0)?, number(1)?, number(2)?);
    if hours > 18 || minutes > 59 || seconds > 59 {
        return None;
    }
    FixedOffset::east_opt(sign * (hours * 3600 + minutes * 60 + seconds))
}

/// A date and time with its zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zoned {
    /// The point in time.
    pub instant: DateTime<Utc>,
    /// The zone in which it is shown.
    pub zone: Zone,
}

impl Zoned {
    /// The local date and time.
    pub fn local(&self) -> NaiveDateTime {
        self.instant.with_timezone(&self.offset()).naive_local()
    }

    /// The offset that is in force.
    pub fn offset(&self) -> FixedOffset {
        self.zone.offset_at(self.instant)
    }
}

/// A length of time in seconds and nanoseconds; the nanoseconds are never negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// Whole seconds, rounded down.
    pub seconds: i64,
    /// The rest, below a second.
    pub nanos: u32,
}

impl Span {
    /// Reads the ISO form, for example `PT1H30M` or `P2DT3.5S`; days are 24 hours.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, rest) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let rest = rest.strip_prefix(['P', 'p'])?;
        let (days, time) = match rest.find(['T', 't']) {
            Some(place) => (&rest[..place], Some(&rest[place + 1..])),
            None => (rest, None),
        };
        let mut nanos: i128 = 0;
        let mut any = false;
        if !days.is_empty() {
            let number: i64 = days.strip_suffix(['D', 'd'])?.parse().ok()?;
            nanos += i128::from(number) * 86_400_000_000_000;
            any = true;
        }
        if let Some(time) = time {
            nanos += time_nanos(time)?;
            any = true;
        }
        if !any {
            return None;
        }
        let nanos = if negative { -nanos } else { nanos };
        Some(Self {
            seconds: i64::try_from(nanos.div_euclid(1_000_000_000)).ok()?,
            nanos: u32::try_from(nanos.rem_euclid(1_000_000_000)).ok()?,
        })
    }

    /// Seconds with nine decimals, the form inside JSON.
    pub(crate) fn json(self) -> String {
        let nanos = i128::from(self.seconds) * 1_000_000_000 + i128::from(self.nanos);
        let sign = if nanos < 0 { "-" } else { "" };
        format!("{sign}{}.{:09}", nanos.abs() / 1_000_000_000, nanos.abs() % 1_000_000_000)
    }
}

fn time_nanos(text: &str) -> Option<i128> {
    let mut nanos: i128 = 0;
    let mut rest = text;
    let mut last = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| c.is_ascii_alphabetic())?;
        let number = &rest[..end];
        let (rank, unit) = match rest.as_bytes()[end].to_ascii_uppercase() {
            b'H' => (1, 3_600_000_000_000),
            b'M' => (2, 60_000_000_000),
            b'S' => (3, 1_000_000_000),
            _ => return None,
        };
        if rank <= last {
            return None;
        }
        last = rank;
        nanos += if rank == 3 { decimal_seconds(number)? } else { i128::from(number.parse::<i64>().ok()?) * unit };
        rest = &rest[end + 1..];
    }
    (last > 0).then_some(nanos)
}

fn decimal_seconds(text: &str) -> Option<i128> {
    let (whole, fraction) = text.split_once(['.', ',']).unwrap_or((text, ""));
    if fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanos: i128 = format!("{fraction:0<9}").parse().ok()?;
    let seconds = if matches!(whole, "" | "-" | "+") { 0 } else { whole.parse::<i64>().ok()? };
    let total = i128::from(seconds.unsigned_abs()) * 1_000_000_000 + nanos;
    Some(if whole.starts_with('-') { -total } else { total })
}

/// The ISO form as Java writes it.
pub(crate) struct SpanText(pub(crate) Span);

impl fmt::Display for SpanText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Span { seconds, nanos } = self.0;
        if seconds == 0 && nanos == 0 {
            return formatter.write_str("PT0S");
        }
        // Java counts the parts towards zero, so a negative span with a fraction borrows a second
        let effective = if seconds < 0 && nanos > 0 { seconds + 1 } else { seconds };
        let (hours, minutes, rest) = (effective / 3600, (effective % 3600) / 60, effective % 60);
        formatter.write_str("PT")?;
        if hours != 0 {
            write!(formatter, "{hours}H")?;
        }
        if minutes != 0 {
            write!(formatter, "{minutes}M")?;
        }
        if rest == 0 && nanos == 0 {
            return Ok(());
        }
        if seconds < 0 && nanos > 0 && rest == 0 {
            formatter.write_str("-0")?;
        } else {
            write!(formatter, "{rest}")?;
        }
        if nanos > 0 {
            let fraction = if seconds < 0 { 1_000_000_000 - nanos } else { nanos };
            write!(formatter, ".{}", format!("{fraction:09}").trim_end_matches('0'))?;
        }
        formatter.write_str("S")
    }
}

/// The fraction in groups of three digits, nothing if it is zero.
pub(crate) fn grouped_fraction(nanos: u32) -> String {
    if nanos == 0 {
        String::new()
    } else if nanos.is_multiple_of(1_000_000) {
        format!(".{:03}", nanos / 1_000_000)
    } else if nanos.is_multiple_of(1_000) {
        format!(".{:06}", nanos / 1_000)
    } else {
        format!(".{nanos:09}")
    }
}

/// `2024-01-02T03:04:05Z`, seconds always, the fraction in groups of three digits.
pub(crate) fn instant_text(instant: DateTime<Utc>) -> String {
    let local = instant.naive_utc();
    format!("{}T{}{}Z", date_text(local), clock(local.time()), grouped_fraction(local.nanosecond() % 1_000_000_000))
}

fn clock(time: NaiveTime) -> String {
    format!("{:02}:{:02}:{:02}", time.hour(), time.minute(), time.second())
}

/// `2024-01-02`; years beyond four digits carry their sign.
pub(crate) fn date_text(date: impl Datelike) -> String {
    let year = date.year();
    let mut text = String::with_capacity(10);
    let _ = match year {
        0..=9999 => write!(text, "{year:04}"),
        10000.. => write!(text, "+{year}"),
        _ => write!(text, "-{:04}", -year),
    };
    let _ = write!(text, "-{:02}-{:02}", date.month(), date.day());
    text
}

/// Hours and minutes, with seconds and the fraction in groups of three only if they are not zero.
pub(crate) fn local_time_text(time: NaiveTime) -> String {
    let nanos = time.nanosecond() % 1_000_000_000;
    if time.second() == 0 && nanos == 0 {
        format!("{:02}:{:02}", time.hour(), time.minute())
    } else {
        format!("{}{}", clock(time), grouped_fraction(nanos))
    }
}

/// Date and time, seconds left out when seconds and fraction are zero.
pub(crate) fn local_date_time_text(local: NaiveDateTime) -> String {
    format!("{}T{}", date_text(local), local_time_text(local.time()))
}

/// `Z`, `+02:00` or `+02:00:30`.
pub(crate) fn offset_text(offset: FixedOffset) -> String {
    let seconds = offset.local_minus_utc();
    if seconds == 0 {
        return "Z".to_owned();
    }
    let sign = if seconds < 0 { '-' } else { '+' };
    let (hours, minutes, rest) = (seconds.abs() / 3600, seconds.abs() / 60 % 60, seconds.abs() % 60);
    if rest == 0 {
        format!("{sign}{hours:02}:{minutes:02}")
    } else {
        format!("{sign}{hours:02}:{minutes:02}:{rest:02}")
    }
}

/// Local form, offset, and the region in brackets if there is one.
pub(crate) fn zoned_text(zoned: &Zoned) -> String {
    let mut text = format!("{}{}", local_date_time_text(zoned.local()), offset_text(zoned.offset()));
    if let Zone::Region(region) = zoned.zone {
        let _ = write!(text, "[{}]", region.name());
    }
    text
}

/// ISO with as many fraction digits as needed and seconds always, as inside JSON.
pub(crate) fn iso_local(local: NaiveDateTime) -> String {
    let nanos = local.nanosecond() % 1_000_000_000;
    let mut text = format!("{}T{}", date_text(local), clock(local.time()));
    if nanos > 0 {
        let _ = write!(text, ".{}", format!("{nanos:09}").trim_end_matches('0'));
    }
    text
}

/// ISO date, time and offset, as inside JSON.
pub(crate) fn iso_offset(zoned: &Zoned) -> String {
    format!("{}{}", iso_local(zoned.local()), offset_text(zoned.offset()))
}
