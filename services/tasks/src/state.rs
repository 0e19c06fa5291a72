//! `state.*`: small states of a flow between its executions, kept in the key-value store of its namespace (flow model
//! reference 5.6). Two executions that change one state at once: the later write wins.

use async_trait::async_trait;
use serde_json::{Value, json};
use windhover_expression::slugify;
use windhover_flow::Text;
use windhover_types::JsonMap;

use crate::{KvFound, KvKind, KvWrite, Task, TaskContext, TaskError, TaskOutcome, kv::patch};

pub(crate) struct Get;
pub(crate) struct Set;
pub(crate) struct Delete;

/// The key of a state: `[<flow>_]states_tasks-states_<name>[_<hash of the iteration's value>]`.
async fn key(context: &TaskContext) -> Result<String, TaskError> {
    let (name, whole_namespace, per_value) = context
        .render(|properties, environment| {
            Ok((
                properties.text("name", environment)?.unwrap_or_else(|| "default".to_owned()),
                properties.bool("namespace", environment)?.unwrap_or(false),
                properties.bool("taskrunValue", environment)?.unwrap_or(true),
            ))
        })
        .await?;
    let mut key = String::new();
    if !whole_namespace {
        key.push_str(&slugify(&context.flow.id));
        key.push('_');
    }
    key.push_str("states_tasks-states_");
    // Names may be anything; keys may not.
    key.extend(name.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' }));
    if per_value {
        let value = context
            .expression(&Text::new("{{ taskrun.value ?? '' }}"))
            .await
            .map_err(|error| TaskError::failed(format!("taskrunValue: {error}")))?;
        if !value.is_empty() {
            key.push('_');
            key.push_str(&hash(&value));
        }
    }
    Ok(key)
}

/// MurmurHash3 of 128 bits, as Guava prints it.
fn hash(text: &str) -> String {
    let hash = murmur3::murmur3_x64_128(&mut text.as_bytes(), 0).unwrap_or_default();
    hash.to_le_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn stored(context: &TaskContext, key: &str) -> Result<Option<JsonMap>, TaskError> {
    match context.services.kv.get(&context.tenant, context.namespace(), key).await.map_err(TaskError::failed)? {
        KvFound::Value { value: Value::Object(map), .. } => Ok(Some(map)),
        KvFound::Value { .. } => Err(TaskError::failed(format!("the key '{key}' holds no state"))),
        KvFound::Absent | KvFound::Expired => Ok(None),
    }
}

async fn must_exist(context: &TaskContext) -> Result<bool, TaskError> {
    Ok(context.bool("errorOnMissing").await?.unwrap_or(false))
}

fn missing(key: &str) -> TaskError {
    TaskError::failed(format!("there is no state '{key}'"))
}

#[async_trait]
impl Task for Get {
    async fn run(&self, context: &TaskContext) -> Result<TaskOutcome, TaskError> {
        let key = key(context).await?;
        let found = stored(context, &key).await?;
        if found.is_none() && must_exist(context).await? {
            return Err(missing(&key));
        }
        let data = found.unwrap_or_default();
        Ok(TaskOutcome::success(Some(json!({ "count": data.len(), "data": data }))))
    }
}

#[async_trait]
impl Task for Set {
    async fn run(&self, context: &TaskContext) -> Result<TaskOutcome, TaskError> {
        let key = key(context).await?;
        let data = context.map("data").await?.unwrap_or_default();
        let mut state = Value::Object(stored(context, &key).await?.unwrap_or_default());
        patch::merge(&mut state, Value::Object(data));
        let count = state.as_object().map_or(0, JsonMap::len);
        let write = KvWrite { value: state, kind: KvKind::Json, description: None, ttl: None, overwrite: true };
        context.services.kv.put(&context.tenant, context.namespace(), &key, write).await.map_err(TaskError::failed)?;
        Ok(TaskOutcome::success(Some(json!({ "count": count, "key": key }))))
    }
}

#[async_trait]
impl Task for Delete {
    async fn run(&self, context: &TaskContext) -> Result<TaskOutcome, TaskError> {
        let key = key(context).await?;
        let deleted =
            context.services.kv.delete(&context.tenant, context.namespace(), &key).await.map_err(TaskError::failed)?;
        if !deleted && must_exist(context).await? {
            return Err(missing(&key));
        }
        Ok(TaskOutcome::success(Some(json!({ "deleted": deleted }))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_guava() {
        assert_eq!(hash("a"), "897859f6655555855a890e51483ab5e6");
    }
}
