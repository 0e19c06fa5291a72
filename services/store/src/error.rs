//! What can go wrong between the process and its database.

use sea_orm::{DbErr, RuntimeErr, SqlxError};
use windhover_types::{Error, ErrorKind};

/// Why something could not be read or written. What the database said is the source and never reaches a user.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached, or refuses for now: the same again may work.
    #[error("the database is not available")]
    Unavailable(#[source] DbErr),
    /// It refused a statement.
    #[error("the database refused a statement")]
    Database(#[source] DbErr),
    /// A row was written by something that this version does not understand.
    #[error("a stored {what} cannot be read: {reason}")]
    Corrupt { what: &'static str, reason: String },
    /// Something was to be made for a tenant that is not there.
    #[error("there is no such tenant")]
    NoTenant,
}

impl From<DbErr> for StoreError {
    fn from(error: DbErr) -> Self {
        match fault_of(&error) {
            Fault::Connection | Fault::Retry => Self::Unavailable(error),
            Fault::Data | Fault::Unique | Fault::Statement | Fault::Other => Self::Database(error),
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) => {
                Error::new(ErrorKind::Unavailable, "STORE_UNAVAILABLE", "the database is not available")
                    .retry_after(std::time::Duration::from_secs(1))
            }
            StoreError::NoTenant => Error::new(ErrorKind::NotFound, "TENANT_NOT_FOUND", "there is no such tenant"),
            StoreError::Database(_) | StoreError::Corrupt { .. } => {
                tracing::error!(error = ?error, "the store failed");
                Error::new(ErrorKind::Internal, "INTERNAL", "internal error; see the server's log")
            }
        }
    }
}

pub(crate) type Result<T, E = StoreError> = std::result::Result<T, E>;

/// What an error of the driver means for whoever asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The server, the connection or the disk is not there.
    Connection,
    /// A deadlock or a lock that did not come: the same transaction again.
    Retry,
    /// A value that cannot be stored.
    Data,
    Unique,
    /// The statement itself: a table, a column or a right that is missing. No data makes a difference.
    Statement,
    Other,
}

pub(crate) fn fault_of(error: &DbErr) -> Fault {
    let runtime = match error {
        DbErr::ConnectionAcquire(_) => return Fault::Connection,
        DbErr::Conn(runtime) | DbErr::Exec(runtime) | DbErr::Query(runtime) => runtime,
        _ => return Fault::Other,
    };
    let RuntimeErr::SqlxError(error) = runtime else { return Fault::Connection };
    match error.as_ref() {
        SqlxError::Database(error) => error.code().map_or(Fault::Other, |code| fault_of_code(&code)),
        SqlxError::Io(_)
        | SqlxError::Tls(_)
        | SqlxError::PoolTimedOut
        | SqlxError::PoolClosed
        | SqlxError::WorkerCrashed
        | SqlxError::BeginFailed
        | SqlxError::Protocol(_) => Fault::Connection,
        SqlxError::Encode(_) => Fault::Data,
        _ => Fault::Other,
    }
}

/// SQLSTATEs have five characters; SQLite's extended result codes are numbers.
fn fault_of_code(code: &str) -> Fault {
    if code.len() == 5 {
        return match code {
            "40001" | "40P01" | "55P03" => Fault::Retry,
            "23505" => Fault::Unique,
            // A standby; a transaction that was idle for too long; the server is starting.
            "25006" | "25P03" | "25P04" => Fault::Connection,
            _ => match &code[..2] {
                // Also: who logs in is (no longer, or not yet) known; a statement that took too long or was cancelled.
                "08" | "28" | "3D" | "53" | "57" | "58" => Fault::Connection,
                "21" | "22" | "23" | "54" => Fault::Data,
                "0A" | "42" => Fault::Statement,
                _ => Fault::Other,
            },
        };
    }
    let Ok(number) = code.parse::<u32>() else { return Fault::Other };
    match (number, number & 0xff) {
        (1555 | 2067 | 2579, _) => Fault::Unique,
        // BUSY, LOCKED
        (_, 5 | 6) => Fault::Retry,
        // READONLY, IOERR, FULL, CANTOPEN
        (_, 8 | 10 | 13 | 14) => Fault::Connection,
        // TOOBIG, CONSTRAINT, MISMATCH
        (_, 18..=20) => Fault::Data,
        // ERROR, PERM, AUTH
        (_, 1 | 3 | 23) => Fault::Statement,
        _ => Fault::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_both_databases_are_told_apart() {
        for (code, fault) in [
            ("40P01", Fault::Retry),
            ("57P01", Fault::Connection),
            ("57014", Fault::Connection),
            ("21000", Fault::Data),
            ("22021", Fault::Data),
            ("54000", Fault::Data),
            ("23505", Fault::Unique),
            ("42P01", Fault::Statement),
            ("XX000", Fault::Other),
            ("5", Fault::Retry),
            ("517", Fault::Retry),
            ("1555", Fault::Unique),
            ("18", Fault::Data),
            ("13", Fault::Connection),
            ("1", Fault::Statement),
            ("7", Fault::Other),
        ] {
            assert_eq!(fault_of_code(code), fault, "{code}");
        }
    }
}
