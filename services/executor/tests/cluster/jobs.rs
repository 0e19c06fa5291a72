//! Attempts that workers hold while their owners come and go.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use windhover_engine::{Event, JobResult, LogLine};
use windhover_executor::now;
use windhover_queue::{Acknowledge, JobQueue, LeasedJob, PopRequest, Report, ReportKind, Wake, Wakeups};
use windhover_testkit::wait_until;
use windhover_types::{Id, Level, State};

use crate::support::{CALL, Installation, PATIENCE, shares};

impl Installation {
    async fn lease(&self, lease: Duration) -> Result<LeasedJob> {
        let request = PopRequest { groups: vec!["".into()], worker: "w".to_owned(), max: 1, lease, wait: PATIENCE };
        self.jobs.pop(request).await?.pop().context("there is no job")
    }

    /// Reports until the owner has committed it, as a worker does.
    pub(crate) async fn report(&self, leased: &LeasedJob, kind: ReportKind) -> Result<()> {
        let job = &leased.job;
        let report = Report {
            tenant: job.tenant.clone(),
            shard: job.shard,
            execution: job.execution,
            key: job.key(),
            worker: "w".to_owned(),
            kind,
        };
        let sending = async {
            loop {
                let (acknowledge, committed) = Acknowledge::pair();
                self.bus.send(vec![Wake::Report { report: report.clone(), acknowledge }]).await?;
                if committed.await.is_ok() {
                    return anyhow::Ok(());
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, sending).await.context("nobody acknowledges")?
    }
}

pub(crate) fn ended(state: State) -> ReportKind {
    let result = JobResult { worker: Some("w".to_owned()), ..JobResult::bare(now(), state) };
    ReportKind::Ended { result: Box::new(result) }
}

fn success() -> ReportKind {
    ended(State::Success)
}

/// Lines of an attempt, of which the first has this number.
fn lines(first: u32, messages: &[&str]) -> ReportKind {
    let line = |message: &&str| LogLine {
        at: now(),
        level: Level::Info,
        message: (*message).to_owned(),
        task_id: Some("call".to_owned()),
        task_run_id: None,
        attempt: Some(0),
    };
    ReportKind::Logs { first, lines: messages.iter().map(line).collect() }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_a_worker_holds_goes_on_when_its_shard_gets_another_owner() -> Result<()> {
    let installation = Installation::new().await?;
    let tenant = installation.tenant.clone();
    let first = installation.member("first").await?;
    shares(&[(&first, 4)]).await?;
    first.apply(&tenant, &[CALL]).await?;
    let mut begun = Vec::new();
    let mut quiet = Vec::new();
    for at in 0..10 {
        first.handle.create(installation.request("call")).await?;
        let leased = installation.lease(PATIENCE).await?;
        if at % 2 == 0 {
            installation.report(&leased, ReportKind::Started { at: now() }).await?;
            begun.push(leased);
        } else {
            quiet.push(leased);
        }
    }
    let second = installation.member("second").await?;
    shares(&[(&first, 2), (&second, 2)]).await?;
    first.executor.stop().await;
    shares(&[(&second, 4)]).await?;
    for leased in begun.iter().chain(&quiet) {
        installation.report(leased, success()).await?;
        ensure!(installation.jobs.complete("w", leased.job.key()).await?, "the lease was somebody else's");
    }
    for leased in begun.iter().chain(&quiet) {
        installation.succeeded(leased.job.execution).await?;
        let run = installation.test.store.get_task_run(&tenant, leased.job.execution, leased.job.job.task_run).await?;
        let run = run.context("its task run")?;
        ensure!(run.attempts.len() == 1 && run.dispatch == 1, "it was handed out again: {run:#?}");
    }
    installation.is_tidy().await?;
    second.executor.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_has_cost_three_workers_fails_and_says_why() -> Result<()> {
    let installation = Installation::new().await?;
    let tenant = installation.tenant.clone();
    let owner = installation.member("owner").await?;
    shares(&[(&owner, 4)]).await?;
    owner.apply(&tenant, &[CALL]).await?;
    let id = owner.handle.create(installation.request("call")).await?.execution.id;
    for _ in 0..3 {
        // Whoever takes it dies at once.
        installation.lease(Duration::from_millis(1)).await?;
    }
    let ended = installation.ended(id).await?;
    ensure!(ended.current() == State::Failed, "{ended:#?}");
    let lines = installation.test.store.list_execution_logs(&tenant, id, &Default::default(), 0, 100).await?;
    ensure!(lines.iter().any(|row| row.line.message.contains("died 3 times")), "{lines:#?}");
    installation.is_tidy().await?;
    owner.executor.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_stops_in_order_costs_its_attempts_nothing() -> Result<()> {
    let installation = Installation::new().await?;
    let tenant = installation.tenant.clone();
    let owner = installation.member("owner").await?;
    shares(&[(&owner, 4)]).await?;
    owner.apply(&tenant, &[CALL]).await?;
    owner.handle.create(installation.request("call")).await?;
    for _ in 0..5 {
        let leased = installation.lease(PATIENCE).await?;
        ensure!(leased.job.losses == 0, "it has cost {} workers", leased.job.losses);
        installation.report(&leased, ReportKind::Started { at: now() }).await?;
        installation.jobs.renew("w", &[leased.job.key()], Duration::ZERO).await?;
    }
    let leased = installation.lease(PATIENCE).await?;
    installation.report(&leased, success()).await?;
    ensure!(installation.jobs.complete("w", leased.job.key()).await?);
    installation.succeeded(leased.job.execution).await?;
    installation.is_tidy().await?;
    owner.executor.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_that_a_worker_sends_again_to_another_owner_are_stored_once() -> Result<()> {
    let installation = Installation::new().await?;
    let tenant = installation.tenant.clone();
    let first = installation.member("first").await?;
    shares(&[(&first, 4)]).await?;
    first.apply(&tenant, &[CALL]).await?;
    let id = first.handle.create(installation.request("call")).await?.execution.id;
    let leased = installation.lease(PATIENCE).await?;
    installation.report(&leased, ReportKind::Started { at: now() }).await?;
    installation.report(&leased, lines(0, &["one", "two"])).await?;
    let second = installation.member("second").await?;
    shares(&[(&first, 2), (&second, 2)]).await?;
    first.executor.stop().await;
    shares(&[(&second, 4)]).await?;
    // As far as the worker knows nobody has heard the first ones; its next batch overlaps with what it has sent.
    installation.report(&leased, lines(0, &["one", "two"])).await?;
    installation.report(&leased, lines(1, &["two", "three"])).await?;
    installation.report(&leased, success()).await?;
    installation.jobs.complete("w", leased.job.key()).await?;
    // One that is late: nobody waits for this attempt any more.
    installation.report(&leased, lines(3, &["four"])).await?;
    installation.succeeded(id).await?;
    let stored = installation.test.store.list_execution_logs(&tenant, id, &Default::default(), 0, 100).await?;
    let messages: Vec<&str> = stored.iter().map(|row| row.line.message.as_str()).collect();
    ensure!(messages == ["one", "two", "three"], "{messages:?}");
    installation.is_tidy().await?;
    second.executor.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_owner_tells_the_holders_of_what_is_being_killed_once_more() -> Result<()> {
    let installation = Installation::new().await?;
    let tenant = installation.tenant.clone();
    let first = installation.member("first").await?;
    shares(&[(&first, 4)]).await?;
    first.apply(&tenant, &[CALL]).await?;
    let id = first.handle.create(installation.request("call")).await?.execution.id;
    let leased = installation.lease(PATIENCE).await?;
    installation.report(&leased, ReportKind::Started { at: now() }).await?;
    let mut hints = installation.jobs.kill_hints("w").await?;
    first.handle.act(&tenant, id, Event::Kill, None).await?;
    let told = tokio::time::timeout(PATIENCE, hints.recv()).await?;
    ensure!(told == Some(leased.job.key()), "{told:?}");
    while hints.try_recv().is_ok() {}
    let second = installation.member("second").await?;
    shares(&[(&first, 2), (&second, 2)]).await?;
    first.executor.stop().await;
    shares(&[(&second, 4)]).await?;
    let told = tokio::time::timeout(PATIENCE, hints.recv()).await.context("nobody tells it again")?;
    ensure!(told == Some(leased.job.key()), "{told:?}");
    installation.report(&leased, ended(State::Killed)).await?;
    installation.jobs.complete("w", leased.job.key()).await?;
    ensure!(installation.ended(id).await?.current() == State::Killed);
    installation.is_tidy().await?;
    second.executor.stop().await;
    Ok(())
}

/// What `\x…` stands for in SQL.
fn hex(id: Id) -> String {
    id.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_is_not_kept_waiting_by_an_execution_that_nobody_can_read() -> Result<()> {
    let installation = Installation::new().await?;
    let tenant = installation.tenant.clone();
    let first = installation.member("first").await?;
    shares(&[(&first, 4)]).await?;
    first.apply(&tenant, &[CALL]).await?;
    let mut held = Vec::new();
    for _ in 0..3 {
        first.handle.create(installation.request("call")).await?;
        held.push(installation.lease(PATIENCE).await?);
    }
    // Two at once, and one beside them that is well.
    for broken in &held[..2] {
        let id = hex(broken.job.execution);
        installation
            .sql(&format!("UPDATE task_runs SET history = 'nonsense' WHERE execution = '\\x{id}'::bytea"))
            .await?;
    }
    let second = installation.member("second").await?;
    shares(&[(&first, 2), (&second, 2)]).await?;
    first.executor.stop().await;
    shares(&[(&second, 4)]).await?;
    for leased in &held {
        installation.report(leased, success()).await?;
        ensure!(installation.jobs.complete("w", leased.job.key()).await?);
    }
    installation.succeeded(held[2].job.execution).await?;
    for broken in &held[..2] {
        let parked = wait_until("it to be parked", PATIENCE, async || {
            let open = installation.test.store.open_executions(&[broken.job.shard], None, 100).await.ok()?;
            (!open.iter().any(|(_, id)| *id == broken.job.execution)).then_some(())
        });
        parked.await?;
        let stored = installation.test.store.get_execution(&tenant, broken.job.execution).await?;
        ensure!(stored.is_some_and(|execution| !execution.is_ended()), "it has not ended, it waits for an operator");
        let asked = second.handle.act(&tenant, broken.job.execution, Event::Kill, None).await;
        ensure!(asked.is_err_and(|error| error.reason == "EXECUTION_PARKED"), "whoever asks is told");
    }
    second.executor.stop().await;
    Ok(())
}
