//! What can be wrong with the settings themselves, told before anything is opened, made or taken.

use anyhow::{Result, bail};
use serde_json::Value;
use windhover_gateway::MIN_BOOTSTRAP_TOKEN;

use super::{
    large,
    mode::{Mode, Redis},
    transport,
};
use crate::settings::Settings;

const PREFIX: &str = "windhover.";

/// # Errors
/// The first setting that is wrong, and what it may be.
pub(super) fn check(mode: Mode, settings: &Settings) -> Result<()> {
    if settings.ignored.iter().any(|name| name == PREFIX.trim_end_matches('.')) {
        bail!("`windhover` in the settings file must be a map, e.g. `windhover: {{port: 8080}}`");
    }
    single_values(PREFIX.trim_end_matches('.'), &Value::Object(settings.tree(PREFIX)?))?;
    // What is told to have a size cannot do without one; 0 requests per second are no limit.
    for key in [
        "windhover.database.max-connections",
        "windhover.limits.max-input-bytes",
        "windhover.limits.max-request-bytes",
        "windhover.queue.max-job-bytes",
        "windhover.queue.max-report-bytes",
        "windhover.queue.window",
        "windhover.shards",
        "windhover.worker.slots",
    ] {
        if settings.number::<u32>(key)? == Some(0) {
            bail!("the setting `{key}` must be at least 1");
        }
    }
    settings.number::<u16>("windhover.shards")?;
    large::max_row_bytes(settings)?;
    settings.number::<u32>("windhover.limits.requests-per-second")?;
    settings.switch("windhover.outbound.allow-private")?;
    settings.clock_offset()?;
    group(settings)?;
    redis(mode, settings)?;
    let token = settings.text("windhover.bootstrap-token");
    if token.is_some_and(|token| token.len() < MIN_BOOTSTRAP_TOKEN) {
        bail!(
            "the bootstrap token (windhover.bootstrap-token) must have at least {MIN_BOOTSTRAP_TOKEN} characters; `openssl rand -hex 32` makes one"
        );
    }
    Ok(())
}

/// As flows can name it.
fn group(settings: &Settings) -> Result<()> {
    for key in ["windhover.worker.group", "kestra.worker.group"] {
        let Some(group) = settings.text(key) else { continue };
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if group.is_empty() || group.starts_with(['-', '_']) || !group.chars().all(fits) {
            bail!(
                "the setting `{key}` is letters, digits, `-` and `_`, and begins with a letter or digit, not `{group}`"
            );
        }
    }
    Ok(())
}

fn redis(mode: Mode, settings: &Settings) -> Result<()> {
    let row = mode.row();
    let Some(urls) = transport::urls(settings, mode) else {
        if row.redis == Redis::Needed {
            bail!(
                "`windhover server {}` works together with other processes and needs Redis: WINDHOVER_REDIS_URL=redis://host:6379 (or {} in --config); `windhover server standalone` does everything in one process without it",
                row.name,
                transport::URL
            );
        }
        return Ok(());
    };
    if urls.iter().any(|url| !url.starts_with("redis://") && !url.starts_with("rediss://")) {
        // It may hold a password: it is not shown.
        bail!(
            "the setting `{}` must begin with redis:// or rediss:// (each node, with commas between them)",
            transport::URL
        );
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':');
    let fits = |prefix: &String| (1..=64).contains(&prefix.len()) && prefix.chars().all(plain);
    if settings.text("windhover.redis.prefix").is_some_and(|prefix| !fits(&prefix)) {
        bail!("the setting `windhover.redis.prefix` is 1 to 64 letters, digits, `_`, `-`, `.` and `:`");
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
