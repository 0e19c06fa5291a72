//! The feed: numbers without gaps per shard up to the last one, and in it every change of every row exactly once.

use std::collections::{BTreeMap, HashMap};

use windhover_types::Id;

use crate::{
    Findings, Kind,
    database::{ExecutionRow, Stored},
};

/// What the feed says of one execution, in order.
#[derive(Default)]
struct Told {
    states: Vec<String>,
    entries: i64,
    task_runs: HashMap<Id, i64>,
    next_log: i64,
    /// Numbers of log lines that went backwards.
    back: Option<(i64, i64)>,
}

pub(super) fn check(stored: &Stored, findings: &mut Findings) {
    numbers(stored, findings);
    let told = told(stored, findings);
    let nothing = Told::default();
    for execution in stored.executions.values() {
        compare(stored, execution, told.get(&execution.id).unwrap_or(&nothing), findings);
    }
}

fn numbers(stored: &Stored, findings: &mut Findings) {
    let mut last: BTreeMap<i64, i64> = BTreeMap::new();
    for row in &stored.feed {
        match last.insert(row.shard, row.seq) {
            Some(before) => findings.require(row.seq == before + 1, Kind::Feed, || {
                format!("shard {}: number {} follows {before}", row.shard, row.seq)
            }),
            None => findings
                .require(row.seq == 1, Kind::Feed, || format!("shard {}: the first number is {}", row.shard, row.seq)),
        }
    }
    for (shard, stored_last) in &stored.shards {
        let in_feed = last.get(shard).copied().unwrap_or(0);
        findings.require(in_feed == *stored_last, Kind::Feed, || {
            format!("shard {shard}: the feed ends with {in_feed}, the shard says {stored_last}")
        });
    }
}

fn told(stored: &Stored, findings: &mut Findings) -> HashMap<Id, Told> {
    let mut told: HashMap<Id, Told> = HashMap::new();
    for row in &stored.feed {
        for entry in &row.entries {
            match stored.executions.get(&entry.execution) {
                Some(execution) => {
                    findings.require(
                        execution.shard == row.shard && execution.tenant == row.tenant,
                        Kind::Feed,
                        || format!("{} is told in shard {} of {}", entry.execution, row.shard, row.tenant),
                    );
                }
                None => findings.add(Kind::Lost, format!("{} is in the feed and not stored", entry.execution)),
            }
            let told = told.entry(entry.execution).or_default();
            told.states.extend(entry.states.iter().cloned());
            told.entries += 1;
            for run in &entry.task_runs {
                *told.task_runs.entry(*run).or_default() += 1;
            }
            if entry.next_log < told.next_log {
                told.back = Some((told.next_log, entry.next_log));
            }
            told.next_log = entry.next_log;
        }
    }
    told
}

fn compare(stored: &Stored, execution: &ExecutionRow, told: &Told, findings: &mut Findings) {
    let name = || format!("{} of {}.{}", execution.id, execution.namespace, execution.flow_id);
    // The first state is there from the beginning and no change.
    let entered: Vec<&str> = execution.history.iter().skip(1).map(|change| change.state.as_str()).collect();
    findings.require(told.states.iter().map(String::as_str).eq(entered.iter().copied()), Kind::Feed, || {
        format!("{}: the feed tells {}, the history {}", name(), told.states.join(" "), entered.join(" "))
    });
    let lines = stored.lines.get(&execution.id).map_or(0, Vec::len) as i64;
    findings.require(told.next_log == lines && told.back.is_none(), Kind::Lines, || match told.back {
        Some((from, to)) => format!("{}: the feed tells {from} log lines, then {to}", name()),
        None => format!("{}: the feed tells {} log lines, {lines} are there", name(), told.next_log),
    });
    // Whoever made it elsewhere wrote the first version without an entry.
    findings.require((1..=told.entries + 1).contains(&execution.version), Kind::Feed, || {
        format!("{} has version {} after {} entries of the feed", name(), execution.version, told.entries)
    });
    for run in stored.task_runs.get(&execution.id).into_iter().flatten() {
        let count = told.task_runs.get(&run.id).copied().unwrap_or(0);
        findings.require(count == run.version, Kind::Feed, || {
            format!(
                "task run {} ({}) of {} has version {} and {count} entries",
                run.id,
                run.task_id,
                name(),
                run.version
            )
        });
    }
    let known = |id: &Id| stored.task_runs.get(&execution.id).is_some_and(|runs| runs.iter().any(|run| run.id == *id));
    if let Some(id) = told.task_runs.keys().find(|id| !known(id)) {
        findings.add(Kind::Feed, format!("{}: the feed tells of task run {id}, which is not there", name()));
    }
}
