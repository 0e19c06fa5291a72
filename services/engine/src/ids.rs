//! Ids of what the engine makes: derived, so that whoever computes a step again makes the same things.

use windhover_types::{Id, Timestamp};

/// The id of a task run: execution, path (by way of the parent's id, which is derived alike) and iteration; and how often
/// the execution was taken up again, since what is planned anew then is something else than what was there.
///
/// Its time is that of the execution's id: known whenever a step is computed, so that replays give the same ids, and
/// task runs lie in the same time range as their execution. Their order of creation is `TaskRun::seq`, not the id.
pub fn task_run_id(execution: Id, parent: Option<Id>, task_id: &str, iteration: Option<u32>, generation: u32) -> Id {
    let parent = parent.as_ref().map_or(&[][..], |id| id.as_bytes());
    let iteration = iteration.map(u32::to_be_bytes);
    let iteration = iteration.as_ref().map_or(&[][..], |bytes| bytes);
    let (time, kind, execution, task_id) = (execution.time(), b"task-run", execution.as_bytes(), task_id.as_bytes());
    match generation {
        0 => Id::derived(time, &[kind, execution, parent, task_id, iteration]),
        _ => Id::derived(time, &[kind, execution, parent, task_id, iteration, &generation.to_be_bytes()]),
    }
}

/// The id of the execution that an attempt (from 0) of a Subflow task run starts. `at` is when the task run was last
/// planned: the stored time of the cause.
pub fn child_execution_id(at: Timestamp, task_run: Id, attempt: u32) -> Id {
    Id::derived(at, &[b"subflow", task_run.as_bytes(), &attempt.to_be_bytes()])
}

/// The id of the execution that the second task of a ForEachItem starts for a part (from 0) of its file, in an attempt (from 0) of
/// that task run.
pub fn item_execution_id(task_run: Id, attempt: u32, part: u32) -> Id {
    Id::derived(task_run.time(), &[b"item", task_run.as_bytes(), &attempt.to_be_bytes(), &part.to_be_bytes()])
}

/// The id of the execution that a Flow trigger starts because of one entry of the history of another execution.
pub fn triggered_execution_id(
    at: Timestamp,
    namespace: &str,
    flow_id: &str,
    trigger_id: &str,
    upstream: Id,
    history_entry: usize,
) -> Id {
    let entry = (history_entry as u64).to_be_bytes();
    let parts: [&[u8]; 6] =
        [b"flow-trigger", namespace.as_bytes(), flow_id.as_bytes(), trigger_id.as_bytes(), upstream.as_bytes(), &entry];
    Id::derived(at, &parts)
}

/// The id of the execution that tries another one again, at this date.
pub(crate) fn retried_execution_id(at: Timestamp, execution: Id) -> Id {
    Id::derived(at, &[b"retry", execution.as_bytes()])
}
