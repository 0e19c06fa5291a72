//! What a worker tells the owner of an execution's shard.

use std::fmt;

use windhover_engine::{Event, JobResult, LogLine};
use windhover_types::{Id, Tenant, Timestamp};

use crate::JobKey;

/// A message about one attempt. Sent again until it is acknowledged, so every part of it may come twice.
#[derive(Clone)]
pub struct Report {
    pub tenant: Tenant,
    pub shard: u16,
    pub execution: Id,
    pub key: JobKey,
    pub worker: String,
    pub kind: ReportKind,
}

#[derive(Clone)]
pub enum ReportKind {
    /// The attempt began. Left out for attempts that end quickly: their result says when they began.
    Started { at: Timestamp },
    /// Lines of an attempt that still runs. `first` counts the lines of this attempt from 0: a batch that was
    /// committed before is recognised by it. The lines of the result follow on the last of these.
    Logs { first: u32, lines: Vec<LogLine> },
    /// The attempt is over. `result.logs` holds only lines that were not sent as [`ReportKind::Logs`].
    Ended { result: Box<JobResult> },
}

impl Report {
    /// The engine's event; log lines are not one and are handed back.
    pub fn into_event(self) -> Result<Event, Vec<LogLine>> {
        let JobKey { task_run, dispatch } = self.key;
        match self.kind {
            ReportKind::Started { at } => Ok(Event::JobStarted { task_run, dispatch, worker: self.worker, at }),
            ReportKind::Ended { result } => Ok(Event::JobEnded { task_run, dispatch, result }),
            ReportKind::Logs { lines, .. } => Err(lines),
        }
    }
}

/// What it is about, without lines and outputs: they may hold what nobody should read.
impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Report")
            .field("tenant", &self.tenant)
            .field("execution", &self.execution)
            .field("key", &self.key)
            .field("worker", &self.worker)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ReportKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started { at } => write!(f, "Started({at})"),
            Self::Logs { first, lines } => write!(f, "Logs({first}, {} lines)", lines.len()),
            Self::Ended { result } => write!(f, "Ended({})", result.state),
        }
    }
}
