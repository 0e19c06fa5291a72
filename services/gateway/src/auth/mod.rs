//! Who calls, for which tenant, and whether they may.

mod permissions;
mod rate;

use std::{collections::HashMap, net::IpAddr, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use http::{HeaderMap, Uri, header};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use windhover_proto::{metadata, reasons};
use windhover_types::{Error, ErrorKind, Id, Secret, Tenant, Timestamp};

pub(crate) use permissions::{Required, Role, required};
pub(crate) use rate::Rates;

use crate::{error::Result, settings::MIN_BOOTSTRAP_TOKEN};

/// Whoever makes a call, in the tenant that the call is about. In the extensions of every authenticated request.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) tenant: Tenant,
    pub(crate) role: Role,
    /// Name of the token, `bootstrap`, or `local`.
    pub(crate) subject: Arc<str>,
    pub(crate) token_id: Option<Id>,
    pub(crate) expires: Option<Timestamp>,
}

impl Caller {
    /// PERMISSION_DENIED unless the caller has this role or one above it.
    pub(crate) fn require(&self, role: Role) -> Result<()> {
        if self.role >= role {
            return Ok(());
        }
        let message = format!("this needs the role {}; the caller is {}", role.as_str(), self.role.as_str());
        Err(Error::new(ErrorKind::PermissionDenied, reasons::PERMISSION_DENIED, message).with("role", role.as_str()))
    }
}

/// A token as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct FoundToken {
    pub(crate) id: Id,
    pub(crate) tenant: Tenant,
    pub(crate) name: Arc<str>,
    pub(crate) role: Role,
    pub(crate) expires: Option<Timestamp>,
    pub(crate) revoked: bool,
}

/// Where tokens and tenants are looked up.
pub(crate) trait Directory: Send + Sync {
    fn token(&self, hash: [u8; 32]) -> BoxFuture<'_, Result<Option<FoundToken>>>;
    fn tenant_exists<'a>(&'a self, tenant: &'a Tenant) -> BoxFuture<'a, Result<bool>>;
}

/// What a call shows of its caller.
pub(crate) struct Credentials<'a> {
    pub(crate) headers: &'a HeaderMap,
    pub(crate) peer: Option<IpAddr>,
    pub(crate) now: Timestamp,
}

/// Turns credentials into callers.
pub(crate) struct Authenticator {
    directory: Arc<dyn Directory>,
    bootstrap: Option<Secret>,
    /// Callers from loopback need no credential.
    local: bool,
    default_tenant: Tenant,
    tokens: Mutex<Cache<[u8; 32], Option<Arc<FoundToken>>>>,
    tenants: Mutex<Cache<Tenant, ()>>,
}

/// How long a token or tenant is believed without looking: as long at most, another gateway takes a token that was
/// revoked on this one.
const BELIEVED: Duration = Duration::from_secs(3);
const CACHED: usize = 10_000;

impl Authenticator {
    pub(crate) fn new(
        directory: Arc<dyn Directory>,
        bootstrap: Option<Secret>,
        local: bool,
        default_tenant: Tenant,
    ) -> Result<Self, String> {
        if bootstrap.as_ref().is_some_and(|token| token.expose().len() < MIN_BOOTSTRAP_TOKEN) {
            return Err(format!("the bootstrap token must have at least {MIN_BOOTSTRAP_TOKEN} characters"));
        }
        Ok(Self { directory, bootstrap, local, default_tenant, tokens: Mutex::default(), tenants: Mutex::default() })
    }

    /// The caller of a request, in the tenant that it acts in.
    ///
    /// # Errors
    /// UNAUTHENTICATED without a credential that is good; PERMISSION_DENIED for a tenant that it is not good for;
    /// TENANT_NOT_FOUND; UNAVAILABLE when the store cannot be asked.
    pub(crate) async fn caller(&self, credentials: &Credentials<'_>) -> Result<Caller> {
        let caller = match bearer(credentials.headers)? {
            Some(token) => self.holder(token, credentials.now).await?,
            None if self.local && is_local(credentials) => self.administrator("local"),
            None => return Err(unauthenticated("no credential: send `authorization: Bearer TOKEN`")),
        };
        self.in_tenant(caller, credentials).await
    }

    async fn holder(&self, token: &str, now: Timestamp) -> Result<Caller> {
        if let Some(bootstrap) = &self.bootstrap {
            // Hashes have equal lengths, so that not even the length shows in the time that this takes.
            let [ours, theirs] = [bootstrap.expose(), token].map(|text| <[u8; 32]>::from(Sha256::digest(text)));
            if bool::from(ours.ct_eq(&theirs)) {
                return Ok(self.administrator("bootstrap"));
            }
        }
        let wrong = || unauthenticated("the token is wrong, expired or revoked");
        let found = self.token(Sha256::digest(token).into(), now).await?.ok_or_else(wrong)?;
        if found.revoked || found.expires.is_some_and(|expires| expires <= now) {
            return Err(wrong());
        }
        Ok(Caller {
            tenant: found.tenant.clone(),
            role: found.role,
            subject: Arc::clone(&found.name),
            token_id: Some(found.id),
            expires: found.expires,
        })
    }

    async fn token(&self, hash: [u8; 32], now: Timestamp) -> Result<Option<Arc<FoundToken>>> {
        if let Some(known) = self.tokens.lock().get(&hash, now) {
            return Ok(known);
        }
        let found = self.directory.token(hash).await?.map(Arc::new);
        self.tokens.lock().put(hash, found.clone(), now);
        Ok(found)
    }

    async fn in_tenant(&self, mut caller: Caller, credentials: &Credentials<'_>) -> Result<Caller> {
        if let Some(asked) = credentials.headers.get(metadata::TENANT) {
            let asked = asked.to_str().unwrap_or_default();
            if asked != caller.tenant.as_str() {
                if caller.role < Role::PlatformAdmin {
                    let message = format!("this credential is only good for the tenant `{}`", caller.tenant);
                    return Err(Error::new(ErrorKind::PermissionDenied, reasons::PERMISSION_DENIED, message)
                        .with("role", Role::PlatformAdmin.as_str()));
                }
                caller.tenant = Tenant::parse(asked)?;
            }
        }
        self.check_tenant(&caller.tenant, credentials.now).await?;
        Ok(caller)
    }

    /// TENANT_NOT_FOUND unless the tenant exists.
    pub(crate) async fn check_tenant(&self, tenant: &Tenant, now: Timestamp) -> Result<()> {
        if self.tenants.lock().get(tenant, now).is_some() {
            return Ok(());
        }
        if !self.directory.tenant_exists(tenant).await? {
            return Err(tenant_not_found(tenant.as_str()));
        }
        self.tenants.lock().put(tenant.clone(), (), now);
        Ok(())
    }

    fn administrator(&self, subject: &str) -> Caller {
        let tenant = self.default_tenant.clone();
        Caller { tenant, role: Role::PlatformAdmin, subject: subject.into(), token_id: None, expires: None }
    }

    /// After a token was revoked here: nothing is believed any more.
    pub(crate) fn forget_tokens(&self) {
        self.tokens.lock().clear();
    }
}

pub(crate) fn tenant_not_found(tenant: &str) -> Error {
    Error::new(ErrorKind::NotFound, reasons::TENANT_NOT_FOUND, format!("there is no tenant `{tenant}`"))
        .with("tenant", tenant)
}

fn unauthenticated(message: &str) -> Error {
    Error::new(ErrorKind::Unauthenticated, reasons::UNAUTHENTICATED, message)
}

/// The token of `authorization: Bearer …`; `None` without the header.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let text = value.to_str().map_err(|_| unauthenticated("the `authorization` metadata is not text"))?;
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty() => {
            Ok(Some(token.trim()))
        }
        _ => Err(unauthenticated("the `authorization` metadata must be `Bearer TOKEN`")),
    }
}

/// From this machine, and not from a page of another site in a browser on it: such a page can reach loopback as well
/// (also under a name of its own that resolves to it), but the browser then says where it comes from.
fn is_local(credentials: &Credentials<'_>) -> bool {
    let loopback = credentials.peer.is_some_and(|peer| peer.to_canonical().is_loopback());
    let origin = credentials.headers.get(header::ORIGIN);
    loopback && origin.is_none_or(|origin| origin.to_str().is_ok_and(is_loopback_origin))
}

fn is_loopback_origin(origin: &str) -> bool {
    let Ok(uri) = origin.parse::<Uri>() else { return false };
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A small cache: everything is good for [`BELIEVED`]; when it is full it begins anew.
struct Cache<K, V>(HashMap<K, (Timestamp, V)>);

impl<K, V> Default for Cache<K, V> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: std::hash::Hash + Eq, V: Clone> Cache<K, V> {
    fn get(&self, key: &K, now: Timestamp) -> Option<V> {
        // A clock that was set back must not make an entry live on.
        self.0
            .get(key)
            .filter(|(since, _)| *since <= now && now.since(*since) < BELIEVED)
            .map(|(_, value)| value.clone())
    }

    fn put(&mut self, key: K, value: V, now: Timestamp) {
        if self.0.len() >= CACHED {
            self.0.clear();
        }
        self.0.insert(key, (now, value));
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests;
