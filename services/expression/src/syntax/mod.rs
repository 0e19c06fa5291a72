//! From text to tree: raw sections, tokens, expressions and tags (expression reference, sections 1.2, 2, 3 and 10).

pub(crate) mod ast;
mod expression;
mod lexer;
pub(crate) mod raw;
mod tags;
mod token;

pub(crate) use tags::parse;

use crate::error::Offset;

/// A malformed template.
#[derive(Debug)]
pub(crate) struct SyntaxError {
    pub(crate) message: String,
    pub(crate) at: Offset,
}

impl SyntaxError {
    pub(crate) fn new(message: impl Into<String>, at: Offset) -> Self {
        Self { message: message.into(), at }
    }
}

/// Java's idea of whitespace: not the non-breaking spaces, but the separators of ASCII.
pub(crate) fn is_java_whitespace(c: char) -> bool {
    match c {
        '\u{1c}'..='\u{1f}' => true,
        '\u{a0}' | '\u{2007}' | '\u{202f}' | '\u{85}' => false,
        c => c.is_whitespace(),
    }
}
