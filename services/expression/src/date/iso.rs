//! ISO texts without a pattern: seconds optional, the date has to exist.

use chrono::{FixedOffset, NaiveDate, NaiveTime};

use super::{Moment, Problem};
use crate::value::{Zone, Zoned};

/// Reads a date with time and offset, a local date with time, or a local date.
pub(super) fn parse(text: &str) -> Result<Moment, Problem> {
    scan(text).ok_or_else(|| format!("Text '{text}' could not be parsed as a date"))
}

fn scan(text: &str) -> Option<Moment> {
    let mut scanner = Scanner { rest: text };
    let date = scanner.date()?;
    if scanner.rest.is_empty() {
        return Some(Moment::Local(date.and_time(NaiveTime::MIN)));
    }
    if !scanner.skip('T') && !scanner.skip('t') {
        return None;
    }
    let (time, next_day) = scanner.time()?;
    let mut local = date.and_time(time);
    if next_day {
        local = local.checked_add_days(chrono::Days::new(1))?;
    }
    if scanner.rest.is_empty() {
        return Some(Moment::Local(local));
    }
    let offset = scanner.offset()?;
    let instant = local.and_local_timezone(offset).single()?.to_utc();
    let zone = match scanner.rest.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(region) => region.parse::<Zone>().ok()?,
        None if scanner.rest.is_empty() => Zone::Offset(offset),
        None => return None,
    };
    Some(Moment::Fixed(Zoned { instant, zone }))
}

pub(super) struct Scanner<'a> {
    pub(super) rest: &'a str,
}

impl Scanner<'_> {
    pub(super) fn skip(&mut self, c: char) -> bool {
        match self.rest.strip_prefix(c) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Exactly `count` digits.
    pub(super) fn digits(&mut self, count: usize) -> Option<u32> {
        let digits = self.rest.get(..count).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
        self.rest = &self.rest[count..];
        digits.parse().ok()
    }

    fn date(&mut self) -> Option<NaiveDate> {
        let (sign, width) = match self.rest.as_bytes().first()? {
            b'-' => (-1, None),
            b'+' => (1, None),
            _ => (1, Some(4)),
        };
        let year = match width {
            Some(width) => self.digits(width)?,
            None => {
                self.rest = &self.rest[1..];
                let count = self.rest.bytes().take_while(u8::is_ascii_digit).count();
                if !(4..=9).contains(&count) {
                    return None;
                }
                self.digits(count)?
            }
        };
        let year = i32::try_from(year).ok()? * sign;
        let month = if self.skip('-') { self.digits(2)? } else { return None };
        let day = if self.skip('-') { self.digits(2)? } else { return None };
        NaiveDate::from_ymd_opt(year, month, day)
    }

    /// A time, and whether it is the end of the day written as 24:00.
    fn time(&mut self) -> Option<(NaiveTime, bool)> {
        let hour = self.digits(2)?;
        let minute = if self.skip(':') { self.digits(2)? } else { return None };
        let second = if self.skip(':') { self.digits(2)? } else { 0 };
        let mut nanos = 0;
        if self.skip('.') {
            let count = self.rest.bytes().take_while(u8::is_ascii_digit).count().min(9);
            let power = u32::try_from(9 - count).ok()?;
            nanos = if count == 0 { 0 } else { self.digits(count)? * 10u32.pow(power) };
        }
        if hour == 24 && minute == 0 && second == 0 && nanos == 0 {
            return Some((NaiveTime::MIN, true));
        }
        NaiveTime::from_hms_nano_opt(hour, minute, second, nanos).filter(|_| second < 60).map(|time| (time, false))
    }

    pub(super) fn offset(&mut self) -> Option<FixedOffset> {
        if self.skip('Z') || self.skip('z') {
            return FixedOffset::east_opt(0);
        }
        let sign = if self.skip('+') {
            1
        } else if self.skip('-') {
            -1
        } else {
            return None;
        };
        let hours = self.digits(2)?;
        let minutes = if self.skip(':') { self.digits(2)? } else { 0 };
        let seconds = if self.skip(':') { self.digits(2)? } else { 0 };
        if hours > 18 || minutes > 59 || seconds > 59 {
            return None;
        }
        FixedOffset::east_opt(sign * i32::try_from(hours * 3600 + minutes * 60 + seconds).ok()?)
    }
}
