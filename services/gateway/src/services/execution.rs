//! ExecutionService.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use windhover_engine::Execution;
use windhover_proto::{
    reasons,
    v1::{self as proto, execution_service_server::ExecutionService},
};
use windhover_types::{Error, ErrorKind, Id, State, Tenant};

use super::{Shared, answer, execution_not_found, follow, open};
use crate::{
    convert,
    create::{check_request_id, trace_parent},
    error::{Result, in_answer, invalid, status},
    request::request_id,
};

const MAX_BATCH: usize = 1_000;
/// Executions of a batch that are made out before other calls get a turn.
const MADE_OUT: usize = 8;
/// Task runs inside an execution at most.
pub(super) const MAX_TASK_RUNS: u64 = 1_000;
const DEFAULT_WAIT: Duration = Duration::from_secs(30);
const MAX_WAIT: Duration = Duration::from_secs(60 * 60);
/// How often whoever waits looks by himself: hints may get lost.
pub(super) const LOOK: Duration = Duration::from_secs(2);

pub(crate) struct ExecutionApi(pub(crate) Arc<Shared>);

#[tonic::async_trait]
impl ExecutionService for ExecutionApi {
    type FollowExecutionStream = ReceiverStream<Result<proto::FollowExecutionResponse, Status>>;

    async fn create_execution(
        &self,
        request: Request<proto::CreateExecutionRequest>,
    ) -> Result<Response<proto::CreateExecutionResponse>, Status> {
        let parent = trace_of(&request);
        let (caller, request) = open(request)?;
        let created = self.0.creator.create(&caller.tenant, request, parent).await;
        answer(
            created
                .map(|created| proto::CreateExecutionResponse { execution: Some(convert::execution(&created, true)) }),
        )
    }

    async fn batch_create_executions(
        &self,
        request: Request<proto::BatchCreateExecutionsRequest>,
    ) -> Result<Response<proto::BatchCreateExecutionsResponse>, Status> {
        let parent = trace_of(&request);
        let (caller, request) = open(request)?;
        answer(self.batch(&caller.tenant, request, parent).await)
    }

    async fn get_execution(
        &self,
        request: Request<proto::GetExecutionRequest>,
    ) -> Result<Response<proto::GetExecutionResponse>, Status> {
        let (caller, request) = open(request)?;
        answer(self.get(&caller.tenant, request).await)
    }

    async fn list_executions(
        &self,
        request: Request<proto::ListExecutionsRequest>,
    ) -> Result<Response<proto::ListExecutionsResponse>, Status> {
        let (caller, request) = open(request)?;
        answer(self.list(&caller.tenant, request).await)
    }

    async fn wait_execution(
        &self,
        request: Request<proto::WaitExecutionRequest>,
    ) -> Result<Response<proto::WaitExecutionResponse>, Status> {
        let (caller, request) = open(request)?;
        answer(self.wait(&caller.tenant, request).await)
    }

    async fn follow_execution(
        &self,
        request: Request<proto::FollowExecutionRequest>,
    ) -> Result<Response<Self::FollowExecutionStream>, Status> {
        let (caller, request) = open(request)?;
        let stream = follow::start(Arc::clone(&self.0), caller.tenant, request, request_id()).await;
        stream.map(Response::new).map_err(status)
    }

    async fn list_task_runs(
        &self,
        request: Request<proto::ListTaskRunsRequest>,
    ) -> Result<Response<proto::ListTaskRunsResponse>, Status> {
        let (caller, request) = open(request)?;
        answer(self.list_runs(&caller.tenant, request).await)
    }

    async fn kill_execution(
        &self,
        request: Request<proto::KillExecutionRequest>,
    ) -> Result<Response<proto::KillExecutionResponse>, Status> {
        let (caller, request) = open(request)?;
        answer(self.kill(&caller.tenant, request).await)
    }

    async fn pause_execution(
        &self,
        request: Request<proto::PauseExecutionRequest>,
    ) -> Result<Response<proto::PauseExecutionResponse>, Status> {
        let (caller, request) = open(request)?;
        answer(self.pause(&caller, request).await)
    }

    async fn resume_execution(
        &self,
        request: Request<proto::ResumeExecutionRequest>,
    ) -> Result<Response<proto::ResumeExecutionResponse>, Status> {
        let (caller, request) = open(request)?;
        answer(self.resume(&caller, request).await)
    }

    async fn restart_execution(
        &self,
        request: Request<proto::RestartExecutionRequest>,
    ) -> Result<Response<proto::RestartExecutionResponse>, Status> {
        let (caller, request) = open(request)?;
        answer(self.restart(&caller, request).await)
    }

    async fn change_task_run_state(
        &self,
        request: Request<proto::ChangeTaskRunStateRequest>,
    ) -> Result<Response<proto::ChangeTaskRunStateResponse>, Status> {
        let (caller, request) = open(request)?;
        answer(self.change_task_run(&caller, request).await)
    }

    async fn change_execution_state(
        &self,
        request: Request<proto::ChangeExecutionStateRequest>,
    ) -> Result<Response<proto::ChangeExecutionStateResponse>, Status> {
        let (caller, request) = open(request)?;
        answer(self.change_state(&caller, request).await)
    }

    async fn force_run_execution(
        &self,
        request: Request<proto::ForceRunExecutionRequest>,
    ) -> Result<Response<proto::ForceRunExecutionResponse>, Status> {
        let (caller, request) = open(request)?;
        answer(self.force_run(&caller, request).await)
    }

    async fn unqueue_execution(
        &self,
        request: Request<proto::UnqueueExecutionRequest>,
    ) -> Result<Response<proto::UnqueueExecutionResponse>, Status> {
        let (caller, request) = open(request)?;
        answer(self.unqueue(&caller, request).await)
    }

    async fn set_execution_labels(
        &self,
        request: Request<proto::SetExecutionLabelsRequest>,
    ) -> Result<Response<proto::SetExecutionLabelsResponse>, Status> {
        let (caller, request) = open(request)?;
        answer(self.set_labels(&caller, request).await)
    }

    async fn replay_execution(
        &self,
        request: Request<proto::ReplayExecutionRequest>,
    ) -> Result<Response<proto::ReplayExecutionResponse>, Status> {
        let (caller, request) = open(request)?;
        answer(self.replay(&caller, request).await)
    }

    async fn delete_execution(
        &self,
        request: Request<proto::DeleteExecutionRequest>,
    ) -> Result<Response<proto::DeleteExecutionResponse>, Status> {
        let (caller, request) = open(request)?;
        answer(self.delete(&caller, request).await)
    }
}

fn trace_of<T>(request: &Request<T>) -> Option<String> {
    trace_parent(request.metadata().get("traceparent").and_then(|value| value.to_str().ok()))
}

impl Shared {
    pub(super) async fn execution(&self, tenant: &Tenant, id: Id) -> Result<Execution> {
        self.store.get_execution(tenant, id).await?.ok_or_else(|| execution_not_found(id))
    }

    /// An execution as the API shows it; in the view FULL with its first task runs.
    pub(super) async fn shown(&self, execution: &Execution, full: bool) -> Result<proto::Execution> {
        let mut shown = convert::execution(execution, full);
        if full {
            let mut runs = self.task_runs(&execution.tenant, execution.id, None, MAX_TASK_RUNS + 1).await?;
            shown.more_task_runs = runs.len() as u64 > MAX_TASK_RUNS;
            runs.truncate(MAX_TASK_RUNS as usize);
            shown.task_runs = runs.iter().map(|run| convert::task_run(execution.id, run, true)).collect();
            self.explain_waiting(execution, &runs, &mut shown.task_runs).await?;
        }
        Ok(shown)
    }
}

impl ExecutionApi {
    async fn batch(
        &self,
        tenant: &Tenant,
        request: proto::BatchCreateExecutionsRequest,
        parent: Option<String>,
    ) -> Result<proto::BatchCreateExecutionsResponse> {
        let count = request.requests.len();
        if !(1..=MAX_BATCH).contains(&count) {
            return Err(invalid("requests", format!("1 to {MAX_BATCH}; these are {count}")));
        }
        // Together, so that they meet in few commits; some at a time, so that other calls need not wait until all of
        // them are made out. Results keep the order of the requests.
        let results = stream::iter(request.requests.into_iter().enumerate())
            .then(|(index, request)| async move {
                if index % MADE_OUT == MADE_OUT - 1 {
                    tokio::task::yield_now().await;
                }
                request
            })
            .map(|request| async {
                use proto::batch_create_executions_result::Outcome;
                let outcome = match self.0.creator.create(tenant, request, parent.clone()).await {
                    Ok(created) => Outcome::Execution(Box::new(convert::execution(&created, true))),
                    Err(error) => Outcome::Error(in_answer(error)),
                };
                proto::BatchCreateExecutionsResult { outcome: Some(outcome) }
            })
            .buffered(MAX_BATCH)
            .collect()
            .await;
        Ok(proto::BatchCreateExecutionsResponse { results })
    }

    async fn get(&self, tenant: &Tenant, request: proto::GetExecutionRequest) -> Result<proto::GetExecutionResponse> {
        let id = convert::id("execution_id", &request.execution_id)?;
        let full = convert::is_full(request.view, true)?;
        let execution = self.0.execution(tenant, id).await?;
        Ok(proto::GetExecutionResponse { execution: Some(self.0.shown(&execution, full).await?) })
    }

    async fn wait(
        &self,
        tenant: &Tenant,
        request: proto::WaitExecutionRequest,
    ) -> Result<proto::WaitExecutionResponse> {
        let id = convert::id("execution_id", &request.execution_id)?;
        let full = convert::is_full(request.view, true)?;
        let states = (request.states.iter().enumerate())
            .map(|(index, state)| convert::from_state(&format!("states[{index}]"), *state))
            .collect::<Result<Vec<State>>>()?;
        let timeout = request.timeout.map(|timeout| convert::from_duration("timeout", timeout)).transpose()?;
        let timeout = timeout.unwrap_or(DEFAULT_WAIT).min(MAX_WAIT);
        let wanted = |state: State| if states.is_empty() { state.is_terminal() } else { states.contains(&state) };

        let mut hints = self.0.executor.subscribe(tenant, id);
        let mut closing = self.0.closing.clone();
        let mut hinted = true;
        let until = tokio::time::Instant::now() + timeout;
        loop {
            let execution = self.0.execution(tenant, id).await?;
            let state = execution.current();
            let reached = wanted(state);
            if reached || state.is_terminal() || tokio::time::Instant::now() >= until {
                let execution = Some(self.0.shown(&execution, full).await?);
                return Ok(proto::WaitExecutionResponse { execution, reached });
            }
            let look = (tokio::time::Instant::now() + LOOK).min(until);
            tokio::select! {
                () = super::closed(&mut closing) => return Err(super::stopping()),
                more = hints.changed(), if hinted => hinted = more,
                () = tokio::time::sleep_until(look) => {}
            }
        }
    }

    async fn kill(
        &self,
        tenant: &Tenant,
        request: proto::KillExecutionRequest,
    ) -> Result<proto::KillExecutionResponse> {
        let id = convert::id("execution_id", &request.execution_id)?;
        check_request_id(&request.request_id)?;
        let before = self.0.execution(tenant, id).await?;
        if !self.0.done_before(tenant, "KillExecution", &request.request_id, &request).await? {
            if before.is_ended() || !self.0.executor.kill(tenant, id).await? {
                let state = self.0.execution(tenant, id).await?.current();
                let message = format!("the execution {id} has ended already: {state}");
                return Err(Error::new(ErrorKind::FailedPrecondition, reasons::EXECUTION_ENDED, message)
                    .with("execution", id)
                    .with("state", state));
            }
            self.0.remember(tenant, "KillExecution", &request.request_id, &request).await;
        }
        let execution = self.0.execution(tenant, id).await?;
        Ok(proto::KillExecutionResponse { execution: Some(convert::execution(&execution, false)) })
    }
}
