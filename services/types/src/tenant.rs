//! Tenants.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind};

/// An isolated customer. Part of every key; never taken from what a client writes in a request.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tenant(Arc<str>);

impl Tenant {
    /// The name of the tenant that exists from the first start.
    pub const DEFAULT: &'static str = "main";
    const MAX_LENGTH: usize = 100;

    /// Checks that `name` is `[a-z0-9][a-z0-9_-]*` and at most 100 characters.
    pub fn parse(name: &str) -> Result<Self, Error> {
        let mut bytes = name.bytes();
        let first = bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let rest = bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-');
        if first && rest && name.len() <= Self::MAX_LENGTH {
            return Ok(Self(name.into()));
        }
        Err(Error::new(
            ErrorKind::InvalidArgument,
            "INVALID_TENANT",
            "a tenant's name must match [a-z0-9][a-z0-9_-]* and have at most 100 characters",
        ))
    }

    /// A name that was checked before it was stored.
    pub fn trusted(name: &str) -> Self {
        Self(name.into())
    }

    pub fn main() -> Self {
        Self(Self::DEFAULT.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
