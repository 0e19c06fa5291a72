//! Names of zones in English: `z` and `zzzz`.

use chrono::{Offset, TimeZone};
use chrono_tz::{OffsetComponents, OffsetName};

use super::Problem;
use crate::value::{Zone, Zoned, offset_text};

/// The short name, for example `CET`.
pub(super) fn short(zoned: &Zoned) -> String {
    match zoned.zone {
        Zone::Offset(offset) => offset_text(offset),
        Zone::Region(region) => {
            let offset = region.offset_from_utc_datetime(&zoned.instant.naive_utc());
            match offset.abbreviation() {
                Some(name) if name.starts_with(|c: char| c.is_ascii_alphabetic()) => name.to_owned(),
                _ => format!("GMT{}", offset_text(offset.fix())),
            }
        }
    }
}

/// The long name, for example `Central European Summer Time`.
pub(super) fn long(zoned: &Zoned) -> Result<String, Problem> {
    let region = match zoned.zone {
        Zone::Offset(offset) => return Ok(offset_text(offset)),
        Zone::Region(region) => region,
    };
    let offset = region.offset_from_utc_datetime(&zoned.instant.naive_utc());
    let summer = !offset.dst_offset().is_zero();
    let name = match (short(zoned).as_str(), region.name()) {
        ("UTC", _) => "Coordinated Universal Time",
        ("GMT", _) => "Greenwich Mean Time",
        ("BST", "Europe/London") => "British Summer Time",
        ("CET", _) => "Central European Standard Time",
        ("CEST", _) => "Central European Summer Time",
        ("EET", _) => "Eastern European Standard Time",
        ("EEST", _) => "Eastern European Summer Time",
        ("WET", _) => "Western European Standard Time",
        ("WEST", _) => "Western European Summer Time",
        ("EST", _) => "Eastern Standard Time",
        ("EDT", _) => "Eastern Daylight Time",
        ("CST", name) if name.starts_with("America/") || name.starts_with("US/") => "Central Standard Time",
        ("CST", "Asia/Shanghai") => "China Standard Time",
        ("CDT", name) if name.starts_with("America/") || name.starts_with("US/") => "Central Daylight Time",
        ("MST", _) => "Mountain Standard Time",
        ("MDT", _) => "Mountain Daylight Time",
        ("PST", _) => "Pacific Standard Time",
        ("PDT", _) => "Pacific Daylight Time",
        ("JST", _) => "Japan Standard Time",
        ("KST", _) => "Korean Standard Time",
        ("IST", "Asia/Kolkata" | "Asia/Calcutta") => "India Standard Time",
        ("AEST", _) => "Australian Eastern Standard Time",
        ("AEDT", _) => "Australian Eastern Daylight Time",
        ("MSK", _) => "Moscow Standard Time",
        _ => {
            let kind = if summer { "summer " } else { "" };
            return Err(format!("The long {kind}name of the zone {} is not supported yet", region.name()));
        }
    };
    Ok(name.to_owned())
}
