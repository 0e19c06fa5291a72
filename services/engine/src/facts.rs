//! What the engine asks of the world, and the answers.

use std::{collections::HashMap, sync::Arc};

use windhover_flow::Flow;
use windhover_types::{Cipher, Id, JsonMap, State};

use crate::{Answer, Execution, Question, TaskRun};

/// What the engine must know of the world before it can go on: a key that the shell looks up.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Fact {
    /// A flow that a Subflow task names; the newest revision when none is given.
    Flow { namespace: String, flow_id: String, revision: Option<u32> },
    /// Ended task runs of this task (`None` = of every task) of this execution.
    Outputs { task_id: Option<String> },
    /// A secret of the namespace or its parents; `key` in upper case.
    Secret { namespace: String, key: String },
    /// How an execution of the same tenant stands that this one has started.
    Child { execution: Id },
    /// All of it, with its ended task runs: for what is rendered in its place.
    Whole { execution: Id },
    /// What seals and opens values of the execution's tenant.
    Cipher,
    /// What an expression asks of key-value stores, files and servers.
    World(Question),
}

impl Fact {
    /// The text that stands for it in [`ExpressionError::Needs`]: JSON, since names may hold any character.
    pub(crate) fn key(&self) -> String {
        let parts = match self {
            Fact::Flow { namespace, flow_id, revision } => serde_json::json!(["flow", namespace, flow_id, revision]),
            Fact::Outputs { task_id: Some(task_id) } => serde_json::json!(["outputs", task_id]),
            Fact::Outputs { task_id: None } => serde_json::json!(["outputs"]),
            Fact::Secret { namespace, key } => serde_json::json!(["secret", namespace, key]),
            Fact::Child { execution } => serde_json::json!(["child", execution]),
            Fact::Whole { execution } => serde_json::json!(["whole", execution]),
            Fact::Cipher => serde_json::json!(["cipher"]),
            Fact::World(question) => serde_json::json!(question.to_parts()),
        };
        parts.to_string()
    }

    /// The fact that such a text stands for; `None` for what only a worker can look up.
    pub(crate) fn from_key(text: &str) -> Option<Self> {
        let parts: Vec<String> = serde_json::from_str(text).ok()?;
        match parts.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["outputs"] => Some(Fact::Outputs { task_id: None }),
            ["outputs", task_id] => Some(Fact::Outputs { task_id: Some(task_id.to_owned()) }),
            ["cipher"] => Some(Fact::Cipher),
            ["secret", namespace, key] => Some(Fact::Secret { namespace: namespace.to_owned(), key: key.to_owned() }),
            ref other => Question::from_parts(other).map(Fact::World),
        }
    }
}

/// A fact that has been looked up.
#[derive(Debug, Clone)]
pub enum FactValue {
    /// Absent: no such flow (or it was deleted).
    Flow(Option<FoundFlow>),
    /// The engine takes them into the run.
    Outputs(Vec<TaskRun>),
    Secret(Result<windhover_types::Secret, String>),
    /// Absent: it was deleted.
    Child(Option<Box<ChildState>>),
    /// Absent: it was deleted.
    Whole(Option<Box<Whole>>),
    /// The error is a sentence for the user: there is no key, or none that fits.
    Cipher(Result<Arc<dyn Cipher>, String>),
    World(Answer),
}

/// An execution with its ended task runs.
#[derive(Debug, Clone)]
pub struct Whole {
    pub execution: Execution,
    pub task_runs: Vec<TaskRun>,
}

/// How an execution stands, for the one that started it.
#[derive(Debug, Clone)]
pub struct ChildState {
    pub state: State,
    /// [`Execution::is_ended`].
    pub ended: bool,
    pub outputs: Option<JsonMap>,
    /// [`crate::Marks::generation`].
    pub generation: u32,
}

impl ChildState {
    pub fn of(execution: &Execution) -> Self {
        Self {
            state: execution.current(),
            ended: execution.is_ended(),
            outputs: execution.outputs.clone(),
            generation: execution.marks.generation,
        }
    }
}

#[derive(Debug, Clone)]
pub struct FoundFlow {
    pub revision: u32,
    /// The reason, when the stored source can no longer be compiled.
    pub flow: Result<Arc<Flow>, String>,
}

/// Facts that are known for one step.
pub type Facts = HashMap<Fact, FactValue>;
