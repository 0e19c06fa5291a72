//! `render` and `renderOnce` (expression reference, section 15.4).

use crate::error::{ExpressionError, Fault};
use crate::eval::{Args, Frame, compile, render_in};
use crate::value::{Set, Value};

type Answer = Result<Value, Fault>;

pub(super) fn render(frame: &mut Frame<'_, '_>, args: &Args) -> Answer {
    let recursive = match args.get(1) {
        None => true,
        Some(Value::Bool(recursive)) => *recursive,
        Some(_) => {
            return Err(Fault::engine(
                "The 'render' function expects an optional argument 'recursive' with type boolean.",
            ));
        }
    };
    rendered(frame, args, recursive, "render")
}

pub(super) fn render_once(frame: &mut Frame<'_, '_>, args: &Args) -> Answer {
    rendered(frame, args, false, "renderOnce")
}

fn rendered(frame: &mut Frame<'_, '_>, args: &Args, recursive: bool, function: &str) -> Answer {
    let Some(value) = args.given(0) else {
        return Err(Fault::engine(format!("The '{function}' function expects an argument 'toRender'.")));
    };
    let session = frame.session;
    session.rendering(|| rendered_value(frame, value, recursive, 0))
}

fn rendered_value(frame: &Frame<'_, '_>, value: &Value, recursive: bool, depth: u32) -> Answer {
    if depth > 100 {
        return Err(Fault::Limit("A value to be rendered is nested too deeply".to_owned()));
    }
    if let Value::Text(text) = value {
        let (text, only_null) = rendered_text(frame, text, recursive)?;
        return Ok(if only_null && depth > 0 { Value::Null } else { Value::text(text) });
    }
    if let Value::Set(set) = value {
        let items = set.iter().map(|item| rendered_value(frame, item, recursive, depth + 1));
        return Ok(Value::Set(items.collect::<Result<Set, Fault>>()?));
    }
    if let Some(items) = value.list_items() {
        let items = items.iter().map(|item| rendered_value(frame, item, recursive, depth + 1));
        return Ok(Value::list(items.collect::<Result<_, Fault>>()?));
    }
    let Some(entries) = value.entries()? else { return Ok(value.clone()) };
    let mut rendered: Vec<(Value, Value)> = Vec::with_capacity(entries.len());
    for (key, value) in entries {
        let key = match &key {
            Value::Text(key) => Value::text(rendered_text(frame, key, recursive)?.0),
            other => other.clone(),
        };
        rendered.push((key, rendered_value(frame, &value, recursive, depth + 1)?));
    }
    // the first of two keys that became equal wins
    rendered.reverse();
    let last_wins: crate::value::Map = rendered.iter().cloned().collect();
    rendered.reverse();
    let ordered = rendered.into_iter().map(|(key, value)| {
        let value = last_wins.get_key(&key).cloned().unwrap_or(value);
        (key, value)
    });
    Ok(Value::Map(ordered.collect()))
}

fn rendered_text(frame: &Frame<'_, '_>, text: &str, recursive: bool) -> Result<(String, bool), Fault> {
    let session = frame.session;
    session.nested(|| {
        let template = compile(text, &session.environment).map_err(inner)?;
        let rendered = render_in(&template, session, frame.visible(), recursive).map_err(inner)?;
        session.meter.text(rendered.text.len())?;
        Ok((rendered.text, rendered.only_null))
    })
}

/// An error inside is a plain one outside: nothing catches it, except that facts are still loaded.
fn inner(error: ExpressionError) -> Fault {
    match error {
        ExpressionError::Needs(key) => Fault::Needs(key),
        ExpressionError::Limit { message } => Fault::Limit(message),
        other => Fault::engine(other.to_string()),
    }
}
