//! What follows on a redirect.

use http::{Method, header};
use reqwest::Url;

use crate::Request;

/// At most this many, as browsers and most clients do.
pub(crate) const LIMIT: usize = 10;

/// Where to go next; `None` when the answer is final.
pub(crate) fn next(answer: &reqwest::Response, url: &Url) -> Option<Url> {
    if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = answer.headers().get(header::LOCATION)?.to_str().ok()?;
    url.join(location).ok()
}

/// Changes the request as the status demands (RFC 9110 15.4), and takes what is meant for one origin out of what goes
/// to another.
pub(crate) fn adapt(request: &mut Request, status: u16, from: &Url, to: &Url) {
    let becomes_get = match status {
        301 | 302 => request.method == Method::POST,
        303 => request.method != Method::HEAD && request.method != Method::GET,
        _ => false,
    };
    if becomes_get {
        request.method = Method::GET;
        request.body.clear();
        for name in [header::CONTENT_TYPE, header::CONTENT_LENGTH, header::CONTENT_ENCODING, header::TRANSFER_ENCODING]
        {
            request.headers.remove(name);
        }
    }
    if request.digest.is_some() {
        // It proves one target.
        request.headers.remove(header::AUTHORIZATION);
    }
    if from.origin() != to.origin() {
        for name in [header::AUTHORIZATION, header::COOKIE, header::PROXY_AUTHORIZATION] {
            request.headers.remove(name);
        }
        request.digest = None;
    }
    request.headers.remove(header::HOST);
}
