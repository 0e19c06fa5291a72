//! Who owns what, and what happens to executions meanwhile.

use std::time::Duration;

use anyhow::{Result, ensure};
use windhover_executor::Membership;
use windhover_testkit::wait_until;
use windhover_types::ErrorKind;

use crate::support::{Installation, LONG_NAP, NAP, PARENT, PATIENCE, SHARDS, TWO_TASKS, shares};

#[tokio::test(flavor = "multi_thread")]
async fn shards_spread_over_executors_that_come_and_go_and_follow_an_operators_wish() -> Result<()> {
    let installation = Installation::new().await?;
    let first = installation.member("first").await?;
    shares(&[(&first, 4)]).await?;
    let second = installation.member("second").await?;
    shares(&[(&first, 2), (&second, 2)]).await?;

    let wanted = first.owned.list()[0];
    installation.test.store.want_shard(wanted, Some(second.instance())).await?;
    wait_until("the wish", PATIENCE, async || second.owned.owns(wanted).then_some(())).await?;
    ensure!(!first.owned.owns(wanted));
    installation.test.store.want_shard(wanted, None).await?;
    shares(&[(&first, 2), (&second, 2)]).await?;

    ensure!(second.executor.drain(PATIENCE).await, "the second one keeps shards");
    shares(&[(&first, 4), (&second, 0)]).await?;
    second.executor.stop().await;
    ensure!(!first.executor.drain(PATIENCE).await, "nobody could take them");
    ensure!(first.owned.list().len() == 4);
    first.executor.stop().await;
    ensure!(installation.test.store.executors().await?.is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn executions_that_run_while_shards_change_hands_all_end_once() -> Result<()> {
    let installation = Installation::new().await?;
    let tenant = installation.tenant.clone();
    let first = installation.member("first").await?;
    shares(&[(&first, 4)]).await?;
    first.apply(&tenant, &[TWO_TASKS, NAP, PARENT]).await?;
    let gateway = installation.gateway("gateway").await?;
    gateway.flows.sync(&tenant).await?;

    let mut created = Vec::new();
    let create = async |count: usize| -> Result<Vec<_>> {
        let mut ids = Vec::new();
        for at in 0..count {
            let flow = ["two", "nap", "parent"][at % 3];
            let handle = if at % 2 == 0 { &gateway.handle } else { &first.handle };
            ids.push(handle.create(installation.request(flow)).await?.execution.id);
        }
        Ok(ids)
    };
    created.extend(create(60).await?);
    let second = installation.member("second").await?;
    while second.owned.list().len() < 2 {
        created.extend(create(10).await?);
    }
    created.extend(create(30).await?);
    let drained = second.executor.drain(PATIENCE);
    let (drained, more) = tokio::join!(drained, create(60));
    ensure!(drained);
    created.extend(more?);
    second.executor.stop().await;
    for id in &created {
        installation.succeeded(*id).await?;
    }
    let (parents, naps) = (installation.executions("parent").await?, installation.executions("nap").await?);
    let made = created.len();
    let (two, parents, naps) = (installation.executions("two").await?.len(), parents.len(), naps.len());
    ensure!(two + naps == made, "{made} were asked for: {two}, {parents} with their children in {naps}");
    installation.is_tidy().await?;
    first.executor.stop().await;
    Ok(())
}

/// Without the fence the first one would commit all the same.
#[tokio::test(flavor = "multi_thread")]
async fn an_executor_that_believes_in_shards_of_another_cannot_commit() -> Result<()> {
    let installation = Installation::new().await?;
    let tenant = installation.tenant.clone();
    // It looks at nobody, so it learns of its loss by the fence alone.
    let first = installation.executor("first", Membership::Exclusive).await?;
    first.apply(&tenant, &[TWO_TASKS]).await?;
    let before = first.handle.create(installation.request("two")).await?.execution;
    installation.succeeded(before.id).await?;

    installation.silence(first.instance()).await?;
    let second = installation.member("second").await?;
    shares(&[(&second, 4)]).await?;
    ensure!(first.owned.list().len() == usize::from(SHARDS), "it believes that they are its own");
    let request = installation.request("two");
    let id = request.new.id;
    let refused = first.handle.create(request).await;
    ensure!(refused.is_err_and(|error| error.kind == ErrorKind::Unavailable));
    ensure!(installation.test.store.get_execution(&tenant, id).await?.is_none(), "it was written");
    ensure!(first.owned.list().is_empty());
    first.executor.lost().await;

    let after = second.handle.create(installation.request("two")).await?.execution;
    installation.succeeded(after.id).await?;
    first.executor.stop().await;
    second.executor.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forced_take_over_continues_executions_and_the_one_taken_for_dead_joins_again() -> Result<()> {
    let installation = Installation::new().await?;
    let tenant = installation.tenant.clone();
    let first = installation.member("first").await?;
    shares(&[(&first, 4)]).await?;
    first.apply(&tenant, &[TWO_TASKS, NAP, LONG_NAP, PARENT]).await?;
    let mut created = Vec::new();
    for _ in 0..10 {
        created.push(first.handle.create(installation.request("parent")).await?.execution.id);
    }
    let sleeper = first.handle.create(installation.request("long")).await?.execution.id;

    let dead = first.instance();
    installation.silence(dead).await?;
    let second = installation.member("second").await?;
    let moved = wait_until("the take-over", PATIENCE, async || (first.instance() != dead).then_some(()));
    moved.await?;
    // Asked of the one that was taken for dead, whatever it knows at the moment.
    created.push(first.handle.create(installation.request("two")).await?.execution.id);
    for id in &created {
        installation.succeeded(*id).await?;
    }
    ensure!(installation.executions("nap").await?.len() == 10, "one child for each parent");
    shares(&[(&first, 2), (&second, 2)]).await?;
    ensure!(first.handle.kill(&tenant, sleeper).await?);
    installation.ended(sleeper).await?;
    installation.is_tidy().await?;
    let known: Vec<_> = installation.test.store.executors().await?.into_iter().map(|share| share.id).collect();
    ensure!(known.len() == 2 && !known.contains(&dead), "{known:?}");
    first.executor.stop().await;
    second.executor.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_executor_leaves_at_its_stop_is_taken_up_at_once_by_the_others() -> Result<()> {
    let installation = Installation::new().await?;
    let tenant = installation.tenant.clone();
    let first = installation.member("first").await?;
    let second = installation.member("second").await?;
    shares(&[(&first, 2), (&second, 2)]).await?;
    first.apply(&tenant, &[NAP]).await?;
    second.flows.sync(&tenant).await?;
    let request = installation.request_for("nap", |shard| first.owned.owns(shard));
    let id = first.handle.create(request).await?.execution.id;
    first.executor.stop().await;
    let waited = tokio::time::timeout(Duration::from_secs(4), shares(&[(&second, 4)])).await;
    ensure!(waited.is_ok(), "free shards are taken without waiting for anybody's heartbeat to expire");
    installation.succeeded(id).await?;
    installation.is_tidy().await?;
    second.executor.stop().await;
    Ok(())
}
