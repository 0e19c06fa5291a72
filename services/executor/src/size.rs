//! How many bytes a batch brings to the database: estimates, cheap to make and rather too high.

use serde_json::Value;
use windhover_engine::{Event, Execution, LogLine, Opened, TaskRun};
use windhover_types::JsonMap;

/// A row without its texts: ids, states, times.
const ROW: usize = 512;

/// What an execution brings that does not change any more.
pub(crate) fn of_new(execution: &Execution) -> usize {
    let trigger = execution.trigger.as_ref().map_or(0, |trigger| of_map(&trigger.variables));
    ROW + of_map(&execution.inputs) + trigger
}

/// What every write of an execution brings.
pub(crate) fn of_execution(execution: &Execution) -> usize {
    let labels: usize = execution.labels.iter().map(|label| label.key.len() + label.value.len() + 16).sum();
    let maps = [execution.outputs.as_ref(), execution.variables.as_deref()];
    let error = execution.error.as_ref().map_or(0, |error| error.message.len());
    ROW + labels + maps.into_iter().flatten().map(of_map).sum::<usize>() + error
}

pub(crate) fn of_task_run(run: &TaskRun) -> usize {
    let attempts: usize = run.attempts.iter().map(|attempt| 128 + attempt.error.as_ref().map_or(0, String::len)).sum();
    let values: usize = match run.opened.as_deref() {
        Some(Opened::ForEach { values }) => values.iter().map(|value| value.len() + 4).sum(),
        _ => 0,
    };
    ROW + attempts + values + run.outputs.as_deref().map_or(0, of_value)
}

pub(crate) fn of_line(line: &LogLine) -> usize {
    ROW + line.message.len()
}

/// An event that waits in the inbox.
pub(crate) fn of_event(event: &Event) -> usize {
    match event {
        Event::SubflowEnded { outputs: Some(outputs), .. } => ROW + of_map(outputs),
        _ => ROW,
    }
}

fn of_map(map: &JsonMap) -> usize {
    map.iter().map(|(key, value)| key.len() + 4 + of_value(value)).sum()
}

fn of_value(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 5,
        Value::Number(_) => 12,
        Value::String(text) => text.len() + 2,
        Value::Array(values) => 2 + values.iter().map(|value| 1 + of_value(value)).sum::<usize>(),
        Value::Object(map) => 2 + of_map(map),
    }
}
