//! What can go wrong between the process and its database.

use sea_orm::{DbErr, RuntimeErr, SqlxError};
use windhover_types::{Error, ErrorKind, Id};

/// Why something could not be read or written. What the database said is the source and never reaches a user.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached, or refuses for now: the same again may work. [`StoreError::trouble`] tells why.
    #[error("the database is not available")]
    Unavailable(#[source] DbErr),
    /// It refused a statement.
    #[error("the database refused a statement")]
    Database(#[source] DbErr),
    /// A row was written by something that this version does not understand.
    #[error("a stored {what} cannot be read: {reason}")]
    Corrupt { what: &'static str, reason: String },
    /// Outputs that are too large for their row cannot be read for now: internal storage does not answer.
    #[error("internal storage is not available: {0}")]
    StorageUnavailable(String),
    /// Outputs that were too large for their row are no longer where they were put.
    #[error("outputs of the execution {execution} are gone: there is no file {key} in internal storage")]
    OutputsGone { execution: Id, key: String },
    /// Something was to be made for a tenant that is not there.
    #[error("there is no such tenant")]
    NoTenant,
}

impl StoreError {
    /// What an operator should look at, where the database does not work for now.
    pub fn trouble(&self) -> Option<Trouble> {
        match self {
            Self::Unavailable(error) => Some(trouble_of(error)),
            _ => None,
        }
    }
}

/// Why the database does not work for now: sentences for operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    #[error("the database's disk is full: it writes again as soon as there is room")]
    DiskFull,
    #[error("the database server is out of memory")]
    OutOfMemory,
    #[error(
        "the database server has no connection left: raise its max_connections, or lower the number of connections of \
         each process (windhover.database.max-connections)"
    )]
    TooManyConnections,
    #[error("the database is read-only: it is a standby, or default_transaction_read_only is on, or its file is")]
    ReadOnly,
    #[error("the database server is shutting down or starting")]
    ShuttingDown,
    #[error("the database refuses the login")]
    Login,
    #[error("the database's disk does not work")]
    Disk,
    #[error("the database was too slow: a lock or a statement took too long")]
    Slow,
    #[error(
        "no connection to the database was free in time: this process uses all of its own, or the server has none left"
    )]
    PoolTimedOut,
    #[error("the database cannot be reached")]
    Unreachable,
}

/// What an error that says "not now" is about.
pub(crate) fn trouble_of(error: &DbErr) -> Trouble {
    let (DbErr::Conn(runtime) | DbErr::Exec(runtime) | DbErr::Query(runtime)) = error else {
        return match error {
            DbErr::ConnectionAcquire(_) => Trouble::PoolTimedOut,
            _ => Trouble::Unreachable,
        };
    };
    let RuntimeErr::SqlxError(error) = runtime else { return Trouble::Unreachable };
    match error.as_ref() {
        SqlxError::Database(error) => error.code().map_or(Trouble::Unreachable, |code| trouble_of_code(&code)),
        SqlxError::PoolTimedOut => Trouble::PoolTimedOut,
        _ => Trouble::Unreachable,
    }
}

fn trouble_of_code(code: &str) -> Trouble {
    if code.len() == 5 {
        return match code {
            "53100" => Trouble::DiskFull,
            "53200" => Trouble::OutOfMemory,
            "53300" => Trouble::TooManyConnections,
            "25006" => Trouble::ReadOnly,
            "57014" | "55P03" | "40001" | "40P01" | "25P03" | "25P04" => Trouble::Slow,
            _ => match &code[..2] {
                "57" => Trouble::ShuttingDown,
                "28" => Trouble::Login,
                "58" => Trouble::Disk,
                _ => Trouble::Unreachable,
            },
        };
    }
    match code.parse::<u32>().map(|number| number & 0xff) {
        Ok(13) => Trouble::DiskFull,
        Ok(8) => Trouble::ReadOnly,
        Ok(10 | 14) => Trouble::Disk,
        Ok(5 | 6) => Trouble::Slow,
        _ => Trouble::Unreachable,
    }
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
            StoreError::StorageUnavailable(_) => {
                Error::new(ErrorKind::Unavailable, "STORAGE_UNAVAILABLE", error.to_string())
                    .retry_after(std::time::Duration::from_secs(1))
            }
            StoreError::OutputsGone { ref execution, ref key } => {
                Error::new(ErrorKind::NotFound, "FILE_NOT_FOUND", error.to_string())
                    .with("execution", execution)
                    .with("uri", key)
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
    fn an_operator_is_told_what_to_look_at() {
        for (code, trouble) in [
            ("53100", Trouble::DiskFull),
            ("13", Trouble::DiskFull),
            ("53200", Trouble::OutOfMemory),
            ("53300", Trouble::TooManyConnections),
            ("25006", Trouble::ReadOnly),
            ("8", Trouble::ReadOnly),
            ("1032", Trouble::ReadOnly),
            ("57P01", Trouble::ShuttingDown),
            ("57P03", Trouble::ShuttingDown),
            ("57014", Trouble::Slow),
            ("28P01", Trouble::Login),
            ("58030", Trouble::Disk),
            ("08006", Trouble::Unreachable),
        ] {
            assert!(matches!(fault_of_code(code), Fault::Connection | Fault::Retry), "{code}");
            assert_eq!(trouble_of_code(code), trouble, "{code}");
        }
    }

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
