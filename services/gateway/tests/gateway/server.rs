//! A gateway with a real store (SQLite in a temporary folder) and a real executor without workers, on a free port.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tempfile::TempDir;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use tonic::{
    Request, Status,
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt;
use windhover_engine::Env;
use windhover_executor::{
    Executor, ExecutorConfig, ExecutorHandle, Flows, Membership, NoGroups, OwnedShards, SecretSource, new_id,
};
use windhover_gateway::{Gateway, Mode, Settings};
use windhover_proto::{
    admin::v1::{
        access_service_client::AccessServiceClient, cluster_service_client::ClusterServiceClient,
        tenant_service_client::TenantServiceClient,
    },
    v1::{
        execution_service_client::ExecutionServiceClient, flow_service_client::FlowServiceClient,
        log_service_client::LogServiceClient, namespace_service_client::NamespaceServiceClient,
        secret_service_client::SecretServiceClient, trigger_service_client::TriggerServiceClient,
    },
};
use windhover_queue::{InProcessHints, InProcessJobs, JobsConfig, in_process_wakeups};
use windhover_storage::{CryptoError, DataKey, Files, Keyring, MasterKey};
use windhover_store::{Registration, ServiceInfo, Store, StoreOptions};
use windhover_tasks::InlineTaskTable;
use windhover_telemetry::{Metrics, MetricsConfig};
use windhover_types::{Secret, Tenant};

pub(crate) const BOOTSTRAP: &str = "a-bootstrap-token-of-the-tests-only";

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    channel: Channel,
    serving: Vec<Serving>,
    executor: Executor,
    parts: Parts,
    _folder: TempDir,
}

/// What gateways are made of.
struct Parts {
    store: Store,
    flows: Flows,
    handle: ExecutorHandle,
    keyring: Keyring,
    secrets: Arc<Secrets>,
    jobs: Arc<InProcessJobs>,
    files: Files,
    settings: Settings,
}

/// A gateway that answers.
struct Serving {
    address: SocketAddr,
    channel: Channel,
    task: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

impl Serving {
    async fn start(parts: &Parts) -> Self {
        let gateway = Gateway::builder()
            .store(parts.store.clone())
            .flows(parts.flows.clone())
            .executor(parts.handle.clone())
            .keyring(parts.keyring.clone())
            .secrets(parts.secrets.clone())
            .jobs(parts.jobs.clone())
            .files(parts.files.clone())
            .token_key([7; 32])
            .settings(parts.settings.clone())
            .build()
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let stopped = async move {
                let _ = stopped.await;
            };
            gateway.serve(listener, stopped).await.unwrap();
        });
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        Self { address, channel, task, stop }
    }
}

/// Metadata of calls.
#[derive(Clone, Default)]
pub(crate) struct As {
    pub(crate) token: Option<String>,
    pub(crate) tenant: Option<String>,
}

impl Interceptor for As {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let set = |request: &mut Request<()>, name: &'static str, value: String| {
            request.metadata_mut().insert(name, value.parse().unwrap());
        };
        if let Some(token) = &self.token {
            set(&mut request, "authorization", format!("Bearer {token}"));
        }
        if let Some(tenant) = &self.tenant {
            set(&mut request, "windhover-tenant", tenant.clone());
        }
        Ok(request)
    }
}

type Caller = InterceptedService<Channel, As>;

pub(crate) struct Calls {
    pub(crate) flows: FlowServiceClient<Caller>,
    pub(crate) executions: ExecutionServiceClient<Caller>,
    pub(crate) logs: LogServiceClient<Caller>,
    pub(crate) namespaces: NamespaceServiceClient<Caller>,
    pub(crate) secrets: SecretServiceClient<Caller>,
    pub(crate) triggers: TriggerServiceClient<Caller>,
    pub(crate) cluster: ClusterServiceClient<Caller>,
    pub(crate) tenants: TenantServiceClient<Caller>,
    pub(crate) access: AccessServiceClient<Caller>,
}

struct Secrets(Store, Keyring);

#[async_trait::async_trait]
impl SecretSource for Secrets {
    async fn secret(&self, tenant: &Tenant, namespace: &str, key: &str) -> Result<Secret, String> {
        let found = self.0.find_secret(tenant, namespace, key).await.map_err(|error| error.to_string())?;
        let found = found.ok_or_else(|| format!("Cannot find secret for key '{key}'."))?;
        let place = ["secret", found.namespace.as_str(), found.name.as_str()];
        let mut opened = self.1.decrypt(tenant, &place, &found.ciphertext);
        if matches!(opened, Err(CryptoError::NoDataKey(_))) {
            let keys = self.0.data_keys(tenant).await.map_err(|error| error.to_string())?;
            let keys: Vec<_> = keys.into_iter().map(|key| DataKey { id: key.id, wrapped: key.wrapped }).collect();
            self.1.add(tenant, &keys).map_err(|error| error.to_string())?;
            opened = self.1.decrypt(tenant, &place, &found.ciphertext);
        }
        opened.map_err(|error| error.to_string())
    }
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(Settings::default()).await
    }

    pub(crate) async fn with(settings: Settings) -> Self {
        // Some other test of the process may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("test.db").display());
        let store = Store::connect(&url, StoreOptions::default()).await.unwrap();
        store.migrate().await.unwrap();
        let shard_count = store.number_of_shards(None).await.unwrap();
        let flows = Flows::load(store.clone()).await.unwrap();
        let keyring = Keyring::new(MasterKey::generate().unwrap());
        let secrets = Arc::new(Secrets(store.clone(), keyring.clone()));
        let (wakeups, wakes) = in_process_wakeups(64);
        let jobs = Arc::new(InProcessJobs::new(JobsConfig::default()));
        let config = ExecutorConfig {
            store: store.clone(),
            membership: Membership::Exclusive,
            owned: OwnedShards::new(shard_count),
            registration: Registration { id: new_id(), host: "test".into(), exclusive: true },
            service: ServiceInfo::default(),
            flows: flows.clone(),
            env: Arc::new(Env::new(Arc::new(InlineTaskTable))),
            jobs: jobs.clone(),
            wakes,
            wakeups: Arc::new(wakeups),
            hints: Arc::new(InProcessHints::default()),
            emptied: None,
            groups: Arc::new(NoGroups),
            secrets: secrets.clone(),
            world: Arc::new(windhover_executor::NoWorld),
            metrics: Metrics::new(MetricsConfig::default()),
        };
        let (executor, handle) = Executor::start(config).await.unwrap();
        let settings =
            Settings { bootstrap_token: Some(Secret::new(BOOTSTRAP)), stop_grace: Duration::from_secs(5), ..settings };
        let files = Files::local(folder.path()).unwrap();
        let parts = Parts { store, flows, handle, keyring, secrets, jobs, files, settings };
        let serving = Serving::start(&parts).await;
        Self {
            address: serving.address,
            channel: serving.channel.clone(),
            serving: vec![serving],
            executor,
            parts,
            _folder: folder,
        }
    }

    /// One gateway more on the same store; its calls as the bootstrap token.
    pub(crate) async fn another_gateway(&mut self) -> Calls {
        let serving = Serving::start(&self.parts).await;
        let channel = serving.channel.clone();
        self.serving.push(serving);
        Self::over(&channel, As { token: Some(BOOTSTRAP.into()), tenant: None })
    }

    pub(crate) fn instance(&self) -> String {
        self.executor.instance().borrow().to_string()
    }

    /// Internal storage.
    pub(crate) fn files(&self) -> &Files {
        &self.parts.files
    }

    pub(crate) fn local() -> Settings {
        Settings { mode: Mode::Local, ..Settings::default() }
    }

    pub(crate) fn calls(&self, who: As) -> Calls {
        Self::over(&self.channel, who)
    }

    fn over(channel: &Channel, who: As) -> Calls {
        let channel = || channel.clone();
        Calls {
            flows: FlowServiceClient::with_interceptor(channel(), who.clone()),
            executions: ExecutionServiceClient::with_interceptor(channel(), who.clone()),
            logs: LogServiceClient::with_interceptor(channel(), who.clone()),
            namespaces: NamespaceServiceClient::with_interceptor(channel(), who.clone()),
            secrets: SecretServiceClient::with_interceptor(channel(), who.clone()),
            triggers: TriggerServiceClient::with_interceptor(channel(), who.clone()),
            cluster: ClusterServiceClient::with_interceptor(channel(), who.clone()),
            tenants: TenantServiceClient::with_interceptor(channel(), who.clone()),
            access: AccessServiceClient::with_interceptor(channel(), who),
        }
    }

    /// As the bootstrap token, in the default tenant.
    pub(crate) fn admin(&self) -> Calls {
        self.calls(As { token: Some(BOOTSTRAP.into()), tenant: None })
    }

    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Stops it as a server stops; tells whether everything ended in time.
    pub(crate) async fn stop(self) {
        let Self { channel, executor, serving, .. } = self;
        drop(channel);
        for Serving { channel, task, stop, .. } in serving {
            drop(channel);
            let _ = stop.send(());
            task.await.unwrap();
        }
        executor.stop().await;
    }
}

/// Reason of a status.
pub(crate) fn reason(status: &Status) -> String {
    let details = status.get_error_details();
    details.error_info().map(|info| format!("{} {}", info.domain, info.reason)).unwrap_or_else(|| format!("{status:?}"))
}

/// Fields of a status.
pub(crate) fn fields(status: &Status) -> Vec<String> {
    let details = status.get_error_details();
    details
        .bad_request()
        .map(|bad| bad.field_violations.iter().map(|one| one.field.clone()).collect())
        .unwrap_or_default()
}
