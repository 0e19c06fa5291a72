//! The text of SQL: where statements end, which parameters it names, how values are written into it.

use std::ops::Range;

use serde_json::Value;
use windhover_types::JsonMap;

use crate::TaskError;

/// What a stretch of text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Code,
    /// A text, a name in quotes.
    Quoted,
    Comment,
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

/// Cuts SQL into stretches, which follow each other without gaps. What is not closed goes to the end.
fn stretches(sql: &str) -> Vec<(Kind, Range<usize>)> {
    let bytes = sql.as_bytes();
    let mut found: Vec<(Kind, Range<usize>)> = Vec::new();
    let mut add = |kind: Kind, range: Range<usize>| match found.last_mut() {
        Some((known, last)) if *known == kind && kind == Kind::Code => last.end = range.end,
        _ => found.push((kind, range)),
    };
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let before = |back: usize| at.checked_sub(back).map(|place| bytes[place]);
        let (kind, length) = match rest[0] {
            b'\'' => {
                let escapes = matches!(before(1), Some(b'e' | b'E')) && !before(2).is_some_and(is_name);
                (Kind::Quoted, quoted(rest, b'\'', escapes))
            }
            b'"' => (Kind::Quoted, quoted(rest, b'"', false)),
            b'$' if !before(1).is_some_and(|byte| is_name(byte) || byte == b'$') => match dollar_quoted(rest) {
                Some(length) => (Kind::Quoted, length),
                None => (Kind::Code, 1),
            },
            b'-' if rest.starts_with(b"--") => {
                (Kind::Comment, rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()))
            }
            b'/' if rest.starts_with(b"/*") => (Kind::Comment, comment(rest)),
            _ => (Kind::Code, 1),
        };
        add(kind, at..at + length);
        at += length;
    }
    found
}

/// The length of a text in quotes; a doubled quote is one of its characters.
fn quoted(bytes: &[u8], quote: u8, escapes: bool) -> usize {
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if escapes => at += 1,
            byte if byte == quote => {
                if bytes.get(at + 1) != Some(&quote) {
                    return at + 1;
                }
                at += 1;
            }
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

/// The length of `$tag$…$tag$`.
fn dollar_quoted(bytes: &[u8]) -> Option<usize> {
    let tag = bytes[1..].iter().position(|byte| !is_name(*byte)).filter(|end| bytes[1 + end] == b'$')? + 2;
    if bytes[1].is_ascii_digit() {
        return None;
    }
    let mark = &bytes[..tag];
    let inner = bytes[tag..].windows(tag).position(|window| window == mark);
    Some(inner.map_or(bytes.len(), |inner| tag + inner + tag))
}

/// The length of a comment; they nest.
fn comment(bytes: &[u8]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at + 1 < bytes.len() {
        match &bytes[at..at + 2] {
            b"/*" => depth += 1,
            b"*/" => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    bytes.len()
}

/// The statements, without what is nothing but space and comments.
pub(super) fn statements(sql: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let (mut begin, mut depth, mut filled) = (0, 0_u32, false);
    for (kind, range) in stretches(sql) {
        match kind {
            Kind::Comment => {}
            Kind::Quoted => filled = true,
            Kind::Code => {
                for (at, byte) in range.clone().zip(&sql.as_bytes()[range]) {
                    match byte {
                        b'(' => depth += 1,
                        b')' => depth = depth.saturating_sub(1),
                        // Inside of parentheses it parts the actions of a rule.
                        b';' if depth == 0 => {
                            if filled {
                                found.push(&sql[begin..at]);
                            }
                            (begin, filled) = (at + 1, false);
                            continue;
                        }
                        _ => {}
                    }
                    filled |= !byte.is_ascii_whitespace();
                }
            }
        }
    }
    if filled {
        found.push(&sql[begin..]);
    }
    found.into_iter().map(str::trim).collect()
}

/// Whether a statement that has given no row is one that gives rows.
pub(super) fn gives_rows(statement: &str) -> bool {
    let code: String = stretches(statement)
        .into_iter()
        .map(|(kind, range)| if kind == Kind::Code { statement[range].to_ascii_uppercase() } else { " ".to_owned() })
        .collect();
    let mut words = code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| !word.is_empty());
    let first = words.next().unwrap_or_default();
    match first {
        "VALUES" | "TABLE" | "SHOW" | "EXPLAIN" | "FETCH" => true,
        "SELECT" | "WITH" => {
            let changes = ["INSERT", "UPDATE", "DELETE", "MERGE", "INTO"];
            let rest: Vec<&str> = words.collect();
            !rest.iter().any(|word| changes.contains(word)) || rest.contains(&"RETURNING")
        }
        _ => words.any(|word| word == "RETURNING"),
    }
}

/// Writes the values of parameters in the places of `:name`. Names that have no value stay as they are, and so does
/// everything in quotes and comments, and casts (`::date`).
///
/// # Errors
/// A value that no SQL can hold.
pub(super) fn with_parameters(sql: &str, parameters: &JsonMap) -> Result<String, TaskError> {
    if parameters.is_empty() {
        return Ok(sql.to_owned());
    }
    let mut written = String::with_capacity(sql.len());
    for (kind, range) in stretches(sql) {
        let text = &sql[range];
        if kind != Kind::Code {
            written.push_str(text);
            continue;
        }
        let mut rest = text;
        while let Some(colon) = rest.find(':') {
            let (before, after) = rest.split_at(colon);
            written.push_str(before);
            let colons = after.bytes().take_while(|byte| *byte == b':').count();
            let name_length = after[colons..].bytes().take_while(|byte| is_name(*byte)).count();
            let name = &after[colons..colons + name_length];
            match parameters.get(name).filter(|_| colons == 1) {
                Some(value) => {
                    written.push(' ');
                    written.push_str(&literal(name, value)?);
                }
                None => written.push_str(&after[..colons + name_length]),
            }
            rest = &after[colons + name_length..];
        }
        written.push_str(rest);
    }
    Ok(written)
}

/// A value as SQL writes it. Texts have no type yet: the database gives them the one of their place.
fn literal(name: &str, value: &Value) -> Result<String, TaskError> {
    Ok(match value {
        Value::Null => "NULL".to_owned(),
        Value::Bool(true) => "TRUE".to_owned(),
        Value::Bool(false) => "FALSE".to_owned(),
        // `x -:n` with a number below zero would begin a comment.
        Value::Number(number) => format!("({number})"),
        Value::String(text) => quote(name, text)?,
        Value::Array(_) | Value::Object(_) => quote(name, &value.to_string())?,
    })
}

fn quote(name: &str, text: &str) -> Result<String, TaskError> {
    if text.contains('\0') {
        return Err(TaskError::failed(format!(
            "parameters.{name}: a text in a database cannot hold the character zero"
        )));
    }
    let doubled = text.replace('\'', "''");
    // With this prefix a backslash means the same under every setting of the server.
    Ok(if text.contains('\\') { format!("E'{}'", doubled.replace('\\', "\\\\")) } else { format!("'{doubled}'") })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn statements_end_where_the_database_ends_them() {
        let sql = "select ';' as \"a;b\" -- no; end\n, $q$;$$;$q$; /* ; /* ; */ ; */ ;\n insert into t values (E'\\';'); select $1";
        let expected =
            ["select ';' as \"a;b\" -- no; end\n, $q$;$$;$q$", "insert into t values (E'\\';')", "select $1"];
        assert_eq!(statements(sql), expected);
        assert_eq!(
            statements("create rule r as on insert to t do (select 1; select 2);"),
            ["create rule r as on insert to t do (select 1; select 2)"]
        );
        assert!(statements(" ;; -- nothing\n").is_empty());
    }

    #[test]
    fn parameters_are_values_and_never_code() -> Result<(), TaskError> {
        let parameters = json!({"a": "x'; drop table t; --", "b": "c:\\d'", "n": -4, "z": null, "l": [1], "t": true});
        let parameters = parameters.as_object().cloned().unwrap_or_default();
        let sql = "select :a, :b, 1-:n, :z, :t, :l, ':a', now()::a, v[1:n], :other -- :a";
        let expected = "select  'x''; drop table t; --',  E'c:\\\\d''', 1- (-4),  NULL,  TRUE,  '[1]', ':a', now()::a, v[1 (-4)], :other -- :a";
        assert_eq!(with_parameters(sql, &parameters)?, expected);
        let zero = json!({"a": "\0"}).as_object().cloned().unwrap_or_default();
        assert!(with_parameters(":a", &zero).is_err());
        Ok(())
    }

    #[test]
    fn statements_with_rows_are_known_without_any() {
        for (sql, rows) in [
            ("select 1 where false", true),
            ("/* c */ with a as (select 1) select * from a", true),
            ("with a as (delete from t returning x) select 1", true),
            ("insert into t values (1)", false),
            ("insert into t values ('returning')", false),
            ("update t set a = 1 RETURNING a", true),
            ("select 1 into t", false),
            ("create table t (a int)", false),
        ] {
            assert_eq!(gives_rows(sql), rows, "{sql}");
        }
    }
}
