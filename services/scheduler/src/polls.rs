//! Polling triggers: who of the schedulers evaluates one, how many at a time, and what comes of it.
//!
//! Always true: an evaluation begins once its scheduler has written into the trigger's row that it evaluates it, over the
//! version that it has read, and its outcome is written over the version that came of that, an execution in the same
//! transaction. So of any number of schedulers one evaluates, and one evaluation makes at most one execution. Who
//! evaluates says so again every few seconds; one that is silent is taken over by whoever sees it. All rows are written
//! by the loop, in batches; evaluations only ask.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::mpsc, task::AbortHandle};
use windhover_executor::{Templates, new_id};
use windhover_flow::{HttpTrigger, Trigger, TriggerKind};
use windhover_outbound::Client;
use windhover_store::{TriggerAdvance, TriggerKey, TriggerRow, TriggerState};
use windhover_types::{Error, Tenant, Timestamp};

use crate::{
    asking::{Answer, Question, Surroundings},
    firing::{Firing, commit},
    follow::{definition_of, polls},
    scheduler::{INVALID_AGAIN, Work},
};

/// Evaluations of one scheduler at the same time, and of one tenant in it.
const MOST: usize = 256;
const MOST_OF_TENANT: usize = 16;
/// Rows that one query reads.
const PAGE: u64 = 200;
/// How often it is said that an evaluation goes on, and after what silence nobody believes in it.
const SAY: Duration = Duration::from_secs(10);
const SILENT: Duration = Duration::from_secs(45);
/// How often silent ones are looked for.
const LOOK_FOR_SILENT: Duration = Duration::from_secs(5);

/// The evaluations of a scheduler.
pub(crate) struct Polls {
    surroundings: Arc<Surroundings>,
    /// Names this scheduler in rows.
    name: String,
    running: HashMap<TriggerKey, Running>,
    sender: mpsc::UnboundedSender<Asked>,
    answers: mpsc::UnboundedReceiver<Asked>,
    /// What is not written yet.
    settled: Vec<Asked>,
    /// When silent ones were last looked for.
    looked: Option<Instant>,
}

/// An evaluation under way.
struct Running {
    /// The version over which it was begun: names it.
    claim: i64,
    /// The row as this scheduler has written it.
    row: TriggerRow,
    said: Instant,
    task: AbortHandle,
}

/// What an evaluation came to.
#[derive(Clone)]
struct Asked {
    key: TriggerKey,
    /// As [`Running::claim`].
    claim: i64,
    date: Timestamp,
    interval: Duration,
    concurrent: bool,
    answer: Answer,
}

impl Polls {
    pub(crate) fn new(templates: Arc<Templates>, http: Client) -> Self {
        let (sender, answers) = mpsc::unbounded_channel();
        let surroundings = Arc::new(Surroundings { templates, http });
        let name = format!("scheduler-{}", new_id());
        Self { surroundings, name, running: HashMap::new(), sender, answers, settled: Vec::new(), looked: None }
    }

    /// Waits until an evaluation is over.
    pub(crate) async fn answered(&mut self) {
        if let Some(asked) = self.answers.recv().await {
            self.settled.push(asked);
        }
    }

    fn take_answers(&mut self) {
        while let Ok(asked) = self.answers.try_recv() {
            self.settled.push(asked);
        }
    }

    /// The evaluation that has come to this, unless it was given up.
    fn running_of(&self, asked: &Asked) -> Option<&Running> {
        self.running.get(&asked.key).filter(|running| running.claim == asked.claim)
    }

    fn of_tenant(&self, tenant: &Tenant) -> usize {
        self.running.keys().filter(|key| key.tenant == *tenant).count()
    }

    /// Tenants that have as many evaluations as they may have.
    fn busy_tenants(&self) -> Vec<Tenant> {
        let mut counts: HashMap<&Tenant, usize> = HashMap::new();
        for key in self.running.keys() {
            *counts.entry(&key.tenant).or_default() += 1;
        }
        let busy = counts.into_iter().filter(|(_, count)| *count >= MOST_OF_TENANT);
        let mut tenants: Vec<Tenant> = busy.map(|(tenant, _)| tenant.clone()).collect();
        tenants.sort();
        tenants
    }

    /// Ends what is under way without an outcome: others take it over.
    pub(crate) fn abandon(&mut self) {
        for (_, running) in self.running.drain() {
            running.task.abort();
        }
    }
}

impl Drop for Polls {
    fn drop(&mut self) {
        self.abandon();
    }
}

impl Work {
    /// Everything about polling triggers that can be done now.
    pub(crate) async fn poll(&mut self, now: Timestamp) -> Result<(), Error> {
        self.settle(now).await?;
        self.say_again(now).await?;
        self.take_over(now).await?;
        self.claim(now).await
    }

    /// Writes what is known, and gives back what is not: it is due at once for others.
    pub(crate) async fn settle_last(&mut self, now: Timestamp) -> Result<(), Error> {
        self.settle(now).await?;
        let advances: Vec<TriggerAdvance> = self.polls.running.values().map(|running| free(&running.row)).collect();
        self.polls.abandon();
        self.store.advance_triggers(&advances).await?;
        Ok(())
    }

    /// Writes what evaluations came to.
    async fn settle(&mut self, now: Timestamp) -> Result<(), Error> {
        self.polls.take_answers();
        let (mut advances, mut firings) = (Vec::new(), Vec::new());
        for asked in &self.polls.settled {
            // Given up meanwhile: its row is somebody else's.
            let Some(running) = self.polls.running_of(asked) else { continue };
            let mut state = TriggerState { evaluating_at: None, worker: None, ..running.row.state.clone() };
            state.last_at = Some(asked.date);
            state.next_at = Some(now.plus(asked.interval));
            let advance = |state| TriggerAdvance { key: asked.key.clone(), expected: running.row.version, state };
            match &asked.answer {
                Answer::Nothing(message) => {
                    state.message = message.clone();
                    advances.push(advance(state));
                }
                Answer::Fire(execution) => {
                    state.message = execution.error.as_ref().map(|error| error.message.clone());
                    state.last_execution = Some(execution.id);
                    if !asked.concurrent {
                        state.execution = Some(execution.id);
                        state.locked_at = Some(now);
                    }
                    let late = Some(now.since(asked.date));
                    firings.push(Firing { execution: execution.as_ref().clone(), advance: advance(state), late });
                }
            }
        }
        // What cannot be written now is written in a later round.
        self.store.advance_triggers(&advances).await?;
        for advance in &advances {
            self.polls.running.remove(&advance.key);
        }
        commit(self, firings, now).await?;
        for asked in std::mem::take(&mut self.polls.settled) {
            if self.polls.running_of(&asked).is_some() {
                self.polls.running.remove(&asked.key);
            }
        }
        Ok(())
    }

    /// Tells the others that evaluations go on; gives up those whose trigger was changed meanwhile.
    async fn say_again(&mut self, now: Timestamp) -> Result<(), Error> {
        let due = self.polls.running.values().filter(|running| running.said.elapsed() >= SAY);
        let advances: Vec<TriggerAdvance> = due
            .map(|running| TriggerAdvance {
                key: running.row.key.clone(),
                expected: running.row.version,
                state: TriggerState { evaluating_at: Some(now), ..running.row.state.clone() },
            })
            .collect();
        let moved = self.store.advance_triggers(&advances).await?;
        for TriggerAdvance { key, state, .. } in advances {
            if moved.contains(&key) {
                if let Some(running) = self.polls.running.remove(&key) {
                    running.task.abort();
                }
            } else if let Some(running) = self.polls.running.get_mut(&key) {
                running.row.state = state;
                running.row.version += 1;
                running.said = Instant::now();
            }
        }
        Ok(())
    }

    /// Evaluations of schedulers that are gone are due again.
    async fn take_over(&mut self, now: Timestamp) -> Result<(), Error> {
        if self.polls.looked.is_some_and(|at| at.elapsed() < LOOK_FOR_SILENT) {
            return Ok(());
        }
        self.polls.looked = Some(Instant::now());
        let before = Timestamp::from_micros(now.as_micros().saturating_sub(SILENT.as_micros() as i64));
        let stale = self.store.stale_evaluations(before, PAGE).await?;
        let lost = stale.iter().filter(|row| !self.polls.running.contains_key(&row.key));
        let advances: Vec<TriggerAdvance> = lost.map(free).collect();
        self.store.advance_triggers(&advances).await?;
        Ok(())
    }

    /// Begins what is due, of the tenants in turn.
    async fn claim(&mut self, now: Timestamp) -> Result<(), Error> {
        while self.polls.running.len() < MOST {
            let busy = self.polls.busy_tenants();
            let due = self.store.due_polls(now, &busy, PAGE).await?;
            let full = due.len() as u64 == PAGE;
            let (mut later, mut claims) = (Vec::new(), Vec::new());
            let mut taken: HashMap<Tenant, usize> = HashMap::new();
            for row in due {
                if self.polls.running.len() + claims.len() >= MOST {
                    break;
                }
                let tenant = &row.key.tenant;
                let count = taken.entry(tenant.clone()).or_insert_with(|| self.polls.of_tenant(tenant));
                if *count >= MOST_OF_TENANT || self.polls.running.contains_key(&row.key) {
                    continue;
                }
                match self.question(&row, now).await? {
                    Found::Ready(question) => {
                        *count += 1;
                        claims.push((row, question));
                    }
                    Found::Later(state) => {
                        later.push(TriggerAdvance { key: row.key, expected: row.version, state: *state });
                    }
                    Found::Nothing => {}
                }
            }
            let progress = !claims.is_empty() || !later.is_empty();
            self.store.advance_triggers(&later).await?;
            self.begin_asking(claims, now).await?;
            if !full || !progress {
                break;
            }
        }
        Ok(())
    }

    async fn question(&self, row: &TriggerRow, now: Timestamp) -> Result<Found, Error> {
        let key = &row.key;
        let Some(stored) = self.flows.get(&key.tenant, &key.namespace, &key.flow_id, None).await? else {
            return Ok(Found::Nothing);
        };
        let flow = match &stored.flow {
            Ok(flow) => Arc::clone(flow),
            Err(why) => {
                let message = Some(format!("the flow cannot be read: {why}"));
                let again = Some(now.plus(INVALID_AGAIN));
                return Ok(Found::Later(Box::new(TriggerState { next_at: again, message, ..row.state.clone() })));
            }
        };
        // While flow and row do not belong together: the next look at the flows settles it.
        let fits = |(_, trigger, _): &(usize, &Trigger, &HttpTrigger)| {
            trigger.id == key.trigger_id && definition_of(trigger) == row.definition && !trigger.disabled
        };
        let known = stored.revision >= row.flow_revision && !flow.disabled;
        let Some((index, _, _)) = polls(&flow).find(fits).filter(|_| known) else { return Ok(Found::Nothing) };
        let date = row.state.next_at.unwrap_or(now);
        let question = Question { key: key.clone(), stored: Arc::clone(&stored), flow, index, date, now };
        Ok(Found::Ready(Box::new(question)))
    }

    /// Writes down that this scheduler evaluates these, and begins with those that nobody else has.
    async fn begin_asking(&mut self, claims: Vec<(TriggerRow, Box<Question>)>, now: Timestamp) -> Result<(), Error> {
        let claimed = |row: &TriggerRow| {
            let worker = Some(self.polls.name.clone());
            TriggerState { evaluating_at: Some(now), worker, ..row.state.clone() }
        };
        let advances: Vec<TriggerAdvance> = claims
            .iter()
            .map(|(row, _)| TriggerAdvance { key: row.key.clone(), expected: row.version, state: claimed(row) })
            .collect();
        let moved = self.store.advance_triggers(&advances).await?;
        for ((row, question), advance) in claims.into_iter().zip(advances) {
            if moved.contains(&row.key) {
                continue;
            }
            let claim = row.version;
            let task = self.ask(*question, claim, row.type_name.clone());
            let row = TriggerRow { state: advance.state, version: row.version + 1, ..row };
            self.polls.running.insert(row.key.clone(), Running { claim, row, said: Instant::now(), task });
        }
        Ok(())
    }

    fn ask(&self, question: Question, claim: i64, type_name: String) -> AbortHandle {
        let (interval, concurrent) = match question.flow.triggers.get(question.index) {
            Some(Trigger { kind: TriggerKind::Http(http), allow_concurrent, .. }) => (http.interval, *allow_concurrent),
            _ => (INVALID_AGAIN, false),
        };
        let (key, date) = (question.key.clone(), question.date);
        let (surroundings, sender) = (Arc::clone(&self.polls.surroundings), self.polls.sender.clone());
        let (metrics, began) = (self.metrics.clone(), Instant::now());
        let asking = tokio::spawn(async move {
            let answer = question.ask(&surroundings).await;
            metrics.evaluation(&type_name, began.elapsed());
            // Nobody listens any more once the scheduler has stopped.
            let _ = sender.send(Asked { key, claim, date, interval, concurrent, answer });
        });
        asking.abort_handle()
    }
}

/// The trigger when nobody evaluates it any more.
fn free(row: &TriggerRow) -> TriggerAdvance {
    let state = TriggerState { evaluating_at: None, worker: None, ..row.state.clone() };
    TriggerAdvance { key: row.key.clone(), expected: row.version, state }
}

/// What is to be done about a row that is due.
enum Found {
    /// Nothing now.
    Nothing,
    /// It is looked at again, as it is then.
    Later(Box<TriggerState>),
    Ready(Box<Question>),
}
