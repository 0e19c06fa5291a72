//! `io.kestra.plugin.jdbc.postgresql.*`: queries of a PostgreSQL database.
//!
//! Statements go to the database as texts and values come back as texts, so that every type that a database has can be
//! shown. Dropping the future closes the connection, and the server ends what it was doing.

mod cell;
mod connect;
mod key;
mod rows;
mod sql;
mod url;

use async_trait::async_trait;
use serde_json::{Value, json};
use sqlx::Connection;
use windhover_expression::Zone;
use windhover_types::{JsonMap, Level};

use connect::{connect, execute};
use rows::{Fetch, fetched};

use crate::{Metric, Task, TaskContext, TaskError, TaskOutcome};

pub(crate) struct Query;
pub(crate) struct Queries;

/// What both tasks have.
struct Asked {
    sql: String,
    fetch: Fetch,
    parameters: JsonMap,
    zone: Zone,
}

impl Asked {
    async fn read(context: &TaskContext) -> Result<Self, TaskError> {
        let sql = context.required_text("sql").await?;
        let fetch = context
            .render(|properties, environment| {
                Ok((
                    properties.bool("fetch", environment)?.unwrap_or(false),
                    properties.bool("fetchOne", environment)?.unwrap_or(false),
                    properties.bool("store", environment)?.unwrap_or(false),
                    properties.text("fetchType", environment)?,
                ))
            })
            .await?;
        let fetch = match fetch {
            (true, ..) => Fetch::All,
            (_, true, ..) => Fetch::One,
            (_, _, true, _) => Fetch::Store,
            (.., None) => Fetch::Nothing,
            (.., Some(name)) => match name.trim() {
                "FETCH" => Fetch::All,
                "FETCH_ONE" => Fetch::One,
                "STORE" => Fetch::Store,
                "NONE" => Fetch::Nothing,
                other => {
                    return Err(TaskError::failed(format!(
                        "fetchType: '{other}' is none of STORE, FETCH, FETCH_ONE, NONE"
                    )));
                }
            },
        };
        let zone = match context.text("timeZoneId").await? {
            Some(name) => {
                let unknown = |_| TaskError::failed(format!("timeZoneId: '{name}' is no time zone"));
                name.trim().parse().map_err(unknown)?
            }
            None => context.services.env.timezone,
        };
        let parameters = context.map("parameters").await?.unwrap_or_default();
        Ok(Self { sql, fetch, parameters, zone })
    }

    /// A statement with its values.
    fn prepared(&self, context: &TaskContext, statement: &str) -> Result<String, TaskError> {
        context.log(Level::Debug, &format!("Starting query: {statement}"));
        sql::with_parameters(statement, &self.parameters)
    }

    fn outcome(&self, outputs: Value, size: u64) -> TaskOutcome {
        let tag = |name: &str, is: bool| (name.to_owned(), is.to_string());
        let tags = [
            tag("fetch", matches!(self.fetch, Fetch::All | Fetch::One)),
            tag("store", matches!(self.fetch, Fetch::Store)),
        ];
        let mut outcome = TaskOutcome::success(Some(outputs));
        outcome.record(Metric::counter("fetch.size", size as f64, &tags));
        outcome
    }
}

#[async_trait]
impl Task for Query {
    async fn run(&self, context: &TaskContext) -> Result<TaskOutcome, TaskError> {
        let asked = Asked::read(context).await?;
        let [statement] = sql::statements(&asked.sql)[..] else {
            return Err(TaskError::failed(
                "sql: a Query has one SQL statement; the task Queries runs several, one after the other",
            ));
        };
        let after = context.text("afterSQL").await?;
        let statement = asked.prepared(context, statement)?;
        let mut database = connect(context, asked.zone).await?;
        // Both or nothing.
        if after.is_some() {
            execute(&mut database, "BEGIN").await?;
        }
        let found = fetched(context, &mut database, statement, asked.fetch, asked.zone).await?;
        if let Some(after) = after {
            execute(&mut database, &asked.prepared(context, &after)?).await?;
            execute(&mut database, "COMMIT").await?;
        }
        // All that was asked for is there.
        let _ = database.close().await;
        let (outputs, size) = found.unwrap_or_default();
        Ok(asked.outcome(Value::Object(outputs), size))
    }
}

#[async_trait]
impl Task for Queries {
    async fn run(&self, context: &TaskContext) -> Result<TaskOutcome, TaskError> {
        let asked = Asked::read(context).await?;
        let transaction = context.bool("transaction").await?.unwrap_or(true);
        let mut database = connect(context, asked.zone).await?;
        if transaction {
            execute(&mut database, "BEGIN").await?;
        }
        let (mut outputs, mut total) = (Vec::new(), 0);
        for statement in sql::statements(&asked.sql) {
            let statement = asked.prepared(context, statement)?;
            if let Some((found, size)) = fetched(context, &mut database, statement, asked.fetch, asked.zone).await? {
                outputs.push(Value::Object(found));
                total += size;
            }
        }
        if transaction {
            execute(&mut database, "COMMIT").await?;
        }
        let _ = database.close().await;
        Ok(asked.outcome(json!({ "outputs": outputs }), total))
    }
}
