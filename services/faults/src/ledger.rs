//! What clients know: what they were promised, what they saw, and what the flows imply.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// Everything that the checker is given beside the API and the database.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Ledger {
    pub tenant: String,
    #[serde(default)]
    pub flows: Vec<FlowRule>,
    #[serde(default)]
    pub listeners: Vec<ListenerRule>,
    #[serde(default)]
    pub schedules: Vec<ScheduleRule>,
    #[serde(default)]
    pub acknowledged: Vec<Acknowledged>,
    /// Calls that were refused although nothing was wrong with them.
    #[serde(default)]
    pub refused: Vec<String>,
    #[serde(default)]
    pub followed: Vec<Followed>,
}

/// What every execution of a flow comes to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FlowRule {
    pub namespace: String,
    pub flow_id: String,
    /// All states of an execution, in order.
    pub states: Vec<String>,
    /// Every task that has task runs; one that is not here has none.
    pub tasks: Vec<TaskRule>,
}

/// What every execution has of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskRule {
    pub task_id: String,
    /// How many task runs.
    pub runs: usize,
    /// Their final state.
    pub state: String,
    /// Attempts of each that were not lost with their worker; absent: not looked at.
    #[serde(default)]
    pub tries: Option<usize>,
    /// Log lines that the last attempt of each has written; absent: not looked at.
    #[serde(default)]
    pub lines: Option<usize>,
    /// Each has started one execution of this flow of the same namespace.
    #[serde(default)]
    pub child: Option<String>,
}

/// A Flow trigger: every execution of a namespace that goes into one of some states starts exactly one execution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ListenerRule {
    pub namespace: String,
    pub flow_id: String,
    pub trigger_id: String,
    /// Namespace of those that are listened to, exact.
    pub upstream: String,
    pub states: Vec<String>,
}

/// A Schedule trigger that misses nothing: one execution for each slot between its first and its last one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScheduleRule {
    pub namespace: String,
    pub flow_id: String,
    pub trigger_id: String,
    /// Distance of two slots.
    pub every_seconds: u64,
    /// At least so many executions were started.
    pub at_least: usize,
}

/// A create that was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledged {
    pub id: String,
    pub namespace: String,
    pub flow_id: String,
    #[serde(default)]
    pub request_id: String,
}

/// What one follower was shown, over all its connections.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Followed {
    pub id: String,
    /// The execution as it was shown each time.
    pub executions: Vec<Shown>,
    /// Each task run as it was shown each time, by id.
    pub task_runs: BTreeMap<String, Vec<Shown>>,
    /// Positions of log lines, in the order in which they came.
    pub lines: Vec<u64>,
    /// Final states that were told.
    pub ends: Vec<String>,
    /// Connections that it took.
    pub connections: u32,
    /// Why it gave up.
    #[serde(default)]
    pub gave_up: Option<String>,
}

/// One message about an execution or a task run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// Its history.
    pub states: Vec<String>,
    /// A hash of the whole message.
    pub digest: u64,
}

impl Ledger {
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is no ledger", path.display()))
    }

    pub fn write(&self, path: &Path) -> Result<()> {
        std::fs::write(path, serde_json::to_string(self)?).with_context(|| format!("writing {}", path.display()))
    }

    pub fn flow(&self, namespace: &str, flow_id: &str) -> Option<&FlowRule> {
        self.flows.iter().find(|rule| rule.namespace == namespace && rule.flow_id == flow_id)
    }
}
