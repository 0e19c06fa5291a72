//! What can go wrong: the public error, the answer of a service that cannot answer, and the fault that travels inside the evaluator.

use std::sync::Arc;

/// Why a service, a lazy object or a variable source gives no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interrupt {
    /// A fact has to be loaded first. Evaluation stops at once with [`ExpressionError::Needs`]; nothing in a template can catch it.
    Needs(String),
    /// The value does not exist; the text is the message. `??`, `???`, `default` and `is defined` treat it like an undefined variable.
    Missing(String),
    /// The call failed for good. Nothing in a template can catch it.
    Failed(String),
}

impl Interrupt {
    /// A failure with this message.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::Failed(message.into())
    }
}

/// Why an expression has no result. The messages follow the expression reference, section 8.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionError {
    /// The template is malformed; found before anything is evaluated.
    #[error("{message}")]
    Syntax {
        /// The complete text of the error.
        message: String,
        /// Line within the template, from 1.
        line: u32,
        /// Column within the line in characters, from 1.
        column: u32,
    },
    /// A variable, an entry or an index does not exist.
    #[error("{message}")]
    Undefined {
        /// The part that is missing: the root variable, the attribute or the index.
        name: String,
        /// The complete text of the error.
        message: String,
        /// Line within the template, from 1.
        line: u32,
        /// Column within the line in characters, from 1.
        column: u32,
    },
    /// Evaluation failed.
    #[error("{message}")]
    Failed {
        /// The complete text of the error.
        message: String,
        /// Line within the template, from 1; 0 if the place is not known.
        line: u32,
        /// Column within the line in characters, from 1; 0 if the place is not known.
        column: u32,
    },
    /// A bound of [`crate::Limits`] was reached.
    #[error("{message}")]
    Limit {
        /// The complete text of the error.
        message: String,
    },
    /// A fact has to be loaded first; load it and evaluate again. The text is the key that the service or object gave.
    #[error("the fact {0:?} has to be loaded first")]
    Needs(String),
}

/// The kind of an [`ExpressionError`], for callers that only branch on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// See [`ExpressionError::Syntax`].
    Syntax,
    /// See [`ExpressionError::Undefined`].
    Undefined,
    /// See [`ExpressionError::Failed`].
    Failed,
    /// See [`ExpressionError::Limit`].
    Limit,
    /// See [`ExpressionError::Needs`].
    Needs,
}

impl ExpressionError {
    /// The kind of this error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Syntax { .. } => ErrorKind::Syntax,
            Self::Undefined { .. } => ErrorKind::Undefined,
            Self::Failed { .. } => ErrorKind::Failed,
            Self::Limit { .. } => ErrorKind::Limit,
            Self::Needs(_) => ErrorKind::Needs,
        }
    }

    /// Line and column within the template, both from 1, where they are known.
    pub fn position(&self) -> Option<(u32, u32)> {
        match self {
            Self::Syntax { line, column, .. }
            | Self::Undefined { line, column, .. }
            | Self::Failed { line, column, .. } => (*line > 0).then_some((*line, *column)),
            Self::Limit { .. } | Self::Needs(_) => None,
        }
    }
}

/// A position as the byte offset within the template's source.
pub(crate) type Offset = u32;

/// The place of a fault is not known yet; the nearest expression that knows its own sets it.
pub(crate) const NOWHERE: Offset = u32::MAX;

/// An error on its way through the evaluator. It learns the template's text only when it leaves, so that faults that `??` swallows
/// stay cheap.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    Undefined {
        name: Arc<str>,
        at: Offset,
    },
    /// An undefined fact of a service, with its own message.
    Missing {
        message: String,
        at: Offset,
    },
    /// Reported with the template and the line.
    Engine {
        message: String,
        at: Offset,
    },
    /// Reported without them: wrong argument kinds and the like.
    Host(String),
    Limit(String),
    Needs(String),
}

impl Fault {
    pub(crate) fn engine(message: impl Into<String>) -> Self {
        Self::Engine { message: message.into(), at: NOWHERE }
    }

    pub(crate) fn host(message: impl Into<String>) -> Self {
        Self::Host(message.into())
    }

    /// What `??` and the like swallow.
    pub(crate) fn is_undefined(&self) -> bool {
        matches!(self, Self::Undefined { .. } | Self::Missing { .. })
    }

    /// Whether nothing in a template may catch or rephrase this fault.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Self::Needs(_) | Self::Limit(_))
    }

    /// The message without template and line, to be quoted in another one.
    pub(crate) fn summary(&self) -> String {
        match self {
            Self::Undefined { name, .. } => format!("Unable to find `{name}`"),
            Self::Missing { message, .. }
            | Self::Engine { message, .. }
            | Self::Host(message)
            | Self::Limit(message) => message.clone(),
            Self::Needs(key) => key.clone(),
        }
    }

    /// Sets the place if none is known yet.
    pub(crate) fn place(mut self, offset: Offset) -> Self {
        if let Self::Undefined { at, .. } | Self::Missing { at, .. } | Self::Engine { at, .. } = &mut self
            && *at == NOWHERE
        {
            *at = offset;
        }
        self
    }

    /// The complete error for the template that it happened in.
    pub(crate) fn into_error(self, source: &str) -> ExpressionError {
        match self {
            Self::Undefined { name, at } => {
                let (line, column) = line_and_column(source, at);
                let message = format!(
                    "Unable to find `{name}` used in the expression `{}` at line {}",
                    excerpt(source),
                    line.max(1)
                );
                ExpressionError::Undefined { name: name.to_string(), message, line, column }
            }
            Self::Missing { message, at } | Self::Engine { message, at } => {
                let (line, column) = line_and_column(source, at);
                let message = format!("{message} ({}:{})", excerpt(source), line.max(1));
                ExpressionError::Failed { message, line, column }
            }
            Self::Host(message) => ExpressionError::Failed { message, line: 0, column: 0 },
            Self::Limit(message) => ExpressionError::Limit { message },
            Self::Needs(key) => ExpressionError::Needs(key),
        }
    }
}

impl From<Interrupt> for Fault {
    fn from(interrupt: Interrupt) -> Self {
        match interrupt {
            Interrupt::Needs(key) => Self::Needs(key),
            Interrupt::Missing(message) => Self::Missing { message, at: NOWHERE },
            Interrupt::Failed(message) => Self::engine(message),
        }
    }
}

/// Long templates are quoted up to here in messages, so that errors stay small.
const EXCERPT_CHARS: usize = 2_000;

pub(crate) fn excerpt(source: &str) -> &str {
    match source.char_indices().nth(EXCERPT_CHARS) {
        Some((end, _)) => &source[..end],
        None => source,
    }
}

/// Line and column of a byte offset, both from 1; zeros for an unknown place.
pub(crate) fn line_and_column(source: &str, at: Offset) -> (u32, u32) {
    if at == NOWHERE {
        return (0, 0);
    }
    let before = source.get(..at as usize).unwrap_or(source);
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
}
