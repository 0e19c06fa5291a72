//! What a client sees of executions, in the terms of the cases.

use std::{collections::HashMap, fmt::Write as _};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::findings::{short, shorten};

/// Names of states, as the cases write them.
const FINAL: [&str; 7] = ["SUCCESS", "WARNING", "FAILED", "KILLED", "CANCELLED", "RETRIED", "SKIPPED"];

pub fn is_final(state: &str) -> bool {
    FINAL.contains(&state)
}

pub type History = Vec<(String, DateTime<Utc>)>;

/// An execution with its task runs and log lines.
#[derive(Debug, Clone, Default)]
pub struct Execution {
    pub id: String,
    pub namespace: String,
    pub flow: String,
    pub revision: u32,
    pub state: String,
    pub history: History,
    pub labels: Map<String, Value>,
    pub inputs: Option<Value>,
    pub outputs: Option<Value>,
    /// `{id, type, variables}`.
    pub trigger: Option<Value>,
    /// The execution that it is a replay of.
    pub parent: Option<String>,
    pub schedule_date: Option<DateTime<Utc>>,
    pub started: Option<DateTime<Utc>>,
    pub error: Option<String>,
    /// In order of creation.
    pub task_runs: Vec<TaskRun>,
    pub logs: Vec<LogLine>,
}

#[derive(Debug, Clone, Default)]
pub struct TaskRun {
    pub id: String,
    pub task: String,
    /// Values of the loops around it, outermost first.
    pub values: Vec<String>,
    pub state: String,
    pub history: History,
    pub attempts: usize,
    pub outputs: Option<Value>,
    /// Why the last attempt failed.
    pub error: Option<String>,
}

#[derive(Debug, Clone, Default)]
pub struct LogLine {
    pub task: Option<String>,
    pub level: String,
    pub message: String,
}

impl Execution {
    pub fn is_ended(&self) -> bool {
        is_final(&self.state)
    }

    /// It does not go on before somebody does something, or before its time has come.
    pub fn rests(&self) -> bool {
        match self.state.as_str() {
            "PAUSED" | "QUEUED" | "BREAKPOINT" => true,
            "CREATED" => self.schedule_date.is_some_and(|date| date > Utc::now()),
            _ => false,
        }
    }

    /// A variable of its trigger.
    pub fn trigger_variable(&self, name: &str) -> Option<&str> {
        self.trigger.as_ref()?.get("variables")?.get(name)?.as_str()
    }

    /// Seconds from its first to its last state.
    pub fn duration(&self) -> Option<f64> {
        let (_, first) = self.history.first()?;
        let (_, last) = self.history.last()?;
        Some((*last - *first).as_seconds_f64())
    }

    pub fn task_runs_of<'a>(&'a self, task: &str) -> impl Iterator<Item = &'a TaskRun> {
        self.task_runs.iter().filter(move |run| run.task == task)
    }

    /// What somebody needs to know to find out what happened: a few lines.
    pub fn summary(&self) -> String {
        let mut text = String::new();
        let _ = write!(text, "{}.{} {} {}", self.namespace, self.flow, self.id, states(&self.history));
        if let Some(error) = &self.error {
            let _ = write!(text, " error: {}", shorten(error, 300));
        }
        for run in &self.task_runs {
            let _ = write!(text, "\n  {} {}", run.task, states(&run.history));
            if !run.values.is_empty() {
                let _ = write!(text, " values {:?}", run.values);
            }
            if run.attempts != 1 {
                let _ = write!(text, " attempts {}", run.attempts);
            }
            if let Some(error) = &run.error {
                let _ = write!(text, " error: {}", shorten(error, 300));
            }
            if let Some(outputs) = &run.outputs {
                let _ = write!(text, " outputs {}", short(outputs));
            }
        }
        for line in &self.logs {
            let task = line.task.as_deref().unwrap_or("-");
            let _ = write!(text, "\n  log {} {task}: {}", line.level, shorten(&line.message, 300));
        }
        text
    }
}

impl TaskRun {
    pub fn is_ended(&self) -> bool {
        is_final(&self.state) || self.state == "RESUBMITTED"
    }

    /// When it was created.
    pub fn begun(&self) -> Option<DateTime<Utc>> {
        self.history.first().map(|(_, at)| *at)
    }

    /// When it ended; `None` while it has not.
    pub fn ended(&self) -> Option<DateTime<Utc>> {
        self.history.last().filter(|_| self.is_ended()).map(|(_, at)| *at)
    }
}

fn states(history: &History) -> String {
    history.iter().map(|(state, _)| state.as_str()).collect::<Vec<_>>().join(" → ")
}

/// What became of a call that made an execution.
#[derive(Debug, Clone)]
pub enum Named {
    /// As the call returned it; later it is looked up by its id.
    Created(Box<Execution>),
    /// No execution was made: why.
    None(String),
}

/// Everything of a case's tenant at one moment.
#[derive(Debug, Clone, Default)]
pub struct World {
    /// What the steps made, by name.
    pub named: HashMap<String, Named>,
    /// The id that each name stood for at first.
    pub first_ids: HashMap<String, String>,
    /// All executions of the tenant, in order of creation.
    pub executions: Vec<Execution>,
    /// One random text per case.
    pub unique: String,
    /// When it was looked at.
    pub now: DateTime<Utc>,
}

impl World {
    /// The execution of this name as the call returned it.
    pub fn created(&self, name: &str) -> Result<&Execution, String> {
        match self.named.get(name) {
            Some(Named::Created(execution)) => Ok(execution),
            Some(Named::None(why)) => Err(format!("step `{name}` made no execution: {why}")),
            None => Err(format!("no step is named `{name}`")),
        }
    }

    /// The execution of this name as it is now.
    pub fn named(&self, name: &str) -> Result<&Execution, String> {
        let id = &self.created(name)?.id;
        self.executions
            .iter()
            .find(|execution| &execution.id == id)
            .ok_or_else(|| format!("execution `{name}` ({id}) is not there any more"))
    }

    /// The executions that another execution caused: subflows and Flow triggers alike.
    pub fn triggered<'a>(&'a self, by: Option<&'a str>) -> impl Iterator<Item = &'a Execution> {
        self.executions.iter().filter(move |execution| {
            let cause = execution.trigger_variable("executionId");
            match by {
                Some(id) => cause == Some(id),
                None => cause.is_some(),
            }
        })
    }
}
