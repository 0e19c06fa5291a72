//! The batch that is being put together: what the store will write, and what happens once it has.

use std::{borrow::Cow, collections::HashMap};

use tokio::sync::oneshot;
use windhover_engine::Execution;
use windhover_queue::QueuedJob;
use windhover_store::{Batch, FeedEntry, InboxRow, RequestIdRow, TimerRow};
use windhover_types::{Error, Id, Tenant, shard_of};

use crate::{
    core::Asked,
    message::{CreateRequest, CreatedExecution, Pending},
    observe::Observation,
};

/// Tenant, method and id of a request.
pub(crate) type RequestName = (Tenant, Cow<'static, str>, String);

/// Work that makes an execution.
pub(crate) struct CreateWork {
    pub(crate) request: CreateRequest,
    pub(crate) reply: Option<oneshot::Sender<Result<CreatedExecution, Error>>>,
    /// The execution of the same batch that made it (subflow, Flow trigger): when the batch is built again, so is this.
    pub(crate) cause: Option<Id>,
}

/// Tenant, namespace and id of a flow.
pub(crate) type FlowName = (Tenant, String, String);

/// What was asked of one flow's slots and is answered by a batch.
pub(crate) struct FlowAsks {
    pub(crate) name: FlowName,
    /// Of the flow.
    pub(crate) shard: u16,
    pub(crate) asks: Vec<Asked>,
}

/// One execution's part in a batch, kept so that the batch can be built again.
pub(crate) struct Member {
    pub(crate) tenant: Tenant,
    pub(crate) id: Id,
    pub(crate) shard: u16,
    /// Present for an execution that the batch creates.
    pub(crate) create: Option<Box<CreateWork>>,
    /// As it was before any step; what the creator is told.
    pub(crate) as_created: Option<Box<Execution>>,
    pub(crate) applied: Vec<Pending>,
    pub(crate) feed: FeedEntry,
    /// Made here for a shard of somebody else, who is told of it.
    pub(crate) is_foreign: bool,
}

impl Member {
    pub(crate) fn without_steps(tenant: Tenant, id: Id, shards: u16) -> Self {
        let shard = shard_of(&tenant, id, shards);
        let feed = FeedEntry {
            execution: id,
            namespace: String::new(),
            flow_id: String::new(),
            states: Vec::new(),
            task_runs: Vec::new(),
            next_log: 0,
        };
        Self { tenant, id, shard, create: None, as_created: None, applied: Vec::new(), feed, is_foreign: false }
    }
}

/// What leaves the process after the commit.
#[derive(Default)]
pub(crate) struct After {
    pub(crate) jobs: Vec<QueuedJob>,
    /// (tenant, execution, task run, dispatch) of attempts that are to stop.
    pub(crate) cancels: Vec<(Tenant, Id, Id, u32)>,
    pub(crate) timers: Vec<TimerRow>,
    pub(crate) inbox: Vec<InboxRow>,
    pub(crate) observations: Vec<Observation>,
}

/// A batch with everything around it.
#[derive(Default)]
pub(crate) struct OpenBatch {
    pub(crate) batch: Batch,
    pub(crate) members: Vec<Member>,
    pub(crate) slots: Vec<FlowAsks>,
    pub(crate) after: After,
    /// Request ids, so that two of one batch do not make two executions or outcomes.
    pub(crate) requests: HashMap<RequestName, Id>,
    /// The versions of tenants' flows that were in memory before anything of the tenant was stepped.
    pub(crate) flow_versions: HashMap<Tenant, i64>,
    /// How often this process had been taken for dead when it was put together.
    pub(crate) generation: u64,
    /// Estimate of what it brings to the database.
    pub(crate) bytes: usize,
}

/// Executions of one batch; more would only make the oldest wait longer.
const MEMBERS: usize = 1_000;
/// Bytes of one batch. Postgres takes no message above 1 GB, and nothing else is written meanwhile.
pub(crate) const BATCH_BYTES: usize = 32 << 20;

/// A batch on its way to the store and back.
pub(crate) type Submitted = OpenBatch;

impl OpenBatch {
    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty() && self.slots.is_empty()
    }

    /// What else is to be done comes into the next one.
    pub(crate) fn is_full(&self) -> bool {
        self.members.len() >= MEMBERS || self.bytes >= BATCH_BYTES
    }

    pub(crate) fn add_request(&mut self, row: RequestIdRow, method: Cow<'static, str>, execution: Id) {
        self.requests.insert((row.tenant.clone(), method, row.request_id.clone()), execution);
        self.batch.request_ids.push(row);
    }
}
