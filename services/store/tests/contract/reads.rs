//! Lists: filters and pages.

use windhover_engine::Execution;
use windhover_store::{Batch, ExecutionFilter, LogCursor, LogFilter, NamespaceFilter, TaskRunFilter, TimeRange};
use windhover_testkit::TestStore;
use windhover_types::{Id, Label, Level, State};

use crate::{fixtures::*, on_both};

on_both!(
    executions_are_found_by_each_filter,
    executions_come_in_pages_newest_first,
    task_runs_come_in_pages,
    log_lines_are_found_by_each_filter,
    log_lines_of_the_same_time_come_once,
    a_snapshot_belongs_to_its_place_in_the_feed,
);

async fn executions_are_found_by_each_filter(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let fence = owner(store).await?;
    let mut all: Vec<Execution> = (0..6).map(|n| execution(&acme(), n)).collect();
    for (execution, namespace) in
        all.iter_mut().zip(["company", "company.team", "company.team.a", "company.teams", "company-x", "other"])
    {
        execution.namespace = namespace.to_owned();
    }
    all[1] = ended(all[1].clone(), State::Failed);
    all[2] = ended(all[2].clone(), State::Success);
    all[3].flow_id = "invoices".to_owned();
    all[3].flow_revision = 9;
    all[4].labels = vec![Label::new("team", "b\"},{\"key\":\"n\",\"value\":\"1")];
    all[5].trigger = None;
    all[5].parent = None;
    store.commit(&fence, &created(all.clone())).await?;

    let below = NamespaceFilter::Below("company.team".to_owned());
    let within = NamespaceFilter::Within("company.team".to_owned());
    let exact = |name: &str| NamespaceFilter::Exact(name.to_owned());
    let states = |states: &[State]| ExecutionFilter { states: states.to_vec(), ..Default::default() };
    let n = |n: &str| vec![Label::new("n", n)];
    let from_until = |from, until| TimeRange { from: Some(t(from)), until: Some(t(until)) };
    type F = ExecutionFilter;
    let cases: Vec<(&str, F, Vec<usize>)> = vec![
        ("nothing", F::default(), vec![0, 1, 2, 3, 4, 5]),
        ("exact", F { namespaces: vec![exact("company")], ..F::default() }, vec![0]),
        ("below", F { namespaces: vec![below], ..F::default() }, vec![2]),
        ("within or exact", F { namespaces: vec![within, exact("other")], ..F::default() }, vec![1, 2, 5]),
        ("flow", F { flow_ids: vec!["invoices".to_owned()], ..F::default() }, vec![3]),
        ("revision", F { flow_revision: Some(9), ..F::default() }, vec![3]),
        ("states", states(&[State::Failed, State::Success]), vec![1, 2]),
        ("label", F { labels: n("1"), ..F::default() }, vec![1]),
        ("quoted label", F { labels: vec![all[4].labels[0].clone()], ..F::default() }, vec![4]),
        ("two labels", F { labels: vec![all[0].labels[0].clone(), Label::new("n", "2")], ..F::default() }, vec![2]),
        ("without label", F { without_labels: n("1"), ..F::default() }, vec![0, 2, 3, 4, 5]),
        ("created", F { created: from_until(1, 3), ..F::default() }, vec![1, 2]),
        ("started", F { started: from_until(1, 3), ..F::default() }, vec![0, 1]),
        ("ended", F { ended: from_until(9, 10), ..F::default() }, vec![1]),
        ("trigger", F { trigger_id: Some("on-failure".to_owned()), ..F::default() }, vec![0, 1, 2, 3, 4]),
        ("cause", F { cause: Some(id("cause", 1)), ..F::default() }, vec![1, 3]),
        ("parent", F { parent: Some(id("parent", 0)), ..F::default() }, vec![0, 3]),
        (
            "any",
            F { any: vec![states(&[State::Failed]), F { flow_revision: Some(9), ..F::default() }], ..F::default() },
            vec![1, 3],
        ),
        (
            "all",
            F { all: vec![states(&[State::Running]), F { labels: n("3"), ..F::default() }], ..F::default() },
            vec![3],
        ),
        ("not", F { not: vec![states(&[State::Running])], ..F::default() }, vec![1, 2]),
        (
            "not of what is unknown",
            F { not: vec![F { ended: from_until(9, 10), ..F::default() }], ..F::default() },
            vec![0, 2, 3, 4, 5],
        ),
        ("nothing matches", F { trigger_id: Some("'; --".to_owned()), ..F::default() }, vec![]),
    ];
    for (name, filter, expected) in cases {
        let found = store.list_executions(&acme(), &filter, None, 100).await?;
        let mut found: Vec<usize> = found.iter().filter_map(|found| all.iter().position(|one| one == found)).collect();
        found.reverse();
        assert_eq!(found, expected, "{name}");
    }
    Ok(())
}

async fn executions_come_in_pages_newest_first(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let fence = owner(store).await?;
    store.commit(&fence, &created((0..10).map(|n| execution(&acme(), n)))).await?;
    let mut found: Vec<Id> = Vec::new();
    loop {
        let page = store.list_executions(&acme(), &ExecutionFilter::default(), found.last().copied(), 4).await?;
        if page.is_empty() {
            break;
        }
        found.extend(page.iter().map(|execution| execution.id));
    }
    assert_eq!(found, (0..10).rev().map(|n| id("execution", n)).collect::<Vec<_>>());
    Ok(())
}

async fn task_runs_come_in_pages(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let fence = owner(store).await?;
    let first = execution(&acme(), 1);
    let runs: Vec<_> =
        (0..7).map(|seq| task_run(&first, seq, if seq == 3 { State::Failed } else { State::Success })).collect();
    store.commit(&fence, &Batch { task_runs: runs.clone(), ..created([first.clone()]) }).await?;
    let list = |filter: TaskRunFilter, after, limit| async move {
        let found = store.list_task_runs(&acme(), id("execution", 1), &filter, after, limit).await?;
        anyhow::Ok(found.into_iter().map(|run| run.seq).collect::<Vec<_>>())
    };
    assert_eq!(list(TaskRunFilter::default(), None, 3).await?, [0, 1, 2]);
    assert_eq!(list(TaskRunFilter::default(), Some(2), 9).await?, [3, 4, 5, 6]);
    assert_eq!(
        list(TaskRunFilter { task_ids: vec!["odd".to_owned()], ..Default::default() }, Some(1), 9).await?,
        [3, 5]
    );
    assert_eq!(list(TaskRunFilter { states: vec![State::Failed], ..Default::default() }, None, 9).await?, [3]);
    assert_eq!(list(TaskRunFilter { parent: Some(id("run-parent", 4)), ..Default::default() }, None, 9).await?, [4]);
    Ok(())
}

async fn log_lines_are_found_by_each_filter(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let fence = owner(store).await?;
    let (first, mut second) = (execution(&acme(), 1), execution(&acme(), 2));
    (second.namespace, second.flow_id) = ("other".to_owned(), "invoices".to_owned());
    let mut lines = vec![
        log(&first, 0, Level::Debug, "100% of ORDERS"),
        log(&first, 1, Level::Warn, "a_b"),
        log(&first, 2, Level::Error, "aXb\\"),
        log(&second, 3, Level::Info, "100 of orders"),
    ];
    lines[1].line.task_id = Some("odd".to_owned());
    lines[2].line.task_run_id = Some(id("line-run", 2));
    lines[2].line.attempt = Some(1);
    lines[3].line.task_id = None;
    store.commit(&fence, &Batch { logs: lines, ..created([first.clone(), second.clone()]) }).await?;

    type F = LogFilter;
    let text = |text: &str| F { text: Some(text.to_owned()), ..F::default() };
    let cases = vec![
        ("nothing", F::default(), vec![3, 2, 1, 0]),
        (
            "namespace",
            F { namespaces: vec![NamespaceFilter::Within("company".to_owned())], ..F::default() },
            vec![2, 1, 0],
        ),
        ("flow", F { flow_ids: vec!["invoices".to_owned()], ..F::default() }, vec![3]),
        ("execution", F { executions: vec![first.id], ..F::default() }, vec![2, 1, 0]),
        ("task", F { task_ids: vec!["odd".to_owned()], ..F::default() }, vec![1]),
        ("task run", F { task_runs: vec![id("line-run", 2)], ..F::default() }, vec![2]),
        ("attempt", F { attempt: Some(1), ..F::default() }, vec![2]),
        ("level", F { min_level: Some(Level::Warn), ..F::default() }, vec![2, 1]),
        ("time", F { at: TimeRange { from: Some(t(1_001)), until: Some(t(1_003)) }, ..F::default() }, vec![2, 1]),
        ("text in any case", text("of Orders"), vec![3, 0]),
        ("percent is itself", text("100%"), vec![0]),
        ("underscore is itself", text("a_B"), vec![1]),
        ("backslash is itself", text("b\\"), vec![2]),
    ];
    for (name, filter, expected) in cases {
        let found = store.list_logs(&acme(), &filter, None, 10).await?;
        assert_eq!(found.iter().map(|row| row.position).collect::<Vec<_>>(), expected, "{name}");
        let of_first = store.list_execution_logs(&acme(), first.id, &filter, 0, 10).await?;
        let mut expected: Vec<i64> = expected.into_iter().filter(|position| *position < 3).collect();
        expected.reverse();
        assert_eq!(of_first.iter().map(|row| row.position).collect::<Vec<_>>(), expected, "{name}");
    }
    let rest = store.list_execution_logs(&acme(), first.id, &LogFilter::default(), 1, 1).await?;
    assert_eq!(rest[0].position, 1);
    Ok(())
}

async fn log_lines_of_the_same_time_come_once(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let fence = owner(store).await?;
    let executions = [execution(&acme(), 1), execution(&acme(), 2)];
    let mut batch = created(executions.clone());
    for execution in &executions {
        for position in 0..5 {
            let mut line = log(execution, position, Level::Info, "line");
            line.line.at = t(position / 3);
            batch.logs.push(line);
        }
    }
    store.commit(&fence, &batch).await?;
    let mut found = Vec::new();
    let mut before = None;
    loop {
        let page = store.list_logs(&acme(), &LogFilter::default(), before, 3).await?;
        let Some(last) = page.last() else { break };
        before = Some(LogCursor::of(last));
        found.extend(page.iter().map(|row| (row.line.at, row.execution, row.position)));
    }
    let mut expected: Vec<_> = batch.logs.iter().map(|row| (row.line.at, row.execution, row.position)).collect();
    expected.sort();
    expected.reverse();
    assert_eq!(found, expected);
    Ok(())
}

async fn a_snapshot_belongs_to_its_place_in_the_feed(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let fence = owner(store).await?;
    let first = execution(&acme(), 1);
    let batch = Batch {
        task_runs: (0..3).map(|seq| task_run(&first, seq, State::Running)).collect(),
        logs: vec![log(&first, 0, Level::Info, "line")],
        feed: vec![feed(&first, 1)],
        ..created([first.clone()])
    };
    store.commit(&fence, &batch).await?;
    let snapshot = store.execution_snapshot(&acme(), first.id).await?.expect("it is there");
    assert_eq!(snapshot.execution, first);
    assert_eq!((snapshot.next_seq, snapshot.next_log, snapshot.shard, snapshot.feed_seq), (3, 1, shard(&first), 1));
    assert!(store.tenant_feed(&acme(), snapshot.shard, snapshot.feed_seq, 10).await?.is_empty());
    assert!(store.execution_snapshot(&acme(), id("nobody", 1)).await?.is_none());
    Ok(())
}
