//! What this process and the installation do, for operators: endpoints of the management port beside health and metrics
//! (operations reference 2.10 to 2.12).

use std::sync::{Arc, OnceLock};

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};
use windhover_executor::Flows;
use windhover_queue::JobQueue;
use windhover_scheduler::SchedulerView;
use windhover_store::Store;
use windhover_types::Error;
use windhover_worker::{RunningAttempt, WorkerView};

use super::{groups::SeenGroups, mode::Services};

/// Rows that one count looks at, at most: an operator's look must not be what keeps the database busy.
const COUNTED: u64 = 100_000;

/// What the endpoints look at; there once the parts of the process are.
pub(super) struct Views {
    pub(super) store: Store,
    pub(super) flows: Flows,
    pub(super) jobs: Arc<dyn JobQueue>,
    pub(super) groups: SeenGroups,
    pub(super) worker: Option<WorkerView>,
    pub(super) scheduler: Option<SchedulerView>,
}

/// Filled when the process has started.
pub(super) type Late = Arc<OnceLock<Views>>;

/// `/worker` and `/scheduler` only where there is one; the state of shards and queues is the same everywhere.
pub(super) fn router(services: Services, views: Late) -> Router {
    let mut router = Router::new().route("/shards", get(shards)).route("/queues", get(queues));
    if services.worker {
        router = router.route("/worker", get(worker));
    }
    if services.scheduler {
        router = router.route("/scheduler", get(scheduler));
    }
    router.with_state(views)
}

type Shared = State<Late>;

fn starting() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"message": "the server is starting"}))).into_response()
}

fn broken(error: &Error) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"message": error.to_string()}))).into_response()
}

async fn worker(State(views): Shared) -> Response {
    let Some((views, worker)) = views.get().and_then(|views| Some((views, views.worker.as_ref()?))) else {
        return starting();
    };
    let running = worker.running();
    let runnings: Vec<Value> = running.iter().map(|attempt| of_attempt(attempt, &views.flows)).collect();
    Json(json!({"runningCount": running.len(), "runnings": runnings})).into_response()
}

fn of_attempt(attempt: &RunningAttempt, flows: &Flows) -> Value {
    let state = json!({
        "current": "RUNNING",
        "histories": [
            {"state": "CREATED", "date": attempt.created_at.to_string()},
            {"state": "RUNNING", "date": attempt.started_at.to_string()},
        ],
        "startDate": attempt.created_at.to_string(),
    });
    let task_run = json!({
        "tenantId": attempt.tenant.as_str(),
        "id": attempt.key.task_run.to_string(),
        "executionId": attempt.execution.to_string(),
        "namespace": attempt.flow.namespace,
        "flowId": attempt.flow.id,
        "taskId": attempt.task_id,
        "attempts": [{"state": state}],
        "state": state,
    });
    json!({"type": "task", "taskRun": task_run, "task": as_written(attempt, flows)})
}

/// The task as it stands in the flow: its expressions are not rendered, so it shows no secret.
fn as_written(attempt: &RunningAttempt, flows: &Flows) -> Value {
    let (namespace, id) = (&attempt.flow.namespace, &attempt.flow.id);
    let written = flows
        .cached(&attempt.tenant, namespace, id, Some(attempt.flow_revision))
        .and_then(|stored| serde_yaml::from_str::<Value>(&stored.source).ok())
        .and_then(|flow| find_task(&flow, &attempt.task_id).cloned());
    let type_name = || attempt.flow.index.get(&attempt.task_id).map(|place| place.task.type_name.clone());
    written.unwrap_or_else(|| json!({"id": attempt.task_id, "type": type_name()}))
}

/// The map with this id and a type, wherever it stands: ids of tasks are unique in a flow.
fn find_task<'a>(at: &'a Value, id: &str) -> Option<&'a Value> {
    match at {
        Value::Object(map) => {
            if map.get("id").and_then(Value::as_str) == Some(id) && map.contains_key("type") {
                return Some(at);
            }
            // Inputs and triggers may have the same ids.
            let others = map.iter().filter(|(key, _)| !matches!(key.as_str(), "inputs" | "triggers" | "outputs"));
            others.map(|(_, value)| value).find_map(|value| find_task(value, id))
        }
        Value::Array(list) => list.iter().find_map(|value| find_task(value, id)),
        _ => None,
    }
}

async fn scheduler(State(views): Shared) -> Response {
    match views.get().and_then(|views| views.scheduler.as_ref()) {
        Some(scheduler) => match scheduler.json().await {
            Ok(document) => Json(document).into_response(),
            Err(error) => broken(&error),
        },
        None => starting(),
    }
}

async fn shards(State(views): Shared) -> Response {
    let Some(views) = views.get() else { return starting() };
    match of_shards(&views.store).await {
        Ok(document) => Json(document).into_response(),
        Err(error) => broken(&error),
    }
}

async fn of_shards(store: &Store) -> Result<Value, Error> {
    let depth = store.depth(COUNTED).await?;
    let instances = store.instances().await?;
    let host = |id| instances.iter().find(|one| Some(one.id) == id).map(|one| one.host.clone());
    let shards: Vec<Value> = depth
        .shards
        .iter()
        .map(|shard| {
            json!({
                "shard": shard.shard,
                "owner": shard.owner.map(|id| id.to_string()),
                "host": host(shard.owner),
                "wanted": shard.wanted.map(|id| id.to_string()),
                "openExecutions": shard.open,
                "inbox": shard.inbox,
                "oldestInbox": shard.oldest_inbox.map(|at| at.to_string()),
                "jobs": shard.jobs,
                "overdueJobs": shard.overdue_jobs,
                "overdueTimers": shard.overdue_timers,
                "nextTimer": shard.oldest_timer.map(|at| at.to_string()),
                "feed": shard.last_seq,
            })
        })
        .collect();
    Ok(json!({"complete": depth.complete, "shards": shards}))
}

async fn queues(State(views): Shared) -> Response {
    let Some(views) = views.get() else { return starting() };
    match of_queues(views).await {
        Ok(document) => Json(document).into_response(),
        Err(error) => broken(&error),
    }
}

async fn of_queues(views: &Views) -> Result<Value, Error> {
    // What waits in Redis; while that is away, what the store says is all there is.
    let (waiting, away) = match views.jobs.depths().await {
        Ok(depths) => (depths, None),
        Err(error) => (Vec::new(), Some(error.to_string())),
    };
    views.groups.look(&views.store).await?;
    let workers = views.groups.workers();
    let stored: Vec<Value> = views
        .store
        .group_depth()
        .await?
        .iter()
        .map(|depth| {
            let group = depth.group.as_deref().unwrap_or_default();
            let queue = waiting.iter().find(|one| *one.group == *group && one.tenant == depth.tenant);
            json!({
                "group": group,
                "tenant": depth.tenant.as_str(),
                "jobs": depth.jobs,
                "held": depth.held,
                "overdue": depth.overdue,
                "waitingInQueue": queue.map(|one| one.waiting),
                "leased": queue.map(|one| one.leased),
                "workers": workers.get(group).copied().unwrap_or_default(),
            })
        })
        .collect();
    Ok(json!({"queues": stored, "workers": workers, "unavailable": away}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_found_at_any_depth_and_not_taken_for_an_input() {
        let flow = json!({
            "id": "flow", "inputs": [{"id": "deep", "type": "STRING"}],
            "tasks": [{"id": "outer", "type": "Sequential", "tasks": [{"id": "deep", "type": "Log", "message": "{{ secret('X') }}"}]}],
        });
        let found = find_task(&flow, "deep").and_then(|task| task.get("message"));
        assert_eq!(found.and_then(Value::as_str), Some("{{ secret('X') }}"));
        assert!(find_task(&flow, "absent").is_none());
    }
}
