//! Jobs that cannot reach a worker: the queue itself reports them as failed to their owner.

use std::{sync::Arc, time::Duration};

use windhover_engine::JobResult;
use windhover_types::{State, Timestamp};

use super::super::{Core, RedisWakeups, Shared, random_id, wire::WireJob};
use crate::{Acknowledge, Report, ReportKind, Wake, Wakeups};

/// How often it is tried to tell the owner. Then the job's deadline passes, and its owner sends it again.
const ATTEMPTS: u32 = 20;

/// Between two attempts.
const RETRY: Duration = Duration::from_millis(500);

/// Tells the owner that the attempt failed, and why; returns at once.
pub(super) fn report(shared: &Arc<Shared>, job: &WireJob<'_>, worker: &str, reason: String) {
    tracing::error!(tenant = %job.tenant, execution = %job.execution, %reason, "a job cannot be handed to a worker; its attempt fails");
    // The time of this process, as of a worker.
    let at: Timestamp = random_id().time();
    let holder = (!worker.is_empty()).then(|| worker.to_owned());
    let logs = vec![job.line(at, reason.clone())];
    let result = JobResult { worker: holder, error: Some(reason), logs, ..JobResult::bare(at, State::Failed) };
    let report = Report {
        tenant: job.tenant.clone().into_owned(),
        shard: job.shard,
        execution: job.execution,
        key: job.key(),
        worker: worker.to_owned(),
        kind: ReportKind::Ended { result: Box::new(result) },
    };
    tokio::spawn(send(Arc::clone(shared), report));
}

async fn send(shared: Arc<Shared>, report: Report) {
    let wakeups = RedisWakeups::new(Arc::clone(&shared));
    for _ in 0..ATTEMPTS {
        let (acknowledge, acknowledged) = Acknowledge::pair();
        let wake = Wake::Report { report: report.clone(), acknowledge };
        if wakeups.send(vec![wake]).await.is_ok() && acknowledged.await.is_ok() {
            end_lease(&shared.core, &report).await;
            return;
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn end_lease(core: &Core, report: &Report) {
    let group = core.jobs.held.lock().get(&report.key).map(|held| held.group.clone());
    if let Some(group) = group
        && let Err(error) = super::complete(core, &group, &report.worker, &[report.key]).await
    {
        tracing::debug!(%error, "a lease could not be ended; it runs out by itself");
    }
}
