//! Arithmetic on two numbers, by the widest operand (expression reference, section 5.1).

use bigdecimal::{BigDecimal, RoundingMode, ToPrimitive, Zero};
use num_bigint::BigInt;

use crate::error::Fault;
use crate::syntax::ast::BinaryOp;
use crate::value::{Value, java_double};

/// Significant digits of decimal results.
const PRECISION: u64 = 34;

/// A number as 64-bit floating point, `None` if it is none.
pub(crate) fn as_f64(value: &Value) -> Option<f64> {
    Some(match value {
        Value::Int(value) => f64::from(*value),
        Value::Long(value) => *value as f64,
        Value::Float(value) => f64::from(*value),
        Value::Double(value) => *value,
        Value::BigInt(value) => value.to_f64().unwrap_or(f64::INFINITY),
        Value::Decimal(value) => crate::value::decimal_json(value).parse().unwrap_or(f64::NAN),
        _ => return None,
    })
}

/// A number as a whole one, decimals cut; `None` if it is none.
pub(super) fn truncated(value: &Value) -> Option<i64> {
    match value {
        Value::Int(_) | Value::Long(_) | Value::BigInt(_) => Some(low_bits(value)),
        other => as_f64(other).map(|value| value as i64),
    }
}

/// The low 64 bits of a whole number.
fn low_bits(value: &Value) -> i64 {
    match value {
        Value::Int(value) => i64::from(*value),
        Value::Long(value) => *value,
        Value::BigInt(value) => {
            let mask = BigInt::from(u64::MAX);
            let low = (value.as_ref() & mask).to_u64().unwrap_or(0);
            low as i64
        }
        _ => 0,
    }
}

/// The result, or `None` if the operands are no numbers or the operation has no result.
pub(super) fn compute(operator: BinaryOp, left: &Value, right: &Value) -> Result<Option<Value>, Fault> {
    if !left.is_number() || !right.is_number() {
        return Ok(None);
    }
    let either = |wanted: fn(&Value) -> bool| wanted(left) || wanted(right);
    if either(|value| matches!(value, Value::Decimal(_))) {
        return decimals(operator, left, right);
    }
    let (Some(a), Some(b)) = (as_f64(left), as_f64(right)) else { return Ok(None) };
    if either(|value| matches!(value, Value::Double(_))) {
        return Ok(doubles(operator, a, b).map(Value::Double));
    }
    if either(|value| matches!(value, Value::Float(_))) {
        return Ok(floats(operator, a as f32, b as f32).map(Value::Float));
    }
    if either(|value| matches!(value, Value::Long(_))) {
        return Ok(longs(operator, low_bits(left), low_bits(right)).map(Value::Long));
    }
    Ok(ints(operator, low_bits(left) as i32, low_bits(right) as i32).map(|value| Value::Long(i64::from(value))))
}

fn longs(operator: BinaryOp, a: i64, b: i64) -> Option<i64> {
    match operator {
        BinaryOp::Add => Some(a.wrapping_add(b)),
        BinaryOp::Subtract => Some(a.wrapping_sub(b)),
        BinaryOp::Multiply => Some(a.wrapping_mul(b)),
        BinaryOp::Divide => (b != 0).then(|| a.wrapping_div(b)),
        BinaryOp::Remainder => (b != 0).then(|| a.wrapping_rem(b)),
        _ => None,
    }
}

fn ints(operator: BinaryOp, a: i32, b: i32) -> Option<i32> {
    match operator {
        BinaryOp::Add => Some(a.wrapping_add(b)),
        BinaryOp::Subtract => Some(a.wrapping_sub(b)),
        BinaryOp::Multiply => Some(a.wrapping_mul(b)),
        BinaryOp::Divide => (b != 0).then(|| a.wrapping_div(b)),
        BinaryOp::Remainder => (b != 0).then(|| a.wrapping_rem(b)),
        _ => None,
    }
}

fn doubles(operator: BinaryOp, a: f64, b: f64) -> Option<f64> {
    match operator {
        BinaryOp::Add => Some(a + b),
        BinaryOp::Subtract => Some(a - b),
        BinaryOp::Multiply => Some(a * b),
        BinaryOp::Divide => Some(a / b),
        BinaryOp::Remainder => Some(a % b),
        _ => None,
    }
}

fn floats(operator: BinaryOp, a: f32, b: f32) -> Option<f32> {
    match operator {
        BinaryOp::Add => Some(a + b),
        BinaryOp::Subtract => Some(a - b),
        BinaryOp::Multiply => Some(a * b),
        BinaryOp::Divide => Some(a / b),
        BinaryOp::Remainder => Some(a % b),
        _ => None,
    }
}

/// Both operands by way of 64-bit floating point, as the engine does it.
fn decimals(operator: BinaryOp, left: &Value, right: &Value) -> Result<Option<Value>, Fault> {
    let exact = |value: &Value| -> Result<BigDecimal, Fault> {
        let text = java_double(as_f64(value).unwrap_or(f64::NAN));
        text.parse().map_err(|_| Fault::host(format!("java.lang.NumberFormatException: {text} is no decimal number")))
    };
    let (a, b) = (exact(left)?, exact(right)?);
    let result = match operator {
        BinaryOp::Add => a + b,
        BinaryOp::Subtract => a - b,
        BinaryOp::Multiply => rounded(a * b),
        BinaryOp::Divide | BinaryOp::Remainder if b.is_zero() => return Ok(None),
        BinaryOp::Divide => divided(&a, &b),
        BinaryOp::Remainder => rounded(a % b),
        _ => return Ok(None),
    };
    Ok(Some(Value::Decimal(result.into())))
}

fn rounded(value: BigDecimal) -> BigDecimal {
    if value.digits() > PRECISION { round(&value) } else { value }
}

fn round(value: &BigDecimal) -> BigDecimal {
    let digits = i64::try_from(value.digits()).unwrap_or(i64::MAX);
    let (_, scale) = value.as_bigint_and_exponent();
    value.with_scale_round(scale - (digits - PRECISION as i64), RoundingMode::HalfEven)
}

/// 34 digits; an exact quotient has as few decimals as the operands allow.
fn divided(a: &BigDecimal, b: &BigDecimal) -> BigDecimal {
    let (a_digits, a_scale) = a.as_bigint_and_exponent();
    let (b_digits, b_scale) = b.as_bigint_and_exponent();
    let preferred = a_scale - b_scale;
    if a_digits.is_zero() {
        return BigDecimal::new(BigInt::from(0), preferred);
    }
    // enough digits that rounding to the precision is exact, one more standing for everything beyond
    let extra = PRECISION + 3 + b.digits();
    let (quotient, rest) = (a_digits * BigInt::from(10).pow(extra as u32), b_digits);
    let (mut whole, remainder) = (&quotient / &rest, &quotient % &rest);
    let mut scale = preferred + extra as i64;
    if !remainder.is_zero() {
        whole = whole * 10 + quotient_sign(&quotient, &rest);
        scale += 1;
        return round(&BigDecimal::new(whole, scale));
    }
    let mut result = rounded(BigDecimal::new(whole, scale));
    loop {
        let (digits, scale) = result.as_bigint_and_exponent();
        if scale <= preferred || !(&digits % 10u32).is_zero() {
            return result;
        }
        result = BigDecimal::new(digits / 10u32, scale - 1);
    }
}

fn quotient_sign(a: &BigInt, b: &BigInt) -> i32 {
    if a.sign() == b.sign() { 1 } else { -1 }
}
