//! Redis's errors as sentences for whoever operates it. None holds a password.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::QueueError;

/// What an error means for the connection and the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The connection is of no use any more.
    Lost,
    /// The server answered, and will not do it just now.
    Refused,
    /// It will never do it; somebody has to change the settings.
    Unusable,
}

pub(super) fn meaning(error: &RedisError) -> Meaning {
    match error.kind() {
        ErrorKind::AuthenticationFailed | ErrorKind::InvalidClientConfig => Meaning::Unusable,
        ErrorKind::Parse => Meaning::Unusable,
        ErrorKind::Server(ServerErrorKind::NoPerm) => Meaning::Unusable,
        ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown) => Meaning::Lost,
        ErrorKind::Server(_) | ErrorKind::Extension | ErrorKind::UnexpectedReturnType => match error.code() {
            Some("NOAUTH" | "WRONGPASS") => Meaning::Unusable,
            _ => Meaning::Refused,
        },
        _ => Meaning::Lost,
    }
}

/// Why Redis at `address` did not do what was asked.
pub(super) fn sentence(address: &str, error: &RedisError) -> String {
    let text = error.to_string();
    let reason = match error.kind() {
        _ if error.code() == Some("NOAUTH") => "asks for a password, and windhover.redis.url has none".to_owned(),
        _ if text.contains("without any password configured") => {
            "knows no password, and windhover.redis.url has one".to_owned()
        }
        ErrorKind::AuthenticationFailed => "refuses the user name or password of windhover.redis.url".to_owned(),
        _ if error.code() == Some("WRONGPASS") => "refuses the user name or password of windhover.redis.url".to_owned(),
        _ if error.code() == Some("OOM") || text.contains("OOM command not allowed") => {
            "is out of memory (maxmemory): it takes no more until some is freed".to_owned()
        }
        _ if error.code() == Some("MISCONF") || text.contains("MISCONF") => {
            "cannot write its data to disk and therefore takes no writes (MISCONF)".to_owned()
        }
        ErrorKind::Server(ServerErrorKind::ReadOnly) => {
            "is a read-only replica; windhover.redis.url must name its master".to_owned()
        }
        ErrorKind::Server(ServerErrorKind::MasterDown) => "is a replica that has lost its master".to_owned(),
        ErrorKind::Server(ServerErrorKind::BusyLoading) => "is still loading its data".to_owned(),
        ErrorKind::Server(ServerErrorKind::ClusterDown) => {
            "belongs to a cluster that is down: some of its slots are served by nobody".to_owned()
        }
        ErrorKind::Server(ServerErrorKind::NoPerm) => {
            format!("does not let the user of windhover.redis.url do what the queue needs: {text}")
        }
        ErrorKind::Parse => "does not speak Redis's protocol".to_owned(),
        _ if error.is_connection_refusal() => "cannot be reached: connection refused".to_owned(),
        _ if error.is_timeout() => "does not answer in time".to_owned(),
        _ if error.is_connection_dropped() => format!("closed the connection ({text})"),
        ErrorKind::Io | ErrorKind::ClusterConnectionNotFound => format!("cannot be reached: {text}"),
        _ => format!("answered: {text}"),
    };
    format!("Redis at {address} {reason}")
}

/// The error that a caller gets.
pub(super) fn queue_error(address: &str, error: &RedisError) -> QueueError {
    let sentence = sentence(address, error);
    match meaning(error) {
        Meaning::Unusable => QueueError::Unusable(sentence),
        Meaning::Lost | Meaning::Refused => QueueError::Unavailable(sentence),
    }
}
