//! What executions have to be told by others: rows that their owners take.

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select};
use windhover_types::{Id, Tenant};

use crate::{
    InboxKey, InboxRow, Store,
    commit::send,
    entity::inbox,
    error::Result,
    rows::{self, number, parse, parse_id},
    work::any_of,
};

/// Executions that one query asks for.
const CHUNK: usize = 256;

/// What waits in the inbox.
#[derive(Debug, Clone, Default)]
pub struct Inbox {
    /// Oldest first.
    pub rows: Vec<InboxRow>,
    /// Rows that this version does not understand, with the reason: their executions are parked.
    pub unknown: Vec<(InboxKey, String)>,
    /// Number of the last row, for the next page.
    pub last: Option<i64>,
}

impl Store {
    /// What waits for these shards, oldest first. A sweep looks from the beginning; `after` only leads over rows whose
    /// executions are in a batch just now.
    pub async fn inbox(&self, shards: &[u16], after: Option<i64>, limit: u64) -> Result<Inbox> {
        let mut query = inbox::Entity::find()
            .filter(inbox::Column::Shard.is_in(shards.iter().map(|shard| *shard as i16)))
            .order_by_asc(inbox::Column::Seq)
            .limit(limit);
        if let Some(after) = after {
            query = query.filter(inbox::Column::Seq.gt(after));
        }
        let mut found = Inbox::default();
        self.take(query, &mut found).await?;
        Ok(found)
    }

    /// What waits for these executions, oldest first, at most `limit` rows for each 256 of them: for whoever was told
    /// to look at them.
    pub async fn inbox_of(&self, keys: &[(Tenant, Id)], limit: u64) -> Result<Inbox> {
        let mut found = Inbox::default();
        for chunk in keys.chunks(CHUNK) {
            let query = inbox::Entity::find()
                .filter(any_of(chunk, inbox::Column::Tenant, inbox::Column::Execution))
                .order_by_asc(inbox::Column::Seq)
                .limit(limit);
            self.take(query, &mut found).await?;
        }
        Ok(found)
    }

    async fn take(&self, query: Select<inbox::Entity>, found: &mut Inbox) -> Result<()> {
        for row in query.all(self.read()).await? {
            found.last = found.last.max(Some(row.seq));
            let tenant = Tenant::trusted(&row.tenant);
            let (id, execution) = (parse_id("inbox row", &row.id)?, parse_id("inbox row", &row.execution)?);
            let message = rows::check_format("inbox row", row.format).and_then(|()| parse("inbox row", &row.message));
            match message {
                Ok(message) => {
                    found.rows.push(InboxRow { id, shard: number("inbox row", row.shard)?, tenant, execution, message })
                }
                Err(error) => found.unknown.push((InboxKey { tenant, id, execution }, error.to_string())),
            }
        }
        Ok(())
    }

    /// Leaves messages for the owners of executions, in the order given; tells how many were not there yet. The same
    /// message again is there once. What tells an owner to look is not here: see `queue`.
    pub async fn put_inbox(&self, messages: &[InboxRow]) -> Result<u64> {
        if messages.is_empty() {
            return Ok(0);
        }
        // One transaction where there is more than one statement (SQLite, or very many).
        let db = self.begin().await?;
        let new = send(&db, messages.iter()).await?;
        db.commit().await?;
        Ok(new)
    }
}
