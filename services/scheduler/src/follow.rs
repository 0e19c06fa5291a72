//! Rows of triggers follow the flows: new, changed, removed and disabled triggers.

use std::collections::HashMap;

use sha2::{Digest, Sha256};
use windhover_executor::{Flows, StoredFlow};
use windhover_flow::{Calendar, DatesError, Flow, HttpTrigger, Schedule, ScheduleDates, Trigger, TriggerKind};
use windhover_store::{FlowTriggers, Store, TriggerDefinition, TriggerFilter, TriggerKey};
use windhover_types::{Error, Tenant, Timestamp};

use crate::ScheduleSettings;

/// A revision later than any: what the rows of a flow that is gone are compared with.
const GONE: u32 = i32::MAX as u32;

/// Earlier than any date of a list.
const BEGINNING: Timestamp = Timestamp::from_micros(-62_135_596_800_000_000);

/// Knows up to which version of a tenant's flows the rows were compared.
pub(crate) struct Follower {
    store: Store,
    flows: Flows,
    settings: ScheduleSettings,
    /// The version of its flows, and the stamp of what its namespaces say.
    done: HashMap<Tenant, (i64, u64)>,
}

impl Follower {
    pub(crate) fn new(store: Store, flows: Flows, settings: ScheduleSettings) -> Self {
        Self { store, flows, settings, done: HashMap::new() }
    }

    /// Compares what has changed since the last look.
    pub(crate) async fn look(&mut self, now: Timestamp) -> Result<(), Error> {
        let versions = self.store.flow_versions().await?;
        self.done.retain(|tenant, _| versions.iter().any(|(known, _)| known == tenant));
        for (tenant, version) in versions {
            let done = self.done.get(&tenant);
            if done.is_some_and(|(done, _)| *done == version) {
                continue;
            }
            self.flows.sync(&tenant).await?;
            let stamp = self.flows.settings_stamp(&tenant);
            // What namespaces say changes triggers without a new revision; after a start nobody knows whether it has.
            let everything = stamp != done.map_or(0, |(_, stamp)| *stamp);
            fit_tenant(&self.store, &self.flows, &self.settings, &tenant, everything, now).await?;
            self.done.insert(tenant, (version, stamp));
        }
        Ok(())
    }
}

/// Makes the rows of a tenant what its flows say; `everything`: also of flows whose revision has not changed.
async fn fit_tenant(
    store: &Store,
    flows: &Flows,
    settings: &ScheduleSettings,
    tenant: &Tenant,
    everything: bool,
    now: Timestamp,
) -> Result<(), Error> {
    let rows = store.trigger_revisions(tenant).await?.into_iter();
    let mut rows: HashMap<(String, String), u32> =
        rows.map(|(namespace, flow, revision)| ((namespace, flow), revision)).collect();
    let mut wanted = Vec::new();
    for stored in flows.latest(tenant) {
        let before = rows.remove(&(stored.namespace.clone(), stored.id.clone()));
        let current = match before {
            Some(revision) => revision == stored.revision && !everything,
            None => !has_timed(&stored),
        };
        if !current {
            wanted.push(wanted_of(store, settings, &stored, before.is_some(), now).await?);
        }
    }
    // Flows that are gone. One that is only not known here yet has a newest revision, and is left alone.
    wanted.extend(rows.into_keys().map(|(namespace, flow_id)| gone(namespace, flow_id)));
    if !wanted.is_empty() {
        store.sync_triggers(tenant, &wanted).await?;
    }
    Ok(())
}

/// Makes the rows of one flow what its newest revision says.
pub(crate) async fn fit_flow(
    store: &Store,
    flows: &Flows,
    settings: &ScheduleSettings,
    tenant: &Tenant,
    namespace: &str,
    flow_id: &str,
    now: Timestamp,
) -> Result<(), Error> {
    let stored = flows.get(tenant, namespace, flow_id, None).await?;
    let filter = TriggerFilter {
        namespaces: vec![windhover_store::NamespaceFilter::Exact(namespace.to_owned())],
        flow_ids: vec![flow_id.to_owned()],
        ..TriggerFilter::default()
    };
    let rows = store.list_triggers(tenant, &filter, None, 1_000).await?;
    let wanted = match &stored {
        Some(stored) if rows.is_empty() && !has_timed(stored) => return Ok(()),
        Some(stored) => wanted_of(store, settings, stored, !rows.is_empty(), now).await?,
        None if rows.is_empty() => return Ok(()),
        None => gone(namespace.to_owned(), flow_id.to_owned()),
    };
    store.sync_triggers(tenant, &[wanted]).await?;
    Ok(())
}

fn gone(namespace: String, flow_id: String) -> FlowTriggers {
    FlowTriggers { namespace, flow_id, revision: GONE, triggers: Vec::new() }
}

fn has_timed(stored: &StoredFlow) -> bool {
    stored.flow.as_ref().is_ok_and(|flow| timed(flow).next().is_some())
}

/// A trigger that schedulers evaluate by themselves.
#[derive(Clone, Copy)]
pub(crate) enum Timed<'a> {
    /// At its dates.
    Schedule(&'a Schedule),
    /// Again and again.
    Poll(&'a HttpTrigger),
}

impl Timed<'_> {
    pub(crate) fn type_name(&self) -> &str {
        match self {
            Self::Schedule(schedule) => schedule.type_name(),
            Self::Poll(_) => HttpTrigger::TYPE,
        }
    }
}

/// The triggers of a flow that schedulers evaluate.
pub(crate) fn timed(flow: &Flow) -> impl Iterator<Item = (&Trigger, Timed<'_>)> {
    flow.triggers.iter().filter_map(|trigger| match &trigger.kind {
        TriggerKind::Schedule(schedule) => Some((trigger, Timed::Schedule(schedule))),
        TriggerKind::Http(http) => Some((trigger, Timed::Poll(http))),
        TriggerKind::Flow(_) | TriggerKind::Webhook(_) => None,
    })
}

/// Those that poll, with their places among all triggers of the flow.
pub(crate) fn polls(flow: &Flow) -> impl Iterator<Item = (usize, &Trigger, &HttpTrigger)> {
    flow.triggers.iter().enumerate().filter_map(|(index, trigger)| match &trigger.kind {
        TriggerKind::Http(http) => Some((index, trigger, http)),
        _ => None,
    })
}

/// The triggers of a flow that have dates.
pub(crate) fn schedules(flow: &Flow) -> impl Iterator<Item = (&Trigger, &Schedule)> {
    flow.triggers.iter().filter_map(|trigger| match &trigger.kind {
        TriggerKind::Schedule(schedule) => Some((trigger, schedule)),
        _ => None,
    })
}

/// Identity of a trigger's definition.
pub(crate) fn definition_of(trigger: &Trigger) -> [u8; 32] {
    Sha256::digest(trigger.definition.as_bytes()).into()
}

async fn wanted_of(
    store: &Store,
    settings: &ScheduleSettings,
    stored: &StoredFlow,
    has_rows: bool,
    now: Timestamp,
) -> Result<FlowTriggers, Error> {
    let mut triggers = Vec::new();
    if let Ok(flow) = &stored.flow {
        for (trigger, kind) in timed(flow) {
            let (readable, next_at) = match kind {
                Timed::Schedule(schedule) => {
                    first_date(store, settings, stored, (trigger, schedule), has_rows, now).await?
                }
                Timed::Poll(_) => (true, Some(now)),
            };
            triggers.push(TriggerDefinition {
                trigger_id: trigger.id.clone(),
                type_name: kind.type_name().to_owned(),
                definition: definition_of(trigger),
                enabled: readable && !trigger.disabled && !flow.disabled,
                next_at,
            });
        }
    }
    Ok(FlowTriggers {
        namespace: stored.namespace.clone(),
        flow_id: stored.id.clone(),
        revision: stored.revision,
        triggers,
    })
}

/// Whether the dates of a schedule can be read, and the first that is to come.
async fn first_date(
    store: &Store,
    settings: &ScheduleSettings,
    stored: &StoredFlow,
    (trigger, schedule): (&Trigger, &Schedule),
    has_rows: bool,
    now: Timestamp,
) -> Result<(bool, Option<Timestamp>), Error> {
    let Ok(flow) = &stored.flow else { return Ok((false, None)) };
    // A list begins with its first date, also one that is past; once it has begun, a change does not repeat what is
    // past (flow model reference 6.1 and 6.4).
    let begins = matches!(schedule.dates, ScheduleDates::List(_))
        && !(has_rows && store.get_trigger(&key_of(stored, trigger)).await?.is_some());
    let from = if begins { BEGINNING } else { now };
    let first = settings.with_calendar(stored, flow, trigger, |calendar: &Calendar<'_>| calendar.from(from));
    let readable = first.is_ok();
    let next_at = first.unwrap_or_else(|error| tell(stored, trigger, &error)).and_then(|next| next.look_at());
    Ok((readable, next_at))
}

fn tell<T>(stored: &StoredFlow, trigger: &Trigger, error: &DatesError) -> Option<T> {
    tracing::warn!(
        tenant = %stored.tenant,
        namespace = %stored.namespace,
        flow = %stored.id,
        trigger = %trigger.id,
        %error,
        "a schedule has no dates and is disabled"
    );
    None
}

pub(crate) fn key_of(stored: &StoredFlow, trigger: &Trigger) -> TriggerKey {
    TriggerKey {
        tenant: stored.tenant.clone(),
        namespace: stored.namespace.clone(),
        flow_id: stored.id.clone(),
        trigger_id: trigger.id.clone(),
    }
}
