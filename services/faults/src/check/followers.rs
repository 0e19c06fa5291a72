//! What followers were shown: every change, each once, nothing else.

use std::collections::HashSet;

use windhover_types::Id;

use crate::{
    Findings, Kind, Ledger,
    database::{Change, Stored},
    ledger::{Followed, Shown},
};

pub(super) fn check(stored: &Stored, ledger: &Ledger, findings: &mut Findings) {
    for followed in &ledger.followed {
        let name = || format!("the follower of {} ({} connections)", followed.id, followed.connections);
        if let Some(reason) = &followed.gave_up {
            findings.add(Kind::Follower, format!("{} gave up: {reason}", name()));
            continue;
        }
        let Some(id) = followed.id.parse::<Id>().ok().filter(|id| stored.executions.contains_key(id)) else {
            findings.add(Kind::Lost, format!("{} followed what is not there", name()));
            continue;
        };
        check_one(stored, id, followed, &name, findings);
    }
}

fn check_one(stored: &Stored, id: Id, followed: &Followed, name: &dyn Fn() -> String, findings: &mut Findings) {
    let execution = &stored.executions[&id];
    findings.require(followed.ends.len() == 1 && followed.ends[0] == execution.state, Kind::Follower, || {
        format!("{} was told the ends {:?}, it is {}", name(), followed.ends, execution.state)
    });
    let what = || format!("{}: the execution", name());
    shown(&what, &followed.executions, &execution.history, findings);

    let none = Vec::new();
    let runs = stored.task_runs.get(&id).unwrap_or(&none);
    for run in runs {
        let what = || format!("{}: task run {} ({})", name(), run.id, run.task_id);
        let messages = followed.task_runs.get(&run.id.to_string()).map_or(&[][..], Vec::as_slice);
        shown(&what, messages, &run.history, findings);
    }
    let known: HashSet<String> = runs.iter().map(|run| run.id.to_string()).collect();
    if let Some(id) = followed.task_runs.keys().find(|id| !known.contains(*id)) {
        findings.add(Kind::Follower, format!("{} was shown task run {id}, which is not there", name()));
    }

    let lines = stored.lines.get(&id).map_or(0, Vec::len);
    let in_order = followed.lines.iter().enumerate().all(|(index, position)| *position == index as u64);
    findings.require(in_order && followed.lines.len() == lines, Kind::Follower, || {
        let seen: HashSet<&u64> = followed.lines.iter().collect();
        let missed: Vec<u64> = (0..lines as u64).filter(|position| !seen.contains(position)).collect();
        format!(
            "{} was shown {} lines of {lines}, missed {missed:?}, in order: {in_order}",
            name(),
            followed.lines.len()
        )
    });
}

/// Each message shows what is new, and the last one all of it.
fn shown(what: &dyn Fn() -> String, messages: &[Shown], history: &[Change], findings: &mut Findings) {
    let all: Vec<&str> = history.iter().map(|change| change.state.as_str()).collect();
    let Some(last) = messages.last() else {
        return findings.add(Kind::Follower, format!("{} was never shown", what()));
    };
    findings.require(last.states.iter().map(String::as_str).eq(all.iter().copied()), Kind::Follower, || {
        format!("{} was last shown as {}, it is {}", what(), last.states.join(" "), all.join(" "))
    });
    let mut digests = HashSet::new();
    for (index, message) in messages.iter().enumerate() {
        findings.require(digests.insert(message.digest), Kind::Follower, || {
            format!("{} was shown twice as {}", what(), message.states.join(" "))
        });
        let before = index.checked_sub(1).and_then(|index| messages.get(index));
        let grown = before.is_none_or(|before| message.states.starts_with(&before.states));
        findings.require(grown, Kind::Follower, || {
            format!(
                "{} went back: {} was shown after {:?}",
                what(),
                message.states.join(" "),
                before.map(|one| one.states.join(" "))
            )
        });
    }
}
