//! Takes up what was open when the shards came to this process, and sweeps for what a lost message would have told.

use std::{collections::HashMap, time::Duration};

use tokio::sync::mpsc;
use windhover_store::{Inbox, Store};
use windhover_types::{Error, Id};

use crate::{flows::Flows, loader, message::Input};

const PAGE: u64 = 1_000;
const RETRY: Duration = Duration::from_millis(500);
/// How often the inbox is swept.
const SWEEP: Duration = Duration::from_secs(2);

pub(crate) async fn run(store: Store, flows: Flows, shards: Vec<u16>, inputs: mpsc::UnboundedSender<Input>) {
    while let Err(error) = take_up(&store, &flows, &shards, &inputs).await {
        tracing::warn!(%error, "open executions cannot be read; trying again");
        tokio::time::sleep(RETRY).await;
    }
    let mut sweep = tokio::time::interval(SWEEP);
    sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        sweep.tick().await;
        match store.inbox(&shards, None, PAGE).await {
            Ok(Inbox { rows, unknown, .. }) if rows.is_empty() && unknown.is_empty() => {}
            Ok(Inbox { rows, unknown, .. }) => {
                if inputs.send(Input::Unknown(unknown)).and(inputs.send(Input::Inbox(rows))).is_err() {
                    return;
                }
            }
            Err(error) => tracing::warn!(%error, "the inbox cannot be read; trying again"),
        }
    }
}

/// Every open execution once, with the jobs whose holders died with the process that owned the shard.
async fn take_up(
    store: &Store,
    flows: &Flows,
    shards: &[u16],
    inputs: &mpsc::UnboundedSender<Input>,
) -> Result<(), Error> {
    let mut lost: HashMap<Id, Vec<(Id, u32)>> = HashMap::new();
    for job in store.jobs(shards).await? {
        lost.entry(job.execution).or_default().push((job.task_run, job.dispatch));
    }
    let mut after = None;
    let mut found = 0;
    loop {
        let page = store.open_executions(shards, after, PAGE).await?;
        let Some((_, last)) = page.last() else { break };
        after = Some(*last);
        found += page.len();
        let runs = loader::load(store, flows, &page).await?;
        let runs = runs.into_iter().map(|stored| {
            let jobs = lost.remove(&stored.execution.id).unwrap_or_default();
            (stored, jobs)
        });
        if inputs.send(Input::Recovered(runs.collect())).is_err() {
            return Ok(());
        }
    }
    // Attempts that outlived their executions.
    for execution in lost.keys() {
        tracing::info!(%execution, "a job of an ended execution is left to its worker");
    }
    if found > 0 {
        tracing::info!(executions = found, "open executions were taken up");
    }
    Ok(())
}
