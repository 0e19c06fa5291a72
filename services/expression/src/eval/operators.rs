//! Operators other than arithmetic on two numbers (expression reference, section 5).

use std::cmp::Ordering;

use super::Session;
use super::arithmetic::{self, as_f64};
use crate::error::Fault;
use crate::syntax::ast::BinaryOp;
use crate::value::{List, Set, Value, strictly_equal};

/// What an operator says when it cannot be applied.
pub(super) fn failure(operator: BinaryOp) -> &'static str {
    match operator {
        BinaryOp::Add => "Could not perform addition",
        BinaryOp::Subtract => "Could not perform subtraction",
        BinaryOp::Multiply => "Could not perform multiplication",
        BinaryOp::Divide => "Could not perform division",
        BinaryOp::Remainder => "Could not perform greater modulus",
        BinaryOp::Greater => "Could not perform greater than comparison",
        BinaryOp::GreaterOrEqual => "Could not perform greater than or equals comparison",
        BinaryOp::Less => "Could not perform less than comparison",
        BinaryOp::LessOrEqual => "Could not perform less than or equals comparison",
        BinaryOp::Equal => "Could not perform equals comparison",
        BinaryOp::NotEqual => "Could not perform not equals comparison",
        _ => "Could not perform operation",
    }
}

pub(super) fn compute(session: &Session<'_>, operator: BinaryOp, left: &Value, right: &Value) -> Result<Value, Fault> {
    let failed = || Fault::engine(failure(operator));
    match operator {
        BinaryOp::Equal => equal(session, left, right).map(Value::Bool),
        BinaryOp::NotEqual => equal(session, left, right).map(|equal| Value::Bool(!equal)),
        BinaryOp::Less | BinaryOp::Greater | BinaryOp::LessOrEqual | BinaryOp::GreaterOrEqual => {
            if left.is_null() || right.is_null() {
                return Ok(Value::Bool(false));
            }
            let (Some(left), Some(right)) = (as_f64(left), as_f64(right)) else { return Err(failed()) };
            Ok(Value::Bool(match operator {
                BinaryOp::Less => left < right,
                BinaryOp::Greater => left > right,
                BinaryOp::LessOrEqual => left <= right,
                _ => left >= right,
            }))
        }
        BinaryOp::Add => add(session, left, right)?.ok_or_else(failed),
        BinaryOp::Subtract if left.is_list() => remove(session, left, right),
        _ => arithmetic::compute(operator, left, right)?.ok_or_else(failed),
    }
}

/// `-x` is `-1 * x` and `+x` is `1 * x`.
pub(super) fn signed(negative: bool, value: &Value) -> Result<Value, Fault> {
    let factor = Value::Long(if negative { -1 } else { 1 });
    arithmetic::compute(BinaryOp::Multiply, &factor, value)?
        .ok_or_else(|| Fault::engine("invalid operands for mathematical operation"))
}

fn equal(session: &Session<'_>, left: &Value, right: &Value) -> Result<bool, Fault> {
    match (as_f64(left), as_f64(right)) {
        (Some(left), Some(right)) => Ok(left == right),
        _ => strictly_equal(left, right, &session.meter),
    }
}

/// The order of two numbers as 64-bit floating point, `None` if one of them is none.
pub(crate) fn compare_numbers(left: &Value, right: &Value) -> Option<Ordering> {
    as_f64(left)?.partial_cmp(&as_f64(right)?)
}

fn add(session: &Session<'_>, left: &Value, right: &Value) -> Result<Option<Value>, Fault> {
    if left.as_text().is_some() || right.as_text().is_some() {
        let mut text = String::new();
        session.printer().plain_or_null(left, &mut text)?;
        session.printer().plain_or_null(right, &mut text)?;
        session.meter.text(text.len())?;
        return Ok(Some(Value::text(text)));
    }
    if left.is_list()
        && let Some(list) = session.changeable_list(left)?
    {
        let more = match right.collection_items() {
            Some(items) => items.to_vec(),
            None => vec![right.clone()],
        };
        session.meter.elements(more.len() + list.len() / 8)?;
        session.note_growth(&list, &more);
        list.extend(more);
        return Ok(Some(Value::List(list)));
    }
    arithmetic::compute(BinaryOp::Add, left, right)
}

fn remove(session: &Session<'_>, left: &Value, right: &Value) -> Result<Value, Fault> {
    let Some(list) = session.changeable_list(left)? else { return Ok(left.clone()) };
    let mut kept = Vec::with_capacity(list.len());
    session.meter.elements(list.len())?;
    if let Some(unwanted) = right.collection_items() {
        let unwanted: Set = unwanted.iter().cloned().collect();
        kept.extend(list.snapshot().iter().filter(|item| !unwanted.contains(item)).cloned());
    } else {
        let mut removed = false;
        for item in list.snapshot().iter() {
            if !removed && strictly_equal(item, right, &session.meter)? {
                removed = true;
            } else {
                kept.push(item.clone());
            }
        }
    }
    list.replace(kept);
    Ok(Value::List(list))
}

pub(super) fn contains(session: &Session<'_>, left: &Value, right: &Value) -> Result<bool, Fault> {
    if left.is_list() || matches!(left, Value::Set(_)) {
        return collection_contains(session, left, right);
    }
    match left {
        Value::Map(map) => Ok(map.get_key(right).is_some()),
        Value::Json(_) | Value::Object(_) | Value::Loop(_) => match right {
            Value::Text(key) => Ok(super::members::entry(session, left, key)?.is_some()),
            _ => Ok(false),
        },
        Value::Array(list) => any_equal(session, list, right),
        Value::Text(text) | Value::Markup(text) => {
            let mut part = String::new();
            session.printer().plain_or_null(right, &mut part)?;
            session.meter.steps(text.len() as u64 / 16)?;
            Ok(text.contains(&part))
        }
        other => Err(Fault::engine(format!(
            "Contains operator can only be used on Collections, Maps and arrays. Actual type was: {}",
            other.class_name()
        ))),
    }
}

fn collection_contains(session: &Session<'_>, left: &Value, right: &Value) -> Result<bool, Fault> {
    let items = left.collection_items().unwrap_or_default();
    let Some(wanted) = right.collection_items() else {
        return any_equal(session, &List::new(items.to_vec()), right);
    };
    session.meter.elements(items.len() + wanted.len())?;
    let known: Set = items.iter().cloned().collect();
    Ok(wanted.iter().all(|item| known.contains(item)))
}

fn any_equal(session: &Session<'_>, list: &List, wanted: &Value) -> Result<bool, Fault> {
    for item in list.snapshot().iter() {
        if strictly_equal(item, wanted, &session.meter)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Compares plain text forms (section 5.10).
pub(super) fn is_in(session: &Session<'_>, left: &Value, right: &Value) -> Result<bool, Fault> {
    if left.is_null() {
        return Ok(false);
    }
    let wanted = session.printer().plain_text(left)?;
    let is_wanted = |value: &Value| -> Result<bool, Fault> {
        session.meter.steps(1)?;
        match value {
            Value::Null => Ok(false),
            Value::Text(text) => Ok(**text == *wanted),
            other => Ok(session.printer().plain_text(other)? == wanted),
        }
    };
    if let Some(items) = right.items() {
        for item in items.iter() {
            if is_wanted(item)? {
                return Ok(true);
            }
        }
    } else if let Some(entries) = right.entries()? {
        for (key, value) in &entries {
            if is_wanted(key)? || is_wanted(value)? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// `a..b` and `range` (section 15.1).
pub(crate) fn range(
    session: &Session<'_>,
    start: &Value,
    end: &Value,
    increment: Option<&Value>,
) -> Result<Value, Fault> {
    let step = match increment {
        None => 1,
        Some(value) => arithmetic::truncated(value)
            .ok_or_else(|| Fault::engine("The increment of the range function must be a number"))?,
    };
    if step == 0 {
        return Err(Fault::engine("The increment of the range function must be different than 0"));
    }
    if let (Some(start), Some(end)) = (arithmetic::truncated(start), arithmetic::truncated(end)) {
        return Ok(Value::list(steps(session, start, end, step)?.into_iter().map(Value::Long).collect()));
    }
    let letter = |value: &Value| {
        let text = value.as_text()?;
        let mut chars = text.chars();
        chars.next().filter(|_| chars.next().is_none()).map(|c| i64::from(u32::from(c)))
    };
    let (Some(start), Some(end)) = (letter(start), letter(end)) else {
        return Err(Fault::engine("Arguments of range function must be of type Number or String with a length of 1"));
    };
    let letters =
        steps(session, start, end, step)?.into_iter().filter_map(|code| char::from_u32(u32::try_from(code).ok()?));
    Ok(Value::list(letters.map(Value::Char).collect()))
}

fn steps(session: &Session<'_>, start: i64, end: i64, step: i64) -> Result<Vec<i64>, Fault> {
    let distance = i128::from(end) - i128::from(start);
    let count = if (distance < 0) != (step < 0) && distance != 0 { 0 } else { distance / i128::from(step) + 1 };
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    session.meter.elements(count)?;
    Ok((0..count).map(|index| start.wrapping_add(step.wrapping_mul(index as i64))).collect())
}
