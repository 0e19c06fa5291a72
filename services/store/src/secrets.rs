//! Secrets: ciphertext only. What is in it, `storage` knows.

use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QueryOrder, sea_query::OnConflict};
use windhover_types::{Tenant, Timestamp};

use crate::{
    Store,
    bulk::free_text,
    entity::{data_keys, secrets},
    error::Result,
    rows::number,
};

/// A secret as it is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredSecret {
    /// Where it is set; the namespace that was asked for, or one of its parents.
    pub namespace: String,
    /// As it was written last.
    pub name: String,
    pub ciphertext: Vec<u8>,
    /// From 1, raised by every change.
    pub version: u32,
    pub updated_at: Timestamp,
}

impl std::fmt::Debug for StoredSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StoredSecret({}/{} version {})", self.namespace, self.name, self.version)
    }
}

/// A tenant's key, wrapped by the master key.
#[derive(Clone, PartialEq, Eq)]
pub struct DataKey {
    pub id: u32,
    pub wrapped: Vec<u8>,
}

impl std::fmt::Debug for DataKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DataKey({})", self.id)
    }
}

impl Store {
    /// Sets a secret of a namespace; the empty namespace stands above all of the tenant. Answers its version.
    pub async fn put_secret(
        &self,
        tenant: &Tenant,
        namespace: &str,
        name: &str,
        ciphertext: &[u8],
        now: Timestamp,
    ) -> Result<u32> {
        let db = self.begin().await?;
        let key = (tenant.as_str().to_owned(), namespace.to_owned(), folded(name));
        let row = secrets::Model {
            tenant: key.0.clone(),
            namespace: key.1.clone(),
            folded: key.2.clone(),
            name: free_text(name),
            ciphertext: ciphertext.to_vec(),
            version: 1,
            updated_at: now.as_micros(),
        };
        use sea_orm::sea_query::{Expr, ExprTrait};
        use secrets::Column;
        let conflict = OnConflict::columns([Column::Tenant, Column::Namespace, Column::Folded])
            .update_columns([Column::Name, Column::Ciphertext, Column::UpdatedAt])
            .value(Column::Version, Expr::col((secrets::Entity, Column::Version)).add(1))
            .to_owned();
        let row: secrets::ActiveModel = row.into();
        secrets::Entity::insert(row).on_conflict(conflict).exec_without_returning(&db).await?;
        let stored = secrets::Entity::find_by_id(key).one(&db).await?;
        db.commit().await?;
        number("secret", stored.map_or(1, |row| row.version))
    }

    /// The secret of the namespace, else of its nearest parent that has one; names are compared without regard to case.
    pub async fn find_secret(&self, tenant: &Tenant, namespace: &str, name: &str) -> Result<Option<StoredSecret>> {
        let places = namespace_and_parents(namespace);
        let found = secrets::Entity::find()
            .filter(secrets::Column::Tenant.eq(tenant.as_str()))
            .filter(secrets::Column::Namespace.is_in(places))
            .filter(secrets::Column::Folded.eq(folded(name)))
            .all(self.read())
            .await?;
        // Of a namespace and its parents the longest is the nearest.
        found.into_iter().max_by_key(|row| row.namespace.len()).map(secret).transpose()
    }

    /// Secrets of a namespace by name; with `inherited` those of its parents too that it does not set itself.
    pub async fn list_secrets(&self, tenant: &Tenant, namespace: &str, inherited: bool) -> Result<Vec<StoredSecret>> {
        let places = if inherited { namespace_and_parents(namespace) } else { vec![namespace] };
        let mut found = secrets::Entity::find()
            .filter(secrets::Column::Tenant.eq(tenant.as_str()))
            .filter(secrets::Column::Namespace.is_in(places))
            .order_by_asc(secrets::Column::Folded)
            .all(self.read())
            .await?;
        found.sort_by(|a, b| (&a.folded, b.namespace.len()).cmp(&(&b.folded, a.namespace.len())));
        found.dedup_by(|later, kept| later.folded == kept.folded);
        found.into_iter().map(secret).collect()
    }

    /// Tells whether there was one in this very namespace.
    pub async fn delete_secret(&self, tenant: &Tenant, namespace: &str, name: &str) -> Result<bool> {
        let key = (tenant.as_str().to_owned(), namespace.to_owned(), folded(name));
        Ok(secrets::Entity::delete_by_id(key).exec(self.write()).await?.rows_affected > 0)
    }

    /// The tenant's wrapped keys, oldest first; the last one encrypts.
    pub async fn data_keys(&self, tenant: &Tenant) -> Result<Vec<DataKey>> {
        let rows = data_keys::Entity::find()
            .filter(data_keys::Column::Tenant.eq(tenant.as_str()))
            .order_by_asc(data_keys::Column::Id)
            .all(self.read())
            .await?;
        rows.into_iter().map(|row| Ok(DataKey { id: number("data key", row.id)?, wrapped: row.wrapped })).collect()
    }

    /// Keeps a wrapped key unless the tenant has one of that number; answers the one that is kept, since another
    /// process may have been first.
    pub async fn add_data_key(&self, tenant: &Tenant, key: &DataKey, now: Timestamp) -> Result<DataKey> {
        let id: i32 = number("data key", i64::from(key.id))?;
        let row = data_keys::ActiveModel {
            tenant: Set(tenant.as_str().to_owned()),
            id: Set(id),
            wrapped: Set(key.wrapped.clone()),
            created_at: Set(now.as_micros()),
        };
        let none = OnConflict::new().do_nothing().to_owned();
        data_keys::Entity::insert(row).on_conflict(none).exec_without_returning(self.write()).await?;
        let kept = data_keys::Entity::find_by_id((tenant.as_str().to_owned(), id)).one(self.write()).await?;
        Ok(DataKey { id: key.id, wrapped: kept.map_or_else(|| key.wrapped.clone(), |row| row.wrapped) })
    }
}

/// `a.b.c` → `a.b.c`, `a.b`, `a` and the empty namespace above all.
pub fn namespace_and_parents(namespace: &str) -> Vec<&str> {
    let mut places = Vec::new();
    let mut rest = namespace;
    while !rest.is_empty() {
        places.push(rest);
        rest = rest.rsplit_once('.').map_or("", |(parent, _)| parent);
    }
    places.push("");
    places
}

fn folded(name: &str) -> String {
    free_text(name).to_lowercase()
}

fn secret(row: secrets::Model) -> Result<StoredSecret> {
    Ok(StoredSecret {
        namespace: row.namespace,
        name: row.name,
        ciphertext: row.ciphertext,
        version: number("secret", row.version)?,
        updated_at: Timestamp::from_micros(row.updated_at),
    })
}
