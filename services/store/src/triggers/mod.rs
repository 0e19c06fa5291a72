//! State of the triggers that a scheduler evaluates: what comes next, what was last, who keeps it from going on.
//!
//! Always true: a row is written only over the version that its writer has read, and a row that goes on because of an
//! execution does so in the transaction that makes the execution. So any number of schedulers and users may work on the
//! same rows: one of two that collide writes, the other one reads again.
//!
//! Not here: what dates mean (`scheduler`), what is in a definition (`flow`).

mod advance;
mod reads;
mod sync;

use windhover_types::{Id, JsonMap, Label, State, Tenant, Timestamp};

pub(crate) use self::advance::{moved_triggers, write_advances};
pub use self::{
    advance::ChangeTriggerError,
    reads::TriggerFilter,
    sync::{FlowTriggers, SyncedTriggers, TriggerDefinition},
};
use crate::{
    entity::triggers,
    error::Result,
    rows::{corrupt, number, parse, parse_id},
};

const WHAT: &str = "trigger";

/// Which trigger of which flow.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TriggerKey {
    pub tenant: Tenant,
    pub namespace: String,
    pub flow_id: String,
    pub trigger_id: String,
}

/// A trigger as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct TriggerRow {
    pub key: TriggerKey,
    /// The revision that the row was last compared with; not always the one that changed it.
    pub flow_revision: u32,
    pub type_name: String,
    /// SHA-256 of its definition.
    pub definition: [u8; 32],
    /// Neither the flow nor the trigger is disabled where they are defined.
    pub enabled: bool,
    pub state: TriggerState,
    pub updated_at: Timestamp,
    pub version: i64,
}

/// What changes while a trigger lives.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TriggerState {
    /// Disabled at run time: by a user, a task, or `stopAfter`.
    pub disabled: bool,
    /// When it is evaluated next, also in a backfill; `None`: not by itself.
    pub next_at: Option<Timestamp>,
    /// The slot that was evaluated last.
    pub last_at: Option<Timestamp>,
    /// The execution of it that runs: it is not evaluated until that has ended.
    pub execution: Option<Id>,
    /// When `execution` was set.
    pub locked_at: Option<Timestamp>,
    /// The last execution that it made, whether or not that still runs.
    pub last_execution: Option<Id>,
    /// Since when somebody evaluates it: it is not evaluated by others meanwhile.
    pub evaluating_at: Option<Timestamp>,
    /// Who evaluates it.
    pub worker: Option<String>,
    pub backfill: Option<Backfill>,
    /// Why the last evaluation failed, or why it was disabled.
    pub message: Option<String>,
}

/// Slots of the past that are run instead of those to come.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Backfill {
    /// Identity: executions of another backfill over the same slots are others.
    pub id: Id,
    /// Both are included.
    pub start: Timestamp,
    pub end: Timestamp,
    /// The slot in progress.
    pub current: Timestamp,
    #[serde(default)]
    pub paused: bool,
    #[serde(default)]
    pub inputs: JsonMap,
    #[serde(default)]
    pub labels: Vec<Label>,
    /// What `next_at` was before, and will be again.
    pub previous_next_at: Option<Timestamp>,
}

/// The next state of a trigger.
#[derive(Debug, Clone, PartialEq)]
pub struct TriggerAdvance {
    pub key: TriggerKey,
    /// The version that was read; the row then has the next one.
    pub expected: i64,
    pub state: TriggerState,
}

/// A trigger that waits for an execution which has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct EndedLock {
    pub row: TriggerRow,
    /// Its last state and when it ended; `None`: the execution is not there any more.
    pub ended: Option<(State, Timestamp)>,
}

fn row(row: triggers::Model) -> Result<TriggerRow> {
    let id = |bytes: Option<Vec<u8>>| bytes.map(|bytes| parse_id(WHAT, &bytes)).transpose();
    let time = |micros: Option<i64>| micros.map(Timestamp::from_micros);
    let definition = row.definition.as_slice().try_into();
    Ok(TriggerRow {
        key: TriggerKey {
            tenant: Tenant::trusted(&row.tenant),
            namespace: row.namespace,
            flow_id: row.flow_id,
            trigger_id: row.trigger_id,
        },
        flow_revision: number(WHAT, row.flow_revision)?,
        type_name: row.r#type,
        definition: definition.map_err(|_| corrupt(WHAT)("its hash has not 32 bytes".to_owned()))?,
        enabled: row.enabled,
        state: TriggerState {
            disabled: row.disabled,
            next_at: time(row.next_at),
            last_at: time(row.last_at),
            execution: id(row.execution)?,
            locked_at: time(row.locked_at),
            last_execution: id(row.last_execution)?,
            evaluating_at: time(row.evaluating_at),
            worker: row.worker,
            backfill: row.backfill.as_deref().map(|text| parse(WHAT, text)).transpose()?,
            message: row.message,
        },
        updated_at: Timestamp::from_micros(row.updated_at),
        version: row.version,
    })
}
