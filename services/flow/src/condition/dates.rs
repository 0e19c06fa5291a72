//! Conditions on dates (flow model reference 7.1, 1.x reference 7).

use chrono::{DateTime, Datelike, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike, Weekday};
use windhover_expression::{Environment, ExpressionError};

use super::{ConditionError, holidays::is_holiday};
use crate::Text;

/// What the condition looks at: a date in its own offset.
#[derive(Debug)]
pub enum DateTest {
    /// Strictly after `after` and strictly before `before`, as far as they are given.
    DateTimeBetween {
        after: Option<Text>,
        before: Option<Text>,
    },
    /// The same for the time of day; an `after` that is not before `before` means over midnight.
    TimeBetween {
        after: Option<Text>,
        before: Option<Text>,
    },
    DayWeek {
        day: Text,
    },
    /// The date is this occurrence of the weekday in its month.
    DayWeekInMonth {
        day: Text,
        occurrence: Text,
    },
    Weekend,
    /// The date is a public holiday of the country, or of its part.
    PublicHoliday {
        country: Text,
        part: Option<Text>,
    },
}

/// A condition on a date.
#[derive(Debug)]
pub struct DateCondition {
    /// The date; `None`: `trigger.date`.
    pub date: Option<Text>,
    pub test: DateTest,
}

/// Where a template shows the date of the slot that is looked at.
const SLOT_DATE: [&str; 2] = ["trigger.date", "schedule.date"];

impl DateCondition {
    /// Whether it is about the date of the slot, however that is written.
    pub(crate) fn is_of_slot(&self) -> bool {
        self.date.as_ref().is_none_or(|text| {
            let inner = text.source().trim().strip_prefix("{{").and_then(|text| text.strip_suffix("}}"));
            inner.is_some_and(|name| SLOT_DATE.contains(&name.trim()))
        })
    }

    /// Whether the answer is the same for all times of one local day.
    pub(crate) fn is_of_day(&self) -> bool {
        !matches!(self.test, DateTest::DateTimeBetween { .. } | DateTest::TimeBetween { .. })
    }

    /// Whether all that it compares with is written out, so that the answer needs no rendering.
    pub(crate) fn is_literal(&self) -> bool {
        let literal = |text: &Option<Text>| text.as_ref().is_none_or(Text::is_literal);
        match &self.test {
            DateTest::DateTimeBetween { after, before } | DateTest::TimeBetween { after, before } => {
                literal(after) && literal(before)
            }
            DateTest::DayWeek { day } => day.is_literal(),
            DateTest::DayWeekInMonth { day, occurrence } => day.is_literal() && occurrence.is_literal(),
            DateTest::Weekend => true,
            DateTest::PublicHoliday { country, part } => country.is_literal() && literal(part),
        }
    }

    /// Whether it holds for what its `date` renders to.
    pub(super) fn holds(&self, environment: &Environment<'_>) -> Result<bool, ConditionError> {
        let text = match &self.date {
            Some(text) => text.render(environment)?,
            None => windhover_expression::render_text("{{ trigger.date }}", environment)?,
        };
        let render = |text: &Text| text.render(environment);
        if self.is_of_day() {
            return self.test.holds_on(local_date(text.trim())?, &render);
        }
        self.test.holds_at(date_time(text.trim())?, &render)
    }

    /// Whether it holds for this slot. For conditions [of the slot](Self::is_of_slot) only.
    pub(crate) fn holds_for(
        &self,
        slot: DateTime<FixedOffset>,
        environment: &Environment<'_>,
    ) -> Result<bool, ConditionError> {
        let render = |text: &Text| {
            if text.is_literal() { Ok(text.source().to_owned()) } else { text.render(environment) }
        };
        if self.is_of_day() {
            return self.test.holds_on(slot.date_naive(), &render);
        }
        self.test.holds_at(slot, &render)
    }
}

type Render<'a> = &'a dyn Fn(&Text) -> Result<String, ExpressionError>;

impl DateTest {
    fn holds_on(&self, date: NaiveDate, render: Render<'_>) -> Result<bool, ConditionError> {
        match self {
            Self::DayWeek { day } => Ok(date.weekday() == weekday(&render(day)?)?),
            Self::DayWeekInMonth { day, occurrence } => {
                let right_day = date.weekday() == weekday(&render(day)?)?;
                Ok(right_day && is_occurrence(date, render(occurrence)?.trim())?)
            }
            Self::PublicHoliday { country, part } => {
                let country = render(country)?;
                let part = part.as_ref().map(render).transpose()?.filter(|part| !part.trim().is_empty());
                is_holiday(date, country.trim(), part.as_deref().map(str::trim)).ok_or_else(|| {
                    let place = part.map_or_else(|| country.clone(), |part| format!("{country}, {part}"));
                    ConditionError::Value(format!("there is no calendar of public holidays of `{place}`"))
                })
            }
            _ => Ok(matches!(date.weekday(), Weekday::Sat | Weekday::Sun)),
        }
    }

    fn holds_at(&self, at: DateTime<FixedOffset>, render: Render<'_>) -> Result<bool, ConditionError> {
        match self {
            Self::DateTimeBetween { after, before } => {
                let bound = |text: &Option<Text>| -> Result<_, ConditionError> {
                    text.as_ref().map(|text| date_time(render(text)?.trim())).transpose()
                };
                let (after, before) = (bound(after)?, bound(before)?);
                neither(after.is_none() && before.is_none())?;
                Ok(after.is_none_or(|after| at > after) && before.is_none_or(|before| at < before))
            }
            Self::TimeBetween { after, before } => {
                let bound = |text: &Option<Text>| -> Result<_, ConditionError> {
                    text.as_ref().map(|text| time_of_day(render(text)?.trim())).transpose()
                };
                let (after, before) = (bound(after)?, bound(before)?);
                neither(after.is_none() && before.is_none())?;
                Ok(between_times(at, after, before))
            }
            _ => self.holds_on(at.date_naive(), render),
        }
    }
}

fn neither(neither: bool) -> Result<(), ConditionError> {
    if neither { Err(ConditionError::Value("one of `after` and `before` is needed".to_owned())) } else { Ok(()) }
}

/// A time of day in an offset of its own.
type TimeOfDay = (NaiveTime, FixedOffset);

/// Each bound counts in its own offset; between two of them lies what a clock passes on its way from the first to the
/// second, over midnight if need be.
fn between_times(at: DateTime<FixedOffset>, after: Option<TimeOfDay>, before: Option<TimeOfDay>) -> bool {
    const DAY: i64 = 86_400_000_000_000;
    let nanos =
        |time: NaiveTime| i64::from(time.num_seconds_from_midnight()) * 1_000_000_000 + i64::from(time.nanosecond());
    let local = |offset: FixedOffset| nanos(at.with_timezone(&offset).time());
    match (after, before) {
        (Some((after, offset)), Some((before, other))) => {
            let shift = i64::from(offset.local_minus_utc() - other.local_minus_utc()) * 1_000_000_000;
            let (after, now) = (nanos(after), local(offset));
            let before = (nanos(before) + shift).rem_euclid(DAY);
            if after < before { after < now && now < before } else { now > after || now < before }
        }
        (Some((after, offset)), None) => local(offset) > nanos(after),
        (None, Some((before, offset))) => local(offset) < nanos(before),
        (None, None) => false,
    }
}

fn weekday(text: &str) -> Result<Weekday, ConditionError> {
    const DAYS: [(&str, Weekday); 7] = [
        ("MONDAY", Weekday::Mon),
        ("TUESDAY", Weekday::Tue),
        ("WEDNESDAY", Weekday::Wed),
        ("THURSDAY", Weekday::Thu),
        ("FRIDAY", Weekday::Fri),
        ("SATURDAY", Weekday::Sat),
        ("SUNDAY", Weekday::Sun),
    ];
    let found = DAYS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text.trim()));
    found.map(|(_, day)| *day).ok_or_else(|| ConditionError::Value(format!("`{}` is no day of the week", text.trim())))
}

/// Whether the date is this one of its weekdays in the month.
fn is_occurrence(date: NaiveDate, occurrence: &str) -> Result<bool, ConditionError> {
    let week = date.day0() / 7;
    Ok(match occurrence {
        "FIRST" => week == 0,
        "SECOND" => week == 1,
        "THIRD" => week == 2,
        "FOURTH" => week == 3,
        "LAST" => date.checked_add_signed(TimeDelta::days(7)).is_none_or(|later| later.month() != date.month()),
        other => {
            let message = format!("`{other}` is no day in the month; FIRST, SECOND, THIRD, FOURTH and LAST are");
            return Err(ConditionError::Value(message));
        }
    })
}

/// A date and time with its offset (Java's ISO forms: seconds may be missing, a zone in brackets may follow).
pub(crate) fn date_time(text: &str) -> Result<DateTime<FixedOffset>, ConditionError> {
    let plain = text.split_once('[').map_or(text, |(plain, _)| plain);
    let parsed = DateTime::parse_from_str(plain, "%Y-%m-%dT%H:%M:%S%.f%:z")
        .or_else(|_| DateTime::parse_from_rfc3339(plain))
        .or_else(|_| DateTime::parse_from_str(plain, "%Y-%m-%dT%H:%M%:z"))
        .ok()
        .or_else(|| {
            let naive = NaiveDateTime::parse_from_str(plain.strip_suffix(['Z', 'z'])?, "%Y-%m-%dT%H:%M").ok()?;
            Some(naive.and_utc().fixed_offset())
        });
    parsed.ok_or_else(|| ConditionError::Value("a date and time with an offset is expected".to_owned()))
}

/// A date alone, or the local date of a date and time.
pub(crate) fn local_date(text: &str) -> Result<NaiveDate, ConditionError> {
    match NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        Ok(date) => Ok(date),
        Err(_) => date_time(text)
            .map(|at| at.date_naive())
            .map_err(|_| ConditionError::Value("a date, or a date and time with an offset, is expected".to_owned())),
    }
}

/// A time of day with its offset.
pub(crate) fn time_of_day(text: &str) -> Result<TimeOfDay, ConditionError> {
    // Any day: what counts is the time and the offset.
    let at = date_time(&format!("2000-01-01T{text}")).map_err(|_| {
        ConditionError::Value("a time of day with an offset is expected, such as 16:00:00+02:00".to_owned())
    })?;
    Ok((at.time(), *at.offset()))
}

#[cfg(test)]
mod tests {
    use windhover_expression::{NoServices, SharedVariables};

    use super::*;

    fn holds(date: &str, test: DateTest) -> Result<bool, ConditionError> {
        let condition = DateCondition { date: Some(Text::new(date)), test };
        condition.holds(&Environment::new(&SharedVariables::default(), &NoServices))
    }

    fn text(text: &str) -> Option<Text> {
        Some(Text::new(text))
    }

    #[test]
    fn days_are_those_of_the_offset_of_the_date() {
        let sunday = || DateTest::DayWeek { day: Text::new("SUNDAY") };
        assert_eq!(holds("2013-09-08", sunday()), Ok(true));
        assert_eq!(holds("2013-09-08T23:30:00-05:00", sunday()), Ok(true), "Monday in UTC");
        assert_eq!(holds("2013-09-09T00:30:00+02:00[Europe/Paris]", sunday()), Ok(false));
        assert_eq!(holds("2013-09-08T15:19+02:00", DateTest::Weekend), Ok(true));
        assert_eq!(holds("2013-09-08T15:19Z", DateTest::Weekend), Ok(true));
        assert!(holds("next Sunday", sunday()).is_err());
        assert!(holds("2013-09-08", DateTest::DayWeek { day: Text::new("SOMEDAY") }).is_err());
    }

    #[test]
    fn occurrences_in_a_month_are_counted_by_their_weekday() {
        let cases = [
            ("2021-04-05", "MONDAY", "FIRST", true),
            ("2021-04-12", "MONDAY", "SECOND", true),
            ("2021-04-12", "MONDAY", "FIRST", false),
            ("2021-04-01", "MONDAY", "LAST", false),
            ("2021-04-26", "MONDAY", "LAST", true),
            ("2021-04-26", "MONDAY", "FOURTH", true),
            ("2021-03-29", "MONDAY", "FOURTH", false),
            ("2021-03-29", "MONDAY", "LAST", true),
            ("2021-04-05", "TUESDAY", "FIRST", false),
        ];
        for (date, day, occurrence, expected) in cases {
            let test = DateTest::DayWeekInMonth { day: Text::new(day), occurrence: Text::new(occurrence) };
            assert_eq!(holds(date, test), Ok(expected), "{date} {day} {occurrence}");
        }
    }

    #[test]
    fn bounds_are_exclusive_and_neither_is_an_error() {
        let between = |after, before| DateTest::DateTimeBetween { after, before };
        let at = "2024-01-01T12:00:00+01:00";
        assert_eq!(holds(at, between(text("2024-01-01T10:59:59Z"), text("2024-01-01T11:00:01Z"))), Ok(true));
        assert_eq!(holds(at, between(text("2024-01-01T11:00:00Z"), None)), Ok(false));
        assert_eq!(holds(at, between(None, text("2024-01-01T11:00:00Z"))), Ok(false));
        assert!(holds(at, between(None, None)).is_err());
        assert!(holds("2024-01-01", between(text("2024-01-01T11:00:00Z"), None)).is_err());
    }

    #[test]
    fn times_of_day_go_over_midnight_and_over_offsets() {
        let night = || DateTest::TimeBetween { after: text("22:00:00Z"), before: text("06:00:00Z") };
        for (at, expected) in [("23:00", true), ("05:59", true), ("06:00", false), ("22:00", false), ("12:00", false)] {
            assert_eq!(holds(&format!("2024-05-01T{at}:00Z"), night()), Ok(expected), "{at}");
        }
        let afternoon = || DateTest::TimeBetween { after: text("16:00:00+02:00"), before: text("18:00+02:00") };
        for (at, expected) in [("14:30", true), ("13:59", false), ("16:00", false)] {
            assert_eq!(holds(&format!("2024-05-01T{at}:00Z"), afternoon()), Ok(expected), "{at}");
        }
        let mixed = || DateTest::TimeBetween { after: text("16:00:00+02:00"), before: text("16:00:00Z") };
        assert_eq!(holds("2024-05-01T15:00:00Z", mixed()), Ok(true));
        assert_eq!(holds("2024-05-01T13:00:00Z", mixed()), Ok(false));
        assert!(holds("2024-05-01T13:00:00Z", DateTest::TimeBetween { after: text("16:00"), before: None }).is_err());
    }
}
