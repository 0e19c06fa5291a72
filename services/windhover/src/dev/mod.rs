//! Help for those who write flows.

mod receive;
mod slack;

use std::process::ExitCode;

use clap::Subcommand;

/// What helps while writing flows.
#[derive(Subcommand)]
pub(crate) enum DevCommand {
    /// Receive what flows send: an HTTP server that answers `ok` and prints every request, Slack messages readably.
    Receive(receive::Receive),
}

/// Runs one command; errors go to standard error.
pub(crate) async fn run(command: DevCommand) -> ExitCode {
    match command {
        DevCommand::Receive(command) => receive::run(command).await,
    }
}
