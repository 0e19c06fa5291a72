//! From a request to an execution: the flow, its inputs, labels, identity.

use std::{ops::ControlFlow, sync::Arc};

use prost::Message;
use serde_json::Value;
use sha2::{Digest, Sha256};
use windhover_engine::{Execution, NewExecution, TriggerInfo};
use windhover_executor::{CreateRequest, ExecutorHandle, Flows, RequestKey, StoredFlow, now};
use windhover_flow::{
    Flow, Input, InputKind, InputsError, fill_defaults, resolve_inputs, seal_given, texts_of_secrets,
};
use windhover_proto::{reasons, v1 as proto};
use windhover_storage::{FileUri, Files, FilesError};
use windhover_store::Store;
use windhover_types::{
    Error, ErrorKind, Id, JsonMap, Label, StateHistory, Tenant, Timestamp, correlation_id, merge_labels,
};

use crate::{
    checks, convert,
    error::{Result, invalid, masked},
    templates::Templates,
};

/// Method of request ids: one for single requests and batches, so that either may repeat the other.
const METHOD: &str = "windhover.v1.ExecutionService/CreateExecution";
const MAX_REQUEST_ID: usize = 128;

/// The executor's reason when a flow was changed elsewhere since it was looked up.
pub(crate) const FLOW_MOVED: &str = "FLOW_MOVED";
/// How often an execution is made out again for that.
pub(crate) const TRIES: u32 = 4;

/// Makes executions for calls and webhooks.
pub(crate) struct Creator {
    pub(crate) store: Store,
    pub(crate) flows: Flows,
    pub(crate) executor: ExecutorHandle,
    pub(crate) templates: Templates,
    pub(crate) max_input_bytes: usize,
    /// Internal storage.
    pub(crate) files: Option<Files>,
}

/// What a request says.
struct Given {
    namespace: String,
    flow_id: String,
    revision: Option<u32>,
    inputs: JsonMap,
    labels: Vec<Label>,
    schedule_time: Option<Timestamp>,
}

/// A flow that can be run.
pub(crate) struct Runnable {
    pub(crate) stored: Arc<StoredFlow>,
    pub(crate) flow: Arc<Flow>,
}

impl Creator {
    /// Creates what a call asks for.
    pub(crate) async fn create(
        &self,
        tenant: &Tenant,
        request: proto::CreateExecutionRequest,
        trace_parent: Option<String>,
    ) -> Result<Execution> {
        let key = request_key(&request)?;
        let given = match self.read(request) {
            Ok(given) => given,
            Err(error) => return self.made_before(tenant, key, error).await,
        };
        let mut tries = 0;
        loop {
            let new = match self.prepare(tenant, &given, trace_parent.clone()).await {
                Ok(new) => new,
                // What was made once is the answer again, also when it could not be made any more.
                Err(error) => return self.made_before(tenant, key, error).await,
            };
            let request = CreateRequest { tenant: tenant.clone(), new, request: key.clone() };
            tries += 1;
            match self.executor.create(request).await {
                Ok(created) => return Ok(created.execution),
                // The flows of this process are new by now.
                Err(error) if error.reason == FLOW_MOVED && tries < TRIES => {}
                Err(error) => return Err(names_its_field(error)),
            }
        }
    }

    /// What a request says, as far as that is right whatever the flow is.
    fn read(&self, request: proto::CreateExecutionRequest) -> Result<Given> {
        Ok(Given {
            labels: convert::request_labels(request.labels)?,
            schedule_time: request.schedule_time.map(|at| convert::from_time("schedule_time", at)).transpose()?,
            inputs: convert::inputs(request.inputs, self.max_input_bytes)?,
            namespace: request.namespace,
            flow_id: request.flow_id,
            revision: request.revision,
        })
    }

    async fn prepare(&self, tenant: &Tenant, given: &Given, trace_parent: Option<String>) -> Result<NewExecution> {
        let now = now();
        let runnable = self.runnable(tenant, &given.namespace, &given.flow_id, given.revision).await?;
        let mut supplied = given.inputs.clone();
        texts_of_secrets(&runnable.flow.inputs, &mut supplied);
        let inputs = self.resolve(&runnable, None, &supplied, now).await?;
        let id = self.executor.new_id(tenant);
        let inputs = self.take_uploads(tenant, &runnable, id, inputs).await?;
        let fail = checks::look_at(&self.templates, &runnable, &inputs, now).await?;
        let from = Origin { labels: &given.labels, from: "api", trigger: None, trace_parent };
        let new = new_execution(id, &runnable, inputs, from);
        Ok(NewExecution { schedule_time: given.schedule_time.filter(|at| *at > now), fail, ..new })
    }

    /// Gives the execution copies of its own of the files that were sent for its inputs.
    async fn take_uploads(
        &self,
        tenant: &Tenant,
        runnable: &Runnable,
        execution: Id,
        mut inputs: JsonMap,
    ) -> Result<JsonMap> {
        let Some(files) = &self.files else { return Ok(inputs) };
        let flow = &runnable.flow;
        let of_files = flow.inputs.iter().filter(|input| matches!(input.kind, InputKind::File { .. }));
        for input in of_files {
            let Some(value) = at_path(&mut inputs, &input.id) else { continue };
            let uri = value.as_str().and_then(|text| text.parse::<FileUri>().ok()).filter(FileUri::is_upload);
            let Some(uri) = uri else { continue };
            let wrong = |why: String| {
                let field = format!("inputs.{}", input.id);
                Error::new(ErrorKind::InvalidArgument, reasons::INVALID_INPUT, why.clone()).field(field, why)
            };
            let own = FileUri::input(&flow.namespace, &flow.id, execution, &input.id).below(uri.name());
            let own = own.map_err(|error| wrong(error.to_string()))?;
            files.copy(tenant, &uri, &own).await.map_err(|error| match error {
                FilesError::NotFound(uri) => wrong(format!("the file {uri} was not found; send it again")),
                other => Error::new(ErrorKind::Unavailable, reasons::UNAVAILABLE, other.to_string()),
            })?;
            *value = Value::String(own.to_string());
        }
        Ok(inputs)
    }

    /// The flow, if it may be run.
    ///
    /// # Errors
    /// FLOW_NOT_FOUND, FLOW_DISABLED, INVALID_FLOW when what is stored can no longer be read.
    pub(crate) async fn runnable(
        &self,
        tenant: &Tenant,
        namespace: &str,
        flow_id: &str,
        revision: Option<u32>,
    ) -> Result<Runnable> {
        for (field, value) in [("namespace", namespace), ("flow_id", flow_id)] {
            if value.is_empty() {
                return Err(invalid(field, "is required"));
            }
        }
        let latest = self.flows.get(tenant, namespace, flow_id, None).await?;
        let found = match revision {
            // A revision of a flow that was deleted is not run either.
            Some(_) if latest.is_some() => self.flows.get(tenant, namespace, flow_id, revision).await?,
            _ => latest.clone(),
        };
        let Some(stored) = found else { return Err(flow_not_found(namespace, flow_id, revision)) };
        runnable(stored)
    }

    /// Encrypts what is given for inputs of type SECRET, for whoever resolves them later.
    ///
    /// # Errors
    /// INVALID_INPUT: there is no key.
    pub(crate) async fn seal<'i>(
        &self,
        tenant: &Tenant,
        inputs: impl Iterator<Item = &'i Input>,
        given: &mut JsonMap,
    ) -> Result<()> {
        let secret: Vec<&Input> =
            inputs.filter(|input| input.kind.is_secret() && given.contains_key(&input.id)).collect();
        if secret.is_empty() {
            return Ok(());
        }
        let wrong = |why: String| Error::new(ErrorKind::InvalidArgument, reasons::INVALID_INPUT, why);
        let cipher = self.templates.cipher(tenant).await.map_err(wrong)?;
        seal_given(secret, given, |secret| cipher.seal(secret)).map_err(wrong)
    }

    /// The values of the inputs; those of type SECRET sealed.
    ///
    /// # Errors
    /// INVALID_INPUT with every wrong input.
    pub(crate) async fn resolve(
        &self,
        runnable: &Runnable,
        trigger: Option<&JsonMap>,
        supplied: &JsonMap,
        now: Timestamp,
    ) -> Result<JsonMap> {
        let Runnable { stored, flow } = runnable;
        if flow.inputs.is_empty() {
            return Ok(JsonMap::new());
        }
        let variables = self.templates.variables(stored, flow, trigger);
        let resolved = self.templates.evaluate_with_mask(stored, &variables, now, |environment| {
            match resolve_inputs(&flow.inputs, supplied, environment) {
                Err(InputsError::Needs(_)) => ControlFlow::Continue(()),
                other => ControlFlow::Break(other),
            }
        });
        match resolved.await {
            Some((Ok(resolved), _)) => Ok(resolved.values),
            Some((Err(error), masker)) => Err(masked(invalid_inputs(error), &masker)),
            None => Err(invalid_inputs(InputsError::Needs(String::new()))),
        }
    }

    /// The values of the inputs of a trigger that gives none: defaults, and nothing is required.
    pub(crate) async fn defaults(&self, runnable: &Runnable, trigger: &JsonMap, now: Timestamp) -> JsonMap {
        let Runnable { stored, flow } = runnable;
        if flow.inputs.is_empty() {
            return JsonMap::new();
        }
        let variables = self.templates.variables(stored, flow, Some(trigger));
        let filled = self.templates.evaluate(stored, &variables, now, |environment| {
            match fill_defaults(&flow.inputs, &JsonMap::new(), environment) {
                Err(InputsError::Needs(_)) => ControlFlow::Continue(()),
                other => ControlFlow::Break(other),
            }
        });
        match filled.await {
            Some(Ok(filled)) => filled,
            Some(Err(error)) => {
                let (namespace, flow) = (&stored.namespace, &stored.id);
                tracing::warn!(tenant = %stored.tenant, namespace, flow, %error, "an execution has no defaults");
                JsonMap::new()
            }
            None => JsonMap::new(),
        }
    }

    /// The answer to a request that was made before, else the error.
    pub(crate) async fn made_before(
        &self,
        tenant: &Tenant,
        key: Option<RequestKey>,
        error: Error,
    ) -> Result<Execution> {
        let Some(key) = key else { return Err(error) };
        let Some(row) = self.store.request_id(tenant, key.method, &key.request_id, now()).await? else {
            return Err(error);
        };
        if row.content != key.content {
            return Err(error);
        }
        let Ok(id) = row.result.parse() else { return Err(error) };
        let Some(execution) = self.store.get_execution(tenant, id).await? else { return Err(error) };
        Ok(as_created(execution))
    }
}

/// An execution as it was when it was created.
fn as_created(execution: Execution) -> Execution {
    let first = execution.state.entries()[0];
    Execution { state: StateHistory::new(first.state, first.at), outputs: None, error: None, version: 1, ..execution }
}

/// The value of an input; dots in its id lead into maps.
fn at_path<'a>(inputs: &'a mut JsonMap, id: &str) -> Option<&'a mut Value> {
    let mut parts = id.split('.');
    let mut at = inputs.get_mut(parts.next()?)?;
    for part in parts {
        at = at.get_mut(part)?;
    }
    Some(at)
}

/// The flow, if it may be run.
pub(crate) fn runnable(stored: Arc<StoredFlow>) -> Result<Runnable> {
    let name = |error: Error| error.with("namespace", &stored.namespace).with("flow", &stored.id);
    let flow = match &stored.flow {
        Ok(flow) => Arc::clone(flow),
        Err(why) => {
            let message = format!("the flow {}.{} cannot be run: {why}", stored.namespace, stored.id);
            return Err(name(Error::new(ErrorKind::InvalidArgument, reasons::INVALID_FLOW, message)));
        }
    };
    if flow.disabled {
        let message = format!("the flow {}.{} is disabled", stored.namespace, stored.id);
        return Err(name(Error::new(ErrorKind::FailedPrecondition, reasons::FLOW_DISABLED, message)));
    }
    Ok(Runnable { stored, flow })
}

pub(crate) fn flow_not_found(namespace: &str, flow_id: &str, revision: Option<u32>) -> Error {
    let message = match revision {
        Some(revision) => format!("there is no revision {revision} of a flow {namespace}.{flow_id}"),
        None => format!("there is no flow {namespace}.{flow_id}"),
    };
    Error::new(ErrorKind::NotFound, reasons::FLOW_NOT_FOUND, message).with("namespace", namespace).with("flow", flow_id)
}

/// A request id that was used otherwise is a wrong field.
pub(crate) fn names_its_field(error: Error) -> Error {
    if error.reason == reasons::REQUEST_ID_REUSED && error.fields.is_empty() {
        let why = error.message.clone();
        return error.field("request_id", why);
    }
    error
}

/// What an execution comes from.
pub(crate) struct Origin<'a> {
    /// They win over the flow's.
    pub(crate) labels: &'a [Label],
    /// The label `system.from`.
    pub(crate) from: &'a str,
    pub(crate) trigger: Option<TriggerInfo>,
    pub(crate) trace_parent: Option<String>,
}

/// What the executor is asked to make. Windhover's own labels come last.
pub(crate) fn new_execution(id: Id, runnable: &Runnable, inputs: JsonMap, origin: Origin<'_>) -> NewExecution {
    let Runnable { stored, flow } = runnable;
    let Origin { labels: given, from, trigger, trace_parent } = origin;
    let own: Vec<Label> = flow.labels.iter().filter(|label| !label.is_system()).cloned().collect();
    let mut system = Vec::new();
    if !given.iter().any(|label| label.key == Label::CORRELATION_ID) {
        system.push(correlation_id(id));
    }
    system.push(Label::new(Label::FROM, from));
    NewExecution {
        id,
        namespace: stored.namespace.clone(),
        flow_id: stored.id.clone(),
        flow_revision: stored.revision,
        labels: merge_labels([own.as_slice(), given, system.as_slice()]),
        inputs: Arc::new(inputs),
        variables: flow.initial_variables(),
        trigger,
        parent: None,
        schedule_time: None,
        trace_parent,
        marks: Default::default(),
        original_id: None,
        fail: None,
        task_runs: Vec::new(),
    }
}

fn invalid_inputs(error: InputsError) -> Error {
    let message = error.to_string();
    let made = |message| Error::new(ErrorKind::InvalidArgument, reasons::INVALID_INPUT, message);
    match error {
        InputsError::Invalid(errors) => errors
            .into_iter()
            .fold(made(message), |all, error| all.field(format!("inputs.{}", error.input), error.message)),
        InputsError::Needs(_) => {
            let why = "a default needs something that is not available before the execution runs";
            made(why.to_owned()).field("inputs", why)
        }
    }
}

/// A request id of a call.
pub(crate) fn check_request_id(request_id: &str) -> Result<()> {
    if request_id.chars().count() > MAX_REQUEST_ID {
        return Err(invalid("request_id", format!("at most {MAX_REQUEST_ID} characters")));
    }
    Ok(())
}

fn request_key(request: &proto::CreateExecutionRequest) -> Result<Option<RequestKey>> {
    check_request_id(&request.request_id)?;
    Ok((!request.request_id.is_empty()).then(|| RequestKey {
        method: METHOD,
        request_id: request.request_id.clone(),
        content: content_of(request),
    }))
}

/// Identity of what a request asks for: maps are sorted, so the same request always has the same bytes.
pub(crate) fn content_of<M: Message>(request: &M) -> [u8; 32] {
    Sha256::digest(request.encode_to_vec()).into()
}

/// A W3C `traceparent` of version 00, if it is one.
pub(crate) fn trace_parent(text: Option<&str>) -> Option<String> {
    let text = text?.trim();
    let lengths = [2, 32, 16, 2];
    let parts: Vec<&str> = text.split('-').collect();
    let hex = |part: &&str| part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let good = parts.len() == 4
        && parts.iter().zip(lengths).all(|(part, length)| part.len() == length)
        && parts.iter().all(hex)
        && parts[0] == "00"
        && [parts[1], parts[2]].iter().all(|part| part.bytes().any(|b| b != b'0'));
    good.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_trace_parents_are_taken_over() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(trace_parent(Some(good)).as_deref(), Some(good));
        for bad in [
            "",
            "00-1-2-3",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(trace_parent(Some(bad)), None, "{bad}");
        }
        assert_eq!(trace_parent(None), None);
    }

    #[test]
    fn the_same_request_has_the_same_content_whatever_the_order_of_its_inputs() {
        let json = |text: &str| proto::Json { text: text.into() };
        let request = |inputs: Vec<(&str, &str)>| proto::CreateExecutionRequest {
            namespace: "a".into(),
            inputs: inputs.into_iter().map(|(id, text)| (id.to_owned(), json(text))).collect(),
            ..Default::default()
        };
        assert_eq!(
            content_of(&request(vec![("a", "1"), ("b", "2")])),
            content_of(&request(vec![("b", "2"), ("a", "1")]))
        );
        assert_ne!(content_of(&request(vec![("a", "1")])), content_of(&request(vec![("a", "2")])));
    }
}
