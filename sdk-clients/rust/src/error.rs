//! What can go wrong, decoded.

use std::{collections::BTreeMap, fmt, ops::Deref, time::Duration};

use tonic::{Code, Status};
use tonic_types::StatusExt;
use windhover_proto::{metadata, reasons, v1};

/// A field of a request that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldViolation {
    /// Path of the field, e.g. `inputs.day`, or `source:3:5 tasks[0].type` in the source of a flow.
    pub field: String,
    /// What is wrong with it.
    pub description: String,
}

/// What a failed call says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ErrorDetails {
    pub code: Code,
    /// One of [`crate::reasons`]; empty when the answer came from something in between that is not Windhover.
    pub reason: String,
    /// For people.
    pub message: String,
    /// What the reason is about.
    pub metadata: BTreeMap<String, String>,
    /// Every field that is wrong.
    pub fields: Vec<FieldViolation>,
    /// After which time trying again makes sense.
    pub retry_after: Option<Duration>,
    /// Names the call in the server's log.
    pub request_id: Option<String>,
}

/// A call failed. Dereferences to its [`ErrorDetails`].
#[derive(Clone, PartialEq, Eq)]
pub struct ClientError(Box<ErrorDetails>);

impl ClientError {
    fn new(code: Code, reason: &str, message: String) -> Self {
        Self(Box::new(ErrorDetails {
            code,
            reason: reason.to_owned(),
            message,
            metadata: BTreeMap::new(),
            fields: Vec::new(),
            retry_after: None,
            request_id: None,
        }))
    }

    pub(crate) fn unavailable(message: String) -> Self {
        Self::new(Code::Unavailable, reasons::UNAVAILABLE, message)
    }

    /// The server left out what an answer always has.
    pub(crate) fn incomplete(field: &str) -> Self {
        Self::new(Code::Internal, reasons::INTERNAL, format!("the server's answer has no `{field}`"))
    }

    /// An argument that was refused before anything was sent.
    pub fn invalid_argument(field: &str, description: String) -> Self {
        let message = format!("{field}: {description}");
        let mut error = Self::new(Code::InvalidArgument, reasons::INVALID_ARGUMENT, message);
        error.0.fields.push(FieldViolation { field: field.to_owned(), description });
        error
    }

    /// The connection or the server went away, which the same call may survive in a moment: UNAVAILABLE, and whatever
    /// did not come from Windhover but from the transport below.
    pub fn is_transient(&self) -> bool {
        self.code == Code::Unavailable
            || self.reason.is_empty() && matches!(self.code, Code::Unknown | Code::Internal | Code::Cancelled)
    }
}

impl Deref for ClientError {
    type Target = ErrorDetails;

    fn deref(&self) -> &ErrorDetails {
        &self.0
    }
}

impl From<Status> for ClientError {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let mut error = Self::new(status.code(), "", message(&status));
        if let Some(info) = details.error_info() {
            error.0.reason.clone_from(&info.reason);
            error.0.metadata = info.metadata.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        }
        if let Some(request) = details.bad_request() {
            error.0.fields = request
                .field_violations
                .iter()
                .map(|one| FieldViolation { field: one.field.clone(), description: one.description.clone() })
                .collect();
        }
        error.0.retry_after = details.retry_info().and_then(|info| info.retry_delay);
        error.0.request_id =
            status.metadata().get(metadata::REQUEST_ID).and_then(|id| id.to_str().ok()).map(str::to_owned);
        error
    }
}

/// An error inside an answer, of one request of a batch.
impl From<v1::Error> for ClientError {
    fn from(error: v1::Error) -> Self {
        let mut decoded = Self::new(Code::from_i32(error.code), &error.reason, error.message);
        decoded.0.metadata = error.metadata;
        decoded.0.fields = error
            .fields
            .into_iter()
            .map(|one| FieldViolation { field: one.field, description: one.description })
            .collect();
        decoded.0.retry_after = error.retry_after.and_then(|after| after.try_into().ok());
        decoded
    }
}

/// The server's sentence; of a broken connection, what is at the bottom of it.
fn message(status: &Status) -> String {
    let mut source = std::error::Error::source(status);
    let mut deepest = None;
    while let Some(error) = source {
        deepest = Some(error);
        source = error.source();
    }
    match deepest {
        Some(error) => format!("{}: {error}", status.message()),
        None => status.message().to_owned(),
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if !self.reason.is_empty() {
            write!(f, " ({})", self.reason)?;
        }
        for violation in &self.fields {
            write!(f, "; {}: {}", violation.field, violation.description)?;
        }
        Ok(())
    }
}

impl fmt::Debug for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl std::error::Error for ClientError {}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic_types::ErrorDetails as Details;

    use super::*;

    #[test]
    fn everything_that_a_status_says_is_decoded() {
        let mut details = Details::with_error_info(
            reasons::INVALID_INPUT,
            windhover_proto::ERROR_DOMAIN,
            HashMap::from([("flow".to_owned(), "hello".to_owned())]),
        );
        details.add_bad_request_violation("inputs.day", "is no date");
        details.set_retry_info(Some(Duration::from_millis(1500)));
        let mut status = Status::with_error_details(Code::InvalidArgument, "1 input is wrong", details);
        status.metadata_mut().insert(metadata::REQUEST_ID, "r1".parse().unwrap());
        let error = ClientError::from(status);
        assert_eq!((error.code, error.reason.as_str()), (Code::InvalidArgument, "INVALID_INPUT"));
        assert_eq!(error.metadata["flow"], "hello");
        assert_eq!(error.fields, [FieldViolation { field: "inputs.day".into(), description: "is no date".into() }]);
        assert_eq!((error.retry_after, error.request_id.as_deref()), (Some(Duration::from_millis(1500)), Some("r1")));
        assert_eq!(error.to_string(), "1 input is wrong (INVALID_INPUT); inputs.day: is no date");
        assert!(!error.is_transient());
    }

    #[test]
    fn what_the_transport_says_is_transient_and_what_windhover_says_is_not() {
        assert!(ClientError::from(Status::unknown("h2 protocol error")).is_transient());
        assert!(ClientError::from(Status::unavailable("starting")).is_transient());
        let fault = Status::with_error_details(
            Code::Internal,
            "a fault",
            Details::with_error_info(reasons::INTERNAL, windhover_proto::ERROR_DOMAIN, HashMap::new()),
        );
        assert!(!ClientError::from(fault).is_transient());
    }
}
