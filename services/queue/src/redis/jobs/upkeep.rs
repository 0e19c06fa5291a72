//! What is done beside the calls: groups and weights, leases after Redis was emptied, what was left over.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use windhover_types::Tenant;

use super::{
    super::{Core, script::command},
    complete, renew,
    scripts::{PASS_ON, arguments, call},
    state::Held,
    until,
};
use crate::{Group, JobKey, QueueError, Renewal};

/// A lease that was not renewed for so long after its end is forgotten here as well.
const FORGET: Duration = Duration::from_secs(60);

/// Jobs of this group wait.
pub(in crate::redis) fn ready(core: &Arc<Core>, group: &str) {
    if core.jobs.hungry.lock().contains_key(group) {
        core.jobs.ready.notify_waiters();
        return;
    }
    // Nobody here waits any more: somebody else may.
    let (core, group) = (Arc::clone(core), group.to_owned());
    tokio::spawn(async move {
        let arguments = arguments(&core).arg(&group).arg(core.keys.process_channels());
        if let Err(error) = call::<()>(&core, &PASS_ON, &group, arguments).await {
            tracing::debug!(%error, "others look by themselves");
        }
    });
}

/// Asks which groups there are.
pub(in crate::redis) async fn learn_groups(core: &Core) -> Result<(), QueueError> {
    let members: Vec<String> = core.link.query(&command("SMEMBERS", &[core.keys.groups().as_bytes()])).await?;
    let mut groups = core.jobs.groups.lock();
    for group in members {
        if !groups.contains(group.as_str()) {
            groups.insert(group.into());
        }
    }
    Ok(())
}

/// All groups, also those that another process has just begun.
pub(super) async fn known_groups(core: &Core) -> Result<Vec<Group>, QueueError> {
    learn_groups(core).await?;
    Ok(core.jobs.groups())
}

/// Before the first job of a group: others must be able to find it, and it needs the tenants' weights.
pub(super) async fn register_group(core: &Core, group: &Group) -> Result<(), QueueError> {
    if core.jobs.groups.lock().contains(group) {
        return Ok(());
    }
    enter_group(core, group).await?;
    core.jobs.groups.lock().insert(group.clone());
    Ok(())
}

async fn enter_group(core: &Core, group: &Group) -> Result<(), QueueError> {
    // First the group, then the weights: whoever sets one meanwhile sees the group, or is seen here.
    core.link.query::<()>(&command("SADD", &[core.keys.groups().as_bytes(), group.as_bytes()])).await?;
    let weights: HashMap<String, u32> = core.link.query(&command("HGETALL", &[core.keys.weights().as_bytes()])).await?;
    let weights: Vec<(Tenant, u32)> =
        weights.into_iter().map(|(tenant, weight)| (Tenant::trusted(&tenant), weight)).collect();
    write_to(core, format!("{}:weights", core.keys.group(group)), &weights).await
}

/// Puts weights into a hash, beside those that it has.
async fn write_to(core: &Core, key: String, weights: &[(Tenant, u32)]) -> Result<(), QueueError> {
    if weights.is_empty() {
        return Ok(());
    }
    let mut write = redis::cmd("HSET");
    write.arg(key);
    for (tenant, weight) in weights {
        write.arg(tenant.as_str()).arg(*weight);
    }
    core.link.query(&write).await
}

pub(super) async fn write_weights(core: &Core, weights: &[(Tenant, u32)]) -> Result<(), QueueError> {
    if weights.is_empty() {
        return Ok(());
    }
    write_to(core, core.keys.weights(), weights).await?;
    for group in known_groups(core).await? {
        write_to(core, format!("{}:weights", core.keys.group(&group)), weights).await?;
    }
    Ok(())
}

pub(super) async fn waiting(core: &Core, tenant: &Tenant, group: &str) -> Result<usize, QueueError> {
    let list = format!("{}:w:{tenant}", core.keys.group(group));
    core.link.query(&command("LLEN", &[list.as_bytes()])).await
}

/// Finds out who has room again without having been told.
pub(super) async fn look_at_thirsty(core: &Core) {
    let thirsty: Vec<(Tenant, Group)> = core.jobs.thirsty.lock().iter().cloned().collect();
    for place in thirsty {
        match waiting(core, &place.0, &place.1).await {
            Ok(waiting) if waiting <= core.config.window / 2 => core.jobs.has_drained(place),
            Ok(_) => {}
            Err(_) => return,
        }
    }
}

/// A lease was renewed.
pub(super) fn renewed(core: &Core, worker: &str, key: JobKey, born: &str, lease: Duration) {
    if let Some(held) = core.jobs.held.lock().get_mut(&key).filter(|held| held.worker == worker) {
        held.until = until(lease);
        held.lease = lease;
        if held.born.as_ref() != born {
            held.born = born.into();
        }
    }
}

/// After Redis was emptied: the groups, the weights, and the leases that are held here.
pub(in crate::redis) async fn announce(core: &Core) {
    if let Err(error) = try_announce(core).await {
        tracing::warn!(%error, "leases could not be announced again; workers do it when they renew them");
    }
}

async fn try_announce(core: &Core) -> Result<(), QueueError> {
    for group in core.jobs.groups() {
        enter_group(core, &group).await?;
    }
    let weights: Vec<(Tenant, u32)> =
        core.jobs.weights.lock().iter().map(|(tenant, weight)| (tenant.clone(), *weight)).collect();
    write_weights(core, &weights).await?;

    let mut leases: HashMap<_, Vec<(JobKey, Option<Held>)>> = HashMap::new();
    let now = Instant::now();
    for (key, held) in core.jobs.held.lock().iter().filter(|(_, held)| held.until > now && !held.completed) {
        let place = (held.group.clone(), held.worker.clone(), held.lease);
        leases.entry(place).or_default().push((*key, Some(held.clone())));
    }
    for ((group, worker, lease), keys) in leases {
        let (born, renewals) = renew(core, &group, &worker, &keys, lease).await?;
        for ((key, _), renewal) in keys.into_iter().zip(renewals) {
            // What is lost is told to the worker when it renews.
            if renewal != Renewal::Lost {
                renewed(core, &worker, key, &born, lease);
            }
        }
    }
    Ok(())
}

/// Ends what could not be ended when it was over, forgets what nobody renews, learns of new groups.
pub(in crate::redis) async fn look_after(core: &Core) {
    let mut completed: HashMap<(Group, String), Vec<JobKey>> = HashMap::new();
    {
        let now = Instant::now();
        let mut held = core.jobs.held.lock();
        held.retain(|_, held| now.saturating_duration_since(held.until) < FORGET);
        for (key, held) in held.iter().filter(|(_, held)| held.completed) {
            completed.entry((held.group.clone(), held.worker.clone())).or_default().push(*key);
        }
    }
    for ((group, worker), keys) in completed {
        if let Err(error) = complete(core, &group, &worker, &keys).await {
            tracing::debug!(%error, "leases that are over wait to be ended");
            return;
        }
    }
    if let Err(error) = learn_groups(core).await {
        tracing::debug!(%error, "new groups are not known yet");
    }
}
