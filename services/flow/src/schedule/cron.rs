//! Cron expressions: their grammar is Kestra's (flow model reference 6.2), their dates are found by `croner`.
//!
//! Over a change of the clock: a job at one fixed time of the day runs once, at the first moment after a gap that
//! swallowed its time, and at the earlier of two moments that have the same local time. One that repeats within the
//! day follows the real time: nothing in the gap, both hours of an overlap.

use chrono::{DateTime, DurationRound, TimeDelta, TimeZone, Utc};
use croner::{
    Direction,
    parser::{CronParser, Seconds, Year},
};
use windhover_expression::Zone;

/// A cron expression.
#[derive(Debug, Clone)]
pub struct Cron {
    source: String,
    inner: croner::Cron,
}

/// One place of an expression.
struct Field {
    name: &'static str,
    least: u32,
    most: u32,
    /// Names that stand for numbers, the first for `first_name`.
    names: &'static [&'static str],
    first_name: u32,
}

impl Field {
    const fn number(name: &'static str, least: u32, most: u32) -> Self {
        Self { name, least, most, names: &[], first_name: 0 }
    }
}

const SECOND: Field = Field::number("second", 0, 59);
const FIELDS: [Field; 5] = [
    Field::number("minute", 0, 59),
    Field::number("hour", 0, 23),
    Field::number("day of month", 1, 31),
    Field {
        name: "month",
        least: 1,
        most: 12,
        names: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
        first_name: 1,
    },
    Field {
        name: "day of week",
        least: 0,
        most: 7,
        names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
        first_name: 0,
    },
];

const NICKNAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// Later dates are not looked for: what matches only then matches never.
const HORIZON_YEARS: i64 = 100;

impl Cron {
    /// Reads an expression of five fields, of six (seconds first) when `with_seconds`, or a nickname.
    ///
    /// # Errors
    /// Why it is none, without the expression itself.
    pub fn parse(source: &str, with_seconds: bool) -> Result<Self, String> {
        let text = source.trim();
        if let Some(nickname) = text.strip_prefix('@') {
            let found = NICKNAMES.iter().find(|(name, _)| name[1..].eq_ignore_ascii_case(nickname));
            let Some((_, meaning)) = found else {
                let known: Vec<&str> = NICKNAMES.iter().map(|(name, _)| *name).collect();
                return Err(format!("there is no nickname `{text}`; {} are", known.join(", ")));
            };
            return Self::compile(source, format!("0 {meaning}"));
        }
        let parts: Vec<&str> = text.split_whitespace().collect();
        let expected = if with_seconds { 6 } else { 5 };
        if parts.len() != expected {
            let hint = match (parts.len(), with_seconds) {
                (6, false) => "; six, the seconds first, need `withSeconds: true`",
                (5, true) => "; the seconds stand first, or `withSeconds` is left out",
                _ => "",
            };
            return Err(format!("it has {} fields and needs {expected}{hint}", parts.len()));
        }
        let fields = if with_seconds { std::iter::once(&SECOND) } else { std::iter::once(&FIELDS[0]) };
        let rest = if with_seconds { &FIELDS[..] } else { &FIELDS[1..] };
        let mut normal = if with_seconds { Vec::new() } else { vec!["0".to_owned()] };
        for (field, part) in fields.chain(rest).zip(parts) {
            normal.push(field.normalise(part)?);
        }
        Self::compile(source, normal.join(" "))
    }

    fn compile(source: &str, normal: String) -> Result<Self, String> {
        let parser = CronParser::builder().seconds(Seconds::Required).year(Year::Disallowed).build();
        let inner = parser.parse(&normal).map_err(|error| error.to_string())?;
        Ok(Self { source: source.to_owned(), inner })
    }

    /// As it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The first date at or after `from`; `None` when there is none within a century.
    pub fn at_or_after(&self, from: DateTime<Utc>, zone: Zone) -> Option<DateTime<Utc>> {
        let floor = from.duration_trunc(TimeDelta::seconds(1)).ok()?;
        // From the second before: the first moment after a gap is found on the way through the gap alone.
        let before = if floor < from { floor } else { floor.checked_sub_signed(TimeDelta::seconds(1))? };
        self.find(before, false, zone, Direction::Forward)
    }

    /// The first date after `from`; `None` when there is none within a century.
    pub fn after(&self, from: DateTime<Utc>, zone: Zone) -> Option<DateTime<Utc>> {
        self.find(from.duration_trunc(TimeDelta::seconds(1)).ok()?, false, zone, Direction::Forward)
    }

    /// The last date before `from`; `None` when there is none within a century.
    pub fn before(&self, from: DateTime<Utc>, zone: Zone) -> Option<DateTime<Utc>> {
        let floor = from.duration_trunc(TimeDelta::seconds(1)).ok()?;
        self.find(floor, floor < from, zone, Direction::Backward)
    }

    fn find(&self, from: DateTime<Utc>, inclusive: bool, zone: Zone, direction: Direction) -> Option<DateTime<Utc>> {
        match zone {
            Zone::Region(region) => self.find_in(&region.from_utc_datetime(&from.naive_utc()), inclusive, direction),
            Zone::Offset(offset) => self.find_in(&offset.from_utc_datetime(&from.naive_utc()), inclusive, direction),
        }
    }

    fn find_in<Z: TimeZone>(&self, from: &DateTime<Z>, inclusive: bool, direction: Direction) -> Option<DateTime<Utc>> {
        let found = match direction {
            Direction::Forward => self.inner.find_next_occurrence(from, inclusive),
            Direction::Backward => self.inner.find_previous_occurrence(from, inclusive),
        };
        let found = found.ok()?.to_utc();
        let distance = (found - from.to_utc()).abs();
        (distance <= TimeDelta::days(HORIZON_YEARS * 366)).then_some(found)
    }
}

impl Field {
    /// The field in numbers, and without the forms that `croner` reads otherwise.
    fn normalise(&self, text: &str) -> Result<String, String> {
        let items: Result<Vec<String>, String> = text.split(',').map(|item| self.item(item)).collect();
        items.map(|items| items.join(",")).map_err(|why| format!("the {} `{text}` {why}", self.name))
    }

    fn item(&self, item: &str) -> Result<String, String> {
        let (base, step) = match item.split_once('/') {
            Some((base, step)) => (base, Some(step)),
            None => (item, None),
        };
        let step = match step {
            None => None,
            Some(text) => match number(text) {
                Some(step @ 1..) if step <= self.most => Some(step),
                _ => return Err(format!("has a step that is no number from 1 to {}", self.most)),
            },
        };
        let base = match base.split_once('-') {
            _ if base == "*" => "*".to_owned(),
            Some((first, last)) => {
                let (first, last) = (self.value(first, false)?, self.value(last, true)?);
                if first > last {
                    return Err("has a range that ends before it begins".to_owned());
                }
                format!("{first}-{last}")
            }
            None => {
                let value = self.value(base, false)?;
                // A start with a step goes on to the end of the field.
                if step.is_some() { format!("{value}-{}", self.most.min(self.last())) } else { value.to_string() }
            }
        };
        Ok(match step {
            Some(step) => format!("{base}/{step}"),
            None => base,
        })
    }

    /// The greatest value that is not another name of one before it.
    fn last(&self) -> u32 {
        if self.most == 7 { 6 } else { self.most }
    }

    fn value(&self, text: &str, ends_range: bool) -> Result<u32, String> {
        if let Some(at) = self.names.iter().position(|name| name.eq_ignore_ascii_case(text)) {
            let value = self.first_name + at as u32;
            // SUN at the end of a range is the day after Saturday.
            return Ok(if ends_range && self.most == 7 && value == 0 { 7 } else { value });
        }
        match number(text) {
            Some(value) if (self.least..=self.most).contains(&value) => Ok(value),
            _ => Err(format!("holds `{text}`, which is none of {} to {}", self.least, self.most)),
        }
    }
}

/// Digits, and nothing else.
fn number(text: &str) -> Option<u32> {
    let plain = !text.is_empty() && text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text).unwrap().to_utc()
    }

    fn zone(name: &str) -> Zone {
        name.parse().unwrap()
    }

    /// The first dates after `from`, in UTC, without their seconds and zone.
    fn dates(cron: &str, zone_name: &str, from: &str, count: usize) -> Vec<String> {
        let cron = Cron::parse(cron, cron.split_whitespace().count() == 6).unwrap();
        let mut at = utc(from);
        let mut found = Vec::new();
        while found.len() < count {
            let Some(next) = cron.after(at, zone(zone_name)) else { break };
            assert_eq!(cron.at_or_after(next, zone(zone_name)), Some(next), "{next} is a date itself");
            found.push(next.format("%Y-%m-%dT%H:%M:%S").to_string());
            at = next;
        }
        found
    }

    #[test]
    fn dates_follow_the_fields_in_the_zone() {
        let cases: &[(&str, &str, &str, &[&str])] = &[
            ("0 0 1 * *", "UTC", "2024-02-20T00:00:00Z", &["2024-03-01T00:00:00", "2024-04-01T00:00:00"]),
            ("0 12 * * 1", "Europe/Paris", "2021-07-31T00:00:00Z", &["2021-08-02T10:00:00", "2021-08-09T10:00:00"]),
            ("0 12 * * MON", "+02:00", "2021-07-31T00:00:00Z", &["2021-08-02T10:00:00"]),
            ("@hourly", "UTC", "2024-01-01T00:30:00Z", &["2024-01-01T01:00:00", "2024-01-01T02:00:00"]),
            ("@daily", "America/New_York", "2024-01-01T00:00:00Z", &["2024-01-01T05:00:00"]),
            ("@WEEKLY", "UTC", "2024-01-01T00:00:00Z", &["2024-01-07T00:00:00"]),
            ("*/2 * * * * *", "UTC", "2024-01-01T00:00:01Z", &["2024-01-01T00:00:02", "2024-01-01T00:00:04"]),
            ("5/20 * * * *", "UTC", "2024-01-01T00:00:00Z", &["2024-01-01T00:05:00", "2024-01-01T00:25:00"]),
            ("0 0 * feb,apr fri-sun", "UTC", "2024-01-20T00:00:00Z", &["2024-02-02T00:00:00", "2024-02-03T00:00:00"]),
            ("0 0 * * 7", "UTC", "2024-01-01T00:00:00Z", &["2024-01-07T00:00:00", "2024-01-14T00:00:00"]),
            // Both days restricted: either matches.
            ("0 0 13 * 5", "UTC", "2024-09-10T00:00:00Z", &["2024-09-13T00:00:00", "2024-09-20T00:00:00"]),
            ("0 0 13 * 5", "UTC", "2024-10-11T01:00:00Z", &["2024-10-13T00:00:00", "2024-10-18T00:00:00"]),
            ("0 0 29 2 *", "UTC", "2024-03-01T00:00:00Z", &["2028-02-29T00:00:00"]),
            ("0 0 30 2 *", "UTC", "2024-03-01T00:00:00Z", &[]),
        ];
        for (cron, zone, from, expected) in cases {
            assert_eq!(dates(cron, zone, from, expected.len().max(1)), *expected, "{cron} in {zone}");
        }
    }

    #[test]
    fn a_gap_delays_a_fixed_time_and_swallows_repeated_ones() {
        // 31 March 2024, Paris: 02:00 to 03:00 does not exist; 03:00 is 01:00 UTC.
        let from = "2024-03-30T12:00:00Z";
        let fixed = ["2024-03-31T01:00:00", "2024-04-01T00:30:00"];
        assert_eq!(dates("30 2 * * *", "Europe/Paris", from, 2), fixed);
        let half_hours = dates("*/30 * * * *", "Europe/Paris", "2024-03-31T00:20:00Z", 3);
        assert_eq!(half_hours, ["2024-03-31T00:30:00", "2024-03-31T01:00:00", "2024-03-31T01:30:00"]);
    }

    #[test]
    fn an_overlap_runs_a_fixed_time_once_and_repeated_ones_in_both_hours() {
        // 27 October 2024, Paris: 02:00 to 03:00 comes twice, from 00:00 and from 01:00 UTC.
        let fixed = dates("30 2 * * *", "Europe/Paris", "2024-10-26T12:00:00Z", 2);
        assert_eq!(fixed, ["2024-10-27T00:30:00", "2024-10-28T01:30:00"]);
        let half_hours = dates("*/30 * * * *", "Europe/Paris", "2024-10-27T00:00:00Z", 4);
        let both = ["2024-10-27T00:30:00", "2024-10-27T01:00:00", "2024-10-27T01:30:00", "2024-10-27T02:00:00"];
        assert_eq!(half_hours, both);
    }

    #[test]
    fn backwards_leads_to_the_same_dates() {
        for (cron, name) in [("30 2 * * *", "Europe/Paris"), ("*/20 * * * *", "America/New_York"), ("0 0 1 * *", "UTC")]
        {
            let cron = Cron::parse(cron, false).unwrap();
            for from in ["2024-03-30T00:00:00Z", "2024-10-26T00:00:00Z", "2024-11-02T00:00:00Z"] {
                let mut at = cron.after(utc(from), zone(name)).unwrap();
                for _ in 0..200 {
                    let next = cron.after(at, zone(name)).unwrap();
                    assert_eq!(cron.before(next, zone(name)), Some(at), "before {next}");
                    at = next;
                }
            }
        }
    }

    #[test]
    fn parts_of_a_second_do_not_matter() {
        let cron = Cron::parse("* * * * *", false).unwrap();
        let exact = utc("2024-01-01T00:01:00Z");
        let late = utc("2024-01-01T00:01:00.250Z");
        assert_eq!(cron.at_or_after(exact, Zone::default()), Some(exact));
        assert_eq!(cron.at_or_after(late, Zone::default()), Some(utc("2024-01-01T00:02:00Z")));
        assert_eq!(cron.after(late, Zone::default()), Some(utc("2024-01-01T00:02:00Z")));
        assert_eq!(cron.before(late, Zone::default()), Some(exact));
        assert_eq!(cron.before(exact, Zone::default()), Some(utc("2024-01-01T00:00:00Z")));
    }

    #[test]
    fn what_kestra_does_not_take_is_refused() {
        let bad = [
            "",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 8",
            "* * ? * *",
            "* * L * *",
            "* * * * 5#2",
            "* * 15W * *",
            "5-1 * * * *",
            "*/0 * * * *",
            "*/a * * * *",
            "a * * * *",
            ", * * * *",
            "1- * * * *",
            "* * * * MOO",
            "@often",
            "* * * * +1",
            "99999999999 * * * *",
            "1/2/3 * * * *",
        ];
        for text in bad {
            assert!(Cron::parse(text, false).is_err(), "{text}");
        }
        assert!(Cron::parse("* * * * *", true).is_err());
        assert!(Cron::parse("* * * * * *", false).unwrap_err().contains("withSeconds"));
    }
}
