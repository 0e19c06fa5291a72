//! Work for a cluster whose parts are killed, held and cut off meanwhile, and the account of what became of it.
//!
//! [`run`] starts the work and does the faults; what clients were told and what followers saw goes into a [`Ledger`].
//! [`check`] holds that against the API and the database, and knows nothing else: neither the processes nor their logs.

pub mod check;
pub mod database;
pub mod faults;
pub mod findings;
pub mod follower;
pub mod ledger;
pub mod run;
pub mod workload;

pub use database::Database;
pub use findings::{Finding, Findings, Kind};
pub use ledger::Ledger;
