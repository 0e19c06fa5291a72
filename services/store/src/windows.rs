//! Windows of Flow triggers: sets of conditions that must all have held within some time, and what waits to be taken
//! into them.
//!
//! Always true: an offer is written by the batch of the change that makes it, and taken once: its deletion, the
//! window behind it and the execution that it may start are one transaction. A window is written only over the version
//! that its writer has read.
//!
//! Not here: what an offer makes of a window (`flow`).

use sea_orm::{ConnectionTrait, DbErr, QueryResult};
use windhover_engine::WindowOffer;
use windhover_types::{Id, Tenant, Timestamp};

use crate::{
    Store,
    bulk::{
        Bulk,
        Kind::{Bytes, Int, Text},
        id, int, tenant, text, time,
    },
    error::Result,
    rows::{FORMAT, check_format, json, parse, parse_id},
};

const OFFER: &str = "offer of a trigger";

/// Something that waits for the window of a trigger.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowOfferRow {
    pub tenant: Tenant,
    /// Of the flow that listens.
    pub namespace: String,
    pub flow_id: String,
    pub trigger_id: String,
    /// The execution whose change of state it is.
    pub upstream: Id,
    pub offer: WindowOffer,
}

/// Which window of which trigger.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowKey {
    pub tenant: Tenant,
    pub namespace: String,
    pub flow_id: String,
    pub trigger_id: String,
    /// Id of the preconditions.
    pub window_id: String,
}

/// A window as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowRow {
    /// What has held so far, as JSON.
    pub body: String,
    pub version: i64,
}

/// Offers that were taken into a window.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowTaken {
    pub key: WindowKey,
    /// Ids of the offers; each must still be there.
    pub offers: Vec<Id>,
    /// The version that was read; 0: there was none.
    pub expected: i64,
    /// What has held now, as JSON, and when that no longer counts; `None`: the window is over.
    pub window: Option<(String, Timestamp)>,
}

static INSERT_OFFERS: Bulk = Bulk::new(
    &[
        ("tenant", Text),
        ("id", Bytes),
        ("namespace", Text),
        ("flow_id", Text),
        ("trigger_id", Text),
        ("upstream", Bytes),
        ("at", Int),
        ("body", Text),
        ("format", Int),
    ],
    "INSERT INTO trigger_offers ({columns}) SELECT {columns} FROM u WHERE true ON CONFLICT DO NOTHING",
);

static DELETE_OFFERS: Bulk = Bulk::new(
    &[("tenant", Text), ("id", Bytes)],
    "DELETE FROM trigger_offers WHERE (tenant, id) IN (SELECT {columns} FROM u)",
);

static WRITE_WINDOWS: Bulk = Bulk::new(
    &[
        ("tenant", Text),
        ("namespace", Text),
        ("flow_id", Text),
        ("trigger_id", Text),
        ("window_id", Text),
        ("ends_at", Int),
        ("body", Text),
        ("version", Int),
    ],
    "INSERT INTO trigger_windows ({columns}) SELECT {columns} FROM u WHERE true \
     ON CONFLICT (tenant, namespace, flow_id, trigger_id, window_id) DO UPDATE SET ends_at = excluded.ends_at, \
     body = excluded.body, version = excluded.version WHERE trigger_windows.version = excluded.version - 1",
);

static DELETE_WINDOWS: Bulk = Bulk::new(
    &[
        ("tenant", Text),
        ("namespace", Text),
        ("flow_id", Text),
        ("trigger_id", Text),
        ("window_id", Text),
        ("version", Int),
    ],
    "DELETE FROM trigger_windows \
     WHERE (tenant, namespace, flow_id, trigger_id, window_id, version) IN (SELECT {columns} FROM u)",
);

impl Store {
    /// Offers of all tenants that no window has taken yet, earliest first. Several may read the same ones; whoever
    /// takes one first has it.
    pub async fn window_offers(&self, limit: u64) -> Result<Vec<WindowOfferRow>> {
        let sql = "SELECT tenant, id, namespace, flow_id, trigger_id, upstream, body, format \
                   FROM trigger_offers ORDER BY at, id LIMIT $1";
        let found = self.read().query_all_raw(self.statement(sql, [int(limit as i64)])).await?;
        found.iter().map(offer).collect()
    }

    /// A window, also one whose time is over.
    pub async fn get_window(&self, key: &WindowKey) -> Result<Option<WindowRow>> {
        let sql = "SELECT body, version FROM trigger_windows WHERE tenant = $1 AND namespace = $2 AND flow_id = $3 \
                   AND trigger_id = $4 AND window_id = $5";
        let values = [
            tenant(&key.tenant),
            text(&key.namespace),
            text(&key.flow_id),
            text(&key.trigger_id),
            text(&key.window_id),
        ];
        let found = self.read().query_one_raw(self.statement(sql, values)).await?;
        let row = |row: QueryResult| -> Result<WindowRow> {
            Ok(WindowRow { body: row.try_get("", "body")?, version: row.try_get("", "version")? })
        };
        found.map(row).transpose()
    }

    /// Removes windows whose time was over by then; answers how many.
    pub async fn purge_windows(&self, before: Timestamp) -> Result<u64> {
        let statement = self.statement("DELETE FROM trigger_windows WHERE ends_at < $1", [time(before)]);
        Ok(self.write().execute_raw(statement).await?.rows_affected())
    }
}

fn offer(row: &QueryResult) -> Result<WindowOfferRow> {
    check_format(OFFER, row.try_get("", "format")?)?;
    Ok(WindowOfferRow {
        tenant: Tenant::trusted(&row.try_get::<String>("", "tenant")?),
        namespace: row.try_get("", "namespace")?,
        flow_id: row.try_get("", "flow_id")?,
        trigger_id: row.try_get("", "trigger_id")?,
        upstream: parse_id(OFFER, &row.try_get::<Vec<u8>>("", "upstream")?)?,
        offer: parse(OFFER, &row.try_get::<String>("", "body")?)?,
    })
}

/// One that is there already was made by the same change.
pub(crate) async fn insert_offers<'a>(
    db: &impl ConnectionTrait,
    offers: impl IntoIterator<Item = &'a WindowOfferRow>,
) -> std::result::Result<(), DbErr> {
    let mut rows = INSERT_OFFERS.rows(0);
    for row in offers {
        rows.push([
            tenant(&row.tenant),
            id(row.offer.id),
            text(&row.namespace),
            text(&row.flow_id),
            text(&row.trigger_id),
            id(row.upstream),
            time(row.offer.event.at),
            text(json(&row.offer)),
            int(FORMAT),
        ]);
    }
    rows.run(db).await.map(drop)
}

/// Takes offers into their windows; tells how many rows were touched, and how many had to be.
pub(crate) async fn take_offers(
    db: &impl ConnectionTrait,
    taken: &[WindowTaken],
) -> std::result::Result<(u64, u64), DbErr> {
    let mut sorted: Vec<&WindowTaken> = taken.iter().collect();
    sorted.sort_by(|a, b| a.key.cmp(&b.key));
    let (mut offers, mut written, mut deleted) = (DELETE_OFFERS.rows(0), WRITE_WINDOWS.rows(0), DELETE_WINDOWS.rows(0));
    for WindowTaken { key, offers: ids, expected, window } in sorted {
        ids.iter().for_each(|offer| offers.push([tenant(&key.tenant), id(*offer)]));
        let names = [&key.namespace, &key.flow_id, &key.trigger_id, &key.window_id].map(text);
        let [namespace, flow_id, trigger_id, window_id] = names;
        let tenant = tenant(&key.tenant);
        match window {
            Some((body, ends_at)) => written.push([
                tenant,
                namespace,
                flow_id,
                trigger_id,
                window_id,
                time(*ends_at),
                text(body),
                int(expected + 1),
            ]),
            None if *expected > 0 => deleted.push([tenant, namespace, flow_id, trigger_id, window_id, int(*expected)]),
            None => {}
        }
    }
    let expected = (offers.len() + written.len() + deleted.len()) as u64;
    let touched = offers.run(db).await? + written.run(db).await? + deleted.run(db).await?;
    Ok((touched, expected))
}
