//! The gateway over real connections, in front of a real store and executor.

mod actions;
mod calls;
mod cluster;
mod follow;
mod http;
mod server;
mod triggers;
