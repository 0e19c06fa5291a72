//! What Redis itself says and can do.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use windhover_testkit::Redis;

/// `SET`s per second of `redis-benchmark`, 50 connections, one command at a time each: what this machine allows.
pub(crate) fn benchmark(port: u16) -> Result<f64> {
    let output = Command::new("redis-benchmark")
        .args(["-p", &port.to_string(), "-t", "set", "-n", "300000", "-c", "50", "--csv"])
        .stderr(Stdio::piped())
        .output()
        .context("redis-benchmark; on Debian and Ubuntu: apt-get install redis-tools")?;
    if !output.status.success() {
        bail!("redis-benchmark failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find(|line| line.starts_with("\"SET\"")).context("redis-benchmark told nothing of SET")?;
    let rate = line.split(',').nth(1).and_then(|field| field.trim_matches('"').parse().ok());
    rate.context("redis-benchmark told no rate")
}

/// What its data take, in MB.
pub(crate) async fn memory_mb(redis: &Redis) -> Result<f64> {
    let text = redis.command("INFO memory").await?;
    let bytes = text.lines().find_map(|line| line.trim().strip_prefix("used_memory:")?.parse::<f64>().ok());
    Ok(bytes.context("Redis told no used_memory")? / f64::from(1 << 20))
}
