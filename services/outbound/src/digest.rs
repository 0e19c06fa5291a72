//! Digest authentication (RFC 7616; servers that only know RFC 2617 or 2069 are understood as well).

use http::{HeaderMap, HeaderValue, Method, header};
use http_auth::{
    ChallengeParser, PasswordParams,
    digest::{Algorithm, DigestClient},
};
use reqwest::Url;

use crate::Login;

/// What the next request shows.
pub(crate) struct Proof {
    pub(crate) authorization: HeaderValue,
    /// The server said that only the nonce of the one before was too old.
    pub(crate) stale: bool,
}

/// The answer to what a server demands with 401; `None`: it demands no digest, none that is known, or the login cannot
/// be put into one.
///
/// Of several challenges the first counts, as RFC 7616 3.7 says, but MD5 only where nothing better is offered.
pub(crate) fn proof(headers: &HeaderMap, login: &Login, method: &Method, url: &Url) -> Option<Proof> {
    let demands = headers.get_all(header::WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    // What is no list of challenges demands nothing; what is before the mistake counts.
    let challenges = demands.flat_map(|text| ChallengeParser::new(text).map_while(Result::ok));
    let known = challenges.filter_map(|challenge| DigestClient::try_from(&challenge).ok());
    let mut chosen = known.min_by_key(|digest| matches!(digest.algorithm(), Algorithm::Md5))?;
    let target = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let answer = chosen.respond(&PasswordParams {
        username: &login.user,
        password: login.password.expose(),
        uri: &target,
        method: method.as_str(),
        // Bodies stand for themselves (`qop=auth`): few servers can do more.
        body: None,
    });
    let mut authorization = HeaderValue::from_str(&answer.ok()?).ok()?;
    authorization.set_sensitive(true);
    Some(Proof { authorization, stale: chosen.stale() })
}
