//! Signals to processes that the tests have started.

use std::process::Command;

use anyhow::{Context, bail};

/// Sends a signal by its name (`TERM`, `KILL`, `STOP` …).
pub(crate) fn send(signal: &str, pid: u32) -> anyhow::Result<()> {
    let status = Command::new("kill").args(["-s", signal, &pid.to_string()]).status().context("cannot run kill")?;
    if !status.success() {
        bail!("kill -s {signal} {pid} failed");
    }
    Ok(())
}
