//! What administrators did.

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use windhover_types::{Id, JsonMap, Tenant, Timestamp};

use crate::{
    Store,
    bulk::free_text,
    entity::audit_events,
    error::Result,
    rows::{json, parse, parse_id},
};

/// One administrative call or change of a secret. Never holds a secret's value.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEvent {
    pub tenant: Tenant,
    pub id: Id,
    pub at: Timestamp,
    /// Who: a service account, or what stands for it.
    pub actor: String,
    /// The call, e.g. `SecretService.PutSecret`.
    pub action: String,
    /// On what, e.g. `secrets/company.team/DB_PASSWORD`.
    pub resource: String,
    pub detail: JsonMap,
}

impl Store {
    pub async fn append_audit(&self, event: &AuditEvent) -> Result<()> {
        let row: audit_events::ActiveModel = audit_events::Model {
            tenant: event.tenant.as_str().to_owned(),
            id: event.id.as_bytes().to_vec(),
            at: event.at.as_micros(),
            actor: free_text(&event.actor),
            action: free_text(&event.action),
            resource: free_text(&event.resource),
            detail: json(&event.detail),
        }
        .into();
        audit_events::Entity::insert(row).exec_without_returning(self.write()).await?;
        Ok(())
    }

    /// Newest first, before that one.
    pub async fn list_audit(&self, tenant: &Tenant, before: Option<Id>, limit: u64) -> Result<Vec<AuditEvent>> {
        let mut query = audit_events::Entity::find()
            .filter(audit_events::Column::Tenant.eq(tenant.as_str()))
            .order_by_desc(audit_events::Column::Id)
            .limit(limit);
        if let Some(before) = before {
            query = query.filter(audit_events::Column::Id.lt(before.as_bytes().to_vec()));
        }
        let event = |row: audit_events::Model| {
            Ok(AuditEvent {
                tenant: Tenant::trusted(&row.tenant),
                id: parse_id("audit event", &row.id)?,
                at: Timestamp::from_micros(row.at),
                actor: row.actor,
                action: row.action,
                resource: row.resource,
                detail: parse("audit event", &row.detail)?,
            })
        };
        query.all(self.read()).await?.into_iter().map(event).collect()
    }
}
