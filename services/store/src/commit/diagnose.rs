//! What differed, once a batch was rolled back.

use std::collections::{HashMap, HashSet};

use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, QuerySelect};
use windhover_types::{Id, Tenant};

use super::{Difference, request_key};
use crate::{
    Batch, CommitError, RequestIdRow, Store, TriggerKey,
    bulk::free_text,
    entity::{executions, inbox, logs, request_ids, shards, task_runs},
    error::Result,
    rows::{number, parse_id},
    triggers::moved_triggers,
};

/// Keys that one query asks for.
const CHUNK: usize = 500;

type Key = (String, Vec<u8>);

impl Store {
    pub(super) async fn explain(&self, batch: &Batch, difference: Difference) -> Result<CommitError> {
        let mut found = match difference {
            Difference::RequestIds => return self.stored_requests(batch).await.map(CommitError::RequestIds),
            Difference::Feed => return self.stored_positions(batch).await.map(CommitError::FeedMoved),
            Difference::Triggers => return self.moved_triggers_of(batch).await.map(CommitError::TriggersMoved),
            Difference::Windows => return Ok(CommitError::WindowsMoved),
            Difference::NewExecutions | Difference::ChangedExecutions => {
                self.differing_executions(batch, difference).await?
            }
            Difference::NewTaskRuns | Difference::ChangedTaskRuns => {
                self.differing_task_runs(batch, difference).await?
            }
            Difference::Logs => self.executions_with_lines(batch).await?,
            Difference::Inbox => self.missing_inbox(batch).await?,
        };
        if difference == Difference::NewExecutions && !found.is_empty() {
            return Ok(CommitError::Exists { executions: sorted(found) });
        }
        if found.is_empty() {
            // Whatever it was is no longer so: everything of this kind is to be looked at again.
            found = match difference {
                Difference::NewExecutions => batch.new_executions.iter().map(|row| row.id).collect(),
                Difference::ChangedExecutions => batch.changed_executions.iter().map(|row| row.id).collect(),
                Difference::Logs => batch.logs.iter().map(|row| row.execution).collect(),
                Difference::Inbox => batch.inbox_done.iter().map(|key| key.execution).collect(),
                _ => batch.task_runs.iter().map(|row| row.execution).collect(),
            };
        }
        Ok(CommitError::Conflict { executions: sorted(found) })
    }

    async fn moved_triggers_of(&self, batch: &Batch) -> Result<Vec<TriggerKey>> {
        let moved = moved_triggers(self, self.write(), &batch.triggers_advanced, false).await?;
        if moved.is_empty() {
            // Whatever it was is no longer so.
            return Ok(batch.triggers_advanced.iter().map(|advance| advance.key.clone()).collect());
        }
        Ok(moved)
    }

    async fn differing_executions(&self, batch: &Batch, difference: Difference) -> Result<HashSet<Id>> {
        let new = difference == Difference::NewExecutions;
        let wanted = if new { &batch.new_executions } else { &batch.changed_executions };
        let mut stored: HashMap<Key, i64> = HashMap::new();
        for chunk in wanted.chunks(CHUNK) {
            let condition = any_of(
                chunk.iter().map(|row| (&row.tenant, row.id)),
                executions::Column::Tenant,
                executions::Column::Id,
            );
            let rows: Vec<(String, Vec<u8>, i64)> = executions::Entity::find()
                .select_only()
                .columns([executions::Column::Tenant, executions::Column::Id, executions::Column::Version])
                .filter(condition)
                .into_tuple()
                .all(self.write())
                .await?;
            stored.extend(rows.into_iter().map(|(tenant, id, version)| ((tenant, id), version)));
        }
        let differs = |row: &&windhover_engine::Execution| match stored.get(&key(&row.tenant, row.id)) {
            Some(version) => new || *version != row.version - 1,
            None => !new,
        };
        Ok(wanted.iter().filter(differs).map(|row| row.id).collect())
    }

    async fn differing_task_runs(&self, batch: &Batch, difference: Difference) -> Result<HashSet<Id>> {
        let new = difference == Difference::NewTaskRuns;
        let wanted: Vec<_> = batch.task_runs.iter().filter(|row| (row.run.version == 1) == new).collect();
        let mut stored: HashMap<(Key, i32), (Vec<u8>, i64)> = HashMap::new();
        for chunk in wanted.chunks(CHUNK) {
            let condition = chunk.iter().fold(Condition::any(), |any, row| {
                any.add(
                    Condition::all()
                        .add(task_runs::Column::Tenant.eq(row.tenant.as_str()))
                        .add(task_runs::Column::Execution.eq(row.execution.as_bytes().to_vec()))
                        .add(task_runs::Column::Seq.eq(row.run.seq)),
                )
            });
            for row in task_runs::Entity::find().filter(condition).all(self.write()).await? {
                stored.insert(((row.tenant, row.execution), row.seq), (row.id, row.version));
            }
        }
        let differs =
            |row: &&&crate::TaskRunRow| match stored.get(&(key(&row.tenant, row.execution), row.run.seq as i32)) {
                Some((id, version)) => new || id[..] != row.run.id.as_bytes()[..] || *version != row.run.version - 1,
                None => !new,
            };
        Ok(wanted.iter().filter(differs).map(|row| row.execution).collect())
    }

    async fn executions_with_lines(&self, batch: &Batch) -> Result<HashSet<Id>> {
        let mut found = HashSet::new();
        for chunk in batch.logs.chunks(CHUNK) {
            let condition = chunk.iter().fold(Condition::any(), |any, row| {
                any.add(
                    Condition::all()
                        .add(logs::Column::Tenant.eq(row.tenant.as_str()))
                        .add(logs::Column::Execution.eq(row.execution.as_bytes().to_vec()))
                        .add(logs::Column::Position.eq(row.position)),
                )
            });
            for row in logs::Entity::find().filter(condition).all(self.write()).await? {
                found.insert(parse_id("log line", &row.execution)?);
            }
        }
        Ok(found)
    }

    async fn missing_inbox(&self, batch: &Batch) -> Result<HashSet<Id>> {
        let mut stored: HashSet<Key> = HashSet::new();
        for chunk in batch.inbox_done.chunks(CHUNK) {
            let condition =
                any_of(chunk.iter().map(|key| (&key.tenant, key.id)), inbox::Column::Tenant, inbox::Column::Id);
            let rows = inbox::Entity::find().filter(condition).all(self.write()).await?;
            stored.extend(rows.into_iter().map(|row| (row.tenant, row.id)));
        }
        let missing = batch.inbox_done.iter().filter(|done| !stored.contains(&key(&done.tenant, done.id)));
        Ok(missing.map(|key| key.execution).collect())
    }

    /// Those that still count: one whose time has passed makes room.
    async fn stored_requests(&self, batch: &Batch) -> Result<Vec<RequestIdRow>> {
        let now = self.database_now(self.write()).await?;
        let mut found = Vec::new();
        for chunk in batch.request_ids.chunks(CHUNK) {
            let condition = chunk.iter().fold(Condition::any(), |any, row| {
                let (tenant, method, request_id) = request_key(row);
                any.add(
                    Condition::all()
                        .add(request_ids::Column::Tenant.eq(tenant))
                        .add(request_ids::Column::Method.eq(method))
                        .add(request_ids::Column::RequestId.eq(free_text(request_id))),
                )
            });
            for row in request_ids::Entity::find().filter(condition).all(self.write()).await? {
                found.push(crate::requests::request(row)?);
            }
        }
        found.retain(|row| row.expires_at > now);
        Ok(found)
    }

    async fn stored_positions(&self, batch: &Batch) -> Result<Vec<(u16, i64)>> {
        let wanted: HashSet<u16> = batch.feed.iter().map(|row| row.shard).collect();
        let rows = shards::Entity::find().filter(shards::Column::Shard.is_in(wanted)).all(self.write()).await?;
        rows.into_iter().map(|row| Ok((number("shard", row.shard)?, row.last_seq))).collect()
    }
}

fn sorted(ids: HashSet<Id>) -> Vec<Id> {
    let mut ids: Vec<Id> = ids.into_iter().collect();
    ids.sort_unstable();
    ids
}

fn key(tenant: &Tenant, id: Id) -> Key {
    (tenant.as_str().to_owned(), id.as_bytes().to_vec())
}

fn any_of<'a>(
    keys: impl Iterator<Item = (&'a Tenant, Id)>,
    tenant: impl ColumnTrait,
    id: impl ColumnTrait,
) -> Condition {
    keys.fold(Condition::any(), |any, (name, key)| {
        any.add(Condition::all().add(tenant.eq(name.as_str())).add(id.eq(key.as_bytes().to_vec())))
    })
}
