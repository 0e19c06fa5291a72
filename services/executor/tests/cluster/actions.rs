//! What processes without shards ask of the owners.

use anyhow::{Result, ensure};
use windhover_engine::Event;
use windhover_executor::{Acted, ApplyOptions, CreateRequest, RequestKey, new_id};
use windhover_types::{ErrorKind, State};

use crate::support::{Installation, LONG_NAP, TWO_TASKS, shares};

#[tokio::test(flavor = "multi_thread")]
async fn actions_reach_the_owner_from_a_process_without_shards_and_are_answered_once() -> Result<()> {
    let installation = Installation::new().await?;
    let tenant = installation.tenant.clone();
    let owner = installation.member("owner").await?;
    shares(&[(&owner, 4)]).await?;
    owner.apply(&tenant, &[LONG_NAP]).await?;
    let gateway = installation.gateway("gateway").await?;
    let id = gateway.handle.create(installation.request("long")).await?.execution.id;

    let key = |content| Some(RequestKey { method: "Kill", request_id: "k".to_owned(), content: [content; 32] });
    let (first, twin) = tokio::join!(
        gateway.handle.act(&tenant, id, Event::Kill, key(1)),
        gateway.handle.act(&tenant, id, Event::Kill, key(1))
    );
    ensure!(first? == Acted::Done && twin? == Acted::Done);
    ensure!(installation.ended(id).await?.current() == State::Killed);
    let again = gateway.handle.act(&tenant, id, Event::Kill, key(1)).await?;
    ensure!(again == Acted::Done, "the first outcome is answered again: {again:?}");
    let other = gateway.handle.act(&tenant, id, Event::Kill, key(2)).await;
    ensure!(other.is_err_and(|error| error.reason == "REQUEST_ID_REUSED"));
    let local = owner.handle.act(&tenant, id, Event::Kill, key(1)).await?;
    ensure!(local == Acted::Done, "the owner's own process knows of it too: {local:?}");

    ensure!(!gateway.handle.kill(&tenant, id).await?, "it had ended");
    let nobody = gateway.handle.kill(&tenant, new_id()).await;
    ensure!(nobody.is_err_and(|error| error.kind == ErrorKind::NotFound));
    installation.is_tidy().await?;
    owner.executor.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_from_several_processes_make_one_execution_for_one_request_id() -> Result<()> {
    let installation = Installation::new().await?;
    let tenant = installation.tenant.clone();
    let owner = installation.member("owner").await?;
    shares(&[(&owner, 4)]).await?;
    owner.apply(&tenant, &[TWO_TASKS]).await?;
    let (one, two) = (installation.gateway("one").await?, installation.gateway("two").await?);
    let request = |content| {
        let key = RequestKey { method: "Create", request_id: "r".to_owned(), content: [content; 32] };
        CreateRequest { request: Some(key), ..installation.request("two") }
    };
    let (a, b, c, d) = tokio::join!(
        one.handle.create(request(1)),
        one.handle.create(request(1)),
        two.handle.create(request(1)),
        owner.handle.create(request(1))
    );
    let answers = [a?, b?, c?, d?];
    let id = answers[0].execution.id;
    ensure!(answers.iter().all(|answer| answer.execution.id == id), "{answers:#?}");
    ensure!(answers.iter().filter(|answer| !answer.replayed).count() == 1, "{answers:#?}");
    ensure!(answers.iter().all(|answer| answer.execution.current() == State::Created));
    let other = two.handle.create(request(2)).await;
    ensure!(other.is_err_and(|error| error.reason == "REQUEST_ID_REUSED"));
    installation.succeeded(id).await?;
    ensure!(installation.executions("two").await?.len() == 1);
    installation.is_tidy().await?;
    owner.executor.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_process_deploys_counts_in_all_others_at_once() -> Result<()> {
    let installation = Installation::new().await?;
    let tenant = installation.tenant.clone();
    let owner = installation.member("owner").await?;
    shares(&[(&owner, 4)]).await?;
    let gateway = installation.gateway("gateway").await?;
    owner.apply(&tenant, &[TWO_TASKS]).await?;
    let found = gateway.flows.get(&tenant, "company", "two", None).await?;
    ensure!(found.is_some_and(|flow| flow.revision == 1), "made elsewhere a moment ago");

    let changed = TWO_TASKS.replace("hello", "goodbye");
    gateway.flows.apply(&tenant, &changed, ApplyOptions::default()).await?;
    // Made out for the first revision, which was the newest when this process looked.
    let stale = owner.handle.create(installation.request_for("two", |shard| owner.owned.owns(shard))).await;
    ensure!(stale.is_err_and(|error| error.reason == "FLOW_MOVED"));
    let newest = owner.flows.cached(&tenant, "company", "two", None);
    ensure!(newest.is_some_and(|flow| flow.revision == 2), "and by now it knows");
    ensure!(installation.executions("two").await?.is_empty());
    let again = TWO_TASKS.replace("hello", "again");
    owner.flows.apply(&tenant, &again, ApplyOptions::default()).await?;
    let mut request = installation.request("two");
    request.new.flow_revision = 2;
    let stale = gateway.handle.create(request).await;
    ensure!(stale.is_err_and(|error| error.reason == "FLOW_MOVED"));
    let mut request = installation.request("two");
    request.new.flow_revision = 3;
    installation.succeeded(gateway.handle.create(request).await?.execution.id).await?;
    owner.executor.stop().await;
    Ok(())
}
