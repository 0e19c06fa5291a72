//! The time of the database, without asking it each time.

use std::time::{Duration, Instant};

use windhover_store::Store;
use windhover_types::{Error, Timestamp};

/// How long an answer of the database is good for: clocks do not drift apart in so short a time.
const GOOD_FOR: Duration = Duration::from_secs(5);

/// Tells the database's time. Whatever the clock of this machine shows, all schedulers agree on it.
pub(crate) struct Clock {
    store: Store,
    last: Option<(Instant, Timestamp)>,
}

impl Clock {
    pub(crate) fn new(store: Store) -> Self {
        Self { store, last: None }
    }

    pub(crate) async fn now(&mut self) -> Result<Timestamp, Error> {
        if let Some((asked, told)) = self.last {
            let passed = asked.elapsed();
            if passed < GOOD_FOR {
                return Ok(told.plus(passed));
            }
        }
        let told = self.store.now().await?;
        // It was read at some time before the answer came: counted from now, this clock is never ahead.
        self.last = Some((Instant::now(), told));
        Ok(told)
    }
}
