//! `windhover server …`: puts the parts of a process together and ends them in order.
//!
//! [`mode`] says what runs in which mode, [`context`] holds what all parts work with, [`parts`] starts and ends them,
//! [`process`] is the way of one process from its start to its end.

mod arguments;
mod check;
mod context;
mod coordinator;
mod database;
mod endpoints;
mod environment;
mod executions;
mod files;
mod folder;
mod gauges;
mod groups;
mod health;
mod housekeeping;
mod instances;
mod key;
mod key_values;
mod large;
mod liveness;
mod logs;
mod mode;
mod parts;
mod ports;
mod process;
mod secrets;
mod stop;
mod transport;
mod upkeep;
mod versions;
mod world;

use std::process::ExitCode;

use anyhow::Context;

pub(crate) use self::arguments::ServerCommand;

/// Runs a server until SIGTERM or Ctrl-C. Whatever keeps it from starting is one plain sentence and exit code 1.
pub(crate) fn run(command: ServerCommand) -> ExitCode {
    let outcome = command.read().and_then(|asked| {
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .context("the runtime cannot be started")?
            .block_on(process::serve(asked))
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("windhover: {error:#}");
            ExitCode::FAILURE
        }
    }
}
