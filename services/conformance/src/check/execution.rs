//! Expectations about one execution.

use serde_json::{Map, Value, json};

use super::{Seen, not_offered};
use crate::{
    expectation::{ExecutionProperties, StateHistory, TaskRunProperties},
    findings::{Findings, short, shorten},
    seen::{Execution, History, LogLine, TaskRun},
    template::{resolve, resolve_text},
    time,
};

/// The place that an index means in a list of this length; negative ones count from its end.
pub(super) fn place(index: i64, length: usize) -> Option<usize> {
    let place = if index < 0 { index + i64::try_from(length).ok()? } else { index };
    usize::try_from(place).ok().filter(|place| *place < length)
}

pub(super) fn check(
    execution: &Execution,
    expected: &ExecutionProperties,
    at: &str,
    seen: &Seen,
    findings: &mut Findings,
) {
    let mut property = |name: &str, expected: Option<&Value>, saw: Option<Value>| {
        if let Some(expected) = expected {
            seen.compare(expected, saw.as_ref(), &format!("{at}: {name}"), findings);
        }
    };
    property("state", expected.state.as_ref(), Some(json!(execution.state)));
    property("task_runs", expected.task_runs.as_ref(), Some(json!(execution.task_runs.len())));
    property("outputs", expected.outputs.as_ref(), execution.outputs.clone());
    property("inputs", expected.inputs.as_ref(), execution.inputs.clone());
    property("labels", expected.labels.as_ref(), Some(Value::Object(execution.labels.clone())));
    property("trigger", expected.trigger.as_ref(), execution.trigger.clone());
    property("revision", expected.revision.as_ref(), Some(json!(execution.revision)));
    property("parent", expected.parent.as_ref(), execution.parent.as_deref().map(Value::from));
    let duration = execution.duration().map(|seconds| json!(format!("PT{seconds}S")));
    property("duration", expected.duration.as_ref(), duration);
    for (state, count) in &expected.task_runs_in_state {
        let saw = execution.task_runs.iter().filter(|run| run.state == *state).count();
        property(&format!("task_runs_in_state.{state}"), Some(count), Some(json!(saw)));
    }
    task_properties(execution, expected, at, seen, findings);
    for task_run in &expected.task_run {
        check_task_run(execution, task_run, at, seen, findings);
    }
    if let Some(history) = &expected.state_history {
        check_history(&execution.history, history, &format!("{at}: state_history"), findings);
    }
    if let Some(text) = &expected.started_not_before {
        started_not_before(execution, text, &format!("{at}: started_not_before"), seen, findings);
    }
    check_logs(execution, expected, at, seen, findings);
}

/// Which execution it is, compared with what the steps made.
pub(super) fn check_identity(
    name: &str,
    expected: &ExecutionProperties,
    at: &str,
    seen: &Seen,
    findings: &mut Findings,
) {
    let Ok(execution) = seen.world.created(name) else {
        return;
    };
    if expected.same_id == Some(true) && seen.world.first_ids.get(name) != Some(&execution.id) {
        findings.mismatch(at, format_args!("expected the same id as before, saw {}", execution.id));
    }
    if let Some(other) = &expected.not_same_id_as {
        match seen.world.created(other) {
            Ok(other) if other.id != execution.id => {}
            Ok(_) => findings.mismatch(at, format_args!("expected another id than that of {other}")),
            Err(error) => findings.mismatch(at, error),
        }
    }
}

fn task_properties(
    execution: &Execution,
    expected: &ExecutionProperties,
    at: &str,
    seen: &Seen,
    findings: &mut Findings,
) {
    for (task, states) in &expected.task_states {
        let states = if states.is_array() { states.clone() } else { json!([states]) };
        let saw = json!(execution.task_runs_of(task).map(|run| &run.state).collect::<Vec<_>>());
        let expected = json!({ "$unordered": states });
        seen.compare(&expected, Some(&saw), &format!("{at}: task_states.{task}"), findings);
    }
    for task in &expected.absent_tasks {
        let states: Vec<&str> = execution.task_runs_of(task).map(|run| run.state.as_str()).collect();
        if !states.is_empty() {
            findings.mismatch(at, format_args!("expected no task run of {task}, saw {states:?}"));
        }
    }
    for (index, task) in &expected.task_at {
        let at = format!("{at}: task_at.{index}");
        let run = index.parse().ok().and_then(|index: usize| execution.task_runs.get(index));
        seen.compare(task, run.map(|run| json!(run.task)).as_ref(), &at, findings);
    }
    for (task, outputs) in &expected.task_outputs {
        let at = format!("{at}: task_outputs.{task}");
        match execution.task_runs_of(task).next() {
            Some(run) => seen.compare(outputs, run.outputs.as_ref(), &at, findings),
            None => findings.mismatch(&at, "there is no task run of this task"),
        }
    }
    for (task, attempts) in &expected.attempts {
        let at = format!("{at}: attempts.{task}");
        let mut runs = execution.task_runs_of(task).peekable();
        if runs.peek().is_none() {
            findings.mismatch(&at, "there is no task run of this task");
        }
        for run in runs {
            seen.compare(attempts, Some(&json!(run.attempts)), &at, findings);
        }
    }
    for (task, others) in &expected.started_after {
        for other in others {
            started_after(execution, task, other, &format!("{at}: started_after.{task}"), findings);
        }
    }
}

/// The earliest task run of `task` begins when the last one of `other` has ended.
fn started_after(execution: &Execution, task: &str, other: &str, at: &str, findings: &mut Findings) {
    let begun = execution.task_runs_of(task).filter_map(TaskRun::begun).min();
    let mut ends = execution.task_runs_of(other).map(TaskRun::ended).peekable();
    let (Some(begun), true) = (begun, ends.peek().is_some()) else {
        return findings.mismatch(at, format_args!("{task} and {other} did not both run"));
    };
    // One that has not ended is `None`.
    let ended: Option<Vec<_>> = ends.collect();
    match ended.and_then(|ends| ends.into_iter().max()) {
        Some(ended) if ended <= begun => {}
        Some(ended) => {
            let (begun, ended) = (time::text(begun), time::text(ended));
            findings.mismatch(at, format_args!("{task} began at {begun}, {other} ended at {ended}"));
        }
        None => findings.mismatch(at, format_args!("{other} has not ended")),
    }
}

fn check_task_run(execution: &Execution, expected: &TaskRunProperties, at: &str, seen: &Seen, findings: &mut Findings) {
    let wanted = match (&expected.task, &expected.values, expected.index, expected.index_in_execution) {
        (Some(task), Some(values), _, _) => format!("{task} {values:?}"),
        (Some(task), None, index, _) => format!("{task} [{}]", index.unwrap_or(0)),
        (None, _, _, Some(index)) => format!("number {index}"),
        (None, ..) => return findings.mismatch(at, "task_run names no task run"),
    };
    let at = format!("{at}: task run {wanted}");
    let run = match find_task_run(execution, expected, seen) {
        Ok(Some(run)) => run,
        Ok(None) => return findings.mismatch(&at, "it does not exist"),
        Err(error) => return findings.mismatch(&at, error),
    };
    let mut property = |name: &str, expected: Option<&Value>, saw: Option<&Value>| {
        if let Some(expected) = expected {
            seen.compare(expected, saw, &format!("{at}: {name}"), findings);
        }
    };
    property("state", expected.state.as_ref(), Some(&json!(run.state)));
    property("attempts", expected.attempts.as_ref(), Some(&json!(run.attempts)));
    property("outputs", expected.outputs.as_ref(), run.outputs.as_ref());
    for (state, count) in &expected.history_counts {
        let saw = run.history.iter().filter(|(entry, _)| entry == state).count();
        property(&format!("history_counts.{state}"), Some(count), Some(&json!(saw)));
    }
    if expected.log_file.is_some() {
        findings.missing(not_offered("FileService.Download"));
    }
}

fn find_task_run<'a>(
    execution: &'a Execution,
    expected: &TaskRunProperties,
    seen: &Seen,
) -> Result<Option<&'a TaskRun>, String> {
    let Some(task) = &expected.task else {
        let place = expected.index_in_execution.and_then(|index| place(index, execution.task_runs.len()));
        return Ok(place.map(|place| &execution.task_runs[place]));
    };
    let mut runs: Vec<&TaskRun> = execution.task_runs_of(task).collect();
    if let Some(values) = &expected.values {
        let values: Vec<String> =
            values.iter().map(|value| resolve_text(value, seen.world)).collect::<Result<_, _>>()?;
        runs.retain(|run| run.values == values);
    }
    Ok(place(expected.index.unwrap_or(0), runs.len()).map(|place| runs[place]))
}

fn check_history(history: &History, expected: &StateHistory, at: &str, findings: &mut Findings) {
    let states: Vec<&str> = history.iter().map(|(state, _)| state.as_str()).collect();
    if let Some(start) = &expected.starts_with
        && !(states.len() >= start.len() && states.iter().zip(start).all(|(saw, expected)| saw == expected))
    {
        findings.mismatch(at, format_args!("expected to start with {start:?}, saw {states:?}"));
    }
    if let Some(wanted) = &expected.contains_in_order {
        let mut rest = states.iter();
        if !wanted.iter().all(|state| rest.any(|saw| saw == state)) {
            findings.mismatch(at, format_args!("expected {wanted:?} in this order, saw {states:?}"));
        }
    }
}

fn started_not_before(execution: &Execution, text: &str, at: &str, seen: &Seen, findings: &mut Findings) {
    let limit = match resolve_text(text, seen.world) {
        Ok(text) => time::instant(&text),
        Err(error) => return findings.mismatch(at, error),
    };
    match (limit, execution.started) {
        (None, _) => findings.mismatch(at, format_args!("`{text}` is no instant")),
        (_, None) => findings.mismatch(at, "it has not started"),
        (Some(limit), Some(started)) if started < limit => {
            findings.mismatch(at, format_args!("started at {}, before {}", time::text(started), time::text(limit)));
        }
        _ => {}
    }
}

fn check_logs(execution: &Execution, expected: &ExecutionProperties, at: &str, seen: &Seen, findings: &mut Findings) {
    let told = || {
        let lines: Vec<String> = execution
            .logs
            .iter()
            .map(|line| format!("{} {}: {}", line.level, line.task.as_deref().unwrap_or("-"), line.message))
            .collect();
        shorten(&lines.join(" | "), 1_500)
    };
    for wanted in &expected.logs_contain {
        if let Err(error) = find_line(execution, wanted, seen).and_then(|line| line.map(|_| ()).ok_or_else(told)) {
            findings.mismatch(&format!("{at}: logs_contain {}", short(wanted)), format_args!("no line; saw {error}"));
        }
    }
    for unwanted in &expected.logs_not_contain {
        let at = format!("{at}: logs_not_contain {}", short(unwanted));
        match find_line(execution, unwanted, seen) {
            Ok(None) => {}
            Ok(Some(line)) => findings.mismatch(&at, format_args!("saw {}", shorten(&line.message, 400))),
            Err(error) => findings.mismatch(&at, error),
        }
    }
    for (message, count) in &expected.log_counts {
        let saw = execution.logs.iter().filter(|line| line.message.trim() == message.trim()).count();
        seen.compare(count, Some(&json!(saw)), &format!("{at}: log_counts {message}"), findings);
    }
}

/// The first line that fits: a text is part of the message; a matcher is about the message; a map about task, level and
/// the whole message.
fn find_line<'a>(execution: &'a Execution, wanted: &Value, seen: &Seen) -> Result<Option<&'a LogLine>, String> {
    let wanted = match resolve(wanted, seen.world)? {
        Value::String(text) => json!({ "message": { "$contains": text } }),
        Value::Object(map) if map.keys().any(|key| key.starts_with('$')) => json!({ "message": map }),
        Value::Object(map) if map.keys().all(|key| ["task", "level", "message"].contains(&key.as_str())) => {
            trimmed(map)
        }
        other => return Err(format!("{} does not describe a log line", short(&other))),
    };
    let fits = |line: &&LogLine| {
        let document = json!({ "task": line.task, "level": line.level, "message": line.message.trim() });
        crate::matching::compare(&wanted, Some(&document), "line", seen.files).is_empty()
    };
    Ok(execution.logs.iter().find(fits))
}

/// Messages are compared after trimming.
fn trimmed(mut map: Map<String, Value>) -> Value {
    if let Some(Value::String(message)) = map.get_mut("message") {
        *message = message.trim().to_owned();
    }
    Value::Object(map)
}
