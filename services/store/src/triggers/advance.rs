//! Triggers go on: each over the version that was read.

use sea_orm::{ColumnTrait, Condition, ConnectionTrait, DbErr, EntityTrait, QueryFilter};

use super::{TriggerAdvance, TriggerKey, TriggerRow, TriggerState, row};
use crate::{
    Backend, Store, StoreError,
    bulk::{
        Bulk,
        Kind::{Bool, Int, NullBytes, NullInt, NullText, Text},
        boolean, free_text, id_or_null, int, tenant, text, text_or_null, time_or_null,
    },
    entity::triggers,
    error::Result,
    rows::json_or_null,
};

static ADVANCE_TRIGGERS: Bulk = Bulk::new(
    &[
        ("tenant", Text),
        ("namespace", Text),
        ("flow_id", Text),
        ("trigger_id", Text),
        ("version", Int),
        ("disabled", Bool),
        ("next_at", NullInt),
        ("last_at", NullInt),
        ("execution", NullBytes),
        ("locked_at", NullInt),
        ("last_execution", NullBytes),
        ("evaluating_at", NullInt),
        ("worker", NullText),
        ("backfill", NullText),
        ("message", NullText),
    ],
    "UPDATE triggers SET disabled = u.disabled, next_at = u.next_at, last_at = u.last_at, execution = u.execution, \
     locked_at = u.locked_at, last_execution = u.last_execution, evaluating_at = u.evaluating_at, worker = u.worker, \
     backfill = u.backfill, message = u.message, version = u.version + 1, updated_at = {now} \
     FROM u WHERE triggers.tenant = u.tenant AND triggers.namespace = u.namespace AND triggers.flow_id = u.flow_id \
     AND triggers.trigger_id = u.trigger_id AND triggers.version = u.version",
);

/// Why a trigger was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeTriggerError<E> {
    /// Whoever wanted to change it did not, once it was read.
    #[error("the trigger is not as it has to be for that")]
    Refused(E),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl<E> From<DbErr> for ChangeTriggerError<E> {
    fn from(error: DbErr) -> Self {
        Self::Store(error.into())
    }
}

impl Store {
    /// Writes these states where the triggers are as they were read, each for itself; answers those that were not.
    pub async fn advance_triggers(&self, advances: &[TriggerAdvance]) -> Result<Vec<TriggerKey>> {
        if advances.is_empty() {
            return Ok(Vec::new());
        }
        let db = self.begin().await?;
        // What is found here is locked, so the statement below touches exactly these.
        let moved = moved_triggers(self, &db, advances, true).await?;
        let standing = advances.iter().filter(|advance| !moved.contains(&advance.key));
        write_advances(&db, standing).await?;
        db.commit().await?;
        Ok(moved)
    }

    /// Reads a trigger, lets `change` change its state, and writes it, while nobody else changes it. Answers the row
    /// as it is then; `None`: there is no such trigger. Refused with what `change` refuses it for.
    pub async fn change_trigger<E>(
        &self,
        key: &TriggerKey,
        change: impl FnOnce(&TriggerRow, &mut TriggerState) -> Result<(), E>,
    ) -> Result<Option<TriggerRow>, ChangeTriggerError<E>> {
        let db = self.begin().await?;
        let lock = if self.backend() == Backend::Postgres { " FOR UPDATE" } else { "" };
        let columns = triggers::columns();
        let sql = format!(
            "SELECT {columns} FROM triggers WHERE tenant = $1 AND namespace = $2 AND flow_id = $3 AND trigger_id = $4{lock}"
        );
        let found = triggers::Entity::find().from_raw_sql(self.statement(&sql, key_values(key))).one(&db).await?;
        let Some(found) = found else {
            db.rollback().await?;
            return Ok(None);
        };
        let mut found = row(found)?;
        let mut state = found.state.clone();
        if let Err(refusal) = change(&found, &mut state) {
            db.rollback().await?;
            return Err(ChangeTriggerError::Refused(refusal));
        }
        if state == found.state {
            db.rollback().await?;
            return Ok(Some(found));
        }
        found.updated_at = self.database_now(&db).await?;
        let advance = TriggerAdvance { key: key.clone(), expected: found.version, state };
        write_advances(&db, [&advance]).await?;
        db.commit().await?;
        found.state = advance.state;
        found.version += 1;
        Ok(Some(found))
    }
}

/// Writes the states of those triggers that are as expected; tells how many these were.
pub(crate) async fn write_advances<'a>(
    db: &impl ConnectionTrait,
    advances: impl IntoIterator<Item = &'a TriggerAdvance>,
) -> std::result::Result<u64, DbErr> {
    let mut sorted: Vec<&TriggerAdvance> = advances.into_iter().collect();
    sorted.sort_by(|a, b| a.key.cmp(&b.key));
    let mut rows = ADVANCE_TRIGGERS.rows(sorted.len());
    for TriggerAdvance { key, expected, state } in sorted {
        rows.push([
            tenant(&key.tenant),
            text(&key.namespace),
            text(&key.flow_id),
            text(&key.trigger_id),
            int(*expected),
            boolean(state.disabled),
            time_or_null(state.next_at),
            time_or_null(state.last_at),
            id_or_null(state.execution),
            time_or_null(state.locked_at),
            id_or_null(state.last_execution),
            time_or_null(state.evaluating_at),
            text_or_null(state.worker.as_deref().map(free_text)),
            text_or_null(json_or_null(state.backfill.as_ref())),
            text_or_null(state.message.as_deref().map(free_text)),
        ]);
    }
    rows.run(db).await
}

/// Those of the triggers whose version is not the expected one, or that are gone. With `lock`, what is found stays as
/// it is until the end of the transaction.
pub(crate) async fn moved_triggers(
    store: &Store,
    db: &impl ConnectionTrait,
    advances: &[TriggerAdvance],
    lock: bool,
) -> Result<Vec<TriggerKey>> {
    let mut moved = Vec::new();
    for chunk in advances.chunks(CHUNK) {
        let keys: Vec<&TriggerKey> = chunk.iter().map(|advance| &advance.key).collect();
        let found = stored(store, db, &keys, lock).await?;
        let stands = |advance: &&TriggerAdvance| {
            found.iter().any(|row| row.key == advance.key && row.version == advance.expected)
        };
        moved.extend(chunk.iter().filter(|advance| !stands(advance)).map(|advance| advance.key.clone()));
    }
    Ok(moved)
}

/// Keys that one query asks for.
const CHUNK: usize = 200;

async fn stored(store: &Store, db: &impl ConnectionTrait, keys: &[&TriggerKey], lock: bool) -> Result<Vec<TriggerRow>> {
    use sea_orm::QuerySelect;
    let condition = keys.iter().fold(Condition::any(), |any, key| any.add(is(key)));
    let mut query = triggers::Entity::find().filter(condition);
    if lock && store.backend() == Backend::Postgres {
        query = query.lock_exclusive();
    }
    query.all(db).await?.into_iter().map(row).collect()
}

pub(super) fn is(key: &TriggerKey) -> Condition {
    Condition::all()
        .add(triggers::Column::Tenant.eq(key.tenant.as_str()))
        .add(triggers::Column::Namespace.eq(&key.namespace))
        .add(triggers::Column::FlowId.eq(&key.flow_id))
        .add(triggers::Column::TriggerId.eq(&key.trigger_id))
}

pub(super) fn key_values(key: &TriggerKey) -> [sea_orm::Value; 4] {
    [tenant(&key.tenant), text(&key.namespace), text(&key.flow_id), text(&key.trigger_id)]
}
