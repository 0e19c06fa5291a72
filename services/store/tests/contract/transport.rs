//! What processes leave for each other, and how much of it waits.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use windhover_engine::{Event, Execution};
use windhover_store::{
    Batch, CommitError, DeleteAlso, Deleted, InboxKey, InboxMessage, InboxRow, JobKey, JobNote, JobRenewal, JobRow,
    RequestIdRow, TaskRunKey,
};
use windhover_testkit::TestStore;
use windhover_types::{Level, State};

use crate::{fixtures::*, on_both};

on_both!(
    a_message_of_a_gateway_is_there_once_and_found_by_execution,
    the_outcome_of_an_action_is_written_once_beside_its_message,
    held_jobs_are_renewed_and_gone_ones_stay_gone,
    what_workers_tell_of_running_attempts_is_kept_with_their_jobs,
    what_waits_is_counted_by_shard_tenant_and_group,
    groups_of_workers_are_remembered_and_denied_by_tenant,
    a_removed_task_run_makes_room_in_the_same_batch,
    an_ended_execution_is_deleted_with_all_that_is_about_it,
);

fn action(execution: &Execution, n: u32) -> InboxRow {
    let message = InboxMessage::Action {
        event: Event::Kill,
        method: "KillExecution".to_owned(),
        request_id: format!("request {n}"),
        content: [n as u8; 32],
    };
    InboxRow { message, ..message_of(execution, n) }
}

fn message_of(execution: &Execution, n: u32) -> InboxRow {
    message(execution, n)
}

fn inbox_key(row: &InboxRow) -> InboxKey {
    InboxKey { tenant: row.tenant.clone(), id: row.id, execution: row.execution }
}

async fn a_message_of_a_gateway_is_there_once_and_found_by_execution(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let globex = globex(store).await?;
    let all: Vec<Execution> = (0..6).map(|n| execution(&acme(), n)).collect();
    let foreign = execution(&globex, 1);
    let mut rows: Vec<InboxRow> = (10..).zip(&all).map(|(n, execution)| message(execution, n)).collect();
    rows.push(action(&all[2], 3));
    rows.push(message(&foreign, 11));
    assert_eq!(store.put_inbox(&rows).await?, 8);
    assert_eq!(store.put_inbox(&rows[5..7]).await?, 0, "the same again");
    assert_eq!(store.put_inbox(&[]).await?, 0);
    let found = store.inbox_of(&[(acme(), all[2].id), (acme(), all[1].id), (acme(), id("nobody", 1))]).await?;
    assert_eq!(found.rows, [rows[1].clone(), rows[2].clone(), rows[6].clone()], "in the order in which they were sent");
    assert_eq!(store.inbox_of(&[(globex, foreign.id)]).await?.rows, [rows[7].clone()]);
    assert_eq!(store.inbox(&all_shards(), None, 100).await?.rows, rows);
    assert!(store.inbox_of(&[]).await?.rows.is_empty());
    Ok(())
}

async fn the_outcome_of_an_action_is_written_once_beside_its_message(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let fence = owner(store).await?;
    let first = execution(&acme(), 1);
    store.commit(&fence, &created([first.clone()])).await?;
    let now = store.now().await?;
    let outcome = |n: u32, result: &str| RequestIdRow {
        tenant: acme(),
        method: "KillExecution".to_owned(),
        request_id: format!("request {n}"),
        content: [n as u8; 32],
        result: result.to_owned(),
        expires_at: now.plus(Duration::from_secs(60)),
    };
    let key = |n: u32| (acme(), "KillExecution".to_owned(), format!("request {n}"));
    store.put_inbox(&[action(&first, 1), action(&first, 2)]).await?;
    assert_eq!(store.request_ids_of(&[key(1), key(2)], now).await?, []);
    let refused = outcome(1, r#"{"refused":{"reason":"EXECUTION_ENDED","message":"nul \u0000"}}"#);
    let done = |row: &InboxRow, outcome: RequestIdRow| Batch {
        inbox_done: vec![inbox_key(row)],
        request_ids: vec![outcome],
        ..Default::default()
    };
    store.commit(&fence, &done(&action(&first, 1), refused.clone())).await?;
    assert_eq!(store.request_id(&acme(), "KillExecution", "request 1", now).await?, Some(refused.clone()));
    assert_eq!(store.request_ids_of(&[key(2), key(1)], now).await?, std::slice::from_ref(&refused));
    assert_eq!(store.inbox(&all_shards(), None, 10).await?.rows, [action(&first, 2)]);

    // Whoever asked was faster than the answer and has sent it once more: it is known to be done.
    store.put_inbox(&[action(&first, 1)]).await?;
    let again = store.commit(&fence, &done(&action(&first, 1), outcome(1, "{}"))).await.unwrap_err();
    assert!(matches!(&again, CommitError::RequestIds(rows) if rows[..] == [refused]), "{again:?}");
    store.commit(&fence, &Batch { inbox_done: vec![inbox_key(&action(&first, 1))], ..Default::default() }).await?;
    assert_eq!(store.inbox(&all_shards(), None, 10).await?.rows, [action(&first, 2)]);
    Ok(())
}

async fn held_jobs_are_renewed_and_gone_ones_stay_gone(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let fence = owner(store).await?;
    let first = execution(&acme(), 1);
    let lost = JobRow { losses: 2, ..job(&first, 3, 10) };
    let (lease, far) = (Duration::from_secs(60), store.now().await?.plus(Duration::from_secs(3_600)));
    let later = JobRow { deadline: far, ..job(&first, 2, 0) };
    let batch = Batch { jobs_started: vec![job(&first, 1, 10), later.clone(), lost.clone()], ..Default::default() };
    store.commit(&fence, &batch).await?;
    let renewal = |dispatch, worker: Option<&str>| JobRenewal {
        key: JobKey { tenant: acme(), execution: first.id, task_run: id("run", 1), dispatch },
        worker: worker.map(str::to_owned),
    };
    let renewals = [renewal(3, Some("w1")), renewal(2, Some("w1")), renewal(9, Some("w1")), renewal(1, None)];
    let keys: Vec<JobKey> = [1, 2, 3].map(|dispatch| renewal(dispatch, None).key).into();
    let overdue = async || -> anyhow::Result<HashSet<u32>> {
        Ok(store.overdue_jobs(&keys).await?.into_iter().map(|row| row.dispatch).collect())
    };
    assert_eq!(overdue().await?, HashSet::from([1, 3]));
    assert_eq!(store.renew_jobs(&renewals, lease).await?, 2, "only later deadlines, only jobs that are there");
    assert_eq!(overdue().await?, HashSet::new());
    let after = store.now().await?.plus(lease);
    let held = store.jobs_of_worker("w1").await?;
    let moved = held.first().map(|row| row.deadline).unwrap_or_default();
    assert!(moved <= after && after.since(moved) < lease, "{moved:?} is not a lease before {after:?}");
    assert_eq!(held, [JobRow { deadline: moved, worker: Some("w1".to_owned()), ..lost }]);
    assert_eq!(store.jobs(&all_shards()).await?.last(), Some(&later));
    // Who holds it stays known when nobody says otherwise.
    store.renew_jobs(&[renewal(3, None), renewal(3, None)], lease * 2).await?;
    assert!(store.jobs_of_worker("w1").await?[0].deadline > moved);
    Ok(())
}

async fn what_workers_tell_of_running_attempts_is_kept_with_their_jobs(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let fence = owner(store).await?;
    let first = execution(&acme(), 1);
    let key = |dispatch| JobKey { tenant: acme(), execution: first.id, task_run: id("run", 1), dispatch };
    let mut batch = created(vec![first.clone()]);
    batch.task_runs = vec![task_run(&first, 0, State::Running)];
    batch.jobs_started = vec![job(&first, 1, 10), job(&first, 2, 10)];
    store.commit(&fence, &batch).await?;
    let noted = |notes: Vec<(u32, Option<&str>, u32)>| Batch {
        jobs_noted: notes
            .into_iter()
            .map(|(dispatch, worker, lines)| JobNote { key: key(dispatch), worker: worker.map(str::to_owned), lines })
            .collect(),
        ..Default::default()
    };
    store.commit(&fence, &noted(vec![(1, Some("w1"), 0), (2, None, 3), (9, Some("w1"), 1)])).await?;
    store.commit(&fence, &noted(vec![(1, None, 7), (2, None, 2)])).await?;
    assert_eq!(store.jobs_of_worker("w1").await?, [JobRow { worker: Some("w1".to_owned()), ..job(&first, 1, 10) }]);
    let loaded = store.load_runs(&[(acme(), first.id)]).await?;
    let mut lines: Vec<(u32, u32)> = loaded[0].job_lines.iter().map(|of| (of.dispatch, of.lines)).collect();
    lines.sort_unstable();
    assert_eq!(lines, [(1, 7), (2, 3)], "never fewer than there are");
    assert!(loaded[0].job_lines.iter().all(|of| of.task_run == id("run", 1)));
    let refused = store.create(&noted(vec![(1, None, 9)])).await;
    assert!(matches!(refused, Err(CommitError::Fenced)), "only owners write it");
    Ok(())
}

async fn what_waits_is_counted_by_shard_tenant_and_group(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let globex = globex(store).await?;
    let fence = owner(store).await?;
    let main = acme();
    let all: Vec<Execution> = (0..6).map(|n| execution(if n < 4 { &main } else { &globex }, n)).collect();
    let now = store.now().await?;
    let far = now.plus(Duration::from_secs(3_600)).as_millis() - t(0).as_millis();
    let mut batch = created(all.clone());
    batch.new_executions.push(ended(execution(&acme(), 50), State::Success));
    batch.inbox_sent = vec![message(&all[0], 1), message(&all[5], 2)];
    batch.jobs_started = vec![
        JobRow { worker: Some("w".to_owned()), ..job(&all[0], 1, 10) },
        job(&all[0], 2, far),
        JobRow { worker_group: Some("gpu".to_owned()), ..job(&all[4], 1, far) },
    ];
    batch.timers_set = vec![timer(&all[0], 10), timer(&all[4], far)];
    batch.feed = vec![feed(&all[0], 1)];
    store.commit(&fence, &batch).await?;

    let depth = store.depth(1_000).await?;
    assert!(depth.complete);
    assert_eq!(depth.shards.len(), usize::from(SHARDS));
    for found in &depth.shards {
        let open = all.iter().filter(|execution| shard(execution) == found.shard).count() as u64;
        assert_eq!((found.open, found.owner), (open, Some(fence.instance)), "shard {}", found.shard);
    }
    let of_first = &depth.shards[usize::from(shard(&all[0]))];
    assert_eq!((of_first.overdue_jobs, of_first.overdue_timers, of_first.oldest_timer), (1, 1, Some(t(10))));
    assert_eq!((of_first.last_seq, of_first.first_seq, of_first.last_told_at), (1, Some(1), Some(t(1))));
    assert!(of_first.oldest_inbox.is_some_and(|sent| sent >= now.plus(Duration::ZERO)), "{of_first:?}");
    assert_eq!(depth.shards.iter().map(|shard| shard.inbox).sum::<u64>(), 2);
    assert_eq!(depth.shards.iter().map(|shard| shard.jobs).sum::<u64>(), 3);
    assert!(!store.depth(3).await?.complete);

    let tenants = store.tenant_depth(1_000).await?;
    let figures: Vec<_> =
        tenants.tenants.iter().map(|one| (one.tenant.as_str(), one.open, one.inbox, one.jobs, one.timers)).collect();
    assert_eq!(figures, [("globex", 2, 1, 1, 1), ("main", 4, 1, 2, 1)]);
    let groups: Vec<_> = store.group_depth().await?;
    let mut figures: Vec<_> =
        groups.iter().map(|one| (one.group.as_deref(), one.tenant.as_str(), one.jobs, one.held, one.overdue)).collect();
    figures.sort();
    assert_eq!(figures, [(None, "main", 2, 1, 1), (Some("gpu"), "globex", 1, 0, 0)]);
    Ok(())
}

async fn groups_of_workers_are_remembered_and_denied_by_tenant(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let globex = globex(store).await?;
    for group in ["gpu", "cpu", "gpu"] {
        store.see_worker_group(group).await?;
    }
    let groups = store.worker_groups().await?;
    assert_eq!(groups.iter().map(|group| group.name.as_str()).collect::<Vec<_>>(), ["cpu", "gpu"]);
    assert!(groups[1].last_seen_at >= groups[1].first_seen_at);
    assert!(store.denied_worker_groups().await?.is_empty());
    store.set_worker_group_permission(&acme(), "gpu", Some(false)).await?;
    store.set_worker_group_permission(&acme(), "cpu", Some(true)).await?;
    store.set_worker_group_permission(&globex, "cpu", Some(false)).await?;
    store.set_worker_group_permission(&globex, "cpu", None).await?;
    assert_eq!(store.denied_worker_groups().await?, HashMap::from([(acme(), vec!["gpu".to_owned()])]));
    let said: Vec<_> = store.worker_group_permissions(&acme()).await?;
    let said: Vec<_> = said.iter().map(|one| (one.group.as_str(), one.allowed)).collect();
    assert_eq!(said, [("cpu", true), ("gpu", false)]);
    assert_eq!(store.worker_group_permissions(&globex).await?, []);
    Ok(())
}

async fn a_removed_task_run_makes_room_in_the_same_batch(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let fence = owner(store).await?;
    let first = execution(&acme(), 1);
    let runs = [0, 1].map(|seq| task_run(&first, seq, State::Running));
    let batch = Batch { task_runs: runs.to_vec(), ..created([first.clone()]) };
    store.commit(&fence, &batch).await?;
    let key = |seq| TaskRunKey { tenant: acme(), execution: first.id, seq };
    let mut next = task_run(&first, 1, State::Success);
    next.run.id = id("another", 1);
    let changed = Execution { version: 2, flow_revision: 7, ..first.clone() };
    let batch = Batch {
        changed_executions: vec![changed.clone()],
        task_runs: vec![next.clone()],
        task_runs_removed: vec![key(1), key(9)],
        ..Default::default()
    };
    store.commit(&fence, &batch).await?;
    let stored = store.list_task_runs(&acme(), first.id, &Default::default(), None, 10).await?;
    assert_eq!(stored, [runs[0].run.clone(), next.run]);
    assert_eq!(
        store.get_execution(&acme(), first.id).await?,
        Some(changed),
        "also when it goes on in another revision"
    );
    Ok(())
}

async fn an_ended_execution_is_deleted_with_all_that_is_about_it(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let globex = globex(store).await?;
    let fence = owner(store).await?;
    let open = execution(&acme(), 1);
    let over = [2, 3].map(|n| ended(execution(&acme(), n), State::Success));
    let mut batch = created([open.clone(), over[0].clone(), over[1].clone()]);
    for execution in &over {
        batch.task_runs.push(task_run(execution, 0, State::Success));
        batch.logs.push(log(execution, 0, Level::Info, "line"));
        batch.metrics.push(metric(execution));
        batch.timers_set.push(timer(execution, 10));
        batch.jobs_started.push(job(execution, 1, 10));
    }
    batch.inbox_sent = vec![message(&over[0], 1), message(&over[1], 2)];
    store.commit(&fence, &batch).await?;

    assert_eq!(store.delete_execution(&acme(), open.id, DeleteAlso::EVERYTHING).await?, Deleted::Open);
    assert_eq!(store.delete_execution(&acme(), id("nobody", 1), DeleteAlso::EVERYTHING).await?, Deleted::Missing);
    assert_eq!(store.delete_execution(&globex, over[0].id, DeleteAlso::EVERYTHING).await?, Deleted::Missing);
    assert_eq!(store.delete_execution(&acme(), over[0].id, DeleteAlso::EVERYTHING).await?, Deleted::Done);
    let keep = DeleteAlso { logs: false, metrics: false };
    assert_eq!(store.delete_executions(&acme(), &[over[1].id, open.id], keep).await?, [over[1].id]);

    let rest = store.list_executions(&acme(), &Default::default(), None, 10).await?;
    assert_eq!(rest, [open]);
    for (execution, lines) in [(&over[0], 0), (&over[1], 1)] {
        assert_eq!(store.list_task_runs(&acme(), execution.id, &Default::default(), None, 10).await?, []);
        let logs = store.list_execution_logs(&acme(), execution.id, &Default::default(), 0, 10).await?;
        assert_eq!(logs.len(), lines);
        assert_eq!(store.list_task_metrics(&acme(), execution.id, 10).await?.len(), lines);
    }
    assert_eq!(store.next_timer(&all_shards()).await?, None);
    assert!(store.jobs(&all_shards()).await?.is_empty());
    assert!(store.inbox(&all_shards(), None, 10).await?.rows.is_empty());
    // An owner that had it in memory finds a difference and writes nothing.
    let late = Execution { version: 2, ..over[0].clone() };
    let conflict = store.commit(&fence, &Batch { changed_executions: vec![late], ..Default::default() }).await;
    assert!(
        matches!(&conflict, Err(CommitError::Conflict { executions }) if executions[..] == [over[0].id]),
        "{conflict:?}"
    );
    Ok(())
}
