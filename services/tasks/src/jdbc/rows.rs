//! The rows of a statement: into outputs, or into a file.

use futures::TryStreamExt;
use serde_json::{Value, json};
use sqlx::{
    AssertSqlSafe, Column, Either, Row, ValueRef,
    postgres::{PgConnection, PgRow},
    raw_sql,
};
use tokio::io::AsyncWriteExt;
use windhover_expression::{Zone, item_line};
use windhover_types::JsonMap;

use super::{cell::value_of, connect::told, sql::gives_rows};
use crate::{TaskContext, TaskError, storage::io_failed};

/// Bytes of values that outputs take at most; a file takes any number.
const MAX_FETCHED: usize = 64 << 20;

/// What becomes of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fetch {
    All,
    One,
    Store,
    Nothing,
}

/// Runs one statement. `None`: it is none that gives rows; else its outputs, and how many rows are in them.
///
/// # Errors
/// What the database says, or there is more than outputs take.
pub(super) async fn fetched(
    context: &TaskContext,
    database: &mut PgConnection,
    statement: String,
    fetch: Fetch,
    zone: Zone,
) -> Result<Option<(JsonMap, u64)>, TaskError> {
    let expected = gives_rows(&statement);
    let uri = context.new_file(".ion")?;
    let mut file = (fetch == Fetch::Store).then(|| context.services.files.writer(&context.tenant, &uri));
    let (mut kept, mut size, mut bytes, mut any) = (Vec::new(), 0_u64, 0_usize, false);
    let mut found = raw_sql(AssertSqlSafe(statement)).fetch_many(database);
    while let Some(step) = found.try_next().await.map_err(told)? {
        let Either::Right(row) = step else { continue };
        any = true;
        if fetch == Fetch::Nothing || (fetch == Fetch::One && size == 1) {
            continue;
        }
        size += 1;
        let row = Value::Object(object_of(&row, zone, &mut bytes)?);
        if let Some(file) = &mut file {
            let line = item_line(&row).map_err(TaskError::failed)?;
            file.write_all(line.as_bytes()).await.map_err(io_failed)?;
            file.write_all(b"\n").await.map_err(io_failed)?;
        } else if bytes > MAX_FETCHED {
            return Err(TaskError::failed(format!(
                "fetchType: the rows have more than {MAX_FETCHED} bytes; STORE writes any number of them into a file"
            )));
        } else {
            kept.push(row);
        }
    }
    drop(found);
    if !any && !expected {
        return Ok(None);
    }
    let outputs = match fetch {
        Fetch::Nothing => json!({}),
        Fetch::One => json!({ "row": kept.into_iter().next(), "size": size }),
        Fetch::All => json!({ "rows": kept, "size": size }),
        Fetch::Store => {
            if let Some(mut file) = file {
                file.shutdown().await.map_err(io_failed)?;
            }
            json!({ "uri": uri.to_string(), "size": size })
        }
    };
    Ok(Some((outputs.as_object().cloned().unwrap_or_default(), size)))
}

/// A row as a map; of columns of one name the last counts.
fn object_of(row: &PgRow, zone: Zone, bytes: &mut usize) -> Result<JsonMap, TaskError> {
    let mut map = JsonMap::new();
    for (index, column) in row.columns().iter().enumerate() {
        let cell = row.try_get_raw(index).map_err(told)?;
        let value = if cell.is_null() {
            Value::Null
        } else {
            let text = cell.as_str();
            let text = text.map_err(|error| TaskError::failed(format!("column '{}': {error}", column.name())))?;
            *bytes += text.len() + column.name().len();
            value_of(column.type_info().oid().map_or(0, |oid| oid.0), text, zone)
        };
        map.insert(column.name().to_owned(), value);
    }
    Ok(map)
}
