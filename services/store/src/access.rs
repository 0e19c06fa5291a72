//! Service accounts and their tokens. Of a token only the hash is known here.

use sea_orm::{
    ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
    sea_query::{Expr, OnConflict},
};
use windhover_types::{Id, Tenant, Timestamp};

use crate::{
    Store,
    entity::{api_tokens, service_accounts},
    error::Result,
    rows::{corrupt, parse_id},
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceAccount {
    pub tenant: Tenant,
    pub id: Id,
    pub name: String,
    pub created_at: Timestamp,
}

/// A token of a service account.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    pub tenant: Tenant,
    pub id: Id,
    pub account: Id,
    /// Name of the role that it gives; its meaning is the gateway's.
    pub role: String,
    /// SHA-256 of the token.
    pub hash: [u8; 32],
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Token({:?} of {:?}, {})", self.id, self.tenant, self.role)
    }
}

impl Token {
    /// Neither revoked nor expired.
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|at| at > now)
    }
}

impl Store {
    /// Makes an account unless the tenant has one of that name; answers the one that is there.
    pub async fn ensure_service_account(&self, account: &ServiceAccount) -> Result<ServiceAccount> {
        let row: service_accounts::ActiveModel = service_accounts::Model {
            tenant: account.tenant.as_str().to_owned(),
            id: account.id.as_bytes().to_vec(),
            name: account.name.clone(),
            created_at: account.created_at.as_micros(),
        }
        .into();
        let none = OnConflict::new().do_nothing().to_owned();
        service_accounts::Entity::insert(row).on_conflict(none).exec_without_returning(self.write()).await?;
        let stored = service_accounts::Entity::find()
            .filter(service_accounts::Column::Tenant.eq(account.tenant.as_str()))
            .filter(service_accounts::Column::Name.eq(&account.name))
            .one(self.write())
            .await?;
        stored.map_or_else(|| Ok(account.clone()), service_account)
    }

    /// By name, after that one.
    pub async fn list_service_accounts(
        &self,
        tenant: &Tenant,
        after: Option<&str>,
        limit: u64,
    ) -> Result<Vec<ServiceAccount>> {
        let mut query = service_accounts::Entity::find()
            .filter(service_accounts::Column::Tenant.eq(tenant.as_str()))
            .order_by_asc(service_accounts::Column::Name)
            .limit(limit);
        if let Some(after) = after {
            query = query.filter(service_accounts::Column::Name.gt(after));
        }
        query.all(self.read()).await?.into_iter().map(service_account).collect()
    }

    pub async fn get_service_account(&self, tenant: &Tenant, id: Id) -> Result<Option<ServiceAccount>> {
        let key = (tenant.as_str().to_owned(), id.as_bytes().to_vec());
        service_accounts::Entity::find_by_id(key).one(self.read()).await?.map(service_account).transpose()
    }

    pub async fn create_token(&self, token: &Token) -> Result<()> {
        let row: api_tokens::ActiveModel = api_tokens::Model {
            tenant: token.tenant.as_str().to_owned(),
            id: token.id.as_bytes().to_vec(),
            account: token.account.as_bytes().to_vec(),
            role: token.role.clone(),
            hash: token.hash.to_vec(),
            created_at: token.created_at.as_micros(),
            expires_at: token.expires_at.map(Timestamp::as_micros),
            revoked_at: token.revoked_at.map(Timestamp::as_micros),
        }
        .into();
        api_tokens::Entity::insert(row).exec_without_returning(self.write()).await?;
        Ok(())
    }

    /// The token with this hash, of whatever tenant, also when it is no longer valid: it tells the tenant.
    pub async fn find_token(&self, hash: &[u8; 32]) -> Result<Option<Token>> {
        let found =
            api_tokens::Entity::find().filter(api_tokens::Column::Hash.eq(hash.to_vec())).one(self.read()).await?;
        found.map(token).transpose()
    }

    /// Newest first, before that one; revoked and expired ones too.
    pub async fn list_tokens(&self, tenant: &Tenant, before: Option<Id>, limit: u64) -> Result<Vec<Token>> {
        let mut query = api_tokens::Entity::find()
            .filter(api_tokens::Column::Tenant.eq(tenant.as_str()))
            .order_by_desc(api_tokens::Column::Id)
            .limit(limit);
        if let Some(before) = before {
            query = query.filter(api_tokens::Column::Id.lt(before.as_bytes().to_vec()));
        }
        query.all(self.read()).await?.into_iter().map(token).collect()
    }

    /// Tells whether there was one that was not revoked yet.
    pub async fn revoke_token(&self, tenant: &Tenant, id: Id, now: Timestamp) -> Result<bool> {
        let outcome = api_tokens::Entity::update_many()
            .col_expr(api_tokens::Column::RevokedAt, Expr::value(now.as_micros()))
            .filter(api_tokens::Column::Tenant.eq(tenant.as_str()))
            .filter(api_tokens::Column::Id.eq(id.as_bytes().to_vec()))
            .filter(api_tokens::Column::RevokedAt.is_null())
            .exec(self.write())
            .await?;
        Ok(outcome.rows_affected > 0)
    }
}

fn service_account(row: service_accounts::Model) -> Result<ServiceAccount> {
    Ok(ServiceAccount {
        tenant: Tenant::trusted(&row.tenant),
        id: parse_id("service account", &row.id)?,
        name: row.name,
        created_at: Timestamp::from_micros(row.created_at),
    })
}

fn token(row: api_tokens::Model) -> Result<Token> {
    const WHAT: &str = "token";
    Ok(Token {
        tenant: Tenant::trusted(&row.tenant),
        id: parse_id(WHAT, &row.id)?,
        account: parse_id(WHAT, &row.account)?,
        role: row.role,
        hash: row.hash.try_into().map_err(|_| corrupt(WHAT)("its hash has not 32 bytes".to_owned()))?,
        created_at: Timestamp::from_micros(row.created_at),
        expires_at: row.expires_at.map(Timestamp::from_micros),
        revoked_at: row.revoked_at.map(Timestamp::from_micros),
    })
}
