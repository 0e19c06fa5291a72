//! Everything in the memory of one process.

mod hints;
mod jobs;
mod ring;
mod state;
mod wake;

pub use hints::InProcessHints;
pub use jobs::{InProcessJobs, JobsConfig};
pub use wake::{InProcessWakeups, WakeReceiver, in_process_wakeups};
