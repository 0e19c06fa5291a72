//! What the words of the API mean, for people and programs: short names of enum values, and which states are final.

use crate::{
    admin::v1::{InstanceState, InstanceType, Role, WorkerGroupPermission},
    v1::{Execution, Json, LogLevel, PluginKind, State, TaskRun, apply_flow_response::Outcome, dependency::Kind},
};

macro_rules! short_names {
    ($($type:ident, $prefix:literal;)+) => {$(
        impl $type {
            /// The name without its prefix, as filters, flows and command lines write it.
            pub fn short_name(self) -> &'static str {
                self.as_str_name().strip_prefix($prefix).unwrap_or_default()
            }

            /// The value of a name without its prefix; upper and lower case are the same, and `-` is `_`.
            pub fn from_short_name(name: &str) -> Option<Self> {
                Self::from_str_name(&format!("{}{}", $prefix, name.to_ascii_uppercase().replace('-', "_")))
            }
        }
    )+};
}

short_names! {
    State, "STATE_";
    LogLevel, "LOG_LEVEL_";
    Role, "ROLE_";
    Outcome, "OUTCOME_";
    InstanceType, "INSTANCE_TYPE_";
    InstanceState, "INSTANCE_STATE_";
    PluginKind, "PLUGIN_KIND_";
    WorkerGroupPermission, "WORKER_GROUP_PERMISSION_";
    Kind, "KIND_";
}

impl State {
    /// Nothing follows by itself.
    pub fn is_final(self) -> bool {
        match self {
            Self::Success
            | Self::Warning
            | Self::Failed
            | Self::Killed
            | Self::Cancelled
            | Self::Retried
            | Self::Skipped
            | Self::Resubmitted => true,
            Self::Unspecified
            | Self::Created
            | Self::Running
            | Self::Paused
            | Self::Restarted
            | Self::Killing
            | Self::Queued
            | Self::Retrying
            | Self::Breakpoint
            | Self::Submitted => false,
        }
    }
}

impl Execution {
    /// The present state; UNSPECIFIED when this version does not know it.
    pub fn current_state(&self) -> State {
        self.state.as_ref().map_or(State::Unspecified, |state| state.current())
    }
}

impl TaskRun {
    /// The present state; UNSPECIFIED when this version does not know it.
    pub fn current_state(&self) -> State {
        self.state.as_ref().map_or(State::Unspecified, |state| state.current())
    }
}

impl From<String> for Json {
    /// The text must be JSON.
    fn from(text: String) -> Self {
        Self { text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_go_both_ways() {
        assert_eq!(State::Success.short_name(), "SUCCESS");
        assert_eq!(State::from_short_name("success"), Some(State::Success));
        assert_eq!(Role::from_short_name("platform-admin"), Some(Role::PlatformAdmin));
        assert_eq!(LogLevel::from_short_name("loud"), None);
    }
}
