//! `io.kestra.plugin.core.http.Trigger`: one look at a server (flow model reference 6.7).

use windhover_expression::Environment;
use windhover_flow::{Properties, PropertyError};
use windhover_outbound::Client;
use windhover_types::JsonMap;

use super::{
    call::{Call, MAX_BODY},
    options::Options,
};
use crate::TaskError;

/// The request of one evaluation, rendered.
#[derive(Debug)]
pub struct Poll {
    call: Call,
    /// The body is to be kept encrypted.
    pub encrypt_body: bool,
}

impl Poll {
    /// # Errors
    /// A property that cannot be rendered, or that needs something to be looked up first.
    pub fn render(properties: &Properties, environment: &Environment<'_>) -> Result<Self, PropertyError> {
        let encrypt_body = properties.bool("encryptBody", environment)?.unwrap_or(false);
        Ok(Self { call: Call::render(properties, environment)?, encrypt_body })
    }

    /// Sends it. Whatever status is answered, these are the outputs that `http.Request` would have.
    ///
    /// # Errors
    /// A sentence for the user, in which secrets are not masked yet: there was no answer, or its body is no text.
    pub async fn send(self, client: &Client) -> Result<JsonMap, String> {
        let call = self.call;
        let prepare = || -> Result<_, TaskError> {
            let options = Options::parse(call.options.clone())?;
            let url = call.target()?;
            let request = call.request(&options, url.clone(), Some(MAX_BODY))?;
            Ok((options, url, request))
        };
        let (options, url, request) = prepare().map_err(|error| error.to_string())?;
        let response = client.send(request).await.map_err(|error| error.to_string())?;
        call.outputs(&options, &url, &response)
    }
}
