//! Schedules: which dates a trigger has, and which of them its conditions let pass (flow model reference 6.2 and 6.4).
//! Pure: what has been dealt with, and what is due, is the scheduler's to know.

mod calendar;
mod cron;

use std::time::Duration;

pub use calendar::{Calendar, DatesError, Next};
pub(crate) use calendar::{local, moment_of};
pub use cron::Cron;
use windhover_expression::Zone;

use crate::Properties;

/// A trigger that starts executions at dates: Schedule or ScheduleOnDates.
#[derive(Debug)]
pub struct Schedule {
    pub dates: ScheduleDates,
    /// The server's when absent.
    pub timezone: Option<Zone>,
    pub inputs: Option<Properties>,
    /// What becomes of dates that passed while nobody looked; the server's setting when absent.
    pub recover: Option<RecoverMissed>,
    /// Dates that are dealt with later than this are skipped.
    pub late_maximum_delay: Option<Duration>,
}

/// Where the dates come from.
// A flow has few of them.
#[allow(clippy::large_enum_variant)]
#[derive(Debug)]
pub enum ScheduleDates {
    Cron(Cron),
    /// A list of dates and times, or a text that renders to one.
    List(Properties),
}

impl Schedule {
    /// The canonical name of its type, as `trigger.type` of its executions shows it.
    pub fn type_name(&self) -> &'static str {
        match self.dates {
            ScheduleDates::Cron(_) => "io.kestra.plugin.core.trigger.Schedule",
            ScheduleDates::List(_) => "io.kestra.plugin.core.trigger.ScheduleOnDates",
        }
    }
}

/// What becomes of dates that were missed (`recoverMissedSchedules`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RecoverMissed {
    /// Each has its execution, in order, one at a time.
    #[default]
    All,
    /// Only the last of them.
    Last,
    /// None.
    None,
}

impl std::str::FromStr for RecoverMissed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "ALL" => Ok(Self::All),
            "LAST" => Ok(Self::Last),
            "NONE" => Ok(Self::None),
            other => Err(format!("`{other}` is none of ALL, LAST, NONE")),
        }
    }
}
