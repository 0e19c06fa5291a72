//! What a check found: how what was seen differs from what was expected, and what could not be looked at.

use serde_json::Value;

/// Everything that one check found. Nothing found means: as expected.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Findings {
    /// Where what was seen is not what was expected.
    pub mismatches: Vec<String>,
    /// What the check needs and the server does not offer. With these alone, the case counts as skipped.
    pub missing: Vec<String>,
}

impl Findings {
    pub fn is_empty(&self) -> bool {
        self.mismatches.is_empty() && self.missing.is_empty()
    }

    pub fn mismatch(&mut self, at: &str, what: impl std::fmt::Display) {
        self.mismatches.push(format!("{at}: {what}"));
    }

    pub fn missing(&mut self, what: impl Into<String>) {
        let what = what.into();
        if !self.missing.contains(&what) {
            self.missing.push(what);
        }
    }

    pub fn append(&mut self, other: Self) {
        self.mismatches.extend(other.mismatches);
        for what in other.missing {
            self.missing(what);
        }
    }
}

/// A value for a report: compact, and cut where it gets long.
pub fn short(value: &Value) -> String {
    shorten(&value.to_string(), 400)
}

/// The text, or its beginning with a sign that more follows.
pub fn shorten(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
        None => text.to_owned(),
    }
}
