//! No read function shows one tenant what belongs to another, even where ids are the same.

use windhover_store::{
    AuditEvent, Batch, DataKey, ExecutionFilter, FlowFilter, InboxKey, JobKey, LogFilter, RequestIdRow, ServiceAccount,
    TaskRunFilter, TimerKey, Token,
};
use windhover_testkit::TestStore;
use windhover_types::{JsonMap, Level, State, Tenant, Timestamp};

use crate::{fixtures::*, on_both};

on_both!(nothing_of_one_tenant_is_seen_or_touched_by_another);

async fn fill(test: &TestStore, tenant: &Tenant, fence: &windhover_store::Fence) -> anyhow::Result<()> {
    let store = &test.store;
    let first = ended(execution(tenant, 1), State::Failed);
    let far = Timestamp::from_micros(i64::MAX);
    let batch = Batch {
        task_runs: vec![task_run(&first, 0, State::Success)],
        logs: vec![log(&first, 0, Level::Info, tenant.as_str())],
        metrics: vec![metric(&first)],
        timers_set: vec![timer(&first, 1)],
        jobs_started: vec![job(&first, 1, 1)],
        inbox_sent: vec![message(&first, 1)],
        feed: vec![feed(&first, store.last_feed_seq(shard(&first)).await? + 1)],
        request_ids: vec![RequestIdRow {
            tenant: tenant.clone(),
            method: "m".to_owned(),
            request_id: "r".to_owned(),
            content: [0; 32],
            result: tenant.to_string(),
            expires_at: far,
        }],
        ..created([first])
    };
    store.commit(fence, &batch).await?;
    store.put_flow(tenant, "company", "f", tenant.as_str()).await?;
    store.put_secret(tenant, "company", "s", tenant.as_str().as_bytes(), t(0)).await?;
    store.add_data_key(tenant, &DataKey { id: 1, wrapped: tenant.as_str().as_bytes().to_vec() }, t(0)).await?;
    let account =
        ServiceAccount { tenant: tenant.clone(), id: id("account", 1), name: "ci".to_owned(), created_at: t(0) };
    store.ensure_service_account(&account).await?;
    let mut hash = [0; 32];
    hash[..tenant.as_str().len()].copy_from_slice(tenant.as_str().as_bytes());
    let token = Token {
        tenant: tenant.clone(),
        id: id("token", 1),
        account: account.id,
        role: "admin".to_owned(),
        hash,
        created_at: t(0),
        expires_at: None,
        revoked_at: None,
    };
    store.create_token(&token).await?;
    let event = AuditEvent {
        tenant: tenant.clone(),
        id: id("audit", 1),
        at: t(0),
        actor: "me".to_owned(),
        action: "PutSecret".to_owned(),
        resource: tenant.to_string(),
        detail: JsonMap::new(),
    };
    store.append_audit(&event).await?;
    Ok(())
}

/// What a tenant sees through every read function; one text per thing found.
async fn seen(test: &TestStore, tenant: &Tenant) -> anyhow::Result<Vec<String>> {
    let store = &test.store;
    let first = execution(tenant, 1);
    let (mut seen, filters) = (Vec::new(), ExecutionFilter::default());
    let mut see =
        |what: &str, tenants: Vec<String>| seen.extend(tenants.into_iter().map(|tenant| format!("{what}: {tenant}")));
    let name = |tenant: &Tenant| tenant.to_string();
    see("get_execution", store.get_execution(tenant, first.id).await?.iter().map(|one| name(&one.tenant)).collect());
    see(
        "list_executions",
        store.list_executions(tenant, &filters, None, 9).await?.iter().map(|one| name(&one.tenant)).collect(),
    );
    let by_cause = ExecutionFilter { cause: Some(id("cause", 1)), ..Default::default() };
    see(
        "by cause",
        store.list_executions(tenant, &by_cause, None, 9).await?.iter().map(|one| name(&one.tenant)).collect(),
    );
    let snapshot = store.execution_snapshot(tenant, first.id).await?;
    see(
        "execution_snapshot",
        snapshot.iter().map(|one| format!("{} {}", one.execution.tenant, one.next_seq)).collect(),
    );
    let loaded = store.load_runs(&[(tenant.clone(), first.id)]).await?;
    see(
        "load_runs",
        loaded.iter().map(|one| format!("{} {} {}", one.execution.tenant, one.next_seq, one.next_log)).collect(),
    );
    let count = |count: usize| vec![count.to_string()];
    see("ended_task_runs", count(store.ended_task_runs(tenant, first.id, None).await?.len()));
    let runs = store.list_task_runs(tenant, first.id, &TaskRunFilter::default(), None, 9).await?;
    see("list_task_runs", count(runs.len()));
    let run = task_run(&first, 0, State::Success).run.id;
    see("get_task_runs", count(store.get_task_runs(tenant, first.id, &[run]).await?.len()));
    see("get_task_run", count(usize::from(store.get_task_run(tenant, first.id, run).await?.is_some())));
    let logs = LogFilter::default();
    see("list_logs", store.list_logs(tenant, &logs, None, 9).await?.into_iter().map(|row| row.line.message).collect());
    let lines = store.list_execution_logs(tenant, first.id, &logs, 0, 9).await?;
    see("list_execution_logs", lines.into_iter().map(|row| row.line.message).collect());
    see("list_task_metrics", count(store.list_task_metrics(tenant, first.id, 9).await?.len()));
    for shard in all_shards() {
        see("tenant_feed", store.tenant_feed(tenant, shard, 0, 9).await?.iter().map(|row| name(&row.tenant)).collect());
    }
    see("request_id", store.request_id(tenant, "m", "r", t(0)).await?.into_iter().map(|row| row.result).collect());
    see("get_flow", store.get_flow(tenant, "company", "f", None).await?.into_iter().map(|row| row.source).collect());
    let flows = store.list_flows(tenant, &FlowFilter::default(), None, 9).await?;
    see("list_flows", flows.into_iter().map(|row| row.source).collect());
    let revisions = store.list_revisions(tenant, "company", "f", None, 9).await?;
    see("list_revisions", revisions.into_iter().map(|row| row.source).collect());
    see("tenant_version", vec![store.tenant_version(tenant).await?.to_string()]);
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    see(
        "find_secret",
        store.find_secret(tenant, "company", "s").await?.into_iter().map(|one| text(one.ciphertext)).collect(),
    );
    let secrets = store.list_secrets(tenant, "company", true).await?;
    see("list_secrets", secrets.into_iter().map(|one| text(one.ciphertext)).collect());
    see("data_keys", store.data_keys(tenant).await?.into_iter().map(|key| text(key.wrapped)).collect());
    see("get_tenant", store.get_tenant(tenant).await?.iter().map(|row| name(&row.tenant)).collect());
    let accounts = store.list_service_accounts(tenant, None, 9).await?;
    see("list_service_accounts", accounts.iter().map(|one| name(&one.tenant)).collect());
    let account = store.get_service_account(tenant, id("account", 1)).await?;
    see("get_service_account", account.iter().map(|one| name(&one.tenant)).collect());
    see("list_tokens", store.list_tokens(tenant, None, 9).await?.iter().map(|one| name(&one.tenant)).collect());
    see("list_audit", store.list_audit(tenant, None, 9).await?.into_iter().map(|event| event.resource).collect());
    Ok(seen)
}

async fn nothing_of_one_tenant_is_seen_or_touched_by_another(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let fence = owner(store).await?;
    let (acme, globex) = (acme(), globex(store).await?);
    fill(&test, &acme, &fence).await?;
    let before = seen(&test, &acme).await?;
    assert!(before.iter().all(|line| !line.ends_with(": 0")), "every function has something to see: {before:#?}");

    let nothing = [
        "ended_task_runs: 0",
        "list_task_runs: 0",
        "get_task_runs: 0",
        "get_task_run: 0",
        "list_task_metrics: 0",
        "tenant_version: 0",
        "get_tenant: globex",
    ];
    assert_eq!(seen(&test, &globex).await?, nothing);
    fill(&test, &globex, &fence).await?;
    assert_eq!(seen(&test, &acme).await?, before, "the same ids in another tenant change nothing");
    let theirs: Vec<String> = before.iter().map(|line| line.replace("main", "globex")).collect();
    assert_eq!(seen(&test, &globex).await?, theirs);

    // What one takes away, the other keeps.
    let first = execution(&globex, 1);
    let (tenant, execution) = (globex.clone(), first.id);
    let mut run = task_run(&first, 0, State::Failed);
    run.run.version = 2;
    let batch = Batch {
        task_runs: vec![run],
        timers_cleared: vec![TimerKey { tenant: tenant.clone(), execution, timer: timer(&first, 1).timer }],
        jobs_ended: vec![JobKey { tenant: tenant.clone(), execution, task_run: id("run", 1), dispatch: 1 }],
        inbox_done: vec![InboxKey { tenant: tenant.clone(), id: id("message", 1), execution }],
        ..Default::default()
    };
    store.commit(&fence, &batch).await?;
    store.delete_flow(&globex, "company", "f").await?;
    store.delete_secret(&globex, "company", "s").await?;
    store.revoke_token(&globex, id("token", 1), t(1)).await?;
    assert_eq!(seen(&test, &acme).await?, before);
    assert!(store.find_token(&hash_of("main")).await?.is_some_and(|token| token.is_valid(t(2))));
    let timers = store.due_timers(&all_shards(), t(9), 9).await?;
    assert_eq!(timers.iter().map(|row| &row.tenant).collect::<Vec<_>>(), [&acme]);
    assert_eq!(store.jobs(&all_shards()).await?.iter().map(|row| &row.tenant).collect::<Vec<_>>(), [&acme]);
    assert_eq!(
        store.inbox(&all_shards(), None, 9).await?.rows.iter().map(|row| &row.tenant).collect::<Vec<_>>(),
        [&acme]
    );
    assert_eq!(store.ended_task_runs(&acme, execution, None).await?[0].version, 1);
    Ok(())
}

fn hash_of(tenant: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash[..tenant.len()].copy_from_slice(tenant.as_bytes());
    hash
}
