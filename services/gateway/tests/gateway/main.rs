//! The gateway over real connections, in front of a real store and executor.

mod calls;
mod http;
mod server;
