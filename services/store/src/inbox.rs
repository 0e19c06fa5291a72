//! What executions have to be told by others: rows that their owners take.

use sea_orm::{ColumnTrait, EntityTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect};
use windhover_types::{Id, Tenant};

use crate::{
    InboxKey, InboxRow, Store,
    bulk::Bulk,
    commit::send,
    entity::inbox,
    error::Result,
    rows::{self, number, parse, parse_id},
    snapshot::{KEY, by_keys},
};

/// Executions that one query asks for.
const CHUNK: usize = 256;

static OF_EXECUTIONS: Bulk = Bulk::reading(
    KEY,
    inbox::columns,
    "SELECT {found} FROM u JOIN inbox ON inbox.tenant = u.tenant AND inbox.execution = u.id ORDER BY inbox.seq LIMIT 1000",
);

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
        take(query.all(self.read()).await?, &mut found)?;
        Ok(found)
    }

    /// What waits for these executions, of each the oldest first, at most 1,000 rows for so many of them as share a
    /// statement: for whoever was told to look at them.
    pub async fn inbox_of(&self, keys: &[(Tenant, Id)]) -> Result<Inbox> {
        let mut found = Inbox::default();
        for chunk in keys.chunks(CHUNK) {
            let rows = by_keys(&OF_EXECUTIONS, chunk).query(self.read()).await?;
            let rows = rows.iter().map(|row| inbox::Model::from_query_result(row, ""));
            take(rows.collect::<Result<_, _>>()?, &mut found)?;
        }
        Ok(found)
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

fn take(rows: Vec<inbox::Model>, found: &mut Inbox) -> Result<()> {
    for row in rows {
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
