//! Tenants.

use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
    sea_query::OnConflict,
};
use windhover_types::{Tenant, Timestamp};

use crate::{Store, entity::tenants, error::Result};

/// A tenant as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantRow {
    pub tenant: Tenant,
    pub created_at: Timestamp,
    /// Raised by every change of a flow.
    pub flow_version: i64,
}

impl Store {
    /// `false`: there is one of that name already; nothing was changed.
    pub async fn create_tenant(&self, tenant: &Tenant, now: Timestamp) -> Result<bool> {
        insert(self.write(), tenant, now).await
    }

    pub async fn get_tenant(&self, tenant: &Tenant) -> Result<Option<TenantRow>> {
        Ok(tenants::Entity::find_by_id(tenant.as_str()).one(self.read()).await?.map(row))
    }

    /// By name, after that one.
    pub async fn list_tenants(&self, after: Option<&str>, limit: u64) -> Result<Vec<TenantRow>> {
        let mut query = tenants::Entity::find().order_by_asc(tenants::Column::Tenant).limit(limit);
        if let Some(after) = after {
            query = query.filter(tenants::Column::Tenant.gt(after));
        }
        Ok(query.all(self.read()).await?.into_iter().map(row).collect())
    }
}

pub(crate) async fn insert(db: &impl ConnectionTrait, tenant: &Tenant, now: Timestamp) -> Result<bool> {
    let row = tenants::ActiveModel {
        tenant: Set(tenant.as_str().to_owned()),
        created_at: Set(now.as_micros()),
        flow_version: Set(0),
    };
    let none = OnConflict::new().do_nothing().to_owned();
    Ok(tenants::Entity::insert(row).on_conflict(none).exec_without_returning(db).await? > 0)
}

fn row(row: tenants::Model) -> TenantRow {
    TenantRow {
        tenant: Tenant::trusted(&row.tenant),
        created_at: Timestamp::from_micros(row.created_at),
        flow_version: row.flow_version,
    }
}
