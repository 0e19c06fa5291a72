//! Text to [`Expr`]: recursive descent without a separate lexer, since what ends a word depends on where it stands
//! (a value may hold `:`, a field may not).

use super::{Expr, FilterError, Op, Test};

/// Characters of a filter at most.
const MAX_LENGTH: usize = 8_192;
/// Parentheses and NOTs inside each other at most.
const MAX_DEPTH: usize = 32;
/// Comparisons of a filter at most.
const MAX_TESTS: usize = 200;

/// Parses a filter; `None` when there is nothing in it.
pub(crate) fn parse(text: &str) -> Result<Option<Expr>, FilterError> {
    if text.chars().nth(MAX_LENGTH).is_some() {
        return Err(FilterError::new(MAX_LENGTH + 1, format!("a filter has at most {MAX_LENGTH} characters")));
    }
    let mut parser = Parser { chars: text.chars().collect(), at: 0, depth: 0, tests: 0 };
    parser.spaces();
    if parser.peek().is_none() {
        return Ok(None);
    }
    let expr = parser.conjunction()?;
    match parser.peek() {
        None => Ok(Some(expr)),
        Some(')') => Err(parser.error("`)` without `(`")),
        Some(_) => Err(parser.error("AND or OR expected here")),
    }
}

/// Whether a part of a field needs no quotes.
pub(super) fn is_plain_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_name)
}

pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '/')
}

struct Parser {
    chars: Vec<char>,
    at: usize,
    depth: usize,
    tests: usize,
}

impl Parser {
    fn conjunction(&mut self) -> Result<Expr, FilterError> {
        self.list("AND", Self::disjunction, Expr::And)
    }

    fn disjunction(&mut self) -> Result<Expr, FilterError> {
        self.list("OR", Self::term, Expr::Or)
    }

    fn list(
        &mut self,
        word: &str,
        part: fn(&mut Self) -> Result<Expr, FilterError>,
        make: fn(Vec<Expr>) -> Expr,
    ) -> Result<Expr, FilterError> {
        let first = part(self)?;
        let mut parts = vec![first];
        while self.keyword(word) {
            parts.push(part(self)?);
        }
        Ok(if parts.len() == 1 { parts.swap_remove(0) } else { make(parts) })
    }

    fn term(&mut self) -> Result<Expr, FilterError> {
        if self.keyword("NOT") {
            return self.deeper(|parser| Ok(Expr::Not(Box::new(parser.term()?))));
        }
        if self.peek() != Some('(') {
            return Ok(Expr::Test(self.test()?));
        }
        let open = self.at;
        self.at += 1;
        self.spaces();
        let inner = self.deeper(Self::conjunction)?;
        if self.peek() != Some(')') {
            return Err(match self.peek() {
                None => FilterError::new(open + 1, "`(` without `)`"),
                Some(_) => self.error("AND, OR or `)` expected here"),
            });
        }
        self.at += 1;
        self.spaces();
        Ok(inner)
    }

    fn deeper(&mut self, parse: impl FnOnce(&mut Self) -> Result<Expr, FilterError>) -> Result<Expr, FilterError> {
        if self.depth == MAX_DEPTH {
            return Err(self.error(format!("a filter has at most {MAX_DEPTH} levels")));
        }
        self.depth += 1;
        let result = parse(self);
        self.depth -= 1;
        result
    }

    fn test(&mut self) -> Result<Test, FilterError> {
        self.tests += 1;
        if self.tests > MAX_TESTS {
            return Err(self.error(format!("a filter has at most {MAX_TESTS} comparisons")));
        }
        let field_at = self.at + 1;
        let field = self.field()?;
        let op = self.operator(&field)?;
        self.spaces();
        let value_at = self.at + 1;
        let value = self.value()?;
        Ok(Test { field, op, value, field_at, value_at })
    }

    fn field(&mut self) -> Result<Vec<String>, FilterError> {
        let mut parts = vec![self.name()?];
        while self.peek() == Some('.') {
            self.at += 1;
            let part = if self.peek() == Some('"') { self.quoted()? } else { self.name()? };
            parts.push(part);
        }
        if parts.len() == 1 && matches!(parts[0].as_str(), "AND" | "OR" | "NOT") {
            self.at -= parts[0].chars().count();
            return Err(self.error("a field is expected here"));
        }
        self.spaces();
        Ok(parts)
    }

    fn name(&mut self) -> Result<String, FilterError> {
        let name = self.take_while(is_name);
        if name.is_empty() {
            return Err(self.error("the name of a field is expected here"));
        }
        Ok(name)
    }

    fn operator(&mut self, field: &[String]) -> Result<Op, FilterError> {
        let next = (self.peek(), self.chars.get(self.at + 1).copied());
        let (op, length) = match next {
            (Some('!'), Some('=')) => (Op::NotEqual, 2),
            (Some('<'), Some('=')) => (Op::LessOrEqual, 2),
            (Some('>'), Some('=')) => (Op::GreaterOrEqual, 2),
            (Some('='), Some('=')) => return Err(self.error("`==` is written `=`")),
            (Some('='), _) => (Op::Equal, 1),
            (Some('<'), _) => (Op::Less, 1),
            (Some('>'), _) => (Op::Greater, 1),
            (Some(':'), _) => (Op::Has, 1),
            _ => {
                let field = field.join(".");
                return Err(self.error(format!("one of = != < <= > >= : is expected after `{field}`")));
            }
        };
        self.at += length;
        Ok(op)
    }

    fn value(&mut self) -> Result<String, FilterError> {
        if self.peek() == Some('"') {
            let value = self.quoted()?;
            self.spaces();
            return Ok(value);
        }
        let value =
            self.take_while(|c| !c.is_whitespace() && !matches!(c, '(' | ')' | '"' | ',' | '=' | '<' | '>' | '!'));
        if value.is_empty() {
            return Err(self.error("a value is expected here; texts with other characters than letters, digits and `.:-_/` stand in double quotes"));
        }
        self.spaces();
        Ok(value)
    }

    fn quoted(&mut self) -> Result<String, FilterError> {
        let open = self.at;
        self.at += 1;
        let mut text = String::new();
        loop {
            match self.peek() {
                None => return Err(FilterError::new(open + 1, "the text that begins here has no closing quote")),
                Some('"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some('\\') => {
                    self.at += 1;
                    match self.peek() {
                        Some(c @ ('"' | '\\')) => text.push(c),
                        _ => return Err(self.error("only `\\\"` and `\\\\` are escapes")),
                    }
                }
                Some(c) => text.push(c),
            }
            self.at += 1;
        }
    }

    /// Takes the word if it stands here as a word of its own.
    fn keyword(&mut self, word: &str) -> bool {
        let end = self.at + word.len();
        let here = self.chars.get(self.at..end).is_some_and(|chars| chars.iter().copied().eq(word.chars()));
        let whole = self.chars.get(end).is_none_or(|c| c.is_whitespace() || *c == '(');
        if !here || !whole {
            return false;
        }
        self.at = end;
        self.spaces();
        true
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> String {
        let start = self.at;
        while self.peek().is_some_and(&wanted) {
            self.at += 1;
        }
        self.chars[start..self.at].iter().collect()
    }

    fn spaces(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn error(&self, message: impl Into<String>) -> FilterError {
        FilterError::new(self.at + 1, message)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> String {
        match parse(text) {
            Ok(Some(expr)) => expr.to_string(),
            Ok(None) => "(everything)".into(),
            Err(error) => format!("{}: {}", error.at, error.message),
        }
    }

    #[test]
    fn filters_are_read_as_aip_160_has_them() {
        for (text, expected) in [
            ("", "(everything)"),
            ("  \n", "(everything)"),
            ("state=FAILED", r#"state="FAILED""#),
            ("state = FAILED", r#"state="FAILED""#),
            (r#"namespace:"a.b.""#, r#"namespace:"a.b.""#),
            ("created >= 2024-01-01T00:00:00Z", r#"created>="2024-01-01T00:00:00Z""#),
            ("a=1 AND b=2 OR c=3", r#"(a="1" AND (b="2" OR c="3"))"#),
            ("(a=1 AND b=2) OR c=3", r#"((a="1" AND b="2") OR c="3")"#),
            ("NOT a=1 AND b!=2", r#"(NOT (a="1") AND b!="2")"#),
            ("NOT(a=1)", r#"NOT (a="1")"#),
            ("labels.team=ops", r#"labels.team="ops""#),
            ("labels.system.correlationId=x", r#"labels.system.correlationId="x""#),
            (r#"labels."a key"="\"quoted\" \\""#, r#"labels."a key"="\"quoted\" \\""#),
            (r#"text="AND""#, r#"text="AND""#),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn errors_say_where_they_are() {
        for (text, expected) in [
            ("state", "6: one of = != < <= > >= : is expected after `state`"),
            ("state=", "7: a value is expected here"),
            ("state=A state=B", "9: AND or OR expected here"),
            ("state=A AND", "12: the name of a field is expected here"),
            ("AND state=A", "1: a field is expected here"),
            ("(state=A", "1: `(` without `)`"),
            ("state=A)", "8: `)` without `(`"),
            ("state==A", "6: `==` is written `=`"),
            (r#"text="abc"#, "6: the text that begins here has no closing quote"),
            (r#"text="a\b""#, "9: only"),
            ("a..b=1", "3: the name of a field is expected here"),
            ("é=1 ü=2", "5: AND or OR expected here"),
        ] {
            assert!(shown(text).starts_with(expected), "{text}: {}", shown(text));
        }
    }

    #[test]
    fn what_is_too_deep_or_too_long_is_refused() {
        assert!(shown(&format!("{}a=1{}", "(".repeat(40), ")".repeat(40))).contains("32 levels"));
        assert!(shown(&"NOT ".repeat(100)).contains("32 levels"));
        assert!(shown(&vec!["a=1"; 300].join(" OR ")).contains("200 comparisons"));
        assert!(shown(&"a".repeat(9_000)).contains("8192 characters"));
    }

    fn tests() -> impl Strategy<Value = Expr> {
        let part = r#"[a-z][a-z0-9_]{0,8}"#;
        let op = prop_oneof![
            Just(Op::Equal),
            Just(Op::NotEqual),
            Just(Op::Less),
            Just(Op::LessOrEqual),
            Just(Op::Greater),
            Just(Op::GreaterOrEqual),
            Just(Op::Has)
        ];
        (part, proptest::collection::vec(r#"[a-z "\\.é]{1,6}"#, 0..3), op, ".{0,12}").prop_map(
            |(first, rest, op, value)| {
                let field = std::iter::once(first).chain(rest).collect();
                Expr::Test(Test { field, op, value, field_at: 0, value_at: 0 })
            },
        )
    }

    fn expressions() -> impl Strategy<Value = Expr> {
        tests().prop_recursive(4, 30, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 2..4).prop_map(Expr::And),
                proptest::collection::vec(inner.clone(), 2..4).prop_map(Expr::Or),
                inner.prop_map(|inner| Expr::Not(Box::new(inner))),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_as_the_same(expr in expressions()) {
            let text = expr.to_string();
            let again = parse(&text).unwrap().unwrap();
            prop_assert_eq!(again.to_string(), text);
        }

        #[test]
        fn no_text_makes_the_parser_fall(text in ".{0,200}") {
            if let Err(error) = parse(&text) {
                prop_assert!(error.at >= 1 && error.at <= text.chars().count() + 1);
            }
        }

        #[test]
        fn no_mix_of_words_makes_the_parser_fall(words in proptest::collection::vec(prop_oneof![Just("AND"), Just("OR"), Just("NOT"), Just("("), Just(")"), Just("a"), Just("="), Just("\""), Just(":"), Just(".")], 0..40)) {
            let _ = parse(&words.join(" "));
        }
    }
}
