//! Levels of log lines.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Level of a log line, least important first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    Trace = 0,
    Debug = 1,
    Info = 2,
    Warn = 3,
    Error = 4,
}

impl Level {
    pub const ALL: &[Level] = &[Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error];

    pub const fn as_str(self) -> &'static str {
        match self {
            Level::Trace => "TRACE",
            Level::Debug => "DEBUG",
            Level::Info => "INFO",
            Level::Warn => "WARN",
            Level::Error => "ERROR",
        }
    }

    /// From the number that is stored; what is out of range is the nearest level.
    pub fn from_number(number: i16) -> Self {
        Self::ALL[number.clamp(0, 4) as usize]
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .iter()
            .copied()
            .find(|level| level.as_str() == text)
            .ok_or_else(|| format!("`{text}` is no level; levels are TRACE, DEBUG, INFO, WARN, ERROR"))
    }
}
