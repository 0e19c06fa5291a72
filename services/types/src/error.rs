//! Errors that reach a user: a kind, a stable reason, a sentence, and what exactly is wrong.

use std::{collections::BTreeMap, fmt};

/// What went wrong, in the terms of gRPC's status codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    InvalidArgument,
    NotFound,
    AlreadyExists,
    PermissionDenied,
    Unauthenticated,
    FailedPrecondition,
    Aborted,
    ResourceExhausted,
    DeadlineExceeded,
    Unavailable,
    Unimplemented,
    Internal,
}

/// A field of a request that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldViolation {
    /// Path of the field, e.g. `inputs.day` or `source:3:5 tasks[0].type`.
    pub field: String,
    pub description: String,
}

/// An error for a user. Never holds a secret, and never what belongs to another tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    pub kind: ErrorKind,
    /// Stable, upper case; the table stands in `proto/README.md`.
    pub reason: &'static str,
    pub message: String,
    pub metadata: BTreeMap<String, String>,
    pub fields: Vec<FieldViolation>,
    /// After which time trying again makes sense.
    pub retry_after: Option<std::time::Duration>,
}

impl Error {
    pub fn new(kind: ErrorKind, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind, reason, message: message.into(), metadata: BTreeMap::new(), fields: Vec::new(), retry_after: None }
    }

    #[must_use]
    pub fn with(mut self, key: &str, value: impl fmt::Display) -> Self {
        self.metadata.insert(key.to_owned(), value.to_string());
        self
    }

    #[must_use]
    pub fn field(mut self, field: impl Into<String>, description: impl Into<String>) -> Self {
        self.fields.push(FieldViolation { field: field.into(), description: description.into() });
        self
    }

    #[must_use]
    pub fn retry_after(mut self, after: std::time::Duration) -> Self {
        self.retry_after = Some(after);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// Whether a violation refuses a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    Error,
    Warning,
}

/// One thing that is wrong with a flow's source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub severity: Severity,
    /// Path inside the document, e.g. `tasks[1].message`; ids in place of indexes are left to the message.
    pub path: String,
    /// From 1; 0 when there is no place.
    pub line: u32,
    pub column: u32,
    pub message: String,
    /// What was probably meant.
    pub suggestion: Option<String>,
    /// The source asks for something that exists elsewhere and is not built here yet (reason UNSUPPORTED).
    pub unsupported: bool,
}
