//! Takes up what was open when the shards came to this process, and sweeps for what a lost message would have told.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use tokio::sync::mpsc;
use windhover_engine::Event;
use windhover_store::{Inbox, JobRow, Store};
use windhover_types::{Error, Id, Tenant};

use crate::{
    flows::Flows,
    loader::{self, Loaded},
    message::{Input, Pending},
};

const PAGE: u64 = 1_000;
const RETRY: Duration = Duration::from_millis(500);
/// How often the inbox is swept.
const SWEEP: Duration = Duration::from_secs(2);

/// Jobs whose holders died with the process that owned the shards before, by execution.
type Lost = HashMap<(Tenant, Id), Vec<(Id, u32)>>;

/// `jobs`: those that were stored before this process handed any out.
pub(crate) async fn run(
    store: Store,
    flows: Flows,
    shards: Vec<u16>,
    jobs: Vec<JobRow>,
    inputs: mpsc::UnboundedSender<Input>,
) {
    let mut lost = Lost::new();
    for job in jobs {
        lost.entry((job.tenant, job.execution)).or_default().push((job.task_run, job.dispatch));
    }
    // What is there at start was left by others. Later a row that is younger than a sweep is known in memory, where it
    // most likely is in a batch just now.
    let mut seen = look_into_inbox(&store, &shards, &HashSet::new(), &inputs).await.unwrap_or_default();
    while let Err(error) = take_up(&store, &flows, &shards, &mut lost, &inputs).await {
        tracing::warn!(%error, "open executions cannot be read; trying again");
        tokio::time::sleep(RETRY).await;
    }
    let mut sweep = tokio::time::interval(SWEEP);
    sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        sweep.tick().await;
        match look_into_inbox(&store, &shards, &seen, &inputs).await {
            Ok(found) => seen = found,
            Err(error) => tracing::warn!(%error, "the inbox cannot be read; trying again"),
        }
    }
}

/// Hands on the inbox rows that were seen before; answers all that are there now.
async fn look_into_inbox(
    store: &Store,
    shards: &[u16],
    seen: &HashSet<Id>,
    inputs: &mpsc::UnboundedSender<Input>,
) -> Result<HashSet<Id>, Error> {
    let mut found = HashSet::new();
    let mut after = None;
    loop {
        let Inbox { mut rows, mut unknown, last } = store.inbox(shards, after, PAGE).await?;
        let count = rows.len() + unknown.len();
        found.extend(rows.iter().map(|row| row.id).chain(unknown.iter().map(|(key, _)| key.id)));
        rows.retain(|row| seen.contains(&row.id));
        unknown.retain(|(key, _)| seen.contains(&key.id));
        if !unknown.is_empty() {
            let _ = inputs.send(Input::Unknown(unknown));
        }
        if !rows.is_empty() {
            let _ = inputs.send(Input::Inbox(rows));
        }
        // Rows of executions that are parked stay: those behind them are reached all the same.
        match last {
            Some(last) if count as u64 >= PAGE => after = Some(last),
            _ => return Ok(found),
        }
    }
}

/// Every open execution once, with its lost jobs, which leave `lost` with it.
async fn take_up(
    store: &Store,
    flows: &Flows,
    shards: &[u16],
    lost: &mut Lost,
    inputs: &mpsc::UnboundedSender<Input>,
) -> Result<(), Error> {
    let mut after = None;
    let mut count = 0;
    loop {
        let page = store.open_executions(shards, after, PAGE).await?;
        let Some((_, last)) = page.last() else { break };
        after = Some(*last);
        let Loaded { runs, unreadable } = loader::load(store, flows, &page).await?;
        count += runs.len();
        unreadable.iter().for_each(|key| drop(lost.remove(key)));
        let runs = runs.into_iter().map(|run| {
            let of = &run.stored.execution;
            let jobs = lost.remove(&(of.tenant.clone(), of.id)).unwrap_or_default();
            (run, jobs)
        });
        if inputs.send(Input::Recovered(runs.collect())).is_err() {
            return Ok(());
        }
    }
    // Attempts that outlived their executions: they are settled, and their rows go.
    for ((tenant, execution), jobs) in lost.drain() {
        for (task_run, dispatch) in jobs {
            let pending = Pending::new(Event::JobLost { task_run, dispatch });
            let _ = inputs.send(Input::Event { tenant: tenant.clone(), execution, pending });
        }
    }
    if count > 0 {
        tracing::info!(executions = count, "open executions were taken up");
    }
    Ok(())
}
