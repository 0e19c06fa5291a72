//! Tokens.

use std::sync::Arc;

use crate::error::Offset;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Text(Arc<str>),
    PrintOpen,
    PrintClose,
    TagOpen,
    TagClose,
    Name(Arc<str>),
    Operator(&'static str),
    Punctuation(char),
    /// Digits with a fraction or without.
    Number(Arc<str>),
    /// Digits with the suffix `L`.
    Long(Arc<str>),
    String(Arc<str>),
    /// Parts of a double-quoted string with a `#`: texts and tokens between these two.
    StringStart,
    StringEnd,
    InterpolationStart,
    InterpolationEnd,
    End,
}

#[derive(Debug, Clone)]
pub(super) struct Positioned {
    pub(super) token: Token,
    pub(super) at: Offset,
}

impl Token {
    /// The name of the kind, as messages show it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "TEXT",
            Self::PrintOpen => "PRINT_START",
            Self::PrintClose => "PRINT_END",
            Self::TagOpen => "EXECUTE_START",
            Self::TagClose => "EXECUTE_END",
            Self::Name(_) => "NAME",
            Self::Operator(_) => "OPERATOR",
            Self::Punctuation(_) => "PUNCTUATION",
            Self::Number(_) => "NUMBER",
            Self::Long(_) => "LONG",
            Self::String(_) => "STRING",
            Self::StringStart => "STRING_START",
            Self::StringEnd => "STRING_END",
            Self::InterpolationStart => "STRING_INTERPOLATION_START",
            Self::InterpolationEnd => "STRING_INTERPOLATION_END",
            Self::End => "EOF",
        }
    }

    /// The text of the token, as messages show it.
    pub(super) fn value(&self) -> String {
        match self {
            Self::Text(text) | Self::Name(text) | Self::Number(text) | Self::Long(text) | Self::String(text) => {
                text.to_string()
            }
            Self::PrintOpen => "{{".to_owned(),
            Self::PrintClose => "}}".to_owned(),
            Self::TagOpen => "{%".to_owned(),
            Self::TagClose => "%}".to_owned(),
            Self::Operator(text) => (*text).to_owned(),
            Self::Punctuation(c) => c.to_string(),
            Self::StringStart | Self::StringEnd => "\"".to_owned(),
            Self::InterpolationStart => "#{".to_owned(),
            Self::InterpolationEnd => "}".to_owned(),
            Self::End => String::new(),
        }
    }
}
