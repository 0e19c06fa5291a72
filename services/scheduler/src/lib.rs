//! The scheduler: starts executions at the dates of Schedule and ScheduleOnDates triggers, in backfills, when the window
//! of a Flow trigger is complete, and when a server that a polling trigger asks answers as it has to.
//!
//! Always true: an execution and the step of its trigger are one transaction over the version of the trigger's row, so
//! any number of schedulers on one store start one execution for each date; the time is the database's, so a process
//! whose clock is wrong neither hurries nor skips.
//!
//! Not here: which dates a trigger has (`flow`), what executions do (`engine`), rows (`store`).

mod asking;
mod clock;
mod firing;
mod follow;
mod making;
mod metrics;
mod plan;
mod polls;
mod scheduler;
mod settings;
mod triggers;
mod view;
mod windows;

pub use plan::{Moved, Step, plan, unlocked};
pub use scheduler::{Scheduler, SchedulerConfig};
pub use settings::ScheduleSettings;
pub use triggers::{NewBackfill, Triggers};
pub use view::SchedulerView;
pub use windhover_store::{Backfill, TriggerKey, TriggerRow, TriggerState};
