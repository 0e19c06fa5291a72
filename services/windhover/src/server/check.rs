//! What can be wrong with the settings themselves, told before anything is opened, made or taken.

use anyhow::{Result, bail};
use serde_json::Value;
use windhover_gateway::MIN_BOOTSTRAP_TOKEN;

use crate::settings::Settings;

const PREFIX: &str = "windhover.";

/// # Errors
/// The first setting that is wrong, and what it may be.
pub(super) fn check(settings: &Settings) -> Result<()> {
    if settings.ignored.iter().any(|name| name == PREFIX.trim_end_matches('.')) {
        bail!("`windhover` in the settings file must be a map, e.g. `windhover: {{port: 8080}}`");
    }
    single_values(PREFIX.trim_end_matches('.'), &Value::Object(settings.tree(PREFIX)?))?;
    // What is told to have a size cannot do without one; 0 requests per second are no limit.
    for key in [
        "windhover.database.max-connections",
        "windhover.limits.max-input-bytes",
        "windhover.limits.max-request-bytes",
        "windhover.shards",
        "windhover.worker.slots",
    ] {
        if settings.number::<u32>(key)? == Some(0) {
            bail!("the setting `{key}` must be at least 1");
        }
    }
    settings.number::<u16>("windhover.shards")?;
    settings.number::<u32>("windhover.limits.requests-per-second")?;
    settings.switch("windhover.outbound.allow-private")?;
    let token = settings.text("windhover.bootstrap-token");
    if token.is_some_and(|token| token.len() < MIN_BOOTSTRAP_TOKEN) {
        bail!(
            "the bootstrap token (windhover.bootstrap-token) must have at least {MIN_BOOTSTRAP_TOKEN} characters; `openssl rand -hex 32` makes one"
        );
    }
    Ok(())
}

/// A list would otherwise count as a setting that is absent.
fn single_values(name: &str, value: &Value) -> Result<()> {
    match value {
        Value::Object(map) => map.iter().try_for_each(|(key, value)| single_values(&format!("{name}.{key}"), value)),
        Value::Array(_) => bail!("the setting `{name}` must be one value, not a list"),
        _ => Ok(()),
    }
}
