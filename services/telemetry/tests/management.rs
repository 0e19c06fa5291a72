//! The management server and what it shows.

use std::time::Duration;

use async_trait::async_trait;
use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;
use windhover_telemetry::{
    Metrics, MetricsConfig,
    management::{DiskSpace, Health, HealthChecks, HealthIndicator, Management, ManagementConfig, Ready},
};
use windhover_types::{Label, Secret, State, Tenant};

struct Database(Health);

#[async_trait]
impl HealthIndicator for Database {
    fn key(&self) -> &str {
        "jdbc"
    }

    async fn check(&self, name: &str) -> Health {
        Health::of(name, "jdbc:postgresql://postgres:5432/kestra", self.0.clone())
    }
}

struct Hanging;

#[async_trait]
impl HealthIndicator for Hanging {
    fn key(&self) -> &str {
        "slow"
    }

    async fn check(&self, _: &str) -> Health {
        std::future::pending().await
    }
}

fn config(metrics: &Metrics, health: HealthChecks) -> ManagementConfig {
    ManagementConfig {
        health,
        registry: metrics.registry().clone(),
        info: json!({"git": {"branch": "main", "commit": {"id": "abc"}}}),
        basic_auth: None,
        health_details: true,
    }
}

fn checks() -> HealthChecks {
    HealthChecks::new("kestra", Duration::from_secs(3))
}

async fn get(config: ManagementConfig, path: &str, authorization: Option<&str>) -> (StatusCode, String) {
    let mut request = Request::get(path);
    if let Some(authorization) = authorization {
        request = request.header(header::AUTHORIZATION, authorization);
    }
    let request = request.body(Body::empty()).expect("a request");
    let response = Management::new(config).router().oneshot(request).await.expect("routes do not fail");
    let status = response.status();
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

#[tokio::test]
async fn health_has_the_shape_that_kestras_checks_expect() {
    let ready = Ready::default();
    ready.set(true);
    let database = Health::up().detail("database", "PostgreSQL").detail("version", "15.3");
    let health = checks().with(Database(database)).with(ready.clone()).with(DiskSpace::default());
    let metrics = Metrics::new(MetricsConfig::default());
    for path in ["/health", "/health/readiness"] {
        let (status, body) = get(config(&metrics, health.clone()), path, None).await;
        let mut body = parsed(&body);
        let space = body["details"]["diskSpace"]["details"].take();
        assert!(space["total"].as_u64() > Some(0) && space["threshold"] == json!(10_485_760), "{space}");
        let expected = json!({"name": "kestra", "status": "UP", "details": {
            "jdbc": {"name": "kestra", "status": "UP", "details": {
                "jdbc:postgresql://postgres:5432/kestra": {"name": "kestra", "status": "UP",
                    "details": {"database": "PostgreSQL", "version": "15.3"}}}},
            "compositeDiscoveryClient()": {"name": "kestra", "status": "UP", "details": {"services": {}}},
            "service": {"name": "kestra", "status": "UP"},
            "diskSpace": {"name": "kestra", "status": "UP", "details": null}}});
        assert_eq!((status, body), (StatusCode::OK, expected));
    }

    ready.set(false);
    let (status, body) = get(config(&metrics, health.clone()), "/health", None).await;
    assert_eq!((status, parsed(&body)["status"].clone()), (StatusCode::SERVICE_UNAVAILABLE, json!("DOWN")));
    let (status, body) = get(config(&metrics, health.clone()), "/health/liveness", None).await;
    assert_eq!((status, parsed(&body)), (StatusCode::OK, json!({"name": "kestra", "status": "UP", "details": {}})));
    let hidden = ManagementConfig { health_details: false, ..config(&metrics, health.clone()) };
    assert_eq!(parsed(&get(hidden, "/health", None).await.1), json!({"status": "DOWN"}));
    assert_eq!(get(config(&metrics, health), "/health/other", None).await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test(start_paused = true)]
async fn an_indicator_that_hangs_is_down_and_hides_no_other() {
    let metrics = Metrics::new(MetricsConfig::default());
    let health = checks().with(Hanging).with(Database(Health::error("refused")));
    let (status, body) = get(config(&metrics, health), "/health", None).await;
    let body = parsed(&body);
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body["details"]["slow"]["details"]["error"], "no answer within 3000 ms");
    assert_eq!(
        body["details"]["jdbc"]["details"]["jdbc:postgresql://postgres:5432/kestra"]["details"]["error"],
        "refused"
    );
}

#[tokio::test]
async fn events_show_under_kestras_names() {
    let metrics =
        Metrics::new(MetricsConfig { labels: vec!["team".to_owned()], max_tenants: 1, ..MetricsConfig::default() });
    let tenant = Tenant::main();
    let executions = metrics.execution(&tenant, "company.team", "hello", &[Label::new("team", "a")]);
    executions.started(State::Created);
    executions.task_runs_created(State::Running, 2);
    executions.task_run_ended(State::Success, Duration::from_millis(20), true);
    executions.ended(State::Success, Duration::from_millis(1_500));
    metrics.execution(&Tenant::trusted("acme"), "n", "f", &[]).started(State::Created);
    let log = metrics.task(&tenant, "company.team", "hello", "io.kestra.plugin.core.log.Log", Some("gpu"));
    let running = log.started(1, None);
    log.timed_out(1);
    log.ended(Duration::from_millis(10));
    metrics.worker(None).threads.set(8.0);
    let tags = [("request.method".to_owned(), "GET".to_owned()), ("tenant_id".to_owned(), "other".to_owned())];
    metrics
        .task_counter(&tenant, "company.team", "hello", "io.kestra.plugin.core.http.Request", "response.length", &tags)
        .add(7.0);

    let (status, text) = get(config(&metrics, checks()), "/prometheus", None).await;
    assert_eq!(status, StatusCode::OK);
    let flow = r#"flow_id="hello""#;
    let end = r#"namespace_id="company.team",state="SUCCESS",tenant_id="main"}"#;
    for line in [
        format!(r#"kestra_executor_execution_started_count_total{{{flow},label_team="a",namespace_id="company.team",state="CREATED",tenant_id="main"}} 1.0"#),
        r#"kestra_executor_execution_started_count_total{flow_id="f",label_team="__none__",namespace_id="n",state="CREATED",tenant_id="other"} 1.0"#.to_owned(),
        format!(r#"kestra_executor_execution_duration_seconds_sum{{{flow},label_team="a",{end} 1.5"#),
        format!(r#"kestra_executor_execution_duration_seconds_max{{{flow},label_team="a",{end} 1.5"#),
        format!(r#"kestra_executor_taskrun_created_count_total{{{flow},label_team="a",namespace_id="company.team",state="RUNNING",tenant_id="main"}} 2.0"#),
        format!("kestra_executor_taskrun_ended_count_total{{{flow},{end} 1.0"),
        format!("kestra_executor_workertaskresult_count_total{{{flow},{end} 1.0"),
        "# TYPE kestra_executor_execution_duration_seconds summary".to_owned(),
        "# TYPE kestra_executor_execution_duration_seconds_max gauge".to_owned(),
        r#"kestra_worker_timeout_count_total{attempt_count="2",flow_id="hello",namespace_id="company.team",task_type="io.kestra.plugin.core.log.Log",tenant_id="main",worker_group="gpu"} 1.0"#.to_owned(),
        r#"kestra_worker_running_count{flow_id="hello",namespace_id="company.team",task_type="io.kestra.plugin.core.log.Log",tenant_id="main",worker_group="gpu"} 1.0"#.to_owned(),
        "kestra_worker_job_thread 8.0".to_owned(),
        format!(r#"kestra_io_kestra_plugin_core_http_request_response_length_total{{{flow},namespace_id="company.team",request_method="GET",tenant_id="main"}} 7.0"#),
    ] {
        assert!(text.lines().any(|have| have == line), "missing: {line}\n{text}");
    }
    for name in [
        "kestra_worker_retried_count_total",
        "kestra_worker_ended_duration_seconds_count",
        "process_uptime_seconds",
        "system_cpu_count",
    ] {
        assert!(text.contains(name), "missing: {name}");
    }
    drop(running);
    assert!(metrics.registry().prometheus().contains("worker_group=\"gpu\"} 0.0"));
}

#[tokio::test]
async fn metrics_and_info_are_told_in_json() {
    let metrics = Metrics::new(MetricsConfig::default());
    metrics.execution(&Tenant::main(), "n", "f", &[]).started(State::Created);
    let names = parsed(&get(config(&metrics, checks()), "/metrics", None).await.1);
    assert!(
        names["names"]
            .as_array()
            .is_some_and(|names| names.contains(&json!("kestra.executor.execution.started.count")))
    );
    let path = "/metrics/kestra.executor.execution.started.count?tag=flow_id:f&tag=state:CREATED";
    let metric = parsed(&get(config(&metrics, checks()), path, None).await.1);
    assert_eq!(metric["measurements"], json!([{"statistic": "COUNT", "value": 1.0}]));
    assert_eq!(get(config(&metrics, checks()), "/metrics/none", None).await.0, StatusCode::NOT_FOUND);
    assert_eq!(
        get(config(&metrics, checks()), "/metrics/kestra.executor.execution.started.count?tag=x", None).await.0,
        StatusCode::BAD_REQUEST
    );
    let info = parsed(&get(config(&metrics, checks()), "/info", None).await.1);
    assert_eq!(info["git"]["branch"], "main");
}

#[tokio::test]
async fn basic_authentication_covers_every_endpoint_when_it_is_set() {
    let metrics = Metrics::new(MetricsConfig::default());
    for path in ["/health", "/health/liveness", "/prometheus", "/metrics", "/info"] {
        let guarded = || ManagementConfig {
            basic_auth: Some(("ops".to_owned(), Secret::new("pass"))),
            ..config(&metrics, checks())
        };
        assert_eq!(get(guarded(), path, None).await.0, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(get(guarded(), path, Some("Basic b3BzOndyb25n")).await.0, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(get(guarded(), path, Some("Basic b3BzOnBhc3M=")).await.0, StatusCode::OK, "{path}");
    }
}
