//! Adding amounts of time (expression reference, section 13.3).

use chrono::{Datelike, NaiveDate, NaiveDateTime, TimeDelta};

use super::{Problem, days_in_month};
use crate::value::Zoned;

/// Adds an amount in a unit. Units of days and longer keep the local time, shorter ones are exact.
pub(crate) fn add(zoned: &Zoned, amount: i64, unit: &str) -> Result<Zoned, Problem> {
    let out_of_range = || "The date is out of range".to_owned();
    let exact = |nanos: i64| -> Result<Zoned, Problem> {
        let total = i128::from(amount) * i128::from(nanos);
        let seconds = i64::try_from(total.div_euclid(1_000_000_000)).map_err(|_| out_of_range())?;
        let rest = u32::try_from(total.rem_euclid(1_000_000_000)).map_err(|_| out_of_range())?;
        let delta = TimeDelta::new(seconds, rest).ok_or_else(out_of_range)?;
        let instant = zoned.instant.checked_add_signed(delta).ok_or_else(out_of_range)?;
        Ok(Zoned { instant, zone: zoned.zone })
    };
    let local = |changed: Option<NaiveDateTime>| -> Result<Zoned, Problem> {
        let instant = changed.and_then(|changed| zoned.zone.instant_of(changed)).ok_or_else(out_of_range)?;
        Ok(Zoned { instant, zone: zoned.zone })
    };
    let days = |length: i64| {
        let delta = amount.checked_mul(length).and_then(TimeDelta::try_days)?;
        zoned.local().checked_add_signed(delta)
    };
    let months = |length: i64| add_months(zoned.local(), amount.checked_mul(length)?);
    match unit {
        "NANOS" => exact(1),
        "MICROS" => exact(1_000),
        "MILLIS" => exact(1_000_000),
        "SECONDS" => exact(1_000_000_000),
        "MINUTES" => exact(60_000_000_000),
        "HOURS" => exact(3_600_000_000_000),
        "HALF_DAYS" => exact(43_200_000_000_000),
        "DAYS" => local(days(1)),
        "WEEKS" => local(days(7)),
        "MONTHS" => local(months(1)),
        "YEARS" => local(months(12)),
        "DECADES" => local(months(120)),
        "CENTURIES" => local(months(1_200)),
        "MILLENNIA" => local(months(12_000)),
        "ERAS" => local(add_eras(zoned.local(), amount)),
        "FOREVER" => Err("Unsupported unit: Forever".to_owned()),
        other => Err(format!("No enum constant java.time.temporal.ChronoUnit.{other}")),
    }
}

/// Adds months; the day of the month is clamped.
fn add_months(local: NaiveDateTime, months: i64) -> Option<NaiveDateTime> {
    let total = i64::from(local.year()).checked_mul(12)?.checked_add(i64::from(local.month0()))?.checked_add(months)?;
    let year = i32::try_from(total.div_euclid(12)).ok()?;
    let month = u32::try_from(total.rem_euclid(12)).ok()? + 1;
    let date = NaiveDate::from_ymd_opt(year, month, local.day().min(days_in_month(year, month)))?;
    Some(date.and_time(local.time()))
}

/// From one era to the other the year keeps its number.
fn add_eras(local: NaiveDateTime, eras: i64) -> Option<NaiveDateTime> {
    let current = i64::from(local.year() > 0);
    match current.checked_add(eras)? {
        wanted if wanted == current => Some(local),
        0 | 1 => {
            let year = 1 - local.year();
            let date =
                NaiveDate::from_ymd_opt(year, local.month(), local.day().min(days_in_month(year, local.month())))?;
            Some(date.and_time(local.time()))
        }
        _ => None,
    }
}
