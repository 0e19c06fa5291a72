//! Runs the conformance cases through the gRPC API, the way any client would.
//!
//! A case deploys flows, does steps, and says what must be seen then. Each runs in a tenant of its own, several at once,
//! against a server that is started here (on SQLite, on Postgres, or a cluster of processes on Postgres and Redis) or one
//! that is given. What the server does not have, and says so, makes a case skipped with that reason; it never counts as
//! the rejection that a case expects.
//!
//! The matchers and checks know nothing of the API ([`seen`] is all they look at), so their own tests show that they
//! can fail.

pub mod api;
pub mod binary;
pub mod case;
pub mod check;
pub mod expectation;
pub mod expected;
pub mod findings;
pub mod json_path;
pub mod matching;
pub mod receiver;
pub mod report;
pub mod runner;
pub mod seen;
pub mod server;
pub mod suite;
pub mod template;
pub mod time;
pub mod webhook;
