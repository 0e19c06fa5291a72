//! How shards come and go: under raised epochs, behind the batches in flight.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
    sea_query::Expr,
};
use windhover_types::{Id, Timestamp};

use super::{OWNERSHIP_EXPIRY, ServiceKind, ServiceState, WHAT};
use crate::{
    Backend, Fence, Store, StoreError,
    bulk::{id, int, text},
    entity::{service_instances, shards},
    error::{Fault, Result, fault_of},
    rows::{number, parse_id},
};

/// How long to wait behind the batches of an instance before its sessions are ended.
const BARRIER: Duration = Duration::from_secs(2);

/// Which shards to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimRequest {
    /// How many to have in all; `None`: every one. Those that an operator wants here are taken beyond it.
    pub limit: Option<u16>,
    /// Also those whose owner has not been heard of within [`OWNERSHIP_EXPIRY`].
    pub take_over: bool,
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
    /// It is not there (any more): it has to register again.
    #[error("this instance is no longer registered")]
    Gone,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<DbErr> for ClaimError {
    fn from(error: DbErr) -> Self {
        Self::Store(error.into())
    }
}

/// What ownership has to know of an executor; readable whatever a newer version tells besides.
pub(super) struct Owner {
    pub(super) id: Id,
    pub(super) epoch: i64,
    pub(super) host: String,
    pub(super) exclusive: bool,
    pub(super) draining: bool,
    pub(super) ended: bool,
    pub(super) heartbeat_at: Timestamp,
}

impl Owner {
    pub(super) fn alive(&self, now: Timestamp) -> bool {
        now.since(self.heartbeat_at) < OWNERSHIP_EXPIRY
    }
}

pub(super) async fn executors(db: &impl ConnectionTrait) -> Result<Vec<Owner>> {
    use service_instances::Column;
    let rows: Vec<OwnerColumns> = service_instances::Entity::find()
        .select_only()
        .columns([
            Column::Id,
            Column::Epoch,
            Column::Host,
            Column::Exclusive,
            Column::Draining,
            Column::State,
            Column::HeartbeatAt,
        ])
        .filter(Column::Kind.eq(ServiceKind::Executor.as_str()))
        .order_by_asc(Column::Id)
        .into_tuple()
        .all(db)
        .await?;
    rows.into_iter().map(owner).collect()
}

/// Id, epoch, host, exclusive, draining, state, last heard of.
type OwnerColumns = (Vec<u8>, i64, String, bool, bool, String, i64);

fn owner((id, epoch, host, exclusive, draining, state, heartbeat_at): OwnerColumns) -> Result<Owner> {
    let is = |test: fn(ServiceState) -> bool| state.parse().is_ok_and(test);
    Ok(Owner {
        id: parse_id(WHAT, &id)?,
        epoch,
        host,
        exclusive,
        draining: draining || is(ServiceState::is_ending),
        ended: is(ServiceState::is_terminated),
        heartbeat_at: Timestamp::from_micros(heartbeat_at),
    })
}

/// What a claim found.
struct Situation {
    epoch: i64,
    shards: Vec<shards::Model>,
    /// Owners that have not been heard of.
    silent: HashSet<Vec<u8>>,
    /// Owners of which nothing is known: their rows are gone, so none of their batches is ever written.
    unknown: HashSet<Vec<u8>>,
    /// Executors other than the claimant that may be given shards.
    takers: HashSet<Vec<u8>>,
}

impl Store {
    /// Says that the executor is alive; answers its present epoch, which tells it when its shards were moved.
    pub async fn heartbeat(&self, instance: Id) -> Result<i64, ClaimError> {
        let now = self.backend().now();
        let sql = format!("UPDATE service_instances SET heartbeat_at = {now} WHERE id = $1 RETURNING epoch");
        let row = self.write().query_one_raw(self.statement(&sql, [id(instance)])).await?;
        match row {
            Some(row) => Ok(row.try_get_by_index(0)?),
            None => Err(ClaimError::Gone),
        }
    }

    /// Takes shards that nobody owns, or whose owner has not been heard of, until the executor has `limit` of them
    /// (all, without a limit).
    pub async fn claim_shards(&self, claimant: Id, limit: Option<u16>) -> Result<Claim, ClaimError> {
        self.claim(claimant, ClaimRequest { limit, take_over: true }).await
    }

    /// Takes shards as asked. The answer's fence replaces the one before. Where there is nothing to take nothing is
    /// written: then the fence is the one of before, unless somebody else has raised the epoch.
    ///
    /// Executors that were taken for dead keep their rows and lose their shards; they learn it from their next
    /// heartbeat, whose epoch is another one.
    pub async fn claim(&self, claimant: Id, request: ClaimRequest) -> Result<Claim, ClaimError> {
        let (found, now) = self.look(self.write(), claimant).await?;
        let gone = found.gone(request);
        let taken = found.choose(claimant, request, &gone);
        if taken.is_empty() {
            return found.claim(claimant);
        }
        tracing::debug!(%claimant, ?taken, at = %now, "claiming shards");
        // Whoever has died loses all its shards, not only those that are taken now.
        let mut everyone: Vec<Id> = gone.iter().map(|id| parse_id(WHAT, id)).collect::<Result<_>>()?;
        everyone.push(claimant);
        everyone.sort_unstable();
        let raised = self.raise_epochs(&everyone).await?;
        let transaction = self.barrier(&everyone).await?;
        let claim = self.move_shards(&transaction, claimant, request, &raised).await?;
        transaction.commit().await?;
        Ok(claim)
    }

    /// Gives up these shards (those that are the executor's); answers what is left and the fence for it.
    pub async fn release_shards(&self, owner: Id, leaving: &[u16]) -> Result<Claim, ClaimError> {
        self.raise_epochs(&[owner]).await?;
        let transaction = self.barrier(&[owner]).await?;
        self.raise(&transaction, owner).await?.ok_or(ClaimError::Gone)?;
        shards::Entity::update_many()
            .col_expr(shards::Column::Owner, Expr::value(Option::<Vec<u8>>::None))
            .filter(shards::Column::Owner.eq(owner.as_bytes().to_vec()))
            .filter(shards::Column::Shard.is_in(leaving.iter().map(|shard| *shard as i16)))
            .exec(&transaction)
            .await?;
        let claim = self.look(&transaction, owner).await?.0.claim(owner)?;
        transaction.commit().await?;
        Ok(claim)
    }

    /// Gives everything back and forgets the instance. Its batches fail from now on. Unknown instances are no error.
    pub async fn unregister(&self, leaving: Id) -> Result<(), ClaimError> {
        self.raise_epochs(&[leaving]).await?;
        let transaction = self.barrier(&[leaving]).await?;
        let me = leaving.as_bytes().to_vec();
        free_shards_of(&transaction, &me).await?;
        service_instances::Entity::delete_by_id(me).exec(&transaction).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// The epoch is read before the shards: a move in between leaves an old epoch, which is good for nothing.
    async fn look(&self, db: &impl ConnectionTrait, claimant: Id) -> Result<(Situation, Timestamp), ClaimError> {
        let now = self.database_now(db).await?;
        let everyone = executors(db).await?;
        let epoch = everyone.iter().find(|other| other.id == claimant).ok_or(ClaimError::Gone)?.epoch;
        let shards = shards::Entity::find().order_by_asc(shards::Column::Shard).all(db).await?;
        let others = || everyone.iter().filter(|other| other.id != claimant);
        let key = |other: &Owner| other.id.as_bytes().to_vec();
        let silent = others().filter(|other| !other.alive(now)).map(key).collect();
        let known: HashSet<Vec<u8>> = everyone.iter().map(key).collect();
        let unknown = shards.iter().filter_map(|shard| shard.owner.clone()).filter(|id| !known.contains(id)).collect();
        let takers = others().filter(|other| other.alive(now) && !other.draining).map(key).collect();
        Ok((Situation { epoch, shards, silent, unknown, takers }, now))
    }

    /// First transaction: new epochs for those whose shards change. Not kept back by batches in flight; those that
    /// begin later fail.
    async fn raise_epochs(&self, instances: &[Id]) -> Result<HashMap<Id, i64>, ClaimError> {
        let transaction = self.begin().await?;
        let mut raised = HashMap::new();
        for instance in instances {
            if let Some(epoch) = self.raise(&transaction, *instance).await? {
                raised.insert(*instance, epoch);
            }
        }
        transaction.commit().await?;
        Ok(raised)
    }

    async fn raise(&self, db: &DatabaseTransaction, instance: Id) -> Result<Option<i64>, DbErr> {
        let sql = "UPDATE service_instances SET epoch = epoch + 1 WHERE id = $1 RETURNING epoch";
        let row = db.query_one_raw(self.statement(sql, [id(instance)])).await?;
        row.map(|row| row.try_get_by_index(0)).transpose()
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
        request: ClaimRequest,
        raised: &HashMap<Id, i64>,
    ) -> Result<Claim, ClaimError> {
        let me = claimant.as_bytes().to_vec();
        self.raise(db, claimant).await?;
        for (instance, epoch) in raised.iter().filter(|(instance, _)| **instance != claimant) {
            // One whose epoch has moved meanwhile was dealt with by somebody else, or has come back and claimed.
            // One that has only been heard of keeps nothing: batches of it have failed by now.
            let sql = "UPDATE service_instances SET epoch = epoch + 1 WHERE id = $1 AND epoch = $2";
            let same = db.execute_raw(self.statement(sql, [id(*instance), int(*epoch)])).await?.rows_affected() > 0;
            if same {
                tracing::warn!(executor = %instance, "taking the shards of an executor that has not been heard of");
                free_shards_of(db, instance.as_bytes()).await?;
            }
        }
        if request.take_over {
            free_orphans(db).await?;
        }
        loop {
            let (found, _) = self.look(db, claimant).await?;
            let taken = found.choose(claimant, request, &HashSet::new());
            if taken.is_empty() {
                return found.claim(claimant);
            }
            // Who else claims free shards at this moment may have been faster with some: then there may be others.
            shards::Entity::update_many()
                .col_expr(shards::Column::Owner, Expr::value(Some(me.clone())))
                .filter(shards::Column::Shard.is_in(taken))
                .filter(shards::Column::Owner.is_null())
                .exec(db)
                .await?;
        }
    }
}

impl Situation {
    /// Silent owners and those that nobody knows, if their shards may be taken.
    fn gone(&self, request: ClaimRequest) -> HashSet<Vec<u8>> {
        let owners = self.shards.iter().filter_map(|shard| shard.owner.clone());
        let is_gone = |owner: &Vec<u8>| self.silent.contains(owner) || self.unknown.contains(owner);
        owners.filter(|owner| request.take_over && is_gone(owner)).collect()
    }

    /// The shards to take, with those of these owners.
    fn choose(&self, claimant: Id, request: ClaimRequest, gone: &HashSet<Vec<u8>>) -> Vec<i16> {
        let me = claimant.as_bytes().as_slice();
        let mine = self.shards.iter().filter(|shard| shard.owner.as_deref() == Some(me)).count();
        let free = || self.shards.iter().filter(|shard| shard.owner.as_ref().is_none_or(|owner| gone.contains(owner)));
        let wanted_here = |shard: &&shards::Model| shard.wanted.as_deref() == Some(me);
        let mut taken: Vec<i16> = free().filter(wanted_here).map(|shard| shard.shard).collect();
        let more = request.limit.map_or(usize::MAX, usize::from).saturating_sub(mine + taken.len());
        // A shard that is wanted by somebody who cannot take it is anybody's.
        let for_me = |shard: &&shards::Model| {
            !wanted_here(shard) && shard.wanted.as_ref().is_none_or(|wanted| !self.takers.contains(wanted))
        };
        taken.extend(free().filter(for_me).take(more).map(|shard| shard.shard));
        taken
    }

    fn claim(&self, claimant: Id) -> Result<Claim, ClaimError> {
        let me = claimant.as_bytes().as_slice();
        let mine = self.shards.iter().filter(|shard| shard.owner.as_deref() == Some(me));
        let shards = mine.map(|shard| Ok((number("shard", shard.shard)?, shard.last_seq))).collect::<Result<_>>()?;
        Ok(Claim { fence: Fence { instance: claimant, epoch: self.epoch }, shards })
    }
}

async fn free_shards_of(db: &DatabaseTransaction, owner: &[u8]) -> Result<(), DbErr> {
    shards::Entity::update_many()
        .col_expr(shards::Column::Owner, Expr::value(Option::<Vec<u8>>::None))
        .filter(shards::Column::Owner.eq(owner.to_vec()))
        .exec(db)
        .await?;
    Ok(())
}

/// Shards whose owner is no longer registered at all: somebody has deleted its row. Asked of the database itself, so
/// that one that has just registered is not taken for one of them.
async fn free_orphans(db: &DatabaseTransaction) -> Result<(), DbErr> {
    let sql = "UPDATE shards SET owner = NULL WHERE owner IS NOT NULL \
               AND NOT EXISTS (SELECT 1 FROM service_instances i WHERE i.id = shards.owner)";
    let freed = db.execute_unprepared(sql).await?.rows_affected();
    if freed > 0 {
        tracing::warn!(shards = freed, "taking shards of owners that are not registered any more");
    }
    Ok(())
}
