//! Numbers as Java prints them (expression reference, sections 7.1 and 7.4).

use bigdecimal::BigDecimal;
use num_bigint::Sign;

/// Shortest digits that read back, plain from 0.001 up to ten million, scientific otherwise.
pub(crate) fn java_double(value: f64) -> String {
    if value.is_finite() {
        java_digits(value == 0.0, value.is_sign_negative(), &format!("{:e}", value.abs()))
    } else {
        special(value)
    }
}

/// The same for 32 bits.
pub(crate) fn java_float(value: f32) -> String {
    if value.is_finite() {
        java_digits(value == 0.0, value.is_sign_negative(), &format!("{:e}", value.abs()))
    } else {
        special(f64::from(value))
    }
}

fn special(value: f64) -> String {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
    .to_owned()
}

/// Takes Rust's scientific form (`1.25e-3`), which has the shortest digits, to Java's.
fn java_digits(zero: bool, negative: bool, scientific: &str) -> String {
    let sign = if negative { "-" } else { "" };
    if zero {
        return format!("{sign}0.0");
    }
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let digits = mantissa.replace('.', "");
    if !(-3..7).contains(&exponent) {
        let rest = if digits.len() > 1 { &digits[1..] } else { "0" };
        return format!("{sign}{}.{rest}E{exponent}", &digits[..1]);
    }
    if exponent < 0 {
        let zeros = "0".repeat(usize::try_from(-exponent - 1).unwrap_or(0));
        return format!("{sign}0.{zeros}{digits}");
    }
    let point = usize::try_from(exponent).unwrap_or(0) + 1;
    if digits.len() <= point {
        format!("{sign}{digits}{}.0", "0".repeat(point - digits.len()))
    } else {
        format!("{sign}{}.{}", &digits[..point], &digits[point..])
    }
}

/// All digits, without an exponent.
pub(crate) fn decimal_plain(value: &BigDecimal) -> String {
    let (sign, digits, scale) = parts(value);
    if scale <= 0 {
        let zeros = if digits == "0" { 0 } else { usize::try_from(-scale).unwrap_or(0) };
        return format!("{sign}{digits}{}", "0".repeat(zeros));
    }
    let scale = usize::try_from(scale).unwrap_or(0);
    if digits.len() > scale {
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        format!("{sign}{whole}.{fraction}")
    } else {
        format!("{sign}0.{}{digits}", "0".repeat(scale - digits.len()))
    }
}

/// Scientific if the scale is negative or the number is smaller than a millionth.
pub(crate) fn decimal_json(value: &BigDecimal) -> String {
    let (sign, digits, scale) = parts(value);
    let exponent = i64::try_from(digits.len()).unwrap_or(i64::MAX) - 1 - scale;
    if scale >= 0 && exponent >= -6 {
        return decimal_plain(value);
    }
    let point = if digits.len() > 1 { format!("{}.{}", &digits[..1], &digits[1..]) } else { digits };
    if exponent == 0 { format!("{sign}{point}") } else { format!("{sign}{point}E{exponent:+}") }
}

fn parts(value: &BigDecimal) -> (&'static str, String, i64) {
    let (digits, scale) = value.as_bigint_and_exponent();
    let sign = if digits.sign() == Sign::Minus { "-" } else { "" };
    (sign, digits.magnitude().to_string(), scale)
}
