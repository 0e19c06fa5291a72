//! The worker's side: starts a supervisor, reads what the process writes, learns how it ended.

use std::{
    os::{fd::OwnedFd, unix::net::UnixStream as Pair},
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{UnixStream, unix::OwnedReadHalf},
    process::{Child, ChildStderr, ChildStdout, Command},
};

use super::{
    Allowed, Line, MAX_DURATION, MAX_MEMORY, MAX_PROCESSES,
    output::Lines,
    wire::{Breach, Order, Said},
};
use crate::TaskError;

/// How long output is waited for after everything has ended: only a process that cannot be killed keeps it open.
const LAST_OUTPUT: Duration = Duration::from_secs(5);

/// A process to be run.
pub(crate) struct Wanted {
    /// The program and its arguments.
    pub(crate) command: Vec<String>,
    /// All that it sees.
    pub(crate) environment: Vec<(String, String)>,
    /// Where it runs.
    pub(crate) folder: PathBuf,
    /// Folders that are only there for the process.
    pub(crate) scratch: Vec<PathBuf>,
}

/// Runs a process to its end and answers its exit code; 128 and the number of the signal that ended it. `on_line` gets
/// every line, and whether it came from the error stream. Dropping the future kills the process and its descendants.
///
/// # Errors
/// It cannot be started, it was killed for one of its limits, or `on_line` wants no more.
pub(crate) async fn run(
    allowed: &Allowed,
    wanted: Wanted,
    on_line: &mut (dyn FnMut(Line, bool) -> Result<(), TaskError> + Send),
) -> Result<i32, TaskError> {
    let limit = allowed.limits.duration;
    match tokio::time::timeout(limit, within(allowed, wanted, on_line)).await {
        Ok(ended) => ended,
        Err(_) => Err(TaskError::failed(format!(
            "the script was killed: it ran longer than {} s (`{MAX_DURATION}`)",
            limit.as_secs()
        ))),
    }
}

async fn within(
    allowed: &Allowed,
    wanted: Wanted,
    on_line: &mut (dyn FnMut(Line, bool) -> Result<(), TaskError> + Send),
) -> Result<i32, TaskError> {
    let failed = |error: std::io::Error| TaskError::failed(format!("no process can be started: {error}"));
    // As long as this end is open the process may run.
    let (mut supervisor, control) = start(allowed).map_err(failed)?;
    let (Some(stdout), Some(stderr)) = (supervisor.stdout.take(), supervisor.stderr.take()) else {
        return Err(TaskError::failed("no process can be started: it has no output"));
    };
    let (read, mut write) = control.into_split();
    write.write_all(&order(allowed, wanted)?).await.map_err(failed)?;
    let said = read_all(read, stdout, stderr, on_line).await?;
    // It has said its last word, or was killed; nobody has to wait for its end.
    drop(supervisor);
    drop(write);
    settle(allowed, said)
}

fn start(allowed: &Allowed) -> std::io::Result<(Child, UnixStream)> {
    let (ours, theirs) = Pair::pair()?;
    ours.set_nonblocking(true)?;
    let (program, arguments) = &allowed.supervisor;
    let supervisor = Command::new(program)
        .args(arguments)
        .arg0("windhover-supervisor")
        .env_clear()
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    Ok((supervisor, UnixStream::from_std(ours)?))
}

fn order(allowed: &Allowed, wanted: Wanted) -> Result<Vec<u8>, TaskError> {
    let remove = wanted.scratch.into_iter().chain([wanted.folder.clone()]).collect();
    let order = Order {
        command: wanted.command,
        environment: wanted.environment,
        folder: wanted.folder,
        memory: allowed.limits.memory,
        processes: allowed.limits.processes,
        remove,
    };
    let mut line = serde_json::to_vec(&order).map_err(|error| TaskError::failed(error.to_string()))?;
    line.push(b'\n');
    Ok(line)
}

/// Reads both streams until they end, and what the supervisor says meanwhile.
async fn read_all(
    control: OwnedReadHalf,
    stdout: ChildStdout,
    stderr: ChildStderr,
    on_line: &mut (dyn FnMut(Line, bool) -> Result<(), TaskError> + Send),
) -> Result<Vec<Said>, TaskError> {
    let (mut out, mut err) = (Lines::new(stdout), Lines::new(stderr));
    let words = listen(control);
    tokio::pin!(words);
    let mut said = None;
    let patience = tokio::time::sleep(Duration::ZERO);
    tokio::pin!(patience);
    while !(out.ended && err.ended && said.is_some()) {
        tokio::select! {
            line = out.next(), if !out.ended => {
                if let Some(line) = line {
                    on_line(line, false)?;
                }
            }
            line = err.next(), if !err.ended => {
                if let Some(line) = line {
                    on_line(line, true)?;
                }
            }
            all = &mut words, if said.is_none() => {
                said = Some(all);
                patience.as_mut().reset(tokio::time::Instant::now() + LAST_OUTPUT);
            }
            () = &mut patience, if said.is_some() => break,
        }
    }
    Ok(said.unwrap_or_default())
}

/// Everything that the supervisor says.
async fn listen(control: OwnedReadHalf) -> Vec<Said> {
    let mut lines = BufReader::new(control).lines();
    let mut said = Vec::new();
    while let Ok(Some(line)) = lines.next_line().await {
        said.extend(serde_json::from_str::<Said>(&line));
    }
    said
}

fn settle(allowed: &Allowed, said: Vec<Said>) -> Result<i32, TaskError> {
    let limits = &allowed.limits;
    match said.into_iter().last() {
        Some(Said::Exited(code)) => Ok(code),
        Some(Said::Killed(signal)) => Ok(128 + signal),
        Some(Said::Failed(reason)) => Err(TaskError::failed(reason)),
        Some(Said::Breached(Breach::Memory)) => Err(TaskError::failed(format!(
            "the script was killed: it used more than {} bytes of memory (`{MAX_MEMORY}`)",
            limits.memory
        ))),
        Some(Said::Breached(Breach::Processes)) => Err(TaskError::failed(format!(
            "the script was killed: it ran more than {} processes at once (`{MAX_PROCESSES}`)",
            limits.processes
        ))),
        Some(Said::Started(group)) => {
            end_group(group);
            Err(TaskError::failed("the supervisor of the process was killed, and the process with it"))
        }
        None => Err(TaskError::failed("the supervisor of the process ended before it started one")),
    }
}

/// Kills what a supervisor that was killed itself has left in the process group. Who has left the group goes on: nobody
/// else than the process, or an operator, kills a supervisor.
#[cfg(target_os = "linux")]
fn end_group(group: i32) {
    if let Some(group) = rustix::process::Pid::from_raw(group) {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
}

#[cfg(not(target_os = "linux"))]
fn end_group(_group: i32) {}
