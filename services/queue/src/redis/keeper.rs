//! Looks after the connection and finds out when Redis was emptied.

use std::{collections::HashMap, sync::Arc, time::Duration};

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

/// Markers as they were seen last.
pub(super) type Known = HashMap<String, String>;

/// Sets the markers that are missing.
pub(super) async fn first_look(core: &Core, probed: &Probed) -> Result<Known, QueueError> {
    jobs::learn_groups(core).await?;
    let known = look(core, probed).await?;
    core.link.tell_available();
    Ok(known)
}

/// Goes on until the queue does.
pub(super) async fn run(core: Arc<Core>, mut probed: Probed, mut known: Known) {
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
        core.link.tell_available();
        jobs::look_after(&core).await;
    }
}

async fn look(core: &Core, probed: &Probed) -> Result<Known, QueueError> {
    let mut keys = vec![core.keys.generation()];
    keys.extend(core.jobs.groups().iter().map(|group| core.keys.group_marker(group)));
    if core.link.dialer.is_cluster() {
        // Each node is emptied by itself: a marker beside everything that is of one node.
        keys.extend((0..core.config.stream_groups).map(|group| core.keys.stream_marker(group)));
    }
    core.jobs.set_run(&probed.run_id);
    let script = Script::new(&[include_str!("lua/marker.lua")]);
    let marker = format!("{}@{}", random_id(), probed.run_id);
    let looks = keys.into_iter().map(|key| {
        let arguments = Arguments::default().arg(&marker).arg(&probed.run_id);
        let (script, link) = (&script, &core.link);
        async move {
            let marker: String = script.call(link, &key, &arguments).await?;
            Ok((key, marker))
        }
    });
    futures::future::try_join_all(looks).await.map(HashMap::from_iter)
}
