//! `windhover-faults`: the long fault run, with a record.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result};
use clap::Parser;
use windhover_faults::{
    faults::Fault,
    run::{Outcome, Plan, run},
};

/// Runs a cluster of real processes under faults, checks what became of its work, and records it.
///
/// Exit code 0: nothing is wrong; 1: something is, and is told.
#[derive(Parser)]
struct Arguments {
    /// The binary that is run
    #[arg(long, default_value = "target/release/windhover")]
    server: PathBuf,
    /// Where the record is written
    #[arg(long, default_value = "loadtest/results/faults.json")]
    record: PathBuf,
    /// Where logs and ledger are kept
    #[arg(long, default_value = "target/faults")]
    keep: PathBuf,
    /// Executions at least
    #[arg(long, default_value_t = 5_000)]
    executions: usize,
    /// Executions that are started each second
    #[arg(long, default_value_t = 25.0)]
    per_second: f64,
    /// Seconds between two faults
    #[arg(long, default_value_t = 4)]
    pause: u64,
    /// Only these faults, by name
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match work(Arguments::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("windhover-faults: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn work(arguments: Arguments) -> Result<bool> {
    let faults: Vec<Fault> = match arguments.only.is_empty() {
        true => Fault::ALL.to_vec(),
        false => Fault::ALL.iter().copied().filter(|fault| arguments.only.contains(&fault.name())).collect(),
    };
    anyhow::ensure!(!faults.is_empty(), "no fault has one of these names: {}", arguments.only.join(", "));
    let plan = Plan {
        faults,
        executions: arguments.executions,
        per_second: arguments.per_second,
        pause: Duration::from_secs(arguments.pause),
        keep: Some(arguments.keep),
        ..Plan::new(arguments.server)
    };
    let outcome = run(&plan).await?;
    print!("{}", outcome.findings);
    outcome.deaths.iter().for_each(|death| println!("{death}"));
    println!(
        "{} executions, {} faults, {:.0} s: {} findings",
        outcome.executions,
        outcome.faults.len(),
        outcome.seconds,
        outcome.findings.all().len()
    );
    write(&outcome, &arguments.record)?;
    Ok(outcome.findings.is_empty())
}

fn write(outcome: &Outcome, path: &Path) -> Result<()> {
    let mut document = serde_json::to_value(outcome)?;
    document["command"] = "make faults".into();
    document["machine.cores"] = std::thread::available_parallelism()?.get().into();
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, serde_json::to_string_pretty(&document)? + "\n")
        .with_context(|| format!("writing {}", path.display()))?;
    println!("recorded in {}", path.display());
    Ok(())
}
