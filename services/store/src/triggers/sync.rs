//! Rows of triggers follow the flows that define them.

use std::collections::{HashMap, HashSet};

use sea_orm::{ColumnTrait, Condition, ConnectionTrait, DatabaseTransaction, EntityTrait, QueryFilter, QuerySelect};
use windhover_types::{Tenant, Timestamp};

use super::{TriggerKey, TriggerRow, TriggerState, WHAT, row};
use crate::{
    Backend, Store,
    bulk::{
        self, Bulk,
        Kind::{Bool, Bytes, Int, NullBytes, NullInt, NullText, Text},
        boolean, id_or_null, int, text, text_or_null, time, time_or_null,
    },
    entity::{flows, triggers},
    error::Result,
    rows::{json_or_null, number},
};

/// Flows of one transaction.
const CHUNK: usize = 200;

/// The triggers of one revision of a flow that a scheduler evaluates.
#[derive(Debug, Clone)]
pub struct FlowTriggers {
    pub namespace: String,
    pub flow_id: String,
    /// Of a deleted flow: the revision that says so, or any later number, without triggers.
    pub revision: u32,
    pub triggers: Vec<TriggerDefinition>,
}

/// A trigger as its flow defines it.
#[derive(Debug, Clone)]
pub struct TriggerDefinition {
    pub trigger_id: String,
    pub type_name: String,
    /// SHA-256 of the whole definition.
    pub definition: [u8; 32],
    /// Neither the flow nor the trigger is disabled where they are defined.
    pub enabled: bool,
    /// When it is evaluated first, if it is new or has changed.
    pub next_at: Option<Timestamp>,
}

/// What a sync has changed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SyncedTriggers {
    /// New, or with another definition.
    pub changed: Vec<TriggerKey>,
    /// Gone, with what they were: their evaluation is to be stopped.
    pub removed: Vec<(TriggerKey, TriggerState)>,
    /// Flows (namespace, id) of which there is a later revision, or that are not there: nothing was done.
    pub stale: Vec<(String, String)>,
}

static UPSERT_TRIGGERS: Bulk = Bulk::new(
    &[
        ("tenant", Text),
        ("namespace", Text),
        ("flow_id", Text),
        ("trigger_id", Text),
        ("flow_revision", Int),
        ("type", Text),
        ("definition", Bytes),
        ("enabled", Bool),
        ("disabled", Bool),
        ("next_at", NullInt),
        ("last_at", NullInt),
        ("execution", NullBytes),
        ("locked_at", NullInt),
        ("last_execution", NullBytes),
        ("evaluating_at", NullInt),
        ("worker", NullText),
        ("backfill", NullText),
        ("message", NullText),
        ("updated_at", Int),
        ("version", Int),
    ],
    "INSERT INTO triggers ({columns}) SELECT {columns} FROM u WHERE true \
     ON CONFLICT (tenant, namespace, flow_id, trigger_id) DO UPDATE SET flow_revision = excluded.flow_revision, \
     type = excluded.type, definition = excluded.definition, enabled = excluded.enabled, \
     disabled = excluded.disabled, next_at = excluded.next_at, last_at = excluded.last_at, \
     execution = excluded.execution, locked_at = excluded.locked_at, last_execution = excluded.last_execution, \
     evaluating_at = excluded.evaluating_at, worker = excluded.worker, backfill = excluded.backfill, \
     message = excluded.message, updated_at = excluded.updated_at, version = excluded.version",
);

static DELETE_TRIGGERS: Bulk = Bulk::new(
    &[("tenant", Text), ("namespace", Text), ("flow_id", Text), ("trigger_id", Text)],
    "DELETE FROM triggers WHERE (tenant, namespace, flow_id, trigger_id) IN (SELECT {columns} FROM u)",
);

impl Store {
    /// Makes the rows of these flows' triggers what the flows say. Removed triggers are deleted; those with another
    /// definition begin anew (`next_at` as given, the time as `last_at`, no backfill, no locks), but stay disabled if
    /// they were; the others are kept. Flows whose revision is not the newest are left alone, so that a scheduler that
    /// is behind undoes nothing. Each flow as a whole or not at all.
    pub async fn sync_triggers(&self, tenant: &Tenant, wanted: &[FlowTriggers]) -> Result<SyncedTriggers> {
        let mut synced = SyncedTriggers::default();
        for chunk in wanted.chunks(CHUNK) {
            let db = self.begin().await?;
            let mut part = self.sync_part(&db, tenant, chunk).await?;
            db.commit().await?;
            synced.changed.append(&mut part.changed);
            synced.removed.append(&mut part.removed);
            synced.stale.append(&mut part.stale);
        }
        Ok(synced)
    }

    async fn sync_part(
        &self,
        db: &DatabaseTransaction,
        tenant: &Tenant,
        wanted: &[FlowTriggers],
    ) -> Result<SyncedTriggers> {
        let mut synced = SyncedTriggers::default();
        let postgres = self.backend() == Backend::Postgres;
        if postgres {
            // Whoever changes flows of the tenant raises this row's version: they and other syncs wait.
            let sql = "SELECT flow_version FROM tenants WHERE tenant = $1 FOR UPDATE";
            db.query_one_raw(self.statement(sql, [bulk::tenant(tenant)])).await?;
        }
        let newest = newest_revisions(db, tenant, wanted).await?;
        let mut query = triggers::Entity::find().filter(triggers::Column::Tenant.eq(tenant.as_str())).filter(any_flow(
            wanted,
            triggers::Column::Namespace,
            triggers::Column::FlowId,
        ));
        if postgres {
            query = query.lock_exclusive();
        }
        let mut stored: HashMap<(String, String), Vec<TriggerRow>> = HashMap::new();
        for found in query.all(db).await? {
            let found = row(found)?;
            stored.entry((found.key.namespace.clone(), found.key.flow_id.clone())).or_default().push(found);
        }
        let now = self.database_now(db).await?;
        let (mut written, mut deleted) = (Vec::new(), Vec::new());
        for flow in wanted {
            let name = (flow.namespace.clone(), flow.flow_id.clone());
            let of_flow = stored.remove(&name).unwrap_or_default();
            if !is_current(flow, newest.get(&name)) {
                synced.stale.push(name);
                continue;
            }
            let ids: HashSet<&str> = flow.triggers.iter().map(|trigger| trigger.trigger_id.as_str()).collect();
            for gone in of_flow.iter().filter(|row| !ids.contains(row.key.trigger_id.as_str())) {
                deleted.push(gone.key.clone());
                synced.removed.push((gone.key.clone(), gone.state.clone()));
            }
            for trigger in &flow.triggers {
                let before = of_flow.iter().find(|row| row.key.trigger_id == trigger.trigger_id);
                let Some(after) = after_sync(tenant, flow, trigger, before, now) else { continue };
                if before.is_none_or(|before| before.definition != after.definition) {
                    synced.changed.push(after.key.clone());
                }
                written.push(after);
            }
        }
        write_rows(db, &written).await?;
        deleted.sort();
        let mut rows = DELETE_TRIGGERS.rows(deleted.len());
        deleted.iter().for_each(|key| rows.push(super::advance::key_values(key)));
        rows.run(db).await?;
        Ok(synced)
    }

    /// The lowest revision that the rows of each flow (namespace, id) were compared with: what has been changed since
    /// is found by comparing it with the flows.
    pub async fn trigger_revisions(&self, tenant: &Tenant) -> Result<Vec<(String, String, u32)>> {
        use triggers::Column;
        let found: Vec<(String, String, i32)> = triggers::Entity::find()
            .select_only()
            .columns([Column::Namespace, Column::FlowId])
            .column_as(Column::FlowRevision.min(), "revision")
            .filter(Column::Tenant.eq(tenant.as_str()))
            .group_by(Column::Namespace)
            .group_by(Column::FlowId)
            .into_tuple()
            .all(self.read())
            .await?;
        found.into_iter().map(|(namespace, flow, revision)| Ok((namespace, flow, number(WHAT, revision)?))).collect()
    }
}

/// The row as it has to be; `None`: as it is.
fn after_sync(
    tenant: &Tenant,
    flow: &FlowTriggers,
    trigger: &TriggerDefinition,
    before: Option<&TriggerRow>,
    now: Timestamp,
) -> Option<TriggerRow> {
    let mut state = TriggerState { next_at: trigger.next_at, last_at: None, ..Default::default() };
    match before {
        Some(before) if before.definition == trigger.definition => {
            if before.flow_revision == flow.revision && before.enabled == trigger.enabled {
                return None;
            }
            state = before.state.clone();
        }
        Some(before) => {
            state.disabled = before.state.disabled;
            state.last_at = Some(now);
            state.last_execution = before.state.last_execution;
        }
        None => {}
    }
    Some(TriggerRow {
        key: TriggerKey {
            tenant: tenant.clone(),
            namespace: flow.namespace.clone(),
            flow_id: flow.flow_id.clone(),
            trigger_id: trigger.trigger_id.clone(),
        },
        flow_revision: flow.revision,
        type_name: trigger.type_name.clone(),
        definition: trigger.definition,
        enabled: trigger.enabled,
        state,
        updated_at: now,
        version: before.map_or(0, |before| before.version) + 1,
    })
}

/// Whether what is wanted is what the newest revision (its number, and whether it says that the flow is gone) says.
fn is_current(flow: &FlowTriggers, newest: Option<&(u32, bool)>) -> bool {
    match newest {
        Some((revision, false)) => flow.revision == *revision,
        Some((revision, true)) => flow.triggers.is_empty() && flow.revision >= *revision,
        None => flow.triggers.is_empty(),
    }
}

async fn newest_revisions(
    db: &DatabaseTransaction,
    tenant: &Tenant,
    wanted: &[FlowTriggers],
) -> Result<HashMap<(String, String), (u32, bool)>> {
    use flows::Column;
    let found: Vec<(String, String, i32, bool)> = flows::Entity::find()
        .select_only()
        .columns([Column::Namespace, Column::Id, Column::Revision, Column::Deleted])
        .filter(Column::Tenant.eq(tenant.as_str()))
        .filter(any_flow(wanted, Column::Namespace, Column::Id))
        .filter(crate::flows::is_last())
        .into_tuple()
        .all(db)
        .await?;
    let revision = |(namespace, id, revision, deleted): (String, String, i32, bool)| {
        Ok(((namespace, id), (number("flow", revision)?, deleted)))
    };
    found.into_iter().map(revision).collect()
}

fn any_flow(wanted: &[FlowTriggers], namespace: impl ColumnTrait, id: impl ColumnTrait) -> Condition {
    wanted.iter().fold(Condition::any(), |any, flow| {
        any.add(Condition::all().add(namespace.eq(&flow.namespace)).add(id.eq(&flow.flow_id)))
    })
}

async fn write_rows(db: &DatabaseTransaction, written: &[TriggerRow]) -> Result<()> {
    let mut rows = UPSERT_TRIGGERS.rows(written.len());
    for row in written {
        let state = &row.state;
        rows.push([
            bulk::tenant(&row.key.tenant),
            text(&row.key.namespace),
            text(&row.key.flow_id),
            text(&row.key.trigger_id),
            int(row.flow_revision),
            text(&row.type_name),
            bulk::bytes(&row.definition),
            boolean(row.enabled),
            boolean(state.disabled),
            time_or_null(state.next_at),
            time_or_null(state.last_at),
            id_or_null(state.execution),
            time_or_null(state.locked_at),
            id_or_null(state.last_execution),
            time_or_null(state.evaluating_at),
            text_or_null(state.worker.clone()),
            text_or_null(json_or_null(state.backfill.as_ref())),
            text_or_null(state.message.clone()),
            time(row.updated_at),
            int(row.version),
        ]);
    }
    rows.run(db).await?;
    Ok(())
}
