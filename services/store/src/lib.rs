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
mod counts;
mod deletion;
mod depth;
mod entity;
mod error;
mod executions;
mod feed;
mod filter;
mod flows;
mod inbox;
mod installation;
mod jobs;
mod key_values;
mod key_versions;
mod large;
mod logs;
mod namespaces;
mod requests;
mod rows;
mod secrets;
mod slots;
mod snapshot;
mod store;
mod tenants;
mod triggers;
mod windows;
mod work;

pub use access::{ServiceAccount, Token};
pub use audit::AuditEvent;
pub use batch::*;
pub use cluster::{
    Beat, Claim, ClaimError, ClaimRequest, Coordination, ExecutorShare, HEARTBEAT, Instance, LiveGroup, Liveness,
    OWNERSHIP_EXPIRY, RegisterError, Registration, RestartStrategy, Server, ServerType, ServiceConfig, ServiceEvent,
    ServiceInfo, ServiceKind, ServiceState, ShardRow, Vitals,
};
pub use connect::ConnectError;
pub use counts::{CountFilter, FlowCount};
pub use deletion::{DeleteAlso, Deleted, EndedFilter, ExecutionPlace, FileRemoval, PurgeOf, Purged};
pub use depth::{Depth, GroupDepth, ShardDepth, TenantDepth, TenantDepths};
pub use error::{StoreError, Trouble};
pub use executions::{ExecutionFilter, TaskRunFilter};
pub use filter::{NamespaceFilter, TimeRange};
pub use flows::{FlowExpectation, FlowFilter, FlowRow, PutFlow, PutFlowError, PutOutcome};
pub use inbox::Inbox;
pub use installation::ShardsError;
pub use jobs::{JobRenewal, WorkerGroup, WorkerGroupPermission};
pub use key_values::{KvRow, NewKv};
pub use key_versions::{KvKeys, KvVersions};
pub use large::{LargeOutputs, LargeValues};
pub use logs::{LogCursor, LogFilter, LogPurge};
pub use namespaces::{NamespaceRow, NamespaceSettings};
pub use secrets::{DataKey, StoredSecret, namespace_and_parents};
pub use slots::{SlotKey, SlotRow};
pub use snapshot::Snapshot;
pub use store::{Backend, Store, StoreOptions, Synchronous};
pub use tenants::TenantRow;
pub use triggers::{
    Backfill, ChangeTriggerError, EndedLock, FlowTriggers, SyncedTriggers, TriggerAdvance, TriggerDefinition,
    TriggerFilter, TriggerKey, TriggerRow, TriggerState,
};
pub use windows::{WindowKey, WindowOfferRow, WindowRow, WindowTaken};
pub use work::{JobLines, StoredRun};
