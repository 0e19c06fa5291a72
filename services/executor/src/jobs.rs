//! Dispatch of jobs to the workers' queues, and the look after their leases.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::sync::mpsc;
use windhover_engine::Event;
use windhover_queue::{JobQueue, QueuedJob};

use crate::message::{Input, Pending};

/// How often leases that ran out are looked for.
const SWEEP: Duration = Duration::from_secs(1);

/// Pushes jobs to the queue; what finds no room in its tenant's window waits here, in order, until there is some.
pub(crate) async fn run(
    queue: Arc<dyn JobQueue>,
    shards: Vec<u16>,
    mut jobs: mpsc::UnboundedReceiver<Vec<QueuedJob>>,
    inputs: mpsc::UnboundedSender<Input>,
) {
    let mut waiting: VecDeque<QueuedJob> = VecDeque::new();
    let mut sweep = tokio::time::interval(SWEEP);
    sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            new = jobs.recv() => match new {
                Some(new) => waiting.extend(push(queue.as_ref(), new).await),
                None => return,
            },
            _ = queue.drained(), if !waiting.is_empty() => {
                let again = waiting.drain(..).collect();
                waiting.extend(push(queue.as_ref(), again).await);
            }
            _ = sweep.tick() => {
                match queue.expired(&shards).await {
                    Ok(expired) => for lease in expired {
                        let event = Event::JobLost { task_run: lease.key.task_run, dispatch: lease.key.dispatch };
                        tracing::warn!(tenant = %lease.tenant, execution = %lease.execution, worker = %lease.worker, "the holder of a job is lost");
                        let _ = inputs.send(Input::Event { tenant: lease.tenant, execution: lease.execution, pending: Pending::new(event) });
                    },
                    Err(error) => tracing::warn!(%error, "leases cannot be looked after"),
                }
                if !waiting.is_empty() {
                    let again = waiting.drain(..).collect();
                    waiting.extend(push(queue.as_ref(), again).await);
                }
            }
        }
    }
}

/// Answers the jobs that are still to be pushed.
async fn push(queue: &dyn JobQueue, jobs: Vec<QueuedJob>) -> Vec<QueuedJob> {
    let kept = jobs.clone();
    match queue.push(jobs).await {
        Ok(refused) => refused,
        Err(error) => {
            tracing::warn!(%error, "jobs wait: the queue does not take them");
            kept
        }
    }
}
