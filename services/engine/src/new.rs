//! Executions to be made.

use std::sync::Arc;

use windhover_types::{Id, JsonMap, Label, State, Tenant, Timestamp};

use crate::{Execution, ParentLink, TaskRun, TriggerInfo};

/// An execution to be made.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NewExecution {
    pub id: Id,
    pub namespace: String,
    pub flow_id: String,
    pub flow_revision: u32,
    pub labels: Vec<Label>,
    pub inputs: Arc<JsonMap>,
    pub variables: Option<Arc<JsonMap>>,
    pub trigger: Option<TriggerInfo>,
    pub parent: Option<ParentLink>,
    pub schedule_time: Option<Timestamp>,
    pub trace_parent: Option<String>,
    /// Mostly empty; what repeats another execution says so here.
    pub marks: crate::Marks,
    /// First of the chain of replays, when it is one.
    pub original_id: Option<Id>,
    /// It is born to fail, for this reason: no task runs (a check of the flow, a trigger that could not prepare it).
    pub fail: Option<String>,
    /// What a replay keeps of the execution that it repeats: it is RESTARTED then. They are committed with it.
    pub task_runs: Vec<TaskRun>,
}

/// An execution in its first state, before any step.
pub fn new_execution(tenant: &Tenant, new: &NewExecution, at: Timestamp) -> Execution {
    let mut state = windhover_types::StateHistory::new(State::Created, at);
    if !new.task_runs.is_empty() {
        state.set(State::Restarted, at);
    }
    Execution {
        tenant: tenant.clone(),
        id: new.id,
        namespace: new.namespace.clone(),
        flow_id: new.flow_id.clone(),
        flow_revision: new.flow_revision,
        state,
        labels: new.labels.clone(),
        inputs: new.inputs.clone(),
        outputs: None,
        variables: new.variables.clone(),
        trigger: new.trigger.clone(),
        parent: new.parent.clone(),
        original_id: new.original_id.unwrap_or(new.id),
        schedule_time: new.schedule_time,
        error: new.fail.clone().map(|message| crate::ExecutionError { message, task_run_id: None }),
        frame: crate::Frame::default(),
        kill_requested: false,
        marks: new.marks.clone(),
        version: 1,
        trace_parent: new.trace_parent.clone(),
    }
}
