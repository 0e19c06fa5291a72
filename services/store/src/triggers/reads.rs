//! Which triggers are due, what they wait for, and lists of them for people.

use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
    sea_query::{Expr, ExprTrait},
};
use windhover_types::{Tenant, Timestamp};

use super::{EndedLock, TriggerKey, TriggerRow, WHAT, advance::is, row};
use crate::{
    NamespaceFilter, Store,
    bulk::{int, tenant, time},
    entity::triggers,
    error::Result,
    filter,
    rows::corrupt,
};

/// Nothing keeps them from being evaluated: word for word the condition of the index `triggers_due`.
const READY: &str = "enabled AND NOT disabled AND execution IS NULL AND evaluating_at IS NULL";

/// Those that ask somebody when they are evaluated, which takes its time: they are looked for apart.
const POLLING: &str = "type = 'io.kestra.plugin.core.http.Trigger'";

/// Which triggers; an empty list and `None` let all through.
#[derive(Debug, Clone, Default)]
pub struct TriggerFilter {
    pub namespaces: Vec<NamespaceFilter>,
    pub flow_ids: Vec<String>,
    pub trigger_ids: Vec<String>,
    pub type_names: Vec<String>,
    /// Disabled at run time.
    pub disabled: Option<bool>,
    /// An execution of it runs, or somebody evaluates it.
    pub locked: Option<bool>,
    pub backfill: Option<bool>,
    /// Somewhere in the id of the trigger or of the flow.
    pub text: Option<String>,
}

impl Store {
    /// Triggers of all tenants that are due by `now`, earliest first: enabled, not disabled, not locked. Several
    /// schedulers may read the same ones; whoever advances one first has it. Without those that poll.
    pub async fn due_triggers(&self, now: Timestamp, limit: u64) -> Result<Vec<TriggerRow>> {
        let columns = triggers::columns();
        let sql = format!(
            "SELECT {columns} FROM triggers WHERE {READY} AND NOT {POLLING} AND next_at <= $1 ORDER BY next_at LIMIT $2"
        );
        let statement = self.statement(&sql, [time(now), int(limit as i64)]);
        let found = triggers::Entity::find().from_raw_sql(statement).all(self.read()).await?;
        found.into_iter().map(row).collect()
    }

    /// The same of those that poll, for all tenants but these.
    pub async fn due_polls(&self, now: Timestamp, but: &[Tenant], limit: u64) -> Result<Vec<TriggerRow>> {
        let others: Vec<String> = (0..but.len()).map(|index| format!("${}", index + 3)).collect();
        let others = if but.is_empty() { String::new() } else { format!("AND tenant NOT IN ({})", others.join(", ")) };
        let columns = triggers::columns();
        let sql = format!(
            "SELECT {columns} FROM triggers WHERE {READY} AND {POLLING} AND next_at <= $1 {others} ORDER BY next_at LIMIT $2"
        );
        let values = [time(now), int(limit as i64)].into_iter().chain(but.iter().map(tenant));
        let found = triggers::Entity::find().from_raw_sql(self.statement(&sql, values)).all(self.read()).await?;
        found.into_iter().map(row).collect()
    }

    /// Triggers that somebody evaluates who has not said so since `before`.
    pub async fn stale_evaluations(&self, before: Timestamp, limit: u64) -> Result<Vec<TriggerRow>> {
        let columns = triggers::columns();
        let sql = format!("SELECT {columns} FROM triggers WHERE evaluating_at <= $1 ORDER BY evaluating_at LIMIT $2");
        let statement = self.statement(&sql, [time(before), int(limit as i64)]);
        let found = triggers::Entity::find().from_raw_sql(statement).all(self.read()).await?;
        found.into_iter().map(row).collect()
    }

    /// When the next trigger is due that nothing keeps; without those that poll.
    pub async fn next_trigger(&self) -> Result<Option<Timestamp>> {
        let sql = format!(
            "SELECT next_at FROM triggers WHERE {READY} AND NOT {POLLING} AND next_at IS NOT NULL \
             ORDER BY next_at LIMIT 1"
        );
        let found = self.read().query_one_raw(self.statement(&sql, [])).await?;
        let at: Option<i64> = found.map(|row| row.try_get_by_index(0)).transpose()?;
        Ok(at.map(Timestamp::from_micros))
    }

    /// Triggers whose execution has ended, with everything that runs after its end, or is gone.
    pub async fn ended_locks(&self, limit: u64) -> Result<Vec<EndedLock>> {
        // A parked execution is not open either, but has not ended.
        let sql = "SELECT t.tenant, t.namespace, t.flow_id, t.trigger_id, t.version, e.state, e.ended_at \
                   FROM triggers t LEFT JOIN executions e ON e.tenant = t.tenant AND e.id = t.execution \
                   WHERE t.execution IS NOT NULL \
                   AND (e.id IS NULL OR (NOT e.open AND e.parked IS NULL AND e.ended_at IS NOT NULL)) LIMIT $1";
        let mut ended = Vec::new();
        for found in self.read().query_all_raw(self.statement(sql, [int(limit as i64)])).await? {
            let tenant: String = found.try_get_by_index(0)?;
            let key = TriggerKey {
                tenant: Tenant::trusted(&tenant),
                namespace: found.try_get_by_index(1)?,
                flow_id: found.try_get_by_index(2)?,
                trigger_id: found.try_get_by_index(3)?,
            };
            let version: i64 = found.try_get_by_index(4)?;
            let state: Option<String> = found.try_get_by_index(5)?;
            let ended_at: Option<i64> = found.try_get_by_index(6)?;
            let state = state.map(|state| state.parse().map_err(corrupt(WHAT))).transpose()?;
            ended.push((key, version, state.zip(ended_at.map(Timestamp::from_micros))));
        }
        let mut locks = Vec::with_capacity(ended.len());
        for chunk in ended.chunks(200) {
            let any = chunk.iter().fold(Condition::any(), |any, (key, ..)| any.add(is(key)));
            for found in triggers::Entity::find().filter(any).all(self.read()).await? {
                let found = row(found)?;
                // One that has moved since waits for something else now.
                let same = chunk.iter().find(|(key, version, _)| *key == found.key && *version == found.version);
                locks.extend(same.map(|(_, _, ended)| EndedLock { ended: *ended, row: found.clone() }));
            }
        }
        Ok(locks)
    }

    pub async fn get_trigger(&self, key: &TriggerKey) -> Result<Option<TriggerRow>> {
        triggers::Entity::find().filter(is(key)).one(self.read()).await?.map(row).transpose()
    }

    /// By namespace, flow and trigger, after that one.
    pub async fn list_triggers(
        &self,
        tenant: &Tenant,
        wanted: &TriggerFilter,
        after: Option<(&str, &str, &str)>,
        limit: u64,
    ) -> Result<Vec<TriggerRow>> {
        use triggers::Column;
        let after = after.map(|(namespace, flow, trigger)| {
            let same = Condition::all().add(Column::Namespace.eq(namespace));
            Condition::any()
                .add(Column::Namespace.gt(namespace))
                .add(same.clone().add(Column::FlowId.gt(flow)))
                .add(same.add(Column::FlowId.eq(flow)).add(Column::TriggerId.gt(trigger)))
        });
        let texts = |column: Column, texts: &[String]| filter::any_of(column, texts.iter().map(String::as_str));
        let locked = Condition::any().add(Column::Execution.is_not_null()).add(Column::EvaluatingAt.is_not_null());
        let text = wanted.text.as_deref().filter(|text| !text.is_empty());
        let condition = Condition::all()
            .add_option(filter::namespaces(Column::Namespace, &wanted.namespaces))
            .add_option(texts(Column::FlowId, &wanted.flow_ids))
            .add_option(texts(Column::TriggerId, &wanted.trigger_ids))
            .add_option(texts(Column::Type, &wanted.type_names))
            .add_option(wanted.disabled.map(|yes| is_set(Expr::col(Column::Disabled), yes)))
            .add_option(wanted.locked.map(|yes| if yes { locked.clone() } else { locked.not() }))
            .add_option(wanted.backfill.map(|yes| is_set(Column::Backfill.is_not_null(), yes)))
            .add_option(text.map(|text| {
                let [flow, trigger] = [Column::FlowId, Column::TriggerId].map(|at| filter::contains_text(at, text));
                Condition::any().add(flow).add(trigger)
            }))
            .add_option(after);
        let found = triggers::Entity::find()
            .filter(Column::Tenant.eq(tenant.as_str()))
            .filter(condition)
            .order_by_asc(Column::Namespace)
            .order_by_asc(Column::FlowId)
            .order_by_asc(Column::TriggerId)
            .limit(limit)
            .all(self.read())
            .await?;
        found.into_iter().map(row).collect()
    }
}

fn is_set(test: Expr, yes: bool) -> Expr {
    if yes { test } else { test.not() }
}
