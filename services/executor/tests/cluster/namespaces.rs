//! What namespaces say counts in every process.

use anyhow::{Context, Result, ensure};
use serde_json::json;
use windhover_store::NamespaceSettings;

use crate::support::{Installation, TWO_TASKS, shares};

#[tokio::test(flavor = "multi_thread")]
async fn what_one_process_says_of_a_namespace_counts_in_all_others_for_what_is_created_then() -> Result<()> {
    let installation = Installation::new().await?;
    let tenant = installation.tenant.clone();
    let owner = installation.member("owner").await?;
    shares(&[(&owner, 4)]).await?;
    let gateway = installation.gateway("gateway").await?;
    owner.apply(&tenant, &[TWO_TASKS]).await?;
    gateway.flows.sync(&tenant).await?;
    let variables = |value: serde_json::Value| NamespaceSettings {
        variables: value.as_object().cloned().unwrap_or_default(),
        ..NamespaceSettings::default()
    };

    let said = gateway.flows.put_namespace(&tenant, "company", &variables(json!({"region": "eu"})), 0).await?;
    let (row, renewed) = said.context("nothing was said of it before")?;
    ensure!(row.version == 1 && renewed == [("company".to_owned(), "two".to_owned())], "{renewed:?}");
    // Made out under what held before; its own batch is refused, and what it knows is made new.
    let stale = owner.handle.create(installation.request_for("two", |shard| owner.owned.owns(shard))).await;
    ensure!(stale.is_err_and(|error| error.reason == "FLOW_MOVED"));
    let newest = owner.flows.cached(&tenant, "company", "two", None).context("the flow is there")?;
    let flow = newest.flow.as_ref().map_err(|why| anyhow::anyhow!("{why}"))?;
    ensure!(newest.revision == 1, "the revision stays");
    ensure!(flow.variables.get("region") == Some(&json!("eu")) && owner.flows.epoch() > 0);

    // Whoever was not up to date is told, and changes nothing.
    let late = owner.flows.put_namespace(&tenant, "company", &variables(json!({"region": "us"})), 0).await?;
    ensure!(late.is_none());
    let mut request = installation.request_for("two", |shard| owner.owned.owns(shard));
    request.new.variables = flow.initial_variables();
    let id = owner.handle.create(request).await?.execution.id;
    installation.succeeded(id).await?;
    let kept = installation.ended(id).await?.variables.context("it keeps what held when it was created")?;
    ensure!(kept.get("region") == Some(&json!("eu")));
    owner.executor.stop().await;
    Ok(())
}
