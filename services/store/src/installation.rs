//! What belongs to the installation as a whole: its clock, its number of shards, its master key.

use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait, QueryFilter,
    sea_query::Expr,
};
use windhover_types::Timestamp;

use crate::{
    Store, StoreError,
    entity::{installation, shards},
    error::Result,
    rows::number,
};

#[derive(Debug, thiserror::Error)]
pub enum ShardsError {
    #[error(
        "this installation has {stored} shards and the setting says {wanted}; the number cannot change, set {stored}"
    )]
    Different { stored: u16, wanted: u16 },
    #[error("the number of shards must be between 1 and 4096, not {0}")]
    OutOfRange(u16),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<DbErr> for ShardsError {
    fn from(error: DbErr) -> Self {
        Self::Store(error.into())
    }
}

impl Store {
    /// The time by the database's clock.
    pub async fn now(&self) -> Result<Timestamp> {
        self.database_now(self.read()).await
    }

    /// What tells this installation from every other one: made with its tables, the same for ever.
    pub async fn installation(&self) -> Result<String> {
        let row = installation::Entity::find().one(self.read()).await?;
        Ok(row.map(|row| row.created_at.to_string()).unwrap_or_default())
    }

    pub(crate) async fn database_now(&self, db: &impl ConnectionTrait) -> Result<Timestamp> {
        let sql = format!("SELECT {}", self.backend().now());
        let row = db.query_one_raw(self.statement(&sql, [])).await?;
        let micros: Option<i64> = row.map(|row| row.try_get_by_index(0)).transpose()?;
        Ok(Timestamp::from_micros(micros.unwrap_or_default()))
    }

    /// The number of shards of this installation: stored at the first start, the same for ever. `wanted` is the
    /// setting, if somebody has set it; a setting that differs is refused.
    pub async fn number_of_shards(&self, wanted: Option<u16>) -> Result<u16, ShardsError> {
        if let Some(wanted) = wanted.filter(|wanted| !(1..=4_096).contains(wanted)) {
            return Err(ShardsError::OutOfRange(wanted));
        }
        let transaction = self.begin().await?;
        let stored = match installation::Entity::find_by_id(1_i16).one(&transaction).await? {
            Some(row) => number("installation", row.shards)?,
            None => {
                let count = wanted.unwrap_or(windhover_types::DEFAULT_SHARDS);
                self.install(&transaction, count).await?;
                // Another process may have been first.
                let row = installation::Entity::find_by_id(1_i16).one(&transaction).await?;
                row.map_or(Ok(count), |row| number("installation", row.shards))?
            }
        };
        transaction.commit().await?;
        match wanted {
            Some(wanted) if wanted != stored => Err(ShardsError::Different { stored, wanted }),
            _ => {
                let _ = self.shards_cell().set(stored);
                Ok(stored)
            }
        }
    }

    async fn install(&self, db: &DatabaseTransaction, count: u16) -> Result<()> {
        let now = self.database_now(db).await?;
        let row = installation::ActiveModel {
            id: Set(1),
            created_at: Set(now.as_micros()),
            shards: Set(i32::from(count)),
            key_check: Set(None),
        };
        let none = sea_orm::sea_query::OnConflict::new().do_nothing().to_owned();
        if installation::Entity::insert(row).on_conflict(none.clone()).exec_without_returning(db).await? == 0 {
            return Ok(());
        }
        let rows = (0..count).map(|shard| shards::ActiveModel {
            shard: Set(shard as i16),
            owner: Set(None),
            last_seq: Set(0),
            wanted: Set(None),
        });
        shards::Entity::insert_many(rows).on_conflict(none).exec_without_returning(db).await?;
        Ok(())
    }

    /// The stored number of shards; of an installation that has none yet, the default is stored.
    pub(crate) async fn shards(&self) -> Result<u16> {
        if let Some(shards) = self.shards_cell().get() {
            return Ok(*shards);
        }
        match self.number_of_shards(None).await {
            Ok(shards) => Ok(shards),
            Err(ShardsError::Store(error)) => Err(error),
            Err(error) => Err(crate::rows::corrupt("installation")(error.to_string())),
        }
    }

    /// Something encrypted with the master key of this installation. The first one that is given is kept; answers what
    /// is kept, so that a server with another key finds that it cannot decrypt it.
    pub async fn key_check(&self, ciphertext: &[u8]) -> Result<Vec<u8>> {
        self.shards().await?;
        installation::Entity::update_many()
            .col_expr(installation::Column::KeyCheck, Expr::value(ciphertext.to_vec()))
            .filter(installation::Column::Id.eq(1_i16))
            .filter(installation::Column::KeyCheck.is_null())
            .exec(self.write())
            .await?;
        let row = installation::Entity::find_by_id(1_i16).one(self.write()).await?;
        Ok(row.and_then(|row| row.key_check).unwrap_or_default())
    }
}
