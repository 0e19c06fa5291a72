//! Values by key in a namespace, which flows keep between their executions.
//!
//! An entry whose time has passed by the database's clock counts as absent, but stays until it is purged, so that a
//! reader can tell the two apart. Every write is also kept as a version of its own (see `key_versions`).

use std::time::Duration;

use sea_orm::{ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use windhover_types::{Tenant, Timestamp};

use crate::{
    Store,
    bulk::{free_text, int, tenant, text, text_or_null, time, time_or_null},
    entity::{flows, kv_entries},
    error::Result,
    filter,
    rows::number,
};

/// An entry as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KvRow {
    pub tenant: Tenant,
    pub namespace: String,
    pub key: String,
    /// JSON text.
    pub value: String,
    /// How its writer meant it: STRING, NUMBER, BOOLEAN, DATETIME, DATE, DURATION, JSON.
    pub kind: String,
    pub description: Option<String>,
    /// Grows with every write, also over an entry that was deleted; from 1, as long as its versions are not purged.
    pub version: u32,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    /// Its time had passed by the database's clock when it was read.
    pub expired: bool,
}

/// An entry to write.
#[derive(Debug, Clone, Copy)]
pub struct NewKv<'a> {
    pub namespace: &'a str,
    pub key: &'a str,
    /// JSON text.
    pub value: &'a str,
    pub kind: &'a str,
    pub description: Option<&'a str>,
    /// `None`: it stays.
    pub expires_in: Option<Duration>,
    /// Also over an entry that is there.
    pub overwrite: bool,
}

impl Store {
    /// The entry, also an expired one.
    pub async fn get_kv(&self, tenant: &Tenant, namespace: &str, key: &str) -> Result<Option<KvRow>> {
        let now = self.now().await?;
        let key = (tenant.as_str().to_owned(), namespace.to_owned(), free_text(key));
        kv_entries::Entity::find_by_id(key).one(self.read()).await?.map(|row| entry(row, now)).transpose()
    }

    /// Writes an entry; answers its version, or `None` when there is one that must not be overwritten. An expired one
    /// counts as absent.
    pub async fn put_kv(&self, of: &Tenant, new: &NewKv<'_>) -> Result<Option<u32>> {
        let db = self.begin().await?;
        let now = self.database_now(&db).await?;
        let over = if new.overwrite { "" } else { " WHERE kv_entries.expires_at <= $7" };
        let sql = format!(
            "INSERT INTO kv_entries (tenant, namespace, key, value, kind, description, version, created_at, updated_at, \
             expires_at) VALUES ($1, $2, $3, $4, $5, $6, 1 + COALESCE((SELECT MAX(v.version) FROM kv_versions v \
             WHERE v.tenant = $1 AND v.namespace = $2 AND v.key = $3), 0), $7, $7, $8) \
             ON CONFLICT (tenant, namespace, key) DO UPDATE SET value = excluded.value, kind = excluded.kind, \
             description = excluded.description, updated_at = excluded.updated_at, expires_at = excluded.expires_at, \
             version = kv_entries.version + 1, \
             created_at = CASE WHEN kv_entries.expires_at <= $7 THEN $7 ELSE kv_entries.created_at END{over} \
             RETURNING version"
        );
        let values = [
            tenant(of),
            text(new.namespace),
            text(free_text(new.key)),
            text(free_text(new.value)),
            text(new.kind),
            text_or_null(new.description.map(free_text)),
            time(now),
            time_or_null(new.expires_in.map(|lifetime| now.plus(lifetime))),
        ];
        let row = db.query_one_raw(self.statement(&sql, values.clone())).await?;
        let version: Option<i32> = row.map(|row| row.try_get_by_index(0)).transpose()?;
        if let Some(version) = version {
            // A server of the version before may have written without keeping one.
            let sql = "INSERT INTO kv_versions (tenant, namespace, key, value, kind, description, written_at, \
                       expires_at, version) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
                       ON CONFLICT (tenant, namespace, key, version) DO UPDATE SET value = excluded.value, \
                       kind = excluded.kind, description = excluded.description, written_at = excluded.written_at, \
                       expires_at = excluded.expires_at";
            let values = values.into_iter().chain([int(version)]);
            db.execute_raw(self.statement(sql, values)).await?;
        }
        db.commit().await?;
        version.map(|version| number("key", version)).transpose()
    }

    /// `false`: there was none. An expired one counts as absent, and goes. Its versions stay until they are purged.
    pub async fn delete_kv(&self, of: &Tenant, namespace: &str, key: &str) -> Result<bool> {
        let now = self.backend().now();
        let sql = format!(
            "DELETE FROM kv_entries WHERE tenant = $1 AND namespace = $2 AND key = $3 \
             RETURNING CASE WHEN expires_at <= {now} THEN 0 ELSE 1 END"
        );
        let values = [tenant(of), text(namespace), text(free_text(key))];
        let row = self.write().query_one_raw(self.statement(&sql, values)).await?;
        let was_there: Option<i32> = row.map(|row| row.try_get_by_index(0)).transpose()?;
        Ok(was_there == Some(1))
    }

    /// Entries of a namespace alone whose keys begin with `prefix`, by key, after that one; without expired ones.
    pub async fn list_kv(
        &self,
        tenant: &Tenant,
        namespace: &str,
        prefix: &str,
        after: Option<&str>,
        limit: u64,
    ) -> Result<Vec<KvRow>> {
        use kv_entries::Column;
        let now = self.now().await?;
        let current = Condition::any().add(Column::ExpiresAt.is_null()).add(Column::ExpiresAt.gt(now.as_micros()));
        let mut query = kv_entries::Entity::find()
            .filter(Column::Tenant.eq(tenant.as_str()))
            .filter(Column::Namespace.eq(namespace))
            .filter(current)
            .order_by_asc(Column::Key)
            .limit(limit);
        if !prefix.is_empty() {
            query = query.filter(Column::Key.gte(prefix));
            if let Some(end) = end_of_prefix(prefix) {
                query = query.filter(Column::Key.lt(end));
            }
        }
        if let Some(after) = after {
            query = query.filter(Column::Key.gt(after));
        }
        query.all(self.read()).await?.into_iter().map(|row| entry(row, now)).collect()
    }

    /// Whether there is a flow (that is not deleted) or an entry in the namespace or below it.
    pub async fn namespace_exists(&self, tenant: &Tenant, namespace: &str) -> Result<bool> {
        let within = [filter::NamespaceFilter::Within(namespace.to_owned())];
        let flow = flows::Entity::find()
            .select_only()
            .column(flows::Column::Id)
            .filter(flows::Column::Tenant.eq(tenant.as_str()))
            .filter(Condition::all().add_option(filter::namespaces(flows::Column::Namespace, &within)))
            .filter(flows::Column::Deleted.eq(false))
            .filter(crate::flows::is_last())
            .limit(1);
        if flow.into_tuple::<String>().one(self.read()).await?.is_some() {
            return Ok(true);
        }
        let entry = kv_entries::Entity::find()
            .select_only()
            .column(kv_entries::Column::Key)
            .filter(kv_entries::Column::Tenant.eq(tenant.as_str()))
            .filter(Condition::all().add_option(filter::namespaces(kv_entries::Column::Namespace, &within)))
            .limit(1);
        Ok(entry.into_tuple::<String>().one(self.read()).await?.is_some())
    }
}

/// The first text that sorts behind all that begin with `prefix`, by bytes (which is by code points); `None`: there is
/// none.
fn end_of_prefix(prefix: &str) -> Option<String> {
    let mut letters: Vec<char> = prefix.chars().collect();
    while let Some(last) = letters.pop() {
        // The range leaves out what is no letter.
        if let Some(next) = (last..=char::MAX).nth(1) {
            letters.push(next);
            return Some(letters.into_iter().collect());
        }
    }
    None
}

fn entry(row: kv_entries::Model, now: Timestamp) -> Result<KvRow> {
    let expires_at = row.expires_at.map(Timestamp::from_micros);
    Ok(KvRow {
        tenant: Tenant::trusted(&row.tenant),
        namespace: row.namespace,
        key: row.key,
        value: row.value,
        kind: row.kind,
        description: row.description,
        version: number("key", row.version)?,
        created_at: Timestamp::from_micros(row.created_at),
        updated_at: Timestamp::from_micros(row.updated_at),
        expires_at,
        expired: expires_at.is_some_and(|at| at <= now),
    })
}
