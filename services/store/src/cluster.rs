//! Who owns which shards: instances, their epochs, and how shards move.
//!
//! Always true: whoever changes an instance's set of shards first commits a raised epoch, then waits behind the batches
//! that hold the instance's row, and only then moves the shards. So a batch that was built under an older epoch either
//! is committed before the shards move, or fails. The database's clock decides who is alive.

use std::time::Duration;

use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait, QueryFilter, QueryOrder,
    sea_query::{Expr, ExprTrait},
};
use windhover_types::{Id, Timestamp};

use crate::{
    Backend, Fence, Store, StoreError,
    bulk::{id, text},
    entity::{service_instances, shards},
    error::{Fault, Result, fault_of},
    rows::{number, parse_id},
};

/// An instance that has not been heard of for so long has lost its shards.
pub const OWNERSHIP_EXPIRY: Duration = Duration::from_secs(5);
/// How often an instance should be heard of.
pub const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long to wait behind the batches of an instance before its sessions are ended.
const BARRIER: Duration = Duration::from_secs(2);

/// What an instance tells about itself.
#[derive(Debug, Clone)]
pub struct Registration {
    pub id: Id,
    /// Machine and process, for people.
    pub host: String,
    /// It tolerates no other instance beside it: nothing carries messages between processes.
    pub exclusive: bool,
}

/// An instance as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    pub id: Id,
    pub epoch: i64,
    pub application_name: String,
    pub host: String,
    pub exclusive: bool,
    pub started_at: Timestamp,
    pub heartbeat_at: Timestamp,
    /// Heard of within [`OWNERSHIP_EXPIRY`].
    pub alive: bool,
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

/// Shards that are now the instance's, and what it has to write under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    pub fence: Fence,
    /// All shards of the instance with the last number of their feeds.
    pub shards: Vec<(u16, i64)>,
}

/// Whether a claim or a heartbeat found the instance.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Somebody else has removed it: it was taken for dead.
    #[error("this instance is no longer registered")]
    Gone,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<DbErr> for RegisterError {
    fn from(error: DbErr) -> Self {
        Self::Store(error.into())
    }
}

impl From<DbErr> for ClaimError {
    fn from(error: DbErr) -> Self {
        Self::Store(error.into())
    }
}

impl Store {
    /// Makes the instance known. Refused while another one is alive that tolerates no other, or when this one does not.
    pub async fn register_instance(&self, registration: &Registration) -> Result<Instance, RegisterError> {
        self.shards().await?;
        let transaction = self.begin().await?;
        // Registrations take turns, so that two cannot both find nobody.
        if self.backend() == Backend::Postgres {
            transaction
                .query_one_raw(self.statement("SELECT id FROM installation WHERE id = 1 FOR UPDATE", []))
                .await?;
        }
        let now = self.database_now(&transaction).await?;
        let others = service_instances::Entity::find()
            .order_by_desc(service_instances::Column::HeartbeatAt)
            .all(&transaction)
            .await?;
        for other in others {
            let other = instance(other, now)?;
            if other.alive && other.id != registration.id && (other.exclusive || registration.exclusive) {
                transaction.rollback().await?;
                return Err(RegisterError::AnotherInstance { host: other.host, since: now.since(other.heartbeat_at) });
            }
        }
        let row = service_instances::Model {
            id: registration.id.as_bytes().to_vec(),
            epoch: 1,
            application_name: self.application_name().to_owned(),
            host: registration.host.clone(),
            exclusive: registration.exclusive,
            started_at: now.as_micros(),
            heartbeat_at: now.as_micros(),
        };
        let active: service_instances::ActiveModel = row.clone().into();
        service_instances::Entity::insert(active).exec_without_returning(&transaction).await?;
        transaction.commit().await?;
        Ok(instance(row, now)?)
    }

    /// Says that the instance is alive; answers its present epoch, which tells it when its shards were moved.
    pub async fn heartbeat(&self, instance: Id) -> Result<i64, ClaimError> {
        let now = self.backend().now();
        let sql = format!("UPDATE service_instances SET heartbeat_at = {now} WHERE id = $1 RETURNING epoch");
        let row = self.write().query_one_raw(self.statement(&sql, [id(instance)])).await?;
        match row {
            Some(row) => Ok(row.try_get_by_index(0)?),
            None => Err(ClaimError::Gone),
        }
    }

    /// All instances, those heard of last first.
    pub async fn instances(&self) -> Result<Vec<Instance>> {
        let now = self.now().await?;
        let rows = service_instances::Entity::find()
            .order_by_desc(service_instances::Column::HeartbeatAt)
            .all(self.read())
            .await?;
        rows.into_iter().map(|row| instance(row, now)).collect()
    }

    /// Takes shards that nobody owns, or whose owner has not been heard of within [`OWNERSHIP_EXPIRY`], until the
    /// instance has `limit` of them (all, without a limit). The answer's fence replaces the one before, also when no
    /// shard moved. Owners that were taken for dead are removed.
    pub async fn claim_shards(&self, claimant: Id, limit: Option<u16>) -> Result<Claim, ClaimError> {
        let expired = self.raise_epochs(claimant).await?;
        let mut everyone = expired.clone();
        everyone.push(claimant);
        everyone.sort_unstable();
        let transaction = self.barrier(&everyone).await?;
        let claim = self.move_shards(&transaction, claimant, &expired, limit).await?;
        transaction.commit().await?;
        Ok(claim)
    }

    /// First transaction: new epochs for the claimant and the owners that are taken for dead. Not kept back by batches
    /// in flight; those that begin later fail.
    async fn raise_epochs(&self, claimant: Id) -> Result<Vec<Id>, ClaimError> {
        let transaction = self.begin().await?;
        let now = self.database_now(&transaction).await?;
        let mut expired = Vec::new();
        let mut found = false;
        for row in
            service_instances::Entity::find().order_by_asc(service_instances::Column::Id).all(&transaction).await?
        {
            let other = instance(row, now)?;
            if other.id == claimant {
                found = true;
            } else if !other.alive {
                expired.push(other.id);
            }
        }
        if !found {
            transaction.rollback().await?;
            return Err(ClaimError::Gone);
        }
        let raised: Vec<Vec<u8>> = expired.iter().chain([&claimant]).map(|id| id.as_bytes().to_vec()).collect();
        service_instances::Entity::update_many()
            .col_expr(service_instances::Column::Epoch, Expr::col(service_instances::Column::Epoch).add(1))
            .filter(service_instances::Column::Id.is_in(raised))
            .exec(&transaction)
            .await?;
        transaction.commit().await?;
        Ok(expired)
    }

    /// A transaction that holds the rows of these instances: all their batches in flight have ended. An instance whose
    /// batches do not end has its sessions ended.
    async fn barrier(&self, instances: &[Id]) -> Result<DatabaseTransaction, ClaimError> {
        if self.backend() == Backend::Sqlite {
            // One writer: nothing is in flight.
            return Ok(self.begin().await?);
        }
        let mut tries = 0;
        loop {
            let transaction = self.begin().await?;
            match self.lock_instances(&transaction, instances).await {
                Ok(()) => return Ok(transaction),
                Err(error) if fault_of(&error) == Fault::Retry && tries < 3 => {
                    tries += 1;
                    transaction.rollback().await?;
                    self.end_sessions(instances).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn lock_instances(&self, db: &DatabaseTransaction, instances: &[Id]) -> Result<(), DbErr> {
        db.execute_unprepared(&format!("SET LOCAL lock_timeout = {}", BARRIER.as_millis())).await?;
        for instance in instances {
            let sql = "SELECT epoch FROM service_instances WHERE id = $1 FOR UPDATE";
            db.query_one_raw(self.statement(sql, [id(*instance)])).await?;
        }
        Ok(())
    }

    /// Ends the sessions of other processes that run under the names of these instances.
    async fn end_sessions(&self, instances: &[Id]) -> Result<(), DbErr> {
        for instance in instances {
            let Some(row) =
                service_instances::Entity::find_by_id(instance.as_bytes().to_vec()).one(self.read()).await?
            else {
                continue;
            };
            if row.application_name == self.application_name() {
                continue;
            }
            tracing::warn!(instance = %instance, "ending the sessions of an instance that does not answer");
            let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                       WHERE application_name = $1 AND datname = current_database() AND pid <> pg_backend_pid()";
            self.read().query_all_raw(self.statement(sql, [text(row.application_name)])).await?;
        }
        Ok(())
    }

    /// Second transaction, behind the barrier.
    async fn move_shards(
        &self,
        db: &DatabaseTransaction,
        claimant: Id,
        expired: &[Id],
        limit: Option<u16>,
    ) -> Result<Claim, ClaimError> {
        // Whoever was taken for dead and has been heard of since keeps nothing either: its epoch was raised.
        let gone: Vec<Vec<u8>> = expired.iter().map(|id| id.as_bytes().to_vec()).collect();
        if !gone.is_empty() {
            shards::Entity::update_many()
                .col_expr(shards::Column::Owner, Expr::value(Option::<Vec<u8>>::None))
                .filter(shards::Column::Owner.is_in(gone.clone()))
                .exec(db)
                .await?;
            service_instances::Entity::delete_many().filter(service_instances::Column::Id.is_in(gone)).exec(db).await?;
        }
        let me = claimant.as_bytes().to_vec();
        let Some(row) = service_instances::Entity::find_by_id(me.clone()).one(db).await? else {
            return Err(ClaimError::Gone);
        };
        let all = shards::Entity::find().order_by_asc(shards::Column::Shard).all(db).await?;
        let have = all.iter().filter(|shard| shard.owner.as_deref() == Some(&me)).count();
        let wanted = limit.map_or(usize::MAX, usize::from).saturating_sub(have);
        let taken: Vec<i16> =
            all.iter().filter(|shard| shard.owner.is_none()).take(wanted).map(|shard| shard.shard).collect();
        if !taken.is_empty() {
            shards::Entity::update_many()
                .col_expr(shards::Column::Owner, Expr::value(Some(me.clone())))
                .filter(shards::Column::Shard.is_in(taken.clone()))
                .exec(db)
                .await?;
        }
        let mut mine = Vec::new();
        for shard in all {
            if shard.owner.as_deref() == Some(&me) || taken.contains(&shard.shard) {
                mine.push((number("shard", shard.shard)?, shard.last_seq));
            }
        }
        Ok(Claim { fence: Fence { instance: claimant, epoch: row.epoch }, shards: mine })
    }

    /// Gives everything back at a graceful stop: shards are free at once and the instance is gone. Its batches fail
    /// from now on. Unknown instances are no error.
    pub async fn unregister(&self, leaving: Id) -> Result<(), ClaimError> {
        let me = leaving.as_bytes().to_vec();
        service_instances::Entity::update_many()
            .col_expr(service_instances::Column::Epoch, Expr::col(service_instances::Column::Epoch).add(1))
            .filter(service_instances::Column::Id.eq(me.clone()))
            .exec(self.write())
            .await?;
        let transaction = self.barrier(&[leaving]).await?;
        shards::Entity::update_many()
            .col_expr(shards::Column::Owner, Expr::value(Option::<Vec<u8>>::None))
            .filter(shards::Column::Owner.eq(me.clone()))
            .exec(&transaction)
            .await?;
        service_instances::Entity::delete_by_id(me).exec(&transaction).await?;
        transaction.commit().await?;
        Ok(())
    }
}

fn instance(row: service_instances::Model, now: Timestamp) -> Result<Instance> {
    let heartbeat_at = Timestamp::from_micros(row.heartbeat_at);
    Ok(Instance {
        id: parse_id("instance", &row.id)?,
        epoch: row.epoch,
        application_name: row.application_name,
        host: row.host,
        exclusive: row.exclusive,
        started_at: Timestamp::from_micros(row.started_at),
        heartbeat_at,
        alive: now.since(heartbeat_at) < OWNERSHIP_EXPIRY,
    })
}
