//! Java regular expressions (expression reference, section 12.1), within bounds.
//!
//! Patterns run on the linear engine where it understands them; those with look-around, back-references or possessive parts run on a
//! backtracking engine with a bound on its work.

use std::sync::Arc;

use crate::error::Fault;
use crate::eval::Session;
use crate::value::Value;

/// Work of the backtracking engine for one match.
const BACKTRACK_LIMIT: usize = 50_000;
/// Compiled size of a pattern in bytes.
const SIZE_LIMIT: usize = 1 << 20;
/// Longer texts are not searched with a pattern that is more than literal text.
const MAX_TEXT: usize = 4 << 20;
/// Steps for each search of the backtracking engine.
const FANCY_COST: u64 = 2_000;

enum Compiled {
    Linear(regex::Regex),
    Backtracking(fancy_regex::Regex),
}

/// A match and its groups, as byte positions.
pub(crate) struct Match {
    pub(crate) groups: Vec<Option<(usize, usize)>>,
}

impl Match {
    pub(crate) fn whole(&self) -> (usize, usize) {
        self.groups.first().copied().flatten().unwrap_or((0, 0))
    }
}

fn compile(session: &Session<'_>, pattern: &str) -> Result<Compiled, Fault> {
    session.meter.steps(200 + pattern.len() as u64 * 4)?;
    let error = |message: String| Fault::host(format!("java.util.regex.PatternSyntaxException: {message}"));
    if pattern.len() > 4_096 {
        return Err(error("the pattern is too long".to_owned()));
    }
    let translated = translate(pattern);
    if let Ok(linear) = regex::RegexBuilder::new(&translated).size_limit(SIZE_LIMIT).build() {
        return Ok(Compiled::Linear(linear));
    }
    fancy_regex::RegexBuilder::new(&translated)
        .backtrack_limit(BACKTRACK_LIMIT)
        .delegate_size_limit(SIZE_LIMIT)
        .build()
        .map(Compiled::Backtracking)
        .map_err(|cause| error(cause.to_string()))
}

/// Java's classes are those of ASCII, and `\Q…\E` quotes.
fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut chars = pattern.chars();
    let mut in_class = 0u32;
    while let Some(c) = chars.next() {
        match c {
            '[' => {
                in_class += 1;
                out.push(c);
            }
            ']' => {
                in_class = in_class.saturating_sub(1);
                out.push(c);
            }
            '\\' => match chars.next() {
                Some('Q') => {
                    let rest = chars.as_str();
                    let end = rest.find("\\E").unwrap_or(rest.len());
                    out.push_str(&regex::escape(&rest[..end]));
                    chars = rest.get(end + 2..).unwrap_or_default().chars();
                }
                Some(class) => match (class, in_class > 0) {
                    ('d', false) => out.push_str("[0-9]"),
                    ('d', true) => out.push_str("0-9"),
                    ('D', false) => out.push_str("[^0-9]"),
                    ('w', false) => out.push_str("[a-zA-Z0-9_]"),
                    ('w', true) => out.push_str("a-zA-Z0-9_"),
                    ('W', false) => out.push_str("[^a-zA-Z0-9_]"),
                    ('s', false) => out.push_str("[ \\t\\n\\x0B\\f\\r]"),
                    ('s', true) => out.push_str(" \\t\\n\\x0B\\f\\r"),
                    ('S', false) => out.push_str("[^ \\t\\n\\x0B\\f\\r]"),
                    ('h', false) => out.push_str("[ \\t\\xA0]"),
                    ('R', false) => out.push_str("(?:\\r\\n|[\\n\\x0B\\f\\r])"),
                    ('Z', false) => out.push_str("\\n?\\z"),
                    (
                        '/' | '"' | '\'' | '#' | '-' | ',' | ':' | ';' | '=' | '@' | '%' | '!' | '<' | '>' | '_' | '~'
                        | '`' | ' ',
                        _,
                    ) => {
                        out.push_str(&regex::escape(&class.to_string()));
                    }
                    (class, _) => {
                        out.push('\\');
                        out.push(class);
                    }
                },
                None => out.push('\\'),
            },
            c => out.push(c),
        }
    }
    out
}

/// The text that a pattern stands for if it has no special characters but escaped ones.
fn literal(pattern: &str) -> Option<String> {
    let mut out = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.push(chars.next().filter(|c| !c.is_alphanumeric())?),
            '.' | '$' | '|' | '(' | ')' | '[' | '{' | '^' | '?' | '*' | '+' => return None,
            c => out.push(c),
        }
    }
    (!out.is_empty()).then_some(out)
}

/// Calls `found` for each match from left to right, until it says that it has enough.
fn each_match(
    session: &Session<'_>,
    text: &str,
    pattern: &str,
    mut found: impl FnMut(Match) -> Result<bool, Fault>,
) -> Result<(), Fault> {
    session.meter.steps(1 + text.len() as u64 / 8)?;
    if let Some(literal) = literal(pattern) {
        for (start, part) in text.match_indices(&literal) {
            session.meter.elements(1)?;
            if !found(Match { groups: vec![Some((start, start + part.len()))] })? {
                break;
            }
        }
        return Ok(());
    }
    if text.len() > MAX_TEXT {
        return Err(Fault::Limit(format!(
            "Texts longer than {MAX_TEXT} bytes cannot be searched with a regular expression"
        )));
    }
    match compile(session, pattern)? {
        Compiled::Linear(linear) => {
            for captures in linear.captures_iter(text) {
                session.meter.elements(8)?;
                let groups = captures.iter().map(|group| group.map(|group| (group.start(), group.end()))).collect();
                if !found(Match { groups })? {
                    break;
                }
            }
        }
        Compiled::Backtracking(fancy) => {
            for captures in fancy.captures_iter(text) {
                session.meter.steps(FANCY_COST)?;
                let captures =
                    captures.map_err(|cause| Fault::Limit(format!("The regular expression is too costly: {cause}")))?;
                let groups = captures.iter().map(|group| group.map(|group| (group.start(), group.end()))).collect();
                if !found(Match { groups })? {
                    break;
                }
            }
        }
    }
    Ok(())
}

/// All matches, or only the first, with the names of the groups; for jq, whose flags stand in the pattern.
pub(crate) fn search(
    session: &Session<'_>,
    text: &str,
    pattern: &str,
    all: bool,
) -> Result<(Vec<Match>, Vec<Option<String>>), Fault> {
    let mut matches = Vec::new();
    each_match(session, text, pattern, |found| {
        matches.push(found);
        Ok(all)
    })?;
    let names = match literal(pattern) {
        Some(_) => vec![None],
        None => match compile(session, pattern)? {
            Compiled::Linear(linear) => linear.capture_names().map(|name| name.map(str::to_owned)).collect(),
            Compiled::Backtracking(fancy) => fancy.capture_names().map(|name| name.map(str::to_owned)).collect(),
        },
    };
    Ok((matches, names))
}

/// Whether a pattern matches a text from start to end.
pub(crate) fn matches_whole(session: &Session<'_>, text: &str, pattern: &str) -> Result<bool, Fault> {
    let mut matched = false;
    each_match(session, text, &format!("\\A(?:{pattern})\\z"), |_| {
        matched = true;
        Ok(false)
    })?;
    Ok(matched)
}

/// Java's `String.split`: no limit drops empty parts at the end, a positive one bounds the number of parts, a negative one keeps all.
pub(crate) fn split(session: &Session<'_>, text: &Arc<str>, pattern: &str, limit: i64) -> Result<Vec<Value>, Fault> {
    session.meter.text(text.len())?;
    let wanted = usize::try_from(limit).ok().filter(|limit| *limit > 0);
    let mut parts: Vec<&str> = Vec::new();
    let mut end = 0;
    let mut any = false;
    each_match(session, text, pattern, |found| {
        if wanted.is_some_and(|limit| parts.len() + 1 >= limit) {
            return Ok(false);
        }
        let (start, stop) = found.whole();
        // an empty match at the start gives no leading empty part, one at the end no further part
        if start == stop && (start == 0 || start == text.len()) {
            return Ok(true);
        }
        session.meter.elements(1)?;
        any = true;
        parts.push(&text[end..start]);
        end = stop;
        Ok(true)
    })?;
    if !any {
        return Ok(vec![Value::Text(Arc::clone(text))]);
    }
    parts.push(&text[end..]);
    if limit == 0 {
        while parts.last().is_some_and(|part| part.is_empty()) {
            parts.pop();
        }
    }
    Ok(parts.into_iter().map(Value::text).collect())
}

/// Replaces every match; `$1` and `${name}` in the replacement stand for groups, a backslash takes the next character as it is.
pub(crate) fn replace(session: &Session<'_>, text: &str, pattern: &str, replacement: &str) -> Result<String, Fault> {
    let mut out = String::new();
    let mut end = 0;
    each_match(session, text, pattern, |found| {
        let (start, stop) = found.whole();
        out.push_str(&text[end..start]);
        expand(text, &found, replacement, &mut out)?;
        end = stop;
        session.meter.text(out.len().min(start + replacement.len()).saturating_sub(end.min(start)))?;
        session.meter.check_output(out.len())?;
        Ok(true)
    })?;
    out.push_str(&text[end..]);
    session.meter.text(out.len())?;
    Ok(out)
}

fn expand(text: &str, found: &Match, replacement: &str, out: &mut String) -> Result<(), Fault> {
    let mut chars = replacement.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(next) => out.push(next),
                None => {
                    return Err(Fault::host("java.lang.IllegalArgumentException: character to be escaped is missing"));
                }
            },
            '$' => {
                let Some(mut group) = chars.next().and_then(|digit| digit.to_digit(10)) else {
                    return Err(Fault::host("java.lang.IllegalArgumentException: Illegal group reference"));
                };
                // further digits belong to the number as long as there is such a group
                while let Some(digit) = chars.peek().and_then(|digit| digit.to_digit(10)) {
                    if (group * 10 + digit) as usize >= found.groups.len() {
                        break;
                    }
                    group = group * 10 + digit;
                    chars.next();
                }
                match found.groups.get(group as usize) {
                    Some(Some((start, stop))) => out.push_str(&text[*start..*stop]),
                    Some(None) => {}
                    None => return Err(Fault::host(format!("java.lang.IndexOutOfBoundsException: No group {group}"))),
                }
            }
            c => out.push(c),
        }
    }
    Ok(())
}

/// Replaces every occurrence of a text; the empty one stands between all characters.
pub(crate) fn replace_literal(session: &Session<'_>, text: &str, old: &str, new: &str) -> Result<String, Fault> {
    session.meter.steps(1 + text.len() as u64 / 16)?;
    let count = if old.is_empty() { text.chars().count() + 1 } else { text.matches(old).count() };
    let length =
        text.len().saturating_sub(count.saturating_mul(old.len())).saturating_add(count.saturating_mul(new.len()));
    session.meter.text(length)?;
    Ok(text.replace(old, new))
}
