//! The gateway over real connections, in front of a real store and executor.

mod actions;
mod calls;
mod cluster;
mod downloads;
mod follow;
mod http;
mod namespaces;
mod server;
mod triggers;
