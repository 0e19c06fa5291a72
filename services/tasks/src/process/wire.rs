//! What the worker and a supervisor tell each other: a line of JSON each, over a socket that is the supervisor's standard
//! input.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// From the worker, first and once. After it only the end of the connection says something: kill everything.
#[derive(Serialize, Deserialize)]
pub(super) struct Order {
    /// The program and its arguments.
    pub(super) command: Vec<String>,
    pub(super) environment: Vec<(String, String)>,
    /// Where it runs.
    pub(super) folder: PathBuf,
    pub(super) memory: u64,
    pub(super) processes: usize,
    /// Folders that go when the connection ends before the process: the worker may not be there any more to do it.
    pub(super) remove: Vec<PathBuf>,
}

/// From the supervisor.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Said {
    /// The process runs; it leads a process group of its own.
    Started(i32),
    /// It could not be started.
    Failed(String),
    /// It has ended by itself, and nothing of it is left.
    Exited(i32),
    /// It was ended by a signal.
    Killed(i32),
    /// The supervisor has killed it.
    Breached(Breach),
}

/// A limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Breach {
    Memory,
    Processes,
}
