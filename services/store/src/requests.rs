//! Request ids: what a request has made, so that the same request again gets the same answer.

use sea_orm::{ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter};
use windhover_types::{Tenant, Timestamp};

use crate::{
    RequestIdRow, Store,
    bulk::{free_text, int, time},
    entity::request_ids,
    error::Result,
    rows::corrupt,
};

impl Store {
    /// What the request with this id has made, unless that is so long ago that it is forgotten.
    pub async fn request_id(
        &self,
        tenant: &Tenant,
        method: &str,
        request_id: &str,
        now: Timestamp,
    ) -> Result<Option<RequestIdRow>> {
        let key = (tenant.as_str().to_owned(), method.to_owned(), free_text(request_id));
        let row = request_ids::Entity::find_by_id(key).one(self.read()).await?.map(request).transpose()?;
        Ok(row.filter(|row| row.expires_at > now))
    }

    /// The same of many requests (tenant, method, request id) at once; those that made nothing yet are left out.
    pub async fn request_ids_of(&self, keys: &[(Tenant, String, String)], now: Timestamp) -> Result<Vec<RequestIdRow>> {
        use request_ids::Column;
        let mut found = Vec::new();
        for chunk in keys.chunks(256) {
            let any = chunk.iter().fold(Condition::any(), |any, (tenant, method, request_id)| {
                any.add(
                    Condition::all()
                        .add(Column::Tenant.eq(tenant.as_str()))
                        .add(Column::Method.eq(method))
                        .add(Column::RequestId.eq(free_text(request_id))),
                )
            });
            for row in request_ids::Entity::find().filter(any).all(self.read()).await? {
                found.push(request(row)?);
            }
        }
        found.retain(|row| row.expires_at > now);
        Ok(found)
    }

    /// Forgets at most `limit` request ids that expired before `now`; tells how many.
    pub async fn purge_request_ids(&self, now: Timestamp, limit: u64) -> Result<u64> {
        // By key and not by row number, which both databases name differently.
        let sql = "DELETE FROM request_ids WHERE (tenant, method, request_id) IN \
                   (SELECT tenant, method, request_id FROM request_ids WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)";
        let values = [time(now), int(limit as i64)];
        let outcome = self.write().execute_raw(self.statement(sql, values)).await?;
        Ok(outcome.rows_affected())
    }
}

pub(crate) fn request(row: request_ids::Model) -> Result<RequestIdRow> {
    const WHAT: &str = "request id";
    let content =
        row.content.as_slice().try_into().map_err(|_| corrupt(WHAT)("its hash has not 32 bytes".to_owned()))?;
    Ok(RequestIdRow {
        tenant: Tenant::trusted(&row.tenant),
        method: row.method,
        request_id: row.request_id,
        content,
        result: row.result,
        expires_at: Timestamp::from_micros(row.expires_at),
    })
}
