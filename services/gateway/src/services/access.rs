//! AccessService: tokens, and who the caller is.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures::future::BoxFuture;
use rand::RngCore;
use sha2::{Digest, Sha256};
use tonic::{Request, Response, Status};
use windhover_executor::{new_id, now};
use windhover_proto::{
    admin::v1::{self as proto, access_service_server::AccessService},
    reasons,
};
use windhover_store::{ServiceAccount, Store, Token};
use windhover_types::{Error, ErrorKind, Id, Tenant};

use super::{Shared, answer, internal, lists::scan, open};
use crate::{
    auth::{Caller, Directory, FoundToken, Role},
    convert,
    create::check_request_id,
    error::{Result, invalid},
    page::{Binding, page_size},
};

const MAX_NAME: usize = 256;
/// Begins every token, so that one that was published by mistake is recognised.
const PREFIX: &str = "wht_";

pub(crate) struct AccessApi(pub(crate) Arc<Shared>);

#[tonic::async_trait]
impl AccessService for AccessApi {
    async fn create_token(
        &self,
        request: Request<proto::CreateTokenRequest>,
    ) -> Result<Response<proto::CreateTokenResponse>, Status> {
        let (caller, request) = open(request)?;
        answer(self.create(&caller, request).await)
    }

    async fn list_tokens(
        &self,
        request: Request<proto::ListTokensRequest>,
    ) -> Result<Response<proto::ListTokensResponse>, Status> {
        let (caller, request) = open(request)?;
        answer(self.list(&caller.tenant, request).await)
    }

    async fn revoke_token(
        &self,
        request: Request<proto::RevokeTokenRequest>,
    ) -> Result<Response<proto::RevokeTokenResponse>, Status> {
        let (caller, request) = open(request)?;
        answer(self.revoke(&caller, request).await)
    }

    async fn who_am_i(
        &self,
        request: Request<proto::WhoAmIRequest>,
    ) -> Result<Response<proto::WhoAmIResponse>, Status> {
        let (caller, _) = open(request)?;
        answer(Ok(proto::WhoAmIResponse {
            subject: caller.subject.to_string(),
            tenant_id: caller.tenant.as_str().to_owned(),
            role: caller.role.to_proto() as i32,
            token_id: caller.token_id.map(|id| id.to_string()).unwrap_or_default(),
            expires: caller.expires.map(convert::time),
        }))
    }
}

impl AccessApi {
    async fn create(&self, caller: &Caller, request: proto::CreateTokenRequest) -> Result<proto::CreateTokenResponse> {
        check_request_id(&request.request_id)?;
        let name = request.name.trim();
        if name.is_empty() || name.chars().count() > MAX_NAME {
            return Err(invalid("name", format!("1 to {MAX_NAME} characters")));
        }
        let role = proto::Role::try_from(request.role).ok().and_then(Role::from_proto);
        let role =
            role.ok_or_else(|| invalid("role", "is required: one of VIEWER, OPERATOR, EDITOR, ADMIN, PLATFORM_ADMIN"))?;
        caller.require(role)?;
        let lifetime = request.lifetime.map(|lifetime| convert::from_duration("lifetime", lifetime)).transpose()?;
        if lifetime.is_some_and(|lifetime| lifetime < Duration::from_secs(1)) {
            return Err(invalid("lifetime", "at least one second"));
        }
        // The text cannot be shown a second time, so the second use of a request id is refused whatever it asks for.
        self.0.reserve(&caller.tenant, "CreateToken", &request.request_id, &request).await?;

        let now = now();
        let tenant = caller.tenant.clone();
        let account = ServiceAccount { tenant: tenant.clone(), id: new_id(), name: name.to_owned(), created_at: now };
        let account = self.0.store.ensure_service_account(&account).await?;
        let text = token_text();
        let token = Token {
            tenant,
            id: new_id(),
            account: account.id,
            role: role.as_str().to_owned(),
            hash: Sha256::digest(&text).into(),
            created_at: now,
            expires_at: lifetime.map(|lifetime| now.plus(lifetime)),
            revoked_at: None,
        };
        self.0.store.create_token(&token).await?;
        self.0.audit(caller, "AccessService.CreateToken", format!("tokens/{}", token.id)).await;
        Ok(proto::CreateTokenResponse { token: Some(shown(&token, account.name)), token_text: text })
    }

    async fn list(&self, tenant: &Tenant, request: proto::ListTokensRequest) -> Result<proto::ListTokensResponse> {
        let binding = Binding::new(&["tokens", tenant.as_str()]);
        let after = self.0.begin(&binding, &request.page_token)?;
        let store = &self.0.store;
        let page = scan(
            page_size(request.page_size)?,
            after,
            true,
            |after, limit| async move {
                let before = after.and_then(|bytes| bytes.try_into().ok()).map(Id::from_bytes);
                Ok(store.list_tokens(tenant, before, limit).await?)
            },
            |token: &Token| token.id.as_bytes().to_vec(),
            |_| true,
        )
        .await?;
        let mut names: HashMap<Id, String> = HashMap::new();
        let mut tokens = Vec::with_capacity(page.items.len());
        for token in &page.items {
            let name = match names.entry(token.account) {
                Entry::Occupied(known) => known.get().clone(),
                Entry::Vacant(place) => place.insert(account_name(&self.0.store, token).await?).clone(),
            };
            tokens.push(shown(token, name));
        }
        Ok(proto::ListTokensResponse { tokens, next_page_token: self.0.next_token(&binding, page.next) })
    }

    async fn revoke(&self, caller: &Caller, request: proto::RevokeTokenRequest) -> Result<proto::RevokeTokenResponse> {
        let id = convert::id("token_id", &request.token_id)?;
        let revoked = self.0.store.revoke_token(&caller.tenant, id, now()).await?;
        self.0.auth.forget_tokens();
        // The ids of tokens sort by creation: the newest that is not newer than this one is this one, if it is there.
        let next = id.as_bytes().iter().all(|byte| *byte == 0xff);
        let before = if next { None } else { Some(successor(id)) };
        let found = self.0.store.list_tokens(&caller.tenant, before, 1).await?.into_iter().find(|token| token.id == id);
        let Some(token) = found else {
            let message = format!("there is no token {id}");
            return Err(Error::new(ErrorKind::NotFound, reasons::TOKEN_NOT_FOUND, message).with("token", id));
        };
        if revoked {
            self.0.audit(caller, "AccessService.RevokeToken", format!("tokens/{id}")).await;
        }
        let name = account_name(&self.0.store, &token).await?;
        Ok(proto::RevokeTokenResponse { token: Some(shown(&token, name)) })
    }
}

/// The id that comes right after this one.
fn successor(id: Id) -> Id {
    Id::from_bytes(u128::from_be_bytes(*id.as_bytes()).saturating_add(1).to_be_bytes())
}

/// 256 random bits.
fn token_text() -> String {
    let mut bytes = [0; 32];
    rand::rng().fill_bytes(&mut bytes);
    format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
}

async fn account_name(store: &Store, token: &Token) -> Result<String> {
    Ok(store.get_service_account(&token.tenant, token.account).await?.map(|account| account.name).unwrap_or_default())
}

fn shown(token: &Token, name: String) -> proto::Token {
    proto::Token {
        id: token.id.to_string(),
        tenant_id: token.tenant.as_str().to_owned(),
        name,
        role: Role::parse(&token.role).map_or(proto::Role::Unspecified, Role::to_proto) as i32,
        created: Some(convert::time(token.created_at)),
        expires: token.expires_at.map(convert::time),
        revoked: token.revoked_at.map(convert::time),
    }
}

/// Tokens and tenants as they are stored.
pub(crate) struct StoreDirectory(pub(crate) Store);

impl Directory for StoreDirectory {
    fn token(&self, hash: [u8; 32]) -> BoxFuture<'_, Result<Option<FoundToken>>> {
        Box::pin(async move {
            let Some(token) = self.0.find_token(&hash).await? else { return Ok(None) };
            let role = Role::parse(&token.role).ok_or_else(|| {
                internal(format!("the token {} has the role `{}`, which is unknown", token.id, token.role))
            })?;
            let name = account_name(&self.0, &token).await?.into();
            Ok(Some(FoundToken {
                id: token.id,
                tenant: token.tenant,
                name,
                role,
                expires: token.expires_at,
                revoked: token.revoked_at.is_some(),
            }))
        })
    }

    fn tenant_exists<'a>(&'a self, tenant: &'a Tenant) -> BoxFuture<'a, Result<bool>> {
        Box::pin(async move { Ok(self.0.get_tenant(tenant).await?.is_some()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_long_distinct_and_recognisable() {
        let (a, b) = (token_text(), token_text());
        assert!(a.starts_with(PREFIX) && a.len() == PREFIX.len() + 43 && a != b);
    }

    #[test]
    fn the_successor_of_an_id_is_the_next_one() {
        let id = Id::from_bytes([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff]);
        assert!(successor(id) > id);
        assert_eq!(successor(id).as_bytes()[14..], [2, 0]);
    }
}
