//! The one filter language of all lists: a subset of AIP-160.
//!
//! `=`, `!=`, `<`, `<=`, `>`, `>=` and `:` between a field and a value, AND, OR, NOT, parentheses, dotted fields.
//! As AIP-160 has it, OR binds closer than AND: `a AND b OR c` is `a AND (b OR c)`. Terms that only stand beside each
//! other are refused rather than guessed at.

mod executions;
mod fields;
mod parser;

use std::fmt;

pub(crate) use executions::for_store;
pub(crate) use fields::{Check, EXECUTIONS, FLOWS, Filter, Have, LOGS, Record, TASK_RUNS, TRIGGERS, Value};

/// A parsed filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expr {
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
    Test(Test),
}

/// One comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Test {
    /// Parts of the dotted field.
    pub(crate) field: Vec<String>,
    pub(crate) op: Op,
    pub(crate) value: String,
    /// Where the field and the value begin, in characters from 1.
    pub(crate) field_at: usize,
    pub(crate) value_at: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    /// `:`, for namespaces "this or below", for texts "contains".
    Has,
}

impl Op {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Op::Equal => "=",
            Op::NotEqual => "!=",
            Op::Less => "<",
            Op::LessOrEqual => "<=",
            Op::Greater => ">",
            Op::GreaterOrEqual => ">=",
            Op::Has => ":",
        }
    }
}

/// What is wrong with a filter, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FilterError {
    /// In characters from 1.
    pub(crate) at: usize,
    pub(crate) message: String,
}

impl FilterError {
    pub(crate) fn new(at: usize, message: impl Into<String>) -> Self {
        Self { at, message: message.into() }
    }
}

impl From<FilterError> for windhover_types::Error {
    fn from(error: FilterError) -> Self {
        let text = format!("at character {}: {}", error.at, error.message);
        Self::new(
            windhover_types::ErrorKind::InvalidArgument,
            windhover_proto::reasons::INVALID_FILTER,
            format!("filter, {text}"),
        )
        .with("position", error.at)
        .field("filter", text)
    }
}

/// Every value quoted and every group in parentheses, so that it parses to the same again.
impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, parts: &[Expr], word: &str| {
            f.write_str("(")?;
            for (index, part) in parts.iter().enumerate() {
                if index > 0 {
                    write!(f, " {word} ")?;
                }
                write!(f, "{part}")?;
            }
            f.write_str(")")
        };
        match self {
            Expr::And(parts) => list(f, parts, "AND"),
            Expr::Or(parts) => list(f, parts, "OR"),
            Expr::Not(inner) => write!(f, "NOT ({inner})"),
            Expr::Test(test) => write!(f, "{test}"),
        }
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.field.iter().enumerate() {
            if index > 0 {
                f.write_str(".")?;
            }
            if index > 0 && !parser::is_plain_name(part) {
                write!(f, "{}", parser::quote(part))?;
            } else {
                f.write_str(part)?;
            }
        }
        write!(f, "{}{}", self.op.as_str(), parser::quote(&self.value))
    }
}
