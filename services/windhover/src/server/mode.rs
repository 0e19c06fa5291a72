//! What a server process is made of: one table says it for every mode.

use std::net::{IpAddr, Ipv4Addr};

use windhover_store::ServerType;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Local,
    Standalone,
    Gateway,
    Executor,
    Worker,
    Scheduler,
}

/// The services that run in one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Services {
    /// gRPC, gRPC-web and webhooks.
    pub(super) gateway: bool,
    /// Owns shards.
    pub(super) executor: bool,
    /// Runs tasks.
    pub(super) worker: bool,
    /// Starts what schedules say.
    pub(super) scheduler: bool,
}

const ALL: Services = Services { gateway: true, executor: true, worker: true, scheduler: true };
const NONE: Services = Services { gateway: false, executor: false, worker: false, scheduler: false };

/// Whether a mode takes part in a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Redis {
    /// Everything is in one process, always.
    Never,
    /// With Redis one of several servers, without it the only one.
    Optional,
    /// One part alone is of no use to anybody.
    Needed,
}

/// A mode: its name on the command line, whether its process has one service or all, what runs in it, its place in a
/// cluster.
pub(super) struct Row {
    mode: Mode,
    pub(super) name: &'static str,
    pub(super) server_type: ServerType,
    services: Services,
    pub(super) redis: Redis,
}

const TABLE: &[Row] = &[
    Row { mode: Mode::Local, name: "local", server_type: ServerType::Standalone, services: ALL, redis: Redis::Never },
    Row {
        mode: Mode::Standalone,
        name: "standalone",
        server_type: ServerType::Standalone,
        services: ALL,
        redis: Redis::Optional,
    },
    Row {
        mode: Mode::Gateway,
        name: "gateway",
        server_type: ServerType::Server,
        services: Services { gateway: true, ..NONE },
        redis: Redis::Needed,
    },
    Row {
        mode: Mode::Executor,
        name: "executor",
        server_type: ServerType::Server,
        services: Services { executor: true, ..NONE },
        redis: Redis::Needed,
    },
    Row {
        mode: Mode::Worker,
        name: "worker",
        server_type: ServerType::Server,
        services: Services { worker: true, ..NONE },
        redis: Redis::Needed,
    },
    Row {
        mode: Mode::Scheduler,
        name: "scheduler",
        server_type: ServerType::Server,
        services: Services { scheduler: true, ..NONE },
        redis: Redis::Needed,
    },
];

impl Mode {
    pub(super) fn row(self) -> &'static Row {
        // Every mode is in the table; the first row stands for none that could be missing.
        TABLE.iter().find(|row| row.mode == self).unwrap_or(&TABLE[0])
    }

    pub(super) fn name(self) -> &'static str {
        self.row().name
    }

    /// What runs. `tasks`: whether a process that does everything runs tasks too (operations reference 7.1).
    pub(super) fn services(self, tasks: bool) -> Services {
        let services = self.row().services;
        Services { worker: services.worker && tasks, ..services }
    }

    /// Where its ports are open: `local` asks nobody for a login and is there for this machine alone.
    pub(super) fn host(self) -> IpAddr {
        match self {
            Mode::Local => IpAddr::V4(Ipv4Addr::LOCALHOST),
            _ => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_service_has_a_mode_of_its_own_and_every_mode_is_in_the_table() {
        for mode in [Mode::Local, Mode::Standalone, Mode::Gateway, Mode::Executor, Mode::Worker, Mode::Scheduler] {
            assert_eq!(TABLE.iter().filter(|row| row.mode == mode).count(), 1, "{mode:?}");
        }
        let alone = |has: fn(&Services) -> bool| {
            TABLE.iter().filter(|row| row.redis == Redis::Needed && has(&row.services)).count()
        };
        assert_eq!(
            (alone(|s| s.gateway), alone(|s| s.executor), alone(|s| s.worker), alone(|s| s.scheduler)),
            (1, 1, 1, 1)
        );
        assert!(!Mode::Standalone.services(false).worker && Mode::Standalone.services(true).worker);
    }
}
