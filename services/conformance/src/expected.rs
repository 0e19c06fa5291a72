//! Which cases must pass, and which are known to fail.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use serde::Deserialize;

/// The table in `expected.yaml`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// These pass; neither a failure nor a skip is good enough.
    pub must_pass: BTreeSet<String>,
    /// These may fail, for the reason given.
    #[serde(default)]
    pub known_failures: BTreeMap<String, String>,
}

impl Expected {
    /// Neither a failure nor a skip is good enough. Of the cases of this crate that is so for all but the known ones.
    pub fn must_pass(&self, name: &str) -> bool {
        self.must_pass.contains(name) || (name.starts_with("corner-") && !self.known_failures.contains_key(name))
    }

    /// The table of this crate.
    pub fn of_this_version() -> Result<Self> {
        Ok(serde_yaml::from_str(include_str!("../expected.yaml"))?)
    }
}
