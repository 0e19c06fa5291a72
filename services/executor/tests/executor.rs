//! The executor over a real store: what is acknowledged is stored, and ends as its flow says.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use windhover_engine::{Env, Execution, InlineOutcome, InlineTasks, NewExecution, RenderContext};
use windhover_executor::{
    ApplyOptions, CreateRequest, Executor, ExecutorConfig, ExecutorHandle, Flows, Membership, NoGroups, OwnedShards,
    RequestKey, SecretSource, new_id,
};
use windhover_queue::{InProcessHints, InProcessJobs, JobQueue, JobsConfig, in_process_wakeups};
use windhover_store::{Fence, Registration, ServiceInfo, Store, StoreOptions};
use windhover_tasks::InlineTaskTable;
use windhover_telemetry::{Metrics, MetricsConfig};
use windhover_types::{ErrorKind, Id, JsonMap, Label, Secret, State, Tenant};

struct NoSecrets;

#[async_trait]
impl SecretSource for NoSecrets {
    async fn secret(&self, _: &Tenant, _: &str, key: &str) -> Result<Secret, String> {
        Err(format!("Cannot find secret for key '{key}'."))
    }
}

/// A store of a test; an executor over it can be started and abandoned any number of times.
struct Fixture {
    folder: tempfile::TempDir,
    tenant: Tenant,
}

struct Running {
    store: Store,
    flows: Flows,
    handle: ExecutorHandle,
    executor: Executor,
    instance: Id,
    jobs: Arc<InProcessJobs>,
}

impl Fixture {
    fn new() -> Result<Self> {
        Ok(Self { folder: tempfile::tempdir()?, tenant: Tenant::main() })
    }

    fn url(&self) -> String {
        format!("sqlite:{}", self.folder.path().join("windhover.db").display())
    }

    async fn start(&self) -> Result<Running> {
        self.start_with(JobsConfig::default()).await
    }

    async fn start_with(&self, jobs: JobsConfig) -> Result<Running> {
        self.start_all(jobs, Arc::new(InlineTaskTable)).await
    }

    async fn start_all(&self, jobs: JobsConfig, tasks: Arc<dyn InlineTasks>) -> Result<Running> {
        let store = Store::connect(&self.url(), StoreOptions::default()).await?;
        store.migrate().await?;
        let shard_count = store.number_of_shards(Some(8)).await?;
        let flows = Flows::load(store.clone()).await?;
        let (wakeups, wakes) = in_process_wakeups(16);
        let jobs = Arc::new(InProcessJobs::new(jobs));
        let config = ExecutorConfig {
            store: store.clone(),
            membership: Membership::Exclusive,
            owned: OwnedShards::new(shard_count),
            registration: Registration { id: new_id(), host: "test".to_owned(), exclusive: true },
            service: ServiceInfo::default(),
            flows: flows.clone(),
            env: Arc::new(Env::new(tasks)),
            jobs: jobs.clone(),
            wakes,
            wakeups: Arc::new(wakeups),
            hints: Arc::new(InProcessHints::default()),
            emptied: None,
            groups: Arc::new(NoGroups),
            secrets: Arc::new(NoSecrets),
            world: Arc::new(windhover_executor::NoWorld),
            metrics: Metrics::new(MetricsConfig::default()),
        };
        let (executor, handle) = Executor::start(config).await?;
        let instance = *executor.instance().borrow();
        Ok(Running { store, flows, handle, executor, instance, jobs })
    }
}

/// The real tasks, but for one that breaks the engine.
struct BreaksAtBoom;

impl InlineTasks for BreaksAtBoom {
    fn run(
        &self,
        task: &windhover_flow::Task,
        context: &dyn RenderContext,
    ) -> Result<InlineOutcome, windhover_expression::ExpressionError> {
        assert!(task.id != "boom", "this task breaks the engine");
        InlineTaskTable.run(task, context)
    }
}

impl Running {
    /// Ends it as a crash does: nothing of its memory is left.
    async fn abandon(self) -> Result<()> {
        let Running { store, executor, .. } = self;
        executor.stop().await;
        store.close().await;
        Ok(())
    }

    async fn apply(&self, tenant: &Tenant, source: &str) -> Result<()> {
        self.flows.apply(tenant, source, ApplyOptions::default()).await?;
        Ok(())
    }

    fn request(&self, tenant: &Tenant, flow: &str) -> CreateRequest {
        let new = NewExecution {
            id: new_id(),
            namespace: "company".to_owned(),
            flow_id: flow.to_owned(),
            flow_revision: 1,
            labels: Vec::new(),
            inputs: Arc::new(JsonMap::new()),
            variables: None,
            trigger: None,
            parent: None,
            schedule_time: None,
            trace_parent: None,
            marks: Default::default(),
            original_id: None,
            fail: None,
            task_runs: Vec::new(),
        };
        CreateRequest { tenant: tenant.clone(), new, request: None }
    }

    async fn ended(&self, tenant: &Tenant, id: Id) -> Result<Execution> {
        let mut hints = self.handle.subscribe(tenant, id);
        loop {
            if let Some(found) = self.store.get_execution(tenant, id).await?
                && found.is_ended()
            {
                return Ok(found);
            }
            let waited = tokio::time::timeout(Duration::from_secs(20), hints.changed()).await;
            waited.with_context(|| format!("execution {id} did not end"))?;
        }
    }
}

const TWO_TASKS: &str = "id: two
namespace: company
tasks:
  - id: values
    type: io.kestra.plugin.core.output.OutputValues
    values: {greeting: hello}
  - id: log
    type: io.kestra.plugin.core.log.Log
    message: \"{{ outputs.values.values.greeting }}\"
";

#[tokio::test]
async fn an_execution_of_inline_tasks_is_created_run_and_ended_by_one_insert_only_commit() -> Result<()> {
    let fixture = Fixture::new()?;
    let running = fixture.start().await?;
    running.apply(&fixture.tenant, TWO_TASKS).await?;
    let created = running.handle.create(running.request(&fixture.tenant, "two")).await?;
    ensure!(created.execution.current() == State::Created, "the answer is the execution as it was created");
    // The commit that is acknowledged holds the end already, and no row of it was written twice.
    let id = created.execution.id;
    let stored = running.store.execution_snapshot(&fixture.tenant, id).await?.context("it")?;
    let runs = running.store.list_task_runs(&fixture.tenant, id, &Default::default(), None, 10).await?;
    ensure!(stored.execution.current() == State::Success, "{:?}", stored.execution.state);
    ensure!(stored.execution.version == 1 && runs.iter().all(|run| run.version == 1), "rows were updated");
    ensure!(runs.len() == 2 && stored.next_log == 1);
    running.executor.stop().await;
    Ok(())
}

#[tokio::test]
async fn the_same_request_makes_one_execution_and_other_content_is_refused() -> Result<()> {
    let fixture = Fixture::new()?;
    let running = fixture.start().await?;
    running.apply(&fixture.tenant, TWO_TASKS).await?;
    let key = |content| Some(RequestKey { method: "Create", request_id: "r1".to_owned(), content: [content; 32] });
    let request = || running.request(&fixture.tenant, "two");
    let labelled = || {
        let mut second = request();
        second.new.labels.push(Label::new("call", "second"));
        second
    };
    let (first, second) = tokio::join!(
        running.handle.create(CreateRequest { request: key(1), ..request() }),
        running.handle.create(CreateRequest { request: key(1), ..labelled() })
    );
    let (first, second) = (first?, second?);
    ensure!(first.execution.id == second.execution.id && first.replayed != second.replayed);
    ensure!(first.execution.labels == second.execution.labels, "both are told of the same execution");
    let refused = running.handle.create(CreateRequest { request: key(2), ..request() }).await;
    ensure!(refused.is_err_and(|error| error.kind == ErrorKind::AlreadyExists && error.reason == "REQUEST_ID_REUSED"));
    running.executor.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_failure_fires_each_listening_trigger_once_and_not_its_own_flow() -> Result<()> {
    let fixture = Fixture::new()?;
    let running = fixture.start().await?;
    let failing =
        "id: failing\nnamespace: company\ntasks:\n  - id: f\n    type: io.kestra.plugin.core.execution.Fail\n";
    let listener = "id: listener\nnamespace: company\ntasks:\n  - id: say\n    type: io.kestra.plugin.core.log.Log\n    \
                    message: \"{{ trigger.executionId }}\"\ntriggers:\n  - id: t\n    type: io.kestra.plugin.core.trigger.Flow\n    \
                    conditions:\n      - type: io.kestra.plugin.core.condition.ExecutionStatus\n        in: [FAILED, SUCCESS]\n";
    running.apply(&fixture.tenant, failing).await?;
    running.apply(&fixture.tenant, listener).await?;
    let created = running.handle.create(running.request(&fixture.tenant, "failing")).await?.execution;
    running.ended(&fixture.tenant, created.id).await?;
    let all = running.store.list_executions(&fixture.tenant, &Default::default(), None, 10).await?;
    let fired: Vec<_> = all.iter().filter(|execution| execution.flow_id == "listener").collect();
    ensure!(all.len() == 2 && fired.len() == 1, "{all:#?}");
    ensure!(running.ended(&fixture.tenant, fired[0].id).await?.current() == State::Success);
    running.executor.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_sleeping_execution_goes_on_after_a_restart_and_its_parent_hears_of_the_end() -> Result<()> {
    let fixture = Fixture::new()?;
    let running = fixture.start().await?;
    let child = "id: child\nnamespace: company\ntasks:\n  - id: nap\n    type: io.kestra.plugin.core.flow.Sleep\n    duration: PT0.5S\n";
    let parent = "id: parent\nnamespace: company\ntasks:\n  - id: sub\n    type: io.kestra.plugin.core.flow.Subflow\n    \
                  namespace: company\n    flowId: child\n";
    running.apply(&fixture.tenant, child).await?;
    running.apply(&fixture.tenant, parent).await?;
    let created = running.handle.create(running.request(&fixture.tenant, "parent")).await?.execution;
    running.abandon().await?;
    let again = fixture.start().await?;
    let ended = again.ended(&fixture.tenant, created.id).await?;
    ensure!(ended.current() == State::Success, "{ended:#?}");
    let all = again.store.list_executions(&fixture.tenant, &Default::default(), None, 10).await?;
    ensure!(all.len() == 2, "the subflow was started {} times", all.len() - 1);
    ensure!(again.store.inbox(&(0..8).collect::<Vec<_>>(), None, 10).await?.rows.is_empty(), "inbox rows are left");
    again.executor.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_flow_trigger_reads_outputs_of_before_a_restart() -> Result<()> {
    let fixture = Fixture::new()?;
    let running = fixture.start().await?;
    let upstream =
        format!("{TWO_TASKS}  - id: nap\n    type: io.kestra.plugin.core.flow.Sleep\n    duration: PT0.5S\n");
    let listener = "id: listener\nnamespace: company\ninputs:\n  - id: word\n    type: STRING\ntasks:\n  - id: say\n    \
                    type: io.kestra.plugin.core.log.Log\n    message: \"{{ inputs.word }}\"\ntriggers:\n  - id: t\n    \
                    type: io.kestra.plugin.core.trigger.Flow\n    inputs:\n      \
                    word: \"{{ outputs.values.values.greeting }}\"\n";
    running.apply(&fixture.tenant, &upstream).await?;
    running.apply(&fixture.tenant, listener).await?;
    let created = running.handle.create(running.request(&fixture.tenant, "two")).await?.execution;
    running.abandon().await?;

    let again = fixture.start().await?;
    again.ended(&fixture.tenant, created.id).await?;
    let all = again.store.list_executions(&fixture.tenant, &Default::default(), None, 10).await?;
    let fired = all.iter().find(|execution| execution.flow_id == "listener").context("the trigger did not fire")?;
    ensure!(fired.inputs.get("word").and_then(|word| word.as_str()) == Some("hello"), "{fired:#?}");
    again.executor.stop().await;
    Ok(())
}

#[tokio::test]
async fn an_event_that_breaks_the_engine_parks_its_execution_and_those_before_it_count() -> Result<()> {
    let fixture = Fixture::new()?;
    let running = fixture.start().await?;
    let lane = |lane: &str, nap: &str, then: &str| {
        format!(
            "      - id: {lane}\n        type: io.kestra.plugin.core.flow.Sequential\n        tasks:\n          \
             - id: {lane}-nap\n            type: io.kestra.plugin.core.flow.Sleep\n            duration: {nap}\n          \
             - id: {then}\n            type: io.kestra.plugin.core.log.Log\n            message: {then}\n"
        )
    };
    let source = format!(
        "id: lanes\nnamespace: company\ntasks:\n  - id: all\n    type: io.kestra.plugin.core.flow.Parallel\n    tasks:\n{}{}",
        lane("first", "PT0.2S", "said"),
        lane("second", "PT0.3S", "boom")
    );
    running.apply(&fixture.tenant, &source).await?;
    let created = running.handle.create(running.request(&fixture.tenant, "lanes")).await?.execution;
    // Both timers fire while nobody is there, so that one step gets both.
    let shards: Vec<u16> = (0..8).collect();
    let key = (fixture.tenant.clone(), created.id);
    let url = fixture.url();
    running.abandon().await?;
    let store = Store::connect(&url, StoreOptions::default()).await?;
    while store.due_timers(&shards, store.now().await?, 10).await?.len() < 2 {
        tokio::task::yield_now().await;
    }
    store.close().await;
    let again = fixture.start_all(JobsConfig::default(), Arc::new(BreaksAtBoom)).await?;
    let mut hints = again.handle.subscribe(&fixture.tenant, created.id);
    while again.store.load_runs(std::slice::from_ref(&key)).await?[0].parked.is_none() {
        let waited = tokio::time::timeout(Duration::from_secs(20), hints.changed()).await;
        waited.context("the execution was not parked")?;
    }
    // Each nap has said how long it is, and the first lane its word.
    let stored = again.store.execution_snapshot(&fixture.tenant, created.id).await?.context("it")?;
    let runs = again.store.list_task_runs(&fixture.tenant, created.id, &Default::default(), None, 10).await?;
    let said = runs.iter().find(|run| run.task_id == "said").context("the first timer is lost")?;
    ensure!(said.state.current() == State::Success && stored.next_log == 3, "{stored:#?} {runs:#?}");
    let left = again.store.due_timers(&shards, again.store.now().await?, 10).await?;
    ensure!(left.len() == 1, "the timer whose event counts is gone, the other waits for an operator: {left:?}");
    // Others go on.
    again.apply(&fixture.tenant, TWO_TASKS).await?;
    let other = again.handle.create(again.request(&fixture.tenant, "two")).await?.execution;
    ensure!(again.ended(&fixture.tenant, other.id).await?.current() == State::Success);
    again.executor.stop().await;
    Ok(())
}

#[tokio::test]
async fn an_execution_that_is_stored_already_is_acknowledged_and_not_made_again() -> Result<()> {
    let fixture = Fixture::new()?;
    let running = fixture.start().await?;
    running.apply(&fixture.tenant, TWO_TASKS).await?;
    let request = running.request(&fixture.tenant, "two");
    let first = running.handle.create(request.clone()).await?.execution;
    let before = running.ended(&fixture.tenant, first.id).await?;
    // As after a commit whose outcome was unknown; whatever is in the same batch is made.
    let other = running.request(&fixture.tenant, "two");
    let (again, other) = tokio::join!(running.handle.create(request), running.handle.create(other));
    ensure!(again?.execution.id == first.id && other?.execution.id != first.id);
    ensure!(running.store.get_execution(&fixture.tenant, first.id).await? == Some(before), "it was written again");
    ensure!(running.store.list_executions(&fixture.tenant, &Default::default(), None, 10).await?.len() == 2);
    running.executor.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_batch_under_an_old_epoch_changes_nothing() -> Result<()> {
    let fixture = Fixture::new()?;
    let running = fixture.start().await?;
    running.apply(&fixture.tenant, TWO_TASKS).await?;
    let old = Fence {
        instance: running.instance,
        epoch: running.store.release_shards(running.instance, &[]).await?.fence.epoch - 1,
    };
    let refused = running.store.commit(&old, &Default::default()).await;
    ensure!(matches!(refused, Err(windhover_store::CommitError::Fenced)), "{refused:?}");
    Ok(())
}

#[tokio::test]
async fn flows_that_trigger_each_other_without_end_leave_room_for_others_and_for_a_stop() -> Result<()> {
    let fixture = Fixture::new()?;
    let running = fixture.start().await?;
    running.apply(&fixture.tenant, TWO_TASKS).await?;
    for (id, other) in [("ping", "pong"), ("pong", "ping")] {
        let source = format!(
            "id: {id}\nnamespace: company\ntasks:\n  - id: say\n    type: io.kestra.plugin.core.log.Log\n    message: {id}\n\
             triggers:\n  - id: t\n    type: io.kestra.plugin.core.trigger.Flow\n    conditions:\n      \
             - type: io.kestra.plugin.core.condition.ExecutionFlow\n        namespace: company\n        flowId: {other}\n      \
             - type: io.kestra.plugin.core.condition.ExecutionStatus\n        in: [SUCCESS]\n"
        );
        running.apply(&fixture.tenant, &source).await?;
    }
    let created = running.handle.create(running.request(&fixture.tenant, "ping")).await?.execution;
    running.ended(&fixture.tenant, created.id).await?;
    let other = running.handle.create(running.request(&fixture.tenant, "two")).await?.execution;
    ensure!(running.ended(&fixture.tenant, other.id).await?.current() == State::Success);
    let all = running.store.list_executions(&fixture.tenant, &Default::default(), None, 10).await?;
    ensure!(all.len() > 2, "they do not trigger each other");
    running.executor.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_killed_job_that_waits_for_its_tenants_window_is_never_handed_out() -> Result<()> {
    let fixture = Fixture::new()?;
    let running = fixture.start_with(JobsConfig { window: 1 }).await?;
    let call = |id: &str| {
        format!("      - id: {id}\n        type: io.kestra.plugin.core.http.Request\n        uri: http://localhost:1\n")
    };
    let source = format!(
        "id: calls\nnamespace: company\ntasks:\n  - id: all\n    type: io.kestra.plugin.core.flow.Parallel\n    tasks:\n{}{}{}",
        call("a"),
        call("b"),
        call("c")
    );
    running.apply(&fixture.tenant, &source).await?;
    let created = running.handle.create(running.request(&fixture.tenant, "calls")).await?.execution;
    ensure!(running.handle.kill(&fixture.tenant, created.id).await?);
    let ended = running.ended(&fixture.tenant, created.id).await?;
    ensure!(ended.current() == State::Killed, "{ended:#?}");
    // Nobody had begun any of them, so nobody was waited for: no attempt is left open.
    let left = running.store.jobs(&(0..8).collect::<Vec<_>>()).await?;
    ensure!(left.is_empty() && running.jobs.depths().await?.is_empty(), "{left:?}");
    ensure!(!running.handle.kill(&fixture.tenant, created.id).await?, "it had ended");
    running.executor.stop().await;
    Ok(())
}

#[tokio::test]
async fn an_executor_that_has_lost_its_shards_answers_and_can_be_stopped() -> Result<()> {
    let fixture = Fixture::new()?;
    let running = fixture.start().await?;
    running.apply(&fixture.tenant, TWO_TASKS).await?;
    running.store.release_shards(running.instance, &[]).await?;
    for _ in 0..2 {
        let refused = running.handle.create(running.request(&fixture.tenant, "two")).await;
        ensure!(refused.is_err_and(|error| error.kind == ErrorKind::Unavailable));
    }
    ensure!(running.store.list_executions(&fixture.tenant, &Default::default(), None, 10).await?.is_empty());
    running.executor.stop().await;
    Ok(())
}
