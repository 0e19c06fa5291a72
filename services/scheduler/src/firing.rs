//! Executions of dates, with the triggers behind them, in one transaction.

use std::{collections::HashSet, time::Duration};

use windhover_engine::Execution;
use windhover_store::{Batch, CommitError, InboxMessage, InboxRow, TriggerAdvance};
use windhover_types::{Error, ErrorKind, Id, Timestamp, shard_of};

use crate::scheduler::Work;

/// An execution to be made, and what its trigger is then.
#[derive(Clone)]
pub(crate) struct Firing {
    pub(crate) execution: Execution,
    pub(crate) advance: TriggerAdvance,
    /// How long after its date; `None` in a backfill.
    pub(crate) late: Option<Duration>,
}

/// Writes them together; those whose trigger has gone on meanwhile are left out. Answers how many were written.
pub(crate) async fn commit(work: &Work, mut firings: Vec<Firing>, now: Timestamp) -> Result<usize, Error> {
    while !firings.is_empty() {
        let error = match work.store.create(&batch_of(work, &firings)).await {
            Ok(()) => {
                let wakes = firings.iter().map(|firing| work.wake(&firing.execution.tenant, firing.execution.id));
                // Lost where there is no room: the owner finds the inbox row by itself.
                work.wakeups.try_send(wakes.collect());
                for firing in &firings {
                    work.metrics.fired(&firing.advance.key, firing.late);
                }
                return Ok(firings.len());
            }
            Err(error) => error,
        };
        let before = firings.len();
        match error {
            // Another scheduler, or a user, was first.
            CommitError::TriggersMoved(moved) => firings.retain(|firing| !moved.contains(&firing.advance.key)),
            // Made before, and the trigger was put back: it goes on without another.
            CommitError::Exists { executions } => {
                let (made, rest) = split(firings, &executions);
                work.store.advance_triggers(&advances_without(made, None)).await?;
                firings = rest;
            }
            CommitError::Data { executions, reason } => {
                let (refused, rest) = split(firings, &executions);
                for firing in &refused {
                    let key = &firing.advance.key;
                    tracing::error!(
                        tenant = %key.tenant, namespace = %key.namespace, flow = %key.flow_id,
                        trigger = %key.trigger_id, %reason, "the execution of a schedule cannot be stored"
                    );
                }
                let message = format!("the execution cannot be stored: {reason}");
                work.store.advance_triggers(&advances_without(refused, Some(&message))).await?;
                firings = rest;
            }
            // Whether it was written or not, the rows say it at the next look.
            other => return Err(Error::new(ErrorKind::Unavailable, "UNAVAILABLE", other.to_string())),
        }
        if firings.len() == before {
            let message = format!("the store refuses what nothing explains, at {now}");
            return Err(Error::new(ErrorKind::Internal, "INTERNAL", message));
        }
    }
    Ok(0)
}

fn batch_of(work: &Work, firings: &[Firing]) -> Batch {
    Batch {
        new_executions: firings.iter().map(|firing| firing.execution.clone()).collect(),
        inbox_sent: firings.iter().map(|firing| created_row(&firing.execution, work.shards)).collect(),
        triggers_advanced: firings.iter().map(|firing| firing.advance.clone()).collect(),
        ..Batch::default()
    }
}

/// Tells the owner of the shard of an execution that was made by somebody else.
pub(crate) fn created_row(execution: &Execution, shards: u16) -> InboxRow {
    let Execution { tenant, id, .. } = execution;
    InboxRow {
        id: Id::derived(id.time(), &[b"created", id.as_bytes()]),
        shard: shard_of(tenant, *id, shards),
        tenant: tenant.clone(),
        execution: *id,
        message: InboxMessage::Created,
    }
}

fn split(firings: Vec<Firing>, executions: &[Id]) -> (Vec<Firing>, Vec<Firing>) {
    let ids: HashSet<&Id> = executions.iter().collect();
    firings.into_iter().partition(|firing| ids.contains(&firing.execution.id))
}

/// The triggers as they are without waiting for an execution.
fn advances_without(firings: Vec<Firing>, message: Option<&str>) -> Vec<TriggerAdvance> {
    let mut advances: Vec<TriggerAdvance> = firings.into_iter().map(|firing| firing.advance).collect();
    if let Some(message) = message {
        for advance in &mut advances {
            advance.state.execution = None;
            advance.state.locked_at = None;
            advance.state.message = Some(message.to_owned());
        }
    }
    advances
}
