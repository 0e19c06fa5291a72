//! Reading texts by a pattern.

use chrono::{FixedOffset, NaiveDate, NaiveTime, Weekday};

use super::iso::Scanner;
use super::pattern::Item;
use super::{Locale, Moment, Pattern, Problem, days_in_month};
use crate::value::{Zone, Zoned};

/// Reads a text: with an offset or zone a point in time, else a local time; a date alone is its start.
pub(super) fn parse(text: &str, pattern: &Pattern) -> Result<Moment, Problem> {
    let failed = || format!("Text '{text}' could not be parsed");
    if pattern.style.is_some() {
        return Err("Localised styles are not supported yet as existing format".to_owned());
    }
    let mut reader = Reader { scanner: Scanner { rest: text }, fields: Fields::default() };
    reader.items(&pattern.items).filter(|()| reader.scanner.rest.is_empty()).ok_or_else(failed)?;
    reader.fields.resolve().ok_or_else(failed)
}

/// What was read so far.
#[derive(Debug, Clone, Copy, Default)]
struct Fields {
    year: Option<i32>,
    month: Option<u32>,
    day: Option<u32>,
    day_of_year: Option<u32>,
    iso_week: Option<(i32, u32, u32)>,
    hour: Option<u32>,
    half_hour: Option<u32>,
    afternoon: Option<bool>,
    minute: u32,
    second: u32,
    nanos: u32,
    offset: Option<FixedOffset>,
    zone: Option<Zone>,
}

impl Fields {
    fn date(&self) -> Option<NaiveDate> {
        if let Some((year, week, day)) = self.iso_week {
            let weekday = Weekday::try_from(u8::try_from(day.checked_sub(1)?).ok()?).ok()?;
            return NaiveDate::from_isoywd_opt(year, week, weekday);
        }
        let year = self.year?;
        if let Some(day) = self.day_of_year {
            return NaiveDate::from_yo_opt(year, day);
        }
        let (month, day) = (self.month?, self.day?);
        if !(1..=12).contains(&month) || day > 31 {
            return None;
        }
        NaiveDate::from_ymd_opt(year, month, day.min(days_in_month(year, month)))
    }

    fn resolve(&self) -> Option<Moment> {
        let date = self.date()?;
        let hour = match (self.hour, self.half_hour, self.afternoon) {
            (Some(hour), _, _) => Some(hour),
            (None, Some(hour), Some(afternoon)) => Some(hour % 12 + if afternoon { 12 } else { 0 }),
            _ => None,
        };
        let Some(hour) = hour else { return Some(Moment::Local(date.and_time(NaiveTime::MIN))) };
        let time = NaiveTime::from_hms_nano_opt(hour, self.minute, self.second, self.nanos)?;
        let local = date.and_time(time);
        match (self.offset, self.zone) {
            (Some(offset), zone) => {
                let instant = local.and_local_timezone(offset).single()?.to_utc();
                Some(Moment::Fixed(Zoned { instant, zone: zone.unwrap_or(Zone::Offset(offset)) }))
            }
            (None, Some(zone)) => Some(Moment::Fixed(Zoned { instant: zone.instant_of(local)?, zone })),
            (None, None) => Some(Moment::Local(local)),
        }
    }
}

struct Reader<'a> {
    scanner: Scanner<'a>,
    fields: Fields,
}

impl Reader<'_> {
    fn items(&mut self, items: &[Item]) -> Option<()> {
        let mut index = 0;
        while let Some(item) = items.get(index) {
            index += 1;
            match item {
                Item::OptionalStart => {
                    let end = matching_end(items, index);
                    let (rest, fields) = (self.scanner.rest, self.fields);
                    if self.items(&items[index..end]).is_none() {
                        self.scanner.rest = rest;
                        self.fields = fields;
                    }
                    index = end;
                }
                Item::OptionalEnd => {}
                Item::Field(letter, count) => self.field(*letter, *count, fixed_width(&items[index..]))?,
                other => self.other(other)?,
            }
        }
        Some(())
    }

    fn other(&mut self, item: &Item) -> Option<()> {
        match item {
            Item::Literal(text) => self.scanner.rest = self.scanner.rest.strip_prefix(text.as_str())?,
            Item::IsoSeconds => {
                if self.scanner.skip(':') {
                    self.fields.second = self.scanner.digits(2)?;
                }
            }
            Item::Fraction | Item::GroupedFraction => {
                if self.scanner.skip('.') {
                    let count = self.scanner.rest.bytes().take_while(u8::is_ascii_digit).count().min(9);
                    self.fraction(count)?;
                }
            }
            Item::Offset => {
                // optional, as a date alone may stand without one
                if !self.scanner.rest.is_empty() {
                    self.fields.offset = Some(self.scanner.offset()?);
                }
            }
            Item::Region => {
                if self.scanner.skip('[') {
                    let end = self.scanner.rest.find(']')?;
                    self.fields.zone = Some(self.scanner.rest[..end].parse().ok()?);
                    self.scanner.rest = &self.scanner.rest[end + 1..];
                }
            }
            Item::IsoWeekDate => {
                let year = i32::try_from(self.scanner.digits(4)?).ok()?;
                self.scanner.rest = self.scanner.rest.strip_prefix("-W")?;
                let week = self.scanner.digits(2)?;
                let day = if self.scanner.skip('-') { self.scanner.digits(1)? } else { return None };
                self.fields.iso_week = Some((year, week, day));
            }
            Item::Rfc1123 => self.rfc_1123()?,
            Item::OptionalStart | Item::OptionalEnd | Item::Field(..) => {}
        }
        Some(())
    }

    fn rfc_1123(&mut self) -> Option<()> {
        let rest = self.scanner.rest;
        if rest.get(3..5) == Some(", ") {
            self.text('E', 3)?;
            self.scanner.rest = self.scanner.rest.strip_prefix(", ")?;
        }
        self.fields.day = Some(self.number(1, 2)?);
        let blank = |reader: &mut Self| reader.scanner.skip(' ').then_some(());
        blank(self)?;
        self.text('M', 3)?;
        blank(self)?;
        self.fields.year = i32::try_from(self.scanner.digits(4)?).ok();
        blank(self)?;
        self.fields.hour = Some(self.scanner.digits(2)?);
        self.other(&Item::Literal(":".to_owned()))?;
        self.fields.minute = self.scanner.digits(2)?;
        self.other(&Item::IsoSeconds)?;
        blank(self)?;
        match self.scanner.rest.strip_prefix("GMT") {
            Some(rest) => {
                self.scanner.rest = rest;
                self.fields.offset = FixedOffset::east_opt(0);
            }
            None => self.fields.offset = Some(self.compact_offset()?),
        }
        Some(())
    }

    /// `+0530` or `+05`.
    fn compact_offset(&mut self) -> Option<FixedOffset> {
        let sign = if self.scanner.skip('+') {
            1
        } else if self.scanner.skip('-') {
            -1
        } else {
            return None;
        };
        let hours = self.scanner.digits(2)?;
        self.scanner.skip(':');
        let minutes = self.scanner.digits(2).unwrap_or(0);
        FixedOffset::east_opt(sign * i32::try_from(hours * 3600 + minutes * 60).ok()?)
    }

    fn fraction(&mut self, count: usize) -> Option<()> {
        let power = u32::try_from(9usize.checked_sub(count)?).ok()?;
        self.fields.nanos = if count == 0 { 0 } else { self.scanner.digits(count)?.checked_mul(10u32.pow(power))? };
        Some(())
    }

    /// A number of at least and at most so many digits.
    fn number(&mut self, least: usize, most: usize) -> Option<u32> {
        let count = self.scanner.rest.bytes().take_while(u8::is_ascii_digit).count().min(most);
        if count < least { None } else { self.scanner.digits(count) }
    }

    /// `following` are the digits that fixed fields directly behind this one need.
    fn field(&mut self, letter: char, count: usize, following: usize) -> Option<()> {
        let available = self.scanner.rest.bytes().take_while(u8::is_ascii_digit).count();
        let free = available.saturating_sub(following).max(count).min(9);
        match letter {
            'u' | 'y' if count == 2 => self.fields.year = Some(2000 + i32::try_from(self.scanner.digits(2)?).ok()?),
            'u' | 'y' => {
                let negative = self.scanner.skip('-');
                self.scanner.skip('+');
                let year = i32::try_from(self.number(count, free)?).ok()?;
                self.fields.year = Some(if negative { -year } else { year });
            }
            'M' | 'L' | 'E' | 'e' | 'c' if count >= 3 => self.text(if letter == 'L' { 'M' } else { letter }, count)?,
            'E' => self.text('E', 3)?,
            'a' => self.text('a', 1)?,
            'S' => self.fraction(count)?,
            'n' => self.fields.nanos = self.number(count, free)?,
            'V' | 'z' => self.zone_name()?,
            'X' | 'x' | 'Z' | 'O' => self.offset_field(letter)?,
            'G' => self.scanner.rest = self.scanner.rest.strip_prefix("AD")?,
            _ => self.numeric(letter, count, if count == 1 { free } else { count })?,
        }
        Some(())
    }

    fn numeric(&mut self, letter: char, least: usize, most: usize) -> Option<()> {
        let number = self.number(least, most)?;
        let fields = &mut self.fields;
        match letter {
            'M' | 'L' => fields.month = Some(number),
            'd' => fields.day = Some(number),
            'D' => fields.day_of_year = Some(number),
            'H' => fields.hour = Some(number),
            'k' => fields.hour = Some(number % 24),
            'h' | 'K' => fields.half_hour = Some(number),
            'm' => fields.minute = number,
            's' => fields.second = number,
            // read but of no use for the date
            'Q' | 'q' | 'e' | 'c' => {}
            _ => return None,
        }
        Some(())
    }

    fn offset_field(&mut self, letter: char) -> Option<()> {
        if matches!(letter, 'X' | 'Z') && self.scanner.skip('Z') {
            self.fields.offset = FixedOffset::east_opt(0);
            return Some(());
        }
        if letter == 'O' {
            self.scanner.rest = self.scanner.rest.strip_prefix("GMT")?;
            if self.scanner.rest.is_empty() {
                self.fields.offset = FixedOffset::east_opt(0);
                return Some(());
            }
        }
        self.fields.offset = Some(self.compact_offset()?);
        Some(())
    }

    fn zone_name(&mut self) -> Option<()> {
        let rest = self.scanner.rest;
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && !"/_+-:".contains(c)).unwrap_or(rest.len());
        self.fields.zone = Some(rest[..end].parse().ok()?);
        self.scanner.rest = &rest[end..];
        Some(())
    }

    /// A word in the server's locale: the longest that fits.
    fn text(&mut self, letter: char, count: usize) -> Option<()> {
        let locale = Locale::default();
        let words = locale.words().ok()?;
        let names: &[&str] = match (letter, count) {
            ('M', 3) => &words.short_months,
            ('M', _) => &words.months,
            ('a', _) => &words.halves,
            (_, 3) => &words.short_days,
            _ => &words.days,
        };
        let fits = names.iter().enumerate().filter(|(_, name)| self.scanner.rest.starts_with(**name));
        let (index, name) = fits.max_by_key(|(_, name)| name.len())?;
        self.scanner.rest = &self.scanner.rest[name.len()..];
        match letter {
            'M' => self.fields.month = u32::try_from(index + 1).ok(),
            'a' => self.fields.afternoon = Some(index == 1),
            _ => {}
        }
        Some(())
    }
}

/// The index behind the end of the optional section that starts before `from`.
fn matching_end(items: &[Item], from: usize) -> usize {
    let mut open = 1;
    for (offset, item) in items[from..].iter().enumerate() {
        match item {
            Item::OptionalStart => open += 1,
            Item::OptionalEnd => open -= 1,
            _ => {}
        }
        if open == 0 {
            return from + offset;
        }
    }
    items.len()
}

/// The digits of the number fields of fixed width that follow directly.
fn fixed_width(items: &[Item]) -> usize {
    let mut width = 0;
    for item in items {
        match item {
            Item::Field('M' | 'L' | 'd' | 'H' | 'h' | 'k' | 'K' | 'm' | 's', 2) => width += 2,
            Item::Field('D', 3) => width += 3,
            Item::Field('S', count) => width += count,
            _ => break,
        }
    }
    width
}

#[cfg(test)]
mod tests {
    use chrono::Datelike;

    use super::*;

    fn local(text: &str, pattern: &str) -> String {
        match parse(text, &Pattern::new(pattern).expect("a pattern")) {
            Ok(Moment::Local(local)) => local.to_string(),
            Ok(Moment::Fixed(zoned)) => zoned.instant.to_string(),
            Err(problem) => problem,
        }
    }

    #[test]
    fn adjacent_numbers_are_told_apart_by_their_widths() {
        assert_eq!(local("20240115", "yyyyMMdd"), "2024-01-15 00:00:00");
        assert_eq!(local("20240115103045", "yyyyMMddHHmmss"), "2024-01-15 10:30:45");
    }

    #[test]
    fn a_day_beyond_a_short_month_is_its_last_day() {
        assert_eq!(local("31.02.2024", "dd.MM.yyyy"), "2024-02-29 00:00:00");
        assert!(local("32.01.2024", "dd.MM.yyyy").contains("could not be parsed"));
    }

    #[test]
    fn optional_parts_may_be_absent() {
        assert_eq!(local("2024-01-15", "yyyy-MM-dd[ HH:mm]"), "2024-01-15 00:00:00");
        assert_eq!(local("2024-01-15 08:05", "yyyy-MM-dd[ HH:mm]"), "2024-01-15 08:05:00");
    }

    #[test]
    fn half_days_need_their_half() {
        assert_eq!(local("01/02/2024 08:05 PM", "MM/dd/yyyy hh:mm a"), "2024-01-02 20:05:00");
    }

    #[test]
    fn a_year_and_month_alone_are_no_date() {
        assert!(local("2024-01", "yyyy-MM").contains("could not be parsed"));
    }

    #[test]
    fn the_iso_calendar_of_weeks_is_read() {
        assert_eq!(local("2024-W03-1", "iso_week_date"), "2024-01-15 00:00:00");
        assert_eq!(NaiveDate::from_ymd_opt(2024, 1, 15).map(|date| date.iso_week().week()), Some(3));
    }
}
