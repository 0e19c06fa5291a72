//! What must be seen: one entry of `expect` or `check`.

use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::{Map, Value};

use crate::case::present;

/// What an entry looks at, and what must hold of it.
#[derive(Debug, Clone)]
pub enum Expectation {
    /// Named executions.
    Execution {
        names: Vec<String>,
        at_creation: bool,
        properties: Box<ExecutionProperties>,
    },
    /// Executions that another one caused.
    Triggered {
        selector: Selector,
        many: Many,
        properties: Box<ExecutionProperties>,
    },
    /// All executions that the selector fits.
    Executions {
        selector: Selector,
        many: Many,
        properties: Box<ExecutionProperties>,
    },
    /// Outcomes of steps.
    Step {
        names: Vec<String>,
        properties: StepProperties,
    },
    /// Outcome of the deployment of a file.
    Deployment {
        file: String,
        accepted: Option<bool>,
        error: Option<Value>,
    },
    /// Requests that the receiver has recorded; `None`: on all paths.
    Receiver {
        path: Option<String>,
        expected: ReceiverProperties,
    },
    TriggerState {
        trigger: TriggerName,
        disabled: Option<bool>,
        /// The date that it waits for.
        next: Option<Value>,
    },
    Kv,
}

/// Which trigger of which flow.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TriggerName {
    pub namespace: String,
    pub flow: String,
    pub trigger: String,
}

impl Expectation {
    /// Whether the harness must wait until nothing happens any more before it looks: what is counted could still grow.
    pub fn needs_quiet(&self) -> bool {
        match self {
            Self::Triggered { many, .. } | Self::Executions { many, .. } => many.count.is_some(),
            Self::Receiver { expected, .. } => expected.count.is_some() || !expected.forbid.is_empty(),
            _ => false,
        }
    }
}

/// How a step ended.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StepProperties {
    pub outcome: Option<Outcome>,
    pub error: Option<Value>,
    /// Of a deployment: the revision that it made or left.
    pub revision: Option<Value>,
    /// Of a deployment or a validation.
    pub warnings: Option<Value>,
}

/// Outcome of a step, as a client sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Ok,
    NotFound,
    Rejected,
    /// Accepted, and nothing was created.
    Skipped,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Selector {
    pub namespace: Option<String>,
    pub flow: Option<String>,
    pub by: Option<String>,
    pub labels: Option<Value>,
    pub trigger_date_before: Option<String>,
}

/// Which of the executions, and how many there must be.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Many {
    pub count: Option<Value>,
    pub index: Option<i64>,
    /// `match: first_3`: only so many, from the first.
    pub first: Option<usize>,
}

/// What must hold of each execution, and of all of them together.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExecutionProperties {
    pub state: Option<Value>,
    pub states: Option<Vec<Value>>,
    pub task_runs: Option<Value>,
    pub task_runs_in_state: Map<String, Value>,
    pub task_states: Map<String, Value>,
    pub absent_tasks: Vec<String>,
    pub task_at: Map<String, Value>,
    pub task_outputs: Map<String, Value>,
    pub task_run: Vec<TaskRunProperties>,
    pub attempts: Map<String, Value>,
    pub started_after: std::collections::BTreeMap<String, Vec<String>>,
    #[serde(deserialize_with = "present")]
    pub outputs: Option<Value>,
    pub outputs_all: Option<Vec<Value>>,
    pub labels_all: Option<Vec<Value>>,
    pub trigger_dates: Option<Vec<String>>,
    pub inputs: Option<Value>,
    pub labels: Option<Value>,
    pub trigger: Option<Value>,
    pub revision: Option<Value>,
    #[serde(deserialize_with = "present")]
    pub parent: Option<Value>,
    pub same_id: Option<bool>,
    pub not_same_id_as: Option<String>,
    pub state_history: Option<StateHistory>,
    pub duration: Option<Value>,
    pub started_not_before: Option<String>,
    pub logs_contain: Vec<Value>,
    pub logs_not_contain: Vec<Value>,
    pub log_counts: Map<String, Value>,
}

/// One task run: which, and what must hold of it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TaskRunProperties {
    pub task: Option<String>,
    pub values: Option<Vec<String>>,
    pub index: Option<i64>,
    pub index_in_execution: Option<i64>,
    pub state: Option<Value>,
    pub attempts: Option<Value>,
    #[serde(deserialize_with = "present")]
    pub outputs: Option<Value>,
    pub history_counts: Map<String, Value>,
    #[serde(deserialize_with = "present")]
    pub log_file: Option<Value>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StateHistory {
    #[serde(rename = "$starts_with")]
    pub starts_with: Option<Vec<String>>,
    #[serde(rename = "$contains_in_order")]
    pub contains_in_order: Option<Vec<String>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReceiverProperties {
    pub count: Option<Value>,
    pub ordered: bool,
    pub requests: Vec<RequestProperties>,
    pub forbid: Vec<RequestProperties>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RequestProperties {
    pub path: Option<Value>,
    pub method: Option<Value>,
    pub query: Map<String, Value>,
    pub headers: Map<String, Value>,
    #[serde(deserialize_with = "present")]
    pub json: Option<Value>,
    pub body_contains: Vec<String>,
}

impl<'de> Deserialize<'de> for Expectation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let map = Map::deserialize(deserializer)?;
        Self::from_map(map).map_err(D::Error::custom)
    }
}

const SUBJECTS: [&str; 8] =
    ["execution", "triggered", "executions", "step", "deployment", "receiver", "trigger_state", "kv"];

impl Expectation {
    fn from_map(mut map: Map<String, Value>) -> Result<Self, String> {
        let subjects: Vec<&str> = SUBJECTS.into_iter().filter(|subject| map.contains_key(*subject)).collect();
        let [subject] = subjects[..] else {
            return Err(format!("an expectation looks at one thing, not at {subjects:?}"));
        };
        let looked_at = map.remove(subject).unwrap_or_default();
        Ok(match subject {
            "execution" => {
                let at_creation = map.remove("at_creation").is_some_and(|value| value == true);
                Self::Execution { names: names(looked_at)?, at_creation, properties: Box::new(read(map)?) }
            }
            "triggered" | "executions" => {
                let selector = from(looked_at)?;
                let many = Many {
                    count: map.remove("count"),
                    index: map.remove("index").map(from).transpose()?,
                    first: map.remove("match").map(first).transpose()?,
                };
                let properties = Box::new(read(map)?);
                match subject {
                    "triggered" => Self::Triggered { selector, many, properties },
                    _ => Self::Executions { selector, many, properties },
                }
            }
            "step" => Self::Step { names: names(looked_at)?, properties: read(map)? },
            "deployment" => {
                let (accepted, error) = (map.remove("accepted").map(from).transpose()?, map.remove("error"));
                nothing_left(&map)?;
                Self::Deployment { file: from(looked_at)?, accepted, error }
            }
            "receiver" => Self::Receiver { path: from(looked_at)?, expected: read(map)? },
            "trigger_state" => {
                let (disabled, next) = (map.remove("disabled").map(from).transpose()?, map.remove("next"));
                nothing_left(&map)?;
                Self::TriggerState { trigger: from(looked_at)?, disabled, next }
            }
            _ => Self::Kv,
        })
    }
}

fn from<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|error| error.to_string())
}

fn read<T: serde::de::DeserializeOwned>(map: Map<String, Value>) -> Result<T, String> {
    from(Value::Object(map))
}

fn names(value: Value) -> Result<Vec<String>, String> {
    match value {
        Value::String(name) => Ok(vec![name]),
        other => from(other),
    }
}

/// `first_3`.
fn first(value: Value) -> Result<usize, String> {
    let text: String = from(value)?;
    text.strip_prefix("first_").and_then(|count| count.parse().ok()).ok_or_else(|| format!("unknown match `{text}`"))
}

fn nothing_left(map: &Map<String, Value>) -> Result<(), String> {
    match map.keys().next() {
        Some(key) => Err(format!("unknown field `{key}`")),
        None => Ok(()),
    }
}
