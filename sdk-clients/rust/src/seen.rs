//! What a follower has seen: a message that comes again after a lost connection is handed on once.

use std::{
    collections::{BTreeSet, HashMap},
    hash::{DefaultHasher, Hasher},
};

use prost::Message;

use crate::v1::{Execution, TaskRun};

/// Positions of log lines that were handed on. Bounded: of very many, only the last are remembered, and whatever lies
/// before those counts as seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    positions: BTreeSet<u64>,
    /// Everything below has been seen.
    floor: u64,
}

impl Seen {
    const REMEMBERED: usize = 65_536;

    /// Tells whether this line is new, and remembers it.
    pub(crate) fn first_time(&mut self, position: u64) -> bool {
        if position < self.floor || !self.positions.insert(position) {
            return false;
        }
        if self.positions.len() > Self::REMEMBERED
            && let Some(oldest) = self.positions.pop_first()
        {
            self.floor = oldest + 1;
        }
        true
    }
}

/// The last that was handed on of the execution and of each of its task runs, by its fingerprint. Bounded: of very many
/// task runs, those of the last messages are remembered.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    execution: Option<u64>,
    task_runs: HashMap<String, u64>,
    /// Those before `task_runs` was full.
    older: HashMap<String, u64>,
}

impl Shown {
    const REMEMBERED: usize = 32_768;

    /// Tells whether it differs from the last one, and remembers it.
    pub(crate) fn execution_changed(&mut self, execution: &Execution) -> bool {
        let new = fingerprint(execution);
        self.execution.replace(new) != Some(new)
    }

    /// Tells whether it differs from the last one of this id, and remembers it.
    pub(crate) fn task_run_changed(&mut self, run: &TaskRun) -> bool {
        let new = fingerprint(run);
        if self.task_runs.len() >= Self::REMEMBERED {
            self.older = std::mem::take(&mut self.task_runs);
        }
        let old = self.older.remove(&run.id);
        self.task_runs.insert(run.id.clone(), new).or(old) != Some(new)
    }
}

fn fingerprint(message: &impl Message) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(&message.encode_to_vec());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_counts_once_however_often_and_in_whatever_order_it_comes() {
        let mut seen = Seen::default();
        assert!(seen.first_time(7) && seen.first_time(3) && seen.first_time(0));
        assert!(!seen.first_time(7) && !seen.first_time(3) && !seen.first_time(0));
    }

    #[test]
    fn memory_is_bounded_and_old_lines_stay_seen() {
        let mut seen = Seen::default();
        for position in 0..200_000 {
            assert!(seen.first_time(position));
        }
        assert!(seen.positions.len() <= Seen::REMEMBERED);
        assert!(!seen.first_time(0) && !seen.first_time(199_999) && seen.first_time(200_000));
    }

    #[test]
    fn what_says_the_same_again_is_not_shown_again() {
        let run = |id: &str, task: &str| TaskRun { id: id.into(), task_id: task.into(), ..TaskRun::default() };
        let mut shown = Shown::default();
        assert!(shown.task_run_changed(&run("1", "a")) && shown.task_run_changed(&run("2", "a")));
        assert!(!shown.task_run_changed(&run("1", "a")) && shown.task_run_changed(&run("1", "b")));
        let execution = Execution { id: "e".into(), ..Execution::default() };
        assert!(shown.execution_changed(&execution) && !shown.execution_changed(&execution));
        assert!(shown.execution_changed(&Execution { etag: "2".into(), ..execution }));

        for number in 0..100_000 {
            assert!(shown.task_run_changed(&run(&format!("n{number}"), "a")));
        }
        assert!(shown.task_runs.len() + shown.older.len() <= 2 * Shown::REMEMBERED);
        assert!(!shown.task_run_changed(&run("n99999", "a")) && !shown.task_run_changed(&run("n70000", "a")));
    }
}
