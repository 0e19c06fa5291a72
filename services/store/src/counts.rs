//! How many executions flows have had.

use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use windhover_types::{State, Tenant};

use crate::{Store, TimeRange, entity::executions, error::Result, filter};

/// Flows that one query asks for: a longer list is asked in parts.
const CHUNK: usize = 200;

/// Which executions are counted.
#[derive(Debug, Clone, Default)]
pub struct CountFilter {
    /// Namespace and id; all flows of `namespaces` besides.
    pub flows: Vec<(String, String)>,
    /// These alone, not those below them.
    pub namespaces: Vec<String>,
    /// Any of these; none given: all.
    pub states: Vec<State>,
    pub created: TimeRange,
}

/// How many executions of a flow were counted; flows without any are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowCount {
    pub namespace: String,
    pub flow_id: String,
    pub count: u64,
}

impl Store {
    /// Executions by flow, in order of namespaces and ids.
    pub async fn count_executions(&self, tenant: &Tenant, wanted: &CountFilter) -> Result<Vec<FlowCount>> {
        use executions::Column;
        let of = |(namespace, flow_id): &(String, String)| {
            Condition::all().add(Column::Namespace.eq(namespace)).add(Column::FlowId.eq(flow_id))
        };
        let mut places: Vec<Condition> = wanted
            .flows
            .chunks(CHUNK)
            .map(|flows| flows.iter().fold(Condition::any(), |any, flow| any.add(of(flow))))
            .collect();
        for namespaces in wanted.namespaces.chunks(CHUNK) {
            places.push(Condition::all().add(Column::Namespace.is_in(namespaces)));
        }
        let mut counts: Vec<FlowCount> = Vec::new();
        for place in places {
            let rows: Vec<(String, String, i64)> = executions::Entity::find()
                .select_only()
                .columns([Column::Namespace, Column::FlowId])
                .column_as(Column::Id.count(), "executions")
                .filter(Column::Tenant.eq(tenant.as_str()))
                .filter(place)
                .filter(
                    Condition::all()
                        .add_option(filter::any_of(Column::State, wanted.states.iter().map(|state| state.as_str())))
                        .add(filter::time(Column::CreatedAt, wanted.created)),
                )
                .group_by(Column::Namespace)
                .group_by(Column::FlowId)
                .order_by_asc(Column::Namespace)
                .order_by_asc(Column::FlowId)
                .into_tuple()
                .all(self.read())
                .await?;
            for (namespace, flow_id, count) in rows {
                // A flow may be asked for by itself and by its namespace.
                if !counts.iter().any(|known| known.namespace == namespace && known.flow_id == flow_id) {
                    counts.push(FlowCount { namespace, flow_id, count: u64::try_from(count).unwrap_or_default() });
                }
            }
        }
        counts.sort_by(|a, b| (&a.namespace, &a.flow_id).cmp(&(&b.namespace, &b.flow_id)));
        Ok(counts)
    }
}
