//! Filters over lists and maps (expression reference, section 12.2).

use std::cmp::Ordering;

use super::text_argument;
use crate::error::Fault;
use crate::eval::strings::{utf16_at, utf16_len, utf16_slice};
use crate::eval::{Args, Session};
use crate::predicates::is_empty;
use crate::value::{Entry, List, Set, Value};

type Answer = Result<Value, Fault>;

pub(super) fn default(session: &Session<'_>, input: Value, args: &Args) -> Answer {
    let replace = is_empty(session, &input)?;
    Ok(if replace { args.get(0).cloned().unwrap_or(Value::Null) } else { input })
}

fn edge(input: &Value, filter: &str, pick: fn(&[Value]) -> Option<&Value>, letter: fn(&str) -> Option<char>) -> Answer {
    if input.is_null() {
        return Ok(Value::Null);
    }
    if let Some(items) = input.items() {
        return Ok(pick(&items).cloned().unwrap_or(Value::Null));
    }
    let Some(text) = input.as_text() else {
        return Err(Fault::host(format!(
            "java.lang.ClassCastException: {} has no {filter} element",
            input.class_name()
        )));
    };
    letter(text).map(Value::Char).ok_or_else(|| {
        Fault::host(format!("java.lang.StringIndexOutOfBoundsException: an empty text has no {filter} character"))
    })
}

pub(super) fn first(_: &Session<'_>, input: Value, _: &Args) -> Answer {
    edge(&input, "first", <[Value]>::first, |text| utf16_at(text, 0))
}

pub(super) fn last(_: &Session<'_>, input: Value, _: &Args) -> Answer {
    edge(&input, "last", <[Value]>::last, |text| text.chars().next_back())
}

pub(super) fn join(session: &Session<'_>, input: Value, args: &Args) -> Answer {
    if input.is_null() {
        return Ok(Value::Null);
    }
    let separator = text_argument(args, 0, "join")?;
    let Some(items) = input.items() else {
        return Err(Fault::engine("The 'join' filter expects that the input is either a collection or an array."));
    };
    let mut out = String::new();
    for (index, item) in items.iter().enumerate() {
        if index > 0
            && let Some(separator) = &separator
        {
            session.printer().add(&mut out, separator)?;
        }
        session.printer().plain_or_null(item, &mut out)?;
    }
    session.meter.text(out.len())?;
    Ok(Value::text(out))
}

pub(super) fn length(_: &Session<'_>, input: Value, _: &Args) -> Answer {
    let count = match &input {
        Value::Text(text) | Value::Markup(text) => utf16_len(text),
        other => other.size()?.unwrap_or(0),
    };
    Ok(Value::Int(i32::try_from(count).unwrap_or(i32::MAX)))
}

/// The order of two elements of one kind.
fn compare(left: &Value, right: &Value) -> Result<Ordering, Fault> {
    let order = match (left, right) {
        (Value::Text(a), Value::Text(b)) => Some(compare_texts(a, b)),
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Long(a), Value::Long(b)) => Some(a.cmp(b)),
        (Value::BigInt(a), Value::BigInt(b)) => Some(a.cmp(b)),
        (Value::Float(a), Value::Float(b)) => Some(a.total_cmp(b)),
        (Value::Double(a), Value::Double(b)) => Some(a.total_cmp(b)),
        (Value::Decimal(a), Value::Decimal(b)) => Some(a.cmp(b)),
        (Value::Char(a), Value::Char(b)) => Some(a.cmp(b)),
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (Value::Instant(a), Value::Instant(b)) => Some(a.cmp(b)),
        (Value::Zoned(a), Value::Zoned(b)) => Some(a.instant.cmp(&b.instant)),
        (Value::LocalDateTime(a), Value::LocalDateTime(b)) => Some(a.cmp(b)),
        (Value::LocalDate(a), Value::LocalDate(b)) => Some(a.cmp(b)),
        (Value::LocalTime(a), Value::LocalTime(b)) => Some(a.cmp(b)),
        (Value::Duration(a), Value::Duration(b)) => Some(a.cmp(b)),
        (Value::Uri(a), Value::Uri(b)) => Some(a.cmp(b)),
        _ => None,
    };
    order.ok_or_else(|| {
        Fault::host(format!(
            "java.lang.ClassCastException: {} and {} cannot be compared",
            left.class_name(),
            right.class_name()
        ))
    })
}

/// By UTF-16 unit, which differs from the order of code points beyond U+FFFF.
fn compare_texts(a: &str, b: &str) -> Ordering {
    if a.is_ascii() && b.is_ascii() { a.cmp(b) } else { a.encode_utf16().cmp(b.encode_utf16()) }
}

fn sorted(session: &Session<'_>, list: &List, descending: bool) -> Result<(), Fault> {
    let mut items = list.snapshot().to_vec();
    let count = items.len() as u64;
    session.meter.elements(items.len())?;
    session.meter.steps(count.saturating_mul(u64::from(64 - count.leading_zeros())))?;
    if let Some(lone) = items.first().filter(|_| items.len() == 1)
        && lone.is_null()
    {
        return Ok(());
    }
    let mut failure = None;
    items.sort_by(|a, b| {
        let order = compare(a, b).unwrap_or_else(|fault| {
            failure.get_or_insert(fault);
            Ordering::Equal
        });
        if descending { order.reverse() } else { order }
    });
    match failure {
        Some(fault) => Err(fault),
        None => {
            list.replace(items);
            Ok(())
        }
    }
}

fn unsupported(filter: &str, input: &Value) -> Fault {
    Fault::host(format!("Unsupported input type for {filter} filter: {}", input.class_name()))
}

pub(super) fn sort(session: &Session<'_>, input: Value, _: &Args) -> Answer {
    if input.is_null() {
        return Ok(Value::Null);
    }
    let Some(list) = session.changeable_list(&input)? else { return Err(unsupported("sort", &input)) };
    sorted(session, &list, false)?;
    Ok(if matches!(input, Value::Array(_)) { Value::Array(list) } else { Value::List(list) })
}

/// The list that a filter changes in place which refuses arrays.
fn own_list(session: &Session<'_>, input: &Value, filter: &str) -> Result<List, Fault> {
    match input {
        Value::Array(_) => Err(unsupported(filter, input)),
        other => session.changeable_list(other)?.ok_or_else(|| unsupported(filter, input)),
    }
}

pub(super) fn rsort(session: &Session<'_>, input: Value, _: &Args) -> Answer {
    if input.is_null() {
        return Ok(Value::Null);
    }
    let list = own_list(session, &input, "rsort")?;
    sorted(session, &list, true)?;
    Ok(Value::List(list))
}

pub(super) fn reverse(session: &Session<'_>, input: Value, _: &Args) -> Answer {
    if input.is_null() {
        return Ok(Value::Null);
    }
    let list = own_list(session, &input, "reverse")?;
    session.meter.elements(list.len())?;
    list.replace(list.snapshot().iter().rev().cloned().collect());
    Ok(Value::List(list))
}

/// A position argument of `slice`, decimals cut.
fn position(args: &Args, index: usize, name: &str) -> Result<Option<i64>, Fault> {
    match args.get(index) {
        None => Ok(None),
        Some(value) => match crate::eval::as_f64(value) {
            Some(number) => Ok(Some(number as i64)),
            None => {
                Err(Fault::engine(format!("Argument {name} must be a number. Actual type: {}", value.class_name())))
            }
        },
    }
}

pub(super) fn slice(session: &Session<'_>, input: Value, args: &Args) -> Answer {
    if input.is_null() {
        return Ok(Value::Null);
    }
    let items = input.sequence_items();
    let size = match (&items, input.as_text()) {
        (Some(items), _) => items.len(),
        (None, Some(text)) => utf16_len(text),
        (None, None) => {
            return Err(Fault::engine(format!(
                "Slice filter can only be applied to String, List and array inputs. Actual type was: {}",
                input.class_name()
            )));
        }
    };
    let from = position(args, 0, "fromIndex")?.unwrap_or(0);
    let given_to = position(args, 1, "toIndex")?;
    let to = given_to.unwrap_or(size as i64);
    let Ok(from) = usize::try_from(from) else {
        return Err(Fault::host("fromIndex must be greater than 0"));
    };
    if given_to.is_some() && to <= from as i64 {
        return Err(Fault::engine("toIndex must be greater than fromIndex"));
    }
    let to = usize::try_from(to).unwrap_or(0);
    if to > size {
        return Err(Fault::engine(format!("toIndex must be smaller than input size: {size}")));
    }
    if from > to {
        return Err(Fault::host("fromIndex must not be greater than the input size"));
    }
    match (items, input.as_text()) {
        (Some(items), _) => {
            session.meter.elements(to - from)?;
            let part = items[from..to].to_vec();
            Ok(if matches!(input, Value::Array(_)) { Value::array(part) } else { Value::list(part) })
        }
        (None, Some(text)) => {
            session.meter.text(text.len())?;
            Ok(Value::text(utf16_slice(text, from, to)))
        }
        (None, None) => Ok(Value::Null),
    }
}

pub(super) fn merge(session: &Session<'_>, input: Value, args: &Args) -> Answer {
    let items = args.get(0).cloned().unwrap_or(Value::Null);
    match (input.is_null(), items.is_null()) {
        (true, true) => return Err(Fault::engine("The two arguments to be merged are null")),
        (true, false) => return Ok(items),
        (false, true) => return Ok(input),
        (false, false) => {}
    }
    let size = input.size()?.unwrap_or(0) + items.size()?.unwrap_or(0);
    session.meter.elements(size)?;
    if let Some(mut entries) = input.entries()? {
        if let Some(more) = items.entries()? {
            entries.extend(more);
        } else if let Some(more) = items.list_items() {
            entries.extend(more.iter().map(|item| (item.clone(), item.clone())));
        } else {
            return Err(Fault::engine("Currently, only Maps and Lists can be merged with a Map"));
        }
        return Ok(Value::Map(entries.into_iter().collect()));
    }
    if let Some(list) = input.list_items() {
        let mut merged = list.to_vec();
        if let Some(more) = items.list_items() {
            merged.extend(more.iter().cloned());
        } else if let Some(more) = items.entries()? {
            merged.extend(more.into_iter().map(|(key, value)| Value::Entry(Entry::new(key, value))));
        } else {
            return Err(Fault::engine("Currently, only Maps and Lists can be merged with a List"));
        }
        return Ok(Value::list(merged));
    }
    match (&input, &items) {
        (Value::Array(left), Value::Array(right)) => {
            Ok(Value::array(left.snapshot().iter().chain(right.snapshot().iter()).cloned().collect()))
        }
        (Value::Array(_), _) => Err(Fault::engine("Currently, only Arrays can be merged with an Array")),
        _ => Err(Fault::engine(format!(
            "The object being filtered is not a Map/List/Array. Actual type was: {}",
            input.class_name()
        ))),
    }
}

pub(super) fn chunk(session: &Session<'_>, input: Value, args: &Args) -> Answer {
    if input.is_null() {
        return Ok(Value::Null);
    }
    let Some(size) = args.given(0) else {
        return Err(Fault::engine("'chunk' filter expects an argument 'size'."));
    };
    let Some(items) = input.list_items() else {
        return Err(Fault::engine(format!(
            "'chunk' filter can only be applied to List. Actual type was: {}",
            input.class_name()
        )));
    };
    if size.is_null() {
        return Err(Fault::host("java.lang.NullPointerException: the size of chunks is null"));
    }
    let Some(number) = crate::eval::as_f64(size) else {
        return Err(Fault::engine(format!(
            "'chunk' filter argument 'size' must be a number. Actual type was: {}",
            size.class_name()
        )));
    };
    let size = number as i64;
    let Some(size) = usize::try_from(size).ok().filter(|size| *size > 0) else {
        return Err(Fault::host(format!("java.lang.IllegalArgumentException: chunks of size {size}")));
    };
    session.meter.elements(items.len() * 2)?;
    Ok(Value::list(items.chunks(size).map(|part| Value::list(part.to_vec())).collect()))
}

pub(super) fn distinct(session: &Session<'_>, input: Value, _: &Args) -> Answer {
    if input.is_null() {
        return Ok(Value::text("null"));
    }
    let Some(items) = input.items() else {
        return Err(Fault::engine(format!("Input must be a list, but received : {}", input.class_name())));
    };
    session.meter.elements(items.len() * 2)?;
    let seen: Set = items.iter().cloned().collect();
    Ok(Value::list(seen.iter().cloned().collect()))
}

pub(super) fn flatten(session: &Session<'_>, input: Value, _: &Args) -> Answer {
    if input.is_null() {
        return Ok(Value::Null);
    }
    let Some(items) = input.list_items() else {
        return Err(Fault::engine("The 'flatten' filter can only be applied to lists."));
    };
    let mut flat = Vec::with_capacity(items.len());
    for item in items.iter() {
        match item.list_items() {
            Some(inner) => {
                session.meter.elements(inner.len())?;
                flat.extend(inner.iter().cloned());
            }
            None => flat.push(item.clone()),
        }
    }
    session.meter.elements(items.len())?;
    Ok(Value::List(List::read_only(flat)))
}

pub(super) fn keys(session: &Session<'_>, input: Value, _: &Args) -> Answer {
    if input.is_null() {
        return Ok(Value::Null);
    }
    if let Some(entries) = input.entries()? {
        session.meter.elements(entries.len())?;
        return Ok(Value::Set(entries.into_iter().map(|(key, _)| key).collect()));
    }
    let is_sequence = input.is_list() || matches!(input, Value::Array(_));
    let Some(size) = input.size()?.filter(|_| is_sequence) else {
        return Err(Fault::engine(format!(
            "'keys' filter can only be applied to List, Map, Array. Actual type was: {}",
            input.class_name()
        )));
    };
    session.meter.elements(size)?;
    Ok(Value::List(List::read_only(
        (0..size).map(|index| Value::Int(i32::try_from(index).unwrap_or(i32::MAX))).collect(),
    )))
}

pub(super) fn values(session: &Session<'_>, input: Value, _: &Args) -> Answer {
    if input.is_null() {
        return Ok(Value::Null);
    }
    let Some(entries) = input.entries()? else {
        return Err(Fault::engine(format!(
            "'values' filter can only be applied to Map. Actual type was: {}",
            input.class_name()
        )));
    };
    session.meter.elements(entries.len())?;
    Ok(Value::list(entries.into_iter().map(|(_, value)| value).collect::<Vec<_>>()))
}
