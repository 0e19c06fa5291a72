//! Several executors over one Postgres: shards come and go, and nothing is lost or done twice.

mod actions;
mod jobs;
mod ownership;
mod slots;
mod support;
