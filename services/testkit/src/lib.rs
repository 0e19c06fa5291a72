//! What tests stand on: a real Postgres, a receiver of HTTP requests, waiting without sleeping.
//!
//! Everything that is started here ends with the process that has started it, however that ends.

mod postgres;
mod receiver;
mod stores;
mod wait;

pub use postgres::{Postgres, PostgresOptions};
pub use receiver::{Answer, Received, Receiver};
pub use stores::TestStore;
pub use wait::{free_port, wait_until};
