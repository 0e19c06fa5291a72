//! ClusterService.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use serde_json::Value;
use tonic::{Request, Response, Status};
use windhover_proto::{
    admin::v1::{self as proto, cluster_service_server::ClusterService},
    reasons,
};
use windhover_store::{Instance, ServiceKind, ServiceState, ShardDepth};
use windhover_types::{Error, ErrorKind, Id, JsonMap};

use super::{Shared, answer, lists::Page, open};
use crate::{
    auth::Caller,
    convert,
    error::{Result, invalid},
    page::{Binding, page_size},
};

/// Rows that one count looks at: a look costs the same however much waits.
const COUNTED: u64 = 100_000;

pub(crate) struct ClusterApi(pub(crate) Arc<Shared>);

#[tonic::async_trait]
impl ClusterService for ClusterApi {
    async fn list_instances(
        &self,
        request: Request<proto::ListInstancesRequest>,
    ) -> Result<Response<proto::ListInstancesResponse>, Status> {
        let (_, request) = open(request)?;
        answer(self.instances(request).await)
    }

    async fn drain_instance(
        &self,
        request: Request<proto::DrainInstanceRequest>,
    ) -> Result<Response<proto::DrainInstanceResponse>, Status> {
        let (caller, request) = open(request)?;
        answer(self.drain(&caller, request).await)
    }

    async fn list_shards(
        &self,
        request: Request<proto::ListShardsRequest>,
    ) -> Result<Response<proto::ListShardsResponse>, Status> {
        let (_, request) = open(request)?;
        answer(self.shards(request).await)
    }

    async fn move_shard(
        &self,
        request: Request<proto::MoveShardRequest>,
    ) -> Result<Response<proto::MoveShardResponse>, Status> {
        let (caller, request) = open(request)?;
        answer(self.move_shard(&caller, request).await)
    }

    async fn list_queues(
        &self,
        request: Request<proto::ListQueuesRequest>,
    ) -> Result<Response<proto::ListQueuesResponse>, Status> {
        let (_, request) = open(request)?;
        answer(self.queues(request).await)
    }

    async fn list_worker_groups(
        &self,
        request: Request<proto::ListWorkerGroupsRequest>,
    ) -> Result<Response<proto::ListWorkerGroupsResponse>, Status> {
        let (_, request) = open(request)?;
        answer(self.worker_groups(request).await)
    }

    async fn set_worker_group_permission(
        &self,
        request: Request<proto::SetWorkerGroupPermissionRequest>,
    ) -> Result<Response<proto::SetWorkerGroupPermissionResponse>, Status> {
        let (caller, request) = open(request)?;
        answer(self.set_permission(&caller, request).await)
    }
}

impl ClusterApi {
    async fn instances(&self, request: proto::ListInstancesRequest) -> Result<proto::ListInstancesResponse> {
        let size = page_size(request.page_size)?;
        let binding = Binding::new(&["instances", if request.include_ended { "all" } else { "living" }]);
        let after = self.0.begin(&binding, &request.page_token)?;
        let shards = self.shards_of().await?;
        let mut instances = self.0.store.instances().await?;
        instances.retain(|one| request.include_ended || !one.service.state.is_terminated());
        let page = cut(instances, size, after, |one| newest_first(one.id));
        Ok(proto::ListInstancesResponse {
            instances: page.items.iter().map(|one| shown(one, &shards)).collect(),
            next_page_token: self.0.next_token(&binding, page.next),
        })
    }

    async fn drain(
        &self,
        caller: &Caller,
        request: proto::DrainInstanceRequest,
    ) -> Result<proto::DrainInstanceResponse> {
        let id = convert::id("instance_id", &request.instance_id)?;
        let mut instance = self.instance(id).await?;
        if instance.service.kind != ServiceKind::Executor {
            return Err(unsuitable(id, "is no executor: only executors have shards to hand over"));
        }
        if instance.service.state.is_terminated() {
            return Err(unsuitable(id, "has ended"));
        }
        let draining = !request.cancel;
        if !self.0.store.set_draining(id, draining).await? {
            return Err(not_found(id));
        }
        instance.draining = draining;
        let action = if draining { "ClusterService.DrainInstance" } else { "ClusterService.DrainInstance (cancel)" };
        self.0.audit(caller, action, format!("instances/{id}")).await;
        let shards = self.shards_of().await?;
        Ok(proto::DrainInstanceResponse { instance: Some(shown(&instance, &shards)) })
    }

    async fn shards(&self, request: proto::ListShardsRequest) -> Result<proto::ListShardsResponse> {
        let size = page_size(request.page_size)?;
        let owner = match request.owner_id.as_str() {
            "" => None,
            id => Some(convert::id("owner_id", id)?),
        };
        let binding = Binding::new(&["shards", &request.owner_id]);
        let after = self.0.begin(&binding, &request.page_token)?;
        let (mut shards, cut_off) = self.depth().await?;
        shards.retain(|shard| owner.is_none() || shard.owner == owner);
        let hosts = self.hosts().await?;
        let page = cut(shards, size, after, |shard| shard.shard.to_be_bytes().to_vec());
        Ok(proto::ListShardsResponse {
            shards: page.items.iter().map(|shard| shown_shard(shard, cut_off, &hosts)).collect(),
            next_page_token: self.0.next_token(&binding, page.next),
        })
    }

    async fn move_shard(&self, caller: &Caller, request: proto::MoveShardRequest) -> Result<proto::MoveShardResponse> {
        let wanted = match request.instance_id.as_str() {
            "" => None,
            id => Some(convert::id("instance_id", id)?),
        };
        if let Some(id) = wanted {
            let executors = self.0.store.executors().await?;
            match executors.iter().find(|executor| executor.id == id) {
                Some(executor) if executor.draining => return Err(unsuitable(id, "drains: it takes no shards")),
                Some(_) => {}
                None => {
                    let found = self.instance(id).await?;
                    let executor = found.service.kind == ServiceKind::Executor;
                    return Err(unsuitable(id, if executor { "is not alive" } else { "is no executor" }));
                }
            }
        }
        let known = match u16::try_from(request.shard) {
            Ok(shard) => self.0.store.want_shard(shard, wanted).await?,
            Err(_) => false,
        };
        let (shards, cut_off) = self.depth().await?;
        let found = shards.into_iter().find(|shard| u32::from(shard.shard) == request.shard).filter(|_| known);
        let Some(shard) = found else {
            return Err(invalid("shard", format!("there is no shard {}; ListShards has their numbers", request.shard)));
        };
        self.0
            .audit(caller, "ClusterService.MoveShard", format!("shards/{} {}", shard.shard, request.instance_id))
            .await;
        let hosts = self.hosts().await?;
        Ok(proto::MoveShardResponse { shard: Some(shown_shard(&shard, cut_off, &hosts)) })
    }

    async fn queues(&self, request: proto::ListQueuesRequest) -> Result<proto::ListQueuesResponse> {
        let size = page_size(request.page_size)?;
        let binding = Binding::new(&["queues", &request.tenant_id]);
        let after = self.0.begin(&binding, &request.page_token)?;
        let mut queues: BTreeMap<(String, String), proto::Queue> = BTreeMap::new();
        for depth in self.0.store.group_depth().await? {
            let queue = queue(&mut queues, depth.group.as_deref().unwrap_or_default(), depth.tenant.as_str());
            (queue.jobs, queue.running, queue.overdue) = (depth.jobs, depth.held, depth.overdue);
        }
        let depths = match &self.0.jobs {
            Some(jobs) => {
                jobs.depths().await.map_err(|error| tracing::debug!(%error, "queues are shown without theirs"))
            }
            None => Ok(Vec::new()),
        };
        let queue_away = depths.is_err();
        for depth in depths.unwrap_or_default() {
            let queue = queue(&mut queues, &depth.group, depth.tenant.as_str());
            (queue.queued, queue.running) = (depth.waiting as u64, queue.running.max(depth.leased as u64));
            // What was handed out this moment is in the queue before it is counted here.
            queue.jobs = queue.jobs.max(queue.queued + queue.running);
        }
        let instances = self.0.store.instances().await?;
        let workers = Workers::of(&instances);
        let queues = queues.into_values().filter(|queue| {
            let asked = request.tenant_id.is_empty() || queue.tenant_id == request.tenant_id;
            asked && queue.jobs > 0
        });
        let page = cut(queues.collect(), size, after, |queue| {
            format!("{}\n{}", queue.worker_group, queue.tenant_id).into_bytes()
        });
        let shown =
            page.items.into_iter().map(|queue| proto::Queue { workers: workers.count(&queue.worker_group), ..queue });
        Ok(proto::ListQueuesResponse {
            queues: shown.collect(),
            next_page_token: self.0.next_token(&binding, page.next),
            queue_away,
        })
    }

    async fn instance(&self, id: Id) -> Result<Instance> {
        let instances = self.0.store.instances().await?;
        instances.into_iter().find(|instance| instance.id == id).ok_or_else(|| not_found(id))
    }

    /// What is in each shard, and whether counting stopped at its bound.
    async fn depth(&self) -> Result<(Vec<ShardDepth>, bool)> {
        let depth = self.0.store.depth(COUNTED).await?;
        Ok((depth.shards, !depth.complete))
    }

    async fn hosts(&self) -> Result<HashMap<Id, String>> {
        Ok(self.0.store.instances().await?.into_iter().map(|instance| (instance.id, instance.host)).collect())
    }

    /// How many shards each instance owns.
    async fn shards_of(&self) -> Result<HashMap<Id, u32>> {
        let mut counts = HashMap::new();
        for owner in self.0.store.list_shards().await?.into_iter().filter_map(|shard| shard.owner) {
            *counts.entry(owner).or_default() += 1;
        }
        Ok(counts)
    }
}

fn not_found(id: Id) -> Error {
    Error::new(ErrorKind::NotFound, reasons::INSTANCE_NOT_FOUND, format!("there is no instance {id}"))
        .with("instance", id)
}

fn unsuitable(id: Id, why: &str) -> Error {
    let message = format!("the instance {id} {why}");
    Error::new(ErrorKind::FailedPrecondition, reasons::INSTANCE_UNSUITABLE, message).with("instance", id)
}

fn queue<'a>(
    queues: &'a mut BTreeMap<(String, String), proto::Queue>,
    group: &str,
    tenant: &str,
) -> &'a mut proto::Queue {
    queues.entry((group.to_owned(), tenant.to_owned())).or_insert_with(|| proto::Queue {
        worker_group: group.to_owned(),
        tenant_id: tenant.to_owned(),
        ..Default::default()
    })
}

/// A page of what was read as a whole, in the order of `position`.
pub(super) fn cut<T>(mut all: Vec<T>, size: u32, after: Option<Vec<u8>>, position: impl Fn(&T) -> Vec<u8>) -> Page<T> {
    all.sort_by_cached_key(&position);
    all.retain(|item| after.as_ref().is_none_or(|after| position(item) > *after));
    let more = all.len() > size as usize;
    all.truncate(size as usize);
    let next = if more { all.last().map(&position) } else { None };
    Page { items: all, next }
}

/// Ids sort by their time.
fn newest_first(id: Id) -> Vec<u8> {
    id.as_bytes().iter().map(|byte| !byte).collect()
}

fn shown(instance: &Instance, shards: &HashMap<Id, u32>) -> proto::Instance {
    let service = &instance.service;
    let worker = service.kind == ServiceKind::Worker;
    proto::Instance {
        id: instance.id.to_string(),
        r#type: kind(service.kind) as i32,
        state: state(service.state) as i32,
        server_id: service.server.id.map(|id| id.to_string()).unwrap_or_default(),
        host: instance.host.clone(),
        version: service.server.version.clone(),
        started: Some(convert::time(instance.started_at)),
        last_heartbeat: Some(convert::time(instance.heartbeat_at.max(instance.updated_at))),
        draining: instance.draining,
        shards: shards.get(&instance.id).copied().unwrap_or_default(),
        worker_groups: if worker { groups(&service.props) } else { Vec::new() },
        slots: if worker { slots(&service.props) } else { 0 },
    }
}

fn shown_shard(shard: &ShardDepth, cut: bool, hosts: &HashMap<Id, String>) -> proto::Shard {
    let id = |id: Option<Id>| id.map(|id| id.to_string()).unwrap_or_default();
    proto::Shard {
        number: shard.shard.into(),
        owner_id: id(shard.owner),
        owner_host: shard.owner.and_then(|owner| hosts.get(&owner).cloned()).unwrap_or_default(),
        wanted_id: id(shard.wanted),
        open_executions: shard.open,
        inbox: shard.inbox,
        oldest_inbox: shard.oldest_inbox.map(convert::time),
        jobs: shard.jobs,
        overdue_jobs: shard.overdue_jobs,
        overdue_timers: shard.overdue_timers,
        oldest_timer: shard.oldest_timer.map(convert::time),
        last_change: shard.last_told_at.map(convert::time),
        cut,
    }
}

/// What workers say of themselves.
mod props {
    /// Group of a worker: a text, a list of texts, or nothing for the group without a name.
    pub(super) const GROUP: &str = "worker.group";
    /// Jobs that it runs at once.
    pub(super) const SLOTS: &str = "worker.slots";
}

fn groups(of: &JsonMap) -> Vec<String> {
    match of.get(props::GROUP) {
        Some(Value::String(group)) => vec![group.clone()],
        Some(Value::Array(groups)) => groups.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => vec![String::new()],
    }
}

fn slots(of: &JsonMap) -> u32 {
    of.get(props::SLOTS).and_then(Value::as_u64).and_then(|slots| slots.try_into().ok()).unwrap_or_default()
}

/// Living workers by the groups that they serve.
pub(super) struct Workers(HashMap<String, u32>);

impl Workers {
    pub(super) fn of(instances: &[Instance]) -> Self {
        let mut counts = HashMap::new();
        let living = instances.iter().filter(|instance| {
            let service = &instance.service;
            let works = matches!(service.state, ServiceState::Created | ServiceState::Running);
            service.kind == ServiceKind::Worker && works && instance.alive
        });
        for group in living.flat_map(|worker| groups(&worker.service.props)) {
            *counts.entry(group).or_default() += 1;
        }
        Self(counts)
    }

    /// The groups, the one without a name among them.
    pub(super) fn groups(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub(super) fn count(&self, group: &str) -> u32 {
        self.0.get(group).copied().unwrap_or_default()
    }
}

fn kind(kind: ServiceKind) -> proto::InstanceType {
    match kind {
        ServiceKind::Executor => proto::InstanceType::Executor,
        ServiceKind::Scheduler => proto::InstanceType::Scheduler,
        ServiceKind::Webserver => proto::InstanceType::Gateway,
        ServiceKind::Worker => proto::InstanceType::Worker,
        // Only Kestra has these.
        ServiceKind::Indexer => proto::InstanceType::Unspecified,
    }
}

fn state(state: ServiceState) -> proto::InstanceState {
    match state {
        ServiceState::Created => proto::InstanceState::Created,
        ServiceState::Running => proto::InstanceState::Running,
        ServiceState::Error => proto::InstanceState::Error,
        ServiceState::Disconnected => proto::InstanceState::Disconnected,
        ServiceState::Terminating => proto::InstanceState::Terminating,
        ServiceState::TerminatedGracefully => proto::InstanceState::TerminatedGracefully,
        ServiceState::TerminatedForced => proto::InstanceState::TerminatedForced,
        ServiceState::NotRunning => proto::InstanceState::NotRunning,
        ServiceState::Empty => proto::InstanceState::Inactive,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_a_whole_hold_each_item_once_also_when_some_come_and_go() {
        let position = |number: &u8| vec![*number];
        let first = cut(vec![3, 1, 2, 5, 4], 2, None, position);
        assert_eq!((first.items, &first.next), (vec![1, 2], &Some(vec![2])));
        // The one that the token names is gone.
        let second = cut(vec![5, 1, 4], 2, first.next, position);
        assert_eq!((second.items, second.next), (vec![4, 5], None));
        assert_eq!(cut(Vec::<u8>::new(), 2, None, position).next, None);
        assert!(newest_first(Id::from_bytes([2; 16])) < newest_first(Id::from_bytes([1; 16])));
    }

    #[test]
    fn a_worker_serves_the_groups_that_it_names() {
        let props = |text: &str| serde_json::from_str::<JsonMap>(text).unwrap();
        assert_eq!(groups(&props(r#"{"worker.group": "gpu"}"#)), ["gpu"]);
        assert_eq!(groups(&props(r#"{"worker.group": ["", "gpu"]}"#)), ["", "gpu"]);
        assert_eq!(groups(&props(r#"{"worker.group": null, "worker.slots": 4}"#)), [""]);
        assert_eq!(slots(&props(r#"{"worker.slots": 4}"#)), 4);
        assert_eq!(slots(&props("{}")), 0);
    }
}
