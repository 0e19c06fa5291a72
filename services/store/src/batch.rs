//! What one batch of the executor writes: one transaction under the fence.

use windhover_engine::{Event, Execution, LogLine, TaskMetric, TaskRun, Timer};
use windhover_types::{Id, State, Tenant, Timestamp};

use crate::{SlotKey, SlotRow, TriggerAdvance, TriggerKey, WindowOfferRow, WindowTaken};

/// Proof of ownership: the instance and the epoch under which the batch was computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fence {
    pub instance: Id,
    pub epoch: i64,
}

/// All changes of one batch, over all shards that the process owns. Committed whole or not at all.
#[derive(Debug, Default)]
pub struct Batch {
    /// Inserted first; every one must be new.
    pub new_executions: Vec<Execution>,
    /// `version` is the new one: the row must have the one before.
    pub changed_executions: Vec<Execution>,
    /// `version == 1`: new; else changed.
    pub task_runs: Vec<TaskRunRow>,
    /// Task runs that are no more; before others take their places. Already gone is fine.
    pub task_runs_removed: Vec<TaskRunKey>,
    pub logs: Vec<LogRow>,
    pub metrics: Vec<MetricRow>,
    pub timers_set: Vec<TimerRow>,
    /// Cleared before `timers_set` is applied; already gone is fine.
    pub timers_cleared: Vec<TimerKey>,
    pub jobs_started: Vec<JobRow>,
    /// Already gone is fine.
    pub jobs_ended: Vec<JobKey>,
    /// What workers have told of attempts that run; jobs that are gone stay gone.
    pub jobs_noted: Vec<JobNote>,
    pub inbox_sent: Vec<InboxRow>,
    /// Inbox rows that this batch has dealt with; the count must be exact.
    pub inbox_done: Vec<InboxKey>,
    pub feed: Vec<FeedRow>,
    pub request_ids: Vec<RequestIdRow>,
    /// Events of unknown version and executions whose data cannot be stored: parked with the reason.
    pub parked: Vec<ParkedRow>,
    /// The versions of tenants' flows under which new executions were validated; one that moved fails the batch with
    /// [`CommitError::FlowsMoved`].
    pub flow_versions: Vec<(Tenant, i64)>,
    /// Triggers that go on because of what the batch makes; each must be as it was read, else the batch fails with
    /// [`CommitError::TriggersMoved`]: so two schedulers never make two executions of one slot.
    pub triggers_advanced: Vec<TriggerAdvance>,
    /// What changes of state bring to windows of triggers; one that is there already is kept.
    pub window_offers: Vec<WindowOfferRow>,
    /// Offers that are taken into their windows; each must be as it was read, else the batch fails with
    /// [`CommitError::WindowsMoved`].
    pub windows_taken: Vec<WindowTaken>,
    /// Slots of flows that are taken or waited for; written over what there is.
    pub slots_set: Vec<SlotRow>,
    /// Cleared before `slots_set` is applied; already gone is fine.
    pub slots_cleared: Vec<SlotKey>,
}

/// A task run with what locates it. Namespace and flow are not repeated: the execution has them.
#[derive(Debug, Clone)]
pub struct TaskRunRow {
    pub tenant: Tenant,
    pub execution: Id,
    pub run: TaskRun,
}

/// Which task run of which execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskRunKey {
    pub tenant: Tenant,
    pub execution: Id,
    pub seq: u32,
}

/// A log line with where it belongs; `position` orders the lines of an execution without gaps, from 0.
#[derive(Debug, Clone)]
pub struct LogRow {
    pub tenant: Tenant,
    pub namespace: String,
    pub flow_id: String,
    pub execution: Id,
    pub position: i64,
    pub line: LogLine,
}

#[derive(Debug, Clone)]
pub struct MetricRow {
    pub tenant: Tenant,
    pub namespace: String,
    pub flow_id: String,
    pub execution: Id,
    pub metric: TaskMetric,
}

#[derive(Debug, Clone, PartialEq)]
pub struct TimerRow {
    pub shard: u16,
    pub tenant: Tenant,
    pub execution: Id,
    pub timer: Timer,
    pub at: Timestamp,
}

/// Which timer of which execution.
#[derive(Debug, Clone, PartialEq)]
pub struct TimerKey {
    pub tenant: Tenant,
    pub execution: Id,
    pub timer: Timer,
}

/// A job that was handed out, or is about to be. What a worker needs is derived again from the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRow {
    pub shard: u16,
    pub tenant: Tenant,
    pub execution: Id,
    pub task_run: Id,
    pub dispatch: u32,
    pub worker_group: Option<String>,
    /// When its holder must have been heard of; by the database's clock rules.
    pub deadline: Timestamp,
    /// How often a holder of this attempt was lost.
    pub losses: u32,
    /// Who was last known to hold it: written when that is known, so absence says nothing.
    pub worker: Option<String>,
}

/// Which dispatch of which task run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobKey {
    pub tenant: Tenant,
    pub execution: Id,
    pub task_run: Id,
    pub dispatch: u32,
}

/// What a worker has told of an attempt that it runs, beside the job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobNote {
    pub key: JobKey,
    /// Who has begun it; `None` leaves what is stored.
    pub worker: Option<String>,
    /// How many of its log lines are stored with this batch; a lower number than the stored one changes nothing.
    pub lines: u32,
}

/// Which inbox row, and of which execution: when the row is gone, that is what has to be looked at again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxKey {
    pub tenant: Tenant,
    pub id: Id,
    pub execution: Id,
}

/// What one execution has to be told by another shard, an RPC or a gateway.
#[derive(Debug, Clone, PartialEq)]
pub struct InboxRow {
    /// Identity: the same cause gives the same id, so that a message sent twice is there once.
    pub id: Id,
    pub shard: u16,
    pub tenant: Tenant,
    pub execution: Id,
    pub message: InboxMessage,
}

#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "message", rename_all = "snake_case")]
pub enum InboxMessage {
    /// Step the engine with this event.
    Event { event: Event },
    /// The execution was inserted by somebody else: take it up.
    Created,
    /// What somebody asked for. The owner writes the outcome, also a refusal, as a [`RequestIdRow`] of this method and
    /// request id in the batch that deletes the row; whoever asked reads it by [`crate::Store::request_id`].
    Action {
        event: Event,
        method: String,
        request_id: String,
        /// SHA-256 of the request's content, for the [`RequestIdRow`].
        content: [u8; 32],
    },
    /// What the execution asks of the slots of its flow. The row's shard is that of the flow.
    Slot { namespace: String, flow_id: String, ask: SlotAsk },
}

/// What an execution asks of the owner of its flow's slots.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum SlotAsk {
    /// `limit` and `behavior` are those of its revision; `at`: when it asked.
    Take { limit: u32, behavior: windhover_flow::ConcurrencyBehavior, at: Timestamp },
    /// It needs its slot, or its place in the queue, no longer.
    GiveBack,
}

/// One line of a shard's feed per batch and tenant: what it tells everybody, in order.
#[derive(Debug, Clone, PartialEq)]
pub struct FeedRow {
    pub shard: u16,
    /// Without gaps per shard, given by the owner; `shards.last_seq` follows in the same transaction.
    pub seq: i64,
    pub tenant: Tenant,
    pub at: Timestamp,
    pub entries: Vec<FeedEntry>,
}

/// A change of one execution.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct FeedEntry {
    #[serde(rename = "e")]
    pub execution: Id,
    #[serde(rename = "n")]
    pub namespace: String,
    #[serde(rename = "f")]
    pub flow_id: String,
    /// States entered, in order.
    #[serde(rename = "s")]
    pub states: Vec<State>,
    /// Task runs that are new or changed.
    #[serde(rename = "r", default, skip_serializing_if = "Vec::is_empty")]
    pub task_runs: Vec<Id>,
    /// First log position after this batch.
    #[serde(rename = "l")]
    pub next_log: i64,
}

/// What a request with this id has made: the same request again gets the same answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestIdRow {
    pub tenant: Tenant,
    pub method: String,
    pub request_id: String,
    /// SHA-256 of the content.
    pub content: [u8; 32],
    pub result: String,
    pub expires_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedRow {
    pub tenant: Tenant,
    pub execution: Id,
    pub reason: String,
}

/// Why a batch was not committed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The epoch moved: another process may own the shards now. Nothing was written.
    #[error("this process no longer owns what it wanted to write")]
    Fenced,
    /// These executions are not as the batch expected (version, duplicate, inbox row gone). Nothing was written.
    #[error("{} executions changed meanwhile", executions.len())]
    Conflict { executions: Vec<Id> },
    /// These executions, which the batch wanted to make, are stored already. Nothing was written.
    #[error("{} new executions exist already", executions.len())]
    Exists { executions: Vec<Id> },
    /// These request ids were used before: the rows as they are stored (of two equal ones in the batch: the first).
    /// Nothing was written.
    #[error("request ids were used before")]
    RequestIds(Vec<RequestIdRow>),
    /// These tenants' flows have changed: their present versions. Nothing was written.
    #[error("flows of {} tenants changed meanwhile", .0.len())]
    FlowsMoved(Vec<(Tenant, i64)>),
    /// These triggers are not as they were read: another scheduler or a user was first. Nothing was written.
    #[error("{} triggers changed meanwhile", .0.len())]
    TriggersMoved(Vec<TriggerKey>),
    /// Offers or windows are not as they were read: another scheduler was first. Nothing was written.
    #[error("windows of triggers changed meanwhile")]
    WindowsMoved,
    /// The feed rows do not continue these shards: shard and last stored number. Nothing was written.
    #[error("the feed of {} shards has moved", .0.len())]
    FeedMoved(Vec<(u16, i64)>),
    /// The data of these executions cannot be stored (the database refuses it). Nothing was written.
    #[error("data that cannot be stored: {reason}")]
    Data { executions: Vec<Id>, reason: String },
    /// The database refuses a statement for a reason that is not in the data of single executions (a table or a right
    /// that is missing). Nothing was written.
    #[error("the database refuses a statement: {0}")]
    Refused(String),
    /// Nobody knows: the connection was lost during the commit.
    #[error("the outcome of a commit is unknown: {0}")]
    Unknown(String),
    /// The database cannot be reached, or refuses for now. Nothing was written.
    #[error("the database is not available: {0}")]
    Unavailable(String),
}
