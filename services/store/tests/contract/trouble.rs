//! A database that is there and does not work for now: nothing is lost, nothing is parked, and the reason is told.

use sea_orm::{ConnectionTrait, DatabaseConnection};
use windhover_store::{CommitError, Trouble};
use windhover_testkit::TestStore;
use windhover_types::Tenant;

use crate::fixtures::*;

async fn database(test: &TestStore) -> anyhow::Result<DatabaseConnection> {
    Ok(sea_orm::Database::connect(&test.url).await?)
}

fn reason(error: &CommitError) -> &str {
    match error {
        CommitError::Unavailable(reason) => reason,
        other => panic!("{other:?}"),
    }
}

/// What Postgres answers when its disk is full, its memory is used up, or it is being shut down.
#[tokio::test]
async fn a_full_disk_is_no_fault_of_the_data() -> anyhow::Result<()> {
    let test = TestStore::postgres().await?;
    let store = &test.store;
    let fence = owner(store).await?;
    let db = database(&test).await?;
    for (code, sentence) in [
        ("53100", "the database's disk is full"),
        ("53200", "the database server is out of memory"),
        ("57P01", "the database server is shutting down or starting"),
        ("58030", "the database's disk does not work"),
    ] {
        db.execute_unprepared(&format!(
            "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '{code}'; END $$; \
             CREATE OR REPLACE TRIGGER refuse BEFORE INSERT ON executions FOR EACH ROW EXECUTE FUNCTION refuse()"
        ))
        .await?;
        let batch = created([1, 2].map(|n| execution(&acme(), n)));
        let error = store.commit(&fence, &batch).await.unwrap_err();
        assert!(reason(&error).starts_with(sentence), "{error}");
        assert!(reason(&error).contains("could not extend file"), "{error}");
    }
    db.execute_unprepared("DROP TRIGGER refuse ON executions").await?;
    store.commit(&fence, &created([1, 2].map(|n| execution(&acme(), n)))).await?;
    Ok(())
}

#[tokio::test]
async fn a_read_only_database_is_told_as_such_and_still_read() -> anyhow::Result<()> {
    let test = TestStore::postgres().await?;
    let fence = owner(&test.store).await?;
    test.store.commit(&fence, &created([execution(&acme(), 1)])).await?;
    let db = database(&test).await?;
    db.execute_unprepared(
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$",
    )
    .await?;
    let store = test.another("later").await?;
    let error = store.commit(&fence, &created([execution(&acme(), 2)])).await.unwrap_err();
    assert!(reason(&error).starts_with("the database is read-only"), "{error}");
    let tenant = Tenant::parse("initech").map_err(|error| anyhow::anyhow!(error))?;
    let error = store.create_tenant(&tenant, t(0)).await.unwrap_err();
    assert_eq!(error.trouble(), Some(Trouble::ReadOnly));
    assert!(store.get_execution(&acme(), id("execution", 1)).await?.is_some());
    Ok(())
}
