//! Filters over numbers (expression reference, section 12.3).

use std::sync::Arc;

use bigdecimal::{BigDecimal, Signed};
use num_bigint::BigInt;

use super::text_argument;
use crate::error::Fault;
use crate::eval::{Args, Session};
use crate::value::Value;

type Answer = Result<Value, Fault>;

/// Longer numbers are refused, and so are decimals whose exponent is larger; both only cost memory.
const MAX_DIGITS: usize = 1_000;

pub(super) fn abs(_: &Session<'_>, input: Value, _: &Args) -> Answer {
    Ok(match input {
        Value::Null => return Err(Fault::engine("Can not pass null value to \"abs\" filter.")),
        Value::Int(value) => Value::Int(value.wrapping_abs()),
        Value::Long(value) => Value::Long(value.wrapping_abs()),
        Value::Float(value) => Value::Float(value.abs()),
        Value::Double(value) => Value::Double(value.abs()),
        Value::BigInt(value) => Value::BigInt(Arc::new(value.abs())),
        Value::Decimal(value) => Value::Decimal(Arc::new(value.abs())),
        other => {
            return Err(Fault::engine(format!(
                "The 'abs' filter does require as input a number. Actual type was: {}",
                other.class_name()
            )));
        }
    })
}

pub(super) fn class_name(_: &Session<'_>, input: Value, _: &Args) -> Answer {
    Ok(if input.is_null() { Value::Null } else { Value::text(input.class_name()) })
}

pub(super) fn number_format(session: &Session<'_>, input: Value, args: &Args) -> Answer {
    if input.is_null() {
        return Ok(Value::Null);
    }
    if !input.is_number() {
        return Err(Fault::engine(format!(
            "The input for the 'NumberFormat' filter has to be a number. Actual type was: {}",
            input.class_name()
        )));
    }
    let pattern = text_argument(args, 0, "numberFormat")?;
    let text = crate::decimal_format::format(&input, pattern.as_deref()).map_err(Fault::host)?;
    session.meter.text(text.len())?;
    Ok(Value::text(text))
}

pub(super) fn number(session: &Session<'_>, input: Value, args: &Args) -> Answer {
    if input.is_null() {
        return Ok(Value::Null);
    }
    let Some(text) = input.as_text() else {
        return Err(Fault::engine(format!(
            "'number' filter can only be applied to String. Actual type was: {}",
            input.class_name()
        )));
    };
    let kind = text_argument(args, 0, "number")?;
    session.meter.steps(text.len() as u64)?;
    let parsed = match kind.as_deref() {
        _ if text.len() > MAX_DIGITS => None,
        Some("INT") => integer(text).and_then(|value| i32::try_from(value).ok()).map(Value::Int),
        Some("LONG") => integer(text).and_then(|value| i64::try_from(value).ok()).map(Value::Long),
        Some("BIGINTEGER") => integer(text).map(|value| Value::BigInt(Arc::new(value))),
        Some("FLOAT") => java_float_text(text).and_then(|text| text.parse().ok()).map(Value::Float),
        Some("DOUBLE") => java_float_text(text).and_then(|text| text.parse().ok()).map(Value::Double),
        Some("BIGDECIMAL") => decimal(text).map(|value| Value::Decimal(Arc::new(value))),
        _ => any_number(text),
    };
    parsed.ok_or_else(|| Fault::host(format!("java.lang.NumberFormatException: {text} is not a valid number.")))
}

/// Decimal, hexadecimal (`0x`, `#`) or octal (leading `0`) digits with an optional sign.
fn integer(text: &str) -> Option<BigInt> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (radix, digits) =
        if let Some(rest) = digits.strip_prefix("0x").or(digits.strip_prefix("0X")).or(digits.strip_prefix('#')) {
            (16, rest)
        } else if digits.len() > 1 && digits.starts_with('0') {
            (8, &digits[1..])
        } else {
            (10, digits)
        };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let value = BigInt::parse_bytes(digits.as_bytes(), radix)?;
    Some(if negative { -value } else { value })
}

fn smallest(value: BigInt) -> Value {
    if let Ok(small) = i32::try_from(&value) {
        Value::Int(small)
    } else if let Ok(middle) = i64::try_from(&value) {
        Value::Long(middle)
    } else {
        Value::BigInt(Arc::new(value))
    }
}

/// Digits with an optional sign, point and exponent, and nothing else.
fn is_plain_decimal(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) =
        text.split_once(['e', 'E']).map_or((text, None), |(mantissa, exponent)| (mantissa, Some(exponent)));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mantissa_fits = all_digits(whole) && all_digits(fraction) && whole.len() + fraction.len() > 0;
    let exponent_fits = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !digits.is_empty() && all_digits(digits)
    });
    mantissa_fits && exponent_fits
}

/// What Java reads as a floating point number, without its suffix.
fn java_float_text(text: &str) -> Option<&str> {
    let text = text.trim_matches(|c| c <= ' ');
    let text = text.strip_suffix(['f', 'F', 'd', 'D']).unwrap_or(text);
    if is_plain_decimal(text) { Some(text) } else { matches!(text, "NaN").then_some(text) }
}

fn decimal(text: &str) -> Option<BigDecimal> {
    if !is_plain_decimal(text) {
        return None;
    }
    if let Some((_, exponent)) = text.split_once(['e', 'E'])
        && exponent.parse::<i32>().ok()?.unsigned_abs() as usize > MAX_DIGITS
    {
        return None;
    }
    text.parse().ok()
}

fn any_number(text: &str) -> Option<Value> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let hexadecimal = ["0x", "0X", "#"].iter().any(|prefix| unsigned.starts_with(prefix));
    if hexadecimal {
        return integer(text).map(smallest);
    }
    if let Some(digits) = text.strip_suffix(['l', 'L']) {
        let value = digits.parse::<BigInt>().ok().filter(|_| is_plain_decimal(digits))?;
        return Some(i64::try_from(&value).map_or_else(|_| Value::BigInt(Arc::new(value)), Value::Long));
    }
    if let Some(digits) = text.strip_suffix(['f', 'F']) {
        return is_plain_decimal(digits).then(|| digits.parse().ok().map(Value::Float)).flatten();
    }
    if let Some(digits) = text.strip_suffix(['d', 'D']) {
        return is_plain_decimal(digits).then(|| digits.parse().ok().map(Value::Double)).flatten();
    }
    if !is_plain_decimal(text) {
        return None;
    }
    if text.contains(['.', 'e', 'E']) { smallest_decimal(text) } else { integer(text).map(smallest) }
}

/// float32 if both readings print the same, float64 if it prints back exactly, else decimal.
fn smallest_decimal(text: &str) -> Option<Value> {
    let (single, double) = (text.parse::<f32>().ok()?, text.parse::<f64>().ok()?);
    let is_zero = !text.split(['e', 'E']).next()?.bytes().any(|byte| matches!(byte, b'1'..=b'9'));
    let single_fits = single.is_finite() && (is_zero || single != 0.0);
    if single_fits && crate::value::java_float(single) == crate::value::java_double(double) {
        return Some(Value::Float(single));
    }
    if double.is_finite() && (is_zero || double != 0.0) {
        let exact = decimal(text)?;
        let printed: BigDecimal = crate::value::java_double(double).parse().ok()?;
        if exact == printed {
            return Some(Value::Double(double));
        }
    }
    decimal(text).map(|value| Value::Decimal(Arc::new(value)))
}
