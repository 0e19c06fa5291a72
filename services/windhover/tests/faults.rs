//! A cluster of real processes whose parts are killed, held and cut off while it works: the account of everything that
//! was acknowledged. The long run, with every fault, is `make faults`.

use std::time::Duration;

use anyhow::{Result, ensure};
use windhover_faults::{
    faults::Fault,
    run::{Plan, run},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_under_faults_loses_and_doubles_nothing() -> Result<()> {
    let plan = Plan {
        faults: Fault::SHORT.to_vec(),
        executions: 300,
        per_second: 8.0,
        pause: Duration::from_secs(2),
        rest: Duration::from_secs(120),
        ..Plan::new(env!("CARGO_BIN_EXE_windhover"))
    };
    let outcome = run(&plan).await?;
    let done: Vec<_> = outcome.faults.iter().map(|(name, at)| format!("{name} after {at:.0} s")).collect();
    ensure!(
        outcome.findings.is_empty(),
        "{}\n{}; {}\n{}\n{}",
        outcome.findings,
        done.join(", "),
        outcome.deaths.join(", "),
        serde_json::to_string(&outcome.extent)?,
        outcome.logs
    );
    Ok(())
}
