//! Measures Windhover: starts what it measures, puts load on it, and records the figures with how they were made.

mod flows;
mod load;
mod postgres;
mod report;
mod scenario;
mod server;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Measures Windhover and records what it measured")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// A standalone server on a real Postgres with durable commits; writes `latest.json`.
    Bench {
        /// Folder for the records.
        #[arg(long, default_value = "loadtest/results")]
        results: PathBuf,
        /// The server's binary.
        #[arg(long, default_value = "target/release/windhover")]
        server: PathBuf,
        /// Seconds of sustained load per scenario.
        #[arg(long, default_value_t = 15)]
        seconds: u64,
    },
}

fn main() -> Result<()> {
    let Arguments { command } = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match command {
        Command::Bench { results, server, seconds } => runtime.block_on(scenario::bench(&results, &server, seconds)),
    }
}
