//! From what the engine wants to what the store writes and what leaves the process afterwards.

use std::{sync::Arc, time::Duration};

use indexmap::IndexSet;
use windhover_engine::{Effect, Env, Event, LogLine, NewExecution, StepOutput};
use windhover_queue::QueuedJob;
use windhover_store::{InboxMessage, InboxRow, JobKey, JobRow, LogRow, MetricRow, TaskRunRow, TimerKey, TimerRow};
use windhover_types::{Id, State, Timestamp, shard_of};

use crate::{
    batch::{Member, OpenBatch},
    flows::Flows,
    live::Live,
    observe::Observation,
    size, triggers,
};

/// How long a job's holder may be silent before the owner looks after it.
pub(crate) const JOB_LEASE: Duration = Duration::from_secs(60);

/// Outcome of the steps of one execution in one batch.
#[derive(Default)]
pub(crate) struct Collector {
    effects: Vec<Effect>,
    execution_changed: bool,
    task_runs: IndexSet<Id>,
    /// Estimate of what they bring to the database.
    bytes: usize,
}

/// What the batch needs beside the execution itself.
pub(crate) struct Surroundings<'a> {
    pub(crate) flows: &'a Flows,
    pub(crate) env: &'a Env,
    pub(crate) shards: u16,
    pub(crate) now: Timestamp,
}

impl Collector {
    /// `live`: as it is after the step.
    pub(crate) fn add(&mut self, output: StepOutput, live: &Live) {
        let effects = output.effects.iter().map(|effect| match effect {
            Effect::Log(line) => size::of_line(line),
            Effect::NotifyParent { event, .. } => size::of_event(event),
            _ => 0,
        });
        let task_runs = output.changed_task_runs.iter().filter_map(|id| live.run.task_run(*id)).map(size::of_task_run);
        self.bytes += effects.chain(task_runs).sum::<usize>();
        self.effects.extend(output.effects);
        self.execution_changed |= output.execution_changed;
        self.task_runs.extend(output.changed_task_runs);
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn add_lines(&mut self, lines: Vec<LogLine>) {
        self.bytes += lines.iter().map(size::of_line).sum::<usize>();
        self.effects.extend(lines.into_iter().map(Effect::Log));
    }

    /// Writes everything into the open batch; answers the executions that have to be made in the same transaction.
    pub(crate) fn finish(
        self,
        live: &mut Live,
        member: &mut Member,
        open: &mut OpenBatch,
        around: &Surroundings<'_>,
    ) -> Vec<NewExecution> {
        let execution_id = live.run.execution.id;
        open.bytes += self.bytes + size::of_execution(&live.run.execution);
        let mut created = Vec::new();
        let mut states = Vec::new();
        for effect in self.effects {
            self_contained(effect, live, open, around, &mut created, &mut states);
        }
        for to in &states {
            created.extend(triggers::fired(live, *to, around));
        }
        if live.versions.execution == 0 {
            let mut row = live.run.execution.clone();
            row.version = live.versions.next_execution();
            open.batch.new_executions.push(row);
        } else if self.execution_changed {
            let mut row = live.run.execution.clone();
            row.version = live.versions.next_execution();
            open.batch.changed_executions.push(row);
        }
        for id in &self.task_runs {
            let Some(task_run) = live.run.task_run(*id) else { continue };
            let mut run = task_run.clone();
            run.version = live.versions.next_task_run(*id);
            open.batch.task_runs.push(TaskRunRow {
                tenant: live.run.execution.tenant.clone(),
                execution: execution_id,
                run,
            });
        }
        member.feed.namespace.clone_from(&live.run.execution.namespace);
        member.feed.flow_id.clone_from(&live.run.execution.flow_id);
        member.feed.states = states;
        member.feed.task_runs = self.task_runs.into_iter().collect();
        member.feed.next_log = live.next_log;
        created
    }
}

/// One effect: rows of the batch, or what is done after the commit.
fn self_contained(
    effect: Effect,
    live: &mut Live,
    open: &mut OpenBatch,
    around: &Surroundings<'_>,
    created: &mut Vec<NewExecution>,
    states: &mut Vec<State>,
) {
    let execution = live.run.execution.id;
    let tenant = live.run.execution.tenant.clone();
    let shard = live.shard;
    let OpenBatch { batch, after, .. } = open;
    match effect {
        Effect::StartJob(job) => {
            batch.jobs_started.push(JobRow {
                shard,
                tenant: tenant.clone(),
                execution,
                task_run: job.task_run,
                dispatch: job.dispatch,
                worker_group: job.worker_group.clone(),
                deadline: around.now.plus(JOB_LEASE),
                losses: 0,
            });
            if let Ok(flow) = &live.flow.flow {
                let created_at = live.run.task_run(job.task_run).map_or(around.now, |run| run.state.started());
                after.jobs.push(QueuedJob {
                    tenant,
                    shard,
                    execution,
                    flow_revision: live.flow.revision,
                    flow: Arc::clone(flow),
                    job,
                    trigger_state: trigger_state(live),
                    created_at,
                    trace_parent: live.run.execution.trace_parent.clone(),
                });
            }
        }
        Effect::EndJob { task_run, dispatch } => {
            batch.jobs_ended.push(JobKey { tenant, execution, task_run, dispatch });
        }
        Effect::CancelJob { task_run, dispatch } => after.cancels.push((tenant, execution, task_run, dispatch)),
        Effect::SetTimer { timer, at } => {
            let row = TimerRow { shard, tenant, execution, timer, at };
            after.timers.push(row.clone());
            batch.timers_set.push(row);
        }
        Effect::ClearTimer { timer } => batch.timers_cleared.push(TimerKey { tenant, execution, timer }),
        Effect::CreateExecution(new) => created.push(*new),
        Effect::NotifyParent { execution: parent, event } => {
            let id = Id::derived(around.now, &[b"parent", execution.as_bytes(), parent.as_bytes()]);
            send(open, tenant, parent, id, event, around.shards);
        }
        Effect::KillChild { execution: child } => {
            let id = Id::derived(around.now, &[b"kill", execution.as_bytes(), child.as_bytes()]);
            send(open, tenant, child, id, Event::Kill, around.shards);
        }
        Effect::Log(line) => {
            batch.logs.push(LogRow {
                tenant,
                namespace: live.run.execution.namespace.clone(),
                flow_id: live.run.execution.flow_id.clone(),
                execution,
                position: live.next_log,
                line,
            });
            live.next_log += 1;
        }
        Effect::Metric(metric) => {
            after.observations.extend(Observation::metric(live, &metric));
            batch.metrics.push(MetricRow {
                tenant,
                namespace: live.run.execution.namespace.clone(),
                flow_id: live.run.execution.flow_id.clone(),
                execution,
                metric,
            });
        }
        Effect::ExecutionState { from, to } => {
            after.observations.push(Observation::execution(live, from, to));
            states.push(to);
        }
        Effect::TaskRunEnded { task_run } => after.observations.extend(Observation::task_run(live, task_run)),
    }
}

/// An inbox row for another execution, and the wake-up that follows the commit.
fn send(open: &mut OpenBatch, tenant: windhover_types::Tenant, to: Id, id: Id, event: Event, shards: u16) {
    let row = InboxRow {
        id,
        shard: shard_of(&tenant, to, shards),
        tenant,
        execution: to,
        message: InboxMessage::Event { event },
    };
    open.after.inbox.push(row.clone());
    open.batch.inbox_sent.push(row);
}

/// The state that a Flow trigger saw, for notifications that wait until it is stored.
fn trigger_state(live: &Live) -> Option<String> {
    live.run.execution.trigger.as_ref()?.variables.get("state")?.as_str().map(str::to_owned)
}
