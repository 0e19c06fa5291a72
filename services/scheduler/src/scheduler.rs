//! The loop: locks that are over, triggers that are due, flows that have changed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::{sync::Notify, task::JoinHandle};
use windhover_engine::{Answer, Question};
use windhover_executor::{Flows, SecretSource, StoredFlow, Templates, WorldSource};
use windhover_flow::{Calendar, DatesError, RecoverMissed, ScheduleDates, Trigger};
use windhover_outbound::Client;
use windhover_queue::{Wake, Wakeups};
use windhover_store::{EndedLock, Store, TriggerAdvance, TriggerRow, TriggerState};
use windhover_telemetry::Metrics;
use windhover_types::{Error, ErrorKind, JsonMap, Tenant, Timestamp, shard_of};

use crate::{
    ScheduleSettings, SchedulerView,
    clock::Clock,
    firing::{Firing, commit},
    follow::{Follower, definition_of, schedules, timed},
    making::Due,
    metrics::SchedulerMetrics,
    plan::{MISSED_AFTER, Step, caught_up, plan, unlocked},
    polls::Polls,
};

/// How often it looks when nothing is due, and how often it looks at flows.
const LOOK: Duration = Duration::from_secs(1);
/// How often while a backfill runs, whose dates follow each other at once, or windows are filled.
const BUSY: Duration = Duration::from_millis(100);
/// How long after a date of a backfill, or something for a window.
const BUSY_FOR: Duration = Duration::from_secs(10);
/// Triggers that are dealt with in one transaction.
const PAGE: u64 = 200;
/// How often windows that are over are removed.
const PURGE: Duration = Duration::from_secs(60);
/// After this time without a round something is wrong.
const SILENT: Duration = Duration::from_secs(30);
/// When a flow that cannot be read is looked at again.
pub(crate) const INVALID_AGAIN: Duration = Duration::from_secs(60);

/// Everything that a scheduler works with.
pub struct SchedulerConfig {
    pub store: Store,
    pub flows: Flows,
    /// Tells owners of shards of new executions.
    pub wakeups: Arc<dyn Wakeups>,
    pub secrets: Arc<dyn SecretSource>,
    /// What templates of triggers ask besides.
    pub world: Arc<dyn WorldSource>,
    /// Asks for polling triggers.
    pub http: Client,
    pub metrics: Metrics,
    pub settings: ScheduleSettings,
}

/// A running scheduler. Any number of them may run on one store.
pub struct Scheduler {
    stop: Arc<Notify>,
    task: JoinHandle<()>,
    health: Arc<Health>,
    view: SchedulerView,
}

/// The world of what the loop renders: the dates of everybody wait for it, so it calls nobody.
struct Quick(Arc<dyn WorldSource>);

#[async_trait]
impl WorldSource for Quick {
    async fn answer(&self, tenant: &Tenant, question: &Question) -> Answer {
        if question.calls_out() {
            return question.refused("a schedule cannot call a server; let a task, or a polling trigger, do it");
        }
        self.0.answer(tenant, question).await
    }
}

struct Health {
    last_round: Mutex<Instant>,
    stopped: AtomicBool,
}

impl Scheduler {
    /// Starts it. The number of shards of the store must be known already.
    ///
    /// # Errors
    /// UNAVAILABLE while the database is away.
    pub async fn start(config: SchedulerConfig) -> Result<Self, Error> {
        let SchedulerConfig { store, flows, wakeups, secrets, world, http, metrics, settings } = config;
        let shards = store
            .number_of_shards(None)
            .await
            .map_err(|error| Error::new(ErrorKind::Unavailable, "UNAVAILABLE", error.to_string()))?;
        let view = SchedulerView { store: store.clone(), flows: flows.clone(), settings: settings.clone() };
        let templates = |world: Arc<dyn WorldSource>| {
            let templates = Templates::new(Arc::clone(&secrets), settings.globals.clone());
            templates.with_world(world).in_zone(settings.timezone)
        };
        let polls = Polls::new(Arc::new(templates(Arc::clone(&world))), http);
        let templates = templates(Arc::new(Quick(world)));
        let mut work = Work {
            polls,
            clock: Clock::new(store.clone()),
            follower: Follower::new(store.clone(), flows.clone(), settings.clone()),
            templates,
            metrics: SchedulerMetrics::new(metrics),
            store,
            flows,
            wakeups,
            settings,
            shards,
            followed: None,
            purged: None,
            busy_until: None,
        };
        work.begin().await?;
        let health = Arc::new(Health { last_round: Mutex::new(Instant::now()), stopped: AtomicBool::new(false) });
        let stop = Arc::new(Notify::new());
        let task = tokio::spawn(run(work, Arc::clone(&stop), Arc::clone(&health)));
        Ok(Self { stop, task, health, view })
    }

    /// Whether it still looks for what is due.
    pub fn is_alive(&self) -> bool {
        !self.task.is_finished() && self.health.last_round.lock().elapsed() < SILENT
    }

    /// What it knows, for operators.
    pub fn view(&self) -> SchedulerView {
        self.view.clone()
    }

    /// Ends it; what is under way is finished first.
    pub async fn stop(self) {
        self.health.stopped.store(true, Ordering::Release);
        self.stop.notify_one();
        if let Err(error) = self.task.await
            && error.is_panic()
        {
            tracing::error!("the scheduler broke because of an error in the server");
        }
    }
}

async fn run(mut work: Work, stop: Arc<Notify>, health: Arc<Health>) {
    let mut failing = false;
    while !health.stopped.load(Ordering::Acquire) {
        let began = Instant::now();
        let wait = match work.round().await {
            Ok(wait) => {
                if failing {
                    tracing::info!("the scheduler goes on");
                }
                failing = false;
                wait
            }
            Err(error) => {
                if !failing {
                    tracing::warn!(%error, "the scheduler cannot go on for now");
                }
                failing = true;
                LOOK
            }
        };
        *health.last_round.lock() = Instant::now();
        work.metrics.looped(began.elapsed());
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = work.polls.answered(), if !failing => {}
            () = stop.notified() => {}
        }
    }
    work.stop().await;
}

pub(crate) struct Work {
    pub(crate) store: Store,
    pub(crate) flows: Flows,
    pub(crate) wakeups: Arc<dyn Wakeups>,
    /// Of what the loop itself renders.
    pub(crate) templates: Templates,
    pub(crate) polls: Polls,
    pub(crate) settings: ScheduleSettings,
    pub(crate) metrics: SchedulerMetrics,
    clock: Clock,
    follower: Follower,
    pub(crate) shards: u16,
    /// When it last looked at the flows.
    followed: Option<Instant>,
    /// When windows that are over were last removed.
    purged: Option<Instant>,
    /// A backfill or a window was at work: what comes next is looked for more often.
    busy_until: Option<Instant>,
}

/// What is to be done, and what the date is to expressions and as text.
type Planned = (Step, Option<(JsonMap, String)>);

/// What looking at a trigger came to.
enum Looked {
    /// Its flow is not known here as its row knows it, or it is not due after all.
    Nothing,
    Go(Box<TriggerState>),
    Fire(Box<Firing>),
}

impl Work {
    /// Lists of dates are caught up with when a scheduler starts (flow model reference 6.4).
    async fn begin(&mut self) -> Result<(), Error> {
        let now = self.clock.now().await?;
        self.follow(now).await?;
        let mut advances = Vec::new();
        for row in self.store.due_triggers(now, i64::MAX as u64).await? {
            let caught = self.with_trigger(&row, |stored, index| {
                let (flow, trigger, schedule) = parts(stored, index)?;
                let missed = row.state.next_at.is_some_and(|at| now.since(at) > MISSED_AFTER);
                let begun = row.state.last_at.is_some() && row.state.backfill.is_none();
                let recover = self.settings.recover(trigger);
                if !matches!(schedule.dates, ScheduleDates::List(_))
                    || !missed
                    || !begun
                    || recover == RecoverMissed::All
                {
                    return None;
                }
                let look = |calendar: &Calendar<'_>| caught_up(row.state.clone(), calendar, recover, now);
                self.settings.with_calendar(stored, flow, trigger, look).ok().flatten()
            });
            if let Some(state) = caught.await?.flatten() {
                advances.push(TriggerAdvance { key: row.key.clone(), expected: row.version, state });
            }
        }
        self.store.advance_triggers(&advances).await?;
        Ok(())
    }

    /// Everything that can be done now; answers how long nothing is due.
    async fn round(&mut self) -> Result<Duration, Error> {
        let now = self.clock.now().await?;
        if self.followed.is_none_or(|at| at.elapsed() >= LOOK) {
            self.follow(now).await?;
        }
        match self.take_offers(now).await {
            // Where one state changed, another may soon.
            Ok(true) => self.busy_until = Some(Instant::now() + BUSY_FOR),
            Ok(false) => {}
            Err(error) if error.kind == ErrorKind::Unavailable => return Err(error),
            // What one Flow trigger has left must not keep the schedules of everybody from running.
            Err(error) => tracing::error!(%error, "offers to Flow triggers cannot be dealt with"),
        }
        self.release(now).await?;
        self.poll(now).await?;
        let mut progress = true;
        loop {
            let now = self.clock.now().await?;
            let due = self.store.due_triggers(now, PAGE).await?;
            self.metrics.ready(due.len());
            if due.is_empty() {
                break;
            }
            let full = due.len() as u64 == PAGE;
            progress = self.deal_with(due, now).await? > 0;
            if !full || !progress {
                break;
            }
        }
        let busy = self.busy_until.is_some_and(|until| Instant::now() < until);
        let longest = if busy { BUSY } else { LOOK };
        if !progress {
            return Ok(longest);
        }
        let next = self.store.next_trigger().await?;
        let now = self.clock.now().await?;
        // A date is a whole second: looking a moment early would find nothing.
        Ok(next.map_or(longest, |at| (at.since(now) + Duration::from_millis(1)).min(longest)))
    }

    async fn follow(&mut self, now: Timestamp) -> Result<(), Error> {
        self.follower.look(now).await?;
        if self.purged.is_none_or(|at| at.elapsed() >= PURGE) {
            self.store.purge_windows(now).await?;
            self.purged = Some(Instant::now());
        }
        self.followed = Some(Instant::now());
        Ok(())
    }

    /// The end: what evaluations have come to is written, those that go on are left to others.
    async fn stop(&mut self) {
        let Ok(now) = self.clock.now().await else { return };
        if let Err(error) = self.settle_last(now).await {
            tracing::warn!(%error, "evaluations of polling triggers are left to other schedulers");
        }
    }

    /// Triggers whose execution has ended go on, or are disabled by `stopAfter`.
    async fn release(&mut self, now: Timestamp) -> Result<(), Error> {
        loop {
            let ended = self.store.ended_locks(PAGE).await?;
            if ended.is_empty() {
                return Ok(());
            }
            let mut advances = Vec::with_capacity(ended.len());
            for EndedLock { row, ended } in &ended {
                if row.state.next_at.is_some_and(|at| at <= now)
                    && let Some(since) = row.state.locked_at
                {
                    self.metrics.waited(&row.key, now.since(since), ended.is_none());
                }
                let state = self
                    .with_trigger(row, |stored, index| self.released(row, stored, index, ended.map(|end| end.0), now));
                let free = || TriggerState { execution: None, locked_at: None, ..row.state.clone() };
                let state = state.await?.unwrap_or_else(free);
                advances.push(TriggerAdvance { key: row.key.clone(), expected: row.version, state });
            }
            let moved = self.store.advance_triggers(&advances).await?;
            if ended.len() < PAGE as usize || moved.len() == advances.len() {
                return Ok(());
            }
        }
    }

    fn released(
        &self,
        row: &TriggerRow,
        stored: &StoredFlow,
        index: usize,
        ended: Option<windhover_types::State>,
        now: Timestamp,
    ) -> TriggerState {
        let free = TriggerState { execution: None, locked_at: None, ..row.state.clone() };
        let mut state = free.clone();
        let trigger = match parts(stored, index) {
            Some((flow, trigger, schedule)) => {
                let recover = self.settings.recover(trigger);
                let look = |calendar: &Calendar<'_>| unlocked(&row.state, schedule, calendar, recover, now);
                state = self.settings.with_calendar(stored, flow, trigger, look).ok().flatten().unwrap_or(free);
                trigger
            }
            None => match stored.flow.as_ref().ok().and_then(|flow| flow.triggers.get(index)) {
                // It asks again at once where its time has passed.
                Some(trigger) => trigger,
                None => return free,
            },
        };
        if let Some(ended) = ended.filter(|ended| trigger.stop_after.contains(ended)) {
            state.disabled = true;
            state.message = Some(format!("stopAfter: an execution ended {ended}"));
            tracing::info!(
                tenant = %row.key.tenant, namespace = %row.key.namespace, flow = %row.key.flow_id,
                trigger = %row.key.trigger_id, state = %ended, "a trigger is disabled by stopAfter"
            );
        }
        state
    }

    /// Deals with triggers that are due; answers how many went on.
    async fn deal_with(&mut self, due: Vec<TriggerRow>, now: Timestamp) -> Result<usize, Error> {
        let (mut advances, mut firings) = (Vec::new(), Vec::new());
        for row in due {
            let began = Instant::now();
            let looked = self.look(&row, now).await?;
            self.metrics.evaluation(&row.type_name, began.elapsed());
            match looked {
                Looked::Nothing => {}
                Looked::Go(state) => {
                    advances.push(TriggerAdvance { key: row.key, expected: row.version, state: *state })
                }
                Looked::Fire(firing) => {
                    if firing.advance.state.backfill.is_some() {
                        self.busy_until = Some(Instant::now() + BUSY_FOR);
                    }
                    firings.push(*firing);
                }
            }
        }
        let moved = self.store.advance_triggers(&advances).await?;
        let gone_on = advances.len() - moved.len();
        Ok(gone_on + commit(self, firings, now).await?)
    }

    async fn look(&self, row: &TriggerRow, now: Timestamp) -> Result<Looked, Error> {
        let key = &row.key;
        let Some(stored) = self.flows.get(&key.tenant, &key.namespace, &key.flow_id, None).await? else {
            return Ok(Looked::Nothing);
        };
        if let Err(why) = &stored.flow {
            let again = Some(now.plus(INVALID_AGAIN));
            let message = Some(format!("the flow cannot be read: {why}"));
            return Ok(Looked::Go(Box::new(TriggerState { next_at: again, message, ..row.state.clone() })));
        }
        let Some(index) = index_of(&stored, row) else { return Ok(Looked::Nothing) };
        let Some((flow, trigger, schedule)) = parts(&stored, index) else { return Ok(Looked::Nothing) };
        if flow.disabled || trigger.disabled {
            return Ok(Looked::Nothing);
        }
        let recover = self.settings.recover(trigger);
        let planned: Result<Option<Planned>, DatesError> =
            self.settings.with_calendar(&stored, flow, trigger, |calendar: &Calendar<'_>| {
                let step = plan(&row.state, schedule, calendar, recover, now);
                let shown = match &step {
                    Step::Date(moved) => Some((calendar.variables(moved.date), calendar.text(moved.date))),
                    Step::Rest | Step::Go(_) => None,
                };
                (step, shown)
            });
        let (moved, variables, date_text) = match planned {
            Ok(Some((Step::Date(moved), Some((variables, text))))) => (moved, variables, text),
            Ok(Some((Step::Go(state), _))) => return Ok(Looked::Go(Box::new(state))),
            Ok(_) => return Ok(Looked::Nothing),
            Err(error) => return Ok(Looked::Go(Box::new(self.without_dates(row, &error)))),
        };
        let due = Due { stored: &stored, flow, trigger, schedule, row, moved: &moved, date_text, variables, now };
        let Some(execution) = due.execution(&self.templates).await else {
            return Ok(Looked::Go(Box::new(moved.state)));
        };
        let late = moved.backfill.is_none().then(|| now.since(moved.date));
        let failure = execution.error.as_ref().map(|error| error.message.clone());
        let mut state = moved.with_execution(execution.id, now, trigger.allow_concurrent);
        state.message = failure;
        let advance = TriggerAdvance { key: key.clone(), expected: row.version, state };
        Ok(Looked::Fire(Box::new(Firing { execution, advance, late })))
    }

    /// A trigger that cannot work is disabled (flow model 1.x reference 6.1).
    fn without_dates(&self, row: &TriggerRow, error: &DatesError) -> TriggerState {
        tracing::warn!(
            tenant = %row.key.tenant, namespace = %row.key.namespace, flow = %row.key.flow_id,
            trigger = %row.key.trigger_id, %error, "a schedule has no dates and is disabled"
        );
        TriggerState { disabled: true, message: Some(error.to_string()), ..row.state.clone() }
    }

    /// Looks at the trigger of a row, if the flow in memory is the one that the row knows.
    async fn with_trigger<T>(
        &self,
        row: &TriggerRow,
        look: impl FnOnce(&StoredFlow, usize) -> T,
    ) -> Result<Option<T>, Error> {
        let key = &row.key;
        let stored = self.flows.get(&key.tenant, &key.namespace, &key.flow_id, None).await?;
        Ok(stored.and_then(|stored| index_of(&stored, row).map(|index| look(&stored, index))))
    }

    pub(crate) fn wake(&self, tenant: &Tenant, execution: windhover_types::Id) -> Wake {
        Wake::Look { shard: shard_of(tenant, execution, self.shards), tenant: tenant.clone(), execution }
    }
}

/// Where the trigger of a row stands among the triggers of its flow; `None` while the two do not belong together, which
/// the next look at the flows settles.
fn index_of(stored: &StoredFlow, row: &TriggerRow) -> Option<usize> {
    let flow = stored.flow.as_ref().ok().filter(|_| stored.revision >= row.flow_revision)?;
    let is_it = |trigger: &Trigger| trigger.id == row.key.trigger_id && definition_of(trigger) == row.definition;
    timed(flow).find(|(trigger, _)| is_it(trigger))?;
    flow.triggers.iter().position(is_it)
}

/// A schedule of a flow by its place among all triggers.
fn parts(stored: &StoredFlow, index: usize) -> Option<(&windhover_flow::Flow, &Trigger, &windhover_flow::Schedule)> {
    let flow = stored.flow.as_ref().ok()?;
    let wanted = flow.triggers.get(index)?;
    let (trigger, schedule) = schedules(flow).find(|(trigger, _)| trigger.id == wanted.id)?;
    Some((flow.as_ref(), trigger, schedule))
}
