//! Flows that limit how many of their executions are under way, wherever these are.

use anyhow::{Context, Result, ensure};
use windhover_types::{State, Timestamp};

use crate::support::{Installation, SHARDS, shares};

fn limited(behavior: &str) -> String {
    format!(
        "id: limited\nnamespace: company\nconcurrency: {{limit: 1, behavior: {behavior}}}\ntasks:\n  - id: sleep\n    \
         type: io.kestra.plugin.core.flow.Sleep\n    duration: PT0.2S\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn executions_of_several_owners_take_turns_for_the_slots_of_their_flow() -> Result<()> {
    let installation = Installation::new().await?;
    let tenant = installation.tenant.clone();
    let (first, second) = (installation.member("first").await?, installation.member("second").await?);
    shares(&[(&first, 2), (&second, 2)]).await?;
    first.apply(&tenant, &[&limited("QUEUE")]).await?;
    let gateway = installation.gateway("gateway").await?;
    let mut ids = Vec::new();
    for _ in 0..8 {
        ids.push(gateway.handle.create(installation.request("limited")).await?.execution.id);
    }
    // The slots change hands as well.
    second.executor.stop().await;
    let mut turns: Vec<(Timestamp, Timestamp)> = Vec::new();
    for id in ids {
        let ended = installation.ended(id).await?;
        ensure!(ended.current() == State::Success, "{ended:#?}");
        let running = ended.state.entries().iter().find(|entry| entry.state == State::Running).context("it ran")?;
        turns.push((running.at, ended.state.ended().context("its end")?));
    }
    turns.sort();
    ensure!(turns.windows(2).all(|two| two[0].1 <= two[1].0), "two were under way at once: {turns:?}");
    installation.is_tidy().await?;
    ensure!(installation.test.store.flow_slots(&(0..SHARDS).collect::<Vec<_>>()).await?.is_empty());

    first.apply(&tenant, &[&limited("FAIL")]).await?;
    gateway.flows.sync(&tenant).await?;
    let request = || {
        let mut request = installation.request("limited");
        request.new.flow_revision = 2;
        request
    };
    let (a, b) = tokio::join!(gateway.handle.create(request()), gateway.handle.create(request()));
    let (a, b) = (installation.ended(a?.execution.id).await?, installation.ended(b?.execution.id).await?);
    let mut states = [a.current(), b.current()];
    states.sort_by_key(|state| state.as_str());
    ensure!(states == [State::Failed, State::Success], "{states:?}");
    first.executor.stop().await;
    Ok(())
}
