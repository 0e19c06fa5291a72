//! Functions that read the run (expression reference, section 15.3).

use crate::error::Fault;
use crate::eval::{Args, Frame};
use crate::value::Value;

type Answer = Result<Value, Fault>;

/// At most so many entries are given by `errorLogs`.
const MAX_ERROR_LOGS: usize = 25;

pub(super) fn fetch_context(frame: &mut Frame<'_, '_>, _: &Args) -> Answer {
    frame.everything()
}

pub(super) fn error_logs(frame: &mut Frame<'_, '_>, _: &Args) -> Answer {
    let mut entries = frame.session.environment.services.error_logs()?;
    entries.truncate(MAX_ERROR_LOGS);
    frame.session.meter.elements(entries.len())?;
    Ok(Value::list(entries))
}

/// Walks the given map by the values of the loops around, from the outermost to the innermost.
pub(super) fn current_each_output(frame: &mut Frame<'_, '_>, args: &Args) -> Answer {
    let Some(outputs) = args.given(0) else {
        return Err(Fault::engine("The 'currentEachOutput' function expects an argument 'outputs'."));
    };
    if !outputs.is_map() {
        return Err(Fault::engine("The 'currentEachOutput' function expects an argument 'outputs' with type map."));
    }
    let parents = super::root(frame, "parents")?;
    let Some(parents) = parents.items() else {
        return Err(Fault::host("java.lang.NullPointerException: the variable 'parents' is missing"));
    };
    let mut current = outputs.clone();
    let taskrun = super::root(frame, "taskrun")?;
    let outer = parents.iter().rev().map(|parent| frame.entry(parent, "taskrun"));
    let steps: Vec<Option<Value>> = outer.chain([Ok(Some(taskrun))]).collect::<Result<_, Fault>>()?;
    for taskrun in steps.into_iter().flatten() {
        let Some(value) = super::field(frame, &taskrun, "value")? else { continue };
        current = frame.entry(&current, &value)?.unwrap_or(Value::Null);
        if current.is_null() {
            break;
        }
    }
    Ok(current)
}

/// The task runs of the variable `tasks` that are in a state.
pub(super) fn tasks_with_state(frame: &mut Frame<'_, '_>, args: &Args) -> Answer {
    let Some(state) = args.get(0) else {
        return Err(Fault::engine("The 'tasksWithState' function expects an argument 'state'."));
    };
    let state = frame.session.printer().plain_text(state)?;
    let mut found = Vec::new();
    for (task, entry) in super::root(frame, "tasks")?.entries()?.unwrap_or_default() {
        if let Some(own) = frame.entry(&entry, "state")?.filter(|own| own.as_text().is_some()) {
            add_if(frame, &mut found, &state, &task, None, &own)?;
            continue;
        }
        for (value, inner) in entry.entries()?.unwrap_or_default() {
            if let Some(own) = frame.entry(&inner, "state")? {
                add_if(frame, &mut found, &state, &task, Some(&value), &own)?;
            }
        }
    }
    Ok(Value::list(found))
}

fn add_if(
    frame: &Frame<'_, '_>,
    found: &mut Vec<Value>,
    wanted: &str,
    task: &Value,
    value: Option<&Value>,
    state: &Value,
) -> Result<(), Fault> {
    frame.session.meter.elements(4)?;
    if frame.session.printer().plain_text(state)?.eq_ignore_ascii_case(wanted) {
        let mut entry = vec![("taskId", task.clone()), ("state", state.clone())];
        entry.extend(value.map(|value| ("value", value.clone())));
        found.push(Value::map(entry));
    }
    Ok(())
}
