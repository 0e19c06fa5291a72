//! Looks after the services of all processes: what is silent counts as lost, what is lost for long is forgotten
//! (operations reference 5.5). Runs beside every executor; the store lets each change happen once.

use std::time::Duration;

use rand::Rng;
use windhover_store::{Coordination, Instance, Store};
use windhover_types::{Error, Id, Timestamp};

/// So that executors that were started together do not all look at the same moment.
const JITTER_MS: u64 = 500;

/// How long services that have ended are still listed.
const REMEMBERED: Duration = Duration::from_secs(3_600);
const STEP: u64 = 100;

/// Runs until it is aborted; does nothing while `running` says no.
pub(super) async fn run(store: Store, server: Id, interval: Duration, running: impl Fn() -> bool + Send + 'static) {
    loop {
        let jitter = Duration::from_millis(rand::rng().random_range(0..=JITTER_MS));
        tokio::time::sleep(interval + jitter).await;
        if !running() {
            continue;
        }
        if let Err(error) = look(&store, server).await {
            tracing::warn!(%error, "the services of other processes cannot be looked after");
        }
    }
}

async fn look(store: &Store, server: Id) -> Result<(), Error> {
    let Coordination { disconnected, lost_workers, ended } = store.coordinate(server).await?;
    for service in &disconnected {
        told(service, "a service does not answer and counts as disconnected");
    }
    for worker in &lost_workers {
        told(worker, "a worker is lost; what it held runs again when its leases have run out");
    }
    for service in &ended {
        tracing::info!(id = %service.id, kind = service.service.kind.as_str(), "a service that has ended is forgotten");
    }
    let now = store.now().await?;
    let before = Timestamp::from_micros(now.as_micros() - REMEMBERED.as_micros() as i64);
    store.purge_instances(before, STEP).await?;
    Ok(())
}

fn told(service: &Instance, what: &str) {
    tracing::warn!(id = %service.id, kind = service.service.kind.as_str(), host = service.host, "{what}");
}
