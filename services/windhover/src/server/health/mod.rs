//! Health of what this process is made of and needs.

mod database;
mod executor;
mod redis;
mod worker;

pub(super) use database::DatabaseHealth;
pub(super) use executor::ExecutorHealth;
pub(super) use redis::RedisHealth;
pub(super) use worker::WorkerHealth;
