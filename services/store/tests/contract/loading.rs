//! What an owner takes into memory.

use windhover_store::Batch;
use windhover_testkit::TestStore;
use windhover_types::{Level, State};

use crate::{fixtures::*, on_both};

on_both!(runs_come_with_what_is_open, the_sweep_finds_open_executions_of_its_shards_once);

async fn runs_come_with_what_is_open(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let fence = owner(store).await?;
    let (first, second) = (execution(&acme(), 1), execution(&acme(), 2));
    let runs: Vec<_> = [State::Success, State::Running, State::Failed, State::Paused]
        .into_iter()
        .zip(0..)
        .map(|(state, seq)| task_run(&first, seq, state))
        .collect();
    let batch = Batch {
        task_runs: runs.clone(),
        logs: (0..3).map(|position| log(&first, position, Level::Info, "line")).collect(),
        ..created([first.clone(), second.clone()])
    };
    store.commit(&fence, &batch).await?;

    let keys = [second.id, first.id, id("nobody", 1), first.id].map(|key| (acme(), key));
    let mut loaded = store.load_runs(&keys).await?;
    loaded.sort_by_key(|run| run.execution.id);
    assert_eq!(loaded.len(), 2);
    assert_eq!(loaded[0].execution, first);
    assert_eq!(loaded[0].open_task_runs, [runs[1].run.clone(), runs[3].run.clone()]);
    assert_eq!((loaded[0].next_seq, loaded[0].next_log, loaded[0].parked.clone()), (4, 3, None));
    assert_eq!((loaded[1].open_task_runs.len(), loaded[1].next_seq, loaded[1].next_log), (0, 0, 0));

    let ended = store.ended_task_runs(&acme(), first.id, None).await?;
    assert_eq!(ended, [runs[0].run.clone(), runs[2].run.clone()]);
    assert_eq!(store.ended_task_runs(&acme(), first.id, Some("even")).await?.len(), 2);
    assert_eq!(store.ended_task_runs(&acme(), first.id, Some("odd")).await?, []);
    assert!(store.load_runs(&[]).await?.is_empty());
    Ok(())
}

async fn the_sweep_finds_open_executions_of_its_shards_once(test: TestStore) -> anyhow::Result<()> {
    let store = &test.store;
    let fence = owner(store).await?;
    let all: Vec<_> = (0..20).map(|n| execution(&acme(), n)).collect();
    let mut batch = created(all.clone());
    batch.new_executions.push(ended(execution(&acme(), 100), State::Success));
    store.commit(&fence, &batch).await?;
    let mut found = Vec::new();
    while let page = store.open_executions(&all_shards(), found.last().map(|(_, id)| *id), 7).await?
        && !page.is_empty()
    {
        found.extend(page);
    }
    assert_eq!(found, all.iter().map(|execution| (acme(), execution.id)).collect::<Vec<_>>());
    let mine = store.open_executions(&[2], None, 100).await?;
    assert_eq!(mine.len(), all.iter().filter(|execution| shard(execution) == 2).count());

    let mut last = ended(all[0].clone(), State::Killed);
    last.version = 2;
    store.commit(&fence, &Batch { changed_executions: vec![last], ..Default::default() }).await?;
    assert_eq!(store.open_executions(&all_shards(), None, 100).await?.len(), 19);
    Ok(())
}
