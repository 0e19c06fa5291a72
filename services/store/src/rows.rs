//! Between what the engine knows and what is stored.

use std::sync::Arc;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use windhover_engine::{Attempt, Execution, ExecutionError, Frame, LogLine, Marks, ParentLink, TaskRun, TriggerInfo};
use windhover_types::{Id, Level, State, StateChange, StateHistory, Tenant, Timestamp};

use crate::{
    LogRow, StoreError, TaskRunRow,
    entity::{executions, logs, task_runs},
    error::Result,
};

/// Format of the JSON in the rows that this version writes. A reader refuses a later one.
pub(crate) const FORMAT: i16 = 1;

/// Format of a row of an execution or task run whose `outputs` is the key of a file (see `large`). A version that knows
/// of no such files refuses the row, where it would take the key for the outputs themselves.
pub(crate) const OUTPUTS_ELSEWHERE: i16 = 2;

/// What never changes of an execution and is not a column.
#[derive(Serialize, Deserialize)]
pub(crate) struct Origin {
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    trigger: Option<TriggerInfo>,
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    parent: Option<ParentLink>,
    /// Absent when it is the execution itself.
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    original_id: Option<Id>,
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    schedule_time: Option<Timestamp>,
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    trace_parent: Option<String>,
}

impl Origin {
    pub(crate) fn of(execution: &Execution) -> Self {
        Self {
            trigger: execution.trigger.clone(),
            parent: execution.parent.clone(),
            original_id: (execution.original_id != execution.id).then_some(execution.original_id),
            schedule_time: execution.schedule_time,
            trace_parent: execution.trace_parent.clone(),
        }
    }
}

/// What steps change of an execution and is not a column.
#[derive(Serialize, Deserialize)]
pub(crate) struct Progress {
    #[serde(rename = "f")]
    frame: Frame,
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    error: Option<ExecutionError>,
    #[serde(rename = "k", default, skip_serializing_if = "std::ops::Not::not")]
    kill_requested: bool,
    #[serde(rename = "m", default, skip_serializing_if = "Marks::is_empty")]
    marks: Marks,
}

impl Progress {
    pub(crate) fn of(execution: &Execution) -> Self {
        Self {
            frame: execution.frame.clone(),
            error: execution.error.clone(),
            kill_requested: execution.kill_requested,
            marks: execution.marks.clone(),
        }
    }
}

/// Where a task run stands among the iterations.
#[derive(Serialize, Deserialize, Default)]
pub(crate) struct Place {
    #[serde(rename = "v", default, skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    iteration: Option<u32>,
    #[serde(rename = "p", default, skip_serializing_if = "Vec::is_empty")]
    value_path: Vec<String>,
}

impl Place {
    /// `None` outside of loops.
    pub(crate) fn of(run: &TaskRun) -> Option<Self> {
        let inside = run.value.is_some() || run.iteration.is_some() || !run.value_path.is_empty();
        inside.then(|| Self { value: run.value.clone(), iteration: run.iteration, value_path: run.value_path.clone() })
    }
}

/// JSON text of a value that always has one.
pub(crate) fn json<T: Serialize + ?Sized>(value: &T) -> String {
    // Maps with keys that are texts, numbers and lists: there is nothing in the model that JSON cannot say.
    serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned())
}

pub(crate) fn json_or_null<T: Serialize>(value: Option<&T>) -> Option<String> {
    value.map(json)
}

pub(crate) fn corrupt(what: &'static str) -> impl Fn(String) -> StoreError {
    move |reason| StoreError::Corrupt { what, reason }
}

pub(crate) fn parse<T: DeserializeOwned>(what: &'static str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| corrupt(what)(error.to_string()))
}

fn parse_or_null<T: DeserializeOwned>(what: &'static str, text: Option<&str>) -> Result<Option<T>> {
    text.map(|text| parse(what, text)).transpose()
}

pub(crate) fn parse_id(what: &'static str, bytes: &[u8]) -> Result<Id> {
    <[u8; 16]>::try_from(bytes)
        .map(Id::from_bytes)
        .map_err(|_| corrupt(what)(format!("an id of {} bytes", bytes.len())))
}

fn parse_id_or_null(what: &'static str, bytes: Option<&[u8]>) -> Result<Option<Id>> {
    bytes.map(|bytes| parse_id(what, bytes)).transpose()
}

pub(crate) fn number<T: TryFrom<i64>>(what: &'static str, number: impl Into<i64>) -> Result<T> {
    let number = number.into();
    T::try_from(number).map_err(|_| corrupt(what)(format!("{number} is out of range")))
}

fn history(what: &'static str, text: &str) -> Result<StateHistory> {
    let entries: Vec<StateChange> = parse(what, text)?;
    StateHistory::from_entries(entries).ok_or_else(|| corrupt(what)("a history without entries".to_owned()))
}

pub(crate) fn check_format(what: &'static str, format: i16) -> Result<()> {
    if (1..=FORMAT).contains(&format) {
        return Ok(());
    }
    Err(corrupt(what)(format!("format {format} is not known to this version")))
}

/// When it first ran.
pub(crate) fn started_at(history: &StateHistory) -> Option<Timestamp> {
    history.entries().iter().find(|change| change.state == State::Running).map(|change| change.at)
}

/// The execution whose end or state caused this one, as far as its trigger tells.
pub(crate) fn cause(execution: &Execution) -> Option<Id> {
    let value = execution.trigger.as_ref()?.variables.get("executionId")?;
    value.as_str()?.parse().ok()
}

pub(crate) fn execution(row: executions::Model) -> Result<Execution> {
    const WHAT: &str = "execution";
    check_format(WHAT, row.format)?;
    let origin: Origin = parse(WHAT, &row.origin)?;
    let progress: Progress = parse(WHAT, &row.progress)?;
    let id = parse_id(WHAT, &row.id)?;
    Ok(Execution {
        tenant: Tenant::trusted(&row.tenant),
        id,
        namespace: row.namespace,
        flow_id: row.flow_id,
        flow_revision: number(WHAT, row.flow_revision)?,
        state: history(WHAT, &row.history)?,
        labels: parse(WHAT, &row.labels)?,
        inputs: Arc::new(parse(WHAT, &row.inputs)?),
        outputs: parse_or_null(WHAT, row.outputs.as_deref())?,
        variables: parse_or_null(WHAT, row.variables.as_deref())?.map(Arc::new),
        trigger: origin.trigger,
        parent: origin.parent,
        original_id: origin.original_id.unwrap_or(id),
        schedule_time: origin.schedule_time,
        error: progress.error,
        frame: progress.frame,
        kill_requested: progress.kill_requested,
        marks: progress.marks,
        version: row.version,
        trace_parent: origin.trace_parent,
    })
}

pub(crate) fn task_run(row: task_runs::Model) -> Result<TaskRunRow> {
    const WHAT: &str = "task run";
    check_format(WHAT, row.format)?;
    let place: Place = parse_or_null(WHAT, row.place.as_deref())?.unwrap_or_default();
    let attempts: Vec<Attempt> = parse(WHAT, &row.attempts)?;
    Ok(TaskRunRow {
        tenant: Tenant::trusted(&row.tenant),
        execution: parse_id(WHAT, &row.execution)?,
        run: TaskRun {
            id: parse_id(WHAT, &row.id)?,
            task_id: row.task_id,
            seq: number(WHAT, row.seq)?,
            parent_id: parse_id_or_null(WHAT, row.parent_id.as_deref())?,
            value: place.value,
            iteration: place.iteration,
            value_path: place.value_path,
            state: history(WHAT, &row.history)?,
            attempts,
            outputs: parse_or_null(WHAT, row.outputs.as_deref())?.map(Arc::new),
            frame: parse_or_null(WHAT, row.frame.as_deref())?,
            opened: parse_or_null(WHAT, row.opened.as_deref())?.map(Arc::new),
            dispatch: number(WHAT, row.dispatch)?,
            child_execution: parse_id_or_null(WHAT, row.child_execution.as_deref())?,
            version: row.version,
        },
    })
}

pub(crate) fn log(row: logs::Model) -> Result<LogRow> {
    const WHAT: &str = "log line";
    Ok(LogRow {
        tenant: Tenant::trusted(&row.tenant),
        namespace: row.namespace,
        flow_id: row.flow_id,
        execution: parse_id(WHAT, &row.execution)?,
        position: row.position,
        line: LogLine {
            at: Timestamp::from_micros(row.at),
            level: Level::from_number(row.level),
            message: row.message,
            task_id: row.task_id,
            task_run_id: parse_id_or_null(WHAT, row.task_run.as_deref())?,
            attempt: row.attempt.map(|attempt| number(WHAT, attempt)).transpose()?,
        },
    })
}
