//! The truth, on Postgres and SQLite: SeaORM entities and queries.
//!
//! Always true: whatever an executor changes is changed by [`Store::commit`] under its fence; every function that is
//! about a tenant's things takes the tenant first and sees nothing of another's; entities and SQL do not leave this
//! crate.
//!
//! Not here: what states mean (`engine`), encryption (`storage`; ciphertext passes through), wake-ups (`queue`).

mod access;
mod audit;
mod batch;
mod bulk;
mod cluster;
mod commit;
mod connect;
mod entity;
mod error;
mod executions;
mod feed;
mod filter;
mod flows;
mod installation;
mod logs;
mod requests;
mod rows;
mod secrets;
mod store;
mod tenants;
mod work;

pub use access::{ServiceAccount, Token};
pub use audit::AuditEvent;
pub use batch::*;
pub use cluster::{Claim, ClaimError, HEARTBEAT, Instance, OWNERSHIP_EXPIRY, RegisterError, Registration};
pub use connect::ConnectError;
pub use error::StoreError;
pub use executions::{ExecutionFilter, Snapshot, TaskRunFilter};
pub use filter::{NamespaceFilter, TimeRange};
pub use flows::{FlowExpectation, FlowFilter, FlowRow, PutFlow, PutFlowError, PutOutcome};
pub use installation::ShardsError;
pub use logs::{LogCursor, LogFilter};
pub use secrets::{DataKey, StoredSecret, namespace_and_parents};
pub use store::{Backend, Store, StoreOptions, Synchronous};
pub use tenants::TenantRow;
pub use work::{Inbox, StoredRun};
