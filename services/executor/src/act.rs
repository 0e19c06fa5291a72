//! What becomes of actions, and how it is stored for whoever asks again or elsewhere.

use serde::{Deserialize, Serialize};
use windhover_engine::{Event, Refusal};
use windhover_store::RequestIdRow;
use windhover_types::{Error, ErrorKind, Id, Tenant, Timestamp};

use crate::{
    core::{not_found, parked},
    message::{ActionKey, RequestKey},
};

/// How long the answer to a request id is kept.
const REQUEST_ID_DAYS: u64 = 2;

/// What became of an action (kill, pause, resume ...) whose execution exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Acted {
    /// It is committed; doing it again changes nothing.
    Done,
    /// The execution's state does not allow it; nothing has changed.
    Refused(Refusal),
}

/// The execution has ended, so that nothing can be done to it.
fn ended() -> Refusal {
    Refusal { reason: "EXECUTION_ENDED".to_owned(), message: "the execution has ended already".to_owned() }
}

impl Acted {
    /// Of an event that was applied: what the engine says, else whether there was anything left to be done.
    pub(crate) fn of(event: &Event, had_ended: bool, refused: Option<Refusal>) -> Self {
        match refused {
            Some(refusal) => Self::Refused(refusal),
            None if had_ended && matches!(event, Event::Kill) => Self::Refused(ended()),
            None => Self::Done,
        }
    }

    /// There was nothing left to be done, since the execution has ended.
    pub(crate) fn is_too_late(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.reason == "EXECUTION_ENDED")
    }
}

/// What the owner stores beside the deletion of the action's inbox row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Stored {
    Acted(Acted),
    Failed(Failed),
}

/// Why an action could not even be tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub(crate) enum Failed {
    NotFound,
    Parked { reason: String },
}

impl Failed {
    pub(crate) fn error(&self, execution: Id) -> Error {
        match self {
            Self::NotFound => not_found(execution),
            Self::Parked { reason } => parked(reason),
        }
    }
}

/// The row that names the execution which a request has made.
pub(crate) fn creation_row(tenant: &Tenant, key: &RequestKey, execution: Id, now: Timestamp) -> RequestIdRow {
    RequestIdRow {
        tenant: tenant.clone(),
        method: key.method.to_owned(),
        request_id: key.request_id.clone(),
        content: key.content,
        result: execution.to_string(),
        expires_at: expiry(now),
    }
}

/// The row under which the outcome is found.
pub(crate) fn row(tenant: &Tenant, key: &ActionKey, outcome: &Stored, now: Timestamp) -> RequestIdRow {
    RequestIdRow {
        tenant: tenant.clone(),
        method: key.method.clone().into_owned(),
        request_id: key.request_id.clone(),
        content: key.content,
        // An enum of texts: it can always be written.
        result: serde_json::to_string(outcome).unwrap_or_default(),
        expires_at: expiry(now),
    }
}

/// Until when the answer to a request of this moment is kept.
fn expiry(now: Timestamp) -> Timestamp {
    now.plus(std::time::Duration::from_secs(REQUEST_ID_DAYS * 86_400))
}

/// The answer that a stored row gives to a request with this content.
pub(crate) fn answered(row: &RequestIdRow, content: &[u8; 32], execution: Id) -> Result<Acted, Error> {
    if row.content != *content {
        return Err(reused(&row.request_id));
    }
    match serde_json::from_str(&row.result) {
        Ok(Stored::Acted(acted)) => Ok(acted),
        Ok(Stored::Failed(failed)) => Err(failed.error(execution)),
        // Written by a later version, or by another method of the same name.
        Err(_) => Err(Error::new(ErrorKind::Internal, "INTERNAL", "the outcome of the action cannot be read")),
    }
}

pub(crate) fn reused(request_id: &str) -> Error {
    let message = "the request id was used before with other content";
    Error::new(ErrorKind::AlreadyExists, "REQUEST_ID_REUSED", message).with("request_id", request_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_is_read_back_as_it_was_stored() {
        let outcomes = [
            Stored::Acted(Acted::Done),
            Stored::Acted(Acted::Refused(ended())),
            Stored::Failed(Failed::NotFound),
            Stored::Failed(Failed::Parked { reason: "why".to_owned() }),
        ];
        for outcome in outcomes {
            let text = serde_json::to_string(&outcome).expect("texts");
            assert_eq!(serde_json::from_str::<Stored>(&text).expect(&text), outcome);
        }
    }
}
