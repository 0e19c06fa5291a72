//! `http.Request`.

use async_trait::async_trait;
use serde_json::Value;

use super::{
    call::{Call, Exchange, MAX_BODY, log_request, log_response_body, log_response_headers, seal_body},
    failure,
    options::Options,
};
use crate::{Task, TaskContext, TaskError, TaskOutcome};

/// Sends one request and gives its answer back.
pub(crate) struct HttpRequest;

#[async_trait]
impl Task for HttpRequest {
    async fn run(&self, context: &TaskContext) -> Result<TaskOutcome, TaskError> {
        let cipher = match context.bool("encryptBody").await?.unwrap_or(false) {
            true => Some(context.services.secrets.cipher(&context.tenant).await.map_err(TaskError::failed)?),
            false => None,
        };
        let call = Call::of(context).await?;
        let options = Options::parse(call.options.clone())?;
        let url = call.target()?;
        let request = call.request(&options, url.clone(), Some(MAX_BODY))?;
        log_request(context, &options, &request);
        let (sent, method) = (request.body.len(), request.method.to_string());
        let response = context.services.http.send(request).await?;
        log_response_headers(context, &options, &response.headers);
        if cipher.is_none() {
            log_response_body(context, &options, &response);
        }
        let mut outcome = match call.accepts(&options, response.status) {
            true => {
                let mut outputs = call.outputs(&options, &url, &response).map_err(TaskError::failed)?;
                if let Some(cipher) = &cipher {
                    seal_body(&mut outputs, cipher.as_ref()).map_err(TaskError::failed)?;
                }
                TaskOutcome::success(Some(Value::Object(outputs)))
            }
            false => {
                let told = if cipher.is_some() { String::new() } else { response.text_lossy() };
                TaskOutcome::failed(failure(response.status, &told))
            }
        };
        let exchange = Exchange {
            method: &method,
            url: &url,
            sent,
            status: response.status,
            received: response.body.len() as u64,
            length: response.length(),
        };
        exchange.record(&mut outcome);
        Ok(outcome)
    }
}
