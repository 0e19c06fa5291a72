//! Writing YAML in block style.

use std::fmt::Write;

use crate::error::Fault;
use crate::eval::Session;
use crate::value::{Value, iso_local, iso_offset};

const MAX_DEPTH: usize = 100;

/// The text of a value, ending in a line break; null is the bare word.
pub(crate) fn to_text(session: &Session<'_>, value: &Value) -> Result<String, Fault> {
    let mut writer = Writer { session, out: String::new() };
    match value {
        Value::Null => return Ok("null".to_owned()),
        Value::Text(text) if text.is_empty() => writer.out.push_str("--- \"\"\n"),
        value => writer.top(value)?,
    }
    session.meter.text(writer.out.len())?;
    Ok(writer.out)
}

struct Writer<'a, 's> {
    session: &'s Session<'a>,
    out: String,
}

impl Writer<'_, '_> {
    fn top(&mut self, value: &Value) -> Result<(), Fault> {
        if let Some(items) = value.items() {
            self.list(&items, 0, 0, false)
        } else if let Some(entries) = map_entries(value)? {
            self.map(&entries, 0, 0, false)
        } else {
            self.scalar(value, 0)
        }
    }

    fn check(&self, depth: usize) -> Result<(), Fault> {
        self.session.meter.steps(1)?;
        self.session.meter.check_output(self.out.len())?;
        if depth > MAX_DEPTH {
            return Err(Fault::Limit("A value to be written as YAML is nested too deeply".to_owned()));
        }
        Ok(())
    }

    fn indent(&mut self, width: usize) {
        self.out.extend(std::iter::repeat_n(' ', width));
    }

    /// Items one blank behind `base`; `inside` something, so that a line break comes first.
    fn list(&mut self, items: &[Value], base: usize, depth: usize, inside: bool) -> Result<(), Fault> {
        self.check(depth)?;
        if items.is_empty() {
            self.out.push_str(if inside { " []\n" } else { "[]\n" });
            return Ok(());
        }
        self.out.push_str(if inside { "\n" } else { "" });
        for item in items {
            self.indent(base + 1);
            self.out.push('-');
            self.child(item, base + 2, base + 2, base, depth + 1)?;
        }
        Ok(())
    }

    fn map(&mut self, entries: &[(Value, Value)], base: usize, depth: usize, inside: bool) -> Result<(), Fault> {
        self.check(depth)?;
        if entries.is_empty() {
            self.out.push_str(if inside { " {}\n" } else { "{}\n" });
            return Ok(());
        }
        self.out.push_str(if inside { "\n" } else { "" });
        for (key, value) in entries {
            self.indent(base);
            let key = self.session.printer().plain_text(key)?;
            let style = if looks_like_number(&key) { Style::Double } else { style(&key) };
            match style {
                Style::Literal => double_quoted(&key, &mut self.out),
                style => quoted(&key, style, &mut self.out),
            }
            self.out.push(':');
            self.child(value, base, base + 2, base, depth + 1)?;
        }
        Ok(())
    }

    /// What stands behind a key or a dash.
    fn child(&mut self, value: &Value, list: usize, map: usize, scalar: usize, depth: usize) -> Result<(), Fault> {
        if let Some(items) = value.items() {
            return self.list(&items, list, depth, true);
        }
        if let Some(entries) = map_entries(value)? {
            return self.map(&entries, map, depth, true);
        }
        self.check(depth)?;
        self.out.push(' ');
        self.scalar(value, scalar)
    }

    fn scalar(&mut self, value: &Value, base: usize) -> Result<(), Fault> {
        match value {
            Value::Text(text) | Value::Markup(text) | Value::Uri(text) => self.text(text, base),
            Value::Char(c) => self.text(&c.to_string(), base),
            Value::Zoned(zoned) => self.line(&iso_offset(zoned)),
            Value::LocalDateTime(local) => self.line(&iso_local(*local)),
            Value::Null => self.line("null"),
            other => {
                let text = self.session.printer().json_text(other)?;
                self.line(text.trim_matches('"'));
            }
        }
        Ok(())
    }

    fn line(&mut self, text: &str) {
        self.out.push_str(text);
        self.out.push('\n');
    }

    fn text(&mut self, text: &str, base: usize) {
        match style(text) {
            Style::Literal => self.literal(text, base + 2),
            style => {
                quoted(text, style, &mut self.out);
                self.out.push('\n');
            }
        }
    }

    fn literal(&mut self, text: &str, indent: usize) {
        self.out.push('|');
        if text.starts_with([' ', '\n']) {
            self.out.push('2');
        }
        let body = match text.strip_suffix('\n') {
            None => {
                self.out.push('-');
                text
            }
            Some(body) => {
                if body.is_empty() || body.ends_with('\n') {
                    self.out.push('+');
                }
                body
            }
        };
        self.out.push('\n');
        for line in body.split('\n') {
            if !line.is_empty() {
                self.indent(indent);
                self.out.push_str(line);
            }
            self.out.push('\n');
        }
    }
}

fn map_entries(value: &Value) -> Result<Option<Vec<(Value, Value)>>, Fault> {
    match value {
        Value::Entry(entry) => Ok(Some(vec![(entry.key().clone(), entry.value().clone())])),
        other => other.entries(),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Plain,
    Single,
    Double,
    Literal,
}

fn is_control(c: char) -> bool {
    (c.is_control() && c != '\n') || c == '\u{feff}'
}

/// How a text has to be written (section 12.4).
fn style(text: &str) -> Style {
    let controls = text.contains(is_control);
    if text.contains('\n') {
        let blank_before_break = text.contains(" \n") || text.ends_with(' ');
        return if controls || blank_before_break { Style::Double } else { Style::Literal };
    }
    let comment = text.starts_with('#') || text.contains(" #");
    let key = text.ends_with(':') || text.contains(": ");
    let double = text.is_empty() || text.starts_with('~') || text.contains([',', '[', ']', '{', '}']);
    if double || comment || key || controls || is_word(text) {
        return Style::Double;
    }
    let indicator = text.starts_with(['`', '"', '\'', '@', '%', '&', '*', '!', '|', '>']);
    let dash = matches!(text, "-" | "?") || text.starts_with("- ") || text.starts_with("? ");
    let marker = text.starts_with("---") || text.starts_with("...");
    let blank = text.starts_with(' ') || text.ends_with(' ');
    let octal = text.len() > 1
        && text.starts_with('0')
        && text.bytes().all(|b| b.is_ascii_digit())
        && text.contains(['8', '9']);
    if indicator || dash || marker || blank || octal { Style::Single } else { Style::Plain }
}

/// Words that would be read as something else, in lower case, upper case and capitalised.
fn is_word(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let known = matches!(lower.as_str(), "true" | "false" | "yes" | "no" | "on" | "off" | "y" | "n" | "null");
    let capitalised = text.starts_with(|c: char| c.is_ascii_uppercase()) && text[1..] == lower[1..];
    known && (text == lower || text == lower.to_ascii_uppercase() || capitalised)
}

fn looks_like_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && unsigned.len() < 400
        && (unsigned.replace('_', "").parse::<f64>().is_ok() || unsigned.starts_with("0x"))
}

fn quoted(text: &str, style: Style, out: &mut String) {
    match style {
        Style::Plain | Style::Literal => out.push_str(text),
        Style::Single => {
            out.push('\'');
            out.push_str(&text.replace('\'', "''"));
            out.push('\'');
        }
        Style::Double => double_quoted(text, out),
    }
}

fn double_quoted(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\0' => out.push_str("\\0"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            '\u{1b}' => out.push_str("\\e"),
            '\u{85}' => out.push_str("\\N"),
            c if is_control(c) => {
                let code = u32::from(c);
                let _ = if code <= 0xff { write!(out, "\\x{code:02x}") } else { write!(out, "\\u{code:04x}") };
            }
            c => out.push(c),
        }
    }
    out.push('"');
}
