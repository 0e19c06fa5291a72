//! Takes up what is open in shards that came to this process, looks where it is told to look, and sweeps for what a lost
//! message would have told.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use tokio::sync::{mpsc, watch};
use windhover_store::{Inbox, JobRow, Store};
use windhover_types::{Error, Id, State, Tenant};

use crate::{
    fair::in_rounds,
    flows::Flows,
    jobs::Dispatch,
    loader::{self, Loaded},
    membership::Membership,
    message::{Input, LoadedRun, LostJob, Pending},
    owned::OwnedShards,
};

const PAGE: u64 = 1_000;
const RETRY: Duration = Duration::from_millis(500);
/// How often the inbox is swept.
const SWEEP: Duration = Duration::from_secs(2);
/// Rows of one sweep, where others send what the inbox holds.
const SWEPT: u64 = 500;
/// Executions that one look is about.
const LOOKS: usize = 1_000;
/// Of them, a flooding tenant's while others have little to look for.
const LOOKS_SHARE: usize = 64;

/// What the recovery is asked for.
pub(crate) enum Recover {
    /// Shards that are this process's from now on. `jobs`: those of a predecessor whose workers are gone with it; else
    /// the stored ones may be held by somebody.
    Taken { shards: Vec<u16>, jobs: Option<Left> },
}

/// What a predecessor has left, whose workers are gone with it.
pub(crate) struct Left {
    pub(crate) jobs: Vec<JobRow>,
    /// It did not stop in order: what its workers were doing may be what has ended it.
    pub(crate) has_died: bool,
}

/// What the recovery works with.
#[derive(Clone)]
pub(crate) struct Recovery {
    pub(crate) store: Store,
    pub(crate) flows: Flows,
    pub(crate) membership: Membership,
    pub(crate) owned: OwnedShards,
    /// What carries wake-ups was emptied: some are lost.
    pub(crate) emptied: Option<watch::Receiver<u64>>,
    pub(crate) dispatch: mpsc::UnboundedSender<Dispatch>,
    pub(crate) inputs: mpsc::UnboundedSender<Input>,
}

/// Jobs whose holders died with the process that owned the shards before, by execution.
type Lost = HashMap<(Tenant, Id), Vec<LostJob>>;

impl Recovery {
    /// Takes up what comes, one set of shards after another.
    pub(crate) async fn run(self, mut asked: mpsc::UnboundedReceiver<Recover>) {
        while let Some(Recover::Taken { mut shards, jobs }) = asked.recv().await {
            // What has come meanwhile is read together; only the first ones of a process bring jobs with them.
            while let Ok(Recover::Taken { shards: more, .. }) = asked.try_recv() {
                shards.extend(more);
            }
            let with_jobs = jobs.is_none();
            let mut lost = jobs.map(by_execution).unwrap_or_default();
            loop {
                let mine: Vec<u16> = shards.iter().copied().filter(|shard| self.owned.owns(*shard)).collect();
                match self.take_up(&mine, &mut lost, with_jobs).await {
                    Ok(()) => break,
                    Err(error) => tracing::warn!(%error, "open executions cannot be read; trying again"),
                }
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    /// Every open execution of these shards once, with its lost jobs, which leave `lost` with it.
    async fn take_up(&self, shards: &[u16], lost: &mut Lost, with_jobs: bool) -> Result<(), Error> {
        if with_jobs {
            // Before anything is stepped, so that none of this process's own are among them.
            let now = self.store.now().await?;
            let held = self.store.jobs(shards).await?;
            let _ = self.dispatch.send(Dispatch::Recovered(held, now));
        }
        // What is there was left by others.
        self.look_into_inbox(shards, None).await?;
        let mut after = None;
        let mut count = 0;
        loop {
            let page = self.store.open_executions(shards, after, PAGE).await?;
            let Some((_, last)) = page.last() else { break };
            after = Some(*last);
            let Loaded { runs, unreadable, corrupt } = loader::load(&self.store, &self.flows, &page).await?;
            count += runs.len();
            unreadable.iter().for_each(|key| drop(lost.remove(key)));
            if !corrupt.is_empty() {
                corrupt.iter().for_each(|(tenant, id, _)| drop(lost.remove(&(tenant.clone(), *id))));
                let (runs, unreadable, asked) = Default::default();
                let _ = self.inputs.send(Input::Loaded { runs, unreadable, corrupt, asked });
            }
            let stopping: Vec<_> = if with_jobs { runs.iter().flat_map(to_stop).collect() } else { Vec::new() };
            let runs = runs.into_iter().map(|run| {
                let of = &run.stored.execution;
                let jobs = lost.remove(&(of.tenant.clone(), of.id)).unwrap_or_default();
                (run, jobs)
            });
            if self.inputs.send(Input::Recovered(runs.collect())).is_err() {
                return Ok(());
            }
            if !stopping.is_empty() {
                // The one who has told them before may have been the last to know of it.
                let _ = self.dispatch.send(Dispatch::Cancel(stopping));
            }
        }
        // Attempts that outlived their executions: they are settled, and their rows go.
        for ((tenant, execution), jobs) in lost.drain() {
            for LostJob { task_run, dispatch, losses } in jobs {
                let pending = Pending::lost(task_run, dispatch, losses);
                let _ = self.inputs.send(Input::Event { tenant: tenant.clone(), execution, pending });
            }
        }
        if count > 0 {
            tracing::info!(executions = count, "open executions were taken up");
        }
        Ok(())
    }

    /// Looks into the inbox now and then, for as long as the process runs.
    pub(crate) async fn sweep(mut self) {
        // Alone, a row that is younger than a sweep is known in memory, where it most likely is in a batch just now.
        let mut seen = HashSet::new();
        let mut after = None;
        let mut sweep = tokio::time::interval(SWEEP);
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let emptied = tokio::select! {
                _ = sweep.tick() => false,
                () = changed(&mut self.emptied) => true,
            };
            let shards = self.owned.list();
            if shards.is_empty() {
                continue;
            }
            let is_alone = self.membership == Membership::Exclusive;
            let swept = if is_alone || emptied {
                self.look_into_inbox(&shards, is_alone.then_some(&seen)).await.map(|found| seen = found)
            } else {
                self.look_on(&shards, &mut after).await
            };
            match swept {
                Ok(()) => {}
                Err(error) => tracing::warn!(%error, "the inbox cannot be read; trying again"),
            }
        }
    }

    /// Looks for what waits for these executions: somebody has said that there is something. What is asked of
    /// a tenant while a query for it runs is in the next one.
    pub(crate) async fn look(self, wanted: mpsc::UnboundedReceiver<(u16, Tenant, Id)>) {
        in_rounds(
            wanted,
            LOOKS_SHARE,
            |(_, tenant, _)| tenant,
            |looks| {
                // By the shard that was told: what an execution asks of its flow's slots waits in the flow's.
                let mine = looks.take(LOOKS).filter(|(shard, ..)| self.owned.owns(*shard));
                let mut keys: Vec<(Tenant, Id)> = mine.map(|(_, tenant, execution)| (tenant, execution)).collect();
                keys.sort_unstable();
                keys.dedup();
                async {
                    let keys = keys;
                    match self.store.inbox_of(&keys).await {
                        Ok(found) => self.hand_on(found),
                        // The sweep finds it.
                        Err(error) => tracing::warn!(%error, "the inbox cannot be read"),
                    }
                }
            },
        )
        .await;
    }

    /// Hands on some rows behind those of the last time. Most of what lies there is on its way already: somebody's flood
    /// must not be read again and again.
    async fn look_on(&self, shards: &[u16], after: &mut Option<i64>) -> Result<(), Error> {
        let inbox = self.store.inbox(shards, after.take(), SWEPT).await?;
        let is_full = (inbox.rows.len() + inbox.unknown.len()) as u64 >= SWEPT;
        *after = inbox.last.filter(|_| is_full);
        self.hand_on(inbox);
        Ok(())
    }

    /// Hands on the inbox rows (of those `seen` before, if that matters); answers all that are there now.
    async fn look_into_inbox(&self, shards: &[u16], seen: Option<&HashSet<Id>>) -> Result<HashSet<Id>, Error> {
        let mut found = HashSet::new();
        let mut after = None;
        loop {
            let mut inbox = self.store.inbox(shards, after, PAGE).await?;
            let (count, last) = (inbox.rows.len() + inbox.unknown.len(), inbox.last);
            let ids = inbox.rows.iter().map(|row| row.id);
            found.extend(ids.chain(inbox.unknown.iter().map(|(key, _)| key.id)));
            if let Some(seen) = seen {
                inbox.rows.retain(|row| seen.contains(&row.id));
                inbox.unknown.retain(|(key, _)| seen.contains(&key.id));
            }
            self.hand_on(inbox);
            // Rows of executions that are parked stay: those behind them are reached all the same.
            match last {
                Some(last) if count as u64 >= PAGE => after = Some(last),
                _ => return Ok(found),
            }
        }
    }

    fn hand_on(&self, Inbox { rows, unknown, .. }: Inbox) {
        if !unknown.is_empty() {
            let _ = self.inputs.send(Input::Unknown(unknown));
        }
        if !rows.is_empty() {
            let _ = self.inputs.send(Input::Inbox(rows));
        }
    }
}

/// A job that had begun has cost a holder. Of one that nobody is known to have begun it is not known whether a worker had
/// it for the blink of an eye: once that counts, since the next worker tells before it begins ([`QueuedJob::losses`]).
///
/// [`QueuedJob::losses`]: windhover_queue::QueuedJob::losses
fn by_execution(left: Left) -> Lost {
    let Left { jobs, has_died } = left;
    let mut lost = Lost::new();
    for job in jobs {
        let losses = match job.worker {
            _ if !has_died => job.losses,
            Some(_) => job.losses.saturating_add(1),
            None => job.losses.max(1),
        };
        let lost_job = LostJob { task_run: job.task_run, dispatch: job.dispatch, losses };
        lost.entry((job.tenant, job.execution)).or_default().push(lost_job);
    }
    lost
}

/// Attempts that somebody may hold, and that are to stop.
fn to_stop(run: &LoadedRun) -> impl Iterator<Item = (Tenant, Id, Id, u32)> {
    let of = &run.stored.execution;
    let is_unwanted = |state: State| state == State::Killing || state.is_terminal();
    let unwanted =
        run.stored.open_task_runs.iter().filter(move |run| run.has_open_job() && is_unwanted(run.state.current()));
    unwanted.map(|run| (of.tenant.clone(), of.id, run.id, run.dispatch))
}

async fn changed(emptied: &mut Option<watch::Receiver<u64>>) {
    if let Some(receiver) = emptied
        && receiver.changed().await.is_ok()
    {
        return;
    }
    // There is no queue that could be emptied, or it is gone with the process.
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use windhover_types::Timestamp;

    use super::*;

    #[test]
    fn a_death_costs_what_was_held_a_loss_and_what_may_have_been_held_one_at_most() {
        let execution = Id::new(Timestamp::from_millis(1), [1; 10]);
        let row = |losses, worker: Option<&str>| JobRow {
            shard: 1,
            tenant: Tenant::main(),
            execution,
            task_run: Id::new(Timestamp::from_millis(1), [2; 10]),
            dispatch: 1,
            worker_group: None,
            deadline: Timestamp::from_millis(1),
            losses,
            worker: worker.map(str::to_owned),
        };
        let losses = |has_died| {
            let jobs = vec![row(0, None), row(0, Some("w")), row(1, None), row(2, Some("w"))];
            let lost = by_execution(Left { jobs, has_died });
            lost[&(Tenant::main(), execution)].iter().map(|job| job.losses).collect::<Vec<_>>()
        };
        assert_eq!(losses(true), [1, 1, 1, 3]);
        assert_eq!(losses(false), [0, 0, 1, 2], "after a stop in order");
    }
}
