//! Services with their states, shards that move while everybody lives.

use std::time::Duration;

use sea_orm::{ConnectionTrait, TransactionTrait};
use windhover_store::{
    Batch, Beat, Claim, ClaimError, ClaimRequest, CommitError, RegisterError, Registration, RestartStrategy, Server,
    ServiceInfo, ServiceKind, ServiceState, Store, Vitals,
};
use windhover_testkit::{TestStore, wait_until};
use windhover_types::Id;

use crate::{fixtures::*, on_both};

on_both!(
    shards_are_given_back_one_by_one_and_taken_by_others,
    a_shard_that_is_wanted_elsewhere_waits_for_it_while_that_can_take_it,
    the_shards_of_a_silent_executor_are_taken_only_by_who_takes_over,
    only_executors_own_shards_and_exclude_each_other,
    a_service_lives_through_its_states_and_is_refused_what_does_not_follow,
    silent_services_are_found_once_and_forgotten_step_by_step,
    groups_of_live_workers_are_counted,
);

fn registration(n: u32) -> Registration {
    Registration { id: id("instance", n), host: format!("host {n}"), exclusive: false }
}

async fn executors(store: &Store, count: u32) -> anyhow::Result<Vec<Id>> {
    let mut ids = Vec::new();
    for n in 1..=count {
        ids.push(store.register_instance(&registration(n)).await?.id);
    }
    Ok(ids)
}

fn shards(claim: &Claim) -> Vec<u16> {
    claim.shards.iter().map(|(shard, _)| *shard).collect()
}

const FREE: ClaimRequest = ClaimRequest { limit: None, take_over: false };

async fn shards_are_given_back_one_by_one_and_taken_by_others(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let [one, two] = executors(store, 2).await?[..] else { anyhow::bail!("two") };
    let all = store.claim(one, FREE).await?;
    assert_eq!(shards(&all), [0, 1, 2, 3]);
    assert_eq!(store.claim(one, FREE).await?, all, "nothing to take: nothing is written, the fence stands");
    let first = execution(&acme(), 1);
    store.commit(&all.fence, &created([first.clone()])).await?;

    let left = store.release_shards(one, &[shard(&first)]).await?;
    assert_eq!(left.shards.len(), 3);
    let changed = || Batch {
        changed_executions: vec![windhover_engine::Execution { version: 2, ..first.clone() }],
        ..Default::default()
    };
    assert!(matches!(store.commit(&all.fence, &changed()).await, Err(CommitError::Fenced)));
    assert_eq!(store.heartbeat(one).await?, left.fence.epoch);
    let taken = store.claim(two, ClaimRequest { limit: Some(2), take_over: false }).await?;
    assert_eq!(shards(&taken), [shard(&first)]);
    store.commit(&taken.fence, &changed()).await?;
    assert_eq!(store.heartbeat(one).await?, left.fence.epoch, "who gave it back was not disturbed again");

    let owners: Vec<_> = store.list_shards().await?.iter().map(|row| row.owner).collect();
    assert_eq!(owners.iter().filter(|owner| **owner == Some(one)).count(), 3);
    assert_eq!(owners[usize::from(shard(&first))], Some(two));
    let mut shares: Vec<_> = store.executors().await?.iter().map(|share| (share.id, share.shards)).collect();
    shares.sort_by_key(|(_, shards)| *shards);
    assert_eq!(shares, [(two, 1), (one, 3)]);

    assert!(store.set_draining(one, true).await?);
    assert!(!store.set_draining(id("nobody", 1), true).await?);
    assert!(store.executors().await?.iter().all(|share| share.draining == (share.id == one)));
    assert!(matches!(store.release_shards(id("nobody", 1), &[0]).await, Err(ClaimError::Gone)));
    Ok(())
}

async fn a_shard_that_is_wanted_elsewhere_waits_for_it_while_that_can_take_it(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let [one, two] = executors(store, 2).await?[..] else { anyhow::bail!("two") };
    assert!(store.want_shard(2, Some(two)).await?);
    assert!(!store.want_shard(SHARDS, Some(two)).await?);
    assert_eq!(shards(&store.claim(one, FREE).await?), [0, 1, 3]);
    // Wanted ones come first and beyond the limit.
    let none = ClaimRequest { limit: Some(0), take_over: false };
    assert_eq!(shards(&store.claim(two, none).await?), [2]);
    store.release_shards(two, &[2]).await?;
    store.set_draining(two, true).await?;
    assert_eq!(shards(&store.claim(one, FREE).await?), [0, 1, 2, 3]);
    assert_eq!(store.list_shards().await?[2].wanted, Some(two));
    assert!(store.want_shard(2, None).await?);
    assert_eq!(store.list_shards().await?[2].wanted, None);
    Ok(())
}

async fn the_shards_of_a_silent_executor_are_taken_only_by_who_takes_over(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let [one, two] = executors(store, 2).await?[..] else { anyhow::bail!("two") };
    let before = store.claim(one, FREE).await?;
    silence(&test, one, 6).await?;
    assert_eq!(shards(&store.claim(two, FREE).await?), Vec::<u16>::new());
    let taken = store.claim(two, ClaimRequest { limit: Some(3), take_over: true }).await?;
    assert_eq!(taken.shards.len(), 3);
    assert!(store.list_shards().await?.iter().all(|row| row.owner != Some(one)), "it has lost the others as well");
    let refused = store.commit(&before.fence, &created([execution(&acme(), 1)])).await;
    assert!(matches!(refused, Err(CommitError::Fenced)), "{refused:?}");
    // Its row is there: it learns of it from its epoch, and joins again.
    assert_ne!(store.heartbeat(one).await?, before.fence.epoch);
    let back = store.claim(one, FREE).await?;
    assert_eq!(back.shards.len(), 1);
    store.commit(&back.fence, &created([execution(&acme(), 1)])).await?;
    store.commit(&taken.fence, &created([execution(&acme(), 2)])).await?;
    Ok(())
}

async fn only_executors_own_shards_and_exclude_each_other(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let mut alone = registration(1);
    alone.exclusive = true;
    store.register_instance(&alone).await?;
    let worker = ServiceInfo { kind: ServiceKind::Worker, ..Default::default() };
    store.register_service(&registration(2), &worker).await?;
    let refused = store.register_instance(&registration(3)).await;
    assert!(matches!(refused, Err(RegisterError::AnotherInstance { .. })));
    assert!(matches!(store.claim(id("instance", 2), FREE).await, Err(ClaimError::Gone)));
    assert_eq!(store.executors().await?.len(), 1);
    // One that has ended stands in nobody's way.
    store.force_state(alone.id, ServiceState::TerminatedGracefully, "test").await?;
    store.register_instance(&registration(3)).await?;
    assert_eq!(store.executors().await?.iter().map(|share| share.id).collect::<Vec<_>>(), [id("instance", 3)]);
    Ok(())
}

async fn a_service_lives_through_its_states_and_is_refused_what_does_not_follow(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let mut info = ServiceInfo { kind: ServiceKind::Worker, ..Default::default() };
    info.server = Server { id: Some(id("server", 1)), version: "1.2.3".to_owned(), ..Default::default() };
    info.config.restart_strategy = RestartStrategy::Immediately;
    info.props.insert("worker.group".to_owned(), "gpu".into());
    let stored = store.register_service(&registration(1), &info).await?;
    assert_eq!((&stored.service, stored.seq_id, stored.alive), (&info, 1, true));
    let worker = stored.id;
    let vitals =
        Vitals { props: info.props.clone(), metrics: serde_json::json!([{"name": "kestra.worker.job.running"}]) };
    let beat = async |state| store.beat(worker, state, &vitals).await;
    assert_eq!(beat(ServiceState::Running).await?, Beat::Accepted { seq_id: 2 });
    assert_eq!(beat(ServiceState::Running).await?, Beat::Accepted { seq_id: 3 });
    assert_eq!(beat(ServiceState::Created).await?, Beat::Refused { stored: ServiceState::Running });
    // What others say about it.
    assert!(store.force_state(worker, ServiceState::NotRunning, "an operator").await?);
    assert_eq!(beat(ServiceState::Running).await?, Beat::Refused { stored: ServiceState::NotRunning });
    assert_eq!(store.beat(id("nobody", 1), ServiceState::Running, &vitals).await?, Beat::Missing);
    let [instance] = &store.instances().await?[..] else { anyhow::bail!("one instance") };
    assert_eq!(instance.service.metrics, vitals.metrics);
    let events: Vec<_> = instance.events.iter().map(|event| (event.state, event.value.as_str())).collect();
    assert_eq!(
        events,
        [
            (ServiceState::Created, "registered"),
            (ServiceState::Running, "reported by the service"),
            (ServiceState::NotRunning, "an operator"),
        ]
    );
    // One that insists registers again.
    info.state = ServiceState::Running;
    let again = store.register_service(&registration(1), &info).await?;
    assert_eq!((again.service.state, again.seq_id, again.epoch), (ServiceState::Running, 5, 2));
    Ok(())
}

async fn silent_services_are_found_once_and_forgotten_step_by_step(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let server = |n| Server { id: Some(id("server", n)), ..Default::default() };
    for (n, kind) in [(1, ServiceKind::Worker), (2, ServiceKind::Scheduler), (3, ServiceKind::Executor)] {
        let info = ServiceInfo { kind, state: ServiceState::Running, server: server(n), ..Default::default() };
        store.register_service(&registration(n), &info).await?;
    }
    assert_eq!(store.coordinate(id("server", 3)).await?, Default::default(), "all were heard of just now");
    for n in [1, 2, 3] {
        silence(&test, id("instance", n), 46).await?;
    }
    let (one, two) = tokio::join!(store.coordinate(id("server", 3)), store.coordinate(id("server", 3)));
    let mut found = one?.disconnected;
    found.extend(two?.disconnected);
    let mut ids: Vec<_> = found.iter().map(|instance| instance.id).collect();
    ids.sort();
    assert_eq!(ids, [id("instance", 1), id("instance", 2)], "each once, and nobody judges its own server");

    for n in [1, 2] {
        silence(&test, id("instance", n), 301).await?;
    }
    let ended = store.coordinate(id("server", 3)).await?;
    let ids = |instances: &[windhover_store::Instance]| instances.iter().map(|one| one.id).collect::<Vec<_>>();
    assert_eq!((ids(&ended.lost_workers), ids(&ended.ended)), (vec![id("instance", 1)], vec![id("instance", 2)]));
    assert_eq!(store.coordinate(id("server", 3)).await?, Default::default());
    let states: Vec<_> = store.instances().await?.iter().map(|one| one.service.state).collect();
    assert_eq!(states.iter().filter(|state| **state == ServiceState::Empty).count(), 2);
    assert_eq!(store.purge_instances(store.now().await?.plus(Duration::from_secs(1)), 10).await?, 2);
    assert_eq!(store.instances().await?.len(), 1);
    Ok(())
}

async fn groups_of_live_workers_are_counted(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let groups = [serde_json::json!("gpu"), serde_json::json!(["gpu", "cpu"]), serde_json::Value::Null];
    for (n, group) in (1..).zip(groups) {
        let mut info = ServiceInfo { kind: ServiceKind::Worker, state: ServiceState::Running, ..Default::default() };
        info.props.insert("worker.group".to_owned(), group);
        store.register_service(&registration(n), &info).await?;
    }
    let live = async || -> anyhow::Result<Vec<(Option<String>, u32)>> {
        Ok(store.live_worker_groups().await?.into_iter().map(|live| (live.group, live.workers)).collect())
    };
    let name = |name: &str| Some(name.to_owned());
    assert_eq!(live().await?, [(None, 1), (name("cpu"), 1), (name("gpu"), 2)]);
    store.beat(id("instance", 2), ServiceState::Terminating, &Vitals::default()).await?;
    silence(&test, id("instance", 3), 46).await?;
    assert_eq!(live().await?, [(name("gpu"), 1)]);
    Ok(())
}

/// By the database's clock: the test moves what was last heard.
async fn silence(test: &TestStore, instance: Id, seconds: i64) -> anyhow::Result<()> {
    let db = sea_orm::Database::connect(&test.url).await?;
    let hex: String = instance.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let literal = match db.get_database_backend() {
        sea_orm::DbBackend::Postgres => format!("'\\x{hex}'::bytea"),
        _ => format!("x'{hex}'"),
    };
    let micros = seconds * 1_000_000;
    db.execute_unprepared(&format!(
        "UPDATE service_instances SET heartbeat_at = heartbeat_at - {micros}, updated_at = updated_at - {micros}, \
         started_at = started_at - {micros} WHERE id = {literal}"
    ))
    .await?;
    db.close().await?;
    Ok(())
}

/// Two that claim at the same moment share what is free: no shard has two owners, whatever the order of their statements.
#[tokio::test]
async fn free_shards_are_claimed_by_one_each() -> anyhow::Result<()> {
    let test = TestStore::postgres().await?;
    let ids = executors(&test.store, 4).await?;
    for _ in 0..10 {
        let mut claims = Vec::new();
        for id in &ids {
            let (store, id) = (test.store.clone(), *id);
            let request = ClaimRequest { limit: Some(2), take_over: true };
            claims.push(tokio::spawn(async move { store.claim(id, request).await }));
        }
        let mut owned = Vec::new();
        for claim in claims {
            owned.extend(shards(&claim.await??));
        }
        owned.sort_unstable();
        assert_eq!(owned, [0, 1, 2, 3], "each shard once");
        for id in &ids {
            test.store.release_shards(*id, &all_shards()).await?;
        }
    }
    Ok(())
}

/// The claimant waits behind a batch in flight of the executor that it takes for dead. Meanwhile that comes to life and
/// reads its epoch, as it stands between the two transactions: that epoch must be good for nothing afterwards.
#[tokio::test]
async fn an_epoch_that_was_read_during_a_take_over_is_good_for_nothing() -> anyhow::Result<()> {
    let test = TestStore::postgres().await?;
    let slow = test.another("slow").await?;
    let [dead, new] = executors(&slow, 2).await?[..] else { anyhow::bail!("two") };
    let old = slow.claim(dead, FREE).await?;
    silence(&test, dead, 6).await?;
    // A batch in flight: it holds the row as batches do.
    let db = sea_orm::Database::connect(&test.url).await?;
    let flight = db.begin().await?;
    flight.execute_unprepared("SELECT epoch FROM service_instances FOR KEY SHARE").await?;
    let store = test.store.clone();
    let taking = tokio::spawn(async move { store.claim(new, ClaimRequest { limit: None, take_over: true }).await });
    let between = wait_until("the first transaction of the take-over", Duration::from_secs(10), || async {
        let instances = slow.instances().await.ok()?;
        instances.iter().find(|one| one.id == dead && one.epoch != old.fence.epoch).map(|one| one.epoch)
    })
    .await?;
    assert_eq!(slow.heartbeat(dead).await?, between, "it lives");
    flight.rollback().await?;
    let taken = taking.await??;
    assert_eq!(taken.shards.len(), usize::from(SHARDS));
    let stale = windhover_store::Fence { instance: dead, epoch: between };
    let refused = slow.commit(&stale, &created([execution(&acme(), 1)])).await;
    assert!(matches!(refused, Err(CommitError::Fenced)), "{refused:?}");
    test.store.commit(&taken.fence, &created([execution(&acme(), 1)])).await?;
    Ok(())
}
