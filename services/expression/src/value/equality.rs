//! Strict equality: same kind and same content (expression reference, sections 4 and 5.3), and hashing that agrees with it.

use std::hash::{Hash, Hasher};

use bigdecimal::ToPrimitive;

use super::Value;
use crate::error::Fault;
use crate::limits::{Limits, Meter};

const MAX_DEPTH: u32 = 100;
/// How far hashing looks into collections; more only costs time.
const HASH_DEPTH: u32 = 3;
const HASH_ITEMS: usize = 8;

/// Compares two values kind by kind; every compared pair is paid for.
pub(crate) struct Comparison<'a> {
    meter: &'a Meter,
}

/// Whether kind and content are the same.
pub(crate) fn strictly_equal(left: &Value, right: &Value, meter: &Meter) -> Result<bool, Fault> {
    Comparison { meter }.equal(left, right, 0)
}

impl<'a> Comparison<'a> {
    fn equal(&self, left: &Value, right: &Value, depth: u32) -> Result<bool, Fault> {
        self.meter.steps(1)?;
        if depth > MAX_DEPTH {
            return Err(Fault::Limit("Values to be compared are nested too deeply".to_owned()));
        }
        Ok(match (left, right) {
            (Value::Null, Value::Null) => true,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Int(a), Value::Int(b)) => a == b,
            (Value::Long(a), Value::Long(b)) => a == b,
            (Value::BigInt(a), Value::BigInt(b)) => a == b,
            (Value::Float(a), Value::Float(b)) => same_bits(f64::from(*a), f64::from(*b)),
            (Value::Double(a), Value::Double(b)) => same_bits(*a, *b),
            (Value::Decimal(a), Value::Decimal(b)) => a.as_bigint_and_exponent() == b.as_bigint_and_exponent(),
            (Value::Char(a), Value::Char(b)) => a == b,
            (Value::Text(a), Value::Text(b)) => a == b,
            (Value::Markup(a), Value::Markup(b)) => a == b,
            (Value::Uri(a), Value::Uri(b)) => a == b,
            (Value::Instant(a), Value::Instant(b)) => a == b,
            (Value::Zoned(a), Value::Zoned(b)) => a == b,
            (Value::LocalDateTime(a), Value::LocalDateTime(b)) => a == b,
            (Value::LocalDate(a), Value::LocalDate(b)) => a == b,
            (Value::LocalTime(a), Value::LocalTime(b)) => a == b,
            (Value::Duration(a), Value::Duration(b)) => a == b,
            (Value::Array(a), Value::Array(b)) => a.is_same(b),
            (Value::Loop(a), Value::Loop(b)) => a == b,
            (Value::Entry(a), Value::Entry(b)) => {
                self.equal(a.key(), b.key(), depth + 1)? && self.equal(a.value(), b.value(), depth + 1)?
            }
            (Value::Set(a), Value::Set(b)) => a.len() == b.len() && a.iter().all(|item| b.contains(item)),
            (a, b) if a.is_list() && b.is_list() => self.lists(a, b, depth)?,
            (a, b) if a.is_map() && b.is_map() => self.maps(a, b, depth)?,
            _ => false,
        })
    }

    fn lists(&self, left: &Value, right: &Value, depth: u32) -> Result<bool, Fault> {
        if left.size()? != right.size()? {
            return Ok(false);
        }
        let (Some(left), Some(right)) = (left.list_items(), right.list_items()) else { return Ok(false) };
        if std::sync::Arc::ptr_eq(&left, &right) {
            return Ok(true);
        }
        for (a, b) in left.iter().zip(right.iter()) {
            if !self.equal(a, b, depth + 1)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn maps(&self, left: &Value, right: &Value, depth: u32) -> Result<bool, Fault> {
        if left.size()? != right.size()? {
            return Ok(false);
        }
        let (Some(left), Some(right)) = (left.entries()?, right.entries()?) else { return Ok(false) };
        self.meter.elements(right.len())?;
        let right: super::Map = right.into_iter().collect();
        for (key, a) in &left {
            let Some(b) = right.get_key(key) else { return Ok(false) };
            if !self.equal(a, b, depth + 1)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Java compares boxed floating point numbers by their bits, so NaN equals itself and the two zeros differ.
fn same_bits(left: f64, right: f64) -> bool {
    left.to_bits() == right.to_bits() || (left.is_nan() && right.is_nan())
}

/// Equality of map keys and set elements; values too large to compare within bounds count as different.
pub(super) fn keys_equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Text(a), Value::Text(b)) => a == b,
        _ => {
            let meter = Meter::new(&Limits { max_steps: 10_000, ..Limits::default() });
            strictly_equal(left, right, &meter).unwrap_or(false)
        }
    }
}

pub(super) fn hash_key<H: Hasher>(value: &Value, state: &mut H) {
    hash_value(value, state, 0);
}

fn hash_value<H: Hasher>(value: &Value, state: &mut H, depth: u32) {
    match value {
        // the same as hashing a `str`, so that texts can be looked up without building a key
        Value::Text(text) => text.hash(state),
        Value::Bool(value) => value.hash(state),
        Value::Int(value) => value.hash(state),
        Value::Long(value) => value.hash(state),
        Value::BigInt(value) => value.hash(state),
        Value::Float(value) => hash_float(f64::from(*value), state),
        Value::Double(value) => hash_float(*value, state),
        Value::Decimal(value) => hash_float(value.to_f64().unwrap_or(0.0), state),
        Value::Char(value) => value.hash(state),
        Value::Markup(text) | Value::Uri(text) => (1u8, text).hash(state),
        Value::Instant(value) => value.hash(state),
        Value::LocalDateTime(value) => value.hash(state),
        Value::LocalDate(value) => value.hash(state),
        Value::LocalTime(value) => value.hash(state),
        _ if depth >= HASH_DEPTH => {}
        Value::Entry(entry) => hash_value(entry.key(), state, depth + 1),
        Value::List(_) | Value::Json(_) => {
            for item in value.list_items().iter().flat_map(|items| items.iter().take(HASH_ITEMS)) {
                hash_value(item, state, depth + 1);
            }
        }
        _ => {}
    }
}

fn hash_float<H: Hasher>(value: f64, state: &mut H) {
    (if value.is_nan() { f64::NAN } else { value }).to_bits().hash(state);
}
