//! What plain scalars mean: YAML 1.1 as the reference reads it (expression reference 15.2, function `yaml`): `yes`,
//! `on` and the like are booleans, `0x1F`, `010`, `0b11`, `1_000` numbers, dates and sexagesimal numbers stay text.

use serde_json::{Number, Value};

pub(super) fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => return Value::Bool(true),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => return Value::Bool(false),
        _ => {}
    }
    let numeric = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.'));
    if numeric && let Some(number) = whole(text).or_else(|| float(text)) {
        return Value::Number(number);
    }
    Value::String(text.to_owned())
}

fn whole(text: &str) -> Option<Number> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.starts_with('_') {
        return None;
    }
    let radix = |prefix: &str, radix: u32| digits.strip_prefix(prefix).map(|rest| (rest.to_owned(), radix));
    let (digits, radix) = radix("0x", 16)
        .or_else(|| radix("0b", 2))
        .or_else(|| (digits.len() > 1).then(|| radix("0", 8)).flatten())
        .unwrap_or((digits.to_owned(), 10));
    let digits = digits.replace('_', "");
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    match i128::from_str_radix(&digits, radix) {
        Ok(magnitude) => {
            let number = if negative { -magnitude } else { magnitude };
            let small = i64::try_from(number).ok().map(Number::from);
            let large = || u64::try_from(number).ok().map(Number::from);
            small.or_else(large).or_else(|| Number::from_f64(number as f64))
        }
        // Longer than any machine's: the nearest floating point number.
        Err(_) => (radix == 10).then(|| text.replace('_', "").parse().ok().and_then(Number::from_f64)).flatten(),
    }
}

/// Digits with a point or an exponent, `_` between digits.
fn float(text: &str) -> Option<Number> {
    let clean = text.replace('_', "");
    let unsigned = clean.strip_prefix(['-', '+']).unwrap_or(&clean);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let some_digit = before.len() + after.len() > 0;
    let is_float = mantissa.contains('.') || exponent.is_some();
    let good_exponent = exponent.is_none_or(|exponent| {
        let plain = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !plain.is_empty() && digits(plain)
    });
    if !(is_float && some_digit && digits(before) && digits(after) && good_exponent) {
        return None;
    }
    clean.parse().ok().and_then(Number::from_f64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn plain_scalars_are_what_they_look_like_in_yaml_1_1() {
        for (text, value) in [
            ("", Value::Null),
            ("~", Value::Null),
            ("null", Value::Null),
            ("yes", json!(true)),
            ("Off", json!(false)),
            ("y", json!("y")),
            ("0x1F", json!(31)),
            ("010", json!(8)),
            ("08", json!("08")),
            ("0b11", json!(3)),
            ("1_000", json!(1000)),
            ("-5", json!(-5)),
            ("+5", json!(5)),
            ("0", json!(0)),
            ("1e3", json!(1000.0)),
            ("1.5", json!(1.5)),
            (".5", json!(0.5)),
            ("1.", json!(1.0)),
            ("18446744073709551615", json!(18_446_744_073_709_551_615_u64)),
            (".inf", json!(".inf")),
            ("-", json!("-")),
            (".", json!(".")),
            ("12:30", json!("12:30")),
            ("2024-01-01", json!("2024-01-01")),
            ("1.2.3", json!("1.2.3")),
            ("1e", json!("1e")),
        ] {
            assert_eq!(resolve(text), value, "{text}");
        }
    }
}
