//! `http.Download`: an answer becomes a file of internal storage, piece by piece.

use async_trait::async_trait;
use http::header;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use windhover_outbound::{Incoming, OutboundError, Url};
use windhover_storage::FileUri;
use windhover_types::Level;

use super::{
    call::{Call, Exchange, log_request, log_response_headers, refusal},
    disposition::file_name,
    failure, header_map,
    options::Options,
};
use crate::{Task, TaskContext, TaskError, TaskOutcome, storage::io_failed};

/// Stores what a server sends.
pub(crate) struct Download;

#[async_trait]
impl Task for Download {
    async fn run(&self, context: &TaskContext) -> Result<TaskOutcome, TaskError> {
        let call = Call::of(context).await?;
        let fails_when_empty = context.bool("failOnEmptyResponse").await?.unwrap_or(true);
        let save_as = context.text("saveAs").await?.filter(|name| !name.trim().is_empty());
        let options = Options::parse(call.options.clone())?;
        let url = call.target()?;
        let request = call.request(&options, url.clone(), None)?;
        log_request(context, &options, &request);
        let (sent, method) = (request.body.len(), request.method.to_string());
        let mut answer = context.services.http.open(request).await?;
        log_response_headers(context, &options, &answer.headers);
        let (status, length) = (answer.status, answer.length());

        let mut outcome = if !call.accepts(&options, status) {
            TaskOutcome::failed(failure(status, &refusal(&mut answer).await))
        } else {
            let file = place(context, &answer, save_as.as_deref(), &url)?;
            // A HEAD tells of a body that does not come.
            let expected = if method == "HEAD" { None } else { length };
            let received = store(context, &mut answer, &file, expected).await?;
            let tolerated = call.allow_failed || options.allow_failed;
            if received == 0 && fails_when_empty && !tolerated {
                context.services.files.delete(&context.tenant, &file).await?;
                TaskOutcome::failed("No response from server: the body is empty")
            } else {
                if received == 0 {
                    context.log(Level::Warn, &format!("File '{url}' is empty"));
                }
                context.log(Level::Debug, &format!("File '{url}' downloaded with size '{received}'"));
                TaskOutcome::success(Some(json!({
                    "uri": file.to_string(),
                    "code": status,
                    "length": received,
                    "headers": header_map(&answer.headers),
                })))
            }
        };
        let received = answer.received();
        Exchange { method: &method, url: &url, sent, status, received, length }.record(&mut outcome);
        Ok(outcome)
    }
}

/// Where the file goes: the name that the task gives, the server's, or one of our own with the ending of the address.
fn place(context: &TaskContext, answer: &Incoming, save_as: Option<&str>, url: &Url) -> Result<FileUri, TaskError> {
    let directory = context.directory();
    if let Some(name) = save_as {
        return directory.below(name.trim()).map_err(|error| TaskError::failed(format!("saveAs: {error}")));
    }
    let told = answer.headers.get(header::CONTENT_DISPOSITION).and_then(|value| file_name(value.as_bytes()));
    if let Some(file) = told.and_then(|name| directory.below(&name).ok()) {
        return Ok(file);
    }
    let last = url.path_segments().and_then(Iterator::last).unwrap_or_default();
    let ending = last.rfind('.').map_or("", |at| &last[at..]);
    context.new_file(ending).or_else(|_| context.new_file(""))
}

/// Writes the body; answers its length. Nothing is left of one that does not come whole.
async fn store(
    context: &TaskContext,
    answer: &mut Incoming,
    file: &FileUri,
    expected: Option<u64>,
) -> Result<u64, TaskError> {
    let wrong_size =
        |got: u64, expected: u64| TaskError::failed(format!("Invalid size, got {got}, expected {expected}"));
    let mut writer = context.services.files.writer(&context.tenant, file);
    let ended = loop {
        match answer.chunk().await {
            Ok(Some(piece)) => writer.write_all(&piece).await.map_err(io_failed)?,
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    let received = answer.received();
    let failed = match (ended, expected) {
        (Ok(()), Some(expected)) if received != expected => Some(wrong_size(received, expected)),
        (Ok(()), _) => None,
        // The connection ended before the body did.
        (Err(OutboundError::Failed { .. }), Some(expected)) if received < expected => {
            Some(wrong_size(received, expected))
        }
        (Err(error), _) => Some(error.into()),
    };
    if let Some(error) = failed {
        // What was sent of it already is taken back; the first error is the one to tell.
        let _ = writer.abort().await;
        return Err(error);
    }
    writer.shutdown().await.map_err(io_failed)?;
    Ok(received)
}
