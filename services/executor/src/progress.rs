//! How long the oldest batch waits that is not committed: shows whether executions move at all.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// What is known of the batch that is being committed. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<Mutex<Option<Instant>>>);

impl Progress {
    /// How long the oldest batch that is not committed yet has been waiting; `None`: nothing waits.
    pub fn lag(&self) -> Option<Duration> {
        self.0.lock().map(|since| since.elapsed())
    }

    pub(crate) fn begin(&self) {
        self.0.lock().get_or_insert_with(Instant::now);
    }

    pub(crate) fn end(&self) {
        *self.0.lock() = None;
    }
}
