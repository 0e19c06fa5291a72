//! Durations as flows write them: ISO-8601 in any letter case, or a number of seconds.

use std::time::Duration;

/// Days of 24 hours, as Java's `Duration` counts them.
const DAY: f64 = 86_400.0;

/// Reads `PT5M`, `P1DT2H`, `pt0.5s`, `5` or `0.25` (flow model reference, conventions).
///
/// # Errors
/// Says what is wrong when the text is neither form, is negative, or is longer than can be told.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let trimmed = text.trim();
    if let Some(seconds) = plain_number(trimmed) {
        return from_seconds(seconds, text);
    }
    iso(trimmed).ok_or_else(|| not_a_duration(text)).and_then(|seconds| from_seconds(seconds, text))
}

/// The shortest ISO-8601 form, as Java prints it: `PT1M30S`, `PT0S`.
pub fn format_duration(duration: Duration) -> String {
    let total = duration.as_secs();
    let (hours, minutes, seconds) = (total / 3600, total / 60 % 60, total % 60);
    let nanos = duration.subsec_nanos();
    if total == 0 && nanos == 0 {
        return "PT0S".to_owned();
    }
    let mut text = "PT".to_owned();
    if hours > 0 {
        text.push_str(&format!("{hours}H"));
    }
    if minutes > 0 {
        text.push_str(&format!("{minutes}M"));
    }
    if nanos > 0 {
        let fraction = format!("{nanos:09}");
        text.push_str(&format!("{seconds}.{}S", fraction.trim_end_matches('0')));
    } else if seconds > 0 {
        text.push_str(&format!("{seconds}S"));
    }
    text
}

fn not_a_duration(text: &str) -> String {
    format!("`{text}` is no duration: expected ISO-8601 such as `PT5M`, or a number of seconds")
}

fn from_seconds(seconds: f64, text: &str) -> Result<Duration, String> {
    if seconds < 0.0 {
        return Err(format!("`{text}` is negative"));
    }
    // Rounded to whole nanoseconds' worth of what the number can tell, so that `0.1` is 100 ms and not 99.99.
    let micros = (seconds * 1e9).round() / 1e9;
    Duration::try_from_secs_f64(micros).map_err(|_| format!("`{text}` is longer than can be told"))
}

/// Digits with an optional sign and point: no exponent, no `inf`.
fn plain_number(text: &str) -> Option<f64> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let plain = digits.bytes().all(|b| b.is_ascii_digit() || b == b'.') && digits.bytes().any(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

/// Seconds of `[-]P[nD][T[nH][nM][n[.n]S]]`; weeks are taken too. `None` when it is something else.
fn iso(text: &str) -> Option<f64> {
    let upper = text.to_ascii_uppercase();
    let (negative, rest) = match upper.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, upper.strip_prefix('+').unwrap_or(&upper)),
    };
    let rest = rest.strip_prefix('P')?;
    let (date, time) = match rest.split_once('T') {
        Some((_, "")) => return None,
        Some((date, time)) => (date, time),
        None => (rest, ""),
    };
    if date.is_empty() && time.is_empty() {
        return None;
    }
    let total = parts(date, &[('W', 7.0 * DAY), ('D', DAY)])? + parts(time, &[('H', 3600.0), ('M', 60.0), ('S', 1.0)])?;
    Some(if negative { -total } else { total })
}

/// Sums `<number><unit>` pairs; units in the given order, each at most once, only seconds with a fraction.
fn parts(mut text: &str, units: &[(char, f64)]) -> Option<f64> {
    let mut total = 0.0;
    let mut next = 0;
    while !text.is_empty() {
        let end = text.find(|c: char| c.is_ascii_alphabetic())?;
        let unit = text[end..].chars().next()?;
        let position = units.iter().skip(next).position(|(name, _)| *name == unit)? + next;
        let number = text[..end].replace(',', ".");
        if unit != 'S' && number.contains('.') {
            return None;
        }
        total += plain_number(&number)? * units[position].1;
        next = position + 1;
        text = &text[end + unit.len_utf8()..];
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_duration_are_read_in_any_letter_case() {
        for (text, millis) in [
            ("PT5M", 300_000),
            ("pt1h30m", 5_400_000),
            ("P1D", 86_400_000),
            ("P1DT2H", 93_600_000),
            ("P2W", 1_209_600_000),
            ("PT0.1S", 100),
            ("PT0S", 0),
            ("90", 90_000),
            ("0.25", 250),
            (" 3 ", 3_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            "P",
            "PT",
            "5M",
            "PT5",
            "P1M",
            "PT1S1M",
            "1e9",
            "inf",
            "NaN",
            "-5",
            "PT-5S",
            "PTé",
            "PT1.5H",
            "9".repeat(400).as_str(),
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_printed_as_java_prints_them() {
        for (millis, text) in
            [(0, "PT0S"), (10_000, "PT10S"), (90_000, "PT1M30S"), (86_400_000, "PT24H"), (1_500, "PT1.5S")]
        {
            assert_eq!(format_duration(Duration::from_millis(millis)), text);
        }
    }
}
