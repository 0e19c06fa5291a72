//! The dates of one trigger: those of its cron expression or list that its conditions let pass.

use chrono::{DateTime, FixedOffset, NaiveDateTime, Offset, SecondsFormat, TimeDelta, TimeZone, Timelike, Utc};
use serde_json::Value;
use windhover_expression::{Environment, Interrupt, Value as ExpressionValue, Variables, Zone};
use windhover_types::{JsonMap, Timestamp};

use super::{Schedule, ScheduleDates};
use crate::condition::{ConditionError, DateCondition, DateTest, date_time};
use crate::{Condition, PropertyError, Trigger, TriggerKind, evaluate_all};

/// Dates are looked for this far (flow model reference 6.2).
const HORIZON: TimeDelta = TimeDelta::days(10 * 366);
/// Dates that one search looks at, so that conditions that hardly ever hold cost a bounded time.
const MOST_LOOKED_AT: u32 = 20_000;

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    At(Timestamp),
    /// No date before this one passes the conditions; whether this one does has not been looked at.
    NotBefore(Timestamp),
    /// None within ten years.
    Never,
}

impl Next {
    /// When somebody should look.
    pub fn look_at(self) -> Option<Timestamp> {
        match self {
            Self::At(at) | Self::NotBefore(at) => Some(at),
            Self::Never => None,
        }
    }

    /// The date, when there is one for sure.
    pub fn date(self) -> Option<Timestamp> {
        match self {
            Self::At(at) => Some(at),
            Self::NotBefore(_) | Self::Never => None,
        }
    }
}

/// Why a trigger has no dates.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DatesError {
    #[error(transparent)]
    Property(#[from] PropertyError),
    #[error("dates[{index}]: a date and time is expected, with an offset or in the `timezone` of the trigger")]
    NoDate { index: usize },
}

/// The dates of one trigger, with the environment that its conditions see.
pub struct Calendar<'a> {
    dates: Dates<'a>,
    zone: Zone,
    /// Those that are about dates alone.
    conditions: Vec<&'a Condition>,
    environment: Environment<'a>,
}

enum Dates<'a> {
    Cron(&'a super::Cron),
    /// In order, each once.
    List(Vec<DateTime<Utc>>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Forward,
    Backward,
}

/// What the conditions say of a date.
enum Verdict {
    Pass,
    /// Not this one.
    Skip,
    /// None of its local day.
    SkipDay,
    /// None up to there.
    SkipTo(DateTime<Utc>),
    /// None any more.
    End,
}

impl<'a> Calendar<'a> {
    /// The dates of a trigger; `None` when it has none because it is no schedule. `environment`: what conditions and a list of dates see
    /// (`trigger` is added).
    ///
    /// # Errors
    /// A list of dates that cannot be rendered or read.
    pub fn of(
        trigger: &'a Trigger,
        server_zone: Zone,
        environment: Environment<'a>,
    ) -> Result<Option<Self>, DatesError> {
        let TriggerKind::Schedule(schedule) = &trigger.kind else { return Ok(None) };
        let zone = schedule.timezone.unwrap_or(server_zone);
        let dates = match &schedule.dates {
            ScheduleDates::Cron(cron) => Dates::Cron(cron),
            ScheduleDates::List(_) => Dates::List(listed(schedule, zone, &environment)?),
        };
        let conditions = trigger.conditions.iter().filter(|condition| condition.is_about_dates()).collect();
        Ok(Some(Self { dates, zone, conditions, environment }))
    }

    /// The first date at or after `from`.
    pub fn from(&self, from: Timestamp) -> Next {
        self.search(from, true, Direction::Forward)
    }

    /// The first date after `after`.
    pub fn after(&self, after: Timestamp) -> Next {
        self.search(after, false, Direction::Forward)
    }

    /// The last date before `before`.
    pub fn before(&self, before: Timestamp) -> Next {
        self.search(before, false, Direction::Backward)
    }

    /// The first date at or after `from`, whatever the conditions say.
    pub fn any_from(&self, from: Timestamp) -> Option<Timestamp> {
        self.dates.find(from.to_utc()?, true, self.zone, Direction::Forward).map(Timestamp::from_utc)
    }

    /// At most `count` dates at or after `from`.
    pub fn list(&self, from: Timestamp, count: usize) -> Vec<Timestamp> {
        let mut found = Vec::new();
        let mut next = self.from(from);
        while found.len() < count {
            let Next::At(at) = next else { break };
            found.push(at);
            next = self.after(at);
        }
        found
    }

    /// ISO-8601 in the zone of the trigger.
    pub fn text(&self, at: Timestamp) -> String {
        at.to_utc().map_or_else(|| at.to_string(), |at| text_of(local(at, self.zone)))
    }

    /// `trigger` of the execution of this date: `date`, and `next` and `previous` as far as they are known. Nothing for
    /// a list of dates (flow model reference 6.4).
    pub fn variables(&self, date: Timestamp) -> JsonMap {
        let mut variables = JsonMap::new();
        if let Dates::Cron(_) = self.dates {
            variables.insert("date".to_owned(), Value::String(self.text(date)));
            for (name, at) in [("next", self.after(date)), ("previous", self.before(date))] {
                if let Some(at) = at.date() {
                    variables.insert(name.to_owned(), Value::String(self.text(at)));
                }
            }
        }
        variables
    }

    fn search(&self, from: Timestamp, inclusive: bool, direction: Direction) -> Next {
        let Some(origin) = from.to_utc() else { return Next::Never };
        let (mut cursor, mut inclusive) = (origin, inclusive);
        let mut last = None;
        for _ in 0..MOST_LOOKED_AT {
            let found = self.dates.find(cursor, inclusive, self.zone, direction);
            // A list is as long as it is.
            let within =
                |date: &DateTime<Utc>| matches!(self.dates, Dates::List(_)) || (*date - origin).abs() <= HORIZON;
            let Some(date) = found.filter(within) else { return Next::Never };
            last = Some(date);
            let at = local(date, self.zone);
            (cursor, inclusive) = match self.verdict(at, direction) {
                Verdict::Pass => return Next::At(Timestamp::from_utc(date)),
                Verdict::End => return Next::Never,
                Verdict::Skip => (date, false),
                Verdict::SkipTo(bound) => (bound, false),
                Verdict::SkipDay => match self.edge_of_day(at, direction) {
                    // Midnight itself is of the day that comes next, and not of the one before.
                    Some(edge) => (edge, direction == Direction::Forward),
                    None => (date, false),
                },
            };
        }
        last.map_or(Next::Never, |date| Next::NotBefore(Timestamp::from_utc(date)))
    }

    /// The first moment after this local day, or its first moment.
    fn edge_of_day(&self, at: DateTime<FixedOffset>, direction: Direction) -> Option<DateTime<Utc>> {
        let day = match direction {
            Direction::Forward => at.date_naive().succ_opt()?,
            Direction::Backward => at.date_naive(),
        };
        moment_of(day.and_hms_opt(0, 0, 0)?, self.zone)
    }

    fn verdict(&self, at: DateTime<FixedOffset>, direction: Direction) -> Verdict {
        let mut rest = false;
        for condition in &self.conditions {
            let Condition::Date(date) = condition else {
                rest = true;
                continue;
            };
            if !date.is_of_slot() || !date.is_literal() {
                rest = true;
                continue;
            }
            match date.holds_for(at, &self.environment) {
                Ok(true) => {}
                Ok(false) if date.is_of_day() => return Verdict::SkipDay,
                Ok(false) => return bounded(date, at, direction),
                // The date is looked at when it comes, and its execution tells what is wrong.
                Err(_) => return Verdict::Pass,
            }
        }
        if !rest {
            return Verdict::Pass;
        }
        let variables = SlotVariables { inner: self.environment.variables, date: text_of(at) };
        let environment = Environment { variables: &variables, ..self.environment };
        let holds = |condition: &&Condition| evaluate_all(std::slice::from_ref(*condition), None, &environment);
        let all =
            self.conditions.iter().try_fold(true, |all, condition| Ok::<_, ConditionError>(all && holds(condition)?));
        if all.unwrap_or(true) { Verdict::Pass } else { Verdict::Skip }
    }
}

/// What a bound that does not hold says of the dates that follow.
fn bounded(condition: &DateCondition, at: DateTime<FixedOffset>, direction: Direction) -> Verdict {
    let DateTest::DateTimeBetween { after, before } = &condition.test else { return Verdict::Skip };
    let bound = |text: &Option<crate::Text>| text.as_ref().and_then(|text| date_time(text.source().trim()).ok());
    match (bound(after).filter(|after| at <= *after), bound(before).filter(|before| at >= *before), direction) {
        (Some(after), _, Direction::Forward) => Verdict::SkipTo(after.to_utc()),
        (_, Some(before), Direction::Backward) => Verdict::SkipTo(before.to_utc()),
        _ => Verdict::End,
    }
}

impl Dates<'_> {
    fn find(&self, from: DateTime<Utc>, inclusive: bool, zone: Zone, direction: Direction) -> Option<DateTime<Utc>> {
        match (self, direction) {
            (Self::Cron(cron), Direction::Forward) if inclusive => cron.at_or_after(from, zone),
            (Self::Cron(cron), Direction::Forward) => cron.after(from, zone),
            (Self::Cron(cron), Direction::Backward) => cron.before(from, zone),
            (Self::List(list), Direction::Forward) => {
                list.iter().find(|date| **date > from || (inclusive && **date == from)).copied()
            }
            (Self::List(list), Direction::Backward) => list.iter().rev().find(|date| **date < from).copied(),
        }
    }
}

/// The list of a ScheduleOnDates, to the second, in order.
fn listed(schedule: &Schedule, zone: Zone, environment: &Environment<'_>) -> Result<Vec<DateTime<Utc>>, DatesError> {
    const NAME: &str = "dates";
    let ScheduleDates::List(properties) = &schedule.dates else { return Ok(Vec::new()) };
    let render = |source| DatesError::Property(PropertyError::Render { property: NAME.to_owned(), source });
    let items = match properties.render(environment).map_err(render)? {
        Value::Array(items) => items,
        Value::String(text) => serde_json::from_str(&text).map_err(|_| not_a_list())?,
        _ => return Err(not_a_list()),
    };
    let mut dates = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let read = |text: &str| read_date(text.trim(), zone);
        dates.push(item.as_str().and_then(read).ok_or(DatesError::NoDate { index })?);
    }
    dates.sort_unstable();
    dates.dedup();
    Ok(dates)
}

fn not_a_list() -> DatesError {
    DatesError::Property(PropertyError::Kind {
        property: "dates".to_owned(),
        expected: "a list",
        got: "something else".to_owned(),
    })
}

/// A date and time with its offset, else one in the zone; without parts of a second.
fn read_date(text: &str, zone: Zone) -> Option<DateTime<Utc>> {
    let at = match date_time(text) {
        Ok(at) => at.to_utc(),
        Err(_) => {
            let local = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M"]
                .iter()
                .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())?;
            moment_of(local, zone)?
        }
    };
    at.with_nanosecond(0)
}

/// The moment of a local time: the earlier of two, and the first after a gap.
pub(crate) fn moment_of(local: NaiveDateTime, zone: Zone) -> Option<DateTime<Utc>> {
    match zone {
        Zone::Offset(offset) => offset.from_local_datetime(&local).earliest().map(|at| at.to_utc()),
        Zone::Region(region) => (0..=6).find_map(|step| {
            let later = local.checked_add_signed(TimeDelta::minutes(30 * step))?;
            region.from_local_datetime(&later).earliest().map(|at| at.to_utc())
        }),
    }
}

pub(crate) fn local(at: DateTime<Utc>, zone: Zone) -> DateTime<FixedOffset> {
    match zone {
        Zone::Offset(offset) => at.with_timezone(&offset),
        Zone::Region(region) => at.with_timezone(&region.offset_from_utc_datetime(&at.naive_utc()).fix()),
    }
}

fn text_of(at: DateTime<FixedOffset>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// What conditions see, with the date of the slot as `trigger.date`.
struct SlotVariables<'a> {
    inner: &'a dyn Variables,
    date: String,
}

impl Variables for SlotVariables<'_> {
    fn root(&self, name: &str) -> Result<Option<ExpressionValue>, Interrupt> {
        match name {
            "trigger" | "schedule" => Ok(Some(ExpressionValue::map([("date", ExpressionValue::text(&self.date))]))),
            _ => self.inner.root(name),
        }
    }

    fn names(&self) -> Vec<String> {
        let mut names = self.inner.names();
        names.retain(|name| name != "trigger" && name != "schedule");
        names.extend(["trigger", "schedule"].map(str::to_owned));
        names
    }
}

#[cfg(test)]
mod tests {
    use windhover_expression::{NoServices, SharedVariables};

    use super::*;
    use crate::{Flow, compile};

    fn flow(trigger: &str) -> Flow {
        let source = format!(
            "id: f\nnamespace: a.b\ntasks:\n  - {{id: t, type: io.kestra.plugin.core.log.Log, message: m}}\ntriggers:\n  - id: s\n{trigger}"
        );
        compile(&source).unwrap_or_else(|violations| panic!("{violations:?}\n{source}"))
    }

    fn schedule(properties: &str, conditions: &str) -> Flow {
        let mut trigger = format!("    type: io.kestra.plugin.core.trigger.Schedule\n{properties}\n");
        if !conditions.is_empty() {
            trigger.push_str("    conditions:\n");
            trigger.push_str(conditions);
        }
        flow(&trigger)
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::from_utc(DateTime::parse_from_rfc3339(text).unwrap().to_utc())
    }

    fn with<T>(flow: &Flow, look: impl FnOnce(Calendar<'_>) -> T) -> T {
        let variables = SharedVariables::default();
        let environment = Environment::new(&variables, &NoServices);
        look(Calendar::of(&flow.triggers[0], Zone::default(), environment).unwrap().unwrap())
    }

    const FIRST_MONDAY: &str =
        "      - {type: io.kestra.plugin.core.condition.DayWeekInMonth, dayOfWeek: MONDAY, dayInMonth: FIRST}\n";

    #[test]
    fn conditions_decide_which_dates_come_next_and_came_before() {
        let flow = schedule("    cron: \"0 12 * * 1\"\n    timezone: Europe/Paris", FIRST_MONDAY);
        let date = with(&flow, |calendar| calendar.from(at("2021-07-20T00:00:00Z"))).date().unwrap();
        assert_eq!(date, at("2021-08-02T10:00:00Z"));
        let variables = with(&flow, |calendar| calendar.variables(date));
        assert_eq!(variables["date"], "2021-08-02T12:00:00+02:00");
        assert_eq!(variables["next"], "2021-09-06T12:00:00+02:00");
        assert_eq!(variables["previous"], "2021-07-05T12:00:00+02:00");
    }

    #[test]
    fn days_of_many_dates_are_skipped_as_a_whole() {
        let flow = schedule("    cron: \"* * * * * *\"\n    withSeconds: true", FIRST_MONDAY);
        let found = with(&flow, |calendar| {
            (calendar.from(at("2021-08-03T00:00:00Z")), calendar.before(at("2021-08-31T00:00:00Z")))
        });
        assert_eq!(found, (Next::At(at("2021-09-06T00:00:00Z")), Next::At(at("2021-08-02T23:59:59Z"))));
    }

    #[test]
    fn nested_and_rendered_conditions_are_asked_date_by_date() {
        let not_weekend = "      - type: io.kestra.plugin.core.condition.Not\n        conditions:\n          - {type: io.kestra.plugin.core.condition.WeekendCondition, date: \"{{ trigger.date }}\"}\n";
        let weekdays = schedule("    cron: \"0 9 * * *\"", not_weekend);
        let dates = with(&weekdays, |calendar| calendar.list(at("2024-03-08T09:00:00Z"), 3));
        assert_eq!(dates, [at("2024-03-08T09:00:00Z"), at("2024-03-11T09:00:00Z"), at("2024-03-12T09:00:00Z")]);
        let tomorrow = "      - {type: io.kestra.plugin.core.condition.DayWeek, dayOfWeek: SUNDAY, date: \"{{ trigger.date | dateAdd(1, 'DAYS') }}\"}\n";
        let saturdays = schedule("    cron: \"0 9 * * *\"", tomorrow);
        assert_eq!(
            with(&saturdays, |calendar| calendar.list(at("2024-03-04T00:00:00Z"), 1)),
            [at("2024-03-09T09:00:00Z")]
        );
    }

    #[test]
    fn expressions_are_left_for_when_the_date_has_come() {
        let never = "      - {type: io.kestra.plugin.core.condition.Expression, expression: \"false\"}\n";
        let flow = schedule("    cron: \"@hourly\"", never);
        assert_eq!(
            with(&flow, |calendar| calendar.from(at("2024-01-01T00:30:00Z"))),
            Next::At(at("2024-01-01T01:00:00Z"))
        );
    }

    #[test]
    fn bounds_end_the_search_or_lead_to_the_first_date_within_them() {
        let between = "      - {type: io.kestra.plugin.core.condition.DateTimeBetween, after: \"2030-01-01T00:00:00Z\", before: \"2030-01-01T00:02:00Z\"}\n";
        let flow = schedule("    cron: \"* * * * *\"", between);
        let (first, last) = (at("2030-01-01T00:01:00Z"), at("2030-01-01T00:02:00Z"));
        with(&flow, |calendar| {
            assert_eq!(calendar.from(at("2024-01-01T00:00:00Z")), Next::At(first));
            assert_eq!(calendar.after(first), Next::Never);
            assert_eq!(calendar.before(at("2035-01-01T00:00:00Z")), Next::At(first));
            assert_eq!(calendar.before(first), Next::Never);
            assert_eq!(calendar.any_from(last), Some(last));
        });
    }

    #[test]
    fn a_search_that_finds_nothing_says_how_far_it_came() {
        let noon = "      - {type: io.kestra.plugin.core.condition.TimeBetween, after: \"12:00:00.1Z\", before: \"12:00:00.2Z\"}\n";
        let flow = schedule("    cron: \"* * * * * *\"\n    withSeconds: true", noon);
        let found = with(&flow, |calendar| calendar.from(at("2024-01-01T00:00:00Z")));
        assert!(matches!(found, Next::NotBefore(when) if when > at("2024-01-01T05:00:00Z")), "{found:?}");
        let never = schedule("    cron: \"0 0 30 2 *\"", "");
        assert_eq!(with(&never, |calendar| calendar.from(at("2024-01-01T00:00:00Z"))), Next::Never);
    }

    #[test]
    fn a_condition_that_breaks_lets_the_date_pass() {
        let broken = "      - {type: io.kestra.plugin.core.condition.Weekend, date: \"{{ nowhere.at }}\"}\n";
        let flow = schedule("    cron: \"@daily\"", broken);
        assert_eq!(
            with(&flow, |calendar| calendar.from(at("2024-01-01T00:30:00Z"))),
            Next::At(at("2024-01-02T00:00:00Z"))
        );
    }

    #[test]
    fn listed_dates_are_in_order_to_the_second_and_in_the_zone_of_the_trigger() {
        let flow = flow(
            "    type: io.kestra.plugin.core.trigger.ScheduleOnDates\n    timezone: Europe/Paris\n    dates:\n      - 2024-06-01T12:00:00.750Z\n      - \"2024-03-31T02:30:00\"\n      - 2024-06-01T14:00:00+02:00\n",
        );
        with(&flow, |calendar| {
            let dates = calendar.list(at("0001-01-01T00:00:00Z"), 5);
            assert_eq!(dates, [at("2024-03-31T01:00:00Z"), at("2024-06-01T12:00:00Z")]);
            assert_eq!(calendar.after(dates[1]), Next::Never);
            assert!(calendar.variables(dates[0]).is_empty());
        });
    }
}
