//! Routes of the management server.

use std::{collections::BTreeMap, future::Future, io, sync::Arc};

use axum::{
    Json, Router,
    extract::{Path, Query, Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use subtle::ConstantTimeEq;
use tokio::net::TcpListener;
use windhover_types::Secret;

use super::{HealthChecks, Status};
use crate::{Registry, metrics::published};

/// What the endpoints need.
#[derive(Clone)]
pub struct ManagementConfig {
    pub health: HealthChecks,
    pub registry: Registry,
    /// The document of `/info`: `info.*` of the settings, and `git`.
    pub info: Value,
    /// `endpoints.all.basic-auth`: when set, every endpoint asks for it.
    pub basic_auth: Option<(String, Secret)>,
    /// `endpoints.health.details-visible`: whether more than the status is told.
    pub health_details: bool,
}

/// The management server.
pub struct Management {
    router: Router,
    config: Arc<ManagementConfig>,
}

impl Management {
    pub fn new(config: ManagementConfig) -> Self {
        let config = Arc::new(config);
        let router = Router::new()
            .route("/health", get(health))
            .route("/health/{selector}", get(selected_health))
            .route("/prometheus", get(prometheus))
            .route("/metrics", get(metric_names))
            .route("/metrics/{name}", get(metric))
            .route("/info", get(info))
            .with_state(config.clone());
        Self { router, config }
    }

    /// Adds endpoints of other services (`/worker`, `/scheduler` …). They ask for the same credentials.
    #[must_use]
    pub fn merge(mut self, router: Router) -> Self {
        self.router = self.router.merge(router);
        self
    }

    pub fn router(&self) -> Router {
        let authenticated = middleware::from_fn_with_state(self.config.clone(), authenticate);
        self.router.clone().layer(authenticated)
    }

    /// Answers until `stop` is done.
    pub async fn serve(self, listener: TcpListener, stop: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        axum::serve(listener, self.router()).with_graceful_shutdown(stop).await
    }
}

type Shared = State<Arc<ManagementConfig>>;

async fn authenticate(State(config): Shared, request: Request, next: Next) -> Response {
    match &config.basic_auth {
        Some((user, password)) if !authenticated(request.headers(), user, password) => {
            (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Basic realm=\"management\"")]).into_response()
        }
        _ => next.run(request).await,
    }
}

fn authenticated(headers: &HeaderMap, user: &str, password: &Secret) -> bool {
    let given = || {
        let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        let (scheme, encoded) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(encoded.trim()).ok()).flatten()
    };
    let wanted = Secret::new(format!("{user}:{}", password.expose()));
    given().is_some_and(|given| given.ct_eq(wanted.expose().as_bytes()).into())
}

async fn health(State(config): Shared) -> Response {
    let (status, document) = config.health.check().await;
    let code = if status == Status::Down { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let document = if config.health_details { document } else { json!({"status": status.as_str()}) };
    (code, Json(document)).into_response()
}

async fn selected_health(config: Shared, Path(selector): Path<String>) -> Response {
    match selector.as_str() {
        "readiness" => health(config).await,
        "liveness" => Json(config.health.alive()).into_response(),
        _ => problem(StatusCode::BAD_REQUEST, "health has the selectors readiness and liveness"),
    }
}

async fn prometheus(State(config): Shared) -> Response {
    let text = config.registry.prometheus() + &published::prometheus();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

async fn metric_names(State(config): Shared) -> Response {
    Json(json!({"names": config.registry.names()})).into_response()
}

async fn metric(
    State(config): Shared,
    Path(name): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
) -> Response {
    let mut tags = BTreeMap::new();
    for (key, value) in &query {
        match value.split_once(':') {
            Some((tag, value)) if key == "tag" => {
                tags.insert(tag, value);
            }
            _ if key == "tag" => return problem(StatusCode::BAD_REQUEST, "a tag is written KEY:VALUE"),
            _ => {}
        }
    }
    let tags: Vec<(&str, &str)> = tags.into_iter().collect();
    match config.registry.describe(&name, &tags) {
        Some(document) => Json(document).into_response(),
        None => problem(StatusCode::NOT_FOUND, "there is no such metric"),
    }
}

async fn info(State(config): Shared) -> Response {
    Json(config.info.clone()).into_response()
}

fn problem(code: StatusCode, message: &str) -> Response {
    (code, Json(json!({"message": message}))).into_response()
}
