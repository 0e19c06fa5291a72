//! Several executors over one Postgres: shards come and go, and nothing is lost or done twice.

mod actions;
mod handover;
mod jobs;
mod namespaces;
mod ownership;
mod slots;
mod support;
