//! Putting jobs into their groups.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    super::{
        Shared,
        wire::{self, WireJob},
    },
    failed,
    scripts::{PUSH, arguments, call},
    upkeep,
};
use crate::{Group, QueueError, QueuedJob};

/// Jobs and bytes that one call carries: the server does nothing else meanwhile.
const JOBS: usize = 256;
const BYTES: usize = 1 << 20;

/// Answers those that found no room.
pub(super) async fn push(shared: &Arc<Shared>, jobs: Vec<QueuedJob>) -> Result<Vec<QueuedJob>, QueueError> {
    let core = &shared.core;
    let limit = core.config.max_job_bytes;
    let mut groups: BTreeMap<Group, Vec<(QueuedJob, Vec<u8>)>> = BTreeMap::new();
    for job in jobs {
        match wire::encode(&WireJob::from(&job)) {
            Ok(body) if body.len() <= limit => groups.entry(job.group().into()).or_default().push((job, body)),
            Ok(body) => {
                let reason = format!(
                    "the job has {} bytes; at most {limit} can be sent to a worker (windhover.queue.max-job-bytes)",
                    body.len()
                );
                failed::report(shared, &WireJob::from(&job), "", reason);
            }
            Err(error) => failed::report(shared, &WireJob::from(&job), "", format!("the job cannot be sent: {error}")),
        }
    }
    let mut refused = Vec::new();
    for (group, jobs) in groups {
        upkeep::register_group(core, &group).await?;
        let mut chunk = Vec::new();
        let mut bytes = 0;
        for (job, body) in jobs {
            if chunk.len() >= JOBS || bytes > 0 && bytes + body.len() > BYTES {
                refused.extend(push_some(shared, &group, std::mem::take(&mut chunk)).await?);
                bytes = 0;
            }
            bytes += body.len();
            chunk.push((job, body));
        }
        refused.extend(push_some(shared, &group, chunk).await?);
    }
    Ok(refused)
}

async fn push_some(
    shared: &Shared,
    group: &Group,
    jobs: Vec<(QueuedJob, Vec<u8>)>,
) -> Result<Vec<QueuedJob>, QueueError> {
    let core = &shared.core;
    let mut arguments = arguments(core).arg(group.as_ref()).arg(core.config.window).arg(core.keys.process_channels());
    let mut kept = Vec::with_capacity(jobs.len());
    for (job, body) in jobs {
        arguments.push(job.job.task_run.to_string());
        arguments.push(job.job.dispatch);
        arguments.push(job.shard);
        arguments.push(job.tenant.as_str());
        arguments.push(job.execution.to_string());
        arguments.push_bytes(body);
        kept.push(Some(job));
    }
    let numbers: Vec<usize> = call(core, &PUSH, group, arguments).await?;
    let refused: Vec<QueuedJob> =
        numbers.into_iter().filter_map(|number| kept.get_mut(number).and_then(Option::take)).collect();
    if !refused.is_empty() {
        let mut thirsty = core.jobs.thirsty.lock();
        thirsty.extend(refused.iter().map(|job| (job.tenant.clone(), group.clone())));
    }
    Ok(refused)
}
