//! Measures Windhover: starts what it measures, puts load on it, and records the figures with how they were made.

mod cluster;
mod flows;
mod ghz;
mod load;
mod postgres;
mod redis;
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
    /// A standalone server, then separate processes, on a real Postgres with durable commits and a real Redis; writes
    /// `latest.json`.
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
        /// Only this part; the other figures stay as they were recorded.
        #[arg(long)]
        only: Option<scenario::Part>,
    },
    /// The configurations for ghz, each against a cluster of separate processes; writes `ghz-NAME.json`.
    Ghz {
        /// The program: `go install github.com/bojand/ghz/cmd/ghz@latest`
        #[arg(long, default_value = "ghz")]
        ghz: PathBuf,
        /// Folder of the configurations.
        #[arg(long, default_value = "loadtest/ghz")]
        configurations: PathBuf,
        /// Folder for the records.
        #[arg(long, default_value = "loadtest/results")]
        results: PathBuf,
        /// The server's binary.
        #[arg(long, default_value = "target/release/windhover")]
        server: PathBuf,
    },
}

fn main() -> Result<()> {
    let Arguments { command } = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match command {
        Command::Bench { results, server, seconds, only } => {
            runtime.block_on(scenario::bench(&results, &server, seconds, only))
        }
        Command::Ghz { ghz, configurations, results, server } => {
            runtime.block_on(ghz::run(&ghz, &configurations, &results, &server))
        }
    }
}
