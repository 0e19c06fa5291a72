//! What Windhover's own loops and the libraries publish through the `metrics` crate: kept and rendered by
//! metrics-exporter-prometheus. Kestra's metrics have a registry of their own ([`super::Registry`]), since their timers
//! are summaries with a decaying maximum.

use std::sync::OnceLock;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();

/// Takes what is published from now on. Does nothing when somebody (a test, a library) came first.
pub(super) fn install() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    if metrics::set_global_recorder(recorder).is_ok() {
        let _ = HANDLE.set(handle);
    }
}

/// Every published series as `text/plain; version=0.0.4`.
pub(crate) fn prometheus() -> String {
    let Some(handle) = HANDLE.get() else { return String::new() };
    // The exporter keeps raw samples until this is called: memory stays bounded while somebody scrapes.
    handle.run_upkeep();
    handle.render()
}
