//! Executions as people read them.

use std::collections::HashMap;

use serde_json::Value;
use windhover_client::v1::{Execution, Json, TaskRun};

use super::{
    output::table,
    style::{self, BOLD, DIM, paint, safe},
};

/// `5gk3… company.team/hello revision 2 RUNNING`
pub(super) fn heading(execution: &Execution) -> String {
    format!(
        "{} {} revision {} {}",
        paint(BOLD, &safe(&execution.id)),
        flow(execution),
        execution.flow_revision,
        style::state(execution.current_state())
    )
}

/// What came of it: state, time, error, outputs.
pub(super) fn summary(execution: &Execution) -> Vec<String> {
    let mut first = heading(execution);
    if execution.ended.is_some() {
        first.push_str(&format!(" after {}", style::duration_of(execution)));
    }
    let mut lines = vec![first];
    if let Some(error) = &execution.error {
        lines.push(format!("  {} {}", paint(style::ERROR, "error:"), indent(&safe(&error.message), 2)));
    }
    lines.extend(object("outputs", execution.outputs.as_ref()));
    lines
}

/// Everything.
pub(super) fn details(execution: &Execution) -> Vec<String> {
    let mut lines = summary(execution);
    let mut row = |name: &str, value: String| {
        if !value.is_empty() {
            lines.push(format!("  {} {value}", paint(DIM, &format!("{name}:"))));
        }
    };
    row("created", style::date_time(execution.created.as_ref()));
    row("scheduled", style::date_time(execution.schedule_time.as_ref()));
    row("ended", style::date_time(execution.ended.as_ref()));
    if let Some(trigger) = &execution.trigger {
        row("started by", format!("{} ({})", safe(&trigger.id), safe(&trigger.r#type)));
    }
    if let Some(parent) = &execution.parent {
        row("subflow of", safe(&parent.execution_id).into_owned());
    }
    row("replay of", safe(&execution.replayed_from_id).into_owned());
    if execution.original_id != execution.id && execution.original_id != execution.replayed_from_id {
        row("first of them", safe(&execution.original_id).into_owned());
    }
    let labels: Vec<String> = execution.labels.iter().map(|label| format!("{}={}", label.key, label.value)).collect();
    row("labels", safe(&labels.join(" ")).into_owned());
    let states: Vec<&str> = execution
        .state
        .iter()
        .flat_map(|state| &state.history)
        .map(|change| style::state_name(change.state()))
        .collect();
    row("states", states.join(" → "));
    lines.extend(object("inputs", execution.inputs.as_ref()));
    lines.extend(task_runs(execution));
    lines
}

/// A table of executions.
pub(super) fn rows(executions: &[Execution]) -> Vec<String> {
    let rows = executions.iter().map(|execution| {
        [
            safe(&execution.id).into_owned(),
            style::state(execution.current_state()),
            flow(execution),
            execution.flow_revision.to_string(),
            style::date_time(execution.created.as_ref()),
            style::duration_of(execution),
        ]
    });
    table(["ID", "STATE", "FLOW", "REVISION", "CREATED", "TOOK"], rows.collect())
}

/// `company.team/hello`
pub(super) fn flow(execution: &Execution) -> String {
    format!("{}/{}", safe(&execution.namespace), safe(&execution.flow_id))
}

/// The id of the task, with the values of the loops around it: `say a/b`.
pub(super) fn task(run: &TaskRun) -> String {
    let id = safe(&run.task_id);
    if run.value_path.is_empty() {
        return id.into_owned();
    }
    format!("{id} {}", safe(&run.value_path.join("/")).replace('\n', " "))
}

fn task_runs(execution: &Execution) -> Vec<String> {
    if execution.task_runs.is_empty() {
        return Vec::new();
    }
    let mut depths: HashMap<&str, usize> = HashMap::new();
    let mut rows = Vec::new();
    for run in &execution.task_runs {
        let depth = depths.get(run.parent_task_run_id.as_str()).map_or(0, |depth| depth + 1);
        depths.insert(&run.id, depth);
        let attempts = if run.attempts.len() > 1 { format!("{} attempts", run.attempts.len()) } else { String::new() };
        let error = run.attempts.last().map(|attempt| attempt.error.as_str()).unwrap_or_default();
        let error = safe(error.lines().next().unwrap_or_default()).into_owned();
        let waits = match run.waiting_for.as_str() {
            "" => String::new(),
            reason => paint(style::WARNING, &format!("waits: {}", safe(reason))),
        };
        rows.push([
            format!("  {}{}", "  ".repeat(depth), task(run)),
            style::state(run.current_state()),
            safe(&run.id).into_owned(),
            [attempts, error, waits].join(" ").trim().to_owned(),
        ]);
    }
    let mut lines = table(["  TASK", "STATE", "TASK RUN", ""], rows);
    if execution.more_task_runs {
        lines.push(paint(DIM, "  … and more, which only the API lists"));
    }
    lines
}

/// A JSON object, a line for each key.
fn object(name: &str, json: Option<&Json>) -> Vec<String> {
    let Some(json) = json else { return Vec::new() };
    let mut lines = vec![format!("  {}", paint(DIM, &format!("{name}:")))];
    match serde_json::from_str(&json.text) {
        Ok(Value::Object(values)) if values.is_empty() => return Vec::new(),
        Ok(Value::Object(values)) => lines.extend(values.iter().map(|(key, value)| {
            let value = match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            format!("    {}: {}", safe(key), indent(&safe(&value), 4))
        })),
        _ => lines.push(format!("    {}", safe(&json.text))),
    }
    lines
}

/// Further lines of a text stand below the first.
pub(super) fn indent(text: &str, by: usize) -> String {
    text.trim_end_matches('\n').replace('\n', &format!("\n{}", " ".repeat(by)))
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;
    use windhover_client::v1::{ExecutionError, State, StateChange, StateHistory};

    use super::*;

    fn state(states: &[State]) -> Option<StateHistory> {
        let history = states.iter().map(|state| StateChange { state: (*state).into(), at: None }).collect();
        Some(StateHistory { current: states.last().copied().unwrap_or_default().into(), history })
    }

    #[test]
    fn an_execution_shows_what_came_of_it_and_its_tasks_as_a_tree() {
        let run = |id: &str, parent: &str, task: &str, values: &[&str], end: State| TaskRun {
            id: id.into(),
            parent_task_run_id: parent.into(),
            task_id: task.into(),
            value_path: values.iter().map(|value| (*value).to_owned()).collect(),
            state: state(&[end]),
            ..TaskRun::default()
        };
        let execution = Execution {
            id: "e1".into(),
            original_id: "e1".into(),
            namespace: "a.b".into(),
            flow_id: "loop".into(),
            flow_revision: 2,
            state: state(&[State::Created, State::Running, State::Failed]),
            created: Some(Timestamp { seconds: 10, nanos: 0 }),
            ended: Some(Timestamp { seconds: 10, nanos: 17_000_000 }),
            error: Some(ExecutionError { message: "no\nluck".into(), task_run_id: String::new() }),
            outputs: Some(Json { text: r#"{"n":1,"text":"two"}"#.into() }),
            task_runs: vec![run("r1", "", "each", &[], State::Failed), run("r2", "r1", "say", &["x"], State::Success)],
            ..Execution::default()
        };
        let text = anstream::adapter::strip_str(&details(&execution).join("\n")).to_string();
        for part in [
            "e1 a.b/loop revision 2 FAILED after 17 ms\n  error: no\n  luck\n  outputs:\n    n: 1\n    text: two\n",
            "  states: CREATED → RUNNING → FAILED\n",
            "  TASK     STATE    TASK RUN\n  each     FAILED   r1\n    say x  SUCCESS  r2",
        ] {
            assert!(text.contains(part), "{part}\nis not in\n{text}");
        }
        assert!(!text.contains("replay"), "{text}");
    }
}
