//! What a scheduler knows, for `GET /scheduler` (operations reference 2.11).

use serde_json::{Value, json};
use windhover_executor::Flows;
use windhover_flow::{Calendar, ScheduleDates, format_duration};
use windhover_store::{Store, TriggerFilter};
use windhover_types::{Error, Timestamp};

use crate::{
    ScheduleSettings,
    follow::{Timed, timed},
};

/// Rows that one query reads.
const PAGE: u64 = 1_000;
/// Rows that are shown; more are counted.
const MOST: usize = 10_000;

/// The schedules and polling triggers of all flows, with what comes next. Cheap to clone.
#[derive(Clone)]
pub struct SchedulerView {
    pub(crate) store: Store,
    pub(crate) flows: Flows,
    pub(crate) settings: ScheduleSettings,
}

impl SchedulerView {
    /// One entry per flow and trigger that is neither disabled nor invalid.
    ///
    /// # Errors
    /// UNAVAILABLE while the database is away.
    pub async fn json(&self) -> Result<Value, Error> {
        let (mut count, mut shown) = (0_usize, Vec::new());
        for (tenant, _) in self.store.flow_versions().await? {
            let mut after: Option<(String, String, String)> = None;
            loop {
                let from = after.as_ref().map(|(namespace, flow, id)| (namespace.as_str(), flow.as_str(), id.as_str()));
                let rows = self.store.list_triggers(&tenant, &TriggerFilter::default(), from, PAGE).await?;
                let full = rows.len() as u64 == PAGE;
                after = rows
                    .last()
                    .map(|row| (row.key.namespace.clone(), row.key.flow_id.clone(), row.key.trigger_id.clone()));
                for row in rows.into_iter().filter(|row| row.enabled && !row.state.disabled) {
                    let key = &row.key;
                    let Some(stored) = self.flows.cached(&tenant, &key.namespace, &key.flow_id, None) else { continue };
                    let Ok(flow) = &stored.flow else { continue };
                    let Some((trigger, kind)) = timed(flow).find(|(trigger, _)| trigger.id == key.trigger_id) else {
                        continue;
                    };
                    count += 1;
                    if shown.len() >= MOST {
                        continue;
                    }
                    let text = |at: Timestamp| {
                        let found = self
                            .settings
                            .with_calendar(&stored, flow, trigger, |calendar: &Calendar<'_>| calendar.text(at));
                        found.ok().flatten().unwrap_or_else(|| at.to_string())
                    };
                    let mut shape = json!({"id": trigger.id, "type": trigger.type_name});
                    match kind {
                        Timed::Schedule(schedule) => {
                            if let ScheduleDates::Cron(cron) = &schedule.dates {
                                shape["cron"] = json!(cron.source());
                            }
                        }
                        Timed::Poll(http) => shape["interval"] = json!(format_duration(http.interval)),
                    }
                    let mut entry = json!({
                        "tenantId": tenant.as_str(),
                        "flowId": key.flow_id,
                        "namespace": key.namespace,
                        "revision": stored.revision,
                        "trigger": shape,
                    });
                    if let Some(at) = row.state.next_at {
                        entry["next"] = json!(text(at));
                    }
                    shown.push(entry);
                }
                if !full {
                    break;
                }
            }
        }
        Ok(json!({"schedulableCount": count, "schedulable": shown}))
    }
}
