//! An installation of executors in one process, each with a connection of its own to one database. Messages between
//! them pass through memory; whoever owns a shard at that moment gets them.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use async_trait::async_trait;
use parking_lot::Mutex;
use sea_orm::ConnectionTrait;
use windhover_engine::{Env, Execution, NewExecution};
use windhover_executor::{
    ApplyOptions, CreateRequest, Executor, ExecutorConfig, ExecutorHandle, Flows, Membership, NoGroups, OwnedShards,
    RemoteConfig, SecretSource, new_id,
};
use windhover_queue::{
    InProcessHints, InProcessJobs, InProcessWakeups, JobQueue, JobsConfig, QueueError, Wake, Wakeups,
    in_process_wakeups,
};
use windhover_store::{ExecutionFilter, Registration, ServiceInfo, Store};
use windhover_tasks::InlineTaskTable;
use windhover_telemetry::{Metrics, MetricsConfig};
use windhover_testkit::{TestStore, wait_until};
use windhover_types::{Id, Secret, State, Tenant, shard_of};

pub(crate) const SHARDS: u16 = 4;
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const TWO_TASKS: &str = "id: two
namespace: company
tasks:
  - id: values
    type: io.kestra.plugin.core.output.OutputValues
    values: {greeting: hello}
  - id: log
    type: io.kestra.plugin.core.log.Log
    message: \"{{ outputs.values.values.greeting }}\"
";

pub(crate) const NAP: &str = "id: nap
namespace: company
tasks:
  - id: sleep
    type: io.kestra.plugin.core.flow.Sleep
    duration: PT0.3S
";

pub(crate) const LONG_NAP: &str = "id: long
namespace: company
tasks:
  - id: sleep
    type: io.kestra.plugin.core.flow.Sleep
    duration: PT1H
";

pub(crate) const PARENT: &str = "id: parent
namespace: company
tasks:
  - id: child
    type: io.kestra.plugin.core.flow.Subflow
    namespace: company
    flowId: nap
";

pub(crate) const CALL: &str = "id: call
namespace: company
tasks:
  - id: call
    type: io.kestra.plugin.core.http.Request
    uri: http://localhost:1
";

struct NoSecrets;

#[async_trait]
impl SecretSource for NoSecrets {
    async fn secret(&self, _: &Tenant, _: &str, key: &str) -> Result<Secret, String> {
        Err(format!("Cannot find secret for key '{key}'."))
    }
}

/// Brings messages to the owner of a shard; those about shards that nobody owns just now are lost.
#[derive(Default)]
pub(crate) struct Bus(Mutex<Vec<(OwnedShards, InProcessWakeups)>>);

impl Bus {
    fn owner(&self, wake: &Wake) -> Option<InProcessWakeups> {
        let shard = match wake {
            Wake::Look { shard, .. } => *shard,
            Wake::Report { report, .. } => report.shard,
        };
        self.0.lock().iter().find(|(owned, _)| owned.owns(shard)).map(|(_, sender)| sender.clone())
    }
}

#[async_trait]
impl Wakeups for Bus {
    async fn send(&self, wakes: Vec<Wake>) -> Result<(), QueueError> {
        for wake in wakes {
            if let Some(owner) = self.owner(&wake) {
                owner.send(vec![wake]).await?;
            }
        }
        Ok(())
    }

    fn try_send(&self, wakes: Vec<Wake>) -> bool {
        wakes.into_iter().fold(true, |all, wake| match self.owner(&wake) {
            Some(owner) => owner.try_send(vec![wake]) && all,
            None => all,
        })
    }
}

pub(crate) struct Installation {
    pub(crate) test: TestStore,
    pub(crate) tenant: Tenant,
    pub(crate) jobs: Arc<InProcessJobs>,
    pub(crate) bus: Arc<Bus>,
    hints: Arc<InProcessHints>,
}

/// One process of it.
pub(crate) struct Peer {
    pub(crate) flows: Flows,
    pub(crate) owned: OwnedShards,
    pub(crate) executor: Executor,
    pub(crate) handle: ExecutorHandle,
}

/// A process that owns nothing.
pub(crate) struct Gateway {
    pub(crate) flows: Flows,
    pub(crate) handle: ExecutorHandle,
}

impl Installation {
    pub(crate) async fn new() -> Result<Self> {
        Ok(Self {
            test: TestStore::postgres().await?,
            tenant: Tenant::main(),
            jobs: Arc::new(InProcessJobs::new(JobsConfig::default())),
            bus: Arc::default(),
            hints: Arc::default(),
        })
    }

    pub(crate) async fn executor(&self, name: &str, membership: Membership) -> Result<Peer> {
        let store = self.test.another(name).await?;
        let flows = Flows::load(store.clone()).await?;
        self.executor_with(name, membership, (store, flows), self.jobs.clone()).await
    }

    /// One whose jobs go to a queue of its own.
    pub(crate) async fn executor_with(
        &self,
        name: &str,
        membership: Membership,
        (store, flows): (Store, Flows),
        jobs: Arc<dyn JobQueue>,
    ) -> Result<Peer> {
        let owned = OwnedShards::new(SHARDS);
        let (sender, wakes) = in_process_wakeups(1_000);
        self.bus.0.lock().push((owned.clone(), sender));
        let config = ExecutorConfig {
            store,
            membership,
            owned: owned.clone(),
            registration: Registration { id: new_id(), host: name.to_owned(), exclusive: false },
            service: ServiceInfo::default(),
            flows: flows.clone(),
            env: Arc::new(Env::new(Arc::new(InlineTaskTable))),
            jobs,
            wakes,
            wakeups: self.bus.clone(),
            hints: self.hints.clone(),
            emptied: None,
            groups: Arc::new(NoGroups),
            secrets: Arc::new(NoSecrets),
            world: Arc::new(windhover_executor::NoWorld),
            metrics: Metrics::new(MetricsConfig::default()),
        };
        let (executor, handle) = Executor::start(config).await?;
        Ok(Peer { flows, owned, executor, handle })
    }

    pub(crate) async fn member(&self, name: &str) -> Result<Peer> {
        self.executor(name, Membership::Member).await
    }

    pub(crate) async fn gateway(&self, name: &str) -> Result<Gateway> {
        let store = self.test.another(name).await?;
        let flows = Flows::load(store.clone()).await?;
        let handle = ExecutorHandle::remote(RemoteConfig {
            store,
            flows: flows.clone(),
            wakeups: self.bus.clone(),
            hints: self.hints.clone(),
            shard_count: SHARDS,
        });
        Ok(Gateway { flows, handle })
    }

    /// Runs SQL beside everybody.
    pub(crate) async fn sql(&self, sql: &str) -> Result<()> {
        let db = sea_orm::Database::connect(&self.test.url).await?;
        db.execute_unprepared(sql).await?;
        db.close().await?;
        Ok(())
    }

    /// From now on the database takes no heartbeat of this instance: to others it looks dead, and it does not know.
    pub(crate) async fn silence(&self, instance: Id) -> Result<()> {
        let hex: String = instance.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        self.sql(&format!(
            "CREATE FUNCTION silence() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             IF NEW.id = '\\x{hex}'::bytea THEN NEW.heartbeat_at := 0; END IF; RETURN NEW; END $$; \
             CREATE TRIGGER silence BEFORE UPDATE ON service_instances FOR EACH ROW EXECUTE FUNCTION silence(); \
             UPDATE service_instances SET host = host"
        ))
        .await
    }

    pub(crate) fn request(&self, flow: &str) -> CreateRequest {
        let new = NewExecution {
            id: new_id(),
            namespace: "company".to_owned(),
            flow_id: flow.to_owned(),
            flow_revision: 1,
            ..NewExecution::default()
        };
        CreateRequest { tenant: self.tenant.clone(), new, request: None }
    }

    /// A request whose execution falls into one of these shards.
    pub(crate) fn request_for(&self, flow: &str, owned: impl Fn(u16) -> bool) -> CreateRequest {
        let mut request = self.request(flow);
        while !owned(shard_of(&self.tenant, request.new.id, SHARDS)) {
            request.new.id = new_id();
        }
        request
    }

    pub(crate) async fn ended(&self, id: Id) -> Result<Execution> {
        let what = format!("the end of {id}");
        let found = wait_until(&what, PATIENCE, async || {
            self.test.store.get_execution(&self.tenant, id).await.ok().flatten().filter(Execution::is_ended)
        });
        match found.await {
            Ok(found) => Ok(found),
            Err(error) => {
                let there = self.test.store.execution_snapshot(&self.tenant, id).await?;
                Err(error.context(format!("{there:#?}")))
            }
        }
    }

    pub(crate) async fn succeeded(&self, id: Id) -> Result<()> {
        let ended = self.ended(id).await?;
        ensure!(ended.current() == State::Success, "{ended:#?}");
        Ok(())
    }

    pub(crate) async fn executions(&self, flow: &str) -> Result<Vec<Execution>> {
        let filter = ExecutionFilter { flow_ids: vec![flow.to_owned()], ..Default::default() };
        Ok(self.test.store.list_executions(&self.tenant, &filter, None, 10_000).await?)
    }

    /// Nothing is left of work that is done.
    pub(crate) async fn is_tidy(&self) -> Result<()> {
        let shards: Vec<u16> = (0..SHARDS).collect();
        let store = &self.test.store;
        let look = async || {
            let inbox = store.inbox(&shards, None, 10).await?;
            let far = store.now().await?.plus(Duration::from_secs(86_400));
            let timers = store.due_timers(&shards, far, 10).await?;
            anyhow::Ok((inbox.rows, inbox.unknown, timers, store.jobs(&shards).await?))
        };
        let left = wait_until("rows to go", PATIENCE, async || {
            let (rows, unknown, timers, jobs) = look().await.ok()?;
            (rows.is_empty() && unknown.is_empty() && timers.is_empty() && jobs.is_empty()).then_some(())
        });
        match left.await {
            Ok(()) => Ok(()),
            Err(error) => Err(error.context(format!("left: {:#?}", look().await?))),
        }
    }
}

impl Peer {
    pub(crate) async fn apply(&self, tenant: &Tenant, sources: &[&str]) -> Result<()> {
        for source in sources {
            self.flows.apply(tenant, source, ApplyOptions::default()).await?;
        }
        Ok(())
    }

    pub(crate) fn instance(&self) -> Id {
        *self.executor.instance().borrow()
    }
}

/// Waits until each of these owns so many shards.
pub(crate) async fn shares(peers: &[(&Peer, usize)]) -> Result<()> {
    let what = format!("shares of {:?}", peers.iter().map(|(_, count)| count).collect::<Vec<_>>());
    let as_wanted = || peers.iter().all(|(peer, count)| peer.owned.list().len() == *count);
    wait_until(&what, PATIENCE, async || as_wanted().then_some(())).await
}
