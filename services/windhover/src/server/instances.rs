//! The services of this process as others see them: registered, heard of, and in which state (operations reference 5.2
//! to 5.4).
//!
//! Always true: a state goes only where the reference allows; a process whose services others have given up ends, but
//! for those that the reference lets go on.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use parking_lot::Mutex;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use windhover_executor::now;
use windhover_store::{
    Beat, Registration, Server, ServerType, ServiceConfig, ServiceInfo, ServiceKind, ServiceState, Store, Vitals,
};
use windhover_types::Id;

/// What a service tells about itself with each heartbeat.
pub(super) type Vitality = Arc<dyn Fn() -> Vitals + Send + Sync>;

/// The row of a service.
#[derive(Clone)]
pub(super) enum Identity {
    /// Written by this module, also again when it is gone.
    Own(Id),
    /// The executor's, which is what it owns its shards by: it writes it itself, and takes another one after it was
    /// taken for dead.
    Executor(watch::Receiver<Id>),
}

/// A service of this process.
#[derive(Clone)]
pub(super) struct Service {
    pub(super) identity: Identity,
    pub(super) kind: ServiceKind,
    pub(super) vitals: Vitality,
}

impl Service {
    pub(super) fn id(&self) -> Id {
        match &self.identity {
            Identity::Own(id) => *id,
            Identity::Executor(id) => *id.borrow(),
        }
    }
}

/// The process that the services run in.
#[derive(Clone)]
pub(super) struct Process {
    pub(super) server: Server,
    /// Machine and process, for people.
    pub(super) host: String,
    pub(super) config: ServiceConfig,
}

/// Why the process has to end, found by its heartbeat.
#[derive(Debug, Clone)]
pub(super) struct Verdict {
    pub(super) reason: String,
    /// `false`: its work was given to others already, there is nothing to wait for.
    pub(super) in_order: bool,
}

/// The heartbeat of the process's services.
pub(super) struct Instances {
    shared: Arc<Shared>,
    verdict: watch::Receiver<Option<Verdict>>,
    task: JoinHandle<()>,
}

struct Shared {
    store: Store,
    server: Server,
    host: String,
    config: ServiceConfig,
    services: Vec<Service>,
    state: Mutex<ServiceState>,
}

impl Instances {
    /// Registers the services, in state CREATED, and begins to be heard of.
    ///
    /// # Errors
    /// The sentence that says why this process may not be one of the installation's.
    pub(super) async fn start(store: Store, identity: Process, services: Vec<Service>) -> Result<Self> {
        let Process { server, host, config } = identity;
        let state = Mutex::new(ServiceState::Created);
        let shared = Arc::new(Shared { store, server, host, config, services, state });
        for service in &shared.services {
            if let Identity::Own(id) = service.identity {
                shared.register(id, service, ServiceState::Created).await?;
            }
        }
        let (tell, verdict) = watch::channel(None);
        let task = tokio::spawn(beat(shared.clone(), tell));
        Ok(Self { shared, verdict, task })
    }

    /// Waits until the process has to end.
    pub(super) async fn lost(&self) -> Verdict {
        let mut verdict = self.verdict.clone();
        let broken = || Verdict { reason: "the heartbeat of this server has ended".to_owned(), in_order: true };
        match verdict.wait_for(Option::is_some).await {
            Ok(verdict) => verdict.clone().unwrap_or_else(broken),
            Err(_) => broken(),
        }
    }

    /// Tells the others at once.
    pub(super) async fn become_state(&self, state: ServiceState) {
        *self.shared.state.lock() = state;
        if state.is_terminated() {
            self.task.abort();
        }
        for service in &self.shared.services {
            let beat = self.shared.beat(service, state);
            match timeout(self.shared.patience(), beat).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => {
                    tracing::warn!(%error, kind = service.kind.as_str(), ?state, "a state could not be told")
                }
                Err(_) => tracing::warn!(kind = service.kind.as_str(), ?state, "a state could not be told in time"),
            }
        }
    }

    pub(super) fn is_running(&self) -> impl Fn() -> bool + Send + Sync + 'static {
        let shared = self.shared.clone();
        move || *shared.state.lock() == ServiceState::Running
    }
}

impl Drop for Instances {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn patience(&self) -> Duration {
        self.config.liveness.heartbeat_interval.max(Duration::from_secs(2))
    }

    async fn beat(&self, service: &Service, state: ServiceState) -> Result<Option<Verdict>> {
        match (self.store.beat(service.id(), state, &(service.vitals)()).await?, &service.identity) {
            (Beat::Accepted { .. }, _) | (Beat::Missing, Identity::Executor(_)) => Ok(None),
            (Beat::Missing, Identity::Own(id)) => {
                tracing::warn!(kind = service.kind.as_str(), "the entry of a service was gone and is written again");
                self.register(*id, service, state).await?;
                Ok(None)
            }
            (Beat::Refused { stored }, _) => self.refused(service, state, stored).await,
        }
    }

    async fn register(&self, id: Id, service: &Service, state: ServiceState) -> Result<()> {
        let registration = Registration { id, host: self.host.clone(), exclusive: false };
        let Vitals { props, metrics } = (service.vitals)();
        let (server, config) = (self.server.clone(), self.config.clone());
        let info = ServiceInfo { kind: service.kind, state, server, config, props, metrics };
        self.store.register_service(&registration, &info).await?;
        Ok(())
    }

    /// Somebody else has set a state that this service cannot go on from.
    async fn refused(&self, service: &Service, state: ServiceState, stored: ServiceState) -> Result<Option<Verdict>> {
        if state.is_ending() {
            // On its way out anyway; others have only been quicker.
            return Ok(None);
        }
        let goes_on = self.server.kind == ServerType::Standalone || service.kind == ServiceKind::Webserver;
        if state != ServiceState::Running || goes_on {
            let reason = format!("it is alive, and was set to {}", stored.as_str());
            tracing::warn!(
                kind = service.kind.as_str(),
                stored = stored.as_str(),
                "this service was taken for lost and is alive"
            );
            self.store.force_state(service.id(), state, &reason).await?;
            return Ok(None);
        }
        let reason = format!("others have set its {} to {}", service.kind.as_str(), stored.as_str());
        let in_order = !matches!(stored, ServiceState::NotRunning | ServiceState::Empty);
        Ok(Some(Verdict { reason, in_order }))
    }
}

async fn beat(shared: Arc<Shared>, tell: watch::Sender<Option<Verdict>>) {
    let liveness = &shared.config.liveness;
    let mut tick = interval(liveness.heartbeat_interval);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last_run = Instant::now();
    let mut last_heard = Instant::now();
    let mut skew = Skew::default();
    loop {
        tick.tick().await;
        if last_run.elapsed() > liveness.timeout.mul_f64(1.1) {
            tracing::warn!(
                gap = ?last_run.elapsed(),
                "the heartbeat was late: this process got no processor time, or the machine's clock made a leap"
            );
        }
        last_run = Instant::now();
        let state = *shared.state.lock();
        let mut all_heard = true;
        for service in &shared.services {
            match timeout(shared.patience(), shared.beat(service, state)).await {
                Ok(Ok(None)) => {}
                Ok(Ok(Some(verdict))) => {
                    let _ = tell.send(Some(verdict));
                    return;
                }
                Ok(Err(error)) => {
                    all_heard = false;
                    tracing::warn!(%error, kind = service.kind.as_str(), "the heartbeat does not reach the database");
                }
                Err(_) => {
                    all_heard = false;
                    tracing::warn!(kind = service.kind.as_str(), "the heartbeat does not reach the database in time");
                }
            }
        }
        if all_heard {
            last_heard = Instant::now();
            if let Ok(Ok(database)) = timeout(shared.patience(), Skew::seconds(&shared.store)).await {
                skew.tell(database);
            }
        }
        if let Some(verdict) = fenced(&shared, last_heard.elapsed()) {
            let _ = tell.send(Some(verdict));
            return;
        }
    }
}

/// By how much the clock of this machine and that of the database differ, as it was last told. Timers fire by the one,
/// schedules and leases of shards go by the other.
#[derive(Default)]
struct Skew(Option<i64>);

impl Skew {
    /// So many seconds are nothing to talk about.
    const TOLERATED: i64 = 5;

    /// Seconds by which this process is ahead; what the way to the database takes does not count.
    async fn seconds(store: &Store) -> Result<i64> {
        let before = now();
        let database = store.now().await?;
        let (ahead, behind) = (before.since(database), database.since(now()));
        let whole = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        Ok(whole(ahead) - whole(behind))
    }

    /// Once for each change that is worth a word.
    fn tell(&mut self, seconds: i64) {
        let told = (seconds.abs() > Self::TOLERATED).then_some(seconds);
        let same = match (self.0, told) {
            (Some(before), Some(now)) => before.abs_diff(now) <= Self::TOLERATED.unsigned_abs(),
            (before, now) => before == now,
        };
        if same {
            return;
        }
        self.0 = told;
        match told {
            Some(ahead @ 1..) => tracing::warn!(
                seconds = ahead,
                "this machine's clock is ahead of the database's, or was set: timers fire early here; let NTP set both"
            ),
            Some(behind) => tracing::warn!(
                seconds = -behind,
                "this machine's clock is behind the database's, or was set: timers fire late here; let NTP set both"
            ),
            None => tracing::info!("this machine's clock and the database's agree again"),
        }
    }
}

/// A worker that nobody has heard of for so long gives itself up: its jobs are, or will be, with others.
fn fenced(shared: &Shared, silence: Duration) -> Option<Verdict> {
    let liveness = &shared.config.liveness;
    let worker = shared.services.iter().any(|service| service.kind == ServiceKind::Worker);
    let applies = worker && liveness.enabled && shared.server.kind != ServerType::Standalone;
    (applies && silence > liveness.timeout).then(|| Verdict {
        reason: format!(
            "its heartbeat has not reached the database for {} s; it considers itself disconnected",
            silence.as_secs()
        ),
        in_order: true,
    })
}

/// Machine and process, for people.
pub(super) fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_else(|_| "unknown".to_owned());
    format!("{}/{}", name.trim(), std::process::id())
}
