//! What must hold after every step.

use windhover_engine::{Frame, Phase, Run, StepOutput, TaskRun};
use windhover_flow::{Flow, ListKind, TaskKind};
use windhover_types::State;

use super::Stored;

/// Of a commit, before the rows are written.
///
/// `by_hand`: somebody takes up what has ended.
pub(super) fn commit(flow: &Flow, stored: &Stored, run: &Run, output: &StepOutput, by_hand: bool) {
    let before = &stored.execution;
    if before.current().is_terminal() && !by_hand {
        assert_eq!(before.state, run.execution.state, "an ended execution never moves again");
        assert_eq!(before.outputs, run.execution.outputs);
    }
    grows(before.state.entries(), run.execution.state.entries());
    for removed in &output.removed_task_runs {
        let before = stored.task_runs.get(&removed.seq).expect("what is removed was stored");
        assert_eq!(before.id, removed.id);
        assert!(run.task_run(removed.id).is_none(), "{removed:?} is still there");
    }
    for id in &output.changed_task_runs {
        let after = run.task_run(*id).expect("a changed task run is there");
        let Some(before) = stored.task_runs.get(&after.seq) else {
            if !by_hand {
                planned(flow, stored, after);
            }
            continue;
        };
        assert_eq!(before.id, after.id);
        if before.state.current().is_terminal() && !by_hand {
            assert_eq!(before.state, after.state, "an ended task run never moves again");
            assert_eq!(before.outputs, after.outputs);
        }
        grows(before.state.entries(), after.state.entries());
        assert!(after.attempts.len() >= before.attempts.len() && after.dispatch >= before.dispatch);
        for (before, after) in before.attempts.iter().zip(&after.attempts) {
            assert_eq!(before.dispatch, after.dispatch);
            if before.state.current().is_terminal() && !by_hand {
                assert_eq!(before, after, "an ended attempt never changes");
            }
        }
    }
    let mut sorted: Vec<u32> =
        output.changed_task_runs.iter().map(|id| run.task_run(*id).expect("it is there").seq).collect();
    sorted.dedup();
    assert!(sorted.is_sorted() && sorted.len() == output.changed_task_runs.len(), "in order of creation, each once");
}

/// Of a new task run: its container still runs the list that it stands in.
fn planned(flow: &Flow, stored: &Stored, new: &TaskRun) {
    let container = match new.parent_id {
        None => Some(&stored.execution.frame),
        Some(id) => stored.task_runs.values().find(|run| run.id == id).and_then(|run| run.frame.as_ref()),
    };
    if is_main(flow, new) {
        assert!(container.is_none_or(|frame| frame.phase == Phase::Main), "the main list was over: {new:?}");
    }
}

fn is_main(flow: &Flow, run: &TaskRun) -> bool {
    !matches!(
        flow.index[&run.task_id].list,
        ListKind::Errors | ListKind::Finally | ListKind::OnPause | ListKind::AfterExecution | ListKind::Listener(_)
    )
}

fn grows<T: PartialEq + std::fmt::Debug>(before: &[T], after: &[T]) {
    assert!(after.starts_with(before), "a history only grows: {before:?} became {after:?}");
}

/// Of the rows, once they are written: they are what is in memory, and counters agree with a full scan.
pub(super) fn stored(flow: &Flow, stored: &Stored, run: &Run) {
    assert_eq!(stored.execution, run.execution, "every change of the execution is told");
    for task_run in run.task_runs() {
        assert_eq!(stored.task_runs.get(&task_run.seq), Some(task_run), "every change of a task run is told");
    }
    let begun = !matches!(stored.execution.current(), State::Created | State::Queued | State::Restarted);
    if stored.execution.kill_requested || stored.execution.current().is_terminal() || !begun {
        return;
    }
    flags(flow, stored, None, &stored.execution.frame);
    for container in stored.task_runs.values().filter(|run| !run.state.current().is_terminal()) {
        if let Some(frame) = &container.frame {
            flags(flow, stored, Some(container), frame);
        }
    }
}

fn flags(flow: &Flow, stored: &Stored, container: Option<&TaskRun>, frame: &Frame) {
    let parent = container.map(|run| run.id);
    let main = || stored.task_runs.values().filter(|run| run.parent_id == parent && is_main(flow, run));
    let name = container.map_or("the flow", |run| &run.task_id);
    let untold = |run: &TaskRun| stored.execution.marks.untold.iter().any(|ended| ended.task_run == run.id);
    let any = |state| main().any(|run| run.state.current() == state && !untold(run));
    let kind = container.map(|run| &flow.index[&run.task_id].task.kind);
    // These fail or warn for reasons of their own as well.
    if !matches!(kind, Some(TaskKind::LoopUntil(_) | TaskKind::Pause(_))) {
        assert_eq!(frame.failed, any(State::Failed), "{name}");
        assert_eq!(frame.warning, any(State::Warning), "{name}");
    }
    assert_eq!(frame.killed, any(State::Killed), "{name}");
    let by_value = matches!(kind, Some(TaskKind::ForEach { .. }));
    let begun = main().filter(|run| !by_value || flow.index[&run.task_id].position == 0).count();
    assert_eq!(frame.started as usize, begun, "{name}");
}

/// Of what is kept, sent and logged: nobody can read `hidden` in it.
pub(super) fn hides(hidden: &str, run: &Run, output: &StepOutput) {
    let looked_at = format!("{:?} {:?}", run.execution, output);
    assert!(!looked_at.contains(hidden), "{hidden} can be read in {looked_at}");
    for task_run in output.changed_task_runs.iter().filter_map(|id| run.task_run(*id)) {
        assert!(!format!("{task_run:?}").contains(hidden), "{hidden} can be read in {task_run:?}");
    }
}

/// Of the run itself.
pub(super) fn run(flow: &Flow, run: &Run) {
    let all: Vec<&TaskRun> = run.task_runs().collect();
    let ended = run.execution.is_ended();
    let paused = run.execution.current() == State::Paused;
    let waiting = matches!(run.execution.current(), State::Created | State::Queued | State::Restarted);
    let untold = |parent| run.execution.marks.untold.iter().filter(|ended| ended.parent == parent).count();
    let open_below = |parent| {
        let open = all.iter().filter(|r| r.parent_id == parent && !r.state.current().is_terminal()).count();
        (open + untold(parent)) as u32
    };
    assert_eq!(run.execution.frame.open, open_below(None), "the flow's counter agrees with its task runs");
    for task_run in &all {
        let terminal = task_run.state.current().is_terminal();
        assert!(!ended || terminal, "nothing is open in what has ended: {task_run:?}");
        if let Some(frame) = &task_run.frame {
            assert_eq!(
                frame.open,
                if terminal { 0 } else { open_below(Some(task_run.id)) },
                "the counter of {} agrees with its children",
                task_run.task_id
            );
            let waits = paused || waiting || waits_by_itself(flow, task_run);
            assert!(terminal || run.has_more() || frame.open > 0 || waits, "{} waits for nothing", task_run.task_id);
        }
        if let Some(parent) = task_run.parent_id.and_then(|id| run.task_run(id)) {
            assert!(
                terminal || !parent.state.current().is_terminal(),
                "an open child of an ended parent: {task_run:?}"
            );
            assert!(flow.index[&task_run.task_id].parent.as_ref() == Some(&parent.task_id));
        }
        let open_attempts = task_run.attempts.iter().filter(|attempt| !attempt.state.current().is_terminal()).count();
        assert!(open_attempts <= 1);
        let last_is_open = task_run.attempts.last().is_some_and(|attempt| !attempt.state.current().is_terminal());
        assert_eq!(open_attempts == 1, last_is_open, "only the last attempt can be open");
        match task_run.state.current() {
            State::Created | State::Restarted => {
                assert!(run.has_more() || run.execution.kill_requested || waiting, "{task_run:?} was left behind");
            }
            State::Running | State::Paused => assert!(last_is_open, "{task_run:?} runs without attempt"),
            State::Submitted => assert!(task_run.has_open_job() && !last_is_open, "{task_run:?}"),
            _ => {}
        }
    }
    assert!(ended || paused || waiting || run.has_more() || run.execution.frame.open > 0, "it waits for nothing");
}

/// A Pause that waits to be resumed, a LoopUntil between two turns.
fn waits_by_itself(flow: &Flow, run: &TaskRun) -> bool {
    run.state.current() == State::Paused || matches!(flow.index[&run.task_id].task.kind, TaskKind::LoopUntil(_))
}
