//! The rest of a batch: what waits for somebody (timers, jobs, slots, messages), and what everybody is told.

use sea_orm::{ConnectionTrait, DbErr};
use windhover_types::Id;

use super::{
    statements::*,
    write::{Count, Writing, count, last_of_equal},
};
use crate::{
    InboxRow, JobNote, SlotKey,
    bulk::{self, boolean, free_text, id, int, tenant, text, text_or_null, time},
    rows::{FORMAT, json},
    slots::{DELETE_SLOTS, UPSERT_SLOTS},
};

impl Writing<'_> {
    pub(super) async fn write_timers(&self, db: &impl ConnectionTrait) -> Result<(), DbErr> {
        let cleared = self.select(
            &self.batch.timers_cleared,
            |key| key.execution,
            |key| (key.tenant.clone(), key.execution, json(&key.timer)),
        );
        let mut rows = DELETE_TIMERS.rows(cleared.len());
        for key in cleared {
            rows.push([tenant(&key.tenant), id(key.execution), text(json(&key.timer))]);
        }
        rows.run(db).await?;

        let key = |row: &crate::TimerRow| (row.tenant.clone(), row.execution, json(&row.timer));
        let set = last_of_equal(self.select(&self.batch.timers_set, |row| row.execution, key), key);
        let mut rows = UPSERT_TIMERS.rows(set.len());
        for row in set {
            rows.push([tenant(&row.tenant), id(row.execution), text(json(&row.timer)), int(row.shard), time(row.at)]);
        }
        rows.run(db).await?;
        Ok(())
    }

    pub(super) async fn write_jobs(&self, db: &impl ConnectionTrait) -> Result<(), DbErr> {
        let ended = self.select(
            &self.batch.jobs_ended,
            |key| key.execution,
            |key| (key.tenant.clone(), key.execution, key.task_run, key.dispatch),
        );
        let mut rows = DELETE_JOBS.rows(ended.len());
        for key in ended {
            rows.push([tenant(&key.tenant), id(key.execution), id(key.task_run), int(key.dispatch)]);
        }
        rows.run(db).await?;

        let key = |row: &crate::JobRow| (row.tenant.clone(), row.execution, row.task_run, row.dispatch);
        let started = last_of_equal(self.select(&self.batch.jobs_started, |row| row.execution, key), key);
        let mut rows = UPSERT_JOBS.rows(started.len());
        for row in started {
            rows.push([
                tenant(&row.tenant),
                id(row.execution),
                id(row.task_run),
                int(row.dispatch),
                int(row.shard),
                text_or_null(row.worker_group.clone()),
                time(row.deadline),
                int(row.losses),
                text_or_null(row.worker.as_deref().map(free_text)),
            ]);
        }
        rows.run(db).await?;

        let noted = self.select(
            &self.batch.jobs_noted,
            |note| note.key.execution,
            |note| (note.key.tenant.clone(), note.key.execution, note.key.task_run, note.key.dispatch),
        );
        let mut rows = NOTE_JOBS.rows(noted.len());
        for JobNote { key, worker, lines } in noted {
            rows.push([
                tenant(&key.tenant),
                id(key.execution),
                id(key.task_run),
                int(key.dispatch),
                text_or_null(worker.as_deref().map(free_text)),
                int(*lines),
            ]);
        }
        rows.run(db).await?;
        Ok(())
    }

    pub(super) async fn write_slots(&self, db: &impl ConnectionTrait) -> Result<(), DbErr> {
        let key = |key: &SlotKey| [tenant(&key.tenant), text(&key.namespace), text(&key.flow_id), id(key.execution)];
        let cleared = self.select(&self.batch.slots_cleared, |key| key.execution, |key| key);
        let mut rows = DELETE_SLOTS.rows(cleared.len());
        cleared.into_iter().for_each(|slot| rows.push(key(slot)));
        rows.run(db).await?;

        let set = self.select(&self.batch.slots_set, |row| row.key.execution, |row| &row.key);
        let set = last_of_equal(set, |row| row.key.clone());
        let mut rows = UPSERT_SLOTS.rows(set.len());
        for row in set {
            let [tenant, namespace, flow, execution] = key(&row.key);
            let (shard, since) = (int(row.shard), time(row.since));
            rows.push([tenant, namespace, flow, execution, shard, boolean(row.holds), since]);
        }
        rows.run(db).await?;
        Ok(())
    }

    pub(super) async fn delete_inbox(&self, db: &impl ConnectionTrait) -> Result<Count, DbErr> {
        let selected = self.select(&self.batch.inbox_done, |key| key.execution, |key| (key.tenant.clone(), key.id));
        let mut rows = DELETE_INBOX.rows(selected.len());
        for key in selected {
            rows.push([tenant(&key.tenant), id(key.id)]);
        }
        count(rows, db).await
    }

    pub(super) async fn insert_inbox(&self, db: &impl ConnectionTrait) -> Result<(), DbErr> {
        // In the order given: the number that the row gets orders cause before effect.
        let selected =
            self.batch.inbox_sent.iter().filter(|row| self.only.is_none_or(|only| only.contains(&row.execution)));
        send(db, selected).await?;
        Ok(())
    }

    pub(super) async fn park(&self, db: &impl ConnectionTrait) -> Result<(), DbErr> {
        let key = |row: &crate::ParkedRow| (row.tenant.clone(), row.execution);
        let selected = last_of_equal(self.select(&self.batch.parked, |row| row.execution, key), key);
        let mut rows = PARK_EXECUTIONS.rows(selected.len());
        for row in selected {
            rows.push([tenant(&row.tenant), id(row.execution), text(free_text(&row.reason))]);
        }
        rows.run(db).await?;
        Ok(())
    }

    /// Rows of the feed, and the shards' last numbers, which must be those before.
    pub(super) async fn append_feed(&self, db: &impl ConnectionTrait) -> Result<Count, DbErr> {
        let mut feed: Vec<_> = self.batch.feed.iter().collect();
        feed.sort_by_key(|row| (row.shard, row.seq));
        let mut rows = ADVANCE_SHARDS.rows(feed.len());
        for shard in feed.chunk_by(|a, b| a.shard == b.shard) {
            if let (Some(first), Some(last)) = (shard.first(), shard.last()) {
                rows.push([int(first.shard), int(first.seq), int(last.seq)]);
            }
        }
        let moved = count(rows, db).await?;
        if moved.is_exact() {
            let mut rows = INSERT_FEED.rows(feed.len());
            for row in feed {
                rows.push([
                    int(row.shard),
                    int(row.seq),
                    tenant(&row.tenant),
                    time(row.at),
                    text(json(&row.entries)),
                    int(FORMAT),
                ]);
            }
            rows.run(db).await?;
        }
        Ok(moved)
    }

    pub(super) async fn insert_request_ids(&self, db: &impl ConnectionTrait) -> Result<Count, DbErr> {
        // What a request has made is the execution that it belongs to.
        let belongs = |row: &&crate::RequestIdRow| {
            self.only.is_none_or(|only| row.result.parse().is_ok_and(|made: Id| only.contains(&made)))
        };
        let mut selected: Vec<_> = self.batch.request_ids.iter().filter(belongs).collect();
        selected.sort_by(|a, b| super::request_key(a).cmp(&super::request_key(b)));
        let mut rows = INSERT_REQUEST_IDS.rows(selected.len());
        for row in selected {
            rows.push([
                tenant(&row.tenant),
                text(&row.method),
                text(free_text(&row.request_id)),
                bulk::bytes(&row.content),
                text(free_text(&row.result)),
                time(row.expires_at),
            ]);
        }
        count(rows, db).await
    }
}

/// Puts rows into the inbox, in the order given; tells how many were not there yet.
pub(crate) async fn send<'a>(
    db: &impl ConnectionTrait,
    messages: impl Iterator<Item = &'a InboxRow>,
) -> Result<u64, DbErr> {
    let mut rows = INSERT_INBOX.rows(messages.size_hint().0);
    for row in messages {
        rows.push([
            tenant(&row.tenant),
            id(row.id),
            int(row.shard),
            id(row.execution),
            text(json(&row.message)),
            int(FORMAT),
        ]);
    }
    rows.run(db).await
}
