//! Name resolution that lets through what may be called.

use std::net::SocketAddr;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::{AddressPolicy, error::RefusedAddress};

/// The system's resolver, with the refused addresses taken out. Connections are opened to exactly the addresses that
/// were checked, so a name that resolves differently a moment later gains nothing.
#[derive(Debug, Clone)]
pub(crate) struct CheckedResolver {
    pub(crate) policy: AddressPolicy,
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.policy.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let mut refused = None;
            let mut allowed: Vec<SocketAddr> = Vec::new();
            for address in found {
                match policy.check(address.ip()) {
                    Ok(()) => allowed.push(address),
                    Err(kind) => refused = Some(kind),
                }
            }
            match refused {
                Some(kind) if allowed.is_empty() => Err(RefusedAddress(kind).into()),
                _ => Ok(Box::new(allowed.into_iter()) as Addrs),
            }
        })
    }
}
