//! A clock that is set while executions run. A program of its own, since the clock is the whole process's.

#[allow(dead_code, reason = "other tests use the rest")]
#[path = "cluster/support.rs"]
mod support;

use std::time::Duration;

use anyhow::{Result, ensure};
use support::{Installation, LONG_NAP, NAP, PATIENCE, TWO_TASKS, shares};
use windhover_executor::set_clock_offset;
use windhover_testkit::wait_until;
use windhover_types::State;

const HOUR: i64 = 3_600_000_000;

/// Longer than the test looks away.
const HALF_A_MINUTE: &str = "id: half
namespace: company
tasks:
  - id: sleep
    type: io.kestra.plugin.core.flow.Sleep
    duration: PT30S
";

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_costs_time_only_and_nobody_is_taken_for_dead() -> Result<()> {
    let installation = Installation::new().await?;
    let tenant = installation.tenant.clone();
    let (first, second) = (installation.member("first").await?, installation.member("second").await?);
    shares(&[(&first, 2), (&second, 2)]).await?;
    first.apply(&tenant, &[TWO_TASKS, NAP, LONG_NAP, HALF_A_MINUTE]).await?;
    second.flows.sync(&tenant).await?;
    let known = [first.instance(), second.instance()];
    let create = async |flow: &str, count: usize| -> Result<Vec<_>> {
        let mut ids = Vec::new();
        for at in 0..count {
            let handle = if at % 2 == 0 { &first.handle } else { &second.handle };
            ids.push(handle.create(installation.request(flow)).await?.execution.id);
        }
        Ok(ids)
    };
    let mut all = create("nap", 4).await?;
    all.extend(create("long", 2).await?);
    let begun = || async {
        for id in &all {
            let found = installation.test.store.get_execution(&tenant, *id).await.ok()??;
            (found.current() != State::Created).then_some(())?;
        }
        Some(())
    };
    wait_until("all of them to sleep", PATIENCE, begun).await?;
    // Ahead: what sleeps for an hour has slept enough.
    set_clock_offset(2 * HOUR);
    all.extend(create("two", 4).await?);
    for id in &all {
        installation.succeeded(*id).await?;
    }
    // Back, to before what was begun meanwhile: the date of its timer is far away by this clock.
    let waits = create("half", 2).await?;
    let begun = || async {
        let mut timers = 0;
        for id in &waits {
            let runs = installation.test.store.load_runs(&[(tenant.clone(), *id)]).await.ok()?;
            timers += runs.iter().map(|run| run.open_task_runs.len()).sum::<usize>();
        }
        (timers == waits.len()).then_some(())
    };
    wait_until("both of them to sleep", PATIENCE, begun).await?;
    set_clock_offset(-HOUR);
    let behind = create("nap", 4).await?;
    for id in behind.iter().chain(&create("two", 4).await?) {
        installation.succeeded(*id).await?;
    }
    for id in &waits {
        let state = installation.test.store.get_execution(&tenant, *id).await?.map(|execution| execution.current());
        ensure!(state == Some(State::Running), "it is {state:?}");
    }
    // The cause is gone, and the work goes on.
    set_clock_offset(3 * HOUR);
    for id in &waits {
        installation.succeeded(*id).await?;
    }
    ensure!([first.instance(), second.instance()] == known, "somebody was taken for dead");
    shares(&[(&first, 2), (&second, 2)]).await?;
    for id in all.iter().chain(&waits).chain(&behind) {
        let execution = installation.ended(*id).await?;
        let ends = execution.state.entries().iter().filter(|entry| entry.state.is_terminal()).count();
        ensure!(ends == 1, "{execution:#?}");
    }
    tokio::time::timeout(Duration::from_secs(60), installation.is_tidy()).await??;
    set_clock_offset(0);
    first.executor.stop().await;
    second.executor.stop().await;
    Ok(())
}
