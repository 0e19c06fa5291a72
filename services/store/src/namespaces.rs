//! What namespaces pass down to their flows: variables, defaults of plugins.

use std::collections::BTreeSet;

use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use windhover_types::{JsonMap, Tenant, Timestamp};

use crate::{
    Store,
    bulk::{free_text, int, tenant, text, text_or_null, time},
    entity::{flows, kv_entries, namespaces, secrets},
    error::Result,
    namespace_and_parents,
    rows::{json, parse},
};

const WHAT: &str = "namespace";

/// What was said of a namespace.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NamespaceSettings {
    pub description: Option<String>,
    pub variables: JsonMap,
    /// As in a flow: a list of objects with `type`, `forced`, `values`. Its meaning is the flow library's.
    pub plugin_defaults: Vec<serde_json::Value>,
}

/// The settings of a namespace as they are stored.
#[derive(Debug, Clone, PartialEq)]
pub struct NamespaceRow {
    pub tenant: Tenant,
    pub namespace: String,
    pub settings: NamespaceSettings,
    /// Grows with every change; what an etag is made of.
    pub version: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Store {
    /// What was said of a namespace itself; `None`: nothing.
    pub async fn get_namespace(&self, tenant: &Tenant, namespace: &str) -> Result<Option<NamespaceRow>> {
        let key = (tenant.as_str().to_owned(), namespace.to_owned());
        namespaces::Entity::find_by_id(key).one(self.read()).await?.map(row).transpose()
    }

    /// What was said of a namespace and of its parents, the nearest first.
    pub async fn namespace_lineage(&self, tenant: &Tenant, namespace: &str) -> Result<Vec<NamespaceRow>> {
        let names = namespace_and_parents(namespace);
        let found = namespaces::Entity::find()
            .filter(namespaces::Column::Tenant.eq(tenant.as_str()))
            .filter(namespaces::Column::Namespace.is_in(names))
            .order_by_desc(namespaces::Column::Namespace)
            .all(self.read())
            .await?;
        // A name sorts behind those that it begins with.
        found.into_iter().map(row).collect()
    }

    /// Everything that was said of any namespace, by name: for caches of flows.
    pub async fn all_namespace_settings(&self, tenant: &Tenant) -> Result<Vec<NamespaceRow>> {
        let found = namespaces::Entity::find()
            .filter(namespaces::Column::Tenant.eq(tenant.as_str()))
            .order_by_asc(namespaces::Column::Namespace)
            .all(self.read())
            .await?;
        found.into_iter().map(row).collect()
    }

    /// The same of all tenants: for the start of a process.
    pub async fn all_tenants_namespace_settings(&self) -> Result<Vec<NamespaceRow>> {
        namespaces::Entity::find().all(self.read()).await?.into_iter().map(row).collect()
    }

    /// Says something of a namespace, if its version is the expected one (0: nothing was said yet; `None`: whatever it
    /// is). Answers the new version, or `None` when it is another one. The version of the tenant's flows is raised
    /// with it: what they mean may have changed.
    pub async fn put_namespace(
        &self,
        of: &Tenant,
        namespace: &str,
        settings: &NamespaceSettings,
        expected: Option<i64>,
    ) -> Result<Option<i64>> {
        let db = self.begin().await?;
        // Holds the tenant's row: changes of namespaces take turns.
        crate::flows::raise_version(&db, of).await?;
        let key = (of.as_str().to_owned(), namespace.to_owned());
        let stored = namespaces::Entity::find_by_id(key).one(&db).await?.map_or(0, |row| row.version);
        if expected.is_some_and(|expected| expected != stored) {
            db.rollback().await?;
            return Ok(None);
        }
        let now = self.database_now(&db).await?;
        let sql = "INSERT INTO namespaces (tenant, namespace, description, variables, plugin_defaults, version, \
                   created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $7) \
                   ON CONFLICT (tenant, namespace) DO UPDATE SET description = excluded.description, \
                   variables = excluded.variables, plugin_defaults = excluded.plugin_defaults, \
                   version = excluded.version, updated_at = excluded.updated_at";
        let values = [
            tenant(of),
            text(namespace),
            text_or_null(settings.description.as_deref().map(free_text)),
            text(json(&settings.variables)),
            text(json(&settings.plugin_defaults)),
            int(stored + 1),
            time(now),
        ];
        db.execute_raw(self.statement(sql, values)).await?;
        db.commit().await?;
        Ok(Some(stored + 1))
    }

    /// Takes back what was said of a namespace. `false`: nothing was.
    pub async fn delete_namespace(&self, of: &Tenant, namespace: &str) -> Result<bool> {
        let db = self.begin().await?;
        crate::flows::raise_version(&db, of).await?;
        let key = (of.as_str().to_owned(), namespace.to_owned());
        let gone = namespaces::Entity::delete_by_id(key).exec(&db).await?.rows_affected > 0;
        if gone {
            db.commit().await?;
        } else {
            db.rollback().await?;
        }
        Ok(gone)
    }

    /// Names of the namespaces that hold a flow (that is not deleted), a key or a secret, or of which something was
    /// said, by name, after that one; without those that exist only as parents.
    pub async fn list_namespaces(&self, tenant: &Tenant, after: Option<&str>, limit: u64) -> Result<Vec<String>> {
        macro_rules! names_of {
            ($entity:ident $(, $filter:expr)?) => {{
                let mut query = $entity::Entity::find()
                    .select_only()
                    .column($entity::Column::Namespace)
                    .distinct()
                    .filter($entity::Column::Tenant.eq(tenant.as_str()))
                    $(.filter($filter))?
                    .order_by_asc($entity::Column::Namespace)
                    .limit(limit);
                if let Some(after) = after {
                    query = query.filter($entity::Column::Namespace.gt(after));
                }
                query.into_tuple::<String>().all(self.read()).await?
            }};
        }
        let mut names: BTreeSet<String> = BTreeSet::new();
        names.extend(names_of!(flows, crate::flows::is_newest()));
        names.extend(names_of!(kv_entries));
        names.extend(names_of!(secrets));
        names.extend(names_of!(namespaces));
        // Secrets of the whole tenant have no namespace.
        names.remove("");
        Ok(names.into_iter().take(usize::try_from(limit).unwrap_or(usize::MAX)).collect())
    }
}

impl Store {
    /// Names of the namespaces that hold a flow (that is not deleted), by name, after that one.
    pub async fn list_flow_namespaces(&self, tenant: &Tenant, after: Option<&str>, limit: u64) -> Result<Vec<String>> {
        let mut query = flows::Entity::find()
            .select_only()
            .column(flows::Column::Namespace)
            .distinct()
            .filter(flows::Column::Tenant.eq(tenant.as_str()))
            .filter(crate::flows::is_newest())
            .order_by_asc(flows::Column::Namespace)
            .limit(limit);
        if let Some(after) = after {
            query = query.filter(flows::Column::Namespace.gt(after));
        }
        Ok(query.into_tuple().all(self.read()).await?)
    }
}

fn row(row: namespaces::Model) -> Result<NamespaceRow> {
    Ok(NamespaceRow {
        tenant: Tenant::trusted(&row.tenant),
        namespace: row.namespace,
        settings: NamespaceSettings {
            description: row.description,
            variables: parse(WHAT, &row.variables)?,
            plugin_defaults: parse(WHAT, &row.plugin_defaults)?,
        },
        version: row.version,
        created_at: Timestamp::from_micros(row.created_at),
        updated_at: Timestamp::from_micros(row.updated_at),
    })
}
