//! Namespaces: what their flows get from them, over the API. Types and worker groups beside them.

use serde_json::{Value, json};
use windhover_proto::{
    admin::v1 as admin,
    v1::{self as proto},
};

use crate::server::{As, Calls, Server, fields, reason};

const ECHO: &str = r#"
id: echo
namespace: company.team
variables:
  own: flow
tasks:
  - id: out
    type: io.kestra.plugin.core.output.OutputValues
    values:
      own: "{{ vars.own }}"
      region: "{{ vars.region ?? 'none' }}"
      same: "{{ namespace.region ?? 'none' }}"
      host: "{{ vars.db.host ?? 'none' }}"
outputs:
  - id: seen
    type: JSON
    value: "{{ outputs.out.values | toJson }}"
"#;

fn json(value: Value) -> Option<proto::Json> {
    Some(proto::Json { text: value.to_string() })
}

fn variables(name: &str, value: Value) -> proto::UpdateNamespaceRequest {
    proto::UpdateNamespaceRequest {
        namespace: Some(proto::Namespace { name: name.into(), variables: json(value), ..Default::default() }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["variables".into()] }),
        validate_only: false,
    }
}

fn plugin_defaults(name: &str, list: &[(&str, bool, Value)]) -> proto::UpdateNamespaceRequest {
    let entry = |(name, forced, values): &(&str, bool, Value)| proto::PluginDefault {
        r#type: (*name).into(),
        forced: *forced,
        values: json(values.clone()),
    };
    proto::UpdateNamespaceRequest {
        namespace: Some(proto::Namespace {
            name: name.into(),
            plugin_defaults: list.iter().map(entry).collect(),
            ..Default::default()
        }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["plugin_defaults".into()] }),
        validate_only: false,
    }
}

async fn apply(calls: &mut Calls, source: &str) -> Result<proto::ApplyFlowResponse, tonic::Status> {
    let request = proto::ApplyFlowRequest { source: source.into(), ..Default::default() };
    Ok(calls.flows.apply_flow(request).await?.into_inner())
}

/// Runs a flow of inline tasks to its end.
async fn run(calls: &mut Calls, flow_id: &str) -> proto::Execution {
    let request = proto::CreateExecutionRequest {
        namespace: "company.team".into(),
        flow_id: flow_id.into(),
        ..Default::default()
    };
    let id = calls.executions.create_execution(request).await.unwrap().into_inner().execution.unwrap().id;
    let wait = proto::WaitExecutionRequest { execution_id: id, ..Default::default() };
    calls.executions.wait_execution(wait).await.unwrap().into_inner().execution.unwrap()
}

async fn seen(calls: &mut Calls) -> Value {
    let execution = run(calls, "echo").await;
    let outputs: Value = serde_json::from_str(&execution.outputs.unwrap().text).unwrap();
    outputs["seen"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_of_a_namespace_reach_new_executions_of_the_flows_below_it() {
    let server = Server::start().await;
    let mut calls = server.admin();
    apply(&mut calls, ECHO).await.unwrap();
    assert_eq!(seen(&mut calls).await, json!({"own": "flow", "region": "none", "same": "none", "host": "none"}));

    let company = variables("company", json!({"region": "eu", "own": "company", "db": {"host": "a", "port": 1}}));
    let answer = calls.namespaces.update_namespace(company).await.unwrap().into_inner();
    assert_eq!(answer.flows, 1);
    assert_eq!(seen(&mut calls).await, json!({"own": "flow", "region": "eu", "same": "eu", "host": "a"}));
    calls.namespaces.update_namespace(variables("company.team", json!({"db": {"host": "b"}}))).await.unwrap();
    assert_eq!(seen(&mut calls).await, json!({"own": "flow", "region": "eu", "same": "eu", "host": "b"}));
    let kept = run(&mut calls, "echo").await.variables.expect("an execution keeps what held when it was created");
    assert_eq!(serde_json::from_str::<Value>(&kept.text).unwrap()["db"], json!({"host": "b", "port": 1}));

    let get = proto::GetNamespaceRequest { namespace: "company.team".into(), view: 0 };
    let got = calls.namespaces.get_namespace(get).await.unwrap().into_inner();
    let effective: Value = serde_json::from_str(&got.effective.unwrap().variables.unwrap().text).unwrap();
    assert_eq!(effective, json!({"db": {"host": "b", "port": 1}, "region": "eu", "own": "company"}));
    let own: Value = serde_json::from_str(&got.namespace.unwrap().variables.unwrap().text).unwrap();
    assert_eq!(own, json!({"db": {"host": "b"}}));

    // Nothing of it belongs to another tenant.
    let tenant = admin::CreateTenantRequest { tenant_id: "other".into(), ..Default::default() };
    calls.tenants.create_tenant(tenant).await.unwrap();
    let mut other = server.calls(As { token: Some(crate::server::BOOTSTRAP.into()), tenant: Some("other".into()) });
    let listed = other.namespaces.list_namespaces(proto::ListNamespacesRequest::default()).await.unwrap().into_inner();
    assert!(listed.namespaces.is_empty());
    let listed = calls.namespaces.list_namespaces(proto::ListNamespacesRequest::default()).await.unwrap().into_inner();
    let names: Vec<_> = listed.namespaces.iter().map(|namespace| namespace.name.as_str()).collect();
    assert_eq!(names, ["company", "company.team"]);
    drop((calls, other));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plugin_defaults_of_a_namespace_fill_tasks_and_forced_ones_win() {
    const RETURN: &str = "io.kestra.plugin.core.debug.Return";
    let server = Server::start().await;
    let mut calls = server.admin();
    let source = |task: &str| {
        format!(
            "id: f\nnamespace: company.team\ntasks:\n  - id: r\n    type: {RETURN}\n{task}outputs:\n  - id: seen\n    type: STRING\n    value: \"{{{{ outputs.r.value }}}}\"\n"
        )
    };
    async fn seen(calls: &mut Calls) -> Value {
        let outputs = run(calls, "f").await.outputs.map(|outputs| outputs.text).unwrap_or_default();
        serde_json::from_str::<Value>(&outputs).map(|outputs| outputs["seen"].clone()).unwrap_or_default()
    }
    let company = plugin_defaults("company", &[(RETURN, false, json!({"format": "company"}))]);
    calls.namespaces.update_namespace(company).await.unwrap();
    apply(&mut calls, &source("")).await.unwrap();
    assert_eq!(seen(&mut calls).await, json!("company"));
    let team = plugin_defaults("company.team", &[(RETURN, false, json!({"format": "team"}))]);
    calls.namespaces.update_namespace(team).await.unwrap();
    assert_eq!(seen(&mut calls).await, json!("team"), "flows that are there already get it too");
    apply(&mut calls, &source("    format: task\n")).await.unwrap();
    assert_eq!(seen(&mut calls).await, json!("task"));
    let forced = plugin_defaults("company", &[(RETURN, true, json!({"format": "forced"}))]);
    calls.namespaces.update_namespace(forced).await.unwrap();
    assert_eq!(seen(&mut calls).await, json!("forced"));
    drop(calls);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_are_wrong_out_of_date_or_spoil_flows_are_refused() {
    const LOG: &str = "io.kestra.plugin.core.log.Log";
    let server = Server::start().await;
    let mut calls = server.admin();
    let wrong = plugin_defaults("company", &[(LOG, false, json!({"levle": "INFO"}))]);
    let refused = calls.namespaces.update_namespace(wrong).await.unwrap_err();
    assert_eq!(reason(&refused), "windhover INVALID_ARGUMENT");
    assert_eq!(fields(&refused), ["namespace.plugin_defaults[0].values.levle"]);

    let given = plugin_defaults("company", &[(LOG, false, json!({"message": "given"}))]);
    let etag = calls.namespaces.update_namespace(given).await.unwrap().into_inner().namespace.unwrap().etag;
    let source = format!("id: f\nnamespace: company.team\ntasks:\n  - id: l\n    type: {LOG}\n");
    apply(&mut calls, &source).await.unwrap();
    let refused = calls.namespaces.update_namespace(plugin_defaults("company", &[])).await.unwrap_err();
    assert_eq!(reason(&refused), "windhover NAMESPACE_BREAKS_FLOWS");
    assert!(refused.message().starts_with("1 flow of"), "{}", refused.message());

    let mut old = variables("company", json!({"a": 1}));
    calls.namespaces.update_namespace(old.clone()).await.unwrap();
    old.namespace.as_mut().unwrap().etag = etag;
    assert_eq!(reason(&calls.namespaces.update_namespace(old).await.unwrap_err()), "windhover ETAG_MISMATCH");
    for (request, field) in [
        (variables("", json!({})), "namespace.name"),
        (variables("No", json!({})), "namespace"),
        (variables("a", json!([1])), "namespace.variables"),
    ] {
        assert_eq!(fields(&calls.namespaces.update_namespace(request).await.unwrap_err()), [field]);
    }
    drop(calls);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dependencies_name_flows_that_start_others_and_those_that_are_missing() {
    let server = Server::start().await;
    let mut calls = server.admin();
    apply(&mut calls, ECHO).await.unwrap();
    let caller = r#"
id: caller
namespace: company.other
tasks:
  - id: call
    type: io.kestra.plugin.core.flow.Subflow
    namespace: company.team
    flowId: echo
triggers:
  - id: after
    type: io.kestra.plugin.core.trigger.Flow
    conditions:
      - type: io.kestra.plugin.core.condition.ExecutionFlow
        namespace: company.team
        flowId: gone
"#;
    apply(&mut calls, caller).await.unwrap();
    let request = proto::GetDependenciesRequest { namespace: "company.team".into(), include_below: false };
    let found = calls.namespaces.get_dependencies(request).await.unwrap().into_inner().dependencies;
    let told: Vec<_> = found
        .iter()
        .map(|one| (one.from_flow_id.as_str(), one.to_flow_id.as_str(), one.id.as_str(), one.missing))
        .collect();
    assert_eq!(told, [("caller", "echo", "call", false), ("gone", "caller", "after", true)]);
    drop(calls);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn authors_find_types_their_documentation_and_the_schema() {
    let server = Server::start().await;
    let mut calls = server.admin();
    let list = proto::ListPluginsRequest {
        text: "LOG.log".into(),
        kind: proto::PluginKind::Task.into(),
        ..Default::default()
    };
    let listed = calls.flows.list_plugins(list).await.unwrap().into_inner().plugins;
    assert!(listed.iter().any(|plugin| plugin.r#type == "io.kestra.plugin.core.log.Log"), "{listed:?}");
    let get = |name: &str| proto::GetPluginRequest { r#type: name.into() };
    let alias = get("io.kestra.core.tasks.log.Log");
    let plugin = calls.flows.get_plugin(alias).await.unwrap().into_inner().plugin.unwrap();
    let message = plugin.properties.iter().find(|property| property.name == "message").unwrap();
    assert!(message.required && message.template && !message.description.is_empty() && !plugin.example.is_empty());
    let missing = calls.flows.get_plugin(get("io.kestra.plugin.core.log.Logg")).await.unwrap_err();
    assert_eq!(reason(&missing), "windhover PLUGIN_NOT_FOUND");
    assert!(missing.message().contains("io.kestra.plugin.core.log.Log`"), "{}", missing.message());
    let schema =
        calls.flows.get_flow_schema(proto::GetFlowSchemaRequest {}).await.unwrap().into_inner().schema.unwrap();
    let schema: Value = serde_json::from_str(&schema.text).unwrap();
    assert!(schema["definitions"]["io.kestra.plugin.core.log.Log"]["properties"]["message"].is_object());

    // All of them, page by page.
    let (mut all, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = proto::ListPluginsRequest { page_size: 40, page_token, ..Default::default() };
        let page = calls.flows.list_plugins(request).await.unwrap().into_inner();
        all.extend(page.plugins.into_iter().map(|plugin| plugin.r#type));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let once: std::collections::BTreeSet<_> = all.iter().cloned().collect();
    assert!(all.len() > 100 && once.len() == all.len());
    drop(calls);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_groups_are_warned_of_when_unknown_and_refused_when_denied() {
    let server = Server::start().await;
    let mut calls = server.admin();
    let source = "id: f\nnamespace: a\ntasks:\n  - id: l\n    type: io.kestra.plugin.core.log.Log\n    message: m\n    workerGroup: {key: gpu}\n";
    let warnings = apply(&mut calls, source).await.unwrap().warnings;
    let [warning] = &warnings[..] else { panic!("{warnings:?}") };
    assert!(warning.message.contains("`gpu` is unknown") && (warning.line, warning.column) == (7, 24), "{warning:?}");

    let said = |permission: admin::WorkerGroupPermission| admin::SetWorkerGroupPermissionRequest {
        tenant_id: "main".into(),
        worker_group: "gpu".into(),
        permission: permission.into(),
    };
    calls.cluster.set_worker_group_permission(said(admin::WorkerGroupPermission::Allowed)).await.unwrap();
    assert!(apply(&mut calls, source).await.unwrap().warnings.is_empty());
    calls.cluster.set_worker_group_permission(said(admin::WorkerGroupPermission::Denied)).await.unwrap();
    let refused = apply(&mut calls, source).await.unwrap_err();
    assert_eq!(reason(&refused), "windhover INVALID_FLOW");
    assert_eq!(fields(&refused), ["source:7:24 tasks[0].workerGroup.key"]);
    let validate = proto::ValidateFlowRequest { source: source.into() };
    assert!(!calls.flows.validate_flow(validate).await.unwrap().into_inner().valid);
    let list = admin::ListWorkerGroupsRequest { tenant_id: "main".into(), ..Default::default() };
    let [group] = &calls.cluster.list_worker_groups(list).await.unwrap().into_inner().worker_groups[..] else {
        panic!("one group")
    };
    assert_eq!((group.name.as_str(), group.permission()), ("gpu", admin::WorkerGroupPermission::Denied));
    calls.cluster.set_worker_group_permission(said(admin::WorkerGroupPermission::Unspecified)).await.unwrap();
    apply(&mut calls, source).await.unwrap();
    let nobody = admin::ListWorkerGroupsRequest { tenant_id: "nobody".into(), ..Default::default() };
    assert_eq!(reason(&calls.cluster.list_worker_groups(nobody).await.unwrap_err()), "windhover TENANT_NOT_FOUND");
    drop(calls);
    server.stop().await;
}
