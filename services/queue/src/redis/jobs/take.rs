//! Taking jobs, without losing any on the way.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use redis::Value;
use tokio::time::{Instant, timeout_at};
use windhover_flow::Flow;
use windhover_types::Tenant;

use super::{
    super::{
        Core, Shared,
        wire::{self, WireJob},
    },
    Released, failed, release,
    scripts::{ORPHANS, POP, arguments, call, millis},
    state::{Held, Hungry},
    until,
};
use crate::{Group, LeasedJob, PopRequest, QueueError};

/// How often a waiting call looks by itself: messages may be lost.
const LOOK: Duration = Duration::from_secs(2);

/// How long a job is held whose flow cannot be found just now, before it goes back.
const PAUSE: Duration = Duration::from_secs(1);

/// Waits for a first job.
pub(super) async fn pop(shared: &Arc<Shared>, request: PopRequest) -> Result<Vec<LeasedJob>, QueueError> {
    if request.max == 0 || request.groups.is_empty() {
        return Ok(Vec::new());
    }
    let state = &shared.core.jobs;
    let now = Instant::now();
    let give_up = now + Duration::from_millis(millis(request.wait));
    let request = Arc::new(request);
    let _hungry = (!request.wait.is_zero()).then(|| Hungry::new(state, &request.groups));
    loop {
        let ready = state.ready.notified();
        tokio::pin!(ready);
        // Registered before looking: a push in between is not missed.
        ready.as_mut().enable();
        let taken = take_safely(shared, &request).await?;
        if !taken.is_empty() || Instant::now() >= give_up {
            return Ok(taken);
        }
        // An answer or the end of the time: both mean to look again, or to give up.
        let _ = timeout_at(give_up.min(Instant::now() + LOOK), ready).await;
        if Instant::now() >= give_up {
            return Ok(Vec::new());
        }
    }
}

/// Jobs on their way to whoever asked. If that goes away, they go back.
struct OnTheWay {
    shared: Arc<Shared>,
    worker: String,
    jobs: Vec<LeasedJob>,
}

impl Drop for OnTheWay {
    fn drop(&mut self) {
        if self.jobs.is_empty() {
            return;
        }
        let jobs = std::mem::take(&mut self.jobs).into_iter().map(|leased| leased.job).collect();
        let queue = super::RedisJobs::new(Arc::clone(&self.shared));
        let worker = std::mem::take(&mut self.worker);
        tokio::spawn(async move {
            if let Err(error) = crate::JobQueue::release(&queue, &worker, jobs).await {
                tracing::warn!(%error, "jobs that nobody waits for any more could not be given back; their leases run out");
            }
        });
    }
}

/// The call goes on when its caller does not: its answer must not be lost.
async fn take_safely(shared: &Arc<Shared>, request: &Arc<PopRequest>) -> Result<Vec<LeasedJob>, QueueError> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let (shared, request) = (Arc::clone(shared), Arc::clone(request));
    tokio::spawn(async move {
        let taken = take(&shared, &request).await;
        let worker = request.worker.clone();
        let taken = taken.map(|jobs| OnTheWay { shared, worker, jobs });
        // Not received: dropped, and thereby given back.
        drop(sender.send(taken));
    });
    let mut taken = receiver.await.unwrap_or(Err(QueueError::Closed))?;
    Ok(std::mem::take(&mut taken.jobs))
}

/// One job of each group in turn, so that a full group does not hide another: first an equal share of each, then what
/// is left from those that may have more.
async fn take(shared: &Arc<Shared>, request: &PopRequest) -> Result<Vec<LeasedJob>, QueueError> {
    let core = &shared.core;
    let calls = core.jobs.calls_of(&request.worker);
    let _one_at_a_time = calls.lock().await;
    let count = request.groups.len();
    let first = core.jobs.turn.fetch_add(1, Ordering::Relaxed) % count;
    let mut groups: Vec<&Group> = request.groups.iter().collect();
    groups.rotate_left(first);

    let shares = groups.iter().enumerate().map(|(at, group)| {
        let share = request.max / count + usize::from(at < request.max % count);
        (*group, share)
    });
    let equal = shares.clone().filter(|(_, share)| *share > 0).map(|(group, share)| async move {
        Ok::<_, QueueError>((group, take_from(core, request, group, share).await?))
    });
    let mut bodies: Vec<Body> = Vec::new();
    let mut taken: HashMap<&Group, usize> = HashMap::new();
    let mut problem = None;
    for result in futures::future::join_all(equal).await {
        match result {
            Ok((group, jobs)) => {
                taken.insert(group, jobs.len());
                bodies.extend(jobs);
            }
            Err(error) => problem = Some(error),
        }
    }
    for (group, share) in shares {
        let left = request.max.saturating_sub(bodies.len());
        if left == 0 || problem.is_some() || taken.get(group).is_some_and(|count| *count < share) {
            continue;
        }
        if count > 1 {
            match take_from(core, request, group, left).await {
                Ok(jobs) => bodies.extend(jobs),
                Err(error) => problem = Some(error),
            }
        }
    }
    match problem {
        Some(error) if bodies.is_empty() => Err(error),
        _ => Ok(resolve(shared, request, bodies).await),
    }
}

/// A job as it came, and its lease.
struct Body {
    group: Group,
    bytes: Vec<u8>,
    job: WireJob<'static>,
    kill: bool,
}

async fn take_from(core: &Core, request: &PopRequest, group: &Group, max: usize) -> Result<Vec<Body>, QueueError> {
    let place = (request.worker.clone(), group.clone());
    let doubtful = core.jobs.doubtful.lock().contains(&place);
    if doubtful {
        give_back_orphans(core, request, group).await?;
        core.jobs.doubtful.lock().remove(&place);
    }
    let idle = if request.wait.is_zero() { "" } else { core.process.as_ref() };
    let arguments = arguments(core)
        .arg(group.as_ref())
        .arg(&request.worker)
        .arg(max)
        .arg(millis(request.lease))
        .arg(idle)
        .arg(core.keys.drained_channel());
    let answer: Result<VecDeque<Value>, QueueError> =
        call::<Vec<Value>>(core, &POP, group, arguments).await.map(VecDeque::from);
    if answer.is_err() {
        // Perhaps it was done all the same.
        core.jobs.doubtful.lock().insert(place);
    }
    let mut answer = answer?;
    let born: Arc<str> =
        answer.pop_front().and_then(|born| redis::from_redis_value::<String>(born).ok()).unwrap_or_default().into();
    let mut bodies = Vec::with_capacity(answer.len() / 3);
    while let (Some(id), Some(body), Some(kill)) = (answer.pop_front(), answer.pop_front(), answer.pop_front()) {
        let Value::BulkString(bytes) = body else { continue };
        match wire::decode::<WireJob<'static>>(&bytes) {
            Ok(job) => {
                let kill = matches!(kill, Value::Int(kill) if kill != 0);
                bodies.push(Body { group: group.clone(), bytes, job, kill });
            }
            Err(error) => {
                let task_run: String = redis::from_redis_value(id).unwrap_or_default();
                tracing::error!(%error, task_run, "a job cannot be read; its owner finds it lost when its lease has run out");
            }
        }
    }
    let lease = |body: &Body| Held {
        group: group.clone(),
        tenant: body.job.tenant.clone().into_owned(),
        shard: body.job.shard,
        execution: body.job.execution,
        worker: request.worker.clone(),
        born: Arc::clone(&born),
        lease: request.lease,
        until: until(request.lease),
        completed: false,
    };
    core.jobs.held.lock().extend(bodies.iter().map(|body| (body.job.key(), lease(body))));
    Ok(bodies)
}

/// What an earlier call took without its answer coming back.
async fn give_back_orphans(core: &Core, request: &PopRequest, group: &Group) -> Result<(), QueueError> {
    let mut arguments = arguments(core).arg(group.as_ref()).arg(&request.worker).arg(core.keys.process_channels());
    {
        let held = core.jobs.held.lock();
        for (key, _) in held.iter().filter(|(_, held)| held.worker == request.worker && held.group == *group) {
            arguments.push(key.task_run.to_string());
        }
    }
    let count: usize = call(core, &ORPHANS, group, arguments).await?;
    if count > 0 {
        tracing::info!(count, worker = %request.worker, "jobs that were taken while Redis went away wait again");
    }
    Ok(())
}

type FlowKey = (Tenant, String, String, u32);

/// Finds the jobs' flows. A job without one is reported to its owner; one whose flow cannot be found just now goes back.
async fn resolve(shared: &Arc<Shared>, request: &PopRequest, bodies: Vec<Body>) -> Vec<LeasedJob> {
    let mut flows: HashMap<FlowKey, Result<Option<Arc<Flow>>, String>> = HashMap::new();
    let mut leased = Vec::with_capacity(bodies.len());
    for body in bodies {
        let job = &body.job;
        let key = (job.tenant.clone().into_owned(), job.namespace.to_string(), job.flow.to_string(), job.revision);
        let flow = match flows.get(&key) {
            Some(flow) => flow.clone(),
            None => {
                let flow = shared.core.resolver.flow(&key.0, &key.1, &key.2, key.3).await;
                flows.insert(key, flow.clone());
                flow
            }
        };
        match flow {
            Ok(Some(flow)) => leased.push(LeasedJob { kill: body.kill, job: body.job.with(flow) }),
            Ok(None) => {
                let reason =
                    format!("revision {} of flow {}.{} is not there any more", job.revision, job.namespace, job.flow);
                failed::report(shared, job, &request.worker, reason);
            }
            Err(error) => {
                tracing::warn!(%error, tenant = %job.tenant, execution = %job.execution, "the flow of a job cannot be found; the job goes back");
                give_back_later(shared, request.worker.clone(), body);
            }
        }
    }
    leased
}

fn give_back_later(shared: &Arc<Shared>, worker: String, body: Body) {
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        // Not at once: the same worker would take it again in the same moment.
        tokio::time::sleep(PAUSE).await;
        let Body { group, bytes, job, .. } = body;
        let back =
            Released { key: job.key(), shard: job.shard, tenant: &job.tenant, execution: job.execution, body: &bytes };
        if let Err(error) = release(&shared.core, &group, &worker, vec![back]).await {
            tracing::warn!(%error, "a job could not be given back; its lease runs out");
        }
    });
}
