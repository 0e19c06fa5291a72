//! ghz against a cluster of separate processes, with the configurations of `loadtest/ghz`.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};
use windhover_client::NewExecution;
use windhover_testkit::{Postgres, Redis, TOKEN};

use crate::{
    flows::{self, NAMESPACE},
    server::{SEPARATE, Server},
};

/// Runs every configuration and writes `ghz-NAME.json` for each.
pub(crate) async fn run(program: &Path, configurations: &Path, results: &Path, binary: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (database, redis) = (Postgres::start().await?, Redis::start().await?);
    let url = database.fresh_database().await?;
    let server = Server::start(binary, &url, &redis.url(), folder.path(), SEPARATE).await?;
    let client = server.client(1).await?;
    client.apply_flow(flows::TWO_TASK).await?;
    let created = client.create_execution(NewExecution::of(NAMESPACE, "two-task")).await?;
    client.wait(&created.id, None).await?;
    let address = server.cluster.addresses().into_iter().next().context("a gateway")?;
    let host = address.trim_start_matches("http://").to_owned();
    for name in ["create-execution", "get-execution"] {
        let mut configuration: Value =
            serde_json::from_str(&fs::read_to_string(configurations.join(format!("{name}.json")))?)?;
        configuration["host"] = host.as_str().into();
        configuration["metadata"] = json!({ "authorization": format!("Bearer {TOKEN}") });
        if name == "get-execution" {
            configuration["data"] = json!({ "execution_id": created.id });
        }
        let path = folder.path().join(format!("{name}.json"));
        fs::write(&path, configuration.to_string())?;
        let program = program.to_owned();
        let output = tokio::task::spawn_blocking(move || {
            Command::new(&program).arg("--config").arg(path).args(["--format", "json"]).output()
        });
        let output = output.await?.context("ghz; go install github.com/bojand/ghz/cmd/ghz@latest")?;
        if !output.status.success() {
            bail!("ghz failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        let report: Value = serde_json::from_slice(&output.stdout).context("the report of ghz")?;
        let summary = summary(&report);
        println!("{name}: {}", serde_json::to_string(&summary)?);
        fs::write(results.join(format!("ghz-{name}.json")), serde_json::to_string_pretty(&summary)? + "\n")?;
    }
    Ok(())
}

/// What of the report is worth keeping: times in milliseconds, how many calls ended how.
fn summary(report: &Value) -> Value {
    let milliseconds = |value: &Value| json!((value.as_f64().unwrap_or_default() / 10_000.0).round() / 100.0);
    let mut summary = Map::new();
    summary.insert("name".into(), report["name"].clone());
    summary.insert("calls".into(), report["count"].clone());
    summary.insert("calls_per_second".into(), json!(report["rps"].as_f64().unwrap_or_default().round()));
    summary.insert("average_ms".into(), milliseconds(&report["average"]));
    for point in report["latencyDistribution"].as_array().into_iter().flatten() {
        summary.insert(format!("p{}_ms", point["percentage"]), milliseconds(&point["latency"]));
    }
    summary.insert("answers".into(), report["statusCodeDistribution"].clone());
    summary.insert("concurrency".into(), report["options"]["concurrency"].clone());
    summary.insert("command".into(), "windhover-loadtest ghz".into());
    Value::Object(summary)
}
