//! [`JobQueue`] on Redis: per worker group what the in-process queue holds per process, kept by Lua scripts.

mod failed;
mod push;
mod scripts;
mod state;
mod take;
mod upkeep;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use tokio::sync::mpsc;
use windhover_types::{Id, Tenant};

pub(super) use self::{
    scripts::millis,
    state::State,
    upkeep::{announce, learn_groups, look_after, ready},
};
use self::{
    scripts::{CANCEL, COMPLETE, DEPTHS, EXPIRED, HELD, RELEASE, RENEW, arguments, call},
    state::Held,
};
use super::{
    Core, Shared,
    wire::{self, WireJob},
};
use crate::{
    Cancelled, ExpiredLease, Group, GroupDepth, JobKey, JobQueue, KillHints, LeasedJob, PopRequest, QueueError,
    QueuedJob, Renewal,
};

/// How many leases one call of `expired` answers at most; the rest follows with the next.
const EXPIRED_AT_ONCE: usize = 1_000;

/// How often who was refused looks by itself whether there is room again.
const LOOK: Duration = Duration::from_secs(2);

/// Job queues that all processes share.
#[derive(Clone)]
pub struct RedisJobs {
    shared: Arc<Shared>,
}

/// Task run, dispatch, shard, tenant, execution, worker, and whether that has given it up.
type Expired = (String, u32, u16, String, String, String, u8);

/// Tenant, group, shard and execution of a job.
type Place = (Tenant, Group, u16, Id);

impl RedisJobs {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Lets the time of leases pass without waiting, as this handle's process sees it.
    #[doc(hidden)]
    pub fn advance_clock(&self, by: Duration) {
        self.core().jobs.ahead.fetch_add(millis(by), Ordering::Relaxed);
    }

    /// Makes leases known that were made in the memory of this process, or renews them: whoever comes to own their
    /// shards finds here that they are held. Answers in the order of `leases`.
    pub(crate) async fn adopt(
        &self,
        worker: &str,
        leases: &[(JobKey, Place)],
        lease: Duration,
    ) -> Result<Vec<Renewal>, QueueError> {
        let core = self.core();
        let mut new = Vec::new();
        {
            let mut held = core.jobs.held.lock();
            for (key, (tenant, group, shard, execution)) in leases {
                held.entry(*key).or_insert_with(|| {
                    new.push(group.clone());
                    Held {
                        group: group.clone(),
                        tenant: tenant.clone(),
                        shard: *shard,
                        execution: *execution,
                        worker: worker.to_owned(),
                        // No marker is so: that the lease is unknown here says nothing.
                        born: "memory".into(),
                        lease,
                        until: until(lease),
                        completed: false,
                    }
                });
            }
        }
        for group in new {
            upkeep::register_group(core, &group).await?;
        }
        let keys: Vec<JobKey> = leases.iter().map(|(key, _)| *key).collect();
        self.renew(worker, &keys, lease).await
    }

    /// A worker of this process holds it, as far as is known here.
    pub(crate) fn knows(&self, key: JobKey) -> bool {
        self.core().jobs.held.lock().contains_key(&key)
    }

    fn core(&self) -> &Arc<Core> {
        &self.shared.core
    }

    /// The group of each key that this process holds; `None` for the others.
    fn by_group(&self, keys: &[JobKey]) -> HashMap<Option<Group>, Vec<usize>> {
        let held = self.core().jobs.held.lock();
        let mut groups: HashMap<Option<Group>, Vec<usize>> = HashMap::new();
        for (at, key) in keys.iter().enumerate() {
            groups.entry(held.get(key).map(|held| held.group.clone())).or_default().push(at);
        }
        groups
    }

    /// The same, with what nobody here knows to look for in every group.
    async fn places(&self, keys: &[JobKey]) -> Result<Vec<(Group, Vec<usize>)>, QueueError> {
        let mut places: BTreeMap<Group, Vec<usize>> = BTreeMap::new();
        for (group, numbers) in self.by_group(keys) {
            match group {
                Some(group) => places.entry(group).or_default().extend(numbers),
                None => {
                    for group in upkeep::known_groups(self.core()).await? {
                        places.entry(group).or_default().extend(&numbers);
                    }
                }
            }
        }
        Ok(places.into_iter().collect())
    }
}

#[async_trait]
impl JobQueue for RedisJobs {
    async fn push(&self, jobs: Vec<QueuedJob>) -> Result<Vec<QueuedJob>, QueueError> {
        push::push(&self.shared, jobs).await
    }

    async fn pop(&self, request: PopRequest) -> Result<Vec<LeasedJob>, QueueError> {
        take::pop(&self.shared, request).await
    }

    async fn renew(&self, worker: &str, keys: &[JobKey], lease: Duration) -> Result<Vec<Renewal>, QueueError> {
        let core = self.core();
        let mut renewals = vec![Renewal::Lost; keys.len()];
        let places = self.places(keys).await?;
        let calls = places.into_iter().map(|(group, numbers)| async move {
            let held: Vec<(JobKey, Option<Held>)> = {
                let known = core.jobs.held.lock();
                let of = |at: &usize| (keys[*at], known.get(&keys[*at]).filter(|held| held.worker == worker).cloned());
                numbers.iter().map(of).collect()
            };
            let (born, answer) = renew(core, &group, worker, &held, lease).await?;
            Ok::<_, QueueError>((numbers, born, answer))
        });
        for (numbers, born, answer) in futures::future::try_join_all(calls).await? {
            for (at, renewal) in numbers.into_iter().zip(answer) {
                if renewal != Renewal::Lost {
                    renewals[at] = renewal;
                    upkeep::renewed(core, worker, keys[at], &born, lease);
                }
            }
        }
        let lost = keys.iter().zip(&renewals).filter(|(_, renewal)| **renewal == Renewal::Lost);
        core.jobs.forget(worker, lost.map(|(key, _)| *key));
        Ok(renewals)
    }

    async fn release(&self, worker: &str, jobs: Vec<QueuedJob>) -> Result<(), QueueError> {
        let mut groups: BTreeMap<Group, Vec<(JobKey, Vec<u8>, QueuedJob)>> = BTreeMap::new();
        for job in jobs {
            let body = wire::encode(&WireJob::from(&job)).map_err(|error| {
                QueueError::Unavailable(format!("job {} cannot be given back: {error}", job.job.task_run))
            })?;
            groups.entry(job.group().into()).or_default().push((job.key(), body, job));
        }
        for (group, jobs) in groups {
            let back = jobs.iter().map(|(key, body, job)| Released {
                key: *key,
                shard: job.shard,
                tenant: &job.tenant,
                execution: job.execution,
                body,
            });
            release(self.core(), &group, worker, back.collect()).await?;
        }
        Ok(())
    }

    async fn complete(&self, worker: &str, key: JobKey) -> Result<bool, QueueError> {
        let core = self.core();
        for (group, _) in self.places(&[key]).await? {
            match complete(core, &group, worker, &[key]).await {
                Ok(answer) if answer.contains(&true) => return Ok(true),
                Ok(_) => {}
                Err(error) => {
                    // Told again when Redis is back: until then it is only a lease that nobody renews.
                    if let Some(held) = core.jobs.held.lock().get_mut(&key).filter(|held| held.worker == worker) {
                        held.completed = true;
                    }
                    return Err(error);
                }
            }
        }
        Ok(false)
    }

    async fn cancel(&self, keys: &[JobKey]) -> Result<Vec<Cancelled>, QueueError> {
        let core = self.core();
        let mut cancelled = vec![Cancelled::Unknown; keys.len()];
        if keys.is_empty() {
            return Ok(cancelled);
        }
        let calls = upkeep::known_groups(core).await?.into_iter().map(|group| async move {
            let mut arguments = arguments(core).arg(group.as_ref()).arg(core.keys.kill_channels());
            arguments.push(core.keys.drained_channel());
            for key in keys {
                arguments.push(key.task_run.to_string());
                arguments.push(key.dispatch);
            }
            call::<Vec<u8>>(core, &CANCEL, &group, arguments).await
        });
        for answer in futures::future::try_join_all(calls).await? {
            for (cancelled, outcome) in cancelled.iter_mut().zip(answer) {
                match outcome {
                    1 => *cancelled = Cancelled::Removed,
                    2 => *cancelled = Cancelled::Told,
                    _ => {}
                }
            }
        }
        Ok(cancelled)
    }

    async fn expired(&self, shards: &[u16]) -> Result<Vec<ExpiredLease>, QueueError> {
        let core = self.core();
        if shards.is_empty() {
            return Ok(Vec::new());
        }
        let calls = core.jobs.groups().into_iter().map(|group| async move {
            let mut arguments = arguments(core).arg(EXPIRED_AT_ONCE);
            shards.iter().for_each(|shard| arguments.push(*shard));
            call::<Vec<Expired>>(core, &EXPIRED, &group, arguments).await
        });
        let mut expired = Vec::new();
        for answer in futures::future::try_join_all(calls).await? {
            for (task_run, dispatch, shard, tenant, execution, worker, given_up) in answer {
                let (Ok(task_run), Ok(execution)) = (task_run.parse(), execution.parse()) else { continue };
                let key = JobKey { task_run, dispatch };
                let (tenant, given_up) = (Tenant::trusted(&tenant), given_up == 1);
                expired.push(ExpiredLease { tenant, shard, execution, key, worker, given_up });
            }
        }
        expired.sort_by_key(|lease| (lease.shard, lease.key));
        Ok(expired)
    }

    async fn held(&self, keys: &[JobKey]) -> Result<Vec<bool>, QueueError> {
        let core = self.core();
        let mut held = vec![false; keys.len()];
        let calls = upkeep::known_groups(core).await?.into_iter().map(|group| async move {
            let mut arguments = arguments(core);
            for key in keys {
                arguments.push(key.task_run.to_string());
                arguments.push(key.dispatch);
            }
            call::<Vec<u8>>(core, &HELD, &group, arguments).await
        });
        for answer in futures::future::try_join_all(calls).await? {
            held.iter_mut().zip(answer).for_each(|(held, here)| *held |= here == 1);
        }
        Ok(held)
    }

    async fn kill_hints(&self, worker: &str) -> Result<KillHints, QueueError> {
        let core = self.core();
        let (sender, receiver) = mpsc::unbounded_channel();
        let told = move |message: &[u8]| {
            let text = String::from_utf8_lossy(message);
            // The task run has 22 characters.
            let Some((task_run, dispatch)) = text.split_at_checked(22) else { return };
            if let (Ok(task_run), Ok(dispatch)) = (task_run.parse(), dispatch.parse()) {
                // A worker that went away needs no hints.
                let _ = sender.send(JobKey { task_run, dispatch });
            }
        };
        core.bus.subscribe(core.keys.kill_channel(worker), Arc::new(told)).await?;
        Ok(receiver)
    }

    async fn room(&self, tenant: &Tenant, group: &str) -> Result<usize, QueueError> {
        let waiting = upkeep::waiting(self.core(), tenant, group).await?;
        Ok(self.core().config.window.saturating_sub(waiting))
    }

    async fn drained(&self) -> Vec<(Tenant, Group)> {
        let state = &self.core().jobs;
        loop {
            let drained = std::mem::take(&mut *state.drained.lock());
            if !drained.is_empty() {
                return drained;
            }
            tokio::select! {
                () = state.drained_now.notified() => {}
                // Messages may be lost.
                () = tokio::time::sleep(LOOK) => upkeep::look_at_thirsty(self.core()).await,
            }
        }
    }

    async fn set_weight(&self, tenant: &Tenant, weight: u32) -> Result<(), QueueError> {
        let core = self.core();
        core.jobs.weights.lock().insert(tenant.clone(), weight.max(1));
        upkeep::write_weights(core, &[(tenant.clone(), weight.max(1))]).await
    }

    async fn depths(&self) -> Result<Vec<GroupDepth>, QueueError> {
        let core = self.core();
        let calls = upkeep::known_groups(core).await?.into_iter().map(|group| async move {
            let answer: Vec<(String, usize, usize)> = call(core, &DEPTHS, &group, arguments(core)).await?;
            Ok::<_, QueueError>((group, answer))
        });
        let mut depths = Vec::new();
        for (group, answer) in futures::future::try_join_all(calls).await? {
            depths.extend(answer.into_iter().map(|(tenant, waiting, leased)| GroupDepth {
                group: group.clone(),
                tenant: Tenant::trusted(&tenant),
                waiting,
                leased,
            }));
        }
        depths.sort_by(|a, b| (&a.group, &a.tenant).cmp(&(&b.group, &b.tenant)));
        Ok(depths)
    }
}

/// Renews leases of one group; answers the group's marker and what became of each.
async fn renew(
    core: &Core,
    group: &str,
    worker: &str,
    keys: &[(JobKey, Option<Held>)],
    lease: Duration,
) -> Result<(String, Vec<Renewal>), QueueError> {
    let mut arguments = arguments(core).arg(worker).arg(millis(lease));
    for (key, held) in keys {
        arguments.push(key.task_run.to_string());
        arguments.push(key.dispatch);
        match held {
            Some(held) => {
                arguments.push(held.born.as_ref());
                arguments.push(held.shard);
                arguments.push(held.tenant.as_str());
                arguments.push(held.execution.to_string());
            }
            None => (0..4).for_each(|_| arguments.push("")),
        }
    }
    let answer: Vec<redis::Value> = call(core, &RENEW, group, arguments).await?;
    let mut answer = answer.into_iter();
    let born = answer.next().and_then(|born| redis::from_redis_value(born).ok()).unwrap_or_default();
    let renewals = answer.map(|held| match redis::from_redis_value::<u8>(held) {
        Ok(1) => Renewal::Held { kill: false },
        Ok(2) => Renewal::Held { kill: true },
        _ => Renewal::Lost,
    });
    Ok((born, renewals.collect()))
}

/// A job that goes back.
struct Released<'a> {
    key: JobKey,
    shard: u16,
    tenant: &'a Tenant,
    execution: Id,
    body: &'a [u8],
}

/// Gives back jobs of one group, the first of them to the front.
async fn release(core: &Core, group: &str, worker: &str, jobs: Vec<Released<'_>>) -> Result<(), QueueError> {
    let mut arguments = arguments(core).arg(group).arg(worker).arg(core.keys.process_channels());
    for job in jobs.iter().rev() {
        let born = {
            let held = core.jobs.held.lock();
            held.get(&job.key).filter(|held| held.worker == worker).map(|held| Arc::clone(&held.born))
        };
        arguments.push(job.key.task_run.to_string());
        arguments.push(job.key.dispatch);
        arguments.push(born.as_deref().unwrap_or(""));
        arguments.push(job.shard);
        arguments.push(job.tenant.as_str());
        arguments.push(job.execution.to_string());
        arguments.push_bytes(job.body.to_vec());
    }
    call::<()>(core, &RELEASE, group, arguments).await?;
    core.jobs.forget(worker, jobs.iter().map(|job| job.key));
    Ok(())
}

/// Ends leases of one group; tells for each whether `worker` still held it.
async fn complete(core: &Core, group: &str, worker: &str, keys: &[JobKey]) -> Result<Vec<bool>, QueueError> {
    let mut arguments = arguments(core).arg(worker);
    for key in keys {
        arguments.push(key.task_run.to_string());
        arguments.push(key.dispatch);
    }
    let answer: Vec<bool> = call(core, &COMPLETE, group, arguments).await?;
    core.jobs.forget(worker, keys.iter().copied());
    Ok(answer)
}

/// When a lease that begins now ends.
fn until(lease: Duration) -> Instant {
    Instant::now() + Duration::from_millis(millis(lease))
}

impl fmt::Debug for RedisJobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisJobs").field("process", &self.core().process).finish_non_exhaustive()
    }
}
