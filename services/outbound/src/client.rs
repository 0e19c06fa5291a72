//! Sends requests.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use http::{StatusCode, header::AUTHORIZATION};
use parking_lot::Mutex;
use reqwest::Url;
use tokio::time::{Instant, timeout_at};

use crate::{
    AddressPolicy, Incoming, OutboundError, ProxyKind, Request, Response, USER_AGENT,
    digest::{self, Proof},
    install_tls_provider, redirect,
    resolver::CheckedResolver,
};

/// Limits of all outgoing calls.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    pub addresses: AddressPolicy,
    /// Upper bound of [`Request::timeout`]. Default: 1 h.
    pub timeout: Duration,
    /// Used by requests that name none. Default: 30 s.
    pub connect_timeout: Duration,
    /// Used by requests that name none. Default: 5 min (flow model reference 5.4).
    pub read_idle_timeout: Duration,
    /// Upper bound of [`Request::max_response_bytes`] where an answer is read into memory. Default: 64 MiB.
    pub max_response_bytes: usize,
    /// The same where it is read piece by piece. Default: 16 GiB.
    pub max_stream_bytes: u64,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            addresses: AddressPolicy::public(),
            timeout: Duration::from_secs(3_600),
            connect_timeout: Duration::from_secs(30),
            read_idle_timeout: Duration::from_secs(300),
            max_response_bytes: 64 << 20,
            max_stream_bytes: 16 << 30,
        }
    }
}

/// What the HTTP library fixes per client, and differs between requests.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Variant {
    connect_timeout: Duration,
    read_idle_timeout: Duration,
    insecure_tls: bool,
}

/// More combinations than this are not kept: they would be made up by somebody's templates.
const MAX_VARIANTS: usize = 32;

/// The HTTP client. Cheap to clone; clones share connections.
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: ClientConfig,
    clients: Mutex<HashMap<Variant, reqwest::Client>>,
}

impl Client {
    /// # Errors
    /// When the TLS library refuses to start (no usable root certificates).
    pub fn new(config: ClientConfig) -> Result<Self, OutboundError> {
        install_tls_provider();
        let usual = Variant {
            connect_timeout: config.connect_timeout,
            read_idle_timeout: config.read_idle_timeout,
            insecure_tls: false,
        };
        let client = build(&config, &usual, None)?;
        let clients = Mutex::new(HashMap::from([(usual, client)]));
        Ok(Self { shared: Arc::new(Shared { config, clients }) })
    }

    /// Sends a request and reads the answer to its end. A status of 400 and more is an answer, not an error.
    pub async fn send(&self, request: Request) -> Result<Response, OutboundError> {
        let most = self.shared.config.max_response_bytes;
        let limit = request.max_response_bytes.unwrap_or(most).min(most);
        let is_head = request.method == http::Method::HEAD;
        self.within(request, limit as u64).await?.read(is_head).await
    }

    /// Sends a request and answers as soon as status and headers are there: the body is read piece by piece, in the time
    /// that is left of the request's.
    pub async fn open(&self, request: Request) -> Result<Incoming, OutboundError> {
        let most = self.shared.config.max_stream_bytes;
        let limit = request.max_response_bytes.map_or(most, |limit| most.min(limit as u64));
        self.within(request, limit).await
    }

    async fn within(&self, request: Request, limit: u64) -> Result<Incoming, OutboundError> {
        let config = &self.shared.config;
        let until = Instant::now() + request.timeout.unwrap_or(config.timeout).min(config.timeout);
        let host = host_of(&parse(&request.url)?);
        match timeout_at(until, self.follow(request)).await {
            Ok(Ok(answer)) => Ok(Incoming::new(answer, limit, until)),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(OutboundError::Timeout { host }),
        }
    }

    async fn follow(&self, mut request: Request) -> Result<(Url, reqwest::Response), OutboundError> {
        let client = self.client_for(&request)?;
        let mut url = parse(&request.url)?;
        for _ in 0..=redirect::LIMIT {
            let answer = self.let_in(&client, &mut request, &url).await?;
            let next = if request.follow_redirects { redirect::next(&answer, &url) } else { None };
            let Some(next) = next else {
                return Ok((url, answer));
            };
            let next = parse(next.as_str())?;
            redirect::adapt(&mut request, answer.status().as_u16(), &url, &next);
            url = next;
        }
        Err(OutboundError::TooManyRedirects { host: host_of(&url), limit: redirect::LIMIT })
    }

    /// Sends it, and again with a proof of who asks when the server demands one; twice at most, the second time for a
    /// nonce that was too old.
    async fn let_in(
        &self,
        client: &reqwest::Client,
        request: &mut Request,
        url: &Url,
    ) -> Result<reqwest::Response, OutboundError> {
        let mut answer = self.once(client, request, url.clone()).await?;
        for again in [false, true] {
            let Some(login) = request.digest.as_ref().filter(|_| answer.status() == StatusCode::UNAUTHORIZED) else {
                break;
            };
            let proof = digest::proof(answer.headers(), login, &request.method, url);
            let Some(Proof { authorization, .. }) = proof.filter(|proof| proof.stale || !again) else { break };
            request.headers.insert(AUTHORIZATION, authorization);
            answer = self.once(client, request, url.clone()).await?;
        }
        Ok(answer)
    }

    async fn once(
        &self,
        client: &reqwest::Client,
        request: &Request,
        url: Url,
    ) -> Result<reqwest::Response, OutboundError> {
        let host = host_of(&url);
        self.check_literal(url.host_str().unwrap_or_default(), &host)?;
        let mut sending = client.request(request.method.clone(), url).headers(request.headers.clone());
        if !request.body.is_empty() {
            sending = sending.body(request.body.clone());
        }
        sending.send().await.map_err(|error| OutboundError::from_reqwest(&host, error))
    }

    /// The addresses of a host that may be called, for connections that are not HTTP. Whoever connects takes one of them,
    /// and does not look the name up again.
    ///
    /// # Errors
    /// The name is not known, or none of its addresses is allowed.
    pub async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, OutboundError> {
        let failed =
            |error: std::io::Error| OutboundError::Connect { host: host.to_owned(), reason: error.to_string() };
        let mut refused = None;
        let mut allowed = Vec::new();
        for address in tokio::net::lookup_host((host, port)).await.map_err(failed)? {
            match self.shared.config.addresses.check(address.ip()) {
                Ok(()) => allowed.push(address),
                Err(kind) => refused = Some(kind),
            }
        }
        match refused {
            Some(kind) if allowed.is_empty() => Err(OutboundError::Refused { host: host.to_owned(), kind }),
            _ => Ok(allowed),
        }
    }

    /// Addresses that are written out never come to the resolver.
    fn check_literal(&self, literal: &str, host: &str) -> Result<(), OutboundError> {
        match literal.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            Ok(address) => self
                .shared
                .config
                .addresses
                .check(address)
                .map_err(|kind| OutboundError::Refused { host: host.to_owned(), kind }),
            Err(_) => Ok(()),
        }
    }

    fn client_for(&self, request: &Request) -> Result<reqwest::Client, OutboundError> {
        let config = &self.shared.config;
        let variant = Variant {
            connect_timeout: request.connect_timeout.unwrap_or(config.connect_timeout),
            read_idle_timeout: request.read_idle_timeout.unwrap_or(config.read_idle_timeout),
            insecure_tls: request.insecure_tls,
        };
        if let Some(proxy) = &request.proxy {
            // Not kept: its key would hold credentials.
            self.check_literal(&proxy.address, &proxy.address)?;
            return build(config, &variant, Some(proxy_of(proxy)?));
        }
        let mut clients = self.shared.clients.lock();
        if let Some(client) = clients.get(&variant) {
            return Ok(client.clone());
        }
        let client = build(config, &variant, None)?;
        if clients.len() < MAX_VARIANTS {
            clients.insert(variant, client.clone());
        }
        Ok(client)
    }
}

fn build(
    config: &ClientConfig,
    variant: &Variant,
    proxy: Option<reqwest::Proxy>,
) -> Result<reqwest::Client, OutboundError> {
    let mut builder = reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .dns_resolver(CheckedResolver { policy: config.addresses.clone() })
        // Redirects are followed here, so that each address is checked.
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(variant.connect_timeout)
        .read_timeout(variant.read_idle_timeout)
        .tls_danger_accept_invalid_certs(variant.insecure_tls)
        .no_proxy();
    if let Some(proxy) = proxy {
        builder = builder.proxy(proxy);
    }
    builder.build().map_err(|error| OutboundError::InvalidRequest(error.without_url().to_string()))
}

fn proxy_of(proxy: &crate::Proxy) -> Result<reqwest::Proxy, OutboundError> {
    let scheme = match proxy.kind {
        ProxyKind::Http => "http",
        // The target's name is resolved here, so that its address is checked as well.
        ProxyKind::Socks => "socks5",
    };
    let invalid = || OutboundError::InvalidRequest("the proxy's address is not valid".to_owned());
    let mut url = Url::parse(&format!("{scheme}://{}:{}", proxy.address, proxy.port)).map_err(|_| invalid())?;
    if let Some((user, password)) = &proxy.credentials {
        url.set_username(user).map_err(|()| invalid())?;
        url.set_password(Some(password.expose())).map_err(|()| invalid())?;
    }
    reqwest::Proxy::all(url).map_err(|_| invalid())
}

fn parse(text: &str) -> Result<Url, OutboundError> {
    let url = Url::parse(text.trim()).map_err(|error| OutboundError::InvalidUrl(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(OutboundError::InvalidUrl(format!("only http and https can be called, not `{}`", url.scheme())));
    }
    match url.host_str() {
        Some(host) if !host.is_empty() => Ok(url),
        _ => Err(OutboundError::InvalidUrl("it names no host".to_owned())),
    }
}

/// Host and port, as errors show them.
pub(crate) fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}
