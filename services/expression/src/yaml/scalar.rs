//! Plain scalars of YAML 1.1.

use std::sync::Arc;

use num_bigint::BigInt;

use crate::value::Value;

const MAX_DIGITS: usize = 1_000;

/// The value of a plain scalar; infinities and NaN are refused.
pub(super) fn resolve(text: &str) -> Result<Value, String> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => return Ok(Value::Bool(true)),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => return Ok(Value::Bool(false)),
        _ => {}
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN") {
        return Err(format!("{text} is no number that JSON knows"));
    }
    if !unsigned.starts_with(|c: char| c.is_ascii_digit()) || text.len() > MAX_DIGITS {
        return Ok(Value::text(text));
    }
    Ok(whole(text.starts_with('-'), unsigned).or_else(|| fractional(text)).unwrap_or_else(|| Value::text(text)))
}

/// Decimal, hexadecimal, binary and octal digits with underscores between them.
fn whole(negative: bool, text: &str) -> Option<Value> {
    let (radix, digits) = if let Some(digits) = text.strip_prefix("0x") {
        (16, digits)
    } else if let Some(digits) = text.strip_prefix("0b") {
        (2, digits)
    } else if text.len() > 1 && text.starts_with('0') {
        (8, &text[1..])
    } else {
        (10, text)
    };
    let digits = digits.replace('_', "");
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let number = BigInt::parse_bytes(digits.as_bytes(), radix)?;
    let number = if negative { -number } else { number };
    Some(i64::try_from(&number).map_or_else(|_| Value::BigInt(Arc::new(number)), Value::whole))
}

/// Digits with a point or an exponent.
fn fractional(text: &str) -> Option<Value> {
    let plain = text.replace('_', "");
    let fits = plain.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'-' | b'+'));
    if fits && plain.contains(['.', 'e', 'E']) { plain.parse().ok().map(Value::Double) } else { None }
}
