//! Outputs that are too large for their row.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use sea_orm::{ConnectionTrait, Database};
use serde_json::json;
use windhover_engine::Execution;
use windhover_store::{
    Batch, CommitError, DeleteAlso, FileRemoval, LargeOutputs, LargeValues, PurgeOf, Store, StoreError, StoreOptions,
    TaskRunRow,
};
use windhover_testkit::TestStore;
use windhover_types::{Error, ErrorKind, Id, State, Tenant};

use crate::{fixtures::*, on_both};

on_both!(
    large_outputs_are_read_as_if_they_were_in_their_rows,
    a_commit_waits_for_internal_storage_and_writes_nothing_before,
    outputs_that_are_gone_cost_their_own_execution_alone,
    outputs_go_with_their_execution_also_where_its_files_stay,
);

const LIMIT: usize = 2_000;

/// Internal storage in memory.
#[derive(Default)]
struct Values {
    kept: Mutex<BTreeMap<(Tenant, String), String>>,
    away: AtomicBool,
    /// Whose execution is deleted while its outputs are read.
    deletes: Mutex<Option<(Store, Id)>>,
}

impl Values {
    fn keys(&self) -> Vec<String> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).keys().map(|(_, key)| key.clone()).collect()
    }

    fn forget(&self, key: &str) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).retain(|(_, kept), _| kept != key);
    }

    fn there(&self) -> Result<(), String> {
        if self.away.load(SeqCst) { Err("the bucket does not answer".to_owned()) } else { Ok(()) }
    }
}

#[async_trait]
impl LargeValues for Values {
    async fn put(&self, tenant: &Tenant, execution: Id, name: &str, value: String) -> Result<String, String> {
        self.there()?;
        let key = format!("{execution}/{name}");
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.insert((tenant.clone(), key.clone()), value);
        Ok(key)
    }

    async fn get(&self, tenant: &Tenant, key: &str) -> Result<Option<Vec<u8>>, String> {
        self.there()?;
        let deletes = self.deletes.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((store, execution)) = deletes {
            let deleted = store.delete_executions(tenant, &[execution], DeleteAlso::EVERYTHING).await;
            assert_eq!(deleted.map_err(|error| error.to_string())?, [execution]);
            self.kept.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(kept.get(&(tenant.clone(), key.to_owned())).map(|value| value.as_bytes().to_vec()))
    }
}

/// Another process on the same database, with internal storage.
async fn with_values(test: &TestStore, values: &Arc<Values>, above: Option<usize>) -> anyhow::Result<Store> {
    let large_outputs = Some(LargeOutputs { values: values.clone(), above });
    let options = StoreOptions { application_name: "large".to_owned(), large_outputs, ..Default::default() };
    Ok(Store::connect(&test.url, options).await?)
}

/// An execution that has ended, with large outputs of its own, and three task runs: with large outputs, with small ones,
/// and an open one with large ones.
fn large(n: u32) -> (Execution, Vec<TaskRunRow>) {
    let mut execution = ended(execution(&acme(), n), State::Success);
    let text = format!("\u{0}\"{n}\"").repeat(LIMIT);
    execution.outputs = json!({ "all": text }).as_object().cloned();
    let mut runs: Vec<TaskRunRow> = [State::Success, State::Success, State::Paused]
        .into_iter()
        .zip(0..)
        .map(|(state, seq)| task_run(&execution, seq, state))
        .collect();
    runs[0].run.outputs = Some(Arc::new(json!({"text": text, "list": [1, 2, {"a": null}]})));
    runs[2].run.outputs = runs[0].run.outputs.clone();
    (execution, runs)
}

/// What is in the columns `outputs` and `format` of the task runs, or of the executions.
async fn columns(test: &TestStore, table: &str, order: &str) -> anyhow::Result<Vec<(Option<String>, i16)>> {
    let db = Database::connect(&test.url).await?;
    let rows = db.query_all_raw(sea_orm::Statement::from_string(
        db.get_database_backend(),
        format!("SELECT outputs, format FROM {table} ORDER BY {order}"),
    ));
    let column = |row: sea_orm::QueryResult| Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?));
    rows.await?.into_iter().map(column).collect()
}

async fn large_outputs_are_read_as_if_they_were_in_their_rows(test: TestStore) -> anyhow::Result<()> {
    let values = Arc::new(Values::default());
    let store = &with_values(&test, &values, Some(LIMIT)).await?;
    let fence = owner(store).await?;
    let (execution, mut runs) = large(1);
    let small = ended(self::execution(&acme(), 2), State::Failed);
    let batch = Batch { task_runs: runs.clone(), ..created([execution.clone(), small.clone()]) };
    store.commit(&fence, &batch).await?;

    let keys = values.keys();
    assert_eq!(keys.len(), 3, "{keys:?}");
    assert!(keys.iter().all(|key| key.starts_with(&format!("{}/", execution.id))), "{keys:?}");
    let stored = columns(&test, "task_runs", "seq").await?;
    let in_row = serde_json::to_string(runs[1].run.outputs.as_deref().expect("outputs"))?;
    assert_eq!(stored[1], (Some(in_row), 1), "what is small stays");
    let own = columns(&test, "executions", "id").await?;
    for (column, format) in [&stored[0], &stored[2], &own[0]] {
        let key: String = serde_json::from_str(column.as_deref().unwrap_or_default())?;
        assert!(keys.contains(&key) && *format == 2, "{key} {format}");
    }

    let all: Vec<_> = runs.iter().map(|row| row.run.clone()).collect();
    let any = Default::default();
    assert_eq!(store.get_execution(&acme(), execution.id).await?, Some(execution.clone()));
    assert_eq!(store.list_executions(&acme(), &Default::default(), None, 9).await?, [small, execution.clone()]);
    assert_eq!(store.list_task_runs(&acme(), execution.id, &any, None, 9).await?, all);
    assert_eq!(store.ended_task_runs(&acme(), execution.id, None).await?, all[..2]);
    assert_eq!(store.get_task_run(&acme(), execution.id, all[0].id).await?, Some(all[0].clone()));
    let snapshot = store.execution_snapshot(&acme(), execution.id).await?.expect("it is there");
    assert_eq!(snapshot.execution, execution);
    let ids: Vec<_> = all.iter().rev().map(|run| run.id).collect();
    assert_eq!(store.get_task_runs(&acme(), execution.id, &ids).await?, all);
    let loaded = store.load_runs(&[(acme(), execution.id)]).await?;
    assert_eq!((&loaded[0].execution, &loaded[0].open_task_runs[..]), (&execution, &all[2..]));

    // A change that leaves the outputs as they are writes no other file, and small ones come back into the row.
    runs[0].run.version = 2;
    runs[2].run.version = 2;
    runs[2].run.outputs = Some(Arc::new(json!({"small": true})));
    store.commit(&fence, &Batch { task_runs: vec![runs[0].clone(), runs[2].clone()], ..Default::default() }).await?;
    assert_eq!(values.keys(), keys);
    let read = store.list_task_runs(&acme(), execution.id, &any, None, 9).await?;
    assert_eq!(read, runs.iter().map(|row| row.run.clone()).collect::<Vec<_>>());
    assert_eq!(columns(&test, "task_runs", "seq").await?[2], (Some(r#"{"small":true}"#.to_owned()), 1));

    // Whoever does not ask for outputs does not need internal storage.
    values.away.store(true, SeqCst);
    let bare = store.list_task_runs_without_outputs(&acme(), execution.id, &any, None, 9).await?;
    assert_eq!((bare.len(), bare.iter().filter(|run| run.outputs.is_some()).count()), (3, 0));
    let bare = store.list_executions_without_outputs(&acme(), &Default::default(), None, 9).await?;
    assert_eq!((bare.len(), bare.iter().filter(|one| one.outputs.is_some()).count()), (2, 0));

    // A process that puts nothing there reads what lies there all the same.
    values.away.store(false, SeqCst);
    let reader = with_values(&test, &values, None).await?;
    assert_eq!(reader.get_execution(&acme(), execution.id).await?, Some(execution));
    let (another, _) = large(3);
    reader.commit(&fence, &created([another.clone()])).await?;
    assert_eq!((values.keys(), reader.get_execution(&acme(), another.id).await?), (keys, Some(another)));
    Ok(())
}

async fn a_commit_waits_for_internal_storage_and_writes_nothing_before(test: TestStore) -> anyhow::Result<()> {
    let values = Arc::new(Values::default());
    let store = &with_values(&test, &values, Some(LIMIT)).await?;
    let fence = owner(store).await?;
    let (execution, runs) = large(1);
    let small = self::execution(&acme(), 2);
    let batch = Batch { task_runs: runs, ..created([execution.clone(), small.clone()]) };
    values.away.store(true, SeqCst);
    for _ in 0..2 {
        let refused = store.commit(&fence, &batch).await;
        let Err(CommitError::Unavailable(reason)) = refused else { panic!("{refused:?}") };
        assert!(
            reason.contains(&execution.id.to_string()) && reason.ends_with("the bucket does not answer"),
            "{reason}"
        );
        assert_eq!(store.list_executions(&acme(), &Default::default(), None, 9).await?, []);
    }
    // Batches without large outputs do not wait for it.
    store.commit(&fence, &created([self::execution(&acme(), 3)])).await?;
    values.away.store(false, SeqCst);
    store.commit(&fence, &batch).await?;
    assert_eq!(store.get_execution(&acme(), execution.id).await?, Some(execution.clone()));

    values.away.store(true, SeqCst);
    let error = store.get_execution(&acme(), execution.id).await.unwrap_err();
    assert!(matches!(&error, StoreError::StorageUnavailable(reason) if reason == "the bucket does not answer"));
    assert_eq!(Error::from(error).kind, ErrorKind::Unavailable);
    assert_eq!(store.get_execution(&acme(), small.id).await?, Some(small));
    Ok(())
}

async fn outputs_that_are_gone_cost_their_own_execution_alone(test: TestStore) -> anyhow::Result<()> {
    let values = Arc::new(Values::default());
    let store = &with_values(&test, &values, Some(LIMIT)).await?;
    let fence = owner(store).await?;
    let ((lost, runs), (whole, _)) = (large(1), large(2));
    store.commit(&fence, &Batch { task_runs: runs, ..created([lost.clone(), whole.clone()]) }).await?;
    let key = values.keys().into_iter().find(|key| key.starts_with(&format!("{}/execution-", lost.id))).expect("a key");
    values.forget(&key);

    let is_named = |error: StoreError| matches!(&error, StoreError::OutputsGone { execution, key: named } if *execution == lost.id && *named == key);
    assert!(is_named(store.get_execution(&acme(), lost.id).await.unwrap_err()));
    assert!(is_named(store.load_runs(&[(acme(), whole.id), (acme(), lost.id)]).await.unwrap_err()));
    let told = Error::from(store.execution_snapshot(&acme(), lost.id).await.unwrap_err());
    assert!(told.message.contains(&key) && told.message.contains(&lost.id.to_string()), "{told}");
    assert_eq!(store.load_runs(&[(acme(), whole.id)]).await?[0].execution, whole);
    assert_eq!(store.list_task_runs(&acme(), lost.id, &Default::default(), None, 9).await?.len(), 3);
    assert_eq!(store.list_executions_without_outputs(&acme(), &Default::default(), None, 9).await?.len(), 2);
    let without = test.store.get_execution(&acme(), whole.id).await;
    assert!(matches!(without, Err(StoreError::Corrupt { .. })), "a process without internal storage: {without:?}");

    // It goes while it is read: that is no loss.
    *values.deletes.lock().unwrap_or_else(PoisonError::into_inner) = Some((test.store.clone(), whole.id));
    assert_eq!(store.get_execution(&acme(), whole.id).await?, None);
    Ok(())
}

async fn outputs_go_with_their_execution_also_where_its_files_stay(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let fence = owner(store).await?;
    let over = [1, 2, 3].map(|n| ended(execution(&acme(), n), State::Success));
    store.commit(&fence, &created(over.clone())).await?;
    let parts = |executions, files| PurgeOf { executions, logs: true, metrics: true, files };
    store.purge_executions(&acme(), &[over[0].id], parts(true, true)).await?;
    store.purge_executions(&acme(), &[over[1].id], parts(true, false)).await?;
    store.purge_executions(&acme(), &[over[2].id], parts(false, true)).await?;
    let left = store.file_removals(store.now().await?.plus(Duration::from_secs(1)), 9).await?;
    let left: HashSet<(Id, bool)> =
        left.into_iter().map(|FileRemoval { place, outputs_only }| (place.id, outputs_only)).collect();
    assert_eq!(left, HashSet::from([(over[0].id, false), (over[1].id, true)]));
    Ok(())
}
