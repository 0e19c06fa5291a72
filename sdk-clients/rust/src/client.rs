//! The client: connections, credentials, and calls in a shorter form.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};
use windhover_proto::metadata;

use crate::{
    ClientError, ClientOptions, Follow, FollowOptions,
    admin::v1::{
        access_service_client::AccessServiceClient, cluster_service_client::ClusterServiceClient,
        tenant_service_client::TenantServiceClient, *,
    },
    v1::*,
};

use crate::v1::{
    execution_service_client::ExecutionServiceClient, file_service_client::FileServiceClient,
    flow_service_client::FlowServiceClient, key_value_service_client::KeyValueServiceClient,
    log_service_client::LogServiceClient, namespace_service_client::NamespaceServiceClient,
    secret_service_client::SecretServiceClient, trigger_service_client::TriggerServiceClient,
};

/// Content that one message of an upload carries.
const UPLOAD_CHUNK: usize = 1 << 20;

/// A connection that sends the credentials along.
pub type Api = InterceptedService<Channel, Credentials>;

/// Puts `authorization` and `windhover-tenant` into every call.
#[derive(Clone, Default)]
pub struct Credentials {
    authorization: Option<MetadataValue<Ascii>>,
    tenant: Option<MetadataValue<Ascii>>,
}

impl Credentials {
    fn of(options: &ClientOptions) -> Result<Self, ClientError> {
        let authorization = match &options.token {
            Some(token) => {
                let value = format!("Bearer {token}").parse::<MetadataValue<Ascii>>();
                // The value is not repeated: it is a secret, if a misspelt one.
                let mut value = value.map_err(|_| {
                    ClientError::invalid_argument("token", "holds characters that no token has".to_owned())
                })?;
                value.set_sensitive(true);
                Some(value)
            }
            None => None,
        };
        let tenant = match &options.tenant {
            Some(tenant) => Some(tenant.parse().map_err(|_| {
                ClientError::invalid_argument("tenant", "holds characters that no tenant's name has".to_owned())
            })?),
            None => None,
        };
        Ok(Self { authorization, tenant })
    }
}

impl Interceptor for Credentials {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let into = request.metadata_mut();
        if let Some(value) = &self.authorization {
            into.insert(metadata::AUTHORIZATION, value.clone());
        }
        if let Some(value) = &self.tenant {
            into.insert(metadata::TENANT, value.clone());
        }
        Ok(request)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

/// A client of one server. Cheap to clone; clones share the connections.
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
    credentials: Credentials,
}

#[derive(Debug)]
struct Shared {
    channels: Vec<Channel>,
    next: AtomicUsize,
    call_timeout: Duration,
    max_response_bytes: usize,
}

macro_rules! services {
    ($($(#[$doc:meta])* $name:ident: $type:ident;)+) => {$(
        $(#[$doc])*
        pub fn $name(&self) -> $type<Api> {
            $type::new(self.api()).max_decoding_message_size(self.shared.max_response_bytes)
        }
    )+};
}

macro_rules! methods {
    ($($service:ident { $($(#[$doc:meta])* $name:ident($request:ty) -> $response:ty;)+ })+) => {$($(
        $(#[$doc])*
        pub async fn $name(&self, request: impl Into<$request>) -> Result<$response, ClientError> {
            let request = self.timed(request.into(), self.shared.call_timeout);
            Ok(self.$service().$name(request).await?.into_inner())
        }
    )+)+};
}

impl Client {
    /// Connects. Later on, a connection that was lost comes back by itself with the next call.
    ///
    /// # Errors
    /// UNAVAILABLE when nobody answers; INVALID_ARGUMENT when the options make no sense.
    pub async fn connect(options: ClientOptions) -> Result<Self, ClientError> {
        let channels = options.channels().await?;
        Self::over(channels, &options)
    }

    /// Connects with the first call. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// INVALID_ARGUMENT when the options make no sense.
    pub fn connect_later(options: ClientOptions) -> Result<Self, ClientError> {
        let channels = options.channels_later()?;
        Self::over(channels, &options)
    }

    fn over(channels: Vec<Channel>, options: &ClientOptions) -> Result<Self, ClientError> {
        let credentials = Credentials::of(options)?;
        let shared = Shared {
            channels,
            next: AtomicUsize::new(0),
            call_timeout: options.call_timeout,
            max_response_bytes: options.max_response_bytes,
        };
        Ok(Self { shared: Arc::new(shared), credentials })
    }

    /// The same connections with another token and tenant.
    ///
    /// # Errors
    /// INVALID_ARGUMENT when a value holds characters that cannot be sent.
    pub fn acting_as(&self, token: Option<&str>, tenant: Option<&str>) -> Result<Self, ClientError> {
        let mut options = ClientOptions::new("");
        options.token = token.map(str::to_owned);
        options.tenant = tenant.map(str::to_owned);
        Ok(Self { shared: Arc::clone(&self.shared), credentials: Credentials::of(&options)? })
    }

    /// The next connection in turn.
    fn api(&self) -> Api {
        let channels = &self.shared.channels;
        let next = self.shared.next.fetch_add(1, Ordering::Relaxed) % channels.len();
        InterceptedService::new(channels[next].clone(), self.credentials.clone())
    }

    fn timed<T>(&self, message: T, timeout: Duration) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(timeout);
        request
    }

    services! {
        /// The generated client of FlowService.
        flow_service: FlowServiceClient;
        /// The generated client of ExecutionService.
        execution_service: ExecutionServiceClient;
        /// The generated client of LogService.
        log_service: LogServiceClient;
        /// The generated client of SecretService.
        secret_service: SecretServiceClient;
        /// The generated client of NamespaceService.
        namespace_service: NamespaceServiceClient;
        /// The generated client of KeyValueService.
        key_value_service: KeyValueServiceClient;
        /// The generated client of FileService.
        file_service: FileServiceClient;
        /// The generated client of TriggerService.
        trigger_service: TriggerServiceClient;
        /// The generated client of TenantService.
        tenant_service: TenantServiceClient;
        /// The generated client of AccessService.
        access_service: AccessServiceClient;
        /// The generated client of ClusterService.
        cluster_service: ClusterServiceClient;
    }

    methods! {
        flow_service {
            /// One revision of a flow, with its source.
            get_flow(GetFlowRequest) -> GetFlowResponse;
            /// A page of flows.
            list_flows(ListFlowsRequest) -> ListFlowsResponse;
            /// A page of the revisions of a flow, newest first.
            list_flow_revisions(ListFlowRevisionsRequest) -> ListFlowRevisionsResponse;
            /// Takes a flow out of service.
            delete_flow(DeleteFlowRequest) -> DeleteFlowResponse;
            /// Says everything that is wrong with a source.
            validate_flow(ValidateFlowRequest) -> ValidateFlowResponse;
            /// The JSON Schema of flows.
            get_flow_schema(GetFlowSchemaRequest) -> GetFlowSchemaResponse;
            /// A page of the types that flows can name.
            list_plugins(ListPluginsRequest) -> ListPluginsResponse;
            /// One type with its properties, outputs and an example.
            get_plugin(GetPluginRequest) -> GetPluginResponse;
        }
        execution_service {
            /// Starts up to 1,000 flows; each request has its own result, in order.
            batch_create_executions(BatchCreateExecutionsRequest) -> BatchCreateExecutionsResponse;
            /// One execution as it is now.
            get_execution(GetExecutionRequest) -> GetExecutionResponse;
            /// A page of executions, newest first.
            list_executions(ListExecutionsRequest) -> ListExecutionsResponse;
            /// A page of the task runs of an execution, in order of creation.
            list_task_runs(ListTaskRunsRequest) -> ListTaskRunsResponse;
            /// Stops an execution.
            kill_execution(KillExecutionRequest) -> KillExecutionResponse;
            /// Lets an execution begin nothing new.
            pause_execution(PauseExecutionRequest) -> PauseExecutionResponse;
            /// Lets a paused execution go on.
            resume_execution(ResumeExecutionRequest) -> ResumeExecutionResponse;
            /// Runs what failed in an execution again.
            restart_execution(RestartExecutionRequest) -> RestartExecutionResponse;
            /// Decides how a task run ended, and lets its execution go on.
            change_task_run_state(ChangeTaskRunStateRequest) -> ChangeTaskRunStateResponse;
            /// Decides how an execution ended.
            change_execution_state(ChangeExecutionStateRequest) -> ChangeExecutionStateResponse;
            /// Lets an execution go on at once, whatever it waits for.
            force_run_execution(ForceRunExecutionRequest) -> ForceRunExecutionResponse;
            /// Takes an execution out of the queue of its flow.
            unqueue_execution(UnqueueExecutionRequest) -> UnqueueExecutionResponse;
            /// Sets labels of an ended execution.
            set_execution_labels(SetExecutionLabelsRequest) -> SetExecutionLabelsResponse;
            /// Makes a new execution of an old one.
            replay_execution(ReplayExecutionRequest) -> ReplayExecutionResponse;
            /// Takes an ended execution away for good.
            delete_execution(DeleteExecutionRequest) -> DeleteExecutionResponse;
        }
        log_service {
            /// A page of the log lines of an execution, oldest first.
            list_logs(ListLogsRequest) -> ListLogsResponse;
        }
        secret_service {
            /// A page of the secrets that a namespace sees.
            list_secrets(ListSecretsRequest) -> ListSecretsResponse;
            /// Takes a secret away.
            delete_secret(DeleteSecretRequest) -> DeleteSecretResponse;
        }
        namespace_service {
            /// What was said of a namespace, and what its flows get in all.
            get_namespace(GetNamespaceRequest) -> GetNamespaceResponse;
            /// A page of the namespaces that hold something.
            list_namespaces(ListNamespacesRequest) -> ListNamespacesResponse;
            /// Says what the flows of a namespace get from it.
            update_namespace(UpdateNamespaceRequest) -> UpdateNamespaceResponse;
            /// Which flows of a namespace start which others.
            get_dependencies(GetDependenciesRequest) -> GetDependenciesResponse;
        }
        key_value_service {
            /// Sets an entry of a namespace's key-value store.
            put_entry(PutEntryRequest) -> PutEntryResponse;
            /// One entry with its value.
            get_entry(GetEntryRequest) -> GetEntryResponse;
            /// A page of the entries of a namespace.
            list_entries(ListEntriesRequest) -> ListEntriesResponse;
            /// Takes an entry away.
            delete_entry(DeleteEntryRequest) -> DeleteEntryResponse;
        }
        file_service {
            /// The files of a namespace.
            list_files(ListFilesRequest) -> ListFilesResponse;
            /// Takes a file of a namespace away.
            delete_file(DeleteFileRequest) -> DeleteFileResponse;
        }
        trigger_service {
            /// A page of the triggers of all flows.
            list_triggers(ListTriggersRequest) -> ListTriggersResponse;
            /// One trigger as it is now.
            get_trigger(GetTriggerRequest) -> GetTriggerResponse;
            /// Lets a schedule rest, or act again.
            set_trigger_disabled(SetTriggerDisabledRequest) -> SetTriggerDisabledResponse;
            /// Lets a schedule go on although its last execution has not ended.
            unlock_trigger(UnlockTriggerRequest) -> UnlockTriggerResponse;
            /// The dates of a schedule from a time on.
            list_trigger_dates(ListTriggerDatesRequest) -> ListTriggerDatesResponse;
            /// Starts an execution for each date of a schedule in a time of the past.
            create_backfill(CreateBackfillRequest) -> CreateBackfillResponse;
            /// Lets a backfill rest.
            pause_backfill(PauseBackfillRequest) -> PauseBackfillResponse;
            /// Lets a backfill go on.
            resume_backfill(ResumeBackfillRequest) -> ResumeBackfillResponse;
            /// Ends a backfill before it is through.
            delete_backfill(DeleteBackfillRequest) -> DeleteBackfillResponse;
        }
        tenant_service {
            /// Makes a tenant.
            create_tenant(CreateTenantRequest) -> CreateTenantResponse;
            /// One tenant.
            get_tenant(GetTenantRequest) -> GetTenantResponse;
            /// A page of tenants.
            list_tenants(ListTenantsRequest) -> ListTenantsResponse;
        }
        access_service {
            /// Makes a token, whose text is only in this answer.
            create_token(CreateTokenRequest) -> CreateTokenResponse;
            /// A page of tokens, newest first.
            list_tokens(ListTokensRequest) -> ListTokensResponse;
            /// Makes a token worthless.
            revoke_token(RevokeTokenRequest) -> RevokeTokenResponse;
            /// Who the caller is.
            who_am_i(WhoAmIRequest) -> WhoAmIResponse;
        }
        cluster_service {
            /// A page of the services of the installation, newest first.
            list_instances(ListInstancesRequest) -> ListInstancesResponse;
            /// Takes work away from an executor, or gives it work again.
            drain_instance(DrainInstanceRequest) -> DrainInstanceResponse;
            /// A page of the shards, by number.
            list_shards(ListShardsRequest) -> ListShardsResponse;
            /// Assigns a shard to an executor.
            move_shard(MoveShardRequest) -> MoveShardResponse;
            /// A page of the job queues by worker group and tenant.
            list_queues(ListQueuesRequest) -> ListQueuesResponse;
            /// A page of the worker groups that are known.
            list_worker_groups(ListWorkerGroupsRequest) -> ListWorkerGroupsResponse;
            /// Says whether the flows of a tenant may use a worker group.
            set_worker_group_permission(SetWorkerGroupPermissionRequest) -> SetWorkerGroupPermissionResponse;
        }
    }

    /// Makes a flow, or a new revision of it. Safe to repeat: the same source changes nothing.
    pub async fn apply_flow(&self, source: impl Into<String>) -> Result<ApplyFlowResponse, ClientError> {
        self.apply_flow_request(ApplyFlowRequest { source: source.into(), ..ApplyFlowRequest::default() }).await
    }

    /// As [`Client::apply_flow`], with everything that can be asked for.
    pub async fn apply_flow_request(&self, request: ApplyFlowRequest) -> Result<ApplyFlowResponse, ClientError> {
        let request = self.timed(request, self.shared.call_timeout);
        Ok(self.flow_service().apply_flow(request).await?.into_inner())
    }

    /// Starts a flow; the execution comes back as it was created.
    pub async fn create_execution(&self, new: impl Into<CreateExecutionRequest>) -> Result<Execution, ClientError> {
        let request = self.timed(new.into(), self.shared.call_timeout);
        let response = self.execution_service().create_execution(request).await?.into_inner();
        response.execution.ok_or_else(|| ClientError::incomplete("execution"))
    }

    /// Waits until an execution has ended, or this long; the execution tells which. `None` waits for ever.
    pub async fn wait(&self, execution_id: &str, timeout: Option<Duration>) -> Result<Execution, ClientError> {
        self.wait_for(execution_id, &[], timeout).await?.execution.ok_or_else(|| ClientError::incomplete("execution"))
    }

    /// Waits until an execution is in one of these states (none given: in a final one), has ended, or the timeout has
    /// passed. However long that is: one call of the API waits at most an hour, this one as often as needed.
    pub async fn wait_for(
        &self,
        execution_id: &str,
        states: &[State],
        timeout: Option<Duration>,
    ) -> Result<WaitExecutionResponse, ClientError> {
        // Servers and what stands before them like calls that end.
        const ONE_CALL: Duration = Duration::from_secs(300);
        let since = Instant::now();
        loop {
            let left = timeout.map_or(ONE_CALL, |timeout| timeout.saturating_sub(since.elapsed()));
            let this = left.min(ONE_CALL);
            let request = WaitExecutionRequest {
                execution_id: execution_id.to_owned(),
                states: states.iter().map(|state| (*state).into()).collect(),
                timeout: this.try_into().ok(),
                view: View::Full.into(),
            };
            let request = self.timed(request, this + self.shared.call_timeout);
            let response = self.execution_service().wait_execution(request).await?.into_inner();
            let ended = response.execution.as_ref().is_none_or(|execution| execution.current_state().is_final());
            if response.reached || ended || timeout.is_some_and(|timeout| since.elapsed() >= timeout) {
                return Ok(response);
            }
        }
    }

    /// Everything about an execution, then every change until it has ended. Survives lost connections.
    pub fn follow(&self, execution_id: impl Into<String>) -> Follow {
        self.follow_with(FollowOptions::new(execution_id))
    }

    /// As [`Client::follow`], with everything that can be asked for.
    pub fn follow_with(&self, options: FollowOptions) -> Follow {
        Follow::new(self.clone(), options)
    }

    /// All log lines of an execution, oldest first.
    pub async fn logs(&self, execution_id: &str) -> Result<Vec<LogLine>, ClientError> {
        let mut request =
            ListLogsRequest { execution_id: execution_id.to_owned(), page_size: 1000, ..ListLogsRequest::default() };
        let mut lines = Vec::new();
        loop {
            let page = self.list_logs(request.clone()).await?;
            lines.extend(page.lines);
            if page.next_page_token.is_empty() {
                return Ok(lines);
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Stores a file for an input of executions to come; the answer's `uri` is the value of the input.
    pub async fn upload_input(
        &self,
        name: impl Into<String>,
        content: Vec<u8>,
    ) -> Result<UploadFileResponse, ClientError> {
        self.upload(upload_file_request::Part::InputFile(InputFile { name: name.into() }), content).await
    }

    /// Stores a file of a namespace.
    pub async fn upload_namespace_file(
        &self,
        namespace: impl Into<String>,
        path: impl Into<String>,
        content: Vec<u8>,
    ) -> Result<UploadFileResponse, ClientError> {
        let file = NamespaceFile { namespace: namespace.into(), path: path.into() };
        self.upload(upload_file_request::Part::NamespaceFile(file), content).await
    }

    async fn upload(
        &self,
        place: upload_file_request::Part,
        content: Vec<u8>,
    ) -> Result<UploadFileResponse, ClientError> {
        let chunks: Vec<_> =
            content.chunks(UPLOAD_CHUNK).map(|chunk| upload_file_request::Part::Chunk(chunk.to_vec())).collect();
        let messages = std::iter::once(place).chain(chunks).map(|part| UploadFileRequest { part: Some(part) });
        let messages: Vec<_> = messages.collect();
        let request = Request::new(tokio_stream::iter(messages));
        Ok(self.file_service().upload_file(request).await?.into_inner())
    }

    /// The whole content of a file of internal storage.
    pub async fn download(&self, uri: impl Into<String>) -> Result<Vec<u8>, ClientError> {
        let request = DownloadFileRequest { uri: uri.into() };
        let mut pieces = self.file_service().download_file(request).await?.into_inner();
        let mut content = Vec::new();
        while let Some(piece) = pieces.message().await? {
            content.extend(piece.chunk);
        }
        Ok(content)
    }

    /// Sets a secret for a namespace and all below; an empty namespace is the whole tenant.
    pub async fn put_secret(
        &self,
        namespace: impl Into<String>,
        name: impl Into<String>,
        value: impl Into<String>,
    ) -> Result<PutSecretResponse, ClientError> {
        let message = PutSecretRequest { namespace: namespace.into(), name: name.into(), value: value.into() };
        let request = self.timed(message, self.shared.call_timeout);
        Ok(self.secret_service().put_secret(request).await?.into_inner())
    }
}
