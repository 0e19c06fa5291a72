//! Webhooks: a call of a secret URL starts a flow (flow model reference 6.6, 1.x reference 6.3).

use std::{ops::ControlFlow, sync::Arc};

use axum::{
    extract::{Path, Request, State, rejection::PathRejection},
    response::{IntoResponse, Response},
};
use http::{Method, StatusCode};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::watch;
use windhover_engine::{Execution, TriggerInfo};
use windhover_executor::{CreateRequest, StoredFlow, now};
use windhover_expression::ExpressionError;
use windhover_flow::{ConditionError, Flow, Trigger, TriggerKind, WebhookTrigger, evaluate_all, texts_of_secrets};
use windhover_types::{Error, JsonMap, Label, Tenant, Timestamp};

use super::{HttpError, body::trigger_variables, json_response};
use crate::{
    auth::{Authenticator, Rates},
    convert::webhook_answer,
    create::{Creator, FLOW_MOVED, Origin, Runnable, TRIES, new_execution, runnable, trace_parent},
    error::masked,
};

/// What webhooks need.
pub(crate) struct Webhooks {
    pub(crate) creator: Arc<Creator>,
    pub(crate) auth: Arc<Authenticator>,
    pub(crate) rates: Arc<Rates>,
    pub(crate) default_tenant: Tenant,
    /// Where people look at executions, without a slash at its end.
    pub(crate) public_url: String,
    pub(crate) max_body_bytes: usize,
    /// True once the server stops: whoever waits ends.
    pub(crate) closing: watch::Receiver<bool>,
}

type Answer = Result<Response, HttpError>;

pub(crate) async fn in_default_tenant(
    State(webhooks): State<Arc<Webhooks>>,
    path: Result<Path<(String, String, String)>, PathRejection>,
    request: Request,
) -> Answer {
    let Path((namespace, flow, key)) = path?;
    let tenant = webhooks.default_tenant.clone();
    webhooks.call(&tenant, &namespace, &flow, &key, request).await
}

pub(crate) async fn in_tenant(
    State(webhooks): State<Arc<Webhooks>>,
    path: Result<Path<(String, String, String, String)>, PathRejection>,
    request: Request,
) -> Answer {
    let Path((tenant, namespace, flow, key)) = path?;
    // Whoever has no key is not told which tenants there are.
    let Ok(tenant) = Tenant::parse(&tenant) else { return Err(flow_not_found()) };
    webhooks.call(&tenant, &namespace, &flow, &key, request).await
}

/// A webhook that was called, its key checked.
pub(crate) struct Called<'a> {
    pub(crate) stored: Arc<StoredFlow>,
    pub(crate) flow: Arc<Flow>,
    pub(crate) trigger: &'a Trigger,
    pub(crate) webhook: &'a WebhookTrigger,
}

impl Webhooks {
    async fn call(&self, tenant: &Tenant, namespace: &str, flow_id: &str, key: &str, request: Request) -> Answer {
        check_method(request.method())?;
        self.admit(tenant).await?;
        let stored = self.creator.flows.get(tenant, namespace, flow_id, None).await?.ok_or_else(flow_not_found)?;
        let Ok(flow) = stored.flow.clone() else {
            let message = "Illegal state: the flow cannot be run: its source is no longer valid";
            return Err(HttpError::new(StatusCode::CONFLICT, message));
        };
        let Some((trigger, webhook)) = self.with_key(&stored, &flow, key).await else {
            return Err(HttpError::new(StatusCode::NOT_FOUND, "Webhook not found"));
        };
        let called = Called { stored, flow: Arc::clone(&flow), trigger, webhook };
        self.run(called, request).await
    }

    /// The tenant exists and has not used up its rate.
    pub(crate) async fn admit(&self, tenant: &Tenant) -> Result<(), HttpError> {
        let known = self.auth.check_tenant(tenant, now()).await;
        known.map_err(|error| match error.kind {
            windhover_types::ErrorKind::NotFound => flow_not_found(),
            _ => error.into(),
        })?;
        Ok(self.rates.check(tenant)?)
    }

    /// The first enabled webhook of a flow whose key is this one.
    pub(crate) async fn with_key<'a>(
        &self,
        stored: &StoredFlow,
        flow: &'a Flow,
        key: &str,
    ) -> Option<(&'a Trigger, &'a WebhookTrigger)> {
        let mut found = None;
        for (trigger, webhook) in enabled_webhooks(flow) {
            // All are compared, so that the time tells nothing about which one it was.
            if self.has_key(stored, flow, webhook, key).await && found.is_none() {
                found = Some((trigger, webhook));
            }
        }
        found
    }

    async fn has_key(&self, stored: &StoredFlow, flow: &Flow, webhook: &WebhookTrigger, key: &str) -> bool {
        let templates = &self.creator.templates;
        let variables = templates.variables(stored, flow, None);
        match templates.render(stored, &variables, now(), |environment| webhook.key.render(environment)).await {
            Ok(expected) => !expected.trim().is_empty() && same(expected.trim(), key.trim()),
            Err(why) => {
                tracing::warn!(tenant = %stored.tenant, namespace = stored.namespace, flow = stored.id, why, "the key of a webhook cannot be rendered");
                false
            }
        }
    }

    /// Starts the flow, if the conditions hold.
    pub(crate) async fn run(&self, called: Called<'_>, request: Request) -> Answer {
        let (parts, body) = request.into_parts();
        runnable(Arc::clone(&called.stored))?;
        let variables = trigger_variables(&parts.headers, parts.uri.query(), body, self.max_body_bytes).await?;
        let parent = trace_parent(parts.headers.get("traceparent").and_then(|value| value.to_str().ok()));
        let answer = self.start(&called, &variables, parent.clone()).await;
        let Err(Unstarted::FlowMoved(mut moved)) = answer else { return answer.map_err(Unstarted::into_error) };
        // The flow was changed elsewhere at this very moment; the flows of this process are new by now.
        let (tenant, namespace, id) = (&called.stored.tenant, &called.stored.namespace, &called.stored.id);
        for _ in 1..TRIES {
            let latest = self.creator.flows.get(tenant, namespace, id, None).await?.ok_or_else(flow_not_found)?;
            let flow = Arc::clone(&runnable(Arc::clone(&latest))?.flow);
            let same = enabled_webhooks(&flow).find(|(trigger, _)| trigger.id == called.trigger.id);
            let Some((trigger, webhook)) = same else {
                return Err(HttpError::new(StatusCode::NOT_FOUND, "Webhook not found"));
            };
            let called = Called { stored: latest, flow: Arc::clone(&flow), trigger, webhook };
            match self.start(&called, &variables, parent.clone()).await {
                Err(Unstarted::FlowMoved(again)) => moved = again,
                answer => return answer.map_err(Unstarted::into_error),
            }
        }
        Err(moved.into())
    }

    /// Starts the flow as it is known, if the conditions hold.
    async fn start(
        &self,
        called: &Called<'_>,
        variables: &JsonMap,
        parent: Option<String>,
    ) -> Result<Response, Unstarted> {
        let Called { stored, flow, trigger, webhook } = called;
        let runnable = runnable(Arc::clone(stored)).map_err(HttpError::from)?;
        let now = now();
        if !self.conditions_hold(stored, flow, trigger, variables, now).await {
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
        let inputs = match &webhook.inputs {
            None => self.creator.defaults(&runnable, variables, now).await,
            Some(_) => self.inputs(&runnable, webhook, variables, now).await?,
        };
        let labels: Vec<Label> =
            trigger.labels.iter().map(|(key, value)| Label::new(key.source(), value.source())).collect();
        let (id, type_name) = (trigger.id.clone(), trigger.type_name.clone());
        let trigger = Some(TriggerInfo { id, type_name, variables: variables.clone() });
        let origin = Origin { labels: &labels, from: "trigger", trigger, trace_parent: parent };
        let new = new_execution(self.creator.executor.new_id(&stored.tenant), &runnable, inputs, origin);
        let request = CreateRequest { tenant: stored.tenant.clone(), new, request: None };
        let created = self.creator.executor.create(request).await.map_err(|error| match error.reason {
            FLOW_MOVED => Unstarted::FlowMoved(error),
            _ => Unstarted::Error(error.into()),
        })?;
        let created = created.execution;
        match &webhook.wait {
            Some(answer) => Ok(self.answer_at_end(stored, flow, created, answer).await?),
            None => Ok(json_response(StatusCode::OK, &webhook_answer(&created, &self.url_of(&created), now))),
        }
    }

    /// Where people look at an execution.
    pub(super) fn url_of(&self, execution: &Execution) -> String {
        let Execution { tenant, namespace, flow_id, id, .. } = execution;
        format!("{}/ui/{tenant}/executions/{namespace}/{flow_id}/{id}", self.public_url)
    }

    /// Conditions that cannot be evaluated do not hold.
    async fn conditions_hold(
        &self,
        stored: &StoredFlow,
        flow: &Flow,
        trigger: &Trigger,
        variables: &JsonMap,
        now: Timestamp,
    ) -> bool {
        if trigger.conditions.is_empty() {
            return true;
        }
        let templates = &self.creator.templates;
        let seen = templates.variables(stored, flow, Some(variables));
        let held = templates.evaluate_with_mask(stored, &seen, now, |environment| {
            match evaluate_all(&trigger.conditions, None, environment) {
                Err(ConditionError::Expression(ExpressionError::Needs(_))) => ControlFlow::Continue(()),
                other => ControlFlow::Break(other),
            }
        });
        match held.await {
            Some((Ok(held), _)) => held,
            Some((Err(why), masker)) => {
                let why = masker.mask(&why.to_string());
                tracing::warn!(tenant = %stored.tenant, namespace = stored.namespace, flow = stored.id, trigger = trigger.id, %why, "a condition has no answer and does not hold");
                false
            }
            None => false,
        }
    }

    async fn inputs(
        &self,
        runnable: &Runnable,
        webhook: &WebhookTrigger,
        variables: &JsonMap,
        now: Timestamp,
    ) -> Result<JsonMap, HttpError> {
        let Some(given) = &webhook.inputs else { return Ok(JsonMap::new()) };
        let Runnable { stored, flow } = runnable;
        let templates = &self.creator.templates;
        let seen = templates.variables(stored, flow, Some(variables));
        let rendered = templates.render_with_mask(stored, &seen, now, |environment| given.render(environment)).await;
        let invalid =
            |why: String| HttpError::new(StatusCode::UNPROCESSABLE_ENTITY, format!("Invalid entity: inputs: {why}"));
        match rendered.map_err(invalid)? {
            (serde_json::Value::Object(mut supplied), masker) => {
                texts_of_secrets(&flow.inputs, &mut supplied);
                let resolved = self.creator.resolve(runnable, Some(variables), &supplied, now).await;
                Ok(resolved.map_err(|error| masked(error, &masker))?)
            }
            _ => Err(invalid("the webhook's `inputs` are no map".to_owned())),
        }
    }
}

/// Why nothing was started.
enum Unstarted {
    /// The flow was changed since it was looked up.
    FlowMoved(Error),
    Error(HttpError),
}

impl From<HttpError> for Unstarted {
    fn from(error: HttpError) -> Self {
        Self::Error(error)
    }
}

impl Unstarted {
    fn into_error(self) -> HttpError {
        match self {
            Self::FlowMoved(error) => error.into(),
            Self::Error(error) => error,
        }
    }
}

pub(crate) fn enabled_webhooks(flow: &Flow) -> impl Iterator<Item = (&Trigger, &WebhookTrigger)> {
    flow.triggers.iter().filter(|trigger| !trigger.disabled).filter_map(|trigger| match &trigger.kind {
        TriggerKind::Webhook(webhook) => Some((trigger, webhook)),
        TriggerKind::Flow(_) | TriggerKind::Schedule(_) | TriggerKind::Http(_) => None,
    })
}

fn flow_not_found() -> HttpError {
    HttpError::new(StatusCode::NOT_FOUND, "Flow not found")
}

pub(crate) fn check_method(method: &Method) -> Result<(), HttpError> {
    if [Method::GET, Method::POST, Method::PUT].contains(method) {
        return Ok(());
    }
    Err(HttpError::new(StatusCode::METHOD_NOT_ALLOWED, "webhooks take GET, POST and PUT"))
}

/// Whether two keys are the same, in a time that does not depend on where they differ.
fn same(expected: &str, given: &str) -> bool {
    let [a, b] = [expected, given].map(|text| <[u8; 32]>::from(Sha256::digest(text)));
    a.ct_eq(&b).into()
}
