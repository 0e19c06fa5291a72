//! Sending a message, and what is logged about it (notifications reference 1.2, 1.3).

use http::{HeaderValue, Method, header};
use windhover_outbound::{Request, Url};
use windhover_types::Level;

use crate::{
    TaskContext, TaskError,
    http::{Options, failure},
};

/// Path segments and query values of this length are taken for tokens.
const MIN_TOKEN: usize = 8;

/// Posts a JSON text to the task's `url`, under its `options`. Any 2xx is a success.
pub(super) async fn post_json(context: &TaskContext, body: String) -> Result<(), TaskError> {
    let url = context.required_text("url").await?;
    mask_tokens(context, &url);
    let options = Options::parse(context.map("options").await?)?;
    let mut request = Request::new(Method::POST, url);
    request.headers = options.headers.clone();
    request.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    options.apply(&mut request);
    context.log(Level::Debug, &format!("Sending: {body}"));
    request.body = body.into();
    let response = context.services.http.send(request).await?;
    context.log(Level::Debug, &format!("Response: {}", response.text_lossy()));
    if !response.is_success() {
        return Err(TaskError::failed(failure(response.status, &response.text_lossy())));
    }
    if response.status == 200 {
        context.log(Level::Info, "Request succeeded");
    }
    Ok(())
}

/// The tokens of a hook's URL are secrets, whether they came out of the secret store or were written into the flow.
pub(super) fn mask_tokens(context: &TaskContext, url: &str) {
    let Ok(url) = Url::parse(url.trim()) else {
        return;
    };
    let log = context.task_log();
    let segments = url.path_segments().into_iter().flatten().map(str::to_owned);
    let values = url.query_pairs().map(|(_, value)| value.into_owned());
    let password = url.password().map(str::to_owned);
    for token in segments
        .chain(values)
        .chain(password)
        .filter(|token| token.len() >= MIN_TOKEN && token.chars().any(|c| c.is_ascii_digit() || c.is_ascii_uppercase()))
    {
        log.add_secret(&token);
    }
}
