//! Tokens of jq programs.

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// A name, perhaps with `::` inside, or a keyword.
    Name(String),
    /// `.name`
    Field(String),
    /// `$name`
    Variable(String),
    /// `@name`
    Format(String),
    Number(String),
    /// Parts of a string: texts, and tokens of interpolations.
    Text(Vec<Part>),
    Symbol(&'static str),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Part {
    Text(String),
    Tokens(Vec<Token>),
}

const SYMBOLS: [&str; 34] = [
    "?//", "//=", "...", "|=", "+=", "-=", "*=", "/=", "%=", "==", "!=", "<=", ">=", "//", "..", "|", ",", "=", "<",
    ">", "+", "-", "*", "/", "%", "(", ")", "[", "]", "{", "}", ":", ";", "?",
];

/// Interpolations may be nested so deep.
const MAX_NESTING: u32 = 20;

pub(super) fn tokenize(program: &str) -> Result<Vec<Token>, String> {
    let mut lexer = Lexer { rest: program };
    let tokens = lexer.tokens(0)?;
    if lexer.rest.is_empty() { Ok(tokens) } else { Err("unexpected )".to_owned()) }
}

struct Lexer<'a> {
    rest: &'a str,
}

fn is_name_start(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_'
}

impl<'a> Lexer<'a> {
    /// Tokens up to the end, or up to the parenthesis that closes an interpolation.
    fn tokens(&mut self, nesting: u32) -> Result<Vec<Token>, String> {
        let mut tokens = Vec::new();
        let mut open = 0u32;
        loop {
            self.rest = self.rest.trim_start();
            let Some(c) = self.rest.chars().next() else {
                return if nesting == 0 { Ok(tokens) } else { Err("unclosed interpolation".to_owned()) };
            };
            match c {
                '#' => {
                    let end = self.rest.find('\n').unwrap_or(self.rest.len());
                    self.rest = &self.rest[end..];
                    continue;
                }
                '(' => open += 1,
                ')' if open == 0 && nesting > 0 => {
                    self.rest = &self.rest[1..];
                    return Ok(tokens);
                }
                ')' => open = open.saturating_sub(1),
                _ => {}
            }
            tokens.push(self.token(c, nesting)?);
        }
    }

    fn token(&mut self, c: char, nesting: u32) -> Result<Token, String> {
        let second = self.rest[c.len_utf8()..].chars().next();
        if c == '"' {
            self.rest = &self.rest[1..];
            return self.string(nesting).map(Token::Text);
        }
        if c.is_ascii_digit() || (c == '.' && second.is_some_and(|c| c.is_ascii_digit())) {
            return Ok(Token::Number(self.number().to_owned()));
        }
        if c == '.' && second.is_some_and(is_name_start) {
            self.rest = &self.rest[1..];
            return Ok(Token::Field(self.name(false).to_owned()));
        }
        if matches!(c, '$' | '@') && second.is_some_and(is_name_start) {
            self.rest = &self.rest[1..];
            let name = self.name(c == '$').to_owned();
            return Ok(if c == '$' { Token::Variable(name) } else { Token::Format(name) });
        }
        if is_name_start(c) {
            return Ok(Token::Name(self.name(true).to_owned()));
        }
        if let Some(symbol) = SYMBOLS.into_iter().find(|symbol| self.rest.starts_with(symbol)) {
            self.rest = &self.rest[symbol.len()..];
            return Ok(Token::Symbol(symbol));
        }
        if c == '.' {
            self.rest = &self.rest[1..];
            return Ok(Token::Symbol("."));
        }
        Err(format!("unexpected character {c}"))
    }

    fn take(&mut self, end: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn name(&mut self, modules: bool) -> &'a str {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let mut end = self.rest.find(|c| !fits(c)).unwrap_or(self.rest.len());
        while modules && self.rest[end..].starts_with("::") && self.rest[end + 2..].starts_with(is_name_start) {
            end += 2;
            end += self.rest[end..].find(|c| !fits(c)).unwrap_or(self.rest.len() - end);
        }
        self.take(end)
    }

    fn number(&mut self) -> &'a str {
        let bytes = self.rest.as_bytes();
        let digits = |from: usize| from + bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let mut end = digits(0);
        if bytes.get(end) == Some(&b'.') && bytes.get(end + 1) != Some(&b'.') {
            end = digits(end + 1);
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            let last = digits((end + 1 + sign).min(bytes.len()));
            if last > end + 1 + sign {
                end = last;
            }
        }
        self.take(end)
    }

    fn string(&mut self, nesting: u32) -> Result<Vec<Part>, String> {
        let mut parts = Vec::new();
        let mut text = String::new();
        loop {
            let Some(c) = self.rest.chars().next() else { return Err("unclosed string".to_owned()) };
            self.rest = &self.rest[c.len_utf8()..];
            match c {
                '"' => {
                    parts.push(Part::Text(text));
                    return Ok(parts);
                }
                '\\' if self.rest.starts_with('(') => {
                    if nesting >= MAX_NESTING {
                        return Err("interpolations are nested too deeply".to_owned());
                    }
                    self.rest = &self.rest[1..];
                    parts.push(Part::Text(std::mem::take(&mut text)));
                    parts.push(Part::Tokens(self.tokens(nesting + 1)?));
                }
                '\\' => text.push(self.escape()?),
                c => text.push(c),
            }
        }
    }

    fn escape(&mut self) -> Result<char, String> {
        let Some(c) = self.rest.chars().next() else { return Err("unclosed string".to_owned()) };
        self.rest = &self.rest[c.len_utf8()..];
        Ok(match c {
            '"' | '\\' | '/' => c,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let first = self.hex()?;
                if (0xD800..0xDC00).contains(&first) && self.rest.starts_with("\\u") {
                    self.rest = &self.rest[2..];
                    let second = self.hex()?.wrapping_sub(0xDC00) & 0x3ff;
                    return Ok(char::from_u32(0x10000 + ((first - 0xD800) << 10) + second).unwrap_or('\u{fffd}'));
                }
                char::from_u32(first).unwrap_or('\u{fffd}')
            }
            other => return Err(format!("invalid escape \\{other}")),
        })
    }

    fn hex(&mut self) -> Result<u32, String> {
        let code = self.rest.get(..4).and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let code = code.ok_or_else(|| "invalid escape \\u".to_owned())?;
        self.rest = &self.rest[4..];
        Ok(code)
    }
}
