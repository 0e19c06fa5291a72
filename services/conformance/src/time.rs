//! Instants and durations as texts.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// An RFC 3339 instant; seconds may be left out, as Java writes them.
pub fn instant(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.to_utc());
    }
    // `2024-03-01T00:00Z` and `2024-03-01T00:00+01:00`; a zone's name in brackets behind it says nothing new.
    let text = text.split('[').next().unwrap_or(text);
    DateTime::parse_from_rfc3339(text)
        .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M%:z"))
        .or_else(|_| DateTime::parse_from_str(&text.replace('Z', "+00:00"), "%Y-%m-%dT%H:%M%:z"))
        .ok()
        .map(|time| time.to_utc())
}

/// An instant as the API's users write it, to the millisecond.
pub fn text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

/// Seconds of an ISO 8601 duration such as `PT1M2.5S` or `P1DT2H`.
pub fn seconds(text: &str) -> Option<f64> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(text) => (true, text),
        None => (false, text),
    };
    let (days, times) = match text.strip_prefix('P')?.split_once('T') {
        Some((days, times)) if !times.is_empty() => (days, times),
        Some(_) => return None,
        None => (&text[1..], ""),
    };
    if days.is_empty() && times.is_empty() {
        return None;
    }
    let total = sum(days, &[('D', 86_400.0)])? + sum(times, &[('H', 3_600.0), ('M', 60.0), ('S', 1.0)])?;
    Some(if negative { -total } else { total })
}

/// A duration that is not negative.
pub fn duration(text: &str) -> Option<Duration> {
    seconds(text).and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
}

fn sum(mut text: &str, units: &[(char, f64)]) -> Option<f64> {
    let mut total = 0.0;
    let mut units = units.iter();
    while !text.is_empty() {
        let end = text.find(|c: char| c.is_ascii_alphabetic())?;
        let unit = text[end..].chars().next()?;
        // Larger units come first, and each once.
        let (_, factor) = units.find(|(name, _)| *name == unit)?;
        total += text[..end].parse::<f64>().ok()? * factor;
        text = &text[end + 1..];
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_what_is_none_is_not() {
        for (text, expected) in [
            ("PT0.9S", Some(0.9)),
            ("PT1H2M3S", Some(3_723.0)),
            ("P1DT1S", Some(86_401.0)),
            ("-PT1S", Some(-1.0)),
            ("PT", None),
            ("P", None),
            ("PT1S2M", None),
            ("1S", None),
            ("PTxS", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }

    #[test]
    fn the_same_instant_in_other_words_is_the_same() {
        let expected = instant("2024-03-01T00:00:00Z");
        assert!(expected.is_some());
        for text in ["2024-03-01T00:00Z", "2024-03-01T01:00:00+01:00", "2024-03-01T01:00+01:00[Europe/Berlin]"] {
            assert_eq!(instant(text), expected, "{text}");
        }
        assert_eq!(instant("2024-03-01"), None);
    }
}
