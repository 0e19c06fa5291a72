//! The one binary: servers, the command-line client, and help for those who write flows.

mod cli;
mod dev;
mod server;
mod settings;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "windhover",
    version,
    about = "Runs workflows for many tenants and tells the right people when something is wrong"
)]
struct CommandLine {
    #[command(flatten)]
    client: cli::ClientArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a server
    #[command(subcommand)]
    Server(server::ServerCommand),
    #[command(flatten)]
    Client(cli::ClientCommand),
    /// Help for those who write flows
    #[command(subcommand)]
    Dev(dev::DevCommand),
}

fn main() -> ExitCode {
    #[cfg(target_os = "linux")]
    if std::env::args_os().nth(1).is_some_and(|argument| argument == windhover_tasks::process::SUPERVISOR) {
        // A worker has started this program once more, to keep the process of a script.
        return windhover_tasks::process::supervise();
    }
    let line = CommandLine::parse();
    match line.command {
        Command::Server(command) => server::run(command),
        Command::Client(command) => alone(cli::run(line.client, command)),
        Command::Dev(command) => alone(dev::run(command)),
    }
}

/// Runs what needs one thread.
fn alone(command: impl Future<Output = ExitCode>) -> ExitCode {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(command),
        Err(error) => {
            eprintln!("windhover: the runtime cannot be started: {error}");
            ExitCode::FAILURE
        }
    }
}
