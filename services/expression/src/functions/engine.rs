//! Functions of the template engine itself (expression reference, section 15.1), and `now`.

use std::cmp::Ordering;

use crate::error::Fault;
use crate::eval::{Args, Frame, compare_numbers, range as range_of};
use crate::value::Value;

type Answer = Result<Value, Fault>;

pub(super) fn block(frame: &mut Frame<'_, '_>, args: &Args) -> Answer {
    match args.get(0).and_then(Value::as_text) {
        Some(name) => frame.block_text(name),
        None => Err(Fault::engine("The 'block' function expects the name of a block.")),
    }
}

pub(super) fn parent(_: &mut Frame<'_, '_>, _: &Args) -> Answer {
    Err(Fault::engine("Can not use parent function if template does not extend another template."))
}

pub(super) fn i18n(frame: &mut Frame<'_, '_>, args: &Args) -> Answer {
    let bundle = frame.session.printer().plain_text(args.get(0).unwrap_or(&Value::Null))?;
    Err(Fault::host(format!(
        "java.util.MissingResourceException: Can't find bundle for base name {bundle}, locale en_US"
    )))
}

pub(super) fn range(frame: &mut Frame<'_, '_>, args: &Args) -> Answer {
    let null = Value::Null;
    range_of(frame.session, args.get(0).unwrap_or(&null), args.get(1).unwrap_or(&null), args.get(2))
}

pub(super) fn max(_: &mut Frame<'_, '_>, args: &Args) -> Answer {
    extreme(args, Ordering::Greater)
}

pub(super) fn min(_: &mut Frame<'_, '_>, args: &Args) -> Answer {
    extreme(args, Ordering::Less)
}

/// The first of the values that none surpasses; nulls are skipped, and only two values have to be numbers.
fn extreme(args: &Args, wanted: Ordering) -> Answer {
    let mut best: Option<&Value> = None;
    for value in args.all().filter(|value| !value.is_null()) {
        let Some(known) = best else {
            best = Some(value);
            continue;
        };
        if !known.is_number() || !value.is_number() {
            return Err(Fault::engine("Could not perform greater than comparison"));
        }
        if compare_numbers(value, known) == Some(wanted) {
            best = Some(value);
        }
    }
    Ok(best.cloned().unwrap_or(Value::Null))
}

pub(super) fn now(frame: &mut Frame<'_, '_>, args: &Args) -> Answer {
    let instant = frame.session.environment.services.now()?;
    crate::filters::format_instant(frame.session, instant, args)
}
