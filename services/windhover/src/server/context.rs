//! What every service of a process works with.

use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use windhover_engine::Env;
use windhover_executor::{ExecutorHandle, Flows, OwnedShards, RemoteConfig};
use windhover_flow::PluginDefaults;
use windhover_outbound::{AddressPolicy, Client, ClientConfig};
use windhover_queue::WakeReceiver;
use windhover_scheduler::ScheduleSettings;
use windhover_storage::{Files, Keyring};
use windhover_store::Store;
use windhover_tasks::InlineTaskTable;
use windhover_telemetry::Metrics;

use super::{
    environment::Roots,
    key,
    mode::{Mode, Services},
    secrets::StoredSecrets,
    transport::Transport,
    world::StoredWorld,
};
use crate::settings::Settings;

pub(super) struct Context {
    pub(super) mode: Mode,
    pub(super) services: Services,
    pub(super) settings: Settings,
    pub(super) store: Store,
    pub(super) keyring: Keyring,
    pub(super) files: Files,
    /// For all outgoing calls of the process.
    pub(super) http: Client,
    pub(super) metrics: Metrics,
    pub(super) flows: Flows,
    /// The shards of this process; none, without an executor.
    pub(super) owned: OwnedShards,
    pub(super) transport: Transport,
    pub(super) secrets: Arc<StoredSecrets>,
    pub(super) roots: Roots,
    pub(super) env: Arc<Env>,
}

impl Context {
    /// Reads the flows and connects to Redis, if there is one. With the end at which arrives what is for the shards of
    /// this process.
    pub(super) async fn open(
        (mode, services): (Mode, Services),
        settings: Settings,
        store: Store,
        shard_count: u16,
        (key, files): (key::Source, Files),
        metrics: Metrics,
    ) -> Result<(Self, WakeReceiver)> {
        let flows = Flows::load_with(store.clone(), plugin_defaults(&settings)?).await?;
        let owned = OwnedShards::new(shard_count);
        let installation = store.installation().await?;
        let (transport, wakes) = Transport::open(&settings, mode, services, &installation, &owned, &flows).await?;
        if transport.redis.is_some() {
            flows.follow();
        }
        // Last: an installation keeps the first key that it is given, and a server that cannot start should give it none.
        let keyring = key::keyring(key, &store).await?;
        let secrets = Arc::new(StoredSecrets::new(store.clone(), keyring.clone()));
        let roots = Roots::read(&settings)?;
        let env = Arc::new(roots.engine(Arc::new(InlineTaskTable)));
        let allow_private = settings.switch("windhover.outbound.allow-private")?.unwrap_or(mode == Mode::Local);
        let addresses = AddressPolicy::public().allow_private(allow_private);
        let http = Client::new(ClientConfig { addresses, ..ClientConfig::default() });
        let http = http.context("the HTTP client for outgoing calls")?;
        let context = Self {
            mode,
            services,
            settings,
            store,
            keyring,
            files,
            http,
            metrics,
            flows,
            owned,
            transport,
            secrets,
            roots,
            env,
        };
        Ok((context, wakes))
    }

    /// Whether other processes work on the same installation.
    pub(super) fn in_cluster(&self) -> bool {
        self.transport.redis.is_some()
    }

    /// What expressions ask outside of workers.
    pub(super) fn world(&self) -> Arc<StoredWorld> {
        Arc::new(StoredWorld::new(self.store.clone(), self.files.clone(), self.http.clone()))
    }

    /// How schedules are read.
    pub(super) fn schedules(&self) -> Result<ScheduleSettings> {
        let mut schedules = ScheduleSettings {
            timezone: self.env.timezone,
            globals: self.roots.as_map(),
            ..ScheduleSettings::default()
        };
        if let Some(text) = self.settings.plugin_value("trigger.Schedule", "recoverMissedSchedules") {
            schedules.recover_missed = text.parse().map_err(|_| {
                anyhow!("recoverMissedSchedules in kestra.plugins.configurations is ALL, LAST or NONE, not `{text}`")
            })?;
        }
        Ok(schedules)
    }

    /// For services whose executors are elsewhere.
    pub(super) fn remote(&self) -> ExecutorHandle {
        ExecutorHandle::remote(RemoteConfig {
            store: self.store.clone(),
            flows: self.flows.clone(),
            wakeups: self.transport.wakeups.clone(),
            hints: self.transport.hints.clone(),
            shard_count: self.owned.count(),
        })
    }
}

/// Plugin defaults of the settings. What is wrong with them is told and left out: a file of Kestra's may speak of types
/// and properties that are not known here.
fn plugin_defaults(settings: &Settings) -> Result<PluginDefaults> {
    let (defaults, violations) = PluginDefaults::read(&settings.plugin_defaults()?, "kestra.plugins.defaults");
    for violation in violations {
        tracing::warn!(setting = violation.path, reason = violation.message, "a plugin default is left out");
    }
    Ok(defaults)
}
