//! Worker groups as the executor sees them: which exist, which have workers, which are denied to whom.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use parking_lot::RwLock;
use tokio::task::JoinHandle;
use windhover_executor::{GroupState, WorkerGroups};
use windhover_store::{ServiceKind, ServiceState, Store};
use windhover_types::{Error, Tenant};

/// How old the picture may be.
const REFRESH: Duration = Duration::from_secs(2);

/// The property of a worker that names its group.
pub(super) const GROUP_PROPERTY: &str = "worker.group";

#[derive(Default)]
struct Picture {
    /// Group → workers that run, of all groups that were ever seen.
    workers: HashMap<String, usize>,
    denied: HashSet<(Tenant, String)>,
}

/// Kept up to date from the store.
#[derive(Clone, Default)]
pub(super) struct SeenGroups(Arc<RwLock<Picture>>);

impl SeenGroups {
    /// Looks once before it answers, then again and again until the task is aborted.
    pub(super) async fn watch(store: Store) -> Result<(Self, JoinHandle<()>), Error> {
        let seen = Self::default();
        seen.look(&store).await?;
        let watched = seen.clone();
        let task = tokio::spawn(async move {
            let mut told = false;
            loop {
                tokio::time::sleep(REFRESH).await;
                match watched.look(&store).await {
                    Ok(()) => told = false,
                    Err(error) if !told => {
                        told = true;
                        tracing::warn!(%error, "the worker groups cannot be looked at; they stay as they were");
                    }
                    Err(_) => {}
                }
            }
        });
        Ok((seen, task))
    }

    /// Workers that run, by group; also the groups that have none now.
    pub(super) fn workers(&self) -> HashMap<String, usize> {
        self.0.read().workers.clone()
    }

    /// Looks now.
    pub(super) async fn look(&self, store: &Store) -> Result<(), Error> {
        let mut picture = Picture::default();
        for group in store.worker_groups().await? {
            picture.workers.insert(group.name, 0);
        }
        for instance in store.instances().await? {
            let service = &instance.service;
            if service.kind == ServiceKind::Worker && service.state == ServiceState::Running {
                let group = service.props.get(GROUP_PROPERTY).and_then(|group| group.as_str()).unwrap_or_default();
                *picture.workers.entry(group.to_owned()).or_default() += 1;
            }
        }
        for (tenant, groups) in store.denied_worker_groups().await? {
            picture.denied.extend(groups.into_iter().map(|group| (tenant.clone(), group)));
        }
        *self.0.write() = picture;
        Ok(())
    }
}

impl WorkerGroups for SeenGroups {
    fn state(&self, tenant: &Tenant, group: &str) -> GroupState {
        let picture = self.0.read();
        let workers = picture.workers.get(group);
        GroupState {
            denied: picture.denied.contains(&(tenant.clone(), group.to_owned())),
            known: workers.is_some(),
            alive: workers.is_some_and(|workers| *workers > 0),
        }
    }
}
