//! The one HTTP client for all outgoing calls.
//!
//! Always true: no connection is opened to an address that [`AddressPolicy`] refuses, at the first request or after a
//! redirect, whether the address was written in the URL or came from DNS; a response is never larger and never takes
//! longer than was allowed, read whole or piece by piece; an error names the host, and nothing else of the URL.
//! Not here: what a status means, retries, masking of what callers log.

mod address;
mod client;
mod digest;
mod error;
mod incoming;
mod redirect;
mod request;
mod resolver;

pub use address::{AddressKind, AddressPolicy};
pub use client::{Client, ClientConfig};
pub use error::OutboundError;
pub use incoming::Incoming;
pub use request::{Login, Proxy, ProxyKind, Request, Response};
pub use reqwest::Url;

/// User agent of every request that names none (flow model 1.x reference 5.4).
pub const USER_AGENT: &str = "Kestra";

/// Makes ring the process's provider of TLS primitives; called by [`Client::new`], harmless when called again.
pub fn install_tls_provider() {
    // An error says that a provider is installed already, which is all that is wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
