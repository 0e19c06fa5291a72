//! Following an execution through lost connections.

use std::time::Duration;

use futures::{Stream, stream};
use tokio::time::{Instant, sleep, timeout};
use tonic::Streaming;

use crate::{
    Client, ClientError,
    seen::{Seen, Shown},
    v1::{FollowExecutionRequest, FollowExecutionResponse, follow_execution_response::Event},
};

/// What to follow.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FollowOptions {
    /// What is asked of the server; its cursor is where to begin.
    pub request: FollowExecutionRequest,
    /// How long to try to get the connection back before giving up. Default 60 s.
    pub give_up_after: Duration,
}

impl FollowOptions {
    pub fn new(execution_id: impl Into<String>) -> Self {
        Self {
            request: FollowExecutionRequest { execution_id: execution_id.into(), ..FollowExecutionRequest::default() },
            give_up_after: Duration::from_secs(60),
        }
    }
}

/// A running follow. Take its messages with [`Follow::next`] or make a stream of it.
///
/// Keep-alives are not shown. After a lost connection it goes on behind the last message, with whichever server answers; a
/// log line is shown once, and an execution or task run only when it differs from what was shown of it last.
#[derive(Debug)]
pub struct Follow {
    client: Client,
    options: FollowOptions,
    connection: Option<Streaming<FollowExecutionResponse>>,
    seen: Seen,
    shown: Shown,
    /// When the connection was lost, and how often it was tried since.
    lost: Option<(Instant, u32)>,
    done: bool,
}

/// The server says something at least every 15 s.
const SILENCE: Duration = Duration::from_secs(45);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

impl Follow {
    pub(crate) fn new(client: Client, options: FollowOptions) -> Self {
        Self {
            client,
            options,
            connection: None,
            seen: Seen::default(),
            shown: Shown::default(),
            lost: None,
            done: false,
        }
    }

    /// The cursor behind the last message, with which another follow goes on.
    pub fn cursor(&self) -> &str {
        &self.options.request.cursor
    }

    /// The next message; `None` after the end. After an error there is nothing more. Giving up waiting for it (`select!`,
    /// `timeout`) loses nothing.
    pub async fn next(&mut self) -> Option<Result<FollowExecutionResponse, ClientError>> {
        while !self.done {
            match self.receive().await {
                Ok(message) => {
                    self.lost = None;
                    if let Some(message) = self.take(message) {
                        return Some(Ok(message));
                    }
                }
                Err(error) if error.is_transient() && self.may_try_again() => {
                    self.connection = None;
                    self.pause().await;
                }
                Err(error) => {
                    self.done = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }

    /// The messages as a stream.
    pub fn into_stream(self) -> impl Stream<Item = Result<FollowExecutionResponse, ClientError>> + Send {
        stream::unfold(self, |mut follow| async move { follow.next().await.map(|item| (item, follow)) })
    }

    async fn receive(&mut self) -> Result<FollowExecutionResponse, ClientError> {
        let silent = |_| ClientError::unavailable("the server said nothing for 45 seconds".to_owned());
        if self.connection.is_none() {
            let request = self.options.request.clone();
            let mut service = self.client.execution_service();
            let opened = timeout(SILENCE, service.follow_execution(request)).await.map_err(silent)??;
            self.connection = Some(opened.into_inner());
        }
        let closed = || ClientError::unavailable("the connection was closed before the end".to_owned());
        let connection = self.connection.as_mut().ok_or_else(closed)?;
        timeout(SILENCE, connection.message()).await.map_err(silent)??.ok_or_else(closed)
    }

    /// Remembers where it is; drops what says nothing new.
    fn take(&mut self, message: FollowExecutionResponse) -> Option<FollowExecutionResponse> {
        if !message.cursor.is_empty() {
            self.options.request.cursor.clone_from(&message.cursor);
        }
        match &message.event {
            Some(Event::KeepAlive(_)) | None => return None,
            Some(Event::LogLine(line)) if !self.seen.first_time(line.position) => return None,
            Some(Event::Execution(execution)) if !self.shown.execution_changed(execution) => return None,
            Some(Event::TaskRun(run)) if !self.shown.task_run_changed(run) => return None,
            Some(Event::End(_)) => self.done = true,
            Some(_) => {}
        }
        Some(message)
    }

    fn may_try_again(&self) -> bool {
        self.lost.is_none_or(|(since, _)| since.elapsed() < self.options.give_up_after)
    }

    async fn pause(&mut self) {
        let (since, tries) = self.lost.unwrap_or((Instant::now(), 0));
        self.lost = Some((since, tries + 1));
        sleep((FIRST_PAUSE * 2u32.saturating_pow(tries.min(10))).min(LONGEST_PAUSE)).await;
    }
}
