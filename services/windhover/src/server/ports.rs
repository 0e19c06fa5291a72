//! The listeners of a process.

use std::net::SocketAddr;

use anyhow::{Result, anyhow};
use tokio::net::TcpListener;

use super::mode::Mode;
use crate::settings::Settings;

/// Bound before anything else: a port that is taken is told at once.
pub(super) struct Ports {
    /// Only where there is a gateway.
    pub(super) api: Option<TcpListener>,
    pub(super) management: TcpListener,
    pub(super) addresses: Addresses,
}

/// Where the process answers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Addresses {
    pub(super) api: Option<SocketAddr>,
    pub(super) management: SocketAddr,
}

impl Ports {
    pub(super) async fn bind(mode: Mode, gateway: bool, settings: &Settings) -> Result<Self> {
        let host = mode.host();
        let bind = async |key: &str, default: u16| -> Result<TcpListener> {
            let port = settings.number(key)?.unwrap_or(default);
            let listener = TcpListener::bind((host, port)).await;
            let flag = key.trim_start_matches("windhover.");
            listener.map_err(|error| {
                anyhow!("port {port} cannot be used: {error}; choose another one with --{flag} ({key})")
            })
        };
        let api = if gateway { Some(bind("windhover.port", 8080).await?) } else { None };
        let fallback = settings.number("endpoints.all.port")?.unwrap_or(8081);
        let management = bind("windhover.management-port", fallback).await?;
        let addresses = Addresses {
            api: api.as_ref().map(TcpListener::local_addr).transpose()?,
            management: management.local_addr()?,
        };
        Ok(Self { api, management, addresses })
    }
}
