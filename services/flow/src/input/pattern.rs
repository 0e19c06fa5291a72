//! Regular expressions of Java's dialect that must match a whole text.

use std::fmt;

use fancy_regex::Regex;

/// A compiled pattern that must match the whole text.
#[derive(Clone)]
pub struct Pattern {
    source: String,
    regex: Regex,
}

impl Pattern {
    /// # Errors
    /// Why the pattern does not compile, as "invalid pattern […]".
    pub fn new(source: &str) -> Result<Self, String> {
        // Alone first: `a)|(b` must not become valid by what is put around it.
        Regex::new(source)
            .and_then(|_| Regex::new(&format!(r"\A(?:{source})\z")))
            .map(|regex| Self { source: source.to_owned(), regex })
            .map_err(|error| format!("invalid pattern [{source}]: {error}"))
    }

    pub fn source(&self) -> &str {
        &self.source
    }

    /// A pattern that backtracks beyond all measure matches nothing.
    pub fn matches(&self, text: &str) -> bool {
        self.regex.is_match(text).unwrap_or(false)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({:?})", self.source)
    }
}
