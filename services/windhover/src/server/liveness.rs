//! Settings of liveness and shutdown (operations reference 5.1).

use std::time::Duration;

use anyhow::{Result, bail};
use windhover_store::{Liveness, RestartStrategy, ServiceConfig};

use super::mode::Mode;
use crate::settings::Settings;

/// `local` is somebody's own machine, and they wait for it.
const GRACE_OF_LOCAL: Duration = Duration::from_secs(20);

/// Shorter ones would keep the database busy with nothing else.
const SHORTEST: Duration = Duration::from_millis(100);

/// What the services of this process promise, and by what they are judged.
pub(super) fn read(mode: Mode, settings: &Settings) -> Result<ServiceConfig> {
    let defaults = ServiceConfig::default();
    let duration = |key: &str, default: Duration| -> Result<Duration> {
        let value = settings.server_duration(key)?.unwrap_or(default);
        if value < SHORTEST {
            bail!("the setting `windhover.server.{key}` must be at least {} ms", SHORTEST.as_millis());
        }
        Ok(value)
    };
    let live = &defaults.liveness;
    let liveness = Liveness {
        enabled: settings.server_switch("liveness.enabled")?.unwrap_or(live.enabled),
        interval: duration("liveness.interval", live.interval)?,
        timeout: duration("liveness.timeout", live.timeout)?,
        initial_delay: settings.server_duration("liveness.initial-delay")?.unwrap_or(live.initial_delay),
        heartbeat_interval: duration("liveness.heartbeat-interval", live.heartbeat_interval)?,
    };
    if liveness.enabled && liveness.timeout <= liveness.heartbeat_interval {
        bail!(
            "the setting `windhover.server.liveness.timeout` ({:?}) must be longer than `windhover.server.liveness.heartbeat-interval` ({:?}): every service would count as lost",
            liveness.timeout,
            liveness.heartbeat_interval
        );
    }
    let grace = if mode == Mode::Local { GRACE_OF_LOCAL } else { defaults.termination_grace_period };
    Ok(ServiceConfig {
        termination_grace_period: settings.server_duration("termination-grace-period")?.unwrap_or(grace),
        restart_strategy: strategy(settings)?,
        liveness,
    })
}

/// Kestra's setting, shown with the services. Here leases decide, which run out 30 s after a worker was last heard of:
/// a strategy that would leave attempts lost is told to have no effect.
fn strategy(settings: &Settings) -> Result<RestartStrategy> {
    const KEY: &str = "kestra.server.worker-task-restart-strategy";
    let Some(text) = settings.text(KEY) else { return Ok(ServiceConfig::default().restart_strategy) };
    match text.trim() {
        "NEVER" => {
            tracing::warn!(
                "{KEY} NEVER has no effect: attempts of lost workers run again when their lease has run out"
            );
            Ok(RestartStrategy::Never)
        }
        "IMMEDIATELY" => Ok(RestartStrategy::Immediately),
        "AFTER_TERMINATION_GRACE_PERIOD" => Ok(RestartStrategy::AfterTerminationGracePeriod),
        other => bail!("the setting `{KEY}` is NEVER, IMMEDIATELY or AFTER_TERMINATION_GRACE_PERIOD, not `{other}`"),
    }
}
