//! The command line of servers.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};

use super::mode::Mode;
use crate::settings::{KEYS, Settings};

#[derive(Debug, Subcommand)]
#[command(after_help = settings_help())]
pub(crate) enum ServerCommand {
    /// Everything in one process on SQLite, for this machine alone, without login
    Local(TogetherArguments),
    /// Everything in one process on Postgres; with Redis several of them form one cluster
    Standalone(TogetherArguments),
    /// Only the API: gRPC, gRPC-web and webhooks
    #[command(visible_alias = "webserver")]
    Gateway(ServerArguments),
    /// Only an executor: owns shards and moves their executions forward
    Executor(ServerArguments),
    /// Only a worker: runs tasks
    Worker(WorkerArguments),
    /// Only a scheduler: starts what schedules say
    Scheduler(ServerArguments),
}

#[derive(Debug, Args)]
pub(crate) struct ServerArguments {
    /// Settings in YAML; the environment and flags win over it
    #[arg(long, short = 'c', env = "WINDHOVER_CONFIG")]
    config: Option<PathBuf>,
    /// Port of gRPC, gRPC-web and webhooks [default: 8080]
    #[arg(long)]
    port: Option<u16>,
    /// Port of health and metrics [default: 8081]
    #[arg(long)]
    management_port: Option<u16>,
    /// Folder for what the process keeps: the database of `local`, the generated master key
    #[arg(long)]
    data_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct TogetherArguments {
    #[command(flatten)]
    server: ServerArguments,
    /// Tasks that run at the same time; 0: none, workers are elsewhere
    #[arg(long)]
    worker_thread: Option<usize>,
}

#[derive(Debug, Args)]
pub(crate) struct WorkerArguments {
    #[command(flatten)]
    server: ServerArguments,
    /// Tasks that run at the same time [default: 32 for each processor]
    #[arg(long, short = 't')]
    thread: Option<usize>,
    /// Worker group whose tasks it runs [default: those that name none]
    #[arg(long, short = 'g')]
    worker_group: Option<String>,
}

/// The settings by their names in the file of `--config`.
fn settings_help() -> String {
    let longest = KEYS.iter().map(|(key, _)| key.len()).max().unwrap_or_default();
    let lines: Vec<String> = KEYS.iter().map(|(key, what)| format!("  {key:longest$}  {what}")).collect();
    let example = "as a variable of the environment `windhover.database.url` is WINDHOVER_DATABASE_URL";
    format!("Settings ({example}):\n{}", lines.join("\n"))
}

/// A server that was asked for.
pub(super) struct Asked {
    pub(super) mode: Mode,
    pub(super) settings: Settings,
    /// `false`: a process that does everything else leaves tasks to workers elsewhere.
    pub(super) runs_tasks: bool,
}

impl ServerCommand {
    /// The mode, and the settings with the flags over them.
    pub(super) fn read(self) -> Result<Asked> {
        let (mode, server, threads, group) = match self {
            Self::Local(all) => (Mode::Local, all.server, all.worker_thread, None),
            Self::Standalone(all) => (Mode::Standalone, all.server, all.worker_thread, None),
            Self::Gateway(server) => (Mode::Gateway, server, None, None),
            Self::Executor(server) => (Mode::Executor, server, None, None),
            Self::Worker(worker) => (Mode::Worker, worker.server, worker.thread, worker.worker_group),
            Self::Scheduler(server) => (Mode::Scheduler, server, None, None),
        };
        let mut settings = Settings::load(server.config.as_deref())?;
        let runs_tasks = mode == Mode::Worker || threads != Some(0);
        if mode == Mode::Worker && threads == Some(0) {
            bail!("--thread must be at least 1: a worker without threads runs nothing");
        }
        let flags = [
            ("windhover.port", server.port.map(|port| port.to_string())),
            ("windhover.management-port", server.management_port.map(|port| port.to_string())),
            ("windhover.data-dir", server.data_dir.map(|folder| folder.display().to_string())),
            ("windhover.worker.slots", threads.filter(|threads| *threads > 0).map(|threads| threads.to_string())),
            ("windhover.worker.group", group),
        ];
        for (key, value) in flags {
            if let Some(value) = value {
                settings.set(key, value);
            }
        }
        Ok(Asked { mode, settings, runs_tasks })
    }
}
