//! What can go wrong with an outgoing call. Hosts only: paths, queries and user information hold tokens.

use std::error::Error as _;

use crate::AddressKind;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutboundError {
    /// The URL is not one, or not http(s); says why without repeating it.
    #[error("invalid URL: {0}")]
    InvalidUrl(String),
    #[error("invalid request: {0}")]
    InvalidRequest(String),
    /// The host's address is not allowed.
    #[error("calls to {host} are refused: its address is {kind}, which the operator has not allowed")]
    Refused { host: String, kind: AddressKind },
    #[error("cannot connect to {host}: {reason}")]
    Connect { host: String, reason: String },
    #[error("no answer from {host} in time")]
    Timeout { host: String },
    #[error("the response of {host} is larger than {limit} bytes")]
    TooLarge { host: String, limit: u64 },
    #[error("{host} redirects more than {limit} times")]
    TooManyRedirects { host: String, limit: usize },
    #[error("the call to {host} failed: {reason}")]
    Failed { host: String, reason: String },
}

/// Comes out of the resolver through the HTTP library's errors.
#[derive(Debug, thiserror::Error)]
#[error("address refused ({0})")]
pub(crate) struct RefusedAddress(pub(crate) AddressKind);

impl OutboundError {
    pub(crate) fn from_reqwest(host: &str, error: reqwest::Error) -> Self {
        let error = error.without_url();
        let host = host.to_owned();
        let mut reason = None;
        let mut source = error.source();
        while let Some(inner) = source {
            if let Some(RefusedAddress(kind)) = inner.downcast_ref::<RefusedAddress>() {
                return Self::Refused { host, kind: *kind };
            }
            reason = Some(inner.to_string());
            source = inner.source();
        }
        // The innermost cause says what happened; the layers above only where.
        let reason = reason.unwrap_or_else(|| error.to_string());
        if error.is_timeout() {
            Self::Timeout { host }
        } else if error.is_connect() {
            Self::Connect { host, reason }
        } else {
            Self::Failed { host, reason }
        }
    }
}
