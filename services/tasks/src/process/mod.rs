//! Processes of scripts on the machine of the worker.
//!
//! A process is never started by the worker itself but by a supervisor: this same program, started once more for one
//! process ([`supervise`]). The supervisor takes in every orphan among the descendants (it is their "subreaper"), so
//! also children that leave the process group or open a session of their own stay below it, and it ends only when none
//! is left. It is told to kill everything by the end of its connection to the worker: that end comes when the future
//! of the attempt is dropped, and no less when the worker dies. A group or a session alone would miss whoever leaves
//! it, `PR_SET_PDEATHSIG` is not handed on to grandchildren, and cgroups need rights that a worker rarely has.
//!
//! Always true: a process sees no variable of the worker's environment that nobody handed to it; it and all its
//! descendants are gone when the attempt has ended, however it ended; what it writes is read within bounds.
//! Not here: what is run and what its output means (`scripts`). A process runs as the worker's user: whoever wants more
//! than limits between flows and the machine runs the worker in a container, or switches processes off.

mod output;
mod run;
#[cfg(target_os = "linux")]
mod supervisor;
#[cfg(target_os = "linux")]
mod tree;
mod wire;

use std::{path::PathBuf, time::Duration};

pub(crate) use output::Line;
pub(crate) use run::{Wanted, run};
#[cfg(target_os = "linux")]
pub use supervisor::supervise;

use crate::TaskError;

/// The argument with which the program is started as a supervisor.
pub const SUPERVISOR: &str = "supervise-process";

/// The setting that switches processes on and off.
pub const ENABLED: &str = "windhover.worker.processes.enabled";
pub const MAX_MEMORY: &str = "windhover.worker.processes.max-memory";
pub const MAX_PROCESSES: &str = "windhover.worker.processes.max-processes";
pub const MAX_DURATION: &str = "windhover.worker.processes.max-duration";

/// A supervisor works within the limit of memory as well.
pub const LEAST_MEMORY: u64 = 64 << 20;

/// Limits of each script with all its children.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessLimits {
    /// Bytes: of each process as the kernel counts data, and of all together as they are in memory. At least
    /// [`LEAST_MEMORY`]. Default: 2 GiB.
    pub memory: u64,
    /// Processes at the same time. Default: 512.
    pub processes: usize,
    /// From the start to the end. Default: a day.
    pub duration: Duration,
    /// Bytes of output that become log lines; what is over is left out. Default: 16 MiB.
    pub output_bytes: u64,
    /// The same in lines. Default: 100,000.
    pub output_lines: u64,
}

impl Default for ProcessLimits {
    fn default() -> Self {
        Self {
            memory: 2 << 30,
            processes: 512,
            duration: Duration::from_secs(86_400),
            output_bytes: 16 << 20,
            output_lines: 100_000,
        }
    }
}

/// Whether a worker runs processes, and how.
#[derive(Debug, Clone, Default)]
pub struct Processes(Option<Allowed>);

#[derive(Debug, Clone)]
pub(crate) struct Allowed {
    pub(crate) limits: ProcessLimits,
    /// The program that calls [`supervise`], with its arguments.
    pub(crate) supervisor: (PathBuf, Vec<String>),
    /// Names of variables of the worker's environment that processes see besides [`HANDED_ON`].
    pub(crate) variables: Vec<String>,
}

impl Processes {
    /// Scripts fail and say why.
    pub fn refused() -> Self {
        Self(None)
    }

    /// Scripts run. `supervisor`: a program that calls [`supervise`] when it is started with these arguments;
    /// `variables`: names of variables of the worker's environment that processes may see.
    pub fn allowed(limits: ProcessLimits, supervisor: (PathBuf, Vec<String>), variables: Vec<String>) -> Self {
        Self(Some(Allowed { limits, supervisor, variables }))
    }

    /// # Errors
    /// The operator does not allow processes here.
    pub(crate) fn get(&self) -> Result<&Allowed, TaskError> {
        if !cfg!(target_os = "linux") {
            return Err(TaskError::failed("this worker runs no scripts: their processes need Linux"));
        }
        let refused =
            || TaskError::failed(format!("this worker runs no scripts: its operator allows it with `{ENABLED}`"));
        self.0.as_ref().ok_or_else(refused)
    }
}

/// What every process sees of the worker's environment: where programs are, the language of messages, the time zone.
const HANDED_ON: &[&str] = &["PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ"];

/// Where programs are looked for when the worker's environment does not say.
const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl Allowed {
    /// The environment that every process starts from. `home` is its own and is removed with it: what a script leaves
    /// in its home (keys, caches) is nobody else's to read.
    pub(crate) fn environment(&self, home: &str) -> Vec<(String, String)> {
        let names = HANDED_ON.iter().copied().chain(self.variables.iter().map(String::as_str));
        let mut environment: Vec<(String, String)> =
            vec![("HOME".to_owned(), home.to_owned()), ("TMPDIR".to_owned(), home.to_owned())];
        if std::env::var_os("PATH").is_none() {
            environment.push(("PATH".to_owned(), USUAL_PATH.to_owned()));
        }
        for name in names {
            if let Ok(value) = std::env::var(name) {
                environment.retain(|(known, _)| known != name);
                environment.push((name.to_owned(), value));
            }
        }
        environment
    }
}
