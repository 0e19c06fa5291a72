//! Services of the cluster, and who owns which shards.
//!
//! Always true: whoever changes an executor's set of shards first commits a raised epoch, then waits behind the batches
//! that hold the executor's row, and then, while it holds that row, raises the epoch again and moves the shards. So a
//! batch that was built under an older epoch either is committed before the shards move, or fails, and no epoch that
//! was read in between is good for shards that have moved. The database's clock decides who is alive.
//!
//! Ownership of shards has a lease of its own (`heartbeat`, [`OWNERSHIP_EXPIRY`]); states of services (`beat`,
//! `coordinate`) are what operators see and what decides about the jobs of lost workers.

mod liveness;
mod ownership;
mod service;
mod shares;

use std::time::Duration;

use sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait, QueryOrder};
use windhover_types::{Id, Timestamp};

pub use self::{
    liveness::{Beat, Coordination, LiveGroup, Vitals},
    ownership::{Claim, ClaimError, ClaimRequest},
    service::{
        Liveness, RestartStrategy, Server, ServerType, ServiceConfig, ServiceEvent, ServiceInfo, ServiceKind,
        ServiceState,
    },
    shares::{ExecutorShare, ShardRow},
};
use crate::{
    Backend, Store, StoreError,
    bulk::{boolean, id, id_or_null, text},
    entity::service_instances,
    error::Result,
    rows::{corrupt, json, parse, parse_id},
};

/// An executor that has not been heard of for so long may lose its shards.
pub const OWNERSHIP_EXPIRY: Duration = Duration::from_secs(5);
/// How often an executor should be heard of.
pub const HEARTBEAT: Duration = Duration::from_secs(1);

const WHAT: &str = "service instance";
/// Changes of the state that are kept.
const EVENTS: usize = 20;

/// What an instance tells about itself.
#[derive(Debug, Clone)]
pub struct Registration {
    pub id: Id,
    /// Machine and process, for people.
    pub host: String,
    /// It tolerates no other executor beside it: nothing carries messages between processes.
    pub exclusive: bool,
}

/// A service as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Instance {
    pub id: Id,
    pub epoch: i64,
    pub application_name: String,
    pub host: String,
    pub exclusive: bool,
    pub started_at: Timestamp,
    /// Lease of an executor on its shards.
    pub heartbeat_at: Timestamp,
    /// An executor: heard of within [`OWNERSHIP_EXPIRY`]. Others: within their own timeout, and not at their end.
    pub alive: bool,
    pub service: ServiceInfo,
    /// Grows with each change of what the service tells.
    pub seq_id: i64,
    /// An operator wants it to own no shards.
    pub draining: bool,
    /// The last word of it, or about it.
    pub updated_at: Timestamp,
    /// The latest changes of its state, oldest first.
    pub events: Vec<ServiceEvent>,
}

#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// A second server without anything that carries messages between them.
    #[error(
        "another Windhover server is running on this database ({host}, last heard of {} ms ago); stop it, or wait a few \
         seconds if it has just died; several servers on one database need Redis",
        since.as_millis()
    )]
    AnotherInstance { host: String, since: Duration },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<DbErr> for RegisterError {
    fn from(error: DbErr) -> Self {
        Self::Store(error.into())
    }
}

impl Store {
    /// Makes an executor known of which nothing is told but who it is.
    pub async fn register_instance(&self, registration: &Registration) -> Result<Instance, RegisterError> {
        self.register_service(registration, &ServiceInfo::default()).await
    }

    /// Makes a service known. An executor is refused while another one is alive that tolerates no other, or when this
    /// one does not. One that is known already is written again: whatever it owned under its epoch it has to claim
    /// again.
    pub async fn register_service(
        &self,
        registration: &Registration,
        info: &ServiceInfo,
    ) -> Result<Instance, RegisterError> {
        self.shards().await?;
        let transaction = self.begin().await?;
        let now = self.database_now(&transaction).await?;
        if info.kind == ServiceKind::Executor
            && let Some(other) = self.rival(&transaction, registration, now).await?
        {
            transaction.rollback().await?;
            return Err(RegisterError::AnotherInstance { since: now.since(other.1), host: other.0 });
        }
        let event = event(now, info.state, "registered");
        let sql = "INSERT INTO service_instances (id, epoch, application_name, host, exclusive, started_at, \
                   heartbeat_at, kind, state, events, server_id, server_type, version, config, props, metrics, seq_id, \
                   draining, updated_at) \
                   VALUES ($1, 1, $2, $3, $4, $5, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 1, false, $5) \
                   ON CONFLICT (id) DO UPDATE SET epoch = service_instances.epoch + 1, host = excluded.host, \
                   application_name = excluded.application_name, exclusive = excluded.exclusive, \
                   heartbeat_at = excluded.heartbeat_at, kind = excluded.kind, state = excluded.state, \
                   server_id = excluded.server_id, server_type = excluded.server_type, version = excluded.version, \
                   config = excluded.config, props = excluded.props, metrics = excluded.metrics, \
                   seq_id = service_instances.seq_id + 1, updated_at = excluded.updated_at";
        let values = [
            id(registration.id),
            text(self.application_name()),
            text(&registration.host),
            boolean(registration.exclusive),
            crate::bulk::time(now),
            text(info.kind.as_str()),
            text(info.state.as_str()),
            text(json(&[event])),
            id_or_null(info.server.id),
            text(info.server.kind.as_str()),
            text(&info.server.version),
            text(json(&info.config)),
            text(json(&info.props)),
            text(json(&info.metrics)),
        ];
        transaction.execute_raw(self.statement(sql, values)).await?;
        let key = registration.id.as_bytes().to_vec();
        let row = service_instances::Entity::find_by_id(key).one(&transaction).await?;
        let row = row.ok_or_else(|| corrupt(WHAT)("it is not there after it was written".to_owned()))?;
        transaction.commit().await?;
        Ok(instance(row, now)?)
    }

    /// An executor (its host, when it was last heard of) beside which this one may not be.
    async fn rival(
        &self,
        db: &DatabaseTransaction,
        registration: &Registration,
        now: Timestamp,
    ) -> Result<Option<(String, Timestamp)>> {
        // Registrations take turns, so that two cannot both find nobody.
        if self.backend() == Backend::Postgres {
            db.query_one_raw(self.statement("SELECT id FROM installation WHERE id = 1 FOR UPDATE", [])).await?;
        }
        let found = ownership::executors(db).await?;
        let rivals = found.into_iter().filter(|other| {
            other.alive(now)
                && !other.ended
                && other.id != registration.id
                && (other.exclusive || registration.exclusive)
        });
        Ok(rivals.max_by_key(|other| other.heartbeat_at).map(|other| (other.host, other.heartbeat_at)))
    }

    /// All services, those that were last heard of first. What this version cannot read (a newer one has written it)
    /// is left out, and told in the server's log.
    pub async fn instances(&self) -> Result<Vec<Instance>> {
        let now = self.now().await?;
        let rows = service_instances::Entity::find()
            .order_by_desc(service_instances::Column::HeartbeatAt)
            .all(self.read())
            .await?;
        Ok(rows.into_iter().filter_map(|row| readable(row, now)).collect())
    }
}

fn readable(row: service_instances::Model, now: Timestamp) -> Option<Instance> {
    instance(row, now).inspect_err(|error| tracing::warn!(%error, "a service of another version is left out")).ok()
}

fn event(at: Timestamp, state: ServiceState, value: &str) -> ServiceEvent {
    ServiceEvent { at, kind: "service.state.updated".to_owned(), state, value: value.to_owned() }
}

fn instance(row: service_instances::Model, now: Timestamp) -> Result<Instance> {
    let name = corrupt(WHAT);
    let (kind, state) = (row.kind.parse().map_err(&name)?, row.state.parse::<ServiceState>().map_err(&name)?);
    let config: ServiceConfig = parse(WHAT, &row.config)?;
    let [heartbeat_at, updated_at] = [row.heartbeat_at, row.updated_at].map(Timestamp::from_micros);
    let alive = match kind {
        ServiceKind::Executor => now.since(heartbeat_at) < OWNERSHIP_EXPIRY,
        _ => now.since(updated_at) < config.liveness.timeout && !state.is_terminated(),
    };
    Ok(Instance {
        id: parse_id(WHAT, &row.id)?,
        epoch: row.epoch,
        application_name: row.application_name,
        host: row.host,
        exclusive: row.exclusive,
        started_at: Timestamp::from_micros(row.started_at),
        heartbeat_at,
        alive,
        service: ServiceInfo {
            kind,
            state,
            server: Server {
                id: row.server_id.as_deref().map(|bytes| parse_id(WHAT, bytes)).transpose()?,
                kind: row.server_type.parse().map_err(&name)?,
                version: row.version,
            },
            config,
            props: parse(WHAT, &row.props)?,
            metrics: parse(WHAT, &row.metrics)?,
        },
        seq_id: row.seq_id,
        draining: row.draining,
        updated_at,
        events: parse(WHAT, &row.events)?,
    })
}
