//! The gRPC services, one file each. All share [`Shared`].

mod access;
mod actions;
mod cluster;
mod dependencies;
mod execution;
mod file;
mod flow;
mod follow;
mod key_value;
mod lists;
mod log;
mod namespace;
mod plugin;
mod repeat;
mod secret;
mod tenant;
mod trigger;
mod waiting;
mod worker_group;

use std::sync::Arc;

use tokio::sync::watch;
use tonic::{Request, Status};
use windhover_executor::{ExecutorHandle, Flows};
use windhover_proto::reasons;
use windhover_queue::JobQueue;
use windhover_scheduler::Triggers;

use windhover_storage::Files;
use windhover_store::Store;
use windhover_types::{Error, ErrorKind};

use crate::{
    auth::{Authenticator, Caller},
    create::Creator,
    error::{Result, status},
    page::Tokens,
    request,
    vault::Vault,
};

pub(crate) use access::{AccessApi, StoreDirectory};
pub(crate) use cluster::ClusterApi;
pub(crate) use execution::ExecutionApi;
pub(crate) use file::FileApi;
pub(crate) use flow::FlowApi;
pub(crate) use key_value::KeyValueApi;
pub(crate) use log::LogApi;
pub(crate) use namespace::NamespaceApi;
pub(crate) use secret::SecretApi;
pub(crate) use tenant::TenantApi;
pub(crate) use trigger::TriggerApi;

/// What the services work with.
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) flows: Flows,
    pub(crate) executor: ExecutorHandle,
    pub(crate) vault: Vault,
    pub(crate) creator: Arc<Creator>,
    pub(crate) auth: Arc<Authenticator>,
    pub(crate) tokens: Tokens,
    pub(crate) triggers: Triggers,
    /// Internal storage.
    pub(crate) files: Option<Files>,
    /// The job queues, to see how much is in them.
    pub(crate) jobs: Option<Arc<dyn JobQueue>>,
    /// True once the server stops: whoever waits or follows ends.
    pub(crate) closing: watch::Receiver<bool>,
}

/// Caller and message of a request.
fn open<T>(request: Request<T>) -> Result<(Caller, T), Status> {
    Ok((request::caller(&request)?, request.into_inner()))
}

/// The answer of a method.
fn answer<T>(result: Result<T>) -> Result<tonic::Response<T>, Status> {
    result.map(tonic::Response::new).map_err(status)
}

/// Ready once the server stops.
pub(crate) async fn closed(closing: &mut watch::Receiver<bool>) {
    // The sender lives as long as the server.
    let _ = closing.wait_for(|closing| *closing).await;
}

pub(crate) fn stopping() -> Error {
    Error::new(ErrorKind::Unavailable, reasons::UNAVAILABLE, "the server is stopping")
}

fn execution_not_found(id: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::NotFound, reasons::EXECUTION_NOT_FOUND, format!("there is no execution {id}"))
        .with("execution", id.to_string())
}

/// An error inside the process that a user cannot do anything about.
fn internal(message: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Internal, reasons::INTERNAL, message.to_string())
}

impl Shared {
    /// Keeps a record of what an administrator did. What was done stays done when that fails.
    async fn audit(&self, caller: &Caller, action: &str, resource: String) {
        let event = windhover_store::AuditEvent {
            tenant: caller.tenant.clone(),
            id: windhover_executor::new_id(),
            at: windhover_executor::now(),
            actor: caller.subject.to_string(),
            action: action.to_owned(),
            resource,
            detail: windhover_types::JsonMap::new(),
        };
        if let Err(error) = self.store.append_audit(&event).await {
            tracing::error!(action, actor = event.actor, resource = event.resource, %error, "an audit event was not kept");
        }
    }
}
