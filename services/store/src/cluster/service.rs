//! What a service tells about itself, and the states of its life.
//!
//! Names are those that Kestra's dashboards and API have.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use windhover_types::{Id, JsonMap, Timestamp};

macro_rules! named {
    ($(#[$about:meta])* $type:ident { $($(#[$of:meta])* $variant:ident = $name:literal),+ $(,)? }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $type {
            $($(#[$of])* #[serde(rename = $name)] $variant),+
        }

        impl $type {
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name),+
                }
            }
        }

        impl std::str::FromStr for $type {
            type Err = String;

            fn from_str(name: &str) -> Result<Self, String> {
                let found = Self::ALL.iter().find(|one| one.as_str() == name);
                found.copied().ok_or_else(|| format!("`{name}` is not one of the names that this version knows"))
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

named! {
    /// What a service does.
    ServiceKind {
        Executor = "EXECUTOR",
        Indexer = "INDEXER",
        Scheduler = "SCHEDULER",
        Webserver = "WEBSERVER",
        Worker = "WORKER",
    }
}

named! {
    /// Whether the process has one service or all.
    ServerType {
        Server = "SERVER",
        Standalone = "STANDALONE",
    }
}

named! {
    /// Where a service is in its life.
    ServiceState {
        Created = "CREATED",
        Running = "RUNNING",
        Error = "ERROR",
        /// Not heard of for longer than its timeout: said by others.
        Disconnected = "DISCONNECTED",
        Terminating = "TERMINATING",
        TerminatedGracefully = "TERMINATED_GRACEFULLY",
        TerminatedForced = "TERMINATED_FORCED",
        /// Gone, and what it held was given away.
        NotRunning = "NOT_RUNNING",
        /// To be forgotten.
        Empty = "EMPTY",
    }
}

named! {
    /// When the jobs of a worker that is gone are run again.
    RestartStrategy {
        Never = "NEVER",
        Immediately = "IMMEDIATELY",
        AfterTerminationGracePeriod = "AFTER_TERMINATION_GRACE_PERIOD",
    }
}

impl ServiceState {
    /// Whether a service in this state may enter that one. The same again is always possible: that is a heartbeat.
    pub fn may_become(self, next: Self) -> bool {
        use ServiceState::*;
        let followers: &[Self] = match self {
            Created => &[Running, Error, Disconnected],
            Running => &[Error, Disconnected, Terminating],
            Error => &[Terminating],
            Disconnected => &[Terminating, NotRunning],
            Terminating => &[TerminatedGracefully, TerminatedForced, NotRunning],
            TerminatedGracefully | TerminatedForced => &[NotRunning],
            NotRunning => &[Empty],
            Empty => &[],
        };
        self == next || followers.contains(&next)
    }

    /// Its end is complete: the service says nothing more.
    pub fn is_terminated(self) -> bool {
        self >= Self::TerminatedGracefully
    }

    /// It ends, or has ended.
    pub fn is_ending(self) -> bool {
        self >= Self::Terminating
    }
}

/// A service as it tells about itself.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceInfo {
    pub kind: ServiceKind,
    pub state: ServiceState,
    pub server: Server,
    pub config: ServiceConfig,
    /// Whatever else is worth showing, such as `worker.group`.
    pub props: JsonMap,
    /// Figures of it, as its own metrics have them: a list of objects with `name`, `type`, `tags`, `value`.
    pub metrics: serde_json::Value,
}

impl Default for ServiceInfo {
    fn default() -> Self {
        Self {
            kind: ServiceKind::Executor,
            state: ServiceState::Created,
            server: Server::default(),
            config: ServiceConfig::default(),
            props: JsonMap::new(),
            metrics: serde_json::Value::Array(Vec::new()),
        }
    }
}

/// The process of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Services of one process share it. `None`: a server of a version before that.
    pub id: Option<Id>,
    pub kind: ServerType,
    /// Version of Windhover.
    pub version: String,
}

impl Default for Server {
    fn default() -> Self {
        Self { id: None, kind: ServerType::Standalone, version: String::new() }
    }
}

/// By what others judge a service (`kestra.server.*`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceConfig {
    #[serde(with = "millis")]
    pub termination_grace_period: Duration,
    #[serde(rename = "workerTaskRestartStrategy")]
    pub restart_strategy: RestartStrategy,
    pub liveness: Liveness,
}

impl Default for ServiceConfig {
    fn default() -> Self {
        Self {
            termination_grace_period: Duration::from_secs(300),
            restart_strategy: RestartStrategy::AfterTerminationGracePeriod,
            liveness: Liveness::default(),
        }
    }
}

/// How a service is watched (`kestra.server.liveness.*`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Liveness {
    pub enabled: bool,
    /// How often others look.
    #[serde(with = "millis")]
    pub interval: Duration,
    /// Silence after which the service counts as lost.
    #[serde(with = "millis")]
    pub timeout: Duration,
    /// Age below which it is not judged.
    #[serde(with = "millis")]
    pub initial_delay: Duration,
    #[serde(with = "millis")]
    pub heartbeat_interval: Duration,
}

impl Default for Liveness {
    fn default() -> Self {
        Self {
            enabled: true,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(45),
            initial_delay: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(3),
        }
    }
}

/// A change in the life of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceEvent {
    #[serde(rename = "ts")]
    pub at: Timestamp,
    /// `service.state.updated`.
    #[serde(rename = "type")]
    pub kind: String,
    pub state: ServiceState,
    /// For people.
    pub value: String,
}

/// Durations as whole milliseconds.
mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::{ServiceState::*, *};

    #[test]
    fn states_follow_each_other_as_the_reference_says() {
        let allowed = [
            (Created, vec![Running, Error, Disconnected]),
            (Running, vec![Error, Disconnected, Terminating]),
            (Error, vec![Terminating]),
            (Disconnected, vec![Terminating, NotRunning]),
            (Terminating, vec![TerminatedGracefully, TerminatedForced, NotRunning]),
            (TerminatedGracefully, vec![NotRunning]),
            (TerminatedForced, vec![NotRunning]),
            (NotRunning, vec![Empty]),
            (Empty, vec![]),
        ];
        for (from, followers) in allowed {
            for to in ServiceState::ALL {
                assert_eq!(from.may_become(*to), from == *to || followers.contains(to), "{from} to {to}");
            }
            assert_eq!(from.as_str().parse(), Ok(from));
        }
        assert!(!Terminating.is_terminated() && TerminatedGracefully.is_terminated() && Empty.is_terminated());
    }

    #[test]
    fn settings_of_an_older_version_get_the_defaults() {
        assert_eq!(serde_json::from_str::<ServiceConfig>("{}").ok(), Some(ServiceConfig::default()));
        let text = serde_json::to_string(&ServiceConfig::default()).unwrap_or_default();
        assert_eq!(serde_json::from_str::<ServiceConfig>(&text).ok(), Some(ServiceConfig::default()));
    }
}
