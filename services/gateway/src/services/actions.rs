//! What people do to executions: the actions of ExecutionService.

use prost::Message;
use windhover_engine::{Event, Refusal, refusals};
use windhover_executor::{Acted, RequestKey};
use windhover_flow::resume_inputs;
use windhover_proto::{reasons, v1 as proto};
use windhover_store::{DeleteAlso, Deleted};
use windhover_types::{Error, ErrorKind, Id, JsonMap, State};

use super::{ExecutionApi, execution_not_found};
use crate::{
    auth::Caller,
    convert,
    create::{check_request_id, content_of, names_its_field},
    error::{Result, invalid, kind_of},
};

/// What an action is asked with: its name for request ids, and whose intent it is.
struct Asked<'a, M> {
    method: &'static str,
    execution_id: &'a str,
    request_id: &'a str,
    request: &'a M,
}

/// Names the parts of a request that all actions have.
macro_rules! asked {
    ($method:literal, $request:expr) => {
        Asked {
            method: concat!("windhover.v1.ExecutionService/", $method),
            execution_id: &$request.execution_id,
            request_id: &$request.request_id,
            request: &$request,
        }
    };
}

impl ExecutionApi {
    pub(super) async fn pause(
        &self,
        caller: &Caller,
        request: proto::PauseExecutionRequest,
    ) -> Result<proto::PauseExecutionResponse> {
        let execution = self.act(caller, asked!("PauseExecution", request), Event::Pause).await?;
        Ok(proto::PauseExecutionResponse { execution: Some(execution) })
    }

    pub(super) async fn resume(
        &self,
        caller: &Caller,
        request: proto::ResumeExecutionRequest,
    ) -> Result<proto::ResumeExecutionResponse> {
        let mut inputs = convert::inputs(request.inputs.clone(), self.0.creator.max_input_bytes)?;
        self.seal_for_pauses(caller, &request.execution_id, &mut inputs).await?;
        let event = Event::Resume { inputs, by: Some(caller.subject.to_string()), undeclared: false };
        let execution = self.act(caller, asked!("ResumeExecution", request), event).await?;
        Ok(proto::ResumeExecutionResponse { execution: Some(execution) })
    }

    /// What is to be encrypted among them is, before the action is written down for the execution's owner.
    async fn seal_for_pauses(&self, caller: &Caller, execution: &str, given: &mut JsonMap) -> Result<()> {
        if given.is_empty() {
            return Ok(());
        }
        let of = self.0.execution(&caller.tenant, execution_id(execution)?).await?;
        let flow = self.0.creator.flows.get(&caller.tenant, &of.namespace, &of.flow_id, Some(of.flow_revision)).await?;
        let Some(Ok(flow)) = flow.as_ref().map(|stored| stored.flow.as_ref()) else { return Ok(()) };
        self.0.creator.seal(&caller.tenant, resume_inputs(flow), given).await
    }

    pub(super) async fn restart(
        &self,
        caller: &Caller,
        request: proto::RestartExecutionRequest,
    ) -> Result<proto::RestartExecutionResponse> {
        if request.revision.is_some() {
            let execution = Some(self.restart_anew(caller, request).await?);
            return Ok(proto::RestartExecutionResponse { execution });
        }
        let event = Event::Restart { by_parent: false };
        let execution = self.act(caller, asked!("RestartExecution", request), event).await?;
        Ok(proto::RestartExecutionResponse { execution: Some(execution) })
    }

    pub(super) async fn change_task_run(
        &self,
        caller: &Caller,
        request: proto::ChangeTaskRunStateRequest,
    ) -> Result<proto::ChangeTaskRunStateResponse> {
        let task_run = task_run_id(&request.task_run_id)?;
        let event = Event::ChangeTaskRunState { task_run, state: convert::from_state("state", request.state)? };
        let execution = self.act(caller, asked!("ChangeTaskRunState", request), event).await?;
        Ok(proto::ChangeTaskRunStateResponse { execution: Some(execution) })
    }

    pub(super) async fn change_state(
        &self,
        caller: &Caller,
        request: proto::ChangeExecutionStateRequest,
    ) -> Result<proto::ChangeExecutionStateResponse> {
        let event = Event::ChangeState { state: convert::from_state("state", request.state)? };
        let execution = self.act(caller, asked!("ChangeExecutionState", request), event).await?;
        Ok(proto::ChangeExecutionStateResponse { execution: Some(execution) })
    }

    pub(super) async fn force_run(
        &self,
        caller: &Caller,
        request: proto::ForceRunExecutionRequest,
    ) -> Result<proto::ForceRunExecutionResponse> {
        let execution = self.act(caller, asked!("ForceRunExecution", request), Event::ForceRun).await?;
        Ok(proto::ForceRunExecutionResponse { execution: Some(execution) })
    }

    pub(super) async fn unqueue(
        &self,
        caller: &Caller,
        request: proto::UnqueueExecutionRequest,
    ) -> Result<proto::UnqueueExecutionResponse> {
        let state = match request.state {
            0 => State::Running,
            state => convert::from_state("state", state)?,
        };
        let execution = self.act(caller, asked!("UnqueueExecution", request), Event::Unqueue { state }).await?;
        Ok(proto::UnqueueExecutionResponse { execution: Some(execution) })
    }

    pub(super) async fn set_labels(
        &self,
        caller: &Caller,
        request: proto::SetExecutionLabelsRequest,
    ) -> Result<proto::SetExecutionLabelsResponse> {
        if request.labels.is_empty() {
            return Err(invalid("labels", "at least one"));
        }
        // Whether a system label is one that it has already, the engine knows.
        let labels = convert::any_labels(request.labels.clone())?;
        let execution = self.act(caller, asked!("SetExecutionLabels", request), Event::SetLabels { labels }).await?;
        Ok(proto::SetExecutionLabelsResponse { execution: Some(execution) })
    }

    pub(super) async fn delete(
        &self,
        caller: &Caller,
        request: proto::DeleteExecutionRequest,
    ) -> Result<proto::DeleteExecutionResponse> {
        const METHOD: &str = "DeleteExecution";
        check_request_id(&request.request_id)?;
        if self.0.done_before(&caller.tenant, METHOD, &request.request_id, &request).await? {
            return Ok(proto::DeleteExecutionResponse {});
        }
        let id = execution_id(&request.execution_id)?;
        let also = DeleteAlso { logs: !request.keep_logs, metrics: !request.keep_metrics };
        match self.0.store.delete_execution(&caller.tenant, id, also).await? {
            Deleted::Done => {}
            Deleted::Missing => return Err(execution_not_found(id)),
            Deleted::Open => {
                let message = "only an execution that has ended can be deleted".to_owned();
                return Err(refused(id, Refusal { reason: refusals::NOT_ENDED.to_owned(), message }));
            }
        }
        self.0.audit(caller, "ExecutionService.DeleteExecution", format!("executions/{id}")).await;
        self.0.remember(&caller.tenant, METHOD, &request.request_id, &request).await;
        Ok(proto::DeleteExecutionResponse {})
    }

    /// Hands an event to the owner of the execution, and answers the execution as it is then.
    async fn act<M: Message>(&self, caller: &Caller, asked: Asked<'_, M>, event: Event) -> Result<proto::Execution> {
        let id = execution_id(asked.execution_id)?;
        check_request_id(asked.request_id)?;
        let key = (!asked.request_id.is_empty()).then(|| RequestKey {
            method: asked.method,
            request_id: asked.request_id.to_owned(),
            content: content_of(asked.request),
        });
        let acted = self.0.executor.act(&caller.tenant, id, event, key).await;
        match acted.map_err(names_its_field)? {
            Acted::Done => {
                let execution = self.0.execution(&caller.tenant, id).await?;
                Ok(convert::execution(&execution, false))
            }
            Acted::Refused(refusal) => Err(refused(id, refusal)),
        }
    }
}

/// The execution of an action: a text that is no id names none.
pub(super) fn execution_id(text: &str) -> Result<Id> {
    if text.is_empty() {
        return Err(invalid("execution_id", "is required"));
    }
    text.parse().map_err(|_| execution_not_found(text))
}

/// The task run of an action: a text that is no id names none.
pub(super) fn task_run_id(text: &str) -> Result<Id> {
    if text.is_empty() {
        return Err(invalid("task_run_id", "is required"));
    }
    text.parse().map_err(|_| {
        let message = format!("No task found: the execution has no task run `{text}`");
        Error::new(ErrorKind::InvalidArgument, reasons::TASK_RUN_NOT_FOUND, message.clone())
            .field("task_run_id", message)
    })
}

/// What the engine says, with the code of its reason.
pub(super) fn refused(id: Id, refusal: Refusal) -> Error {
    let Refusal { reason, message } = refusal;
    // Others are refused before.
    let reason = if reason == refusals::INVALID_LABEL { reasons::LABEL_RESERVED.to_owned() } else { reason };
    let Some(row) = reasons::find(&reason) else {
        let text = format!("the engine refused an action with the unknown reason {reason}: {message}");
        return Error::new(ErrorKind::Internal, reasons::INTERNAL, text);
    };
    let error = Error::new(kind_of(row.code), row.name, message.clone()).with("execution", id);
    match row.name {
        reasons::INVALID_INPUT => error.field("inputs", message),
        reasons::TASK_RUN_NOT_FOUND => error.field("task_run_id", message),
        reasons::INVALID_STATE => error.field("state", message),
        reasons::LABEL_RESERVED => error.field("labels", message),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;
    use crate::error::status;

    #[test]
    fn refusals_of_the_engine_keep_their_reason_and_have_its_code() {
        for (reason, code) in [
            (refusals::NOT_RUNNING, Code::FailedPrecondition),
            (refusals::NOT_PAUSED, Code::FailedPrecondition),
            (refusals::NOT_QUEUED, Code::FailedPrecondition),
            (refusals::NOT_ENDED, Code::FailedPrecondition),
            (refusals::ENDED, Code::FailedPrecondition),
            (refusals::KILLED, Code::FailedPrecondition),
            (refusals::NOTHING_TO_RESTART, Code::FailedPrecondition),
            (refusals::INVALID_INPUT, Code::InvalidArgument),
            (refusals::TASK_RUN_NOT_FOUND, Code::InvalidArgument),
            (refusals::INVALID_STATE, Code::InvalidArgument),
        ] {
            let error = refused(Id::default(), Refusal { reason: reason.to_owned(), message: "why".to_owned() });
            assert_eq!((error.reason, error.message.as_str()), (reason, "why"));
            assert_eq!(status(error).code(), code);
        }
        let label = Refusal { reason: refusals::INVALID_LABEL.to_owned(), message: "why".to_owned() };
        assert_eq!(refused(Id::default(), label).reason, reasons::LABEL_RESERVED);
    }

    #[test]
    fn a_text_that_is_no_id_names_no_execution() {
        let error = execution_id("notfound").unwrap_err();
        assert_eq!((error.reason, error.metadata["execution"].as_str()), (reasons::EXECUTION_NOT_FOUND, "notfound"));
        assert_eq!(execution_id("").unwrap_err().fields[0].field, "execution_id");
        assert!(execution_id(&Id::default().to_string()).is_ok());
    }
}
