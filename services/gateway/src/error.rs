//! The one function that makes every gRPC status (style 8): a code, a sentence, and google.rpc details.

use std::{collections::HashMap, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};
use windhover_proto::{ERROR_DOMAIN, reasons};
use windhover_types::{Error, ErrorKind, Masker};

use crate::request::request_id;

/// After which time a client tries again when nobody said better.
const DEFAULT_RETRY: Duration = Duration::from_secs(1);

/// A status travels in HTTP/2 trailers, of which some clients take 8 KiB at most (base64 makes a third more of the
/// details, and the message is in both).
const MAX_MESSAGE_BYTES: usize = 1_000;
const MAX_DETAIL_BYTES: usize = 3_000;
const MAX_TEXT_BYTES: usize = 600;

pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

pub(crate) const fn code(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::InvalidArgument => Code::InvalidArgument,
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::AlreadyExists => Code::AlreadyExists,
        ErrorKind::PermissionDenied => Code::PermissionDenied,
        ErrorKind::Unauthenticated => Code::Unauthenticated,
        ErrorKind::FailedPrecondition => Code::FailedPrecondition,
        ErrorKind::Aborted => Code::Aborted,
        ErrorKind::ResourceExhausted => Code::ResourceExhausted,
        ErrorKind::DeadlineExceeded => Code::DeadlineExceeded,
        ErrorKind::Unavailable => Code::Unavailable,
        ErrorKind::Unimplemented => Code::Unimplemented,
        ErrorKind::Internal => Code::Internal,
    }
}

/// The kind of an error with this code; INTERNAL for codes that no error of ours has.
pub(crate) fn kind_of(wanted: Code) -> ErrorKind {
    const KINDS: [ErrorKind; 11] = [
        ErrorKind::InvalidArgument,
        ErrorKind::NotFound,
        ErrorKind::AlreadyExists,
        ErrorKind::PermissionDenied,
        ErrorKind::Unauthenticated,
        ErrorKind::FailedPrecondition,
        ErrorKind::Aborted,
        ErrorKind::ResourceExhausted,
        ErrorKind::DeadlineExceeded,
        ErrorKind::Unavailable,
        ErrorKind::Unimplemented,
    ];
    KINDS.into_iter().find(|kind| code(*kind) == wanted).unwrap_or(ErrorKind::Internal)
}

/// The status of an error. What is internal is logged and replaced by the request's id; everything is cut to what
/// fits into trailers, and says so.
pub(crate) fn status(error: Error) -> Status {
    plain_status(without_internals(error))
}

/// The status of an error that holds nothing internal.
pub(crate) fn plain_status(error: Error) -> Status {
    let mut details = ErrorDetails::new();
    let mut metadata: HashMap<String, String> = HashMap::new();
    let mut budget = MAX_DETAIL_BYTES;
    for (key, value) in &error.metadata {
        let value = cut(value, MAX_TEXT_BYTES);
        if let Some(rest) = budget.checked_sub(key.len() + value.len()) {
            budget = rest;
            metadata.insert(key.clone(), value);
        }
    }
    let mut shown = 0;
    for field in &error.fields {
        let (path, text) = (cut(&field.field, MAX_TEXT_BYTES), cut(&field.description, MAX_TEXT_BYTES));
        let Some(rest) = budget.checked_sub(path.len() + text.len() + 8) else { break };
        budget = rest;
        shown += 1;
        match error.kind {
            ErrorKind::FailedPrecondition => details.add_precondition_failure_violation(error.reason, path, text),
            ErrorKind::ResourceExhausted => details.add_quota_failure_violation(path, text),
            _ => details.add_bad_request_violation(path, text),
        };
    }
    if shown < error.fields.len() {
        metadata.insert("omitted_violations".into(), (error.fields.len() - shown).to_string());
    }
    details.set_error_info(error.reason, ERROR_DOMAIN, metadata);
    if let Some(after) = retry_after(&error) {
        details.set_retry_info(Some(after));
    }
    // A reason always comes with the code of its row in the table.
    let code = reasons::find(error.reason).map_or_else(|| code(error.kind), |row| row.code);
    Status::with_error_details(code, cut(&error.message, MAX_MESSAGE_BYTES), details)
}

/// The error as a caller may see it: what is internal is logged here and loses its text, and a reason that is not in
/// the table (an error of the store, say) becomes the one of its kind.
pub(crate) fn without_internals(mut error: Error) -> Error {
    if error.kind != ErrorKind::Internal {
        if reasons::find(error.reason).is_none() {
            error.reason = general_reason(error.kind);
        }
        return error;
    }
    let id = request_id();
    tracing::error!(request_id = %id, reason = error.reason, error = %error.message, "request failed");
    internal(&id)
}

const fn general_reason(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidArgument
        | ErrorKind::NotFound
        | ErrorKind::AlreadyExists
        | ErrorKind::FailedPrecondition
        | ErrorKind::Aborted => reasons::INVALID_ARGUMENT,
        ErrorKind::PermissionDenied => reasons::PERMISSION_DENIED,
        ErrorKind::Unauthenticated => reasons::UNAUTHENTICATED,
        ErrorKind::ResourceExhausted => reasons::RATE_LIMITED,
        ErrorKind::DeadlineExceeded => reasons::DEADLINE_EXCEEDED,
        ErrorKind::Unavailable => reasons::UNAVAILABLE,
        ErrorKind::Unimplemented => reasons::UNSUPPORTED,
        ErrorKind::Internal => reasons::INTERNAL,
    }
}

/// INTERNAL with the request's id and nothing else.
pub(crate) fn internal(request_id: &str) -> Error {
    Error::new(
        ErrorKind::Internal,
        reasons::INTERNAL,
        format!("internal error; the server's log has the reason under request {request_id}"),
    )
    .with("request_id", request_id)
}

fn retry_after(error: &Error) -> Option<Duration> {
    match error.kind {
        ErrorKind::Unavailable => Some(error.retry_after.unwrap_or(DEFAULT_RETRY)),
        _ => error.retry_after,
    }
}

/// INVALID_ARGUMENT about one field.
pub(crate) fn invalid(field: &str, why: impl Into<String>) -> Error {
    let why = why.into();
    Error::new(ErrorKind::InvalidArgument, reasons::INVALID_ARGUMENT, format!("{field}: {why}")).field(field, why)
}

/// The error as it stands inside an answer (batches).
pub(crate) fn in_answer(error: Error) -> windhover_proto::v1::Error {
    let error = without_internals(error);
    let retry_after = retry_after(&error).and_then(|after| after.try_into().ok());
    windhover_proto::v1::Error {
        code: reasons::find(error.reason).map_or_else(|| code(error.kind), |row| row.code) as i32,
        reason: error.reason.to_owned(),
        message: error.message,
        metadata: error.metadata,
        fields: error
            .fields
            .into_iter()
            .map(|field| windhover_proto::v1::FieldViolation { field: field.field, description: field.description })
            .collect(),
        retry_after,
    }
}

/// The error without the secrets that the masker knows.
pub(crate) fn masked(mut error: Error, masker: &Masker) -> Error {
    error.message = masker.mask(&error.message);
    for field in &mut error.fields {
        field.description = masker.mask(&field.description);
    }
    error
}

/// At most `limit` bytes, cut between characters.
pub(crate) fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let end = (0..=limit.saturating_sub(3)).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_reason_fields_and_when_to_try_again() {
        let error = Error::new(ErrorKind::InvalidArgument, "INVALID_INPUT", "input `day` is wrong")
            .with("flow", "a.b")
            .field("inputs.day", "must be a date");
        let status = status(error);
        assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "input `day` is wrong"));
        let details = status.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("INVALID_INPUT", "windhover"));
        assert_eq!(info.metadata["flow"], "a.b");
        let bad = &details.bad_request().unwrap().field_violations[0];
        assert_eq!((bad.field.as_str(), bad.description.as_str()), ("inputs.day", "must be a date"));
        assert!(details.retry_info().is_none());
    }

    #[test]
    fn what_is_unavailable_can_always_be_tried_again() {
        let details = status(Error::new(ErrorKind::Unavailable, "STORE_UNAVAILABLE", "no")).get_error_details();
        assert_eq!(details.retry_info().unwrap().retry_delay, Some(DEFAULT_RETRY));
        assert_eq!(details.error_info().unwrap().reason, "UNAVAILABLE");
        let error = Error::new(ErrorKind::ResourceExhausted, "RATE_LIMITED", "no")
            .field("tenant:main", "100/s")
            .retry_after(Duration::from_secs(5));
        let details = status(error).get_error_details();
        assert_eq!(details.retry_info().unwrap().retry_delay, Some(Duration::from_secs(5)));
        assert_eq!(details.quota_failure().unwrap().violations[0].subject, "tenant:main");
    }

    #[test]
    fn the_table_of_reasons_decides_the_code() {
        let error = Error::new(ErrorKind::InvalidArgument, "UNSUPPORTED", "not built yet");
        assert_eq!(in_answer(error.clone()).code, Code::Unimplemented as i32);
        assert_eq!(status(error).code(), Code::Unimplemented);
    }

    #[test]
    fn internal_text_stays_inside() {
        let status = status(
            Error::new(ErrorKind::Internal, "STORE", "password of the database is x")
                .with("k", "secret")
                .field("f", "secret"),
        );
        assert!(status.message().starts_with("internal error"));
        assert!(!format!("{status:?}").contains("secret") && !format!("{status:?}").contains("password"));
    }

    #[test]
    fn a_status_with_a_thousand_violations_fits_into_trailers() {
        let mut error =
            Error::new(ErrorKind::InvalidArgument, "INVALID_FLOW", "é".repeat(5_000)).with("long", "x".repeat(10_000));
        for n in 0..1_000 {
            error = error.field(format!("source:{n}:1 tasks[{n}].type"), "ü".repeat(1_000));
        }
        let status = status(error);
        assert!(status.details().len() < 5_000, "{}", status.details().len());
        assert!(status.message().len() <= 1_000 && status.message().ends_with('…'));
        let details = status.get_error_details();
        let shown = details.bad_request().unwrap().field_violations.len();
        assert_eq!(details.error_info().unwrap().metadata["omitted_violations"], (1_000 - shown).to_string());
    }
}
