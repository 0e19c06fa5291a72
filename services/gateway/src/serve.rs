//! One port: gRPC and gRPC-web by their content type, everything else to the HTTP side.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, body::Body, middleware, response::Response};
use http::{Request, header};
use tokio::{net::TcpListener, sync::watch};
use tonic::{
    codec::CompressionEncoding,
    server::NamedService,
    service::Routes,
    transport::{Server, server::TcpIncoming},
};
use tonic_health::{ServingStatus, server::HealthReporter};
use tonic_web::GrpcWebLayer;
use tower::Service;
use windhover_executor::{ExecutorHandle, Flows, SecretSource, WorldSource};
use windhover_proto::{
    FILE_DESCRIPTOR_SET,
    admin::v1::{
        access_service_server::AccessServiceServer, cluster_service_server::ClusterServiceServer,
        tenant_service_server::TenantServiceServer,
    },
    v1::{
        execution_service_server::ExecutionServiceServer, file_service_server::FileServiceServer,
        flow_service_server::FlowServiceServer, key_value_service_server::KeyValueServiceServer,
        log_service_server::LogServiceServer, namespace_service_server::NamespaceServiceServer,
        secret_service_server::SecretServiceServer, trigger_service_server::TriggerServiceServer,
    },
};
use windhover_queue::JobQueue;
use windhover_scheduler::{ScheduleSettings, Triggers};
use windhover_storage::{Files, Keyring};
use windhover_store::Store;

use crate::{
    auth::{Authenticator, Rates},
    create::Creator,
    http_side::{self, Downloads, Webhooks},
    page::Tokens,
    request::{self, Entry},
    services::{
        AccessApi, ClusterApi, ExecutionApi, FileApi, FlowApi, KeyValueApi, LogApi, NamespaceApi, SecretApi, Shared,
        StoreDirectory, TenantApi, TriggerApi,
    },
    settings::{Mode, Settings},
    templates::Templates,
    vault::Vault,
};

/// Calls of one connection at the same time.
const MAX_STREAMS: u32 = 4_096;
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// The gateway of a process. Made by [`Gateway::builder`].
pub struct Gateway {
    shared: Arc<Shared>,
    webhooks: Arc<Webhooks>,
    downloads: Arc<Downloads>,
    entry: Arc<Entry>,
    closing: watch::Sender<bool>,
    stop_grace: Duration,
}

/// Everything that a gateway works with.
#[derive(Default)]
pub struct GatewayBuilder {
    store: Option<Store>,
    flows: Option<Flows>,
    executor: Option<ExecutorHandle>,
    keyring: Option<Keyring>,
    secrets: Option<Arc<dyn SecretSource>>,
    world: Option<Arc<dyn WorldSource>>,
    token_key: Option<[u8; 32]>,
    files: Option<Files>,
    jobs: Option<Arc<dyn JobQueue>>,
    triggers: Option<Triggers>,
    settings: Settings,
}

impl GatewayBuilder {
    /// Where everything is read and written.
    #[must_use]
    pub fn store(mut self, store: Store) -> Self {
        self.store = Some(store);
        self
    }

    /// The flows of this process.
    #[must_use]
    pub fn flows(mut self, flows: Flows) -> Self {
        self.flows = Some(flows);
        self
    }

    /// The executor that makes and kills executions.
    #[must_use]
    pub fn executor(mut self, executor: ExecutorHandle) -> Self {
        self.executor = Some(executor);
        self
    }

    /// Encrypts secrets.
    #[must_use]
    pub fn keyring(mut self, keyring: Keyring) -> Self {
        self.keyring = Some(keyring);
        self
    }

    /// Decrypted secrets, for templates that the gateway renders (keys of webhooks, defaults of inputs).
    #[must_use]
    pub fn secrets(mut self, secrets: Arc<dyn SecretSource>) -> Self {
        self.secrets = Some(secrets);
        self
    }

    /// What these templates ask besides: key-value stores, files, servers. Without it they fail when they do.
    #[must_use]
    pub fn world(mut self, world: Arc<dyn WorldSource>) -> Self {
        self.world = Some(world);
        self
    }

    /// Signs page tokens and cursors. All gateways of an installation need the same one; without one it is drawn, and
    /// tokens are good in this process alone.
    #[must_use]
    pub fn token_key(mut self, key: [u8; 32]) -> Self {
        self.token_key = Some(key);
        self
    }

    /// The triggers at dates; without them, those of the store under the default settings of schedules.
    #[must_use]
    pub fn triggers(mut self, triggers: Triggers) -> Self {
        self.triggers = Some(triggers);
        self
    }

    /// Internal storage; without it, FileService answers UNAVAILABLE.
    #[must_use]
    pub fn files(mut self, files: Files) -> Self {
        self.files = Some(files);
        self
    }

    /// The job queues, of which ListQueues tells; without them it tells what the store knows.
    #[must_use]
    pub fn jobs(mut self, jobs: Arc<dyn JobQueue>) -> Self {
        self.jobs = Some(jobs);
        self
    }

    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Puts it together.
    ///
    /// # Errors
    /// A plain sentence about what is missing or wrong.
    pub fn build(self) -> Result<Gateway, String> {
        let missing = |what: &str| format!("the gateway has no {what}");
        let store = self.store.ok_or_else(|| missing("store"))?;
        let flows = self.flows.ok_or_else(|| missing("flows"))?;
        let executor = self.executor.ok_or_else(|| missing("executor"))?;
        let keyring = self.keyring.ok_or_else(|| missing("keyring"))?;
        let secrets = self.secrets.ok_or_else(|| missing("source of secrets"))?;
        let settings = self.settings;

        let directory = Arc::new(StoreDirectory(store.clone()));
        let local = settings.mode == Mode::Local;
        let auth = Authenticator::new(directory, settings.bootstrap_token, local, settings.default_tenant.clone())?;
        let (auth, rates) = (Arc::new(auth), Arc::new(Rates::new(settings.requests_per_second)));
        let templates = Templates::new(secrets, settings.expression_globals);
        let templates = match self.world {
            Some(world) => templates.with_world(world),
            None => templates,
        };
        let creator = Arc::new(Creator {
            store: store.clone(),
            flows: flows.clone(),
            executor: executor.clone(),
            templates,
            max_input_bytes: settings.max_input_bytes,
            files: self.files.clone(),
        });
        let token_key: [u8; 32] = self.token_key.unwrap_or_else(rand::random);
        let (closing, closed) = watch::channel(false);
        let tokens = Tokens::new(&token_key);
        let vault = Vault { store: store.clone(), keyring };
        let triggers = self.triggers;
        let triggers =
            triggers.unwrap_or_else(|| Triggers::new(store.clone(), flows.clone(), ScheduleSettings::default()));
        let downloads = Arc::new(Downloads {
            auth: Arc::clone(&auth),
            rates: Arc::clone(&rates),
            store: store.clone(),
            files: self.files.clone(),
        });
        let shared = Arc::new(Shared {
            store,
            flows,
            executor,
            vault,
            creator: Arc::clone(&creator),
            auth: Arc::clone(&auth),
            tokens,
            triggers,
            files: self.files,
            jobs: self.jobs,
            closing: closed.clone(),
        });
        let webhooks = Arc::new(Webhooks {
            creator,
            auth: Arc::clone(&auth),
            rates: Arc::clone(&rates),
            default_tenant: settings.default_tenant,
            public_url: settings.public_url.unwrap_or_default().trim_end_matches('/').to_owned(),
            max_body_bytes: settings.max_input_bytes,
            closing: closed,
        });
        let entry = Arc::new(Entry { auth, rates, max_request_bytes: settings.max_request_bytes });
        Ok(Gateway { shared, webhooks, downloads, entry, closing, stop_grace: settings.stop_grace })
    }
}

impl Gateway {
    pub fn builder() -> GatewayBuilder {
        GatewayBuilder::default()
    }

    /// Serves until `shutdown` is ready; then ends what waits and follows, lets other calls end within the grace of
    /// the settings, and returns.
    ///
    /// # Errors
    /// The listener failed.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), tonic::transport::Error> {
        let health = HealthReporter::new();
        announce(&health, ServingStatus::Serving).await;
        let http = http_side::router(Arc::clone(&self.webhooks), Arc::clone(&self.downloads));
        let service = Dispatch { grpc: self.grpc(health.clone()), http };
        let (stopping, mut stopped) = watch::channel(false);
        let closing = self.closing;
        let signal = async move {
            shutdown.await;
            announce(&health, ServingStatus::NotServing).await;
            closing.send_replace(true);
            stopping.send_replace(true);
        };
        let serving = Server::builder()
            .accept_http1(true)
            .max_concurrent_streams(MAX_STREAMS)
            .http2_keepalive_interval(Some(KEEP_ALIVE))
            .serve_with_incoming_shutdown(service, TcpIncoming::from(listener).with_nodelay(Some(true)), signal);
        let grace = async move {
            if stopped.wait_for(|stopping| *stopping).await.is_err() {
                // The server ended by itself, and says why.
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(self.stop_grace).await;
        };
        tokio::select! {
            ended = serving => ended,
            () = grace => {
                tracing::info!("calls were still open when the server stopped");
                Ok(())
            }
        }
    }

    fn grpc(&self, health: HealthReporter) -> Router {
        let shared = || Arc::clone(&self.shared);
        let limit = self.entry.max_request_bytes;
        macro_rules! limited {
            ($server:expr) => {
                $server.max_decoding_message_size(limit).accept_compressed(CompressionEncoding::Gzip)
            };
        }
        let mut routes = Routes::builder();
        routes
            .add_service(limited!(FlowServiceServer::new(FlowApi(shared()))))
            .add_service(limited!(ExecutionServiceServer::new(ExecutionApi(shared()))))
            .add_service(limited!(LogServiceServer::new(LogApi(shared()))))
            .add_service(limited!(SecretServiceServer::new(SecretApi(shared()))))
            .add_service(limited!(KeyValueServiceServer::new(KeyValueApi(shared()))))
            .add_service(limited!(NamespaceServiceServer::new(NamespaceApi(shared()))))
            .add_service(limited!(FileServiceServer::new(FileApi(shared()))))
            .add_service(limited!(TriggerServiceServer::new(TriggerApi(shared()))))
            .add_service(limited!(TenantServiceServer::new(TenantApi(shared()))))
            .add_service(limited!(AccessServiceServer::new(AccessApi(shared()))))
            .add_service(limited!(ClusterServiceServer::new(ClusterApi(shared()))))
            .add_service(tonic_health::pb::health_server::HealthServer::new(
                tonic_health::server::HealthService::from_health_reporter(health),
            ));
        let describe = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        // They fail only for descriptors that cannot be read, which a test would see.
        match (describe().build_v1(), describe().build_v1alpha()) {
            (Ok(v1), Ok(v1alpha)) => {
                routes.add_service(v1).add_service(v1alpha);
            }
            (Err(error), _) | (_, Err(error)) => tracing::error!(%error, "server reflection is not available"),
        }
        routes
            .routes()
            .prepare()
            .into_axum_router()
            .layer(middleware::from_fn_with_state(Arc::clone(&self.entry), request::grpc))
            .layer(GrpcWebLayer::new())
    }
}

async fn announce(health: &HealthReporter, status: ServingStatus) {
    let services = [
        "",
        FlowServiceServer::<FlowApi>::NAME,
        ExecutionServiceServer::<ExecutionApi>::NAME,
        LogServiceServer::<LogApi>::NAME,
        SecretServiceServer::<SecretApi>::NAME,
        KeyValueServiceServer::<KeyValueApi>::NAME,
        NamespaceServiceServer::<NamespaceApi>::NAME,
        FileServiceServer::<FileApi>::NAME,
        TriggerServiceServer::<TriggerApi>::NAME,
        TenantServiceServer::<TenantApi>::NAME,
        AccessServiceServer::<AccessApi>::NAME,
        ClusterServiceServer::<ClusterApi>::NAME,
    ];
    for service in services {
        health.set_service_status(service, status).await;
    }
}

/// gRPC and gRPC-web here, everything else there.
#[derive(Clone)]
struct Dispatch {
    grpc: Router,
    http: Router,
}

impl Service<Request<tonic::body::Body>> for Dispatch {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = axum::routing::future::RouteFuture<Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Routers are always ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<tonic::body::Body>) -> Self::Future {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let router = match kind {
            Some(kind) if kind.starts_with("application/grpc") => &mut self.grpc,
            _ => &mut self.http,
        };
        router.call(request.map(Body::new))
    }
}
