//! What the API tells of the same executions.

use std::collections::HashSet;

use anyhow::Result;
use futures::{StreamExt, TryStreamExt, stream};
use windhover_client::{
    Client,
    v1::{GetExecutionRequest, ListExecutionsRequest, StateHistory, View},
};
use windhover_types::Id;

use crate::{
    Findings, Kind, Ledger,
    database::{Change, ExecutionRow, Stored},
};

/// Calls under way at a time.
const AT_ONCE: usize = 16;
/// Task runs that GetExecution shows.
const SHOWN: usize = 1_000;

/// Compares every acknowledged execution, and the lists of all namespaces.
///
/// # Errors
/// The API cannot be reached. What it refuses is a finding.
pub async fn api(client: &Client, stored: &Stored, ledger: &Ledger) -> Result<Findings> {
    let ids: HashSet<&str> = ledger.acknowledged.iter().map(|one| one.id.as_str()).collect();
    let checks = stream::iter(ids).map(|id| one(client, stored, id)).buffer_unordered(AT_ONCE);
    let mut findings = Findings::default();
    for found in checks.try_collect::<Vec<_>>().await? {
        findings.append(found);
    }
    let ours = || stored.executions.values().filter(|one| one.tenant == ledger.tenant);
    let namespaces: HashSet<&str> = ours().map(|one| one.namespace.as_str()).collect();
    for namespace in namespaces {
        let listed = list(client, namespace).await?;
        let there: HashSet<String> =
            ours().filter(|one| one.namespace == namespace).map(|one| one.id.to_string()).collect();
        let distinct: HashSet<String> = listed.iter().cloned().collect();
        findings
            .require(distinct.len() == listed.len(), Kind::Api, || format!("the list of {namespace} repeats itself"));
        for id in distinct.symmetric_difference(&there) {
            findings.add(Kind::Api, format!("{id} is either in the list of {namespace} or stored, not both"));
        }
    }
    Ok(findings)
}

async fn one(client: &Client, stored: &Stored, id: &str) -> Result<Findings> {
    let mut findings = Findings::default();
    let request = GetExecutionRequest { execution_id: id.to_owned(), view: View::Full as i32 };
    let told = match client.get_execution(request).await {
        Ok(response) => response.execution,
        Err(error) if error.is_transient() => return Err(error.into()),
        Err(error) => {
            findings.add(Kind::Api, format!("{id} was acknowledged; GetExecution says: {error}"));
            return Ok(findings);
        }
    };
    let row = id.parse::<Id>().ok().and_then(|id| stored.executions.get(&id));
    let (Some(told), Some(row)) = (told, row) else {
        findings.add(Kind::Api, format!("{id} is there for the API or for the database, not for both"));
        return Ok(findings);
    };
    same_states(&|| format!("execution {id}"), told.state.as_ref(), &row.history, &mut findings);
    let none = Vec::new();
    let runs = stored.task_runs.get(&row.id).unwrap_or(&none);
    findings.require(told.task_runs.len() == runs.len().min(SHOWN), Kind::Api, || {
        format!("{id}: {} task runs of {}", told.task_runs.len(), runs.len())
    });
    for (told, run) in told.task_runs.iter().zip(runs) {
        findings.require(told.id == run.id.to_string(), Kind::Api, || {
            format!("{id}: task run {} where {} should stand", told.id, run.id)
        });
        same_states(&|| format!("task run {} of {id}", run.id), told.state.as_ref(), &run.history, &mut findings);
        findings.require(told.attempts.len() == run.attempts.len(), Kind::Api, || {
            format!("task run {} of {id}: {} attempts of {}", run.id, told.attempts.len(), run.attempts.len())
        });
    }
    lines(client, stored, row, &mut findings).await?;
    Ok(findings)
}

async fn lines(client: &Client, stored: &Stored, row: &ExecutionRow, findings: &mut Findings) -> Result<()> {
    let told = client.logs(&row.id.to_string()).await?;
    let there = stored.lines.get(&row.id).map_or(&[][..], Vec::as_slice);
    let same = told.len() == there.len()
        && told.iter().zip(there).all(|(told, there)| i64::try_from(told.position) == Ok(there.position));
    findings.require(same, Kind::Api, || format!("{}: {} log lines of {}", row.id, told.len(), there.len()));
    Ok(())
}

fn same_states(what: &dyn Fn() -> String, told: Option<&StateHistory>, history: &[Change], findings: &mut Findings) {
    let told: Vec<&str> =
        told.map(|told| told.history.iter().map(|change| change.state().short_name()).collect()).unwrap_or_default();
    let there: Vec<&str> = history.iter().map(|change| change.state.as_str()).collect();
    findings.require(told == there, Kind::Api, || {
        format!("{}: the API tells {}, stored is {}", what(), told.join(" "), there.join(" "))
    });
}

async fn list(client: &Client, namespace: &str) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListExecutionsRequest {
            page_size: 1_000,
            page_token,
            filter: format!("namespace = \"{namespace}\""),
            view: View::Basic as i32,
        };
        let page = client.list_executions(request).await?;
        ids.extend(page.executions.into_iter().map(|execution| execution.id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(ids);
        }
    }
}
