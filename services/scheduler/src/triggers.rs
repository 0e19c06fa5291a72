//! What people do with schedules and polling triggers: disable, unlock, backfill, look ahead.

use windhover_executor::{Flows, StoredFlow};
use windhover_flow::{Calendar, Flow, Schedule, Trigger};
use windhover_store::{Backfill, ChangeTriggerError, Store, TriggerKey, TriggerRow, TriggerState};
use windhover_types::{Error, ErrorKind, Id, JsonMap, Label, Tenant, Timestamp};

use std::sync::Arc;

use crate::{
    ScheduleSettings,
    follow::{Timed, definition_of, fit_flow, timed},
    plan::{caught_up, unlocked},
};

/// Changes and shows the schedules and polling triggers of flows. Cheap to clone.
#[derive(Clone)]
pub struct Triggers {
    store: Store,
    flows: Flows,
    settings: ScheduleSettings,
}

/// A backfill that is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct NewBackfill {
    /// Identity: the same dates in another backfill have other executions.
    pub id: Id,
    /// Both are included.
    pub start: Timestamp,
    /// The present time when absent.
    pub end: Option<Timestamp>,
    /// Of equal ids these win over those of the trigger.
    pub inputs: JsonMap,
    /// Besides those of the flow and the trigger; of equal keys these win.
    pub labels: Vec<Label>,
}

/// A trigger of the newest revision of a flow that schedulers evaluate.
struct Found {
    stored: Arc<StoredFlow>,
    flow: Arc<Flow>,
    trigger_id: String,
}

impl Found {
    fn parts(&self) -> Option<(&Trigger, Timed<'_>)> {
        timed(&self.flow).find(|(trigger, _)| trigger.id == self.trigger_id)
    }
}

impl Triggers {
    pub fn new(store: Store, flows: Flows, settings: ScheduleSettings) -> Self {
        Self { store, flows, settings }
    }

    /// Makes the rows of a flow's triggers what its newest revision says. Schedulers do it by themselves, a moment later.
    ///
    /// # Errors
    /// UNAVAILABLE while the database is away.
    pub async fn sync_flow(&self, tenant: &Tenant, namespace: &str, flow_id: &str) -> Result<(), Error> {
        let now = self.store.now().await?;
        fit_flow(&self.store, &self.flows, &self.settings, tenant, namespace, flow_id, now).await
    }

    /// A trigger as it is now.
    ///
    /// # Errors
    /// TRIGGER_NOT_FOUND, TRIGGER_NOT_SCHEDULED, UNAVAILABLE; also of all other methods.
    pub async fn get(&self, key: &TriggerKey) -> Result<TriggerRow, Error> {
        let found = self.find(key).await?;
        self.row(key, &found).await
    }

    /// Lets a trigger rest, or act again: dates of a schedule that passed while it rested are handled as missed ones. A list of dates goes
    /// on where it stood.
    ///
    /// # Errors
    /// See [`Self::get`].
    pub async fn set_disabled(&self, key: &TriggerKey, disabled: bool) -> Result<TriggerRow, Error> {
        self.change(key, |row, state, around| {
            if !disabled && row.state.disabled {
                if let Some(dates) = &around.dates {
                    *state = caught_up(state.clone(), dates.calendar, dates.recover, around.now);
                }
                state.message = None;
            }
            state.disabled = disabled;
            Ok(())
        })
        .await
    }

    /// Lets a trigger go on although its execution, or its evaluation, has not ended.
    ///
    /// # Errors
    /// TRIGGER_NOT_LOCKED, and see [`Self::get`].
    pub async fn unlock(&self, key: &TriggerKey) -> Result<TriggerRow, Error> {
        self.change(key, |row, state, around| {
            if row.state.execution.is_none() && row.state.evaluating_at.is_none() {
                return Err(refused("TRIGGER_NOT_LOCKED", format!("the trigger {} waits for no execution", name(key))));
            }
            *state = match &around.dates {
                Some(dates) => unlocked(state, dates.schedule, dates.calendar, dates.recover, around.now),
                None => TriggerState { execution: None, locked_at: None, ..state.clone() },
            };
            state.evaluating_at = None;
            state.worker = None;
            Ok(())
        })
        .await
    }

    /// Runs the schedule for dates of the past, one after another; until it is through the schedule itself rests.
    ///
    /// # Errors
    /// BACKFILL_EXISTS, LABEL_RESERVED, INVALID_ARGUMENT, and see [`Self::get`].
    pub async fn create_backfill(&self, key: &TriggerKey, new: NewBackfill) -> Result<TriggerRow, Error> {
        if let Some(label) = new.labels.iter().find(|label| label.is_system()) {
            let message = format!("labels that begin with `{}` belong to the system", Label::SYSTEM_PREFIX);
            return Err(Error::new(ErrorKind::InvalidArgument, "LABEL_RESERVED", message.clone())
                .field(format!("labels.{}", label.key), message));
        }
        self.change(key, |row, state, around| {
            if around.dates.is_none() {
                let message = format!("the trigger {} has no dates that could be run again", name(key));
                return Err(refused("TRIGGER_NOT_SCHEDULED", message));
            }
            if row.state.backfill.as_ref().is_some_and(|backfill| backfill.id == new.id) {
                // Asked for twice.
                return Ok(());
            }
            if row.state.backfill.is_some() {
                return Err(refused("BACKFILL_EXISTS", format!("the trigger {} has a backfill already", name(key))));
            }
            let end = new.end.unwrap_or(around.now);
            if new.start > around.now {
                return Err(wrong("start", "must not be in the future"));
            }
            if end < new.start {
                return Err(wrong("end", "must not be before `start`"));
            }
            if end > around.now {
                return Err(wrong("end", "must not be in the future"));
            }
            state.backfill = Some(Backfill {
                id: new.id,
                start: new.start,
                end,
                current: new.start,
                paused: false,
                inputs: new.inputs,
                labels: new.labels,
                previous_next_at: state.next_at,
            });
            state.next_at = Some(new.start);
            Ok(())
        })
        .await
    }

    /// Lets a backfill rest, and the schedule with it. What runs goes on.
    ///
    /// # Errors
    /// BACKFILL_NOT_FOUND, and see [`Self::get`].
    pub async fn pause_backfill(&self, key: &TriggerKey) -> Result<TriggerRow, Error> {
        self.change(key, |_, state, _| {
            let backfill = state.backfill.as_mut().ok_or_else(|| no_backfill(key))?;
            backfill.paused = true;
            state.next_at = None;
            Ok(())
        })
        .await
    }

    /// Lets a backfill go on where it rested.
    ///
    /// # Errors
    /// BACKFILL_NOT_FOUND, and see [`Self::get`].
    pub async fn resume_backfill(&self, key: &TriggerKey) -> Result<TriggerRow, Error> {
        self.change(key, |_, state, _| {
            let backfill = state.backfill.as_mut().ok_or_else(|| no_backfill(key))?;
            backfill.paused = false;
            state.next_at = Some(backfill.current);
            Ok(())
        })
        .await
    }

    /// Ends a backfill: the schedule goes on where it stood before.
    ///
    /// # Errors
    /// BACKFILL_NOT_FOUND, and see [`Self::get`].
    pub async fn delete_backfill(&self, key: &TriggerKey) -> Result<TriggerRow, Error> {
        self.change(key, |_, state, _| {
            let backfill = state.backfill.take().ok_or_else(|| no_backfill(key))?;
            state.next_at = backfill.previous_next_at;
            Ok(())
        })
        .await
    }

    /// At most `count` dates at or after `from` (the present time when absent), whether or not the trigger is disabled.
    ///
    /// # Errors
    /// See [`Self::get`]; INVALID_FLOW when its list of dates cannot be read.
    pub async fn next_dates(
        &self,
        key: &TriggerKey,
        from: Option<Timestamp>,
        count: usize,
    ) -> Result<Vec<Timestamp>, Error> {
        let found = self.find(key).await?;
        let from = match from {
            Some(from) => from,
            None => self.store.now().await?,
        };
        let Some((trigger, kind)) = found.parts() else { return Err(not_found(key)) };
        if let Timed::Poll(http) = kind {
            let next = self.row(key, &found).await?.state.next_at.unwrap_or(from).max(from);
            let each = |n: usize| next.plus(http.interval.saturating_mul(u32::try_from(n).unwrap_or(u32::MAX)));
            return Ok((0..count).map(each).collect());
        }
        let dates =
            self.settings.with_calendar(&found.stored, &found.flow, trigger, |calendar| calendar.list(from, count));
        dates.map_err(|error| unreadable(&error)).map(Option::unwrap_or_default)
    }

    async fn find(&self, key: &TriggerKey) -> Result<Found, Error> {
        let stored = self.flows.get(&key.tenant, &key.namespace, &key.flow_id, None).await?;
        let stored = stored.ok_or_else(|| not_found(key))?;
        let flow = match &stored.flow {
            Ok(flow) => Arc::clone(flow),
            Err(why) => {
                let message = format!("the flow {}.{} cannot be read: {why}", stored.namespace, stored.id);
                return Err(Error::new(ErrorKind::FailedPrecondition, "INVALID_FLOW", message));
            }
        };
        let Some(trigger) = flow.triggers.iter().find(|trigger| trigger.id == key.trigger_id) else {
            return Err(not_found(key));
        };
        let found = Found { trigger_id: trigger.id.clone(), flow, stored };
        if found.parts().is_none() {
            let message = format!("the trigger {} is evaluated by no scheduler", name(key));
            return Err(refused("TRIGGER_NOT_SCHEDULED", message));
        }
        Ok(found)
    }

    /// The row of a trigger, fitted to the newest revision.
    async fn row(&self, key: &TriggerKey, found: &Found) -> Result<TriggerRow, Error> {
        let Some((trigger, _)) = found.parts() else { return Err(not_found(key)) };
        let definition = definition_of(trigger);
        let fits = |row: &TriggerRow| row.definition == definition && row.flow_revision >= found.stored.revision;
        if let Some(row) = self.store.get_trigger(key).await?.filter(fits) {
            return Ok(row);
        }
        self.sync_flow(&key.tenant, &key.namespace, &key.flow_id).await?;
        self.store.get_trigger(key).await?.ok_or_else(|| not_found(key))
    }

    async fn change(
        &self,
        key: &TriggerKey,
        change: impl FnOnce(&TriggerRow, &mut TriggerState, &Surroundings<'_, '_>) -> Result<(), Error>,
    ) -> Result<TriggerRow, Error> {
        let found = self.find(key).await?;
        self.row(key, &found).await?;
        let now = self.store.now().await?;
        let Some((trigger, kind)) = found.parts() else { return Err(not_found(key)) };
        let recover = self.settings.recover(trigger);
        let changed = self
            .store
            .change_trigger(key, |row, state| {
                let Timed::Schedule(schedule) = kind else {
                    return change(row, state, &Surroundings { dates: None, now });
                };
                let change = |calendar: &Calendar<'_>| {
                    change(row, state, &Surroundings { dates: Some(Dates { schedule, calendar, recover }), now })
                };
                match self.settings.with_calendar(&found.stored, &found.flow, trigger, change) {
                    Ok(changed) => changed.unwrap_or(Ok(())),
                    Err(error) => Err(unreadable(&error)),
                }
            })
            .await;
        match changed {
            Ok(row) => row.ok_or_else(|| not_found(key)),
            Err(ChangeTriggerError::Refused(error)) => Err(error),
            Err(ChangeTriggerError::Store(error)) => Err(error.into()),
        }
    }
}

/// What a change of a trigger may look at.
struct Surroundings<'a, 'c> {
    /// Of a schedule.
    dates: Option<Dates<'a, 'c>>,
    now: Timestamp,
}

struct Dates<'a, 'c> {
    schedule: &'a Schedule,
    calendar: &'a Calendar<'c>,
    recover: windhover_flow::RecoverMissed,
}

fn name(key: &TriggerKey) -> String {
    format!("{}.{}.{}", key.namespace, key.flow_id, key.trigger_id)
}

fn not_found(key: &TriggerKey) -> Error {
    Error::new(ErrorKind::NotFound, "TRIGGER_NOT_FOUND", format!("there is no trigger {}", name(key)))
}

fn no_backfill(key: &TriggerKey) -> Error {
    refused("BACKFILL_NOT_FOUND", format!("No backfill found for the trigger {}", name(key)))
}

fn refused(reason: &'static str, message: String) -> Error {
    Error::new(ErrorKind::FailedPrecondition, reason, message)
}

fn wrong(field: &str, why: &str) -> Error {
    Error::new(ErrorKind::InvalidArgument, "INVALID_ARGUMENT", format!("{field}: {why}")).field(field, why)
}

fn unreadable(error: &windhover_flow::DatesError) -> Error {
    Error::new(ErrorKind::FailedPrecondition, "INVALID_FLOW", error.to_string())
}
