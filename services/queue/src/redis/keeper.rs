//! Looks after the connection and finds out when Redis was emptied.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use super::{
    Core, jobs,
    probe::Probed,
    random_id,
    script::{Arguments, Script},
};
use crate::QueueError;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// Between two attempts to connect.
const RETRY: Duration = Duration::from_millis(250);

/// How often it is told that this installation uses the keys.
const CLAIM: Duration = Duration::from_secs(5);

/// For how long another installation believes it. One that is gone is forgotten after that.
const CLAIMED: Duration = Duration::from_secs(30);

static CLAIM_PREFIX: LazyLock<Script> = LazyLock::new(|| Script::new(&[include_str!("lua/claim.lua")]));
static MARKER: LazyLock<Script> = LazyLock::new(|| Script::new(&[include_str!("lua/marker.lua")]));

/// Markers as they were seen last.
pub(super) type Known = HashMap<String, String>;

/// Sets the markers that are missing.
pub(super) async fn first_look(core: &Core, probed: &Probed) -> Result<Known, QueueError> {
    // One that takes nothing just now is as good as one that does so later.
    if let Err(error @ QueueError::Unusable(_)) = claim(core).await {
        return Err(error);
    }
    jobs::learn_groups(core).await?;
    let known = look(core, probed).await?;
    core.link.tell_available();
    Ok(known)
}

/// Goes on until the queue does.
pub(super) async fn run(core: Arc<Core>, mut probed: Probed, mut known: Known) {
    let mut claimed = Claimed::default();
    loop {
        tokio::select! {
            () = core.link.lost() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
        core.pending.give_up(core.config.ack_timeout);
        if !core.link.is_available() {
            match core.link.reconnect().await {
                Ok(again) => probed = again,
                Err(_) => {
                    // A queue that is away acknowledges nothing; who waits for it sends again.
                    core.pending.give_up(core.config.timeout);
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
            }
        }
        let markers = match look(&core, &probed).await {
            Ok(markers) => markers,
            Err(error) => {
                core.link.tell_away(&error);
                continue;
            }
        };
        let emptied = markers.iter().any(|(key, marker)| known.get(key).is_some_and(|before| before != marker));
        known = markers;
        if emptied {
            tracing::warn!("Redis was emptied or restarted: leases are announced again, owners push their jobs again");
            jobs::announce(&core).await;
            // Whatever was under way is gone.
            core.pending.give_up(Duration::ZERO);
            core.generation.send_modify(|generation| *generation += 1);
        }
        match claimed.renew(&core).await {
            None => core.link.tell_available(),
            // Jobs of the one must not reach workers of the other.
            Some(error @ QueueError::Unusable(_)) => {
                core.link.tell_away(error);
                continue;
            }
            Some(error) => core.link.tell_refuses(error),
        }
        jobs::look_after(&core).await;
    }
}

/// When it was last told that this installation uses the keys, and what came of it.
#[derive(Default)]
struct Claimed {
    at: Option<Instant>,
    problem: Option<QueueError>,
}

impl Claimed {
    /// What keeps Redis from taking what it is told, if anything does. It is tried now and then: as often as looks are
    /// made while there is a problem.
    async fn renew(&mut self, core: &Core) -> Option<&QueueError> {
        let now = Instant::now();
        if self.problem.is_some() || self.at.is_none_or(|at| now.saturating_duration_since(at) >= CLAIM) {
            (self.at, self.problem) = (Some(now), claim(core).await.err());
        }
        self.problem.as_ref()
    }
}

/// Tells that this installation uses the keys of its prefix. A write: it shows whether Redis takes any.
async fn claim(core: &Core) -> Result<(), QueueError> {
    let installation = &core.config.installation;
    let arguments = Arguments::default().arg(installation).arg(jobs::millis(CLAIMED));
    let user: String = CLAIM_PREFIX.call(&core.link, &core.keys.installation(), &arguments).await?;
    if user == *installation {
        return Ok(());
    }
    Err(QueueError::Unusable(format!(
        "Redis at {} is in use by another installation of Windhover under the same windhover.redis.prefix (`{}`): set \
         another prefix for one of them; if the other one is gone, wait {} s",
        core.link.dialer.address(),
        core.config.prefix,
        CLAIMED.as_secs()
    )))
}

async fn look(core: &Core, probed: &Probed) -> Result<Known, QueueError> {
    let mut keys = vec![core.keys.generation()];
    keys.extend(core.jobs.groups().iter().map(|group| core.keys.group_marker(group)));
    if core.link.dialer.is_cluster() {
        // Each node is emptied by itself: a marker beside everything that is of one node.
        keys.extend((0..core.config.stream_groups).map(|group| core.keys.stream_marker(group)));
    }
    core.jobs.set_run(&probed.run_id);
    let marker = format!("{}@{}", random_id(), probed.run_id);
    let looks = keys.into_iter().map(|key| {
        let arguments = Arguments::default().arg(&marker).arg(&probed.run_id);
        async move {
            let marker: String = MARKER.call(&core.link, &key, &arguments).await?;
            Ok((key, marker))
        }
    });
    futures::future::try_join_all(looks).await.map(HashMap::from_iter)
}
