//! The cluster as operators see and steer it.

use std::time::Duration;

use tonic::Code;
use windhover_proto::{
    admin::v1 as admin,
    v1::{self as proto},
};

use crate::server::{As, Server, fields, reason};

const FOR_WORKERS: &str = r#"
id: far
namespace: company.team
tasks:
  - id: work
    type: io.kestra.plugin.core.log.Log
    message: hello
    workerGroup:
      key: gpu
"#;

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_who_owns_what_and_move_it() {
    let server = Server::start().await;
    let mut calls = server.admin();
    let cluster = &mut calls.cluster;
    let listed = cluster.list_instances(admin::ListInstancesRequest::default()).await.unwrap().into_inner().instances;
    let [executor] = &listed[..] else { panic!("{listed:?}") };
    assert_eq!((executor.id.as_str(), executor.r#type()), (server.instance().as_str(), admin::InstanceType::Executor));
    assert!(executor.shards > 0 && executor.host == "test" && !executor.draining, "{executor:?}");

    let mut numbers = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = admin::ListShardsRequest { page_size: 25, page_token, owner_id: executor.id.clone() };
        let page = cluster.list_shards(request).await.unwrap().into_inner();
        assert!(page.shards.iter().all(|shard| shard.owner_host == "test" && !shard.cut));
        numbers.extend(page.shards.into_iter().map(|shard| shard.number));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(numbers, (0..executor.shards).collect::<Vec<_>>());
    let nobody = "0000000000000000000000".to_owned();
    let of_nobody = admin::ListShardsRequest { owner_id: nobody.clone(), ..Default::default() };
    assert!(cluster.list_shards(of_nobody).await.unwrap().into_inner().shards.is_empty());

    let to = |shard: u32, instance_id: &str| admin::MoveShardRequest { shard, instance_id: instance_id.into() };
    let moved = cluster.move_shard(to(3, &executor.id)).await.unwrap().into_inner().shard.unwrap();
    assert_eq!((moved.number, moved.wanted_id.as_str()), (3, executor.id.as_str()));
    let freed = cluster.move_shard(to(3, "")).await.unwrap().into_inner().shard.unwrap();
    assert_eq!(freed.wanted_id, "");
    for (request, expected, field) in [
        (to(executor.shards, &executor.id), "windhover INVALID_ARGUMENT", Some("shard")),
        (to(u32::MAX, ""), "windhover INVALID_ARGUMENT", Some("shard")),
        (to(0, "x"), "windhover INVALID_ARGUMENT", Some("instance_id")),
        (to(0, &nobody), "windhover INSTANCE_NOT_FOUND", None),
    ] {
        let wrong = cluster.move_shard(request).await.unwrap_err();
        assert_eq!((reason(&wrong).as_str(), fields(&wrong).first().map(String::as_str)), (expected, field));
    }

    let drain = |instance_id: &str, cancel| admin::DrainInstanceRequest { instance_id: instance_id.into(), cancel };
    let draining = cluster.drain_instance(drain(&executor.id, false)).await.unwrap().into_inner().instance.unwrap();
    assert!(draining.draining);
    let wrong = cluster.move_shard(to(0, &executor.id)).await.unwrap_err();
    assert_eq!((reason(&wrong).as_str(), wrong.code()), ("windhover INSTANCE_UNSUITABLE", Code::FailedPrecondition));
    let working = cluster.drain_instance(drain(&executor.id, true)).await.unwrap().into_inner().instance.unwrap();
    assert!(!working.draining);
    assert_eq!(
        reason(&cluster.drain_instance(drain(&nobody, false)).await.unwrap_err()),
        "windhover INSTANCE_NOT_FOUND"
    );
    assert_eq!(fields(&cluster.drain_instance(drain("", false)).await.unwrap_err()), ["instance_id"]);
    drop(calls);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_without_workers_shows_in_queues_and_executions() {
    let server = Server::start().await;
    let mut calls = server.admin();
    let apply = proto::ApplyFlowRequest { source: FOR_WORKERS.into(), ..Default::default() };
    calls.flows.apply_flow(apply).await.unwrap();
    let create =
        proto::CreateExecutionRequest { namespace: "company.team".into(), flow_id: "far".into(), ..Default::default() };
    let id = calls.executions.create_execution(create).await.unwrap().into_inner().execution.unwrap().id;
    let waits = windhover_testkit::wait_until("a word about the worker group", Duration::from_secs(30), async || {
        let get = proto::GetExecutionRequest { execution_id: id.clone(), ..Default::default() };
        let found = calls.executions.clone().get_execution(get).await.unwrap().into_inner().execution.unwrap();
        let waiting_for = found.task_runs.first().map(|run| run.waiting_for.clone());
        waiting_for.filter(|text| !text.is_empty())
    });
    assert!(waits.await.unwrap().contains("`gpu`"));

    let list = |tenant_id: &str| admin::ListQueuesRequest { tenant_id: tenant_id.into(), ..Default::default() };
    let listed = calls.cluster.list_queues(list("main")).await.unwrap().into_inner();
    let [queue] = &listed.queues[..] else { panic!("{listed:?}") };
    assert_eq!((queue.worker_group.as_str(), queue.tenant_id.as_str()), ("gpu", "main"));
    assert_eq!((queue.jobs, queue.queued, queue.running, queue.workers), (1, 1, 0, 0));
    assert!(!listed.queue_away);
    assert!(calls.cluster.list_queues(list("other")).await.unwrap().into_inner().queues.is_empty());
    drop(calls);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cluster_is_for_platform_administrators_alone() {
    let server = Server::start().await;
    let mut calls = server.admin();
    let token = admin::CreateTokenRequest { name: "a".into(), role: admin::Role::Admin as i32, ..Default::default() };
    let token = calls.access.create_token(token).await.unwrap().into_inner().token_text;
    let mut tenant = server.calls(As { token: Some(token), tenant: None }).cluster;
    let refusals = [
        tenant.list_instances(admin::ListInstancesRequest::default()).await.unwrap_err(),
        tenant.drain_instance(admin::DrainInstanceRequest::default()).await.unwrap_err(),
        tenant.list_shards(admin::ListShardsRequest::default()).await.unwrap_err(),
        tenant.move_shard(admin::MoveShardRequest::default()).await.unwrap_err(),
        tenant.list_queues(admin::ListQueuesRequest::default()).await.unwrap_err(),
    ];
    for refusal in &refusals {
        assert_eq!(reason(refusal), "windhover PERMISSION_DENIED");
    }
    drop((calls, tenant));
    server.stop().await;
}
