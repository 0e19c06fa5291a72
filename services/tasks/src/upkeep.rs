//! What tasks may do with the data of their tenant beyond their own execution: count, purge, resume, switch triggers.

use async_trait::async_trait;
use windhover_types::{Id, JsonMap, Level, State, Tenant, Timestamp};

/// A namespace, or all from it on down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceScope {
    pub namespace: String,
    /// Those below it too.
    pub below: bool,
}

/// From and until, both included; an absent end is open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Period {
    pub from: Option<Timestamp>,
    pub until: Option<Timestamp>,
}

/// Which executions are counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CountedExecutions {
    /// Namespace and id; and all flows of `namespaces`, without those below.
    pub flows: Vec<(String, String)>,
    pub namespaces: Vec<String>,
    /// Any of these; empty: all.
    pub states: Vec<State>,
    pub created: Period,
}

/// Executions of one flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutionCount {
    pub namespace: String,
    pub flow_id: String,
    pub count: u64,
}

/// Which executions that have ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndedExecutions {
    /// `None`: of all namespaces.
    pub scope: Option<NamespaceScope>,
    pub flow_id: Option<String>,
    /// Any of these; empty: all.
    pub states: Vec<State>,
    pub created_from: Option<Timestamp>,
    /// Included.
    pub ended_until: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedExecution {
    pub id: Id,
    pub namespace: String,
    pub flow_id: String,
}

/// What a purge takes of executions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PurgedParts {
    /// They themselves with their task runs.
    pub executions: bool,
    pub logs: bool,
    pub metrics: bool,
    /// Their files, which the task deletes itself; what it cannot end is ended later when `executions` is set.
    pub files: bool,
}

/// What a purge has taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PurgeCount {
    /// Those of the executions that had ended still.
    pub executions: Vec<Id>,
    pub logs: u64,
    pub metrics: u64,
}

/// Which log lines are purged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PurgedLogs {
    /// `None`: of all namespaces.
    pub scope: Option<NamespaceScope>,
    pub flow_id: Option<String>,
    pub execution: Option<Id>,
    /// Any of these; empty: all.
    pub levels: Vec<Level>,
    pub written: Period,
}

/// What became of the wish to resume an execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resumed {
    Done,
    /// Its state does not allow it: a sentence.
    Refused(String),
    NotFound,
}

/// A server on which no task reaches beyond its execution.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoUpkeep;

impl Upkeep for NoUpkeep {}

/// The data of a tenant. Every call does a bounded piece of work, so that a purge can be stopped between two; done
/// again it changes nothing. Errors are sentences.
#[async_trait]
pub trait Upkeep: Send + Sync + 'static {
    /// By flow; flows without any are left out.
    async fn count_executions(
        &self,
        _tenant: &Tenant,
        _wanted: &CountedExecutions,
    ) -> Result<Vec<ExecutionCount>, String> {
        Err("Executions cannot be counted here".to_owned())
    }

    /// Oldest first, after that one.
    async fn ended_executions(
        &self,
        _tenant: &Tenant,
        _wanted: &EndedExecutions,
        _after: Option<Id>,
        _limit: u64,
    ) -> Result<Vec<EndedExecution>, String> {
        Err("Executions cannot be purged here".to_owned())
    }

    /// Takes these parts of those executions that have ended.
    async fn purge_executions(&self, _tenant: &Tenant, _ids: &[Id], _parts: PurgedParts) -> Result<PurgeCount, String> {
        Err("Executions cannot be purged here".to_owned())
    }

    /// What purged executions had in internal storage is deleted, as far as it was to go.
    async fn files_purged(&self, _tenant: &Tenant, _ids: &[Id]) -> Result<(), String> {
        Err("Executions cannot be purged here".to_owned())
    }

    /// Deletes some of these lines; tells how many, 0 when none is left.
    async fn purge_logs(&self, _tenant: &Tenant, _wanted: &PurgedLogs) -> Result<u64, String> {
        Err("Logs cannot be purged here".to_owned())
    }

    /// Names of the tenant's namespaces, in order: those that hold a flow, and unless `with_flows` those that hold keys
    /// or secrets or have settings.
    async fn namespaces(&self, _tenant: &Tenant, _with_flows: bool) -> Result<Vec<String>, String> {
        Err("Namespaces cannot be listed here".to_owned())
    }

    /// Switches a trigger off or on; `false`: there is no state of such a trigger.
    async fn set_trigger_disabled(
        &self,
        _tenant: &Tenant,
        _namespace: &str,
        _flow_id: &str,
        _trigger_id: &str,
        _disabled: bool,
    ) -> Result<bool, String> {
        Err("Triggers cannot be switched here".to_owned())
    }

    /// Resumes a paused execution with these inputs, those too that its Pause does not declare. `request`: whose wish it is; the same again is
    /// answered as before.
    async fn resume(
        &self,
        _tenant: &Tenant,
        _execution: Id,
        _inputs: JsonMap,
        _request: String,
    ) -> Result<Resumed, String> {
        Err("Executions cannot be resumed here".to_owned())
    }
}
