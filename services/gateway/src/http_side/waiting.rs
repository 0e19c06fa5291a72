//! Webhooks that answer when their execution has ended (flow model 1.x reference 6.3).

use std::{sync::Arc, time::Duration};

use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use serde_json::Value;
use tokio::time::Instant;
use windhover_engine::{Execution, Run, execution_variables};
use windhover_executor::{StoredFlow, now};
use windhover_expression::Environment;
use windhover_flow::{Flow, Text, WebhookAnswer};
use windhover_types::Error;

use super::{HttpError, Webhooks, json_response};
use crate::{
    convert::webhook_answer,
    services::{closed, stopping},
};

/// How long a call waits at most. The execution goes on.
const LONGEST: Duration = Duration::from_secs(3_600);
/// How often it looks when nobody tells of a change.
const LOOK: Duration = Duration::from_secs(2);

impl Webhooks {
    /// Waits until the execution has ended with everything that follows its end, and answers as the trigger says. A
    /// caller who goes away ends the waiting, and nothing else.
    pub(super) async fn answer_at_end(
        &self,
        stored: &StoredFlow,
        flow: &Flow,
        created: Execution,
        answer: &WebhookAnswer,
    ) -> Result<Response, HttpError> {
        let execution = self.ended(created).await?;
        let code = self.code(stored, flow, &execution, answer.code.as_ref()).await?;
        if !answer.outputs {
            return Ok(json_response(code, &webhook_answer(&execution, &self.url_of(&execution), now())));
        }
        let outputs = execution.outputs.map_or(Value::Null, Value::Object);
        let mut response = json_response(code, &outputs);
        if answer.plain_text {
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        }
        Ok(response)
    }

    async fn ended(&self, created: Execution) -> Result<Execution, HttpError> {
        let (tenant, id) = (&created.tenant, created.id);
        // Before the first look: no change can come between that and the waiting.
        let mut hints = self.creator.executor.subscribe(tenant, id);
        let mut closing = self.closing.clone();
        let (mut hinted, until) = (true, Instant::now() + LONGEST);
        loop {
            let execution = self.creator.store.get_execution(tenant, id).await.map_err(Error::from)?;
            let Some(execution) = execution else {
                return Err(HttpError::new(StatusCode::GONE, format!("the execution {id} was deleted")));
            };
            if execution.is_ended() {
                return Ok(execution);
            }
            if Instant::now() >= until {
                let message = format!("the execution {id} has not ended within {} s; it goes on", LONGEST.as_secs());
                return Err(HttpError::new(StatusCode::GATEWAY_TIMEOUT, message));
            }
            let look = (Instant::now() + LOOK).min(until);
            tokio::select! {
                () = closed(&mut closing) => return Err(stopping().into()),
                more = hints.changed(), if hinted => hinted = more,
                () = tokio::time::sleep_until(look) => {}
            }
        }
    }

    /// The status of the answer: what the trigger says, rendered over the ended execution; else 500 of one that failed.
    async fn code(
        &self,
        stored: &StoredFlow,
        flow: &Flow,
        execution: &Execution,
        code: Option<&Text>,
    ) -> Result<StatusCode, HttpError> {
        let Some(code) = code else {
            let failed = execution.current().is_failed();
            return Ok(if failed { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK });
        };
        let text = if code.is_literal() {
            code.source().to_owned()
        } else {
            self.rendered(stored, flow, execution, code).await?
        };
        let status = text.trim().parse().ok().filter(|status| (200..600).contains(status));
        status.and_then(|status: u16| StatusCode::from_u16(status).ok()).ok_or_else(|| {
            let message = format!("responseCode: `{text}` is no status of HTTP from 200 to 599");
            HttpError::new(StatusCode::INTERNAL_SERVER_ERROR, message)
        })
    }

    async fn rendered(
        &self,
        stored: &StoredFlow,
        flow: &Flow,
        execution: &Execution,
        text: &Text,
    ) -> Result<String, HttpError> {
        let failed = |why: String| HttpError::new(StatusCode::INTERNAL_SERVER_ERROR, format!("responseCode: {why}"));
        let runs = self.creator.store.ended_task_runs(&execution.tenant, execution.id, None).await;
        let runs = runs.map_err(Error::from)?;
        let count = u32::try_from(runs.len()).unwrap_or(u32::MAX);
        let run = Run::from_stored(execution.clone(), runs, count);
        let own = execution_variables(flow, &run).map_err(|error| failed(error.to_string()))?;
        let templates = &self.creator.templates;
        let mut variables = templates.variables(stored, flow, None);
        for (name, value) in own {
            variables.set_json(name, Arc::new(value));
        }
        let render = |environment: &Environment<'_>| text.render(environment);
        templates.render(stored, &variables, now(), render).await.map_err(failed)
    }
}
