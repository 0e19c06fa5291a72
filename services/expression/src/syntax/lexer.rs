//! From text to tokens (expression reference, section 2).

use std::sync::Arc;

use super::token::{Positioned, Token};
use super::{SyntaxError, is_java_whitespace};
use crate::error::Offset;

/// Longest first, so that the first that fits is the one meant.
const OPERATORS: [&str; 24] = [
    "contains", "is not", "equals", "isIn", "???", "not", "and", "==", "!=", ">=", "<=", "??", "..", "is", "or", "+",
    "-", "*", "/", "%", "|", "~", ">", "<",
];

type Result<T> = std::result::Result<T, SyntaxError>;

pub(super) fn tokenize(source: &str) -> Result<Vec<Positioned>> {
    let mut lexer = Lexer { source, position: 0, tokens: Vec::new(), brackets: Vec::new(), trim_next: false };
    lexer.template()?;
    let end = lexer.at();
    lexer.tokens.push(Positioned { token: Token::End, at: end });
    Ok(lexer.tokens)
}

#[derive(Clone, Copy, PartialEq)]
enum Bracket {
    Round,
    Square,
    Curly,
    Interpolation,
    Quote,
}

impl Bracket {
    fn open(self) -> &'static str {
        match self {
            Self::Round => "(",
            Self::Square => "[",
            Self::Curly => "{",
            Self::Interpolation => "#{",
            Self::Quote => "\"",
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Region {
    Print,
    Tag,
}

struct Lexer<'a> {
    source: &'a str,
    position: usize,
    tokens: Vec<Positioned>,
    brackets: Vec<Bracket>,
    /// Whether the next text loses its leading whitespace.
    trim_next: bool,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.source[self.position..]
    }

    fn at(&self) -> Offset {
        Offset::try_from(self.position).unwrap_or(Offset::MAX - 1)
    }

    fn push(&mut self, token: Token, length: usize) {
        let at = self.at();
        self.tokens.push(Positioned { token, at });
        self.position += length;
    }

    fn template(&mut self) -> Result<()> {
        while self.position < self.source.len() {
            self.text();
            let rest = self.rest();
            if rest.is_empty() {
                break;
            }
            let dash = dash_before_whitespace(&rest[2..]);
            if rest.starts_with("{#") {
                self.comment()?;
            } else if rest.starts_with("{%") {
                if !self.verbatim()? {
                    self.push(Token::TagOpen, 2 + dash);
                    self.expression(Region::Tag)?;
                }
            } else {
                self.push(Token::PrintOpen, 2 + dash);
                self.expression(Region::Print)?;
            }
        }
        Ok(())
    }

    /// Text up to the next opening delimiter.
    fn text(&mut self) {
        let rest = self.rest();
        let end = rest
            .match_indices('{')
            .map(|(place, _)| place)
            .find(|place| matches!(rest.as_bytes().get(place + 1), Some(b'{' | b'%' | b'#')));
        let end = end.unwrap_or(rest.len());
        let mut text = &rest[..end];
        if std::mem::take(&mut self.trim_next) {
            text = text.trim_start_matches(is_java_whitespace);
        }
        if rest.get(end + 2..).is_some_and(|after| dash_before_whitespace(after) > 0) {
            text = text.trim_end_matches(is_java_whitespace);
        }
        if !text.is_empty() {
            let at = self.at();
            self.tokens.push(Positioned { token: Token::Text(Arc::from(text)), at });
        }
        self.position += end;
    }

    fn comment(&mut self) -> Result<()> {
        let Some(end) = self.rest()[2..].find("#}") else {
            return Err(SyntaxError::new("Unclosed comment.", self.at()));
        };
        let content = &self.rest()[2..2 + end];
        self.trim_next = content.ends_with('-');
        self.position += 2 + end + 2;
        Ok(())
    }

    /// A verbatim section if one starts here.
    fn verbatim(&mut self) -> Result<bool> {
        let dash = dash_before_whitespace(&self.rest()[2..]);
        let Some((length, _)) = named_tag(&self.rest()[2 + dash..], "verbatim") else { return Ok(false) };
        let start = self.position + 2 + dash + length;
        let body = &self.source[start..];
        let found = body.match_indices("{%").find_map(|(place, _)| {
            let after = &body[place + 2..];
            let lead = usize::from(after.starts_with('-'));
            named_tag(&after[lead..], "endverbatim")
                .map(|(length, trim)| (place, lead > 0, trim, place + 2 + lead + length))
        });
        let Some((end, trim_before, trim_after, next)) = found else {
            return Err(SyntaxError::new("Unclosed verbatim tag.", self.at()));
        };
        let mut text = body[..end].trim_start_matches(is_java_whitespace);
        if trim_before {
            text = text.trim_end_matches(is_java_whitespace);
        }
        let at = self.at();
        self.tokens.push(Positioned { token: Token::Text(Arc::from(text)), at });
        self.trim_next = trim_after;
        self.position = start + next;
        Ok(true)
    }

    /// Tokens of an expression or a tag, up to its closing delimiter.
    fn expression(&mut self, region: Region) -> Result<()> {
        loop {
            if self.brackets.last() == Some(&Bracket::Quote) {
                self.string_part()?;
                continue;
            }
            if self.brackets.is_empty() && self.close(region) {
                return Ok(());
            }
            let rest = self.rest();
            self.position += rest.len() - rest.trim_start_matches(is_space).len();
            if self.brackets.is_empty() && self.close(region) {
                return Ok(());
            }
            if self.rest().is_empty() {
                return match self.brackets.last() {
                    Some(bracket) => Err(SyntaxError::new(format!("Unclosed \"{}\"", bracket.open()), self.at())),
                    None => Ok(()),
                };
            }
            self.token()?;
        }
    }

    /// The closing delimiter if it stands here; a dash directly before it trims the text after it.
    fn close(&mut self, region: Region) -> bool {
        let rest = self.rest();
        let dash = usize::from(rest.starts_with('-'));
        let (delimiter, token) = match region {
            Region::Print => ("}}", Token::PrintClose),
            Region::Tag => ("%}", Token::TagClose),
        };
        if !rest[dash..].starts_with(delimiter) {
            return false;
        }
        self.push(token, dash + 2);
        self.trim_next = dash > 0;
        true
    }

    fn token(&mut self) -> Result<()> {
        let rest = self.rest();
        if let Some(operator) = operator(rest) {
            self.push(Token::Operator(operator), operator.len());
            return Ok(());
        }
        let first = rest.chars().next().unwrap_or_default();
        if first == '_' || first.is_alphabetic() {
            let length =
                rest.find(|c: char| c != '_' && !c.is_alphabetic() && !c.is_ascii_digit()).unwrap_or(rest.len());
            self.push(Token::Name(Arc::from(&rest[..length])), length);
        } else if first.is_ascii_digit() {
            self.number();
        } else if "()[]{}?:.,=".contains(first) {
            self.punctuation(first)?;
        } else if matches!(first, '\'' | '"') {
            self.string(first)?;
        } else {
            return Err(SyntaxError::new(format!("Unexpected character [{first}]"), self.at()));
        }
        Ok(())
    }

    fn number(&mut self) {
        let rest = self.rest();
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let whole = digits(rest);
        if rest[whole..].starts_with('L') {
            self.push(Token::Long(Arc::from(&rest[..whole])), whole + 1);
            return;
        }
        let fraction = if rest[whole..].starts_with('.') { digits(&rest[whole + 1..]) } else { 0 };
        let length = if fraction > 0 { whole + 1 + fraction } else { whole };
        self.push(Token::Number(Arc::from(&rest[..length])), length);
    }

    fn punctuation(&mut self, c: char) -> Result<()> {
        match c {
            '(' => self.brackets.push(Bracket::Round),
            '[' => self.brackets.push(Bracket::Square),
            '{' => self.brackets.push(Bracket::Curly),
            ')' | ']' | '}' => {
                let expected = match c {
                    ')' => Bracket::Round,
                    ']' => Bracket::Square,
                    _ => Bracket::Curly,
                };
                match self.brackets.pop() {
                    None => return Err(SyntaxError::new(format!("Unexpected \"{c}\""), self.at())),
                    Some(Bracket::Interpolation) if c == '}' => {
                        self.push(Token::InterpolationEnd, 1);
                        return Ok(());
                    }
                    Some(open) if open != expected => {
                        return Err(SyntaxError::new(format!("Unclosed \"{}\"", open.open()), self.at()));
                    }
                    Some(_) => {}
                }
            }
            _ => {}
        }
        self.push(Token::Punctuation(c), 1);
        Ok(())
    }

    fn string(&mut self, quote: char) -> Result<()> {
        let rest = self.rest();
        if let Some(length) = plain_string(rest, quote) {
            let content = &rest[1..length - 1];
            let escape: &str = if quote == '"' { "\\\"" } else { "\\'" };
            let text =
                if content.contains(escape) { content.replace(escape, &escape[1..]) } else { content.to_owned() };
            self.push(Token::String(Arc::from(text)), length);
        } else if quote == '"' {
            self.push(Token::StringStart, 1);
            self.brackets.push(Bracket::Quote);
        } else {
            return Err(SyntaxError::new("Unexpected character [']", self.at()));
        }
        Ok(())
    }

    /// A piece of a double-quoted string with a `#`: text, the start of an interpolation or the end.
    fn string_part(&mut self) -> Result<()> {
        let rest = self.rest();
        let bytes = rest.as_bytes();
        let mut end = 0;
        while end < bytes.len() {
            match bytes[end] {
                b'"' => break,
                b'#' if bytes.get(end + 1) == Some(&b'{') => break,
                b'\\' => end += 1 + rest[end + 1..].chars().next().map_or(0, char::len_utf8),
                _ => end += 1,
            }
        }
        let end = end.min(rest.len());
        if end > 0 {
            self.push(Token::String(Arc::from(&rest[..end])), end);
        }
        let rest = self.rest();
        if rest.starts_with('"') {
            self.brackets.pop();
            self.push(Token::StringEnd, 1);
        } else if rest.starts_with("#{") {
            self.brackets.push(Bracket::Interpolation);
            self.push(Token::InterpolationStart, 2);
        } else {
            return Err(SyntaxError::new("Unclosed \"\"\"", self.at()));
        }
        Ok(())
    }
}

/// 1 if a dash followed by whitespace stands here, which trims the text before the delimiter.
fn dash_before_whitespace(after: &str) -> usize {
    let mut chars = after.chars();
    usize::from(chars.next() == Some('-') && chars.next().is_some_and(is_space))
}

/// What the patterns of the lexer call a blank.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{0b}' | '\u{0c}')
}

/// Blanks, the word, blanks, an optional dash and the closing delimiter: the length, and whether there is a dash.
fn named_tag(text: &str, word: &str) -> Option<(usize, bool)> {
    let rest = text.trim_start_matches(is_space).strip_prefix(word)?.trim_start_matches(is_space);
    let (rest, dash) = rest.strip_prefix('-').map_or((rest, false), |rest| (rest, true));
    let rest = rest.strip_prefix("%}")?;
    Some((text.len() - rest.len(), dash))
}

fn operator(rest: &str) -> Option<&'static str> {
    OPERATORS.into_iter().find(|operator| {
        let Some(after) = rest.strip_prefix(operator) else { return false };
        let word = operator.as_bytes()[0].is_ascii_alphabetic();
        !word || !after.bytes().next().is_some_and(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
    })
}

/// The length of a string without interpolation, quotes included. A double-quoted one must not hold a bare `#`.
fn plain_string(rest: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (place, c) in rest.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == quote {
            return Some(place + 1);
        } else if c == '#' && quote == '"' {
            return None;
        }
    }
    None
}
