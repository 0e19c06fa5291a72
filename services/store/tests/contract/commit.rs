//! Batches: whole or not at all, exactly once, under the fence.

use sea_orm::ConnectionTrait;
use windhover_engine::{Execution, Timer};
use windhover_store::{
    Batch, CommitError, ExecutionFilter, InboxKey, JobKey, LogFilter, ParkedRow, RequestIdRow, TaskRunFilter, TimerKey,
};
use windhover_testkit::TestStore;
use windhover_types::{Level, State, Timestamp};

use crate::{fixtures::*, on_both};

on_both!(
    everything_of_a_batch_comes_back_as_it_was,
    a_large_batch_is_committed_whole,
    a_batch_under_an_old_epoch_writes_nothing,
    an_execution_is_made_once,
    a_change_needs_the_version_before,
    an_inbox_row_is_taken_once,
    log_positions_and_task_runs_are_written_once,
    a_request_id_answers_with_its_first_row,
    timers_and_jobs_follow_the_batch,
    the_feed_has_no_gaps,
    flows_that_moved_fail_the_batch,
    creation_needs_no_fence_and_makes_nothing_else,
    a_parked_execution_leaves_the_sweep_until_it_changes,
    what_the_database_always_refuses_is_told_from_data_and_from_a_database_that_is_away,
);

async fn everything_of_a_batch_comes_back_as_it_was(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let fence = owner(store).await?;
    let (running, done) = (execution(&acme(), 1), ended(execution(&acme(), 2), State::Success));
    let runs = [
        task_run(&running, 0, State::Success),
        task_run(&running, 1, State::Running),
        task_run(&done, 0, State::Failed),
    ];
    let batch = Batch {
        new_executions: vec![running.clone(), done.clone()],
        task_runs: runs.to_vec(),
        logs: vec![log(&running, 0, Level::Warn, "first\u{0}line"), log(&running, 1, Level::Info, "")],
        metrics: vec![metric(&running)],
        ..Default::default()
    };
    store.commit(&fence, &batch).await?;

    assert_eq!(store.get_execution(&acme(), running.id).await?, Some(running.clone()));
    assert_eq!(store.get_execution(&acme(), done.id).await?, Some(done.clone()));
    let stored = store.list_task_runs(&acme(), running.id, &TaskRunFilter::default(), None, 10).await?;
    assert_eq!(stored, [runs[0].run.clone(), runs[1].run.clone()]);
    let lines = store.list_execution_logs(&acme(), running.id, &LogFilter::default(), 0, 10).await?;
    let messages: Vec<_> = lines.iter().map(|row| row.line.message.as_str()).collect();
    assert_eq!(messages, ["first\u{fffd}line", ""]);
    assert_eq!(lines[1].line, batch.logs[1].line);
    assert_eq!(store.list_task_metrics(&acme(), running.id, 10).await?[0].metric, batch.metrics[0].metric);

    let mut changed = ended(running, State::Failed);
    changed.version = 2;
    changed.kill_requested = true;
    changed.error = Some(windhover_engine::ExecutionError { message: "why\u{0}".to_owned(), task_run_id: None });
    let mut run = runs[1].clone();
    run.run.state.set(State::Killed, t(50));
    run.run.outputs = None;
    run.run.version = 2;
    let batch = Batch { changed_executions: vec![changed.clone()], task_runs: vec![run.clone()], ..Default::default() };
    store.commit(&fence, &batch).await?;
    assert_eq!(store.get_execution(&acme(), changed.id).await?, Some(changed.clone()));
    assert_eq!(store.get_task_run(&acme(), changed.id, run.run.id).await?, Some(run.run));
    Ok(())
}

async fn a_large_batch_is_committed_whole(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let fence = owner(store).await?;
    let mut batch = created((0..777).map(|n| ended(execution(&acme(), n), State::Success)));
    for execution in &batch.new_executions {
        batch.task_runs.extend([0, 1].map(|seq| task_run(execution, seq, State::Success)));
        batch.logs.push(log(execution, 0, Level::Info, "line"));
    }
    store.commit(&fence, &batch).await?;
    let mut found = 0;
    let mut after = None;
    loop {
        let page = store.list_executions(&acme(), &ExecutionFilter::default(), after, 100).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        found += page.len();
    }
    assert_eq!(found, 777);
    let (first, last) = (&batch.new_executions[0], &batch.new_executions[776]);
    for execution in [first, last] {
        assert_eq!(store.list_task_runs(&acme(), execution.id, &TaskRunFilter::default(), None, 9).await?.len(), 2);
    }

    batch.new_executions.iter_mut().for_each(|execution| execution.version = 2);
    let mut changed = Batch { changed_executions: std::mem::take(&mut batch.new_executions), ..Default::default() };
    store.commit(&fence, &changed).await?;
    // One of them has moved on: nothing of the batch is written.
    changed.changed_executions.iter_mut().for_each(|execution| execution.version = 3);
    changed.changed_executions[400].version = 2;
    let error = store.commit(&fence, &changed).await.unwrap_err();
    let wrong = changed.changed_executions[400].id;
    assert!(matches!(&error, CommitError::Conflict { executions } if *executions == [wrong]), "{error:?}");
    let versions = store.load_runs(&[(acme(), changed.changed_executions[0].id)]).await?;
    assert_eq!(versions[0].execution.version, 2);
    Ok(())
}

async fn a_batch_under_an_old_epoch_writes_nothing(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let old = owner(store).await?;
    let new = store.release_shards(old.instance, &[0]).await?.fence;
    assert!(new.epoch > old.epoch);
    let batch = created([execution(&acme(), 1)]);
    assert!(matches!(store.commit(&old, &batch).await, Err(CommitError::Fenced)));
    assert_eq!(store.get_execution(&acme(), batch.new_executions[0].id).await?, None);
    store.commit(&new, &batch).await?;
    store.unregister(new.instance).await?;
    assert!(matches!(store.commit(&new, &created([execution(&acme(), 2)])).await, Err(CommitError::Fenced)));
    Ok(())
}

async fn an_execution_is_made_once(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let fence = owner(store).await?;
    store.commit(&fence, &created([execution(&acme(), 1)])).await?;
    let error = store.commit(&fence, &created([execution(&acme(), 2), execution(&acme(), 1)])).await.unwrap_err();
    assert!(matches!(&error, CommitError::Exists { executions } if *executions == [id("execution", 1)]), "{error:?}");
    assert_eq!(store.get_execution(&acme(), id("execution", 2)).await?, None);
    let error = store.commit(&fence, &created([execution(&acme(), 3), execution(&acme(), 3)])).await.unwrap_err();
    assert!(matches!(&error, CommitError::Conflict { executions } if *executions == [id("execution", 3)]), "{error:?}");
    Ok(())
}

async fn a_change_needs_the_version_before(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let fence = owner(store).await?;
    let first = execution(&acme(), 1);
    store.commit(&fence, &created([first.clone()])).await?;
    for version in [1, 3] {
        let mut changed = first.clone();
        changed.version = version;
        changed.kill_requested = true;
        let batch = Batch { changed_executions: vec![changed], ..Default::default() };
        let error = store.commit(&fence, &batch).await.unwrap_err();
        assert!(matches!(&error, CommitError::Conflict { executions } if *executions == [first.id]), "{error:?}");
    }
    let missing = Execution { version: 2, ..execution(&acme(), 9) };
    let batch = Batch { changed_executions: vec![missing.clone()], ..Default::default() };
    let error = store.commit(&fence, &batch).await.unwrap_err();
    assert!(matches!(&error, CommitError::Conflict { executions } if *executions == [missing.id]), "{error:?}");
    assert_eq!(store.get_execution(&acme(), first.id).await?, Some(first));
    Ok(())
}

async fn an_inbox_row_is_taken_once(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let fence = owner(store).await?;
    let (first, second) = (execution(&acme(), 1), execution(&acme(), 2));
    let sent = Batch {
        new_executions: vec![first.clone(), second.clone()],
        inbox_sent: vec![message(&second, 2), message(&first, 1), message(&first, 1)],
        ..Default::default()
    };
    store.commit(&fence, &sent).await?;
    // The same message again is there once; the order is that of the sender.
    store.commit(&fence, &Batch { inbox_sent: vec![message(&first, 1)], ..Default::default() }).await?;
    let waiting = store.inbox(&all_shards(), None, 10).await?;
    assert_eq!(waiting.rows, [message(&second, 2), message(&first, 1)]);
    let rest = store.inbox(&all_shards(), None, 1).await?;
    assert_eq!(store.inbox(&all_shards(), rest.last, 10).await?.rows, [message(&first, 1)]);

    let key =
        |row: &windhover_store::InboxRow| InboxKey { tenant: row.tenant.clone(), id: row.id, execution: row.execution };
    let take = Batch { inbox_done: vec![key(&message(&first, 1))], ..Default::default() };
    store.commit(&fence, &take).await?;
    let mut changed = second.clone();
    changed.version = 2;
    let again = Batch {
        changed_executions: vec![changed],
        inbox_done: vec![key(&message(&first, 1)), key(&message(&second, 2))],
        ..Default::default()
    };
    let error = store.commit(&fence, &again).await.unwrap_err();
    assert!(matches!(&error, CommitError::Conflict { executions } if *executions == [first.id]), "{error:?}");
    assert_eq!(store.inbox(&all_shards(), None, 10).await?.rows, [message(&second, 2)]);
    assert_eq!(store.get_execution(&acme(), second.id).await?, Some(second));
    Ok(())
}

async fn log_positions_and_task_runs_are_written_once(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let fence = owner(store).await?;
    let first = execution(&acme(), 1);
    let batch = Batch {
        logs: vec![log(&first, 0, Level::Info, "one")],
        task_runs: vec![task_run(&first, 0, State::Running)],
        ..created([first.clone()])
    };
    store.commit(&fence, &batch).await?;
    let conflicts =
        |error: CommitError| matches!(error, CommitError::Conflict { executions } if executions == [first.id]);
    let twice = Batch {
        logs: vec![log(&first, 1, Level::Info, "two"), log(&first, 0, Level::Info, "one")],
        ..Default::default()
    };
    assert!(conflicts(store.commit(&fence, &twice).await.unwrap_err()));
    let twice = Batch { task_runs: vec![task_run(&first, 0, State::Success)], ..Default::default() };
    assert!(conflicts(store.commit(&fence, &twice).await.unwrap_err()));
    let mut stale = task_run(&first, 0, State::Success);
    stale.run.version = 3;
    let stale = Batch { task_runs: vec![stale], ..Default::default() };
    assert!(conflicts(store.commit(&fence, &stale).await.unwrap_err()));
    let mut other = task_run(&first, 0, State::Success);
    (other.run.version, other.run.id) = (2, id("other", 1));
    let other = Batch { task_runs: vec![other], ..Default::default() };
    assert!(conflicts(store.commit(&fence, &other).await.unwrap_err()), "the number belongs to another task run");
    Ok(())
}

fn request(id: &str, content: u8, expires_at: Timestamp) -> RequestIdRow {
    RequestIdRow {
        tenant: acme(),
        method: "CreateExecution".to_owned(),
        request_id: id.to_owned(),
        content: [content; 32],
        result: format!("result of {content}"),
        expires_at,
    }
}

async fn a_request_id_answers_with_its_first_row(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let fence = owner(store).await?;
    let later = store.now().await?.plus(std::time::Duration::from_secs(3_600));
    let first = Batch { request_ids: vec![request("a\u{0}", 1, later)], ..created([execution(&acme(), 1)]) };
    store.commit(&fence, &first).await?;
    let second = Batch {
        request_ids: vec![request("b", 2, later), request("a\u{0}", 3, later)],
        ..created([execution(&acme(), 2)])
    };
    let stored = RequestIdRow { request_id: "a\u{fffd}".to_owned(), ..request("", 1, later) };
    match store.commit(&fence, &second).await.unwrap_err() {
        CommitError::RequestIds(rows) => assert_eq!(rows, std::slice::from_ref(&stored)),
        other => panic!("{other:?}"),
    }
    assert_eq!(store.get_execution(&acme(), id("execution", 2)).await?, None);
    assert_eq!(store.request_id(&acme(), "CreateExecution", "b", t(0)).await?, None);
    assert_eq!(store.request_id(&acme(), "CreateExecution", "a\u{0}", t(0)).await?, Some(stored));
    assert_eq!(store.request_id(&acme(), "KillExecution", "a\u{0}", t(0)).await?, None);
    assert_eq!(store.request_id(&acme(), "CreateExecution", "a\u{0}", later).await?, None, "forgotten by then");

    let twice = Batch { request_ids: vec![request("c", 4, later), request("c", 5, later)], ..Default::default() };
    match store.commit(&fence, &twice).await.unwrap_err() {
        CommitError::RequestIds(rows) => assert_eq!(rows, [request("c", 4, later)]),
        other => panic!("{other:?}"),
    }

    // One whose time has passed makes room, whether or not it was swept; it is no clash beside a true one.
    store.commit(&fence, &Batch { request_ids: vec![request("old", 6, t(0))], ..Default::default() }).await?;
    let beside = Batch { request_ids: vec![request("old", 7, later), request("a", 8, later)], ..Default::default() };
    store.commit(&fence, &Batch { request_ids: vec![request("a", 1, later)], ..Default::default() }).await?;
    match store.commit(&fence, &beside).await.unwrap_err() {
        CommitError::RequestIds(rows) => assert_eq!(rows, [request("a", 1, later)]),
        other => panic!("{other:?}"),
    }
    store.commit(&fence, &Batch { request_ids: vec![request("old", 7, t(1))], ..Default::default() }).await?;
    assert_eq!(store.purge_request_ids(later, 10).await?, 1);
    Ok(())
}

async fn timers_and_jobs_follow_the_batch(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let fence = owner(store).await?;
    let (first, second) = (execution(&acme(), 1), execution(&acme(), 2));
    let batch = Batch {
        timers_set: vec![timer(&first, 900), timer(&second, 100), timer(&first, 50)],
        jobs_started: vec![job(&first, 1, 10), job(&second, 1, 20)],
        ..created([first.clone(), second.clone()])
    };
    store.commit(&fence, &batch).await?;
    assert_eq!(store.due_timers(&all_shards(), t(1_000), 10).await?, [timer(&first, 50), timer(&second, 100)]);
    assert_eq!(store.due_timers(&all_shards(), t(99), 10).await?, [timer(&first, 50)]);
    assert_eq!(store.next_timer(&all_shards()).await?, Some(t(50)));
    assert_eq!(store.next_timer(&[SHARDS]).await?, None);
    assert_eq!(store.jobs(&[shard(&second)]).await?.last(), Some(&job(&second, 1, 20)));

    let grace = TimerKey { tenant: acme(), execution: first.id, timer: Timer::KillGrace };
    let batch = Batch {
        timers_cleared: vec![TimerKey { timer: timer(&first, 0).timer, ..grace.clone() }, grace],
        timers_set: vec![timer(&second, 700)],
        jobs_ended: vec![JobKey { tenant: acme(), execution: first.id, task_run: id("run", 1), dispatch: 1 }],
        jobs_started: vec![job(&first, 2, 5), job(&second, 1, 30)],
        ..Default::default()
    };
    store.commit(&fence, &batch).await?;
    assert_eq!(store.due_timers(&all_shards(), t(1_000), 10).await?, [timer(&second, 700)]);
    assert_eq!(store.jobs(&all_shards()).await?, [job(&first, 2, 5), job(&second, 1, 30)]);
    let key = |execution: &Execution, dispatch| JobKey {
        tenant: acme(),
        execution: execution.id,
        task_run: id("run", 1),
        dispatch,
    };
    let asked = [key(&first, 2), key(&first, 7), key(&second, 9)];
    assert_eq!(store.overdue_jobs(&asked).await?, [job(&first, 2, 5)], "what is asked for, and nothing else");
    Ok(())
}

async fn the_feed_has_no_gaps(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let fence = owner(store).await?;
    let first = execution(&acme(), 1);
    let shard = shard(&first);
    let told =
        |rows: Vec<i64>| Batch { feed: rows.into_iter().map(|seq| feed(&first, seq)).collect(), ..Default::default() };
    store.commit(&fence, &told(vec![2, 1])).await?;
    for wrong in [2, 4] {
        match store.commit(&fence, &told(vec![wrong])).await.unwrap_err() {
            CommitError::FeedMoved(shards) => assert_eq!(shards, [(shard, 2)]),
            other => panic!("{other:?}"),
        }
    }
    store.commit(&fence, &told(vec![3])).await?;
    assert_eq!(store.feed(shard, 1, 10).await?, [feed(&first, 2), feed(&first, 3)]);
    assert_eq!(store.last_feed_seq(shard).await?, 3);
    assert_eq!(store.feed_positions(&all_shards()).await?.values().sum::<i64>(), 3);
    assert_eq!(store.purge_feed(shard, t(2), 10).await?, 1);
    assert_eq!(store.feed(shard, 0, 1).await?, [feed(&first, 2)]);
    Ok(())
}

async fn flows_that_moved_fail_the_batch(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let fence = owner(store).await?;
    let seen = store.tenant_version(&acme()).await?;
    let batch = Batch { flow_versions: vec![(acme(), seen)], ..created([execution(&acme(), 1)]) };
    store.put_flow(&acme(), "company", "f", "id: f").await?;
    match store.commit(&fence, &batch).await.unwrap_err() {
        CommitError::FlowsMoved(moved) => assert_eq!(moved, [(acme(), seen + 1)]),
        other => panic!("{other:?}"),
    }
    assert_eq!(store.get_execution(&acme(), id("execution", 1)).await?, None);
    store.commit(&fence, &Batch { flow_versions: vec![(acme(), seen + 1)], ..batch }).await?;
    Ok(())
}

async fn creation_needs_no_fence_and_makes_nothing_else(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let first = execution(&acme(), 1);
    let batch = Batch { inbox_sent: vec![message(&first, 1)], ..created([first.clone()]) };
    store.create(&batch).await?;
    assert_eq!(store.inbox(&all_shards(), None, 10).await?.rows, [message(&first, 1)]);
    assert!(matches!(store.create(&batch).await, Err(CommitError::Exists { executions }) if executions == [first.id]));
    let more = Batch { timers_set: vec![timer(&first, 1)], ..Default::default() };
    assert!(matches!(store.create(&more).await, Err(CommitError::Fenced)));
    assert_eq!(store.next_timer(&all_shards()).await?, None);
    Ok(())
}

async fn a_parked_execution_leaves_the_sweep_until_it_changes(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let fence = owner(store).await?;
    let first = execution(&acme(), 1);
    store.commit(&fence, &created([first.clone()])).await?;
    let parked = ParkedRow { tenant: acme(), execution: first.id, reason: "an event of tomorrow".to_owned() };
    store.commit(&fence, &Batch { parked: vec![parked], ..Default::default() }).await?;
    assert_eq!(store.open_executions(&all_shards(), None, 10).await?, []);
    let stored = store.load_runs(&[(acme(), first.id)]).await?;
    assert_eq!(stored[0].parked.as_deref(), Some("an event of tomorrow"));
    let changed = Execution { version: 2, ..first.clone() };
    store.commit(&fence, &Batch { changed_executions: vec![changed], ..Default::default() }).await?;
    assert_eq!(store.open_executions(&all_shards(), None, 10).await?, [(acme(), first.id)]);
    Ok(())
}

async fn what_the_database_always_refuses_is_told_from_data_and_from_a_database_that_is_away(
    test: TestStore,
) -> anyhow::Result<()> {
    let store = &test.store;
    let fence = owner(store).await?;
    let db = sea_orm::Database::connect(&test.url).await?;
    db.execute_unprepared("ALTER TABLE logs RENAME TO lines").await?;
    let line = |n| log(&execution(&acme(), n), 0, Level::Info, "line");
    let batch = Batch { logs: vec![line(2)], ..created([1, 2].map(|n| execution(&acme(), n))) };
    let error = store.commit(&fence, &batch).await.unwrap_err();
    assert!(matches!(error, CommitError::Refused(_)), "{error:?}");
    assert_eq!(store.get_execution(&acme(), id("execution", 1)).await?, None);
    Ok(())
}

/// A namespace that is too long for Postgres' index: validation refuses it long before, but one such row must not stop
/// the others.
#[tokio::test]
async fn what_the_database_refuses_is_narrowed_down_to_its_executions() -> anyhow::Result<()> {
    let test = TestStore::postgres().await?;
    let fence = owner(&test.store).await?;
    let mut batch = created((0..9).map(|n| execution(&acme(), n)));
    batch.feed = vec![feed(&batch.new_executions[0], 1)];
    for wrong in [2, 7] {
        batch.new_executions[wrong].namespace = (0..2_000).map(|n| id("word", n + wrong as u32).to_string()).collect();
    }
    match test.store.commit(&fence, &batch).await.unwrap_err() {
        CommitError::Data { mut executions, .. } => {
            executions.sort();
            assert_eq!(executions, [id("execution", 2), id("execution", 7)]);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(test.store.list_executions(&acme(), &ExecutionFilter::default(), None, 9).await?, []);
    assert_eq!(test.store.last_feed_seq(shard(&batch.new_executions[0])).await?, 0);
    Ok(())
}
