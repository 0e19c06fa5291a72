//! New executions made of old ones: replays, and restarts with another revision.

use std::sync::Arc;

use windhover_engine::{Execution, From, NewExecution, Repeat, TaskRun, refusals, repeat};
use windhover_executor::{CreateRequest, RequestKey, now};
use windhover_flow::texts_of_secrets;
use windhover_proto::v1 as proto;
use windhover_types::{Id, JsonMap, State, Tenant};

use super::{
    ExecutionApi,
    actions::{execution_id, refused, task_run_id},
};
use crate::{
    auth::Caller,
    convert,
    create::{FLOW_MOVED, Runnable, TRIES, check_request_id, content_of, names_its_field},
    error::Result,
};

/// Task runs that are read at once.
const PAGE: u64 = 1_000;

/// What is to be made of which execution.
struct Wanted {
    old: Id,
    from: From,
    revision: Option<u32>,
    /// In place of the old ones; none: all are kept.
    inputs: JsonMap,
}

impl ExecutionApi {
    pub(super) async fn replay(
        &self,
        caller: &Caller,
        request: proto::ReplayExecutionRequest,
    ) -> Result<proto::ReplayExecutionResponse> {
        let key = key("windhover.v1.ExecutionService/ReplayExecution", &request.request_id, content_of(&request))?;
        let from = match request.task_run_id.as_str() {
            "" => From::Start,
            id => From::TaskRun(task_run_id(id)?),
        };
        let inputs = convert::inputs(request.inputs, self.0.creator.max_input_bytes)?;
        let wanted = Wanted { old: execution_id(&request.execution_id)?, from, revision: request.revision, inputs };
        let execution = self.repeat(&caller.tenant, &wanted, key).await?;
        Ok(proto::ReplayExecutionResponse { execution: Some(execution) })
    }

    /// A restart with another revision.
    pub(super) async fn restart_anew(
        &self,
        caller: &Caller,
        request: proto::RestartExecutionRequest,
    ) -> Result<proto::Execution> {
        let key = key("windhover.v1.ExecutionService/RestartExecution", &request.request_id, content_of(&request))?;
        let old = execution_id(&request.execution_id)?;
        let wanted = Wanted { old, from: From::Failed, revision: request.revision, inputs: JsonMap::new() };
        self.repeat(&caller.tenant, &wanted, key).await
    }

    async fn repeat(&self, tenant: &Tenant, wanted: &Wanted, key: Option<RequestKey>) -> Result<proto::Execution> {
        let mut tries = 0;
        loop {
            let new = match self.repeated(tenant, wanted).await {
                Ok(new) => new,
                // What was made once is the answer again, also when it could not be made any more.
                Err(error) => {
                    let made = self.0.creator.made_before(tenant, key, error).await?;
                    return Ok(convert::execution(&made, false));
                }
            };
            let request = CreateRequest { tenant: tenant.clone(), new, request: key.clone() };
            tries += 1;
            match self.0.executor.create(request).await {
                Ok(created) => return Ok(convert::execution(&created.execution, false)),
                // The flows of this process are new by now.
                Err(error) if error.reason == FLOW_MOVED && tries < TRIES => {}
                Err(error) => return Err(names_its_field(error)),
            }
        }
    }

    /// What the executor is asked to make.
    async fn repeated(&self, tenant: &Tenant, wanted: &Wanted) -> Result<NewExecution> {
        let old = self.0.execution(tenant, wanted.old).await?;
        if wanted.from == From::Failed {
            check_restartable(&old)?;
        }
        let revision = wanted.revision.unwrap_or(old.flow_revision);
        let runnable = self.0.creator.runnable(tenant, &old.namespace, &old.flow_id, Some(revision)).await?;
        let inputs = match wanted.inputs.is_empty() {
            true => None,
            false => {
                Some(self.0.creator.resolve(&runnable, None, &mixed(&runnable, &old, &wanted.inputs), now()).await?)
            }
        };
        let task_runs = match wanted.from {
            From::Start => Vec::new(),
            From::TaskRun(_) | From::Failed => self.all_task_runs(tenant, old.id).await?,
        };
        let made = repeat(Repeat {
            old: &old,
            task_runs: &task_runs,
            from: wanted.from,
            id: self.0.executor.new_id(tenant),
            flow: &runnable.flow,
            revision,
            inputs,
            at: now(),
        });
        made.map_err(|refusal| refused(old.id, refusal))
    }

    async fn all_task_runs(&self, tenant: &Tenant, id: Id) -> Result<Vec<TaskRun>> {
        let mut all: Vec<TaskRun> = Vec::new();
        loop {
            let after = all.last().map(|run| run.seq);
            let page = self.0.task_runs(tenant, id, after, PAGE).await?;
            let last = (page.len() as u64) < PAGE;
            all.extend(page);
            if last {
                return Ok(all);
            }
        }
    }
}

fn key(method: &'static str, request_id: &str, content: [u8; 32]) -> Result<Option<RequestKey>> {
    check_request_id(request_id)?;
    Ok((!request_id.is_empty()).then(|| RequestKey { method, request_id: request_id.to_owned(), content }))
}

/// As for a restart of the execution itself.
fn check_restartable(old: &Execution) -> Result<()> {
    let refuse = |reason: &str, message: String| {
        Err(refused(old.id, windhover_engine::Refusal { reason: reason.to_owned(), message }))
    };
    match old.current() {
        State::Killed => refuse(refusals::KILLED, "an execution that was killed cannot be restarted".to_owned()),
        State::Paused => Ok(()),
        _ if old.is_ended() => Ok(()),
        state => {
            let message =
                format!("only an execution that has ended or is PAUSED can be restarted, and this one is {state}");
            refuse(refusals::NOT_ENDED, message)
        }
    }
}

/// The inputs of the old execution by id, with those that are given instead.
fn mixed(runnable: &Runnable, old: &Execution, given: &JsonMap) -> JsonMap {
    let mut mixed = JsonMap::new();
    let old = Arc::clone(&old.inputs);
    for input in &runnable.flow.inputs {
        if let Some(value) = at_path(&old, &input.id) {
            mixed.insert(input.id.clone(), value.clone());
        }
    }
    let mut given = given.clone();
    texts_of_secrets(&runnable.flow.inputs, &mut given);
    mixed.extend(given);
    mixed
}

/// The value of an input: `a.b` stands in `a` under `b`.
fn at_path<'m>(map: &'m JsonMap, id: &str) -> Option<&'m serde_json::Value> {
    let mut parts = id.split('.');
    let mut value = map.get(parts.next()?)?;
    for part in parts {
        value = value.get(part)?;
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_inputs_with_dots_are_found_where_they_are_kept() {
        let map: JsonMap = serde_json::from_str(r#"{"a": {"b": {"c": 1}}, "d": null}"#).unwrap();
        assert_eq!(at_path(&map, "a.b.c"), Some(&1.into()));
        assert_eq!(at_path(&map, "d"), Some(&serde_json::Value::Null));
        for absent in ["a.x", "a.b.c.d", "x", ""] {
            assert_eq!(at_path(&map, absent), None, "{absent}");
        }
    }
}
