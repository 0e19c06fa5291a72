//! Flows: immutable revisions (flow model reference 1.4).

use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect,
    sea_query::{Expr, ExprTrait},
};
use sha2::{Digest, Sha256};
use windhover_types::{Tenant, Timestamp};

use crate::{
    NamespaceFilter, Store, StoreError,
    entity::{flows, tenants},
    error::Result,
    filter,
    rows::number,
};

/// A revision of a flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowRow {
    pub tenant: Tenant,
    pub namespace: String,
    pub id: String,
    pub revision: u32,
    /// This revision says that the flow was deleted; its source is the last one.
    pub deleted: bool,
    /// As it was given.
    pub source: String,
    pub created_at: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutOutcome {
    Created,
    Updated,
    /// The newest revision has this very source.
    Unchanged,
}

/// Answer to [`Store::put_flow`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PutFlow {
    pub revision: u32,
    pub outcome: PutOutcome,
    /// Of that revision.
    pub created_at: Timestamp,
}

/// What must be true of the stored flow for it to be changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FlowExpectation {
    #[default]
    Any,
    /// There is none, or it was deleted.
    Absent,
    /// Its newest revision is this one, and it is not deleted.
    Revision(u32),
}

#[derive(Debug, thiserror::Error)]
pub enum PutFlowError {
    /// The stored flow is not as expected; its newest revision, if it is there.
    #[error("the flow was changed meanwhile")]
    Moved { current: Option<u32> },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sea_orm::DbErr> for PutFlowError {
    fn from(error: sea_orm::DbErr) -> Self {
        Self::Store(error.into())
    }
}

/// Which flows. Empty lists ask nothing.
#[derive(Debug, Clone, Default)]
pub struct FlowFilter {
    pub namespaces: Vec<NamespaceFilter>,
    pub ids: Vec<String>,
    /// Somewhere in the source.
    pub text: Option<String>,
}

impl Store {
    /// Stores a revision, unless the newest one has the same source (but for a first line `revision: N`, which decides
    /// nothing), and raises the tenant's version of flows with it. Numbers go on after a deletion.
    pub async fn put_flow(&self, tenant: &Tenant, namespace: &str, id: &str, source: &str) -> Result<PutFlow> {
        match self.put_flow_if(tenant, namespace, id, source, FlowExpectation::Any).await {
            Ok(put) => Ok(put),
            Err(PutFlowError::Store(error)) => Err(error),
            Err(PutFlowError::Moved { .. }) => {
                Err(crate::rows::corrupt("flow")("nothing was expected of it".to_owned()))
            }
        }
    }

    /// The same if the stored flow is as expected.
    pub async fn put_flow_if(
        &self,
        tenant: &Tenant,
        namespace: &str,
        id: &str,
        source: &str,
        expected: FlowExpectation,
    ) -> Result<PutFlow, PutFlowError> {
        let db = self.begin().await?;
        raise_version(&db, tenant).await?;
        let last = newest(&db, tenant, namespace, id).await?;
        let present = last.as_ref().filter(|row| !row.deleted);
        let current = present.map(|row| number::<u32>("flow", row.revision)).transpose()?;
        let as_expected = match expected {
            FlowExpectation::Any => true,
            FlowExpectation::Absent => current.is_none(),
            FlowExpectation::Revision(revision) => current == Some(revision),
        };
        if !as_expected {
            db.rollback().await?;
            return Err(PutFlowError::Moved { current });
        }
        let hash = hash_of(source);
        if let (Some(row), Some(revision)) = (present, current)
            && row.hash == hash
        {
            let created_at = Timestamp::from_micros(row.created_at);
            // The version of the tenant's flows stays as well.
            db.rollback().await?;
            return Ok(PutFlow { revision, outcome: PutOutcome::Unchanged, created_at });
        }
        let outcome = if present.is_some() { PutOutcome::Updated } else { PutOutcome::Created };
        let row = flows::Model {
            tenant: tenant.as_str().to_owned(),
            namespace: namespace.to_owned(),
            id: id.to_owned(),
            revision: last.map_or(0, |row| row.revision) + 1,
            deleted: false,
            source: source.to_owned(),
            hash,
            created_at: self.database_now(&db).await?.floor_millis().as_micros(),
        };
        let put = PutFlow {
            revision: number("flow", row.revision)?,
            outcome,
            created_at: Timestamp::from_micros(row.created_at),
        };
        flows::Entity::insert(row.into_active_model()).exec_without_returning(&db).await?;
        db.commit().await?;
        Ok(put)
    }

    /// Writes a revision that says that the flow is gone; answers its number, or `None` when there is no flow.
    pub async fn delete_flow(&self, tenant: &Tenant, namespace: &str, id: &str) -> Result<Option<u32>> {
        let db = self.begin().await?;
        raise_version(&db, tenant).await?;
        let Some(last) = newest(&db, tenant, namespace, id).await?.filter(|row| !row.deleted) else {
            db.rollback().await?;
            return Ok(None);
        };
        let revision = last.revision + 1;
        let now = self.database_now(&db).await?.floor_millis();
        let row = flows::Model { revision, deleted: true, created_at: now.as_micros(), ..last };
        flows::Entity::insert(row.into_active_model()).exec_without_returning(&db).await?;
        db.commit().await?;
        number("flow", revision).map(Some)
    }

    /// A revision (`None`: the newest); `None` when there is none, or when it says that the flow was deleted.
    pub async fn get_flow(
        &self,
        tenant: &Tenant,
        namespace: &str,
        id: &str,
        revision: Option<u32>,
    ) -> Result<Option<FlowRow>> {
        let row = match revision {
            None => newest(self.read(), tenant, namespace, id).await?,
            Some(revision) => {
                let Ok(revision) = i32::try_from(revision) else { return Ok(None) };
                let key = (tenant.as_str().to_owned(), namespace.to_owned(), id.to_owned(), revision);
                flows::Entity::find_by_id(key).one(self.read()).await?
            }
        };
        row.filter(|row| !row.deleted).map(flow).transpose()
    }

    /// Newest revisions by namespace and id, after that flow; deleted flows are left out.
    pub async fn list_flows(
        &self,
        tenant: &Tenant,
        filter: &FlowFilter,
        after: Option<(&str, &str)>,
        limit: u64,
    ) -> Result<Vec<FlowRow>> {
        use flows::Column;
        let after = after.map(|(namespace, id)| {
            Condition::any()
                .add(Column::Namespace.gt(namespace))
                .add(Condition::all().add(Column::Namespace.eq(namespace)).add(Column::Id.gt(id)))
        });
        let condition = Condition::all()
            .add_option(filter::namespaces(Column::Namespace, &filter.namespaces))
            .add_option(filter::any_of(Column::Id, filter.ids.iter().map(String::as_str)))
            .add_option(
                filter
                    .text
                    .as_deref()
                    .filter(|text| !text.is_empty())
                    .map(|text| filter::contains_text(Column::Source, text)),
            )
            .add_option(after);
        let found = flows::Entity::find()
            .filter(Column::Tenant.eq(tenant.as_str()))
            .filter(is_newest())
            .filter(condition)
            .order_by_asc(Column::Namespace)
            .order_by_asc(Column::Id)
            .limit(limit)
            .all(self.read())
            .await?;
        found.into_iter().map(flow).collect()
    }

    /// All revisions of a flow, newest first, before that one; those that say that it was deleted too.
    pub async fn list_revisions(
        &self,
        tenant: &Tenant,
        namespace: &str,
        id: &str,
        before: Option<u32>,
        limit: u64,
    ) -> Result<Vec<FlowRow>> {
        let mut query = revisions(tenant, namespace, id).limit(limit);
        if let Some(before) = before {
            query = query.filter(flows::Column::Revision.lt(i64::from(before)));
        }
        query.all(self.read()).await?.into_iter().map(flow).collect()
    }

    /// The newest revision of every flow of every tenant: for the start of a process.
    pub async fn all_latest_flows(&self) -> Result<Vec<FlowRow>> {
        flows::Entity::find().filter(is_newest()).all(self.read()).await?.into_iter().map(flow).collect()
    }

    /// Namespace, id and number of the newest revision of every flow of the tenant that is not deleted: what another
    /// process has changed shows by it without reading a source.
    pub async fn latest_revisions(&self, tenant: &Tenant) -> Result<Vec<(String, String, u32)>> {
        let rows: Vec<(String, String, i32)> = flows::Entity::find()
            .select_only()
            .columns([flows::Column::Namespace, flows::Column::Id, flows::Column::Revision])
            .filter(flows::Column::Tenant.eq(tenant.as_str()))
            .filter(is_newest())
            .into_tuple()
            .all(self.read())
            .await?;
        rows.into_iter().map(|(namespace, id, revision)| Ok((namespace, id, number("flow", revision)?))).collect()
    }

    /// Every tenant's version of flows; see [`Store::tenant_version`].
    pub async fn flow_versions(&self) -> Result<Vec<(Tenant, i64)>> {
        let rows: Vec<(String, i64)> = tenants::Entity::find()
            .select_only()
            .columns([tenants::Column::Tenant, tenants::Column::FlowVersion])
            .into_tuple()
            .all(self.read())
            .await?;
        Ok(rows.into_iter().map(|(tenant, version)| (Tenant::trusted(&tenant), version)).collect())
    }

    /// Raised by one with every change of a flow of the tenant; 0 for a tenant that is not there.
    pub async fn tenant_version(&self, tenant: &Tenant) -> Result<i64> {
        let row = tenants::Entity::find_by_id(tenant.as_str()).one(self.read()).await?;
        Ok(row.map_or(0, |row| row.flow_version))
    }
}

/// Takes the tenant's row: changes of a tenant's flows happen one after another.
pub(crate) async fn raise_version(db: &impl ConnectionTrait, tenant: &Tenant) -> Result<()> {
    let outcome = tenants::Entity::update_many()
        .col_expr(tenants::Column::FlowVersion, Expr::col(tenants::Column::FlowVersion).add(1))
        .filter(tenants::Column::Tenant.eq(tenant.as_str()))
        .exec(db)
        .await?;
    if outcome.rows_affected == 1 { Ok(()) } else { Err(StoreError::NoTenant) }
}

fn revisions(tenant: &Tenant, namespace: &str, id: &str) -> sea_orm::Select<flows::Entity> {
    flows::Entity::find()
        .filter(flows::Column::Tenant.eq(tenant.as_str()))
        .filter(flows::Column::Namespace.eq(namespace))
        .filter(flows::Column::Id.eq(id))
        .order_by_desc(flows::Column::Revision)
}

async fn newest(db: &impl ConnectionTrait, tenant: &Tenant, namespace: &str, id: &str) -> Result<Option<flows::Model>> {
    Ok(revisions(tenant, namespace, id).one(db).await?)
}

pub(crate) fn is_newest() -> Condition {
    Condition::all().add(Expr::col((flows::Entity, flows::Column::Deleted)).not()).add(is_last())
}

/// The last revision of its flow, also when that says that the flow was deleted.
pub(crate) fn is_last() -> Expr {
    Expr::cust(
        "flows.revision = (SELECT MAX(l.revision) FROM flows l \
             WHERE l.tenant = flows.tenant AND l.namespace = flows.namespace AND l.id = flows.id)",
    )
}

fn flow(row: flows::Model) -> Result<FlowRow> {
    Ok(FlowRow {
        tenant: Tenant::trusted(&row.tenant),
        namespace: row.namespace,
        id: row.id,
        revision: number("flow", row.revision)?,
        deleted: row.deleted,
        source: row.source,
        created_at: Timestamp::from_micros(row.created_at),
    })
}

fn hash_of(source: &str) -> Vec<u8> {
    Sha256::digest(without_revision(source)).to_vec()
}

/// The source without the first line that is `revision: N` and nothing else.
fn without_revision(source: &str) -> String {
    let mut removed = false;
    source
        .split_inclusive('\n')
        .filter(|line| {
            let is_revision = !removed
                && line.strip_prefix("revision: ").is_some_and(|rest| {
                    let rest = rest.trim_end();
                    !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit())
                });
            removed |= is_revision;
            !is_revision
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_revision_line_at_the_margin_is_left_out() {
        assert_eq!(without_revision("id: a\nrevision: 3\nx: 1\nrevision: 4\n"), "id: a\nx: 1\nrevision: 4\n");
        assert_eq!(without_revision("  revision: 3\nrevision: three\n"), "  revision: 3\nrevision: three\n");
    }
}
