//! Eager dispatch: jobs go in memory to workers of this process that wait for some, and over Redis otherwise.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};
use windhover_types::Tenant;

use crate::{
    Cancelled, ExpiredLease, Group, GroupDepth, InProcessJobs, JobKey, JobQueue, KillHints, LeasedJob, PopRequest,
    QueueError, QueuedJob, RedisJobs, Renewal,
};

/// After an error of Redis, while jobs of this process can still be taken.
const RETRY: Duration = Duration::from_millis(500);

/// A queue in memory in front of another.
///
/// Always true: a job waits in memory only while a worker of this process waits for jobs of its group and has a free
/// slot for it; what is left when that goes away moves to Redis.
#[derive(Clone)]
pub struct TieredJobs {
    local: Arc<InProcessJobs>,
    remote: RedisJobs,
    /// Free slots of workers that wait.
    free: Arc<Mutex<HashMap<Group, usize>>>,
}

impl TieredJobs {
    pub fn new(local: InProcessJobs, remote: RedisJobs) -> Self {
        Self { local: Arc::new(local), remote, free: Arc::default() }
    }

    /// The queue that all processes share.
    pub fn remote(&self) -> &RedisJobs {
        &self.remote
    }

    /// Slots of workers of this process that wait for jobs of a group (the first that they serve).
    pub fn free_slots(&self, group: &str) -> usize {
        self.free.lock().get(group).copied().unwrap_or(0)
    }

    /// Divides jobs: those for which a slot is free here, and the others.
    fn divide(&self, jobs: Vec<QueuedJob>) -> (Vec<QueuedJob>, Vec<QueuedJob>) {
        let mut free = self.free.lock();
        jobs.into_iter().partition(|job| match free.get_mut(job.group()) {
            Some(slots) if *slots > 0 => {
                *slots -= 1;
                true
            }
            _ => false,
        })
    }

    fn divide_keys(&self, keys: &[JobKey]) -> (Vec<usize>, Vec<usize>) {
        (0..keys.len()).partition(|at| self.local.holds(keys[*at]))
    }

    /// What there is room for beside `taken`, from Redis; without waiting.
    async fn fill(&self, mut taken: Vec<LeasedJob>, request: &PopRequest) -> Result<Vec<LeasedJob>, QueueError> {
        let max = request.max.saturating_sub(taken.len());
        match self.remote.pop(PopRequest { max, ..request.clone() }).await {
            Ok(jobs) => taken.extend(jobs),
            Err(error) if taken.is_empty() => return Err(error),
            Err(error) => tracing::debug!(%error, "what waits in Redis is taken later"),
        }
        Ok(taken)
    }

    /// Shows leases of this process to all: their shards may come to be owned by another process, which must find that
    /// they are held, and reach their holder. Only what runs for long is renewed; the rest is over before.
    async fn show(&self, worker: &str, keys: &[JobKey], renewals: &mut [Renewal], lease: Duration) {
        let mut places = Vec::new();
        let mut leases = Vec::new();
        for (at, key) in keys.iter().enumerate() {
            if let Some(about) = self.local.leased_to(worker, *key) {
                places.push(at);
                leases.push((*key, about));
            }
        }
        if leases.is_empty() {
            return;
        }
        match self.remote.adopt(worker, &leases, lease).await {
            Ok(shown) => {
                for (at, shown) in places.into_iter().zip(shown) {
                    match shown {
                        // Its new owner has given it up, or wants it to stop.
                        Renewal::Lost | Renewal::Held { kill: true } => renewals[at] = shown,
                        Renewal::Held { kill: false } => {}
                    }
                    if shown == Renewal::Lost
                        && let Err(error) = self.local.complete(worker, keys[at]).await
                    {
                        tracing::debug!(%error, "a lease that is lost runs out");
                    }
                }
            }
            Err(error) => tracing::debug!(%error, "leases are shown to others later"),
        }
    }

    /// Ends what was shown.
    async fn hide(&self, worker: &str, key: JobKey) {
        if self.remote.knows(key)
            && let Err(error) = self.remote.complete(worker, key).await
        {
            tracing::debug!(%error, "a lease that is over is ended later");
        }
    }

    /// What waits here although nobody waits for it goes to all.
    async fn spill(&self, groups: &[Group]) {
        for group in groups {
            if self.free.lock().contains_key(group) {
                continue;
            }
            let left = self.local.take_waiting(group);
            if left.is_empty() {
                continue;
            }
            let kept = left.clone();
            let back = match self.remote.push(left).await {
                Ok(refused) => refused,
                Err(_) => kept,
            };
            // Until somebody here takes it, or it can be sent.
            if let Err(error) = self.local.push(back).await {
                tracing::warn!(%error, "jobs are lost here; their owner finds them missing at their deadline");
            }
        }
    }
}

/// A worker's free slots, as long as it waits.
struct Waiting<'a> {
    jobs: &'a TieredJobs,
    groups: &'a [Group],
    slots: usize,
}

impl<'a> Waiting<'a> {
    fn new(jobs: &'a TieredJobs, groups: &'a [Group], slots: usize) -> Self {
        let mut free = jobs.free.lock();
        // Counted once: a slot that serves several groups is promised to the first.
        if let Some(group) = groups.first() {
            *free.entry(group.clone()).or_default() += slots;
        }
        drop(free);
        Self { jobs, groups, slots }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut free = self.jobs.free.lock();
        if let Some(group) = self.groups.first()
            && let Some(slots) = free.get_mut(group)
        {
            *slots = slots.saturating_sub(self.slots);
            if *slots == 0 {
                free.remove(group);
            }
        }
    }
}

#[async_trait]
impl JobQueue for TieredJobs {
    async fn push(&self, jobs: Vec<QueuedJob>) -> Result<Vec<QueuedJob>, QueueError> {
        let (here, elsewhere) = self.divide(jobs);
        let eager = !here.is_empty();
        let mut others = self.local.push(here).await?;
        others.extend(elsewhere);
        if others.is_empty() {
            return Ok(others);
        }
        let kept = if eager { others.clone() } else { Vec::new() };
        match self.remote.push(others).await {
            // Some were taken: only the others are to be sent again.
            Err(error) if eager => {
                tracing::debug!(%error, "jobs that no worker of this process can take wait");
                Ok(kept)
            }
            result => result,
        }
    }

    async fn pop(&self, request: PopRequest) -> Result<Vec<LeasedJob>, QueueError> {
        if request.max == 0 || request.groups.is_empty() {
            return Ok(Vec::new());
        }
        let at_once = PopRequest { wait: Duration::ZERO, ..request.clone() };
        let mut taken = self.local.pop(at_once.clone()).await?;
        if request.wait.is_zero() {
            return self.fill(taken, &at_once).await;
        }
        if !taken.is_empty() {
            return Ok(taken);
        }
        let give_up = Instant::now() + request.wait.min(Duration::from_secs(86_400));
        let waiting = Waiting::new(self, &request.groups, request.max);
        let mut problem = None;
        while taken.is_empty() {
            let left = give_up.saturating_duration_since(Instant::now());
            let one = PopRequest { wait: left, ..request.clone() };
            taken = tokio::select! {
                here = self.local.pop(one.clone()) => here?,
                there = self.remote.pop(one.clone()) => match there {
                    Ok(jobs) => {
                        problem = None;
                        jobs
                    }
                    Err(error) => {
                        // Workers of this process go on with what is here.
                        problem = Some(error);
                        let pause = Instant::now() + RETRY;
                        let here = PopRequest { wait: left.min(RETRY), ..one };
                        timeout_at(pause.min(give_up), self.local.pop(here)).await.unwrap_or(Ok(Vec::new()))?
                    }
                },
            };
            if Instant::now() >= give_up {
                break;
            }
        }
        drop(waiting);
        // Jobs that were promised a slot while others filled it.
        let left = request.max.saturating_sub(taken.len());
        if left > 0 {
            taken.extend(self.local.pop(PopRequest { max: left, ..at_once }).await?);
        }
        self.spill(&request.groups).await;
        match problem {
            Some(error) if taken.is_empty() => Err(error),
            _ => Ok(taken),
        }
    }

    async fn renew(&self, worker: &str, keys: &[JobKey], lease: Duration) -> Result<Vec<Renewal>, QueueError> {
        let (here, there) = self.divide_keys(keys);
        let mut renewals = vec![Renewal::Lost; keys.len()];
        let of = |numbers: &[usize]| numbers.iter().map(|at| keys[*at]).collect::<Vec<JobKey>>();
        for (at, renewal) in here.iter().zip(self.local.renew(worker, &of(&here), lease).await?) {
            renewals[*at] = renewal;
        }
        self.show(worker, keys, &mut renewals, lease).await;
        if !there.is_empty() {
            for (at, renewal) in there.iter().zip(self.remote.renew(worker, &of(&there), lease).await?) {
                renewals[*at] = renewal;
            }
        }
        Ok(renewals)
    }

    async fn release(&self, worker: &str, jobs: Vec<QueuedJob>) -> Result<(), QueueError> {
        let (here, there): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|job| self.local.holds(job.key()));
        let mut groups: Vec<Group> = here.iter().map(|job| job.group().into()).collect();
        groups.dedup();
        for job in &here {
            self.hide(worker, job.key()).await;
        }
        self.local.release(worker, here).await?;
        // A worker that gives back stops, or has no slot: others may have one.
        self.spill(&groups).await;
        if there.is_empty() { Ok(()) } else { self.remote.release(worker, there).await }
    }

    async fn complete(&self, worker: &str, key: JobKey) -> Result<bool, QueueError> {
        if !self.local.holds(key) {
            return self.remote.complete(worker, key).await;
        }
        let held = self.local.complete(worker, key).await?;
        self.hide(worker, key).await;
        Ok(held)
    }

    async fn cancel(&self, keys: &[JobKey]) -> Result<Vec<Cancelled>, QueueError> {
        let mut cancelled = self.local.cancel(keys).await?;
        let unknown: Vec<usize> = (0..keys.len()).filter(|at| cancelled[*at] == Cancelled::Unknown).collect();
        if !unknown.is_empty() {
            let others: Vec<JobKey> = unknown.iter().map(|at| keys[*at]).collect();
            for (at, outcome) in unknown.into_iter().zip(self.remote.cancel(&others).await?) {
                cancelled[at] = outcome;
            }
        }
        Ok(cancelled)
    }

    async fn expired(&self, shards: &[u16]) -> Result<Vec<ExpiredLease>, QueueError> {
        let mut expired = self.local.expired(shards).await?;
        match self.remote.expired(shards).await {
            Ok(others) => expired.extend(others),
            // Told once: what expired here must not be forgotten with the error.
            Err(error) if expired.is_empty() => return Err(error),
            Err(error) => tracing::debug!(%error, "leases in Redis are looked after later"),
        }
        // A lease that was shown there as well is still one.
        let mut told = HashSet::new();
        expired.retain(|lease| told.insert(lease.key));
        Ok(expired)
    }

    async fn held(&self, keys: &[JobKey]) -> Result<Vec<bool>, QueueError> {
        let (here, there) = self.divide_keys(keys);
        let mut held = vec![false; keys.len()];
        here.into_iter().for_each(|at| held[at] = true);
        if !there.is_empty() {
            let others: Vec<JobKey> = there.iter().map(|at| keys[*at]).collect();
            for (at, is_held) in there.into_iter().zip(self.remote.held(&others).await?) {
                held[at] = is_held;
            }
        }
        Ok(held)
    }

    async fn kill_hints(&self, worker: &str) -> Result<KillHints, QueueError> {
        let mut here = self.local.kill_hints(worker).await?;
        // Without Redis hints still come from here; the wish to kill rides on every renewal.
        let there = self.remote.kill_hints(worker).await;
        let (sender, receiver) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut there = there.ok();
            loop {
                let key = tokio::select! {
                    key = here.recv() => key,
                    key = receive(&mut there) => key,
                    () = sender.closed() => None,
                };
                match key {
                    Some(key) if sender.send(key).is_ok() => {}
                    // One of the two ended: the worker asks again.
                    _ => return,
                }
            }
        });
        Ok(receiver)
    }

    async fn room(&self, tenant: &Tenant, group: &str) -> Result<usize, QueueError> {
        self.remote.room(tenant, group).await
    }

    async fn drained(&self) -> Vec<(Tenant, Group)> {
        tokio::select! {
            here = self.local.drained() => here,
            there = self.remote.drained() => there,
        }
    }

    async fn set_weight(&self, tenant: &Tenant, weight: u32) -> Result<(), QueueError> {
        self.local.set_weight(tenant, weight).await?;
        self.remote.set_weight(tenant, weight).await
    }

    async fn depths(&self) -> Result<Vec<GroupDepth>, QueueError> {
        let mut depths = self.remote.depths().await?;
        let mut known: HashSet<(Group, Tenant)> = HashSet::new();
        let here = self.local.depths().await?;
        for depth in &mut depths {
            known.insert((depth.group.clone(), depth.tenant.clone()));
            if let Some(here) = here.iter().find(|here| here.group == depth.group && here.tenant == depth.tenant) {
                depth.waiting += here.waiting;
                depth.leased += here.leased;
            }
        }
        depths.extend(here.into_iter().filter(|here| !known.contains(&(here.group.clone(), here.tenant.clone()))));
        depths.sort_by(|a, b| (&a.group, &a.tenant).cmp(&(&b.group, &b.tenant)));
        Ok(depths)
    }
}

/// Never ends without a receiver.
async fn receive(hints: &mut Option<KillHints>) -> Option<JobKey> {
    match hints {
        Some(hints) => hints.recv().await,
        None => std::future::pending().await,
    }
}
