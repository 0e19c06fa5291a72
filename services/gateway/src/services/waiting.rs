//! Why task runs do not begin: no worker lives that could take them.

use std::time::Duration;

use windhover_engine::{Execution, TaskRun};
use windhover_executor::now;
use windhover_flow::{Flow, TaskKind};
use windhover_proto::v1 as proto;
use windhover_types::State;

use super::{Shared, cluster::Workers};
use crate::error::Result;

/// Waiting that is no more than the way to a worker.
const USUAL: Duration = Duration::from_secs(1);

impl Shared {
    /// Says of each of these task runs, which are shown in the same order, if no worker can take it.
    pub(super) async fn explain_waiting(
        &self,
        execution: &Execution,
        runs: &[TaskRun],
        shown: &mut [proto::TaskRun],
    ) -> Result<()> {
        let now = now();
        let long = |run: &TaskRun| now.since(run.state.last().at) >= USUAL;
        let waiting: Vec<usize> = (0..runs.len()).filter(|at| is_dispatched(&runs[*at]) && long(&runs[*at])).collect();
        if waiting.is_empty() || execution.is_ended() {
            return Ok(());
        }
        let Execution { tenant, namespace, flow_id, flow_revision, .. } = execution;
        let stored = self.flows.get(tenant, namespace, flow_id, Some(*flow_revision)).await?;
        let Some(Ok(flow)) = stored.as_ref().map(|stored| &stored.flow) else { return Ok(()) };
        let workers = Workers::of(&self.store.instances().await?);
        for at in waiting {
            if let Some(group) = group(flow, &runs[at])
                && workers.count(group) == 0
            {
                shown[at].waiting_for = nobody(group);
            }
        }
        Ok(())
    }
}

/// Its job was handed out, and no worker has begun it.
fn is_dispatched(run: &TaskRun) -> bool {
    run.dispatch > 0 && matches!(run.state.current(), State::Created | State::Submitted)
}

/// The worker group whose workers may take it; `None`: it is no job for a worker.
fn group<'f>(flow: &'f Flow, run: &TaskRun) -> Option<&'f str> {
    let task = &flow.index.get(&run.task_id)?.task;
    let TaskKind::Runnable(_) = &task.kind else { return None };
    Some(task.worker_group.as_ref().map_or("", |group| group.key.as_str()))
}

fn nobody(group: &str) -> String {
    match group {
        "" => "no worker lives that takes jobs without a worker group".to_owned(),
        group => format!("no worker of the group `{group}` lives"),
    }
}
