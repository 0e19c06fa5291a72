//! `windhover-check`: says what is wrong with a cluster at rest.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use clap::Parser;
use windhover_client::{Client, ClientOptions};
use windhover_faults::{Database, Ledger, check::check};

/// Holds what clients were told against the API and the database. Nothing may be under way meanwhile.
///
/// Exit code 0: nothing is wrong; 1: something is, and is told; 2: it could not be looked at.
#[derive(Parser)]
struct Arguments {
    /// What clients know, as the fault run writes it; absent: only what holds of any cluster is checked
    #[arg(long)]
    ledger: Option<PathBuf>,
    /// postgres://… or sqlite:PATH
    #[arg(long, env = "WINDHOVER_DATABASE_URL", hide_env_values = true)]
    database: String,
    /// A gateway; absent: the API is not looked at
    #[arg(long, env = "WINDHOVER_SERVER")]
    server: Option<String>,
    #[arg(long, env = "WINDHOVER_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("windhover-check: {error:#}");
            ExitCode::from(2)
        }
    }
}

async fn run(arguments: Arguments) -> Result<bool> {
    let ledger = match &arguments.ledger {
        Some(path) => Ledger::read(path)?,
        None => Ledger { tenant: "main".to_owned(), ..Ledger::default() },
    };
    let database = Database::connect(&arguments.database).await?;
    let client = match arguments.server {
        Some(server) => {
            let mut options = ClientOptions::new(server).tenant(&ledger.tenant);
            options.token = arguments.token;
            Some(Client::connect(options).await.context("the API")?)
        }
        None => None,
    };
    let (findings, extent) = check(&database, client.as_ref(), &ledger).await?;
    println!("{}", serde_json::to_string(&extent)?);
    print!("{findings}");
    println!("{}", if findings.is_empty() { "nothing is wrong" } else { "something is wrong" });
    Ok(findings.is_empty())
}
