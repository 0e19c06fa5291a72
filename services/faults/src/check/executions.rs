//! Each execution by itself: it has ended, and its history, task runs, attempts and log lines are whole.

use std::collections::HashSet;

use windhover_types::{State, Tenant, shard_of};

use crate::{
    Findings, Kind,
    database::{AttemptText, Change, ExecutionRow, Stored, TaskRunRow},
};

pub(super) fn check(stored: &Stored, findings: &mut Findings) {
    for execution in stored.executions.values() {
        check_one(stored, execution, findings);
    }
    let of_nobody = |kind: &str, id| format!("{kind} of {id}, which is not there");
    for id in stored.task_runs.keys().filter(|id| !stored.executions.contains_key(id)) {
        findings.add(Kind::Orphan, of_nobody("task runs", id));
    }
    for id in stored.lines.keys().filter(|id| !stored.executions.contains_key(id)) {
        findings.add(Kind::Orphan, of_nobody("log lines", id));
    }
}

fn check_one(stored: &Stored, execution: &ExecutionRow, findings: &mut Findings) {
    let name = || format!("{} of {}.{}", execution.id, execution.namespace, execution.flow_id);
    if let Some(reason) = &execution.parked {
        findings.add(Kind::Parked, format!("{}: {reason}", name()));
    }
    findings.require(!execution.open && is_final(&execution.state), Kind::NotEnded, || {
        format!("{} is {}{}", name(), execution.state, if execution.open { " and open" } else { "" })
    });
    history(&name, &execution.state, &execution.history, findings);
    let shard = shard_of(&Tenant::trusted(&execution.tenant), execution.id, stored.shard_count);
    findings.require(execution.shard == i64::from(shard), Kind::Outcome, || {
        format!("{} is in shard {} instead of {shard}", name(), execution.shard)
    });
    let none = Vec::new();
    let runs = stored.task_runs.get(&execution.id).unwrap_or(&none);
    task_runs(&name, runs, findings);
    for run in runs {
        let name = || format!("task run {} ({}) of {}", run.id, run.task_id, name());
        findings.require(!run.open && is_final(&run.state), Kind::NotEnded, || {
            format!("{} is {}{}", name(), run.state, if run.open { " and open" } else { "" })
        });
        history(&name, &run.state, &run.history, findings);
        attempts(&name, run, findings);
    }
    if let Some(lines) = stored.lines.get(&execution.id) {
        let gap = lines.iter().enumerate().find(|(index, line)| line.position != *index as i64);
        if let Some((index, line)) = gap {
            findings.add(Kind::Lines, format!("{}: line {} stands where {index} should", name(), line.position));
        }
        let known: HashSet<_> = runs.iter().map(|run| run.id).collect();
        let foreign = lines.iter().find(|line| line.task_run.is_some_and(|run| !known.contains(&run)));
        if let Some(line) = foreign {
            findings.add(Kind::Orphan, format!("{}: line {} is of no task run of it", name(), line.position));
        }
    }
}

fn history(name: &dyn Fn() -> String, state: &str, history: &[Change], findings: &mut Findings) {
    let shown = || history.iter().map(|change| change.state.as_str()).collect::<Vec<_>>().join(" ");
    let last = history.last().map(|change| change.state.as_str());
    findings.require(last == Some(state), Kind::History, || format!("{} is {state}, its history {}", name(), shown()));
    for pair in history.windows(2) {
        let [from, to] = pair else { continue };
        findings.require(may_follow(&from.state, &to.state), Kind::History, || {
            format!("{}: {} after {} in {}", name(), to.state, from.state, shown())
        });
        findings.require(from.at <= to.at, Kind::History, || {
            format!("{}: its history runs backwards: {}", name(), shown())
        });
    }
}

fn may_follow(from: &str, to: &str) -> bool {
    match to {
        // A retry, and an attempt after one that was lost, begin where the first one did.
        "CREATED" => matches!(from, "RETRYING" | "SUBMITTED" | "RUNNING"),
        // What ends may begin again: by a retry, by a restart, by an operator who knows better.
        "RETRYING" | "RESTARTED" => from != to,
        _ => from != to && (!is_final(from) || is_final(to)),
    }
}

fn is_final(state: &str) -> bool {
    state.parse::<State>().is_ok_and(State::is_terminal)
}

fn task_runs(name: &dyn Fn() -> String, runs: &[TaskRunRow], findings: &mut Findings) {
    if let Some((index, run)) = runs.iter().enumerate().find(|(index, run)| run.seq != *index as i64) {
        findings.add(Kind::TaskRuns, format!("{}: task run {} stands where {index} should", name(), run.seq));
    }
    let (mut ids, mut places) = (HashSet::new(), HashSet::new());
    for run in runs {
        let new = ids.insert(run.id) & places.insert((run.parent_id, &run.task_id, &run.place));
        findings.require(new, Kind::TaskRuns, || format!("{}: {} is there twice", name(), run.task_id));
    }
}

fn ended_as(attempt: &AttemptText) -> &str {
    attempt.history.last().map_or("", |change| change.state.as_str())
}

fn attempts(name: &dyn Fn() -> String, run: &TaskRunRow, findings: &mut Findings) {
    let lost = run.attempts.iter().filter(|attempt| ended_as(attempt) == "RESUBMITTED").count();
    let again = |pair: &&[Change]| pair[0].state == "RUNNING" && pair[1].state == "CREATED";
    let repeated = run.history.windows(2).filter(again).count();
    findings.require(repeated == lost, Kind::Attempts, || {
        format!("{} lost {lost} attempts and began again {repeated} times", name())
    });
    let mut dispatched = 0;
    for (number, attempt) in run.attempts.iter().enumerate() {
        let last = ended_as(attempt);
        let name = || format!("attempt {number} of {}", name());
        findings.require(is_final(last), Kind::Attempts, || format!("{} is {last}", name()));
        history(&name, last, &attempt.history, findings);
        let followed = number + 1 < run.attempts.len();
        // Whatever succeeded is not tried again.
        findings.require(!(followed && last == "SUCCESS"), Kind::Attempts, || format!("{} was {last} before", name()));
        if attempt.dispatch > 0 {
            findings.require(attempt.dispatch > dispatched, Kind::Attempts, || {
                format!("{} has dispatch {} after {dispatched}", name(), attempt.dispatch)
            });
            dispatched = attempt.dispatch;
        }
    }
    findings.require(dispatched <= run.dispatch, Kind::Attempts, || {
        format!("{} was dispatched {} times and reported {dispatched}", name(), run.dispatch)
    });
}
