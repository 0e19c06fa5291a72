//! What the flows imply: states, task runs, attempts, log lines, subflows.

use windhover_types::Id;

use crate::{
    Findings, Kind, Ledger,
    database::{ExecutionRow, Stored, TaskRunRow},
    ledger::TaskRule,
};

pub(super) fn check(stored: &Stored, ledger: &Ledger, findings: &mut Findings) {
    let none = Vec::new();
    for execution in stored.executions.values() {
        let Some(rule) = ledger.flow(&execution.namespace, &execution.flow_id) else { continue };
        let name = || format!("{} of {}.{}", execution.id, execution.namespace, execution.flow_id);
        let states: Vec<&str> = execution.history.iter().map(|change| change.state.as_str()).collect();
        findings.require(states.iter().eq(rule.states.iter()), Kind::Outcome, || {
            format!("{} went through {}, the flow implies {}", name(), states.join(" "), rule.states.join(" "))
        });
        let runs = stored.task_runs.get(&execution.id).unwrap_or(&none);
        for task in &rule.tasks {
            check_task(stored, execution, runs, task, findings);
        }
        let known = |run: &TaskRunRow| rule.tasks.iter().any(|task| task.task_id == run.task_id);
        if let Some(run) = runs.iter().find(|run| !known(run)) {
            findings.add(Kind::Outcome, format!("{} has run {}, which the flow does not imply", name(), run.task_id));
        }
    }
}

fn check_task(
    stored: &Stored,
    execution: &ExecutionRow,
    runs: &[TaskRunRow],
    rule: &TaskRule,
    findings: &mut Findings,
) {
    let name = || format!("{} of {} of {}.{}", rule.task_id, execution.id, execution.namespace, execution.flow_id);
    let runs: Vec<&TaskRunRow> = runs.iter().filter(|run| run.task_id == rule.task_id).collect();
    findings.require(runs.len() == rule.runs, Kind::Outcome, || {
        format!("{} ran {} times, the flow implies {}", name(), runs.len(), rule.runs)
    });
    for run in runs {
        findings.require(run.state == rule.state, Kind::Outcome, || {
            format!("{} is {}, the flow implies {}", name(), run.state, rule.state)
        });
        let lost =
            |number: &usize| run.attempts[*number].history.last().is_some_and(|last| last.state == "RESUBMITTED");
        let tries = (0..run.attempts.len()).filter(|number| !lost(number)).count();
        if let Some(implied) = rule.tries {
            findings.require(tries == implied, Kind::Attempts, || {
                format!("{} was tried {tries} times, the flow implies {implied}", name())
            });
        }
        if let Some(implied) = rule.lines {
            let last = run.attempts.len() as i64 - 1;
            let lines = lines_of(stored, execution.id, run.id, last);
            findings.require(lines == implied, Kind::Lines, || {
                format!("{} has written {lines} lines at last, the flow implies {implied}", name())
            });
        }
        if let Some(flow) = &rule.child {
            let child = run.child.and_then(|id| stored.executions.get(&id));
            findings.require(child.is_some_and(|child| child.flow_id == *flow), Kind::Cause, || {
                format!("{} has started {:?} instead of one of {flow}", name(), child.map(|child| &child.flow_id))
            });
        }
    }
}

fn lines_of(stored: &Stored, execution: Id, run: Id, attempt: i64) -> usize {
    let lines = stored.lines.get(&execution).into_iter().flatten();
    lines.filter(|line| line.task_run == Some(run) && line.attempt == Some(attempt)).count()
}
