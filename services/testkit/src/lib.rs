//! What tests stand on: real servers and clusters of our own processes over them, a proxy that spoils
//! connections, a receiver of HTTP requests, waiting without sleeping.
//!
//! Everything that is started here ends with the process that has started it, however that ends.

mod cluster;
mod postgres;
mod process;
mod proxy;
mod receiver;
mod redis;
mod signal;
mod stores;
mod wait;
mod warden;

pub use cluster::{Cluster, ClusterOptions, Member, TOKEN};
pub use postgres::{Postgres, PostgresOptions};
pub use process::{Process, Role, processor_time};
pub use proxy::{Proxy, Traffic};
pub use receiver::{Answer, Received, Receiver};
pub use redis::{Redis, RedisCluster, RedisOptions};
pub use stores::TestStore;
pub use wait::{free_port, wait_until};
