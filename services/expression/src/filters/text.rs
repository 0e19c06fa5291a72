//! Filters over texts (expression reference, section 12.1).

use std::sync::Arc;

use unicode_normalization::UnicodeNormalization;

use super::{pattern, text_argument, text_input};
use crate::error::Fault;
use crate::eval::strings::{utf16_len, utf16_slice};
use crate::eval::{Args, Session};
use crate::syntax::is_java_whitespace;
use crate::value::Value;

type Answer = Result<Value, Fault>;

/// The text form of any value that is not null.
fn text_form(session: &Session<'_>, value: &Value) -> Result<Arc<str>, Fault> {
    match value {
        Value::Text(text) | Value::Markup(text) => Ok(Arc::clone(text)),
        other => session.printer().plain_text(other).map(Arc::from),
    }
}

/// Applies a change to the text form of a value; null stays null.
fn change(session: &Session<'_>, input: &Value, change: impl FnOnce(&str) -> String) -> Answer {
    if input.is_null() {
        return Ok(Value::Null);
    }
    let text = text_form(session, input)?;
    session.meter.text(text.len())?;
    Ok(Value::text(change(&text)))
}

/// The same for filters that refuse anything but texts.
fn change_text(session: &Session<'_>, input: &Value, filter: &str, how: impl FnOnce(&str) -> String) -> Answer {
    if !input.is_null() {
        text_input(input, filter)?;
    }
    change(session, input, how)
}

pub(super) fn lower(session: &Session<'_>, input: Value, _: &Args) -> Answer {
    change(session, &input, str::to_lowercase)
}

pub(super) fn upper(session: &Session<'_>, input: Value, _: &Args) -> Answer {
    change(session, &input, str::to_uppercase)
}

pub(super) fn string(session: &Session<'_>, input: Value, _: &Args) -> Answer {
    change(session, &input, str::to_owned)
}

pub(super) fn trim(session: &Session<'_>, input: Value, _: &Args) -> Answer {
    change_text(session, &input, "trim", |text| text.trim_matches(|c| c <= ' ').to_owned())
}

pub(super) fn nl2br(session: &Session<'_>, input: Value, _: &Args) -> Answer {
    if !input.is_null() && input.as_text().is_none() {
        return Err(Fault::engine("The 'nl2br' filter expects a string input"));
    }
    change(session, &input, |text| text.replace("\r\n", "\n").replace('\r', "\n").replace('\n', "<br />"))
}

/// Letters that have a title case of their own are few; for all others it is the upper case of one character.
fn title_case(c: char, out: &mut String) {
    match c {
        'Ǆ' | 'ǅ' | 'ǆ' => out.push('ǅ'),
        'Ǉ' | 'ǈ' | 'ǉ' => out.push('ǈ'),
        'Ǌ' | 'ǋ' | 'ǌ' => out.push('ǋ'),
        'Ǳ' | 'ǲ' | 'ǳ' => out.push('ǲ'),
        c => {
            let mut upper = c.to_uppercase();
            match (upper.next(), upper.next()) {
                (Some(single), None) => out.push(single),
                _ => out.push(c),
            }
        }
    }
}

pub(super) fn capitalize(session: &Session<'_>, input: Value, _: &Args) -> Answer {
    change_text(session, &input, "capitalize", |text| {
        let rest = text.trim_start_matches(is_java_whitespace);
        let mut out = text[..text.len() - rest.len()].to_owned();
        let mut chars = rest.chars();
        if let Some(first) = chars.next() {
            title_case(first, &mut out);
        }
        out.push_str(chars.as_str());
        out
    })
}

pub(super) fn title(session: &Session<'_>, input: Value, _: &Args) -> Answer {
    change_text(session, &input, "title", |text| {
        let mut out = String::with_capacity(text.len());
        let mut start = true;
        for c in text.chars() {
            if start && !is_java_whitespace(c) {
                title_case(c, &mut out);
            } else {
                out.push(c);
            }
            start = is_java_whitespace(c);
        }
        out
    })
}

pub(super) fn abbreviate(session: &Session<'_>, input: Value, args: &Args) -> Answer {
    if input.is_null() {
        return Ok(Value::Null);
    }
    let text = text_input(&input, "abbreviate")?;
    let Some(Value::Long(length)) = args.get(0) else {
        return Err(Fault::host("java.lang.ClassCastException: the argument 'length' has to be a java.lang.Long"));
    };
    let Ok(length) = usize::try_from(*length) else {
        return Err(Fault::engine("Invalid argument to abbreviate filter; must be greater than zero"));
    };
    session.meter.text(text.len())?;
    let size = utf16_len(&text);
    Ok(if size < length || size <= 3 {
        Value::Text(text)
    } else if length <= 3 {
        Value::text(utf16_slice(&text, 0, length))
    } else {
        Value::text(utf16_slice(&text, 0, length - 3) + "...")
    })
}

/// Applies a change to a scalar, or to all values at any depth of a list or map.
fn change_deeply(
    session: &Session<'_>,
    value: &Value,
    how: &dyn Fn(&str) -> Result<String, Fault>,
    depth: u32,
) -> Answer {
    if depth > 100 {
        return Err(Fault::Limit("A value is nested too deeply".to_owned()));
    }
    if value.is_null() {
        return Err(Fault::host("java.lang.NullPointerException: null cannot be changed"));
    }
    if let Some(items) = value.items() {
        session.meter.elements(items.len())?;
        let items = items.iter().map(|item| change_deeply(session, item, how, depth + 1)).collect::<Result<_, _>>()?;
        return Ok(Value::list(items));
    }
    if let Some(entries) = value.entries()? {
        session.meter.elements(entries.len())?;
        let entries = entries.into_iter().map(|(key, item)| Ok((key, change_deeply(session, &item, how, depth + 1)?)));
        return Ok(Value::Map(entries.collect::<Result<_, Fault>>()?));
    }
    how(&text_form(session, value)?).map(Value::text)
}

pub(super) fn replace(session: &Session<'_>, input: Value, args: &Args) -> Answer {
    let Some(pairs) = args.get(0) else {
        if input.is_null() && args.given(0).is_some() {
            return Ok(Value::Null);
        }
        return Err(Fault::engine("The argument 'replace_pairs' is required."));
    };
    if input.is_null() {
        return Ok(Value::Null);
    }
    let Some(pairs) = pairs.entries()? else {
        return Err(Fault::host("java.lang.ClassCastException: the argument 'replace_pairs' has to be a map"));
    };
    let by_pattern = match args.get(1) {
        None => false,
        Some(Value::Bool(value)) => *value,
        Some(_) => return Err(Fault::host("java.lang.ClassCastException: the argument 'regexp' has to be a boolean")),
    };
    let mut texts = Vec::with_capacity(pairs.len());
    for (old, new) in &pairs {
        if old.is_null() || new.is_null() {
            return Err(Fault::host("java.lang.NullPointerException: null cannot be replaced"));
        }
        texts.push((text_form(session, old)?, text_form(session, new)?));
    }
    let how = |text: &str| -> Result<String, Fault> {
        let mut text = text.to_owned();
        for (old, new) in &texts {
            text = if by_pattern {
                pattern::replace(session, &text, old, new)?
            } else {
                pattern::replace_literal(session, &text, old, new)?
            };
        }
        Ok(text)
    };
    change_deeply(session, &input, &how, 0)
}

pub(super) fn escape_char(session: &Session<'_>, input: Value, args: &Args) -> Answer {
    if input.is_null() {
        return Ok(Value::Null);
    }
    let Some(kind) = text_argument(args, 0, "escapeChar")? else {
        return Err(Fault::engine("The 'escapeChar' filter expects an argument 'type'."));
    };
    let (quote, escaped) = match kind.to_lowercase().as_str() {
        "single" => ("'", "\\'"),
        "double" => ("\"", "\\\""),
        "shell" => ("'", "'\\''"),
        _ => {
            return Err(Fault::engine(
                "The 'escapeChar' filter expects the value of the argument 'type' to be either 'single', 'double', or 'shell'.",
            ));
        }
    };
    change_deeply(session, &input, &|text| pattern::replace_literal(session, text, quote, escaped), 0)
}

pub(super) fn split(session: &Session<'_>, input: Value, args: &Args) -> Answer {
    if input.is_null() {
        return Ok(Value::Null);
    }
    let Some(delimiter) = text_argument(args, 0, "split")? else {
        return Err(Fault::engine("missing delimiter parameter in split filter"));
    };
    let text = text_input(&input, "split")?;
    let limit = match args.get(1) {
        None => 0,
        Some(Value::Int(limit)) => i64::from(*limit),
        Some(Value::Long(limit)) => *limit,
        Some(_) => {
            return Err(Fault::host("java.lang.ClassCastException: the argument 'limit' has to be a whole number"));
        }
    };
    pattern::split(session, &text, &delimiter, limit).map(Value::array)
}

/// The parts before and after a separator.
type Cut = fn(&str, &str) -> String;

fn substring(session: &Session<'_>, input: &Value, args: &Args, filter: &str, cut: Cut, absent: Cut) -> Answer {
    if input.is_null() {
        return Ok(Value::Null);
    }
    if args.given(0).is_none() {
        return Err(Fault::engine(format!("The '{filter}' filter expects an argument 'separator'.")));
    }
    let separator = text_argument(args, 0, filter)?;
    change(session, input, |text| match separator {
        Some(separator) if text.contains(&*separator) => cut(text, &separator),
        _ => absent(text, ""),
    })
}

fn whole(text: &str, _: &str) -> String {
    text.to_owned()
}

fn nothing(_: &str, _: &str) -> String {
    String::new()
}

pub(super) fn substring_before(session: &Session<'_>, input: Value, args: &Args) -> Answer {
    let cut: Cut = |text, separator| text.split_once(separator).map_or("", |(before, _)| before).to_owned();
    substring(session, &input, args, "substringBefore", cut, whole)
}

pub(super) fn substring_after(session: &Session<'_>, input: Value, args: &Args) -> Answer {
    let cut: Cut = |text, separator| text.split_once(separator).map_or("", |(_, after)| after).to_owned();
    substring(session, &input, args, "substringAfter", cut, nothing)
}

pub(super) fn substring_before_last(session: &Session<'_>, input: Value, args: &Args) -> Answer {
    let cut: Cut = |text, separator| text.rsplit_once(separator).map_or("", |(before, _)| before).to_owned();
    substring(session, &input, args, "substringBeforeLast", cut, whole)
}

pub(super) fn substring_after_last(session: &Session<'_>, input: Value, args: &Args) -> Answer {
    let cut: Cut = |text, separator| text.rsplit_once(separator).map_or("", |(_, after)| after).to_owned();
    substring(session, &input, args, "substringAfterLast", cut, nothing)
}

fn edges(session: &Session<'_>, input: &Value, args: &Args, filter: &str, holds: fn(&str, &str) -> bool) -> Answer {
    let Some(value) = args.get(0).filter(|_| !input.is_null()) else {
        return Err(Fault::host(format!(
            "java.lang.NullPointerException: the '{filter}' filter needs an input and a value"
        )));
    };
    let (text, value) = (text_form(session, input)?, text_form(session, value)?);
    Ok(Value::Bool(holds(&text, &value)))
}

pub(super) fn starts_with(session: &Session<'_>, input: Value, args: &Args) -> Answer {
    edges(session, &input, args, "startsWith", |text, part| text.starts_with(part))
}

pub(super) fn ends_with(session: &Session<'_>, input: Value, args: &Args) -> Answer {
    edges(session, &input, args, "endsWith", |text, part| text.ends_with(part))
}

/// The form of a text in paths and links.
pub fn slugify(text: &str) -> String {
    let dashed: String = text.chars().map(|c| if is_java_whitespace(c) { '-' } else { c }).collect();
    let kept: String = dashed
        .nfd()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
        .map(|c| if c == '_' { '-' } else { c.to_ascii_lowercase() })
        .collect();
    let mut slug = String::with_capacity(kept.len());
    for c in kept.chars() {
        if c != '-' || !slug.ends_with('-') {
            slug.push(c);
        }
    }
    let slug = slug.strip_prefix('-').unwrap_or(&slug);
    slug.strip_suffix('-').unwrap_or(slug).to_owned()
}

pub(super) fn slugify_filter(session: &Session<'_>, input: Value, _: &Args) -> Answer {
    change(session, &input, slugify)
}

/// The first kind of line break that a text has.
fn line_break(text: &str) -> &'static str {
    ["\r\n", "\n\r", "\n", "\r"].into_iter().find(|kind| text.contains(kind)).unwrap_or("\n")
}

fn indented(session: &Session<'_>, input: &Value, args: &Args, filter: &str, first_line: bool) -> Answer {
    if input.is_null() {
        return Ok(Value::Null);
    }
    let Some(Value::Long(amount)) = args.get(0) else {
        return Err(Fault::engine(format!("The '{filter}' filter expects an integer as argument 'amount'.")));
    };
    let Ok(amount) = usize::try_from(*amount) else {
        return Err(Fault::engine(format!(
            "The '{filter}' filter expects a positive integer >=0 as argument 'amount'."
        )));
    };
    let prefix = text_argument(args, 1, filter)?.unwrap_or_else(|| Arc::from(" "));
    let text = text_form(session, input)?;
    if text.is_empty() {
        return Ok(Value::Text(text));
    }
    let kind = line_break(&text);
    let lines = text.matches(kind).count() + usize::from(first_line);
    if lines == 0 {
        return Ok(Value::Text(text));
    }
    let width = prefix.len().saturating_mul(amount);
    session.meter.text(text.len().saturating_add(lines.saturating_mul(width.saturating_add(2))))?;
    let step = format!("{kind}{}", prefix.repeat(amount));
    let text = text.replace(kind, &step);
    Ok(Value::text(if first_line { step + &text } else { text }))
}

pub(super) fn indent(session: &Session<'_>, input: Value, args: &Args) -> Answer {
    indented(session, &input, args, "indent", false)
}

pub(super) fn nindent(session: &Session<'_>, input: Value, args: &Args) -> Answer {
    indented(session, &input, args, "nindent", true)
}
