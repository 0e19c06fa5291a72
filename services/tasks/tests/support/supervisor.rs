//! The supervisor of a process, for tests that have no server's program at hand.

use std::process::ExitCode;

fn main() -> ExitCode {
    windhover_tasks::process::supervise()
}
