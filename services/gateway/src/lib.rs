//! The gateway: gRPC, gRPC-web and webhooks on one port. Authenticates, resolves the tenant, checks role and rate,
//! validates, and hands on.
//!
//! Always true: a handler sees only authenticated callers, and everything that it asks of the store names the tenant
//! of the call. Every error that leaves is made by one function ([`error::status`], or its twin of the HTTP side).
//! Not here: what an execution does (engine), how it is committed (executor), how it is stored (store).

mod auth;
mod checks;
mod convert;
mod create;
mod error;
mod filter;
mod http_side;
mod page;
mod request;
mod serve;
mod services;
mod settings;
mod templates;
mod vault;

pub use serve::{Gateway, GatewayBuilder};
pub use settings::{MIN_BOOTSTRAP_TOKEN, Mode, Settings};
