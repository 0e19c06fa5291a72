//! Writing dates.

use std::fmt::Write;

use chrono::{Datelike, FixedOffset, NaiveDateTime, Timelike};

use super::locale::Words;
use super::pattern::{Item, Style};
use super::{Locale, Pattern, Problem, zone_names};
use crate::value::{Zone, Zoned, grouped_fraction, offset_text};

/// Writes a point in time, in the zone that it has.
pub(crate) fn format(zoned: &Zoned, pattern: &Pattern, locale: &Locale) -> Result<String, Problem> {
    if let Some(style) = pattern.style {
        if !locale.is_english() {
            return Err(locale.unsupported());
        }
        // the blank before AM is a narrow non-breaking one
        let pattern = match style {
            Style::Full => "EEEE, MMMM d, y, h:mm:ss\u{202f}a zzzz",
            Style::Long => "MMMM d, y, h:mm:ss\u{202f}a z",
            Style::Medium => "MMM d, y, h:mm:ss\u{202f}a",
            Style::Short => "M/d/yy, h:mm\u{202f}a",
        };
        return format(zoned, &Pattern::styled(pattern)?, locale);
    }
    let zone = if pattern.utc { Zone::default() } else { zoned.zone };
    let zoned = Zoned { instant: zoned.instant, zone };
    let writer = Writer { zoned, local: zoned.local(), offset: zoned.offset(), locale };
    let mut out = String::new();
    for item in &pattern.items {
        writer.item(item, &mut out)?;
    }
    Ok(out)
}

struct Writer<'a> {
    zoned: Zoned,
    local: NaiveDateTime,
    offset: FixedOffset,
    locale: &'a Locale,
}

impl Writer<'_> {
    fn nanos(&self) -> u32 {
        self.local.nanosecond() % 1_000_000_000
    }

    fn item(&self, item: &Item, out: &mut String) -> Result<(), Problem> {
        match item {
            Item::Literal(text) => out.push_str(text),
            Item::Field(letter, count) => self.field(*letter, *count, out)?,
            Item::OptionalStart | Item::OptionalEnd => {}
            Item::IsoSeconds => pad(out, ":", i64::from(self.local.second()), 2),
            Item::Fraction if self.nanos() > 0 => {
                out.push('.');
                out.push_str(format!("{:09}", self.nanos()).trim_end_matches('0'));
            }
            Item::Fraction => {}
            Item::GroupedFraction => out.push_str(&grouped_fraction(self.nanos())),
            Item::Offset => out.push_str(&offset_text(self.offset)),
            Item::Region => {
                if let Zone::Region(region) = self.zoned.zone {
                    let _ = write!(out, "[{}]", region.name());
                }
            }
            Item::IsoWeekDate => {
                let week = self.local.iso_week();
                let day = self.local.weekday().number_from_monday();
                let _ = write!(out, "{:04}-W{:02}-{day}", week.year(), week.week());
            }
            Item::Rfc1123 => self.rfc_1123(out)?,
        }
        Ok(())
    }

    fn rfc_1123(&self, out: &mut String) -> Result<(), Problem> {
        let english = Locale::default();
        let words = english.words()?;
        let day = words.short_days[self.local.weekday().num_days_from_monday() as usize];
        let month = words.short_months[self.local.month0() as usize];
        let _ = write!(
            out,
            "{day}, {} {month} {:04} {:02}:{:02}:{:02} ",
            self.local.day(),
            self.local.year(),
            self.local.hour(),
            self.local.minute(),
            self.local.second()
        );
        let seconds = self.offset.local_minus_utc();
        if seconds == 0 {
            out.push_str("GMT")
        } else {
            out.push_str(&offset_form(self.offset, "", true, "+0000"))
        }
        Ok(())
    }

    fn field(&self, letter: char, count: usize, out: &mut String) -> Result<(), Problem> {
        let number = |out: &mut String, value: u32| pad(out, "", i64::from(value), count);
        let (hour, date) = (self.local.hour(), self.local.date());
        match letter {
            'G' => out.push_str(self.era(count)?),
            'u' => year(out, date.year(), count),
            'y' => year(out, if date.year() > 0 { date.year() } else { 1 - date.year() }, count),
            'Y' => year(out, self.week_of_year().0, count),
            'Q' | 'q' => self.quarter(count, out)?,
            'M' | 'L' => match count {
                1 | 2 => number(out, date.month()),
                _ => self.name(count, |words| (&words.months, &words.short_months), date.month0() as usize, out)?,
            },
            'w' => number(out, self.week_of_year().1),
            'W' => number(out, self.week_of_month()),
            'D' => number(out, date.ordinal()),
            'd' => number(out, date.day()),
            'E' => self.day_name(count.max(3), out)?,
            'e' | 'c' if count <= 2 => number(out, self.day_of_week() + 1),
            'e' | 'c' => self.day_name(count, out)?,
            'a' => out.push_str(self.locale.words()?.halves[usize::from(hour >= 12)]),
            'B' => out.push_str(self.day_period()?),
            'h' => number(out, if hour.is_multiple_of(12) { 12 } else { hour % 12 }),
            'K' => number(out, hour % 12),
            'k' => number(out, if hour == 0 { 24 } else { hour }),
            'H' => number(out, hour),
            'm' => number(out, self.local.minute()),
            's' => number(out, self.local.second()),
            'S' => out.push_str(&format!("{:09}", self.nanos())[..count.min(9)]),
            'A' => pad(out, "", self.nano_of_day() / 1_000_000, count),
            'n' => number(out, self.nanos()),
            'N' => pad(out, "", self.nano_of_day(), count),
            _ => return self.zone_field(letter, count, out),
        }
        Ok(())
    }

    fn nano_of_day(&self) -> i64 {
        i64::from(self.local.num_seconds_from_midnight()) * 1_000_000_000 + i64::from(self.nanos())
    }

    fn zone_field(&self, letter: char, count: usize, out: &mut String) -> Result<(), Problem> {
        match (letter, count) {
            ('V', _) => match self.zoned.zone {
                Zone::Region(region) => out.push_str(region.name()),
                Zone::Offset(offset) => out.push_str(&offset_text(offset)),
            },
            ('z', 4) if !self.locale.is_english() => return Err(self.locale.unsupported()),
            ('z', 4) => out.push_str(&zone_names::long(&self.zoned)?),
            ('z', _) => out.push_str(&zone_names::short(&self.zoned)),
            ('O', 1) => out.push_str(&localized(self.offset, false)),
            ('O' | 'Z', 4) => out.push_str(&localized(self.offset, true)),
            ('Z', 5) => out.push_str(&offset_form(self.offset, ":", true, "Z")),
            ('Z', _) => out.push_str(&offset_form(self.offset, "", true, "+0000")),
            ('X', 1) => out.push_str(&offset_form(self.offset, "", false, "Z")),
            ('X', 2 | 4) => out.push_str(&offset_form(self.offset, "", true, "Z")),
            ('X', _) => out.push_str(&offset_form(self.offset, ":", true, "Z")),
            ('x', 1) => out.push_str(&offset_form(self.offset, "", false, "+00")),
            ('x', 2 | 4) => out.push_str(&offset_form(self.offset, "", true, "+0000")),
            ('x', _) => out.push_str(&offset_form(self.offset, ":", true, "+00:00")),
            _ => return Err(format!("Unknown pattern letter: {letter}")),
        }
        Ok(())
    }

    fn name(
        &self,
        count: usize,
        pick: fn(&Words) -> (&[&'static str], &[&'static str]),
        index: usize,
        out: &mut String,
    ) -> Result<(), Problem> {
        let (full, short) = pick(self.locale.words()?);
        match count {
            3 => out.push_str(short[index]),
            4 => out.push_str(full[index]),
            _ => out.extend(full[index].chars().next().into_iter().flat_map(char::to_uppercase)),
        }
        Ok(())
    }

    fn day_name(&self, count: usize, out: &mut String) -> Result<(), Problem> {
        let index = self.local.weekday().num_days_from_monday() as usize;
        self.name(count, |words| (&words.days, &words.short_days), index, out)
    }

    fn era(&self, count: usize) -> Result<&'static str, Problem> {
        if !self.locale.is_english() {
            return Err(self.locale.unsupported());
        }
        Ok(match (self.local.year() > 0, count) {
            (true, 1..=3) => "AD",
            (true, 4) => "Anno Domini",
            (true, _) => "A",
            (false, 1..=3) => "BC",
            (false, 4) => "Before Christ",
            (false, _) => "B",
        })
    }

    fn quarter(&self, count: usize, out: &mut String) -> Result<(), Problem> {
        let quarter = self.local.month0() / 3 + 1;
        if (3..=4).contains(&count) && !self.locale.is_english() {
            return Err(self.locale.unsupported());
        }
        match count {
            3 => out.push_str(&format!("Q{quarter}")),
            4 => out.push_str(["1st quarter", "2nd quarter", "3rd quarter", "4th quarter"][quarter as usize - 1]),
            5 => out.push_str(&quarter.to_string()),
            _ => pad(out, "", i64::from(quarter), count),
        }
        Ok(())
    }

    fn day_period(&self) -> Result<&'static str, Problem> {
        if !self.locale.is_english() {
            return Err(self.locale.unsupported());
        }
        Ok(match (self.local.hour(), self.local.minute()) {
            (0, 0) => "midnight",
            (12, 0) => "noon",
            (6..=11, _) => "in the morning",
            (12..=17, _) => "in the afternoon",
            (18..=20, _) => "in the evening",
            _ => "at night",
        })
    }

    /// The day within the week of the locale, from 0.
    fn day_of_week(&self) -> u32 {
        let (first, _) = self.locale.week();
        (self.local.weekday().num_days_from_monday() + 7 - first) % 7
    }

    /// The number of the week that a day falls into; 0 if it belongs to the last week before.
    fn week_number(&self, day: u32) -> u32 {
        let (_, minimal) = self.locale.week();
        // the day of the week on which the first day of the year or month falls
        let start = (self.day_of_week() + 7 - (day - 1) % 7) % 7;
        let first_is_whole = 7 - start >= minimal;
        (day - 1 + start) / 7 + u32::from(first_is_whole)
    }

    fn week_of_month(&self) -> u32 {
        self.week_number(self.local.day())
    }

    /// Week-based year and the week within it.
    fn week_of_year(&self) -> (i32, u32) {
        let date = self.local.date();
        let week = self.week_number(date.ordinal());
        let length = if date.leap_year() { 366 } else { 365 };
        if week == 0 {
            let before = if chrono::NaiveDate::from_ymd_opt(date.year() - 1, 1, 1).is_some_and(|d| d.leap_year()) {
                366
            } else {
                365
            };
            return (date.year() - 1, self.week_number(date.ordinal() + before));
        }
        // the first days of the next year may take this day into their first week
        let (_, minimal) = self.locale.week();
        let to_end = length - date.ordinal();
        let days_of_next = 7u32.saturating_sub(self.day_of_week() + 1 + to_end);
        if self.day_of_week() + 1 + to_end < 7 && days_of_next >= minimal {
            return (date.year() + 1, 1);
        }
        (date.year(), week)
    }
}

/// A number padded with zeros after a prefix.
fn pad(out: &mut String, prefix: &str, number: i64, width: usize) {
    let _ = write!(out, "{prefix}{number:0width$}");
}

/// Two letters are the last two digits; with four or more a longer year carries its sign.
fn year(out: &mut String, year: i32, count: usize) {
    if count == 2 {
        pad(out, "", i64::from(year.rem_euclid(100)), 2);
    } else if year < 0 {
        pad(out, "-", -i64::from(year), count);
    } else {
        let exceeds = count >= 4 && year.to_string().len() > count;
        pad(out, if exceeds { "+" } else { "" }, i64::from(year), count);
    }
}

/// Sign, hours, separator and minutes; minutes left out if they are zero and not `always`.
fn offset_form(offset: FixedOffset, separator: &str, always: bool, zero: &str) -> String {
    let seconds = offset.local_minus_utc();
    if seconds == 0 {
        return zero.to_owned();
    }
    let sign = if seconds < 0 { '-' } else { '+' };
    let (hours, minutes) = (seconds.abs() / 3600, seconds.abs() / 60 % 60);
    if always || minutes != 0 {
        format!("{sign}{hours:02}{separator}{minutes:02}")
    } else {
        format!("{sign}{hours:02}")
    }
}

/// `GMT+1`, or `GMT+01:00` in full.
fn localized(offset: FixedOffset, full: bool) -> String {
    let seconds = offset.local_minus_utc();
    if seconds == 0 {
        return "GMT".to_owned();
    }
    let sign = if seconds < 0 { '-' } else { '+' };
    let (hours, minutes) = (seconds.abs() / 3600, seconds.abs() / 60 % 60);
    match (full, minutes) {
        (true, _) => format!("GMT{sign}{hours:02}:{minutes:02}"),
        (false, 0) => format!("GMT{sign}{hours}"),
        (false, _) => format!("GMT{sign}{hours}:{minutes:02}"),
    }
}
