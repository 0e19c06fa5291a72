//! Attempts that workers hold while their owners come and go.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use windhover_engine::JobResult;
use windhover_executor::now;
use windhover_queue::{Acknowledge, JobQueue, LeasedJob, PopRequest, Report, ReportKind, Wake, Wakeups};
use windhover_types::State;

use crate::support::{CALL, Installation, PATIENCE, shares};

impl Installation {
    async fn lease(&self, lease: Duration) -> Result<LeasedJob> {
        let request = PopRequest { groups: vec!["".into()], worker: "w".to_owned(), max: 1, lease, wait: PATIENCE };
        self.jobs.pop(request).await?.pop().context("there is no job")
    }

    /// Reports until the owner has committed it, as a worker does.
    async fn report(&self, leased: &LeasedJob, kind: ReportKind) -> Result<()> {
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

fn success() -> ReportKind {
    let at = now();
    let result = JobResult {
        started_at: at,
        ended_at: at,
        worker: Some("w".to_owned()),
        state: State::Success,
        outputs: None,
        error: None,
        directory_outputs: None,
        logs: Vec::new(),
        metrics: Vec::new(),
    };
    ReportKind::Ended { result: Box::new(result) }
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
