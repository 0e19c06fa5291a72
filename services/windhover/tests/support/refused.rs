//! Servers that end by themselves, since they cannot do what they are started for.

use std::{
    process::{Output, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use windhover_testkit::{TOKEN, free_port};

/// A master key, one for all processes of an installation.
pub(crate) const KEY: &str = "dGVzdHMtb2Ytd2luZGhvdmVyLW1hc3Rlci1rZXktMDE=";
/// A password that no process may tell.
pub(crate) const PASSWORD: &str = "open sesame";

const PATIENCE: Duration = Duration::from_secs(90);

/// `server MODE` with these variables; it must end by itself.
pub(crate) async fn start(mode: &str, variables: &[(&str, &str)]) -> Result<Output> {
    let folder = tempfile::tempdir()?;
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_windhover"));
    command.args(["server", mode, "--data-dir"]).arg(folder.path());
    command.args(["--port", &free_port()?.to_string(), "--management-port", &free_port()?.to_string()]);
    command.env_remove("WINDHOVER_DATABASE_URL").env_remove("WINDHOVER_REDIS_URL");
    command.env("WINDHOVER_BOOTSTRAP_TOKEN", TOKEN).env("WINDHOVER_MASTER_KEY", KEY).envs(variables.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let ended = tokio::time::timeout(PATIENCE, command.output()).await;
    Ok(ended.with_context(|| format!("server {mode} with {variables:?} did not end"))??)
}

/// Code 1, and one sentence that holds all of these; the password is nowhere.
#[track_caller]
pub(crate) fn told(output: &Output, parts: &[&str]) -> Result<()> {
    let said = String::from_utf8_lossy(&output.stderr);
    let sentence = said.lines().find(|line| line.starts_with("windhover: ")).unwrap_or_default();
    ensure!(
        output.status.code() == Some(1) && parts.iter().all(|part| sentence.contains(part)),
        "it should have said {parts:?}, and ended with {}:\n{said}",
        output.status
    );
    ensure!(!said.contains(PASSWORD), "it tells the password: {said}");
    Ok(())
}
