//! Where and as whom to call.

use std::{fmt, time::Duration};

use tonic::transport::{Channel, Endpoint};

use crate::ClientError;

/// Where and as whom to call.
#[derive(Clone)]
#[non_exhaustive]
pub struct ClientOptions {
    /// `http://HOST:PORT`; `https://` needs the feature `tls`. Without a scheme, `http://`.
    pub server: String,
    /// Goes into `authorization: Bearer …`. `None` for a server that asks for no login.
    pub token: Option<String>,
    /// Goes into `windhover-tenant`. `None` = the credential's own tenant.
    pub tenant: Option<String>,
    /// HTTP/2 connections, used in turn. One carries thousands of calls at once; more help where one thread per
    /// connection is not enough. Default 1.
    pub connections: usize,
    /// How long a connection may take. Default 5 s.
    pub connect_timeout: Duration,
    /// How long a call may take that neither waits nor streams. Default 60 s.
    pub call_timeout: Duration,
    /// Largest answer that is accepted, in bytes. Default 64 MiB.
    pub max_response_bytes: usize,
}

impl ClientOptions {
    /// The default for everything but the server.
    pub fn new(server: impl Into<String>) -> Self {
        Self {
            server: server.into(),
            token: None,
            tenant: None,
            connections: 1,
            connect_timeout: Duration::from_secs(5),
            call_timeout: Duration::from_secs(60),
            max_response_bytes: 64 << 20,
        }
    }

    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    #[must_use]
    pub fn tenant(mut self, tenant: impl Into<String>) -> Self {
        self.tenant = Some(tenant.into());
        self
    }

    #[must_use]
    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = connections;
        self
    }

    pub(crate) async fn channels(&self) -> Result<Vec<Channel>, ClientError> {
        let endpoint = self.endpoint()?;
        let mut channels = Vec::new();
        for _ in 0..self.connections.max(1) {
            channels.push(endpoint.connect().await.map_err(|error| self.unreachable(&error))?);
        }
        Ok(channels)
    }

    pub(crate) fn channels_later(&self) -> Result<Vec<Channel>, ClientError> {
        let endpoint = self.endpoint()?;
        Ok((0..self.connections.max(1)).map(|_| endpoint.connect_lazy()).collect())
    }

    fn endpoint(&self) -> Result<Endpoint, ClientError> {
        let server = self.server.trim().trim_end_matches('/');
        let address = if server.contains("://") { server.to_owned() } else { format!("http://{server}") };
        let wrong = |why: &str| ClientError::invalid_argument("server", format!("`{server}` {why}"));
        let endpoint = Endpoint::from_shared(address).map_err(|_| wrong("is no address"))?;
        let endpoint = match endpoint.uri().scheme_str() {
            Some("http") => endpoint,
            Some("https") => secure(endpoint, server)?,
            _ => return Err(wrong("begins with neither http:// nor https://")),
        };
        Ok(endpoint
            .connect_timeout(self.connect_timeout)
            .tcp_nodelay(true)
            // Notices a dead connection below streams that rarely say anything.
            .http2_keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(10))
            .http2_adaptive_window(true))
    }

    fn unreachable(&self, error: &tonic::transport::Error) -> ClientError {
        ClientError::unavailable(format!("cannot reach {}: {}", self.server, innermost(error)))
    }
}

#[cfg(feature = "tls")]
fn secure(endpoint: Endpoint, server: &str) -> Result<Endpoint, ClientError> {
    endpoint
        .tls_config(tonic::transport::ClientTlsConfig::new().with_native_roots())
        .map_err(|error| ClientError::invalid_argument("server", format!("`{server}`: {}", innermost(&error))))
}

#[cfg(not(feature = "tls"))]
fn secure(_: Endpoint, server: &str) -> Result<Endpoint, ClientError> {
    Err(ClientError::invalid_argument("server", format!("`{server}`: this client was built without the feature `tls`")))
}

/// The error at the bottom says what happened; those above say "transport error".
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

impl fmt::Debug for ClientOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientOptions")
            .field("server", &self.server)
            .field("token", &self.token.as_ref().map(|_| "******"))
            .field("tenant", &self.tenant)
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_scheme_is_http() {
        let endpoint = ClientOptions::new("127.0.0.1:8080").endpoint().unwrap();
        assert_eq!(endpoint.uri().to_string(), "http://127.0.0.1:8080/");
    }

    #[test]
    fn a_wrong_address_is_refused_by_name() {
        for server in ["", "ftp://host", "http://a b"] {
            let error = ClientOptions::new(server).endpoint().unwrap_err();
            assert_eq!(error.fields[0].field, "server", "{server}");
        }
    }

    #[test]
    fn debug_hides_the_token() {
        let text = format!("{:?}", ClientOptions::new("http://h").token("hunter2").tenant("t"));
        assert!(text.contains("http://h") && !text.contains("hunter2"), "{text}");
    }
}
