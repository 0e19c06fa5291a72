//! Executions, task runs, log lines.

use std::time::Duration;

use windhover_engine::{Attempt, Execution, TaskRun};
use windhover_proto::v1 as proto;
use windhover_types::{Id, Level, State, StateHistory, Timestamp};

use super::{json, labels, object};
use crate::error::{Result, invalid};

pub(crate) fn time(at: Timestamp) -> prost_types::Timestamp {
    let micros = at.as_micros();
    prost_types::Timestamp {
        seconds: micros.div_euclid(1_000_000),
        nanos: (micros.rem_euclid(1_000_000) * 1_000) as i32,
    }
}

/// A time of a request.
pub(crate) fn from_time(field: &str, time: prost_types::Timestamp) -> Result<Timestamp> {
    let wrong = || invalid(field, "a time between the years 1 and 9999");
    if !(-62_135_596_800..=253_402_300_799).contains(&time.seconds) || !(0..1_000_000_000).contains(&time.nanos) {
        return Err(wrong());
    }
    Ok(Timestamp::from_micros(time.seconds * 1_000_000 + i64::from(time.nanos) / 1_000))
}

/// A duration of a request.
pub(crate) fn from_duration(field: &str, duration: prost_types::Duration) -> Result<Duration> {
    Duration::try_from(duration).map_err(|_| invalid(field, "a duration that is not negative"))
}

/// An id of a request.
pub(crate) fn id(field: &str, text: &str) -> Result<Id> {
    text.parse().map_err(|error| match text {
        "" => invalid(field, "is required"),
        _ => invalid(field, format!("{error}")),
    })
}

pub(crate) const fn state(state: State) -> proto::State {
    match state {
        State::Created => proto::State::Created,
        State::Submitted => proto::State::Submitted,
        State::Restarted => proto::State::Restarted,
        State::Queued => proto::State::Queued,
        State::Running => proto::State::Running,
        State::Paused => proto::State::Paused,
        State::Breakpoint => proto::State::Breakpoint,
        State::Killing => proto::State::Killing,
        State::Retrying => proto::State::Retrying,
        State::Retried => proto::State::Retried,
        State::Resubmitted => proto::State::Resubmitted,
        State::Skipped => proto::State::Skipped,
        State::Success => proto::State::Success,
        State::Warning => proto::State::Warning,
        State::Failed => proto::State::Failed,
        State::Killed => proto::State::Killed,
        State::Cancelled => proto::State::Cancelled,
    }
}

/// A state of a request.
pub(crate) fn from_state(field: &str, number: i32) -> Result<State> {
    State::ALL
        .iter()
        .copied()
        .find(|known| state(*known) as i32 == number)
        .ok_or_else(|| invalid(field, format!("{number} is no state")))
}

pub(crate) const fn level(level: Level) -> proto::LogLevel {
    match level {
        Level::Trace => proto::LogLevel::Trace,
        Level::Debug => proto::LogLevel::Debug,
        Level::Info => proto::LogLevel::Info,
        Level::Warn => proto::LogLevel::Warn,
        Level::Error => proto::LogLevel::Error,
    }
}

/// A level of a request; TRACE when it is not given.
pub(crate) fn from_level(field: &str, number: i32) -> Result<Level> {
    if number == proto::LogLevel::Unspecified as i32 {
        return Ok(Level::Trace);
    }
    let known = Level::ALL.iter().copied().find(|known| level(*known) as i32 == number);
    known.ok_or_else(|| invalid(field, format!("{number} is no level")))
}

/// Whether a view asks for everything, with the default of the method.
pub(crate) fn is_full(view: i32, default: bool) -> Result<bool> {
    match proto::View::try_from(view) {
        Ok(proto::View::Unspecified) => Ok(default),
        Ok(proto::View::Basic) => Ok(false),
        Ok(proto::View::Full) => Ok(true),
        Err(_) => Err(invalid("view", format!("{view} is no view"))),
    }
}

fn history(history: &StateHistory) -> proto::StateHistory {
    proto::StateHistory {
        current: state(history.current()) as i32,
        history: history
            .entries()
            .iter()
            .map(|change| proto::StateChange { state: state(change.state) as i32, at: Some(time(change.at)) })
            .collect(),
    }
}

/// An execution without task runs.
pub(crate) fn execution(execution: &Execution, full: bool) -> proto::Execution {
    let running = execution.state.entries().iter().find(|change| change.state == State::Running);
    proto::Execution {
        id: execution.id.to_string(),
        namespace: execution.namespace.clone(),
        flow_id: execution.flow_id.clone(),
        flow_revision: execution.flow_revision,
        state: Some(history(&execution.state)),
        labels: labels(&execution.labels),
        inputs: if full { object(&execution.inputs) } else { None },
        outputs: execution.outputs.as_ref().filter(|_| full).and_then(object),
        variables: execution.variables.as_ref().filter(|_| full).and_then(|variables| object(variables)),
        trigger: execution.trigger.as_ref().map(|trigger| proto::ExecutionTrigger {
            id: trigger.id.clone(),
            r#type: trigger.type_name.clone(),
            variables: full.then(|| json(&trigger.variables)),
        }),
        parent: execution.parent.as_ref().map(|parent| proto::ExecutionParent {
            execution_id: parent.execution_id.to_string(),
            task_run_id: parent.task_run_id.to_string(),
        }),
        original_id: execution.original_id.to_string(),
        schedule_time: execution.schedule_time.map(time),
        created: Some(time(execution.state.started())),
        started: running.map(|change| time(change.at)),
        ended: execution.state.ended().map(time),
        error: execution.error.as_ref().map(|error| proto::ExecutionError {
            message: error.message.clone(),
            task_run_id: error.task_run_id.map(|id| id.to_string()).unwrap_or_default(),
        }),
        task_runs: Vec::new(),
        more_task_runs: false,
        etag: execution.version.to_string(),
        replayed_from_id: execution.marks.replayed_from.map(|id| id.to_string()).unwrap_or_default(),
    }
}

pub(crate) fn task_run(execution: Id, run: &TaskRun, full: bool) -> proto::TaskRun {
    proto::TaskRun {
        id: run.id.to_string(),
        execution_id: execution.to_string(),
        task_id: run.task_id.clone(),
        parent_task_run_id: run.parent_id.map(|id| id.to_string()).unwrap_or_default(),
        value: run.value.clone(),
        iteration: run.iteration,
        state: Some(history(&run.state)),
        attempts: run.attempts.iter().enumerate().map(|(number, of)| attempt(number, of)).collect(),
        outputs: run.outputs.as_ref().filter(|_| full).map(|outputs| json(outputs.as_ref())),
        dynamic: false,
        value_path: run.value_path.clone(),
        waiting_for: String::new(),
    }
}

fn attempt(number: usize, attempt: &Attempt) -> proto::TaskRunAttempt {
    proto::TaskRunAttempt {
        number: u32::try_from(number).unwrap_or(u32::MAX),
        state: Some(history(&attempt.state)),
        worker: attempt.worker.clone().unwrap_or_default(),
        error: attempt.error.clone().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_and_levels_have_the_same_names_in_the_api() {
        for known in State::ALL.iter().copied() {
            assert_eq!(state(known).as_str_name(), format!("STATE_{known}"));
            assert_eq!(from_state("states[0]", state(known) as i32), Ok(known));
        }
        for known in Level::ALL.iter().copied() {
            assert_eq!(level(known).as_str_name(), format!("LOG_LEVEL_{known}"));
            assert_eq!(from_level("min_level", level(known) as i32), Ok(known));
        }
        assert!(from_state("states[0]", 0).is_err() && from_state("states[0]", 99).is_err());
        assert_eq!(from_level("min_level", 0), Ok(Level::Trace));
        assert!(from_level("min_level", 99).is_err());
    }

    #[test]
    fn times_before_1970_and_impossible_ones_are_handled() {
        let at = Timestamp::from_micros(-1);
        assert_eq!(from_time("t", time(at)), Ok(at));
        assert_eq!(time(at), prost_types::Timestamp { seconds: -1, nanos: 999_999_000 });
        for (seconds, nanos) in [(i64::MAX, 0), (i64::MIN, 0), (0, -1), (0, 1_000_000_000)] {
            assert!(from_time("t", prost_types::Timestamp { seconds, nanos }).is_err());
        }
        assert!(from_duration("timeout", prost_types::Duration { seconds: -1, nanos: 0 }).is_err());
    }
}
