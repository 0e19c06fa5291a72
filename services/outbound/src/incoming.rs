//! An answer whose body is still to come.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use reqwest::Url;
use tokio::time::{Instant, timeout_at};

use crate::{OutboundError, Response, client::host_of};

/// Status and headers of an answer, and its body piece by piece. Dropping it ends the connection.
#[derive(Debug)]
pub struct Incoming {
    /// Where it comes from, after redirects.
    pub url: Url,
    pub status: u16,
    pub headers: HeaderMap,
    host: String,
    answer: reqwest::Response,
    limit: u64,
    received: u64,
    until: Instant,
}

impl Incoming {
    pub(crate) fn new((url, mut answer): (Url, reqwest::Response), limit: u64, until: Instant) -> Self {
        let (status, headers) = (answer.status().as_u16(), std::mem::take(answer.headers_mut()));
        Self { host: host_of(&url), url, status, headers, answer, limit, received: 0, until }
    }

    /// The length of the body in bytes, where the server has told it.
    pub fn length(&self) -> Option<u64> {
        self.headers.get(http::header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
    }

    /// How much of the body has come so far, in bytes.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// The next piece of the body; `None` at its end.
    ///
    /// # Errors
    /// The connection broke, the time is over, or the body is larger than was allowed.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, OutboundError> {
        let host = &self.host;
        let late = || OutboundError::Timeout { host: host.clone() };
        // Asked for by itself: a timeout does not end what is always ready.
        if Instant::now() >= self.until {
            return Err(late());
        }
        let piece = match timeout_at(self.until, self.answer.chunk()).await {
            Ok(piece) => piece.map_err(|error| OutboundError::from_reqwest(&self.host, error))?,
            Err(_) => return Err(late()),
        };
        let Some(piece) = piece else { return Ok(None) };
        self.received += piece.len() as u64;
        if self.received > self.limit { Err(self.too_large()) } else { Ok(Some(piece)) }
    }

    /// The whole answer. Of one to HEAD, the length is that of a body that does not come.
    pub(crate) async fn read(mut self, is_head: bool) -> Result<Response, OutboundError> {
        if !is_head && self.length().is_some_and(|length| length > self.limit) {
            return Err(self.too_large());
        }
        let mut body = BytesMut::new();
        while let Some(piece) = self.chunk().await? {
            body.extend_from_slice(&piece);
        }
        let Self { url, status, headers, .. } = self;
        Ok(Response { url, status, headers, body: body.freeze() })
    }

    fn too_large(&self) -> OutboundError {
        OutboundError::TooLarge { host: self.host.clone(), limit: self.limit }
    }
}
