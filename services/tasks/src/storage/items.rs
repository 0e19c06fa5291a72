//! Tasks over files of items: one value of Ion or JSON to a line.

use std::collections::HashMap;

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWriteExt};
use windhover_expression::{condition::is_truthy, read_items};
use windhover_flow::Text;
use windhover_types::JsonMap;

use super::io_failed;
use crate::{Task, TaskContext, TaskError, TaskOutcome};

pub(crate) struct FilterItems;
pub(crate) struct DeduplicateItems;

/// The item of a line as the variables of an expression; one that is no map has the name `value`.
fn variables(line: &str, number: u64) -> Result<JsonMap, TaskError> {
    let items = read_items(line).map_err(|error| TaskError::failed(format!("line {number}: {error}")))?;
    Ok(match items.into_iter().next() {
        Some(Value::Object(map)) => map,
        Some(other) => JsonMap::from_iter([("value".to_owned(), other)]),
        None => JsonMap::new(),
    })
}

/// The lines of a file that are not blank.
struct Lines<R> {
    lines: tokio::io::Lines<R>,
    /// How many there were so far.
    count: u64,
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    fn of(reader: R) -> Self {
        Self { lines: reader.lines(), count: 0 }
    }

    /// The next line with its number from 1.
    async fn next(&mut self) -> Result<Option<(String, u64)>, TaskError> {
        while let Some(line) = self.lines.next_line().await.map_err(io_failed)? {
            if !line.trim().is_empty() {
                self.count += 1;
                return Ok(Some((line, self.count)));
            }
        }
        Ok(None)
    }
}

/// The source of a property that is evaluated per item and therefore not rendered before.
fn template(context: &TaskContext, property: &str) -> Result<Text, TaskError> {
    let source = context.properties().get(property).map(|value| value.source());
    match source {
        Some(Value::String(text)) => Ok(Text::new(&text)),
        Some(other) => Ok(Text::new(&other.to_string())),
        None => Err(TaskError::failed(format!("{property}: must not be null"))),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnError {
    Fail,
    Include,
    Exclude,
}

#[async_trait]
impl Task for FilterItems {
    async fn run(&self, context: &TaskContext) -> Result<TaskOutcome, TaskError> {
        let from = context.file("from").await?;
        let condition = template(context, "filterCondition")?;
        let include = match context.text("filterType").await?.as_deref() {
            None | Some("INCLUDE") => true,
            Some("EXCLUDE") => false,
            Some(other) => {
                return Err(TaskError::failed(format!("filterType: '{other}' is neither INCLUDE nor EXCLUDE")));
            }
        };
        let on_error = match context.text("errorOrNullBehavior").await?.as_deref() {
            None | Some("FAIL") => OnError::Fail,
            Some("INCLUDE") => OnError::Include,
            Some("EXCLUDE") => OnError::Exclude,
            Some(other) => {
                let message = format!("errorOrNullBehavior: '{other}' is none of FAIL, INCLUDE, EXCLUDE");
                return Err(TaskError::failed(message));
            }
        };
        let target = context.new_file(".ion")?;
        let mut writer = context.services.files.writer(&context.tenant, &target);
        let mut dropped = 0_u64;
        let mut lines = Lines::of(context.open(&from).await?);
        while let Some((line, number)) = lines.next().await? {
            let holds = match context.evaluate(&condition, variables(&line, number)?).await {
                Ok(text) if !text.trim().is_empty() => Ok(is_truthy(text.trim())),
                Ok(_) => Err("the condition gives nothing".to_owned()),
                Err(error) => Err(error.to_string()),
            };
            let keep = match (holds, on_error) {
                (Ok(holds), _) => holds == include,
                (Err(error), OnError::Fail) => {
                    return Err(TaskError::failed(format!("filterCondition: line {number}: {error}")));
                }
                (Err(_), OnError::Include) => true,
                (Err(_), OnError::Exclude) => false,
            };
            if keep {
                writer.write_all(format!("{line}\n").as_bytes()).await.map_err(io_failed)?;
            } else {
                dropped += 1;
            }
        }
        writer.shutdown().await.map_err(io_failed)?;
        Ok(TaskOutcome::success(Some(
            json!({ "uri": target.to_string(), "processedItemsTotal": lines.count, "droppedItemsTotal": dropped }),
        )))
    }
}

#[async_trait]
impl Task for DeduplicateItems {
    async fn run(&self, context: &TaskContext) -> Result<TaskOutcome, TaskError> {
        let from = context.file("from").await?;
        let expression = template(context, "expr")?;
        // Which line is the last of its key is known only at the end: the file is read twice.
        let mut last: HashMap<String, u64> = HashMap::new();
        let mut lines = Lines::of(context.open(&from).await?);
        while let Some((line, number)) = lines.next().await? {
            let key = context.evaluate(&expression, variables(&line, number)?).await;
            let key = key.map_err(|error| TaskError::failed(format!("expr: line {number}: {error}")))?;
            last.insert(key, number);
        }
        let processed = lines.count;
        let keys = last.len() as u64;
        let kept: std::collections::HashSet<u64> = last.into_values().collect();
        let target = context.new_file(".ion")?;
        let mut writer = context.services.files.writer(&context.tenant, &target);
        let mut lines = Lines::of(context.open(&from).await?);
        while let Some((line, number)) = lines.next().await? {
            if kept.contains(&number) {
                writer.write_all(format!("{line}\n").as_bytes()).await.map_err(io_failed)?;
            }
        }
        writer.shutdown().await.map_err(io_failed)?;
        Ok(TaskOutcome::success(Some(json!({
            "uri": target.to_string(),
            "numKeys": keys,
            "processedItemsTotal": processed,
            "droppedItemsTotal": processed - keys,
        }))))
    }
}
