//! The checker: what is wrong with a cluster at rest, by the API and the database alone.

mod api;
mod causes;
mod executions;
mod feed;
mod followers;
mod rules;

use anyhow::{Context, Result};
use windhover_client::Client;

pub use self::api::api;
use crate::{
    Findings, Kind, Ledger,
    database::{Database, Stored},
};

/// What was looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Extent {
    pub acknowledged: usize,
    pub executions: usize,
    pub task_runs: usize,
    /// Attempts that ended with the loss of their worker.
    pub attempts_lost: usize,
    pub log_lines: usize,
    pub feed_rows: usize,
    pub followers: usize,
}

/// Everything: the rows, what the flows imply, what clients saw, and the API when there is one.
///
/// # Errors
/// The database or the API cannot be read.
pub async fn check(database: &Database, client: Option<&Client>, ledger: &Ledger) -> Result<(Findings, Extent)> {
    let stored = database.read().await.context("reading the database")?;
    let mut findings = rows(&stored, ledger);
    if let Some(client) = client {
        findings.append(api(client, &stored, ledger).await.context("reading the API")?);
    }
    Ok((findings, extent(&stored, ledger)))
}

/// Everything but the API.
pub fn rows(stored: &Stored, ledger: &Ledger) -> Findings {
    let mut findings = Findings::default();
    executions::check(stored, &mut findings);
    feed::check(stored, &mut findings);
    causes::check(stored, ledger, &mut findings);
    rules::check(stored, ledger, &mut findings);
    followers::check(stored, ledger, &mut findings);
    leftovers(stored, &mut findings);
    findings
}

fn leftovers(stored: &Stored, findings: &mut Findings) {
    for row in &stored.waiting {
        let of = row.execution.map_or_else(|| "nobody".to_owned(), |id| id.to_string());
        findings.add(Kind::Leftover, format!("{}: of {of}: {}", row.table, row.what));
    }
}

fn extent(stored: &Stored, ledger: &Ledger) -> Extent {
    let runs = || stored.task_runs.values().flatten();
    Extent {
        acknowledged: ledger.acknowledged.len(),
        executions: stored.executions.len(),
        task_runs: runs().count(),
        attempts_lost: runs()
            .flat_map(|run| &run.attempts)
            .filter(|attempt| attempt.history.last().is_some_and(|last| last.state == "RESUBMITTED"))
            .count(),
        log_lines: stored.lines.values().map(Vec::len).sum(),
        feed_rows: stored.feed.len(),
        followers: ledger.followed.len(),
    }
}
