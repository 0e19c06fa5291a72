//! Reading JSON text to values (expression reference, section 15.2).
//!
//! Not `serde_json`: whatever follows the first value may have to be ignored, whole numbers of any size keep their digits, and the depth
//! is bounded.

use std::sync::Arc;

use crate::value::{Value, from_json_number_text};

const MAX_DEPTH: u32 = 150;

/// What is wrong with a text, and where.
#[derive(Debug)]
pub(crate) struct JsonError {
    message: String,
    at: usize,
}

impl std::fmt::Display for JsonError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} at position {}", self.message, self.at)
    }
}

type Result<T> = std::result::Result<T, JsonError>;

/// The first value of a text; what follows it is ignored.
pub(crate) fn parse_first(text: &str) -> Result<Value> {
    let mut reader = Reader { text, position: 0 };
    let value = reader.value(0)?;
    // digits or letters directly behind a scalar are part of a malformed one
    if let Some(byte) = reader.peek()
        && !matches!(value, Value::Text(_))
        && value.items().is_none()
        && !value.is_map()
        && (byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-' | b'+' | b'"'))
    {
        return reader.error("Unrecognized token");
    }
    Ok(value)
}

/// The value of a text that is exactly one value, with blanks around it.
pub(crate) fn parse_exactly(text: &str) -> Result<Value> {
    let mut reader = Reader { text, position: 0 };
    let value = reader.value(0)?;
    reader.blanks();
    if reader.position < text.len() { reader.error("Unexpected text after the value") } else { Ok(value) }
}

struct Reader<'a> {
    text: &'a str,
    position: usize,
}

impl<'a> Reader<'a> {
    fn error<T>(&self, message: &str) -> Result<T> {
        Err(JsonError { message: message.to_owned(), at: self.position })
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.position).copied()
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.position += 1;
        }
    }

    fn skip(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.position += usize::from(found);
        found
    }

    fn value(&mut self, depth: u32) -> Result<Value> {
        if depth > MAX_DEPTH {
            return self.error("The value is nested too deeply");
        }
        self.blanks();
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.list(depth),
            Some(b'"') => self.string().map(Value::Text),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(_) => self.word(),
            None => self.error("No content to map due to end-of-input"),
        }
    }

    fn word(&mut self) -> Result<Value> {
        for (word, value) in [("true", Value::Bool(true)), ("false", Value::Bool(false)), ("null", Value::Null)] {
            if self.text[self.position..].starts_with(word) {
                self.position += word.len();
                return Ok(value);
            }
        }
        self.error("Unrecognized token")
    }

    fn number(&mut self) -> Result<Value> {
        let start = self.position;
        self.skip(b'-');
        let whole = self.digits();
        if whole == 0 || (whole > 1 && self.text.as_bytes()[self.position - whole] == b'0') {
            return self.error("Invalid numeric value");
        }
        if self.skip(b'.') && self.digits() == 0 {
            return self.error("Invalid numeric value");
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.position += 1;
            if !self.skip(b'-') {
                self.skip(b'+');
            }
            if self.digits() == 0 {
                return self.error("Invalid numeric value");
            }
        }
        match from_json_number_text(&self.text[start..self.position]) {
            Some(value) => Ok(value),
            None => self.error("The number is too long"),
        }
    }

    fn digits(&mut self) -> usize {
        let start = self.position;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.position += 1;
        }
        self.position - start
    }

    fn list(&mut self, depth: u32) -> Result<Value> {
        self.position += 1;
        let mut items = Vec::new();
        self.blanks();
        if self.skip(b']') {
            return Ok(Value::list(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.blanks();
            if self.skip(b']') {
                return Ok(Value::list(items));
            }
            if !self.skip(b',') {
                return self.error("Unexpected character: was expecting comma to separate Array entries");
            }
        }
    }

    fn object(&mut self, depth: u32) -> Result<Value> {
        self.position += 1;
        let mut entries = Vec::new();
        self.blanks();
        if self.skip(b'}') {
            return Ok(Value::Map(entries.into_iter().collect()));
        }
        loop {
            self.blanks();
            if self.peek() != Some(b'"') {
                return self.error("Unexpected character: was expecting double-quote to start field name");
            }
            let key = self.string()?;
            self.blanks();
            if !self.skip(b':') {
                return self.error("Unexpected character: was expecting a colon to separate field name and value");
            }
            entries.push((Value::Text(key), self.value(depth + 1)?));
            self.blanks();
            if self.skip(b'}') {
                return Ok(Value::Map(entries.into_iter().collect()));
            }
            if !self.skip(b',') {
                return self.error("Unexpected character: was expecting comma to separate Object entries");
            }
        }
    }

    fn string(&mut self) -> Result<Arc<str>> {
        self.position += 1;
        let rest = &self.text[self.position..];
        let plain = rest.bytes().take_while(|byte| *byte != b'"' && *byte != b'\\' && *byte >= 0x20).count();
        if rest.as_bytes().get(plain) == Some(&b'"') {
            self.position += plain + 1;
            return Ok(Arc::from(&rest[..plain]));
        }
        let mut out = String::new();
        loop {
            let rest = &self.text[self.position..];
            let plain = rest.bytes().take_while(|byte| *byte != b'"' && *byte != b'\\' && *byte >= 0x20).count();
            out.push_str(&rest[..plain]);
            self.position += plain;
            match self.peek() {
                Some(b'"') => {
                    self.position += 1;
                    return Ok(Arc::from(out));
                }
                Some(b'\\') => out.push(self.escape()?),
                Some(_) => return self.error("Illegal unquoted character in a string"),
                None => return self.error("Unexpected end-of-input in a string"),
            }
        }
    }

    fn escape(&mut self) -> Result<char> {
        self.position += 1;
        let Some(byte) = self.peek() else { return self.error("Unexpected end-of-input in an escape") };
        self.position += 1;
        Ok(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(),
            _ => return self.error("Unrecognized character escape"),
        })
    }

    /// Four hexadecimal digits, or two groups of them for a pair of surrogates.
    fn unicode(&mut self) -> Result<char> {
        let first = self.hex()?;
        if (0xD800..0xDC00).contains(&first) && self.text[self.position..].starts_with("\\u") {
            let before = self.position;
            self.position += 2;
            let second = self.hex()?;
            if (0xDC00..0xE000).contains(&second) {
                let code = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
                return Ok(char::from_u32(code).unwrap_or('\u{fffd}'));
            }
            self.position = before;
        }
        Ok(char::from_u32(first).unwrap_or('\u{fffd}'))
    }

    fn hex(&mut self) -> Result<u32> {
        let digits =
            self.text.get(self.position..self.position + 4).filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()));
        let Some(code) = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()) else {
            return self.error("Expected a hex-digit for character escape sequence");
        };
        self.position += 4;
        Ok(code)
    }
}
