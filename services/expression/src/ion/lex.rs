//! Characters, blanks, comments and quoted texts of Ion.

pub(super) type Result<T> = std::result::Result<T, String>;

pub(super) struct Source<'a> {
    text: &'a str,
    position: usize,
}

impl<'a> Source<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, position: 0 }
    }

    pub(super) fn rest(&self) -> &'a str {
        &self.text[self.position..]
    }

    pub(super) fn error<T>(&self, message: &str) -> Result<T> {
        Err(format!("{message} at position {}", self.position))
    }

    pub(super) fn skip(&mut self, text: &str) -> bool {
        let found = self.rest().starts_with(text);
        self.position += if found { text.len() } else { 0 };
        found
    }

    pub(super) fn advance(&mut self, bytes: usize) {
        self.position += bytes;
    }

    /// Blanks and comments.
    pub(super) fn blanks(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start_matches([' ', '\t', '\n', '\r', '\u{b}', '\u{c}']);
            self.position += rest.len() - trimmed.len();
            if trimmed.starts_with("//") {
                self.position += trimmed.find('\n').unwrap_or(trimmed.len());
            } else if trimmed.starts_with("/*") {
                self.position += trimmed.find("*/").map_or(trimmed.len(), |end| end + 2);
            } else {
                return;
            }
        }
    }

    /// Characters as long as they fit.
    pub(super) fn take_while(&mut self, fits: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !fits(c)).unwrap_or(rest.len());
        self.position += end;
        &rest[..end]
    }

    /// A text up to its closing quotes, which were opened before.
    pub(super) fn quoted(&mut self, quotes: &str) -> Result<String> {
        let mut out = String::new();
        loop {
            if self.skip(quotes) {
                return Ok(out);
            }
            let Some(c) = self.rest().chars().next() else { return self.error("Unexpected end of a quoted text") };
            self.position += c.len_utf8();
            match c {
                '\\' => self.escape(&mut out)?,
                '\n' if quotes.len() == 1 => return self.error("Unexpected line break in a quoted text"),
                c => out.push(c),
            }
        }
    }

    fn escape(&mut self, out: &mut String) -> Result<()> {
        let Some(c) = self.rest().chars().next() else { return self.error("Unexpected end of an escape") };
        self.position += c.len_utf8();
        out.push(match c {
            'a' => '\u{7}',
            'b' => '\u{8}',
            't' => '\t',
            'n' => '\n',
            'f' => '\u{c}',
            'r' => '\r',
            'v' => '\u{b}',
            '0' => '\0',
            '?' | '\'' | '"' | '/' | '\\' => c,
            'x' => self.code(2)?,
            'u' => self.code(4)?,
            'U' => self.code(8)?,
            '\n' => return Ok(()),
            '\r' => {
                self.skip("\n");
                return Ok(());
            }
            _ => return self.error("Unknown escape"),
        });
        Ok(())
    }

    fn code(&mut self, digits: usize) -> Result<char> {
        let code = self.rest().get(..digits).filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let Some(code) = code.and_then(|code| u32::from_str_radix(code, 16).ok()) else {
            return self.error("Expected hexadecimal digits");
        };
        self.position += digits;
        Ok(char::from_u32(code).unwrap_or('\u{fffd}'))
    }
}
