//! An execution as it runs, in the terminal.

use std::{collections::HashMap, process::ExitCode, time::Duration};

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use tokio::time::{Instant, timeout};
use windhover_client::v1::{
    CreateExecutionResponse, Execution, FollowExecutionResponse, LogLine, State, StateHistory, TaskRun,
    follow_execution_response::Event,
};

use super::{
    error::{ENDED_BADLY, Failure},
    execution::ended_well,
    execution_text::{flow, heading, indent, summary, task},
    output::JsonArray,
    session::Session,
    style::{self, BOLD, DIM, paint, safe},
};

/// What comes within so short a time is put in order before it is shown.
const SETTLE: Duration = Duration::from_millis(30);
/// But nothing waits longer than this.
const AT_MOST: Duration = Duration::from_millis(250);

/// Shows an execution until it has ended. `created`: it was just made.
pub(super) async fn follow(
    session: &Session,
    execution_id: &str,
    created: Option<&CreateExecutionResponse>,
) -> Result<ExitCode, Failure> {
    let state = if session.output.is_json() {
        as_json(session, execution_id, created).await?
    } else {
        as_text(session, execution_id, created).await?
    };
    Ok(if ended_well(state) { ExitCode::SUCCESS } else { ENDED_BADLY.into() })
}

/// One array: the answer to the creation, if there was one, then every message.
async fn as_json(
    session: &Session,
    execution_id: &str,
    created: Option<&CreateExecutionResponse>,
) -> Result<State, Failure> {
    let mut array = JsonArray::new();
    if let Some(created) = created {
        array.item(created)?;
    }
    let mut follow = session.client.follow(execution_id);
    let mut ended = State::Unspecified;
    while let Some(message) = follow.next().await {
        let message = match message {
            Ok(message) => message,
            Err(error) => {
                array.end()?;
                return Err(error.into());
            }
        };
        if let Some(Event::End(end)) = &message.event {
            ended = end.state();
        }
        array.item(&message)?;
    }
    array.end()?;
    Ok(ended)
}

async fn as_text(
    session: &Session,
    execution_id: &str,
    created: Option<&CreateExecutionResponse>,
) -> Result<State, Failure> {
    if let Some(execution) = created.and_then(|created| created.execution.as_ref()) {
        session.output.lines(&[heading(execution)])?;
    }
    let mut follow = session.client.follow(execution_id);
    let mut story = Story::new(style::local_time_of_day);
    let mut since = Instant::now();
    loop {
        let next = if story.is_empty() {
            let next = follow.next().await;
            since = Instant::now();
            next
        } else {
            let patience = SETTLE.min(AT_MOST.saturating_sub(since.elapsed()));
            match timeout(patience, follow.next()).await {
                Ok(next) => next,
                Err(_) => {
                    session.output.lines(&story.tell())?;
                    continue;
                }
            }
        };
        match next {
            Some(Ok(message)) => story.add(message),
            Some(Err(error)) => {
                session.output.lines(&story.tell())?;
                return Err(error.into());
            }
            None => break,
        }
    }
    session.output.lines(&story.tell())?;
    session.output.lines(&story.execution.as_ref().map(summary).unwrap_or_default())?;
    Ok(story.ended)
}

/// Turns messages into lines in the order of what happened. A message repeats what was known before: only what is new
/// in it is told.
struct Story {
    time_of_day: fn(DateTime<Utc>) -> String,
    execution: Option<Execution>,
    /// States of the execution that were told.
    told: usize,
    runs: HashMap<String, Run>,
    lines: Vec<Line>,
    ended: State,
}

/// A task run that was heard of.
struct Run {
    name: String,
    /// How many of its states were told.
    told: usize,
    parent: String,
    /// How many were heard of before it.
    first: usize,
    /// The same of the last one inside it, itself included.
    last: usize,
}

struct Line {
    at: DateTime<Utc>,
    /// The task run that it is about.
    run: Option<String>,
    rank: Rank,
    text: String,
}

/// What comes first within a millisecond, of one task run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    ExecutionGoes,
    TaskGoes,
    Said,
    TaskEnds,
    ExecutionEnds,
}

impl Story {
    fn new(time_of_day: fn(DateTime<Utc>) -> String) -> Self {
        Self {
            time_of_day,
            execution: None,
            told: 0,
            runs: HashMap::new(),
            lines: Vec::new(),
            ended: State::Unspecified,
        }
    }

    fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    fn add(&mut self, message: FollowExecutionResponse) {
        match message.event {
            Some(Event::Execution(execution)) => self.add_execution(*execution),
            Some(Event::TaskRun(run)) => self.add_task_run(&run),
            Some(Event::LogLine(line)) => self.add_log_line(&line),
            Some(Event::End(end)) => self.ended = end.state(),
            // Its end was told, if it had one.
            Some(Event::TaskRunRemoved(_) | Event::KeepAlive(_)) | None => {}
        }
    }

    /// The lines that have gathered, in order. What happened within a millisecond is told one task run after another;
    /// a task with others inside ends after the last of them.
    fn tell(&mut self) -> Vec<String> {
        let runs = &self.runs;
        let place = |line: &Line| match (line.rank, line.run.as_ref().and_then(|id| runs.get(id))) {
            (Rank::TaskEnds, Some(run)) => (run.last, line.rank, usize::MAX - run.first),
            (_, Some(run)) => (run.first, line.rank, 0),
            (Rank::ExecutionEnds, None) => (usize::MAX, line.rank, 0),
            (_, None) => (0, line.rank, 0),
        };
        self.lines.sort_by_key(|line| (line.at, place(line)));
        self.lines.drain(..).map(|line| line.text).collect()
    }

    fn add_execution(&mut self, execution: Execution) {
        let name = paint(BOLD, &flow(&execution));
        let told = std::mem::replace(&mut self.told, entries(execution.state.as_ref()));
        let ranks = [Rank::ExecutionGoes, Rank::ExecutionEnds];
        self.add_states(None, &name, execution.state.as_ref(), told, ranks);
        self.execution = Some(execution);
    }

    fn add_task_run(&mut self, run: &TaskRun) {
        let name = task(run);
        let seen = entries(run.state.as_ref());
        let next = self.runs.len();
        let known = self.runs.entry(run.id.clone()).or_insert_with(|| Run {
            name: name.clone(),
            told: 0,
            parent: run.parent_task_run_id.clone(),
            first: next,
            last: next,
        });
        let (told, first) = (std::mem::replace(&mut known.told, seen), known.first);
        self.widen(&run.parent_task_run_id, first);
        let ranks = [Rank::TaskGoes, Rank::TaskEnds];
        self.add_states(Some(&run.id), &format!("[{name}]"), run.state.as_ref(), told, ranks);
    }

    /// Tells the task runs around one that it is inside them.
    fn widen(&mut self, parent: &str, first: usize) {
        let mut parent = parent.to_owned();
        while let Some(run) = self.runs.get_mut(&parent) {
            if run.last >= first {
                return;
            }
            run.last = first;
            parent.clone_from(&run.parent);
        }
    }

    fn add_states(
        &mut self,
        run: Option<&str>,
        name: &str,
        state: Option<&StateHistory>,
        told: usize,
        ranks: [Rank; 2],
    ) {
        for change in state.iter().flat_map(|state| &state.history).skip(told) {
            let state = change.state();
            // Every task is planned and handed over: of no interest to who watches.
            if ranks[0] == Rank::TaskGoes && matches!(state, State::Created | State::Submitted) {
                continue;
            }
            let rank = ranks[usize::from(state.is_final())];
            self.push(style::utc(change.at.as_ref()), (run, rank), paint(DIM, "STATE"), name, &style::state(state));
        }
    }

    fn add_log_line(&mut self, line: &LogLine) {
        let name = match self.runs.get(&line.task_run_id) {
            Some(run) => format!("[{}]", run.name),
            None if line.task_id.is_empty() => String::new(),
            None => format!("[{}]", safe(&line.task_id)),
        };
        let level = style::level(line.level());
        let about = (Some(line.task_run_id.as_str()), Rank::Said);
        self.push(style::utc(line.time.as_ref()), about, level, &name, &indent(&safe(&line.message), 19));
    }

    fn push(
        &mut self,
        at: Option<DateTime<Utc>>,
        (run, rank): (Option<&str>, Rank),
        tag: String,
        name: &str,
        what: &str,
    ) {
        // Times are exact to the millisecond; what lies below must not change the order.
        let at = at.unwrap_or_default().duration_trunc(TimeDelta::milliseconds(1)).unwrap_or_default();
        let time = paint(DIM, &(self.time_of_day)(at));
        let name = if name.is_empty() { String::new() } else { format!("{name} ") };
        let text = format!("{time} {tag} {name}{what}");
        self.lines.push(Line { at, run: run.map(str::to_owned), rank, text });
    }
}

fn entries(state: Option<&StateHistory>) -> usize {
    state.map_or(0, |state| state.history.len())
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;
    use windhover_client::v1::{FollowEnd, LogLevel, StateChange};

    use super::*;

    fn utc_time_of_day(at: DateTime<Utc>) -> String {
        at.format("%H:%M:%S%.3f").to_string()
    }

    fn at(millis: i32) -> Option<Timestamp> {
        Some(Timestamp { seconds: 43_201, nanos: millis * 1_000_000 })
    }

    fn states(states: &[(State, i32)]) -> Option<StateHistory> {
        let history = states
            .iter()
            .map(|(state, millis)| StateChange { state: (*state).into(), at: at(*millis) })
            .collect::<Vec<_>>();
        Some(StateHistory { current: states.last().map_or(0, |(state, _)| (*state).into()), history })
    }

    fn message(event: Event) -> FollowExecutionResponse {
        FollowExecutionResponse { cursor: "c".into(), event: Some(event) }
    }

    fn execution(history: &[(State, i32)]) -> FollowExecutionResponse {
        message(Event::Execution(Box::new(Execution {
            namespace: "company.team".into(),
            flow_id: "hello".into(),
            state: states(history),
            ..Execution::default()
        })))
    }

    #[test]
    fn tasks_of_one_millisecond_are_told_one_after_another_and_a_loop_ends_after_what_is_in_it() {
        let task_run = |id: &str, parent: &str| {
            message(Event::TaskRun(Box::new(TaskRun {
                id: id.into(),
                task_id: id.into(),
                parent_task_run_id: parent.into(),
                state: states(&[(State::Running, 1), (State::Success, 1)]),
                ..TaskRun::default()
            })))
        };
        let mut story = Story::new(utc_time_of_day);
        for (id, parent) in [("loop", ""), ("a", "loop"), ("b", "loop"), ("after", "")] {
            story.add(task_run(id, parent));
        }
        let order: Vec<String> =
            told(&mut story).iter().map(|line| line["12:00:01.001 STATE ".len()..].to_owned()).collect();
        assert_eq!(
            order,
            [
                "[loop] RUNNING",
                "[a] RUNNING",
                "[a] SUCCESS",
                "[b] RUNNING",
                "[b] SUCCESS",
                "[loop] SUCCESS",
                "[after] RUNNING",
                "[after] SUCCESS"
            ]
        );
    }

    fn run(history: &[(State, i32)]) -> FollowExecutionResponse {
        message(Event::TaskRun(Box::new(TaskRun {
            id: "r1".into(),
            task_id: "say".into(),
            value_path: vec!["a".into()],
            state: states(history),
            ..TaskRun::default()
        })))
    }

    fn log(level: LogLevel, text: &str, millis: i32) -> FollowExecutionResponse {
        message(Event::LogLine(LogLine {
            time: at(millis),
            level: level.into(),
            message: text.into(),
            task_id: "say".into(),
            task_run_id: "r1".into(),
            ..LogLine::default()
        }))
    }

    fn told(story: &mut Story) -> Vec<String> {
        story.tell().iter().map(|line| anstream::adapter::strip_str(line).to_string()).collect()
    }

    #[test]
    fn what_came_at_once_is_told_in_the_order_in_which_it_happened() {
        use State::{Created, Running, Success};
        let mut story = Story::new(utc_time_of_day);
        story.add(execution(&[(Created, 100), (Running, 101), (Success, 123)]));
        story.add(run(&[(Created, 101), (Running, 101), (Success, 123)]));
        story.add(log(LogLevel::Info, "one\ntwo\n", 123));
        story.add(message(Event::End(FollowEnd { state: Success.into() })));
        assert_eq!(
            told(&mut story),
            [
                "12:00:01.100 STATE company.team/hello CREATED",
                "12:00:01.101 STATE company.team/hello RUNNING",
                "12:00:01.101 STATE [say a] RUNNING",
                "12:00:01.123 INFO  [say a] one\n                   two",
                "12:00:01.123 STATE [say a] SUCCESS",
                "12:00:01.123 STATE company.team/hello SUCCESS",
            ]
        );
        assert!(story.is_empty() && story.ended == Success);
    }

    #[test]
    fn a_message_that_repeats_what_was_told_adds_only_what_is_new() {
        use State::{Created, Failed, Running};
        let mut story = Story::new(utc_time_of_day);
        story.add(run(&[(Created, 1), (Running, 2)]));
        assert_eq!(told(&mut story), ["12:00:01.002 STATE [say a] RUNNING"]);
        story.add(run(&[(Created, 1), (Running, 2)]));
        story.add(run(&[(Created, 1), (Running, 2), (Failed, 3)]));
        story.add(log(LogLevel::Error, "broken \u{1b}[2J", 3));
        assert_eq!(
            told(&mut story),
            ["12:00:01.003 ERROR [say a] broken \u{fffd}[2J", "12:00:01.003 STATE [say a] FAILED"]
        );
    }
}
