//! Filters over dates (expression reference, section 13).

use chrono::{DateTime, Utc};

use super::text_argument;
use crate::date::{self, Locale, Pattern};
use crate::error::Fault;
use crate::eval::{Args, Session};
use crate::value::{Value, Zone, Zoned};

type Answer = Result<Value, Fault>;

fn fail(problem: String) -> Fault {
    Fault::host(format!("java.time.DateTimeException: {problem}"))
}

/// The zone of an argument, if it is given.
fn zone(args: &Args, position: usize) -> Result<Option<Zone>, Fault> {
    match text_argument(args, position, "date")? {
        Some(text) => text.parse().map(Some).map_err(fail),
        None => Ok(None),
    }
}

fn pattern(args: &Args, position: usize) -> Result<Option<Pattern>, Fault> {
    match text_argument(args, position, "date")? {
        Some(text) => Pattern::new(&text).map(Some).map_err(fail),
        None => Ok(None),
    }
}

/// Where the arguments of a date filter stand.
struct Positions {
    format: usize,
    zone: usize,
    existing: usize,
    locale: usize,
}

const DATE: Positions = Positions { format: 0, zone: 1, existing: 2, locale: 3 };
const DATE_ADD: Positions = Positions { format: 2, zone: 3, existing: 4, locale: 5 };

fn read(session: &Session<'_>, input: &Value, zone: Option<Zone>, existing: Option<&Pattern>) -> Result<Zoned, Fault> {
    if let Some(text) = input.as_text() {
        session.meter.steps(text.len() as u64)?;
    }
    date::read(input, zone.unwrap_or(session.zone), existing).map_err(fail)
}

fn write(session: &Session<'_>, instant: DateTime<Utc>, args: &Args, positions: &Positions) -> Answer {
    for position in [positions.format, positions.locale] {
        if args.given(position).is_some_and(Value::is_null) {
            return Err(Fault::host("java.lang.NullPointerException: the format and the locale must not be null"));
        }
    }
    let format = match pattern(args, positions.format)? {
        Some(format) => format,
        None => Pattern::new("iso").map_err(fail)?,
    };
    let locale = match text_argument(args, positions.locale, "date")? {
        Some(text) => Locale::parse(&text).map_err(fail)?,
        None => Locale::default(),
    };
    let zone = zone(args, positions.zone)?.unwrap_or(session.zone);
    session.meter.steps(20)?;
    date::format(&Zoned { instant, zone }, &format, &locale).map(Value::text).map_err(fail)
}

pub(super) fn date(session: &Session<'_>, input: Value, args: &Args) -> Answer {
    if input.is_null() {
        return Ok(Value::Null);
    }
    let existing = pattern(args, DATE.existing)?;
    let zoned = read(session, &input, zone(args, DATE.zone)?, existing.as_ref())?;
    write(session, zoned.instant, args, &DATE)
}

/// An instant as text, for `now`.
pub(crate) fn format_instant(session: &Session<'_>, instant: DateTime<Utc>, args: &Args) -> Answer {
    write(session, instant, args, &DATE)
}

pub(super) fn date_add(session: &Session<'_>, input: Value, args: &Args) -> Answer {
    if input.is_null() {
        return Ok(Value::Null);
    }
    let amount = amount(session, args.get(0))?;
    let Some(unit) = text_argument(args, 1, "dateAdd")? else {
        return Err(Fault::host("java.lang.NullPointerException: the 'dateAdd' filter needs a unit"));
    };
    let existing = pattern(args, DATE_ADD.existing)?;
    let zoned = read(session, &input, zone(args, DATE_ADD.zone)?, existing.as_ref())?;
    let moved = date::add(&zoned, amount, &unit).map_err(fail)?;
    write(session, moved.instant, args, &DATE_ADD)
}

fn amount(session: &Session<'_>, amount: Option<&Value>) -> Result<i64, Fault> {
    let shown = session.printer().plain_text(amount.unwrap_or(&Value::text("null")))?;
    match amount {
        Some(value) if value.is_number() => Ok(crate::eval::as_f64(value).map_or(0, |number| number as i64)),
        Some(Value::Text(text)) => {
            text.parse().map_err(|_| Fault::engine(format!("{text} can't be converted to long")))
        }
        _ => Err(Fault::engine(format!("Incorrect {shown} format, must be a number"))),
    }
}

fn instant(session: &Session<'_>, input: &Value, args: &Args) -> Result<Option<DateTime<Utc>>, Fault> {
    if input.is_null() {
        return Ok(None);
    }
    let existing = pattern(args, 1)?;
    Ok(Some(read(session, input, zone(args, 0)?, existing.as_ref())?.instant))
}

fn nanos(instant: DateTime<Utc>) -> i128 {
    i128::from(instant.timestamp()) * 1_000_000_000 + i128::from(instant.timestamp_subsec_nanos())
}

pub(super) fn timestamp(session: &Session<'_>, input: Value, args: &Args) -> Answer {
    Ok(instant(session, &input, args)?.map_or(Value::Null, |instant| Value::Long(instant.timestamp())))
}

pub(super) fn timestamp_milli(session: &Session<'_>, input: Value, args: &Args) -> Answer {
    Ok(instant(session, &input, args)?.map_or(Value::Null, |instant| Value::Long(instant.timestamp_millis())))
}

pub(super) fn timestamp_micro(session: &Session<'_>, input: Value, args: &Args) -> Answer {
    let micros = |instant| Value::text(nanos(instant).div_euclid(1_000).to_string());
    Ok(instant(session, &input, args)?.map_or(Value::Null, micros))
}

pub(super) fn timestamp_nano(session: &Session<'_>, input: Value, args: &Args) -> Answer {
    Ok(instant(session, &input, args)?.map_or(Value::Null, |instant| Value::text(nanos(instant).to_string())))
}
