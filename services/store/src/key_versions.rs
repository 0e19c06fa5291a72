//! What was written under keys before, and how keys and their versions go.
//!
//! A deletion leaves the versions, so that a key which comes back goes on counting; a purge takes them.

use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect};
use windhover_types::{Tenant, Timestamp};

use crate::{
    Store,
    bulk::{Bulk, Kind::Text, int, tenant, text, time},
    entity::kv_entries,
    error::Result,
};

/// Keys of one transaction.
const CHUNK: usize = 500;

const KEY: &[(&str, crate::bulk::Kind)] = &[("tenant", Text), ("namespace", Text), ("key", Text)];

static ENTRIES: Bulk =
    Bulk::new(KEY, "DELETE FROM kv_entries WHERE (tenant, namespace, key) IN (SELECT {columns} FROM u)");
static EXPIRED_ENTRIES: Bulk = Bulk::new(
    KEY,
    "DELETE FROM kv_entries WHERE (tenant, namespace, key) IN (SELECT {columns} FROM u) AND expires_at <= {now}",
);
/// Of keys that are not there (any more).
static VERSIONS: Bulk = Bulk::new(
    KEY,
    "DELETE FROM kv_versions WHERE (tenant, namespace, key) IN (SELECT {columns} FROM u) AND NOT EXISTS \
     (SELECT 1 FROM kv_entries e WHERE e.tenant = kv_versions.tenant AND e.namespace = kv_versions.namespace \
     AND e.key = kv_versions.key)",
);

/// Which keys of a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KvKeys {
    /// Those whose time has passed.
    Expired,
    /// Those that have a value, expired or not.
    Present,
    /// Those of which more than so many versions are kept, deleted ones too.
    WithVersions { more_than: u32 },
}

/// Which versions of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KvVersions {
    /// Those written up to that time (included), without the newest of all.
    WrittenUntil(Timestamp),
    /// All but so many of the newest; with 0 the key itself goes too.
    AllButNewest(u32),
}

#[derive(FromQueryResult)]
struct Place {
    tenant: String,
    namespace: String,
    key: String,
}

impl Store {
    /// Keys of a namespace alone, by name, after that one.
    pub async fn kv_keys(
        &self,
        of: &Tenant,
        namespace: &str,
        which: KvKeys,
        after: Option<&str>,
        limit: u64,
    ) -> Result<Vec<String>> {
        let after = after.unwrap_or_default();
        let from = "WHERE tenant = $1 AND namespace = $2 AND key > $3";
        let sql = match which {
            KvKeys::Present => format!("SELECT key FROM kv_entries {from} ORDER BY key LIMIT $4"),
            KvKeys::Expired => {
                let now = self.backend().now();
                format!("SELECT key FROM kv_entries {from} AND expires_at <= {now} ORDER BY key LIMIT $4")
            }
            KvKeys::WithVersions { more_than } => format!(
                "SELECT key FROM kv_versions {from} GROUP BY key HAVING COUNT(*) > {more_than} ORDER BY key LIMIT $4"
            ),
        };
        let values = [tenant(of), text(namespace), text(after), int(i64::try_from(limit).unwrap_or(i64::MAX))];
        let rows = self.read().query_all_raw(self.statement(&sql, values)).await?;
        rows.into_iter().map(|row| Ok(row.try_get_by_index(0)?)).collect()
    }

    /// Takes these keys of a namespace with all their versions (`expired_only`: those whose time has passed); tells how
    /// many of them were there.
    pub async fn purge_kv_keys(
        &self,
        of: &Tenant,
        namespace: &str,
        keys: &[String],
        expired_only: bool,
    ) -> Result<u64> {
        let places = keys.iter().map(|key| (of.as_str(), namespace, key.as_str())).collect::<Vec<_>>();
        self.take_keys(&places, expired_only).await
    }

    /// Takes at most `limit` versions of a key, the newest of those meant first; tells how many.
    pub async fn purge_kv_versions(
        &self,
        of: &Tenant,
        namespace: &str,
        key: &str,
        which: KvVersions,
        limit: u32,
    ) -> Result<u64> {
        const THIS: &str = "tenant = $1 AND namespace = $2 AND key = $3";
        if which == KvVersions::AllButNewest(0) {
            // The key before its versions: it never has a value of which no version is kept.
            let mut rows = ENTRIES.rows(1);
            rows.push((of.as_str(), namespace, key).into_values());
            rows.run(self.write()).await?;
        }
        let (meant, bound) = match which {
            KvVersions::WrittenUntil(at) => (
                format!(
                    "SELECT version FROM kv_versions WHERE {THIS} AND written_at <= $4 \
                     AND version < (SELECT MAX(version) FROM kv_versions WHERE {THIS}) ORDER BY version LIMIT {limit}"
                ),
                time(at),
            ),
            KvVersions::AllButNewest(kept) => (
                format!("SELECT version FROM kv_versions WHERE {THIS} ORDER BY version DESC LIMIT {limit} OFFSET $4"),
                int(kept),
            ),
        };
        let sql = format!("DELETE FROM kv_versions WHERE {THIS} AND version IN ({meant})");
        let values = [tenant(of), text(namespace), text(key), bound];
        Ok(self.write().execute_raw(self.statement(&sql, values)).await?.rows_affected())
    }

    /// Forgets at most `limit` entries whose time has passed, of all tenants, with their versions; tells how many.
    pub async fn purge_expired_kv(&self, limit: u64) -> Result<u64> {
        use kv_entries::Column;
        let now = self.now().await?;
        let found = kv_entries::Entity::find()
            .select_only()
            .columns([Column::Tenant, Column::Namespace, Column::Key])
            .filter(Column::ExpiresAt.lte(now.as_micros()))
            .order_by_asc(Column::ExpiresAt)
            .limit(limit)
            .into_model::<Place>()
            .all(self.read())
            .await?;
        let places: Vec<_> =
            found.iter().map(|place| (place.tenant.as_str(), place.namespace.as_str(), place.key.as_str())).collect();
        self.take_keys(&places, true).await
    }

    async fn take_keys(&self, places: &[(&str, &str, &str)], expired_only: bool) -> Result<u64> {
        let mut taken = 0;
        for chunk in places.chunks(CHUNK) {
            let db = self.begin().await?;
            for (statement, counts) in
                [(if expired_only { &EXPIRED_ENTRIES } else { &ENTRIES }, true), (&VERSIONS, false)]
            {
                let mut rows = statement.rows(chunk.len());
                chunk.iter().for_each(|place| rows.push(place.into_values()));
                let touched = rows.run(&db).await?;
                taken += if counts { touched } else { 0 };
            }
            db.commit().await?;
        }
        Ok(taken)
    }
}

trait IntoValues {
    fn into_values(self) -> [sea_orm::Value; 3];
}

impl IntoValues for (&str, &str, &str) {
    fn into_values(self) -> [sea_orm::Value; 3] {
        [text(self.0), text(self.1), text(self.2)]
    }
}
