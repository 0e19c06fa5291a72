//! Settings of the gateway.

use windhover_types::{JsonMap, Secret, Tenant};

/// Characters of a bootstrap token at least.
pub const MIN_BOOTSTRAP_TOKEN: usize = 32;

/// Who may call without a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Callers from loopback are platform administrators.
    Local,
    /// Nobody.
    Standalone,
}

/// Settings of the gateway; every field has a default.
#[derive(Debug, Clone)]
pub struct Settings {
    pub mode: Mode,
    /// A platform administrator for as long as it is set; at least 32 characters.
    pub bootstrap_token: Option<Secret>,
    /// Bytes of a gRPC request at most (16 MiB).
    pub max_request_bytes: usize,
    /// Bytes of the inputs of an execution together, and of a webhook's body, at most (4 MiB).
    pub max_input_bytes: usize,
    /// Tenant of webhooks without one in their path, and of credentials that belong to none.
    pub default_tenant: Tenant,
    /// Requests of each tenant, in bursts of twice as many; 0 = no limit.
    pub requests_per_second: u32,
    /// What templates that the gateway renders see besides the flow: `envs`, `globals` and the like, by name.
    pub expression_globals: JsonMap,
    /// Where people reach this installation, for links.
    pub public_url: Option<String>,
    /// How long calls that are under way may take to end when the server stops.
    pub stop_grace: std::time::Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mode: Mode::Standalone,
            bootstrap_token: None,
            max_request_bytes: 16 * 1024 * 1024,
            max_input_bytes: 4 * 1024 * 1024,
            default_tenant: Tenant::main(),
            requests_per_second: 10_000,
            expression_globals: JsonMap::new(),
            public_url: None,
            stop_grace: std::time::Duration::from_secs(10),
        }
    }
}
