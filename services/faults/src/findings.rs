//! What the checker has found.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

/// What sort of promise is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// An execution that was acknowledged is not there.
    Lost,
    /// An execution or a task run has not ended.
    NotEnded,
    /// The end, or the way there, is not what the flow implies.
    Outcome,
    /// A history that no sequence of single changes makes.
    History,
    /// A task run that is there twice, or whose number is missing.
    TaskRuns,
    /// Attempts that do not follow each other.
    Attempts,
    /// The feed has a gap, ends elsewhere than its shard says, or tells something else than the rows.
    Feed,
    /// A cause with several executions, or with none.
    Cause,
    /// A row that nothing needs any more: job, timer, inbox, slot, lock of a trigger.
    Leftover,
    /// A row of an execution that is not there.
    Orphan,
    /// A log line that is missing, or is there too often.
    Lines,
    /// A call was refused although nothing was wrong with it.
    Refused,
    /// A request id that names something else than its caller was told.
    Request,
    /// A follower was shown too much, too little, or the wrong thing.
    Follower,
    /// The API tells something else than the database.
    Api,
    /// An execution that was set aside because of its data.
    Parked,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = serde_json::to_value(self).map_err(|_| fmt::Error)?;
        f.write_str(text.as_str().unwrap_or_default())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub kind: Kind,
    /// For people: which execution, what was expected, what is there.
    pub what: String,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct Findings(Vec<Finding>);

impl Findings {
    pub fn add(&mut self, kind: Kind, what: impl Into<String>) {
        self.0.push(Finding { kind, what: what.into() });
    }

    pub fn require(&mut self, holds: bool, kind: Kind, what: impl FnOnce() -> String) {
        if !holds {
            self.add(kind, what());
        }
    }

    pub fn append(&mut self, mut others: Self) {
        self.0.append(&mut others.0);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn all(&self) -> &[Finding] {
        &self.0
    }

    pub fn of(&self, kind: Kind) -> impl Iterator<Item = &Finding> {
        self.0.iter().filter(move |finding| finding.kind == kind)
    }

    pub fn counts(&self) -> BTreeMap<Kind, usize> {
        let mut counts = BTreeMap::new();
        for finding in &self.0 {
            *counts.entry(finding.kind).or_default() += 1;
        }
        counts
    }
}

/// Each kind with its count and its first findings.
impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 10;
        for (kind, count) in self.counts() {
            writeln!(f, "{kind}: {count}")?;
            for finding in self.of(kind).take(SHOWN) {
                writeln!(f, "  {}", finding.what)?;
            }
            if count > SHOWN {
                writeln!(f, "  and {} more", count - SHOWN)?;
            }
        }
        Ok(())
    }
}
