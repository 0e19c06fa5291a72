//! States of executions, task runs and attempts, with their history.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::Timestamp;

macro_rules! states {
    ($($name:ident = $text:literal),+ $(,)?) => {
        /// State of an execution, a task run or an attempt (flow model reference 3.3, with what 1.x adds).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum State {
            $(#[serde(rename = $text)] $name),+
        }

        impl State {
            pub const ALL: &[State] = &[$(State::$name),+];

            pub const fn as_str(self) -> &'static str {
                match self { $(State::$name => $text),+ }
            }
        }

        impl FromStr for State {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($text => Ok(State::$name),)+
                    "CANCELED" => Ok(State::Cancelled),
                    other => Err(format!("`{other}` is no state")),
                }
            }
        }
    };
}

states! {
    Created = "CREATED",
    Submitted = "SUBMITTED",
    Restarted = "RESTARTED",
    Queued = "QUEUED",
    Running = "RUNNING",
    Paused = "PAUSED",
    Breakpoint = "BREAKPOINT",
    Killing = "KILLING",
    Retrying = "RETRYING",
    Retried = "RETRIED",
    Resubmitted = "RESUBMITTED",
    Skipped = "SKIPPED",
    Success = "SUCCESS",
    Warning = "WARNING",
    Failed = "FAILED",
    Killed = "KILLED",
    Cancelled = "CANCELLED",
}

impl State {
    /// Nothing follows by itself.
    pub const fn is_terminal(self) -> bool {
        matches!(
            self,
            State::Success
                | State::Warning
                | State::Failed
                | State::Killed
                | State::Cancelled
                | State::Retried
                | State::Skipped
                | State::Resubmitted
        )
    }

    /// Planned, and not begun.
    pub const fn is_created(self) -> bool {
        matches!(self, State::Created | State::Restarted | State::Submitted)
    }

    pub const fn is_failed(self) -> bool {
        matches!(self, State::Failed)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One entry of a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateChange {
    #[serde(rename = "s")]
    pub state: State,
    #[serde(rename = "t")]
    pub at: Timestamp,
}

/// Every state that something was in, oldest first; never empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StateHistory(Vec<StateChange>);

impl StateHistory {
    pub fn new(state: State, at: Timestamp) -> Self {
        Self(vec![StateChange { state, at }])
    }

    /// From stored entries; `None` when there are none.
    pub fn from_entries(entries: Vec<StateChange>) -> Option<Self> {
        (!entries.is_empty()).then_some(Self(entries))
    }

    pub fn current(&self) -> State {
        self.last().state
    }

    /// Adds an entry; the state that it is already in adds nothing. Tells whether it changed.
    pub fn set(&mut self, state: State, at: Timestamp) -> bool {
        if self.current() == state {
            return false;
        }
        // A clock that was set back must not make a history that runs backwards.
        let at = at.max(self.last().at);
        self.0.push(StateChange { state, at });
        true
    }

    pub fn entries(&self) -> &[StateChange] {
        &self.0
    }

    pub fn started(&self) -> Timestamp {
        self.0[0].at
    }

    pub fn last(&self) -> StateChange {
        self.0[self.0.len() - 1]
    }

    /// When it ended, if it did.
    pub fn ended(&self) -> Option<Timestamp> {
        self.current().is_terminal().then(|| self.last().at)
    }

    /// From the first to the last entry.
    pub fn duration(&self) -> std::time::Duration {
        self.last().at.since(self.started())
    }
}
