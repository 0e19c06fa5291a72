//! From what the engine wants to what the store writes and what leaves the process afterwards.

use std::{collections::HashMap, sync::Arc, time::Duration};

use indexmap::IndexSet;
use windhover_engine::{Effect, Env, Event, LogLine, NewExecution, RemovedTaskRun, StepOutput, TaskRun};
use windhover_queue::QueuedJob;
use windhover_store::{
    InboxMessage, InboxRow, JobKey, JobNote, JobRow, LogRow, MetricRow, SlotAsk, TaskRunKey, TaskRunRow, TimerKey,
    TimerRow,
};
use windhover_types::{Id, State, Tenant, Timestamp, shard_of};

use crate::{
    batch::{Member, OpenBatch},
    core::ask_row,
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
    removed: Vec<RemovedTaskRun>,
    /// How many holders of these jobs' attempts were lost before, by task run and dispatch.
    losses: HashMap<(Id, u32), u32>,
    /// What workers have told of attempts that run, by task run and dispatch.
    notes: HashMap<(Id, u32), Note>,
    /// Estimate of what they bring to the database.
    bytes: usize,
}

/// Who runs an attempt, and how many of its lines are stored.
#[derive(Default)]
struct Note {
    worker: Option<String>,
    lines: u32,
}

/// What the batch needs beside the execution itself.
pub(crate) struct Surroundings<'a> {
    pub(crate) flows: &'a Flows,
    pub(crate) env: &'a Env,
    pub(crate) shards: u16,
    pub(crate) now: Timestamp,
}

impl Collector {
    /// `live`: as it is after the step; `losses` of the attempt whose loss was told, if that is what the step was about.
    pub(crate) fn add(&mut self, output: StepOutput, live: &Live, losses: u32) {
        if losses > 0 {
            self.losses.extend(output.effects.iter().filter_map(|effect| match effect {
                Effect::StartJob(job) => Some(((job.task_run, job.dispatch), losses)),
                _ => None,
            }));
        }
        let effects = output.effects.iter().map(|effect| match effect {
            Effect::Log(line) => size::of_line(line),
            Effect::NotifyParent { event, .. } => size::of_event(event),
            _ => 0,
        });
        let task_runs = output.changed_task_runs.iter().filter_map(|id| live.run.task_run(*id)).map(size::of_task_run);
        self.bytes += effects.chain(task_runs).sum::<usize>();
        self.effects.extend(output.effects);
        for removed in &output.removed_task_runs {
            self.task_runs.shift_remove(&removed.id);
        }
        self.removed.extend(output.removed_task_runs);
        self.execution_changed |= output.execution_changed;
        self.task_runs.extend(output.changed_task_runs);
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// This worker has begun the attempt of this dispatch.
    pub(crate) fn note_holder(&mut self, task_run: Id, dispatch: u32, worker: &str) {
        self.notes.entry((task_run, dispatch)).or_default().worker = Some(worker.to_owned());
    }

    /// Lines of the attempt of this dispatch; `taken` of it are stored with them.
    pub(crate) fn add_lines(&mut self, task_run: Id, dispatch: u32, lines: Vec<LogLine>, taken: u32) {
        if lines.is_empty() {
            return;
        }
        self.notes.entry((task_run, dispatch)).or_default().lines = taken;
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
            self_contained(effect, live, open, around, &self.losses, &mut created, &mut states);
        }
        for ((task_run, dispatch), Note { worker, lines }) in self.notes {
            let key = JobKey { tenant: live.run.execution.tenant.clone(), execution: execution_id, task_run, dispatch };
            open.batch.jobs_noted.push(JobNote { key, worker, lines });
        }
        for to in &states {
            created.extend(triggers::fired(live, *to, around, &mut open.batch.window_offers));
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
        for RemovedTaskRun { id, seq } in &self.removed {
            let is_stored = live.versions.task_runs.remove(id).is_some();
            if is_stored {
                let (tenant, seq) = (live.run.execution.tenant.clone(), *seq);
                open.batch.task_runs_removed.push(TaskRunKey { tenant, execution: execution_id, seq });
            }
        }
        member.feed.namespace.clone_from(&live.run.execution.namespace);
        member.feed.flow_id.clone_from(&live.run.execution.flow_id);
        member.feed.states = states;
        // Of those that are gone too, so that followers are told.
        let removed = self.removed.into_iter().map(|removed| removed.id);
        member.feed.task_runs = self.task_runs.into_iter().chain(removed).collect();
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
    losses: &HashMap<(Id, u32), u32>,
    created: &mut Vec<NewExecution>,
    states: &mut Vec<State>,
) {
    let execution = live.run.execution.id;
    let tenant = live.run.execution.tenant.clone();
    let shard = live.shard;
    let OpenBatch { batch, after, .. } = open;
    match effect {
        Effect::StartJob(job) => {
            let losses = losses.get(&(job.task_run, job.dispatch)).copied().unwrap_or(0);
            batch.jobs_started.push(JobRow {
                shard,
                tenant: tenant.clone(),
                execution,
                task_run: job.task_run,
                dispatch: job.dispatch,
                worker_group: job.worker_group.clone(),
                deadline: around.now.plus(JOB_LEASE),
                losses,
                worker: None,
            });
            if let Ok(flow) = &live.flow.flow {
                let created_at = live.run.task_run(job.task_run).map_or(around.now, |run| run.state.started());
                let job = QueuedJob {
                    tenant,
                    shard,
                    execution,
                    flow_revision: live.flow.revision,
                    flow: Arc::clone(flow),
                    job,
                    trigger_state: trigger_state(live),
                    losses,
                    created_at,
                    trace_parent: live.run.execution.trace_parent.clone(),
                };
                after.jobs.push(job);
            }
        }
        Effect::EndJob { task_run, dispatch } => {
            live.lines_taken.remove(&(task_run, dispatch));
            // What is ended in the batch that started it never gets out.
            let is_it = |job: &JobRow| job.task_run == task_run && job.dispatch == dispatch;
            if take_back(&mut batch.jobs_started, |job| job.execution == execution, is_it) {
                after.jobs.retain(|job| job.job.task_run != task_run || job.job.dispatch != dispatch);
            }
            batch.jobs_ended.push(JobKey { tenant, execution, task_run, dispatch });
        }
        Effect::CancelJob { task_run, dispatch } => after.cancels.push((tenant, execution, task_run, dispatch)),
        Effect::SetTimer { timer, at } => {
            let row = TimerRow { shard, tenant, execution, timer, at };
            after.timers.push(row.clone());
            batch.timers_set.push(row);
        }
        Effect::ClearTimer { timer } => {
            // Timers are cleared before others are set: one that this very batch sets must not be set.
            let mine = |row: &TimerRow| row.execution == execution;
            take_back(&mut batch.timers_set, mine, |row| row.timer == timer);
            take_back(&mut after.timers, mine, |row| row.timer == timer);
            batch.timers_cleared.push(TimerKey { tenant, execution, timer });
        }
        Effect::CreateExecution(new) => created.push(*new),
        Effect::NotifyParent { execution: parent, event } => {
            let id = Id::derived(around.now, &[b"parent", execution.as_bytes(), parent.as_bytes()]);
            send(open, tenant, parent, id, event, around.shards);
        }
        Effect::KillChild { execution: child } => {
            let id = Id::derived(around.now, &[b"kill", execution.as_bytes(), child.as_bytes()]);
            send(open, tenant, child, id, Event::Kill, around.shards);
        }
        Effect::TakeSlot { limit, behavior } => {
            let ask = SlotAsk::Take { limit, behavior, at: around.now };
            send_row(open, ask_row(&live.run.execution, ask, around.now, around.shards));
        }
        Effect::GiveSlotBack => {
            send_row(open, ask_row(&live.run.execution, SlotAsk::GiveBack, around.now, around.shards));
        }
        Effect::RestartChild { execution: child } => {
            let id = Id::derived(around.now, &[b"restart", execution.as_bytes(), child.as_bytes()]);
            send(open, tenant, child, id, Event::Restart { by_parent: true }, around.shards);
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

/// Takes a row out that was added for the same execution, whose rows are the last ones. Tells whether there was one.
fn take_back<T>(rows: &mut Vec<T>, is_mine: impl Fn(&T) -> bool, is_it: impl Fn(&T) -> bool) -> bool {
    let found = rows.iter().rev().take_while(|row| is_mine(row)).position(is_it);
    if let Some(from_the_end) = found {
        rows.remove(rows.len() - 1 - from_the_end);
    }
    found.is_some()
}

/// An inbox row for another execution, and the wake-up that follows the commit.
fn send(open: &mut OpenBatch, tenant: Tenant, to: Id, id: Id, event: Event, shards: u16) {
    send_row(
        open,
        InboxRow {
            id,
            shard: shard_of(&tenant, to, shards),
            tenant,
            execution: to,
            message: InboxMessage::Event { event },
        },
    );
}

pub(crate) fn send_row(open: &mut OpenBatch, row: InboxRow) {
    open.after.inbox.push(row.clone());
    open.batch.inbox_sent.push(row);
}

/// The task runs that a new execution is made with, as they are stored with it.
pub(crate) fn kept_rows<'a>(
    tenant: &'a Tenant,
    execution: Id,
    task_runs: &'a [TaskRun],
) -> impl Iterator<Item = TaskRunRow> + 'a {
    task_runs.iter().map(move |run| {
        let mut run = run.clone();
        run.version = 1;
        TaskRunRow { tenant: tenant.clone(), execution, run }
    })
}

/// The state that a Flow trigger saw, for notifications that wait until it is stored.
fn trigger_state(live: &Live) -> Option<String> {
    live.run.execution.trigger.as_ref()?.variables.get("state")?.as_str().map(str::to_owned)
}
