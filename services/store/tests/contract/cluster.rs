//! Who owns what.

use std::time::Duration;

use sea_orm::{ConnectionTrait, TransactionTrait};
use windhover_store::{
    Batch, ClaimError, ClaimRequest, CommitError, ConnectError, RegisterError, Registration, ShardsError, Store,
    StoreOptions,
};
use windhover_testkit::{Postgres, PostgresOptions, TestStore, free_port, wait_until};
use windhover_types::{Id, Level, State, Tenant};

use crate::{fixtures::*, on_both};

on_both!(
    a_second_exclusive_server_is_refused_until_the_first_is_gone,
    shards_are_shared_by_limit_and_given_back,
    shards_of_an_owner_that_is_not_registered_any_more_are_taken_by_who_may_take_over,
    the_number_of_shards_stays,
    migrating_twice_changes_nothing,
    a_newer_or_foreign_schema_is_refused,
);

fn registration(n: u32, exclusive: bool) -> Registration {
    Registration { id: id("instance", n), host: format!("host {n}"), exclusive }
}

async fn a_second_exclusive_server_is_refused_until_the_first_is_gone(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let fence = owner(store).await?;
    for exclusive in [true, false] {
        let refused = store.register_instance(&registration(2, exclusive)).await.unwrap_err();
        assert!(matches!(&refused, RegisterError::AnotherInstance { host, .. } if host == "here"), "{refused:?}");
    }
    assert_eq!(store.heartbeat(fence.instance).await?, fence.epoch);
    store.unregister(fence.instance).await?;
    assert!(matches!(store.heartbeat(fence.instance).await, Err(ClaimError::Gone)));
    store.register_instance(&registration(2, false)).await?;
    assert!(matches!(
        store.register_instance(&registration(3, true)).await,
        Err(RegisterError::AnotherInstance { .. })
    ));
    assert_eq!(store.claim_shards(id("instance", 2), None).await?.shards.len(), usize::from(SHARDS));
    Ok(())
}

async fn shards_are_shared_by_limit_and_given_back(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    for n in [1, 2] {
        store.register_instance(&registration(n, false)).await?;
    }
    let shards = |claim: &windhover_store::Claim| claim.shards.iter().map(|(shard, _)| *shard).collect::<Vec<_>>();
    let first = store.claim_shards(id("instance", 1), Some(3)).await?;
    let second = store.claim_shards(id("instance", 2), None).await?;
    assert_eq!((shards(&first), shards(&second)), (vec![0, 1, 2], vec![3]));
    assert_eq!(store.heartbeat(id("instance", 1)).await?, first.fence.epoch, "nobody took anything from it");
    let again = store.claim_shards(id("instance", 1), Some(3)).await?;
    assert_eq!(shards(&again), [0, 1, 2]);
    store.unregister(id("instance", 1)).await?;
    let all = store.claim_shards(id("instance", 2), None).await?;
    assert_eq!(shards(&all), [0, 1, 2, 3]);
    assert_eq!(store.instances().await?.len(), 1);
    assert!(matches!(store.claim_shards(id("instance", 9), None).await, Err(ClaimError::Gone)));
    Ok(())
}

async fn shards_of_an_owner_that_is_not_registered_any_more_are_taken_by_who_may_take_over(
    test: TestStore,
) -> anyhow::Result<()> {
    let store = &test.store;
    for n in [1, 2] {
        store.register_instance(&registration(n, false)).await?;
    }
    let first = store.claim_shards(id("instance", 1), Some(2)).await?;
    store.claim_shards(id("instance", 2), Some(1)).await?;
    // Not by `unregister`, which frees them: an operator's hand, or a row that was cleaned away.
    let db = sea_orm::Database::connect(&test.url).await?;
    db.execute_unprepared(&format!("DELETE FROM service_instances WHERE host = '{}'", registration(1, false).host))
        .await?;
    db.close().await?;
    let request = |take_over| ClaimRequest { limit: None, take_over };
    let cautious = store.claim(id("instance", 2), request(false)).await?;
    assert_eq!(cautious.shards.len(), 2, "what is free, and no more");
    let all = store.claim(id("instance", 2), request(true)).await?;
    assert_eq!(all.shards.len(), usize::from(SHARDS));
    let late = store.commit(&first.fence, &created([execution(&acme(), 1)])).await;
    assert!(matches!(late, Err(CommitError::Fenced)), "{late:?}");
    Ok(())
}

async fn the_number_of_shards_stays(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    assert_eq!(store.number_of_shards(None).await?, SHARDS);
    assert!(matches!(
        store.number_of_shards(Some(64)).await,
        Err(ShardsError::Different { stored: SHARDS, wanted: 64 })
    ));
    assert!(matches!(store.number_of_shards(Some(0)).await, Err(ShardsError::OutOfRange(0))));
    Ok(())
}

async fn migrating_twice_changes_nothing(test: TestStore) -> anyhow::Result<()> {
    let other = test.another("another").await?;
    let (one, two) = tokio::join!(test.store.migrate(), other.migrate());
    one?;
    two?;
    other.ping().await?;
    assert!(!other.version().await?.is_empty());
    let tenants = other.list_tenants(None, 10).await?;
    assert_eq!(tenants.iter().map(|row| &row.tenant).collect::<Vec<_>>(), [&Tenant::main()]);
    assert!(!other.create_tenant(&Tenant::main(), t(0)).await?);
    other.close().await;
    Ok(())
}

async fn a_newer_or_foreign_schema_is_refused(test: TestStore) -> anyhow::Result<()> {
    let db = sea_orm::Database::connect(&test.url).await?;
    db.execute_unprepared("INSERT INTO seaql_migrations (version, applied_at) VALUES ('m9999_tomorrow', 0)").await?;
    let refused = Store::connect(&test.url, StoreOptions::default()).await.unwrap_err();
    assert!(matches!(&refused, ConnectError::NewerSchema { step, .. } if step == "m9999_tomorrow"), "{refused}");
    db.execute_unprepared(
        "UPDATE seaql_migrations SET version = 'm20220101_000001_create_table' WHERE version = 'm9999_tomorrow'",
    )
    .await?;
    let refused = Store::connect(&test.url, StoreOptions::default()).await.unwrap_err();
    assert!(matches!(refused, ConnectError::NotOurs { .. }), "{refused}");
    db.execute_unprepared("DROP TABLE seaql_migrations").await?;
    let refused = Store::connect(&test.url, StoreOptions::default()).await.unwrap_err();
    assert!(matches!(refused, ConnectError::NotOurs { .. }), "{refused}");
    Ok(())
}

#[tokio::test]
async fn a_database_that_is_not_there_is_told_in_a_sentence_without_the_password() -> anyhow::Result<()> {
    let options = || StoreOptions { acquire_timeout: Duration::from_secs(5), ..Default::default() };
    let nobody = format!("postgres://me:hunter2@127.0.0.1:{}/w", free_port()?);
    let error = Store::connect(&nobody, options()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("hunter2"));
    let missing = Postgres::shared().await?.url("missing");
    let error = Store::connect(&missing, options()).await.unwrap_err();
    assert!(matches!(error, ConnectError::NoDatabase { .. }), "{error:?}");
    let error = Store::connect("mysql://x", options()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Url));
    let error = Store::connect("sqlite:/nowhere/at/all.db", options()).await.unwrap_err();
    assert!(!error.to_string().is_empty());
    Ok(())
}

/// By the database's clock an instance is dead after five seconds; the test moves its heartbeat. A batch of it hangs in
/// flight: it holds the fence, and must not be committed once its shards have moved.
#[tokio::test]
async fn the_shards_of_a_dead_instance_move_behind_its_batches() -> anyhow::Result<()> {
    let test = TestStore::postgres().await?;
    let dead = test.another("dead").await?;
    let old = owner(&dead).await?;
    let first = execution(&acme(), 1);
    dead.commit(&old, &created([first.clone()])).await?;
    let db = sea_orm::Database::connect(&test.url).await?;
    db.execute_unprepared("UPDATE service_instances SET heartbeat_at = heartbeat_at - 6000000").await?;

    let blocking = db.begin().await?;
    blocking.execute_unprepared("SELECT id FROM executions FOR UPDATE").await?;
    let changed = windhover_engine::Execution { version: 2, ..first.clone() };
    let batch = || Batch { changed_executions: vec![changed.clone()], ..Default::default() };
    let hanging = tokio::spawn({
        let (dead, batch) = (dead.clone(), batch());
        async move { dead.commit(&old, &batch).await }
    });
    wait_until("the batch to hang", Duration::from_secs(10), || async {
        let waiting = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'dead' AND wait_event_type = 'Lock'";
        let statement = sea_orm::Statement::from_string(sea_orm::DbBackend::Postgres, waiting);
        db.query_one_raw(statement).await.ok().flatten().map(|_| ())
    })
    .await?;

    let new = registration(2, true);
    test.store.register_instance(&new).await?;
    let claim = test.store.claim_shards(new.id, None).await?;
    assert_eq!(claim.shards.len(), usize::from(SHARDS));
    blocking.rollback().await?;
    let lost = hanging.await?;
    assert!(matches!(lost, Err(CommitError::Unavailable(_))), "its session was ended: {lost:?}");
    test.store.commit(&claim.fence, &batch()).await?;

    // Its other sessions may have been ended as well: then it finds out at the second try.
    wait_until("the dead one to learn of it", Duration::from_secs(10), || async {
        dead.heartbeat(old.instance).await.ok().filter(|epoch| *epoch != old.epoch)
    })
    .await?;
    let refused = dead.commit(&old, &created([execution(&acme(), 2)])).await;
    assert!(matches!(refused, Err(CommitError::Fenced)), "{refused:?}");
    let owners: Vec<Option<Id>> = test.store.list_shards().await?.iter().map(|shard| shard.owner).collect();
    assert_eq!(owners, [Some(new.id); SHARDS as usize]);
    Ok(())
}

/// What was acknowledged is there after a crash of the server, and the store works again by itself.
#[tokio::test]
async fn acknowledged_batches_survive_a_crash_of_postgres() -> anyhow::Result<()> {
    let server = Postgres::start().await?;
    let store = Store::connect(&server.fresh_database().await?, StoreOptions::default()).await?;
    store.migrate().await?;
    store.number_of_shards(Some(SHARDS)).await?;
    let fence = owner(&store).await?;
    store.commit(&fence, &created([execution(&acme(), 1)])).await?;
    server.kill().await?;
    let error = store.commit(&fence, &created([execution(&acme(), 2)])).await.unwrap_err();
    assert!(matches!(error, CommitError::Unavailable(_)), "{error:?}");
    server.start_again().await?;
    wait_until("the store to work again", Duration::from_secs(20), || async {
        store.commit(&fence, &created([execution(&acme(), 3)])).await.ok()
    })
    .await?;
    assert!(store.get_execution(&acme(), id("execution", 1)).await?.is_some());
    assert!(store.get_execution(&acme(), id("execution", 2)).await?.is_none());
    Ok(())
}

/// What keeps the database's part of an execution small: the statements of a batch do not grow with it.
#[tokio::test]
async fn a_batch_of_five_hundred_costs_ten_round_trips() -> anyhow::Result<()> {
    let settings = vec![("log_statement".to_owned(), "all".to_owned())];
    let server = Postgres::start_with(PostgresOptions { durable: false, settings }).await?;
    let options = StoreOptions { max_connections: 1, ..Default::default() };
    let store = Store::connect(&server.fresh_database().await?, options).await?;
    store.migrate().await?;
    store.number_of_shards(Some(SHARDS)).await?;
    let fence = owner(&store).await?;
    let statements = || server.log().lines().filter(|line| line.contains("LOG:  ")).count();
    let mut counts = Vec::new();
    for (from, until) in [(0, 1), (1, 501)] {
        let mut batch = created((from..until).map(|n| ended(execution(&acme(), n), State::Success)));
        for execution in &batch.new_executions {
            batch.task_runs.extend([0, 1].map(|seq| task_run(execution, seq, State::Success)));
            batch.logs.push(log(execution, 0, Level::Info, "line"));
            if batch.feed.iter().all(|row| row.shard != shard(execution)) {
                let position = store.last_feed_seq(shard(execution)).await?;
                batch.feed.push(feed(execution, position + 1));
            }
        }
        let before = statements();
        store.commit(&fence, &batch).await?;
        counts.push(statements() - before);
    }
    assert!((5..=10).contains(&counts[1]), "{counts:?}: {}", server.log());
    assert_eq!(counts[0], counts[1], "as many as for one");
    Ok(())
}
