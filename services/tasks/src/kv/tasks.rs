//! `kv.*`.

use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, NaiveDateTime};
use serde_json::{Value, json};
use windhover_expression::is_kv_key;
use windhover_flow::{parse_duration, text_of};

use super::{inferred, is_above, patch};
use crate::{KvFound, KvKind, KvWrite, Task, TaskContext, TaskError, TaskOutcome};

pub(crate) struct Set;
pub(crate) struct Get;
pub(crate) struct GetKeys;
pub(crate) struct Delete;
pub(crate) struct Put;

/// The key and the namespace that a task names, and whether it names one.
async fn place(context: &TaskContext) -> Result<(String, String, bool), TaskError> {
    let key = context.required_text("key").await?;
    if !is_kv_key(&key) {
        return Err(TaskError::failed(
            "key: must start with an alphanumeric character (uppercase or lowercase) and can contain alphanumeric \
             characters (uppercase or lowercase), dots (.), underscores (_), and hyphens (-) only",
        ));
    }
    let (namespace, named) = namespace(context).await?;
    Ok((key, namespace, named))
}

/// The namespace that a task names, else its flow's; one that nobody has ever used is an error.
async fn namespace(context: &TaskContext) -> Result<(String, bool), TaskError> {
    let Some(named) = context.text("namespace").await? else { return Ok((context.namespace().to_owned(), false)) };
    let exists = is_above(&named, context.namespace())
        || context.services.kv.namespace_exists(&context.tenant, &named).await.map_err(TaskError::failed)?;
    if !exists {
        return Err(TaskError::failed(format!("Cannot access the KV store. The namespace '{named}' does not exist.")));
    }
    let other = named != context.namespace();
    Ok((named, other))
}

/// Brings a rendered text to the type that `kvType` names; what is no text stays as it is.
fn converted(value: Value, kind: KvKind) -> Result<(Value, KvKind), TaskError> {
    let Value::String(text) = &value else {
        // A number that is to be a text becomes one.
        return Ok(match (kind, &value) {
            (KvKind::String, Value::Number(_) | Value::Bool(_)) => (Value::String(text_of(&value)), KvKind::String),
            _ => {
                let kind = inferred(&value);
                (value, kind)
            }
        });
    };
    let wrong = || TaskError::failed(format!("value: this is no {}", kind.as_str()));
    let trimmed = text.trim();
    let converted = match kind {
        KvKind::String => value,
        KvKind::Number => {
            let number: serde_json::Number = trimmed.parse().map_err(|_| wrong())?;
            Value::Number(number)
        }
        KvKind::Boolean => Value::Bool(trimmed.eq_ignore_ascii_case("true")),
        KvKind::Json => serde_json::from_str(text).map_err(|_| wrong())?,
        KvKind::Duration => {
            parse_duration(trimmed).map_err(|_| wrong())?;
            Value::String(trimmed.to_owned())
        }
        KvKind::DateTime => {
            let known = DateTime::parse_from_rfc3339(trimmed).is_ok() || trimmed.parse::<NaiveDateTime>().is_ok();
            if !known {
                return Err(wrong());
            }
            Value::String(trimmed.to_owned())
        }
        KvKind::Date => {
            let date = trimmed.parse::<NaiveDate>().ok();
            let date = date.or_else(|| DateTime::parse_from_rfc3339(trimmed).ok().map(|at| at.date_naive()));
            Value::String(date.ok_or_else(wrong)?.to_string())
        }
    };
    Ok((converted, kind))
}

async fn exists(context: &TaskContext, key: &str) -> TaskError {
    let namespace = context.text("namespace").await.ok().flatten();
    let namespace = namespace.as_deref().unwrap_or(context.namespace());
    TaskError::failed(format!(
        "Cannot set value for key '{key}' in the namespace '{namespace}': the key already exists and overwrite is false"
    ))
}

#[async_trait]
impl Task for Set {
    async fn run(&self, context: &TaskContext) -> Result<TaskOutcome, TaskError> {
        let (key, namespace, _) = place(context).await?;
        let (value, kind, description, ttl, overwrite) = context
            .render(|properties, environment| {
                Ok((
                    properties.typed("value", environment)?.unwrap_or(Value::Null),
                    properties.text("kvType", environment)?,
                    properties.text("kvDescription", environment)?,
                    properties.duration("ttl", environment)?,
                    properties.bool("overwrite", environment)?.unwrap_or(true),
                ))
            })
            .await?;
        let (value, kind) = match kind {
            Some(name) => {
                let kind = KvKind::parse(&name);
                converted(value, kind.ok_or_else(|| TaskError::failed(format!("kvType: unknown type '{name}'")))?)?
            }
            None => {
                let kind = inferred(&value);
                (value, kind)
            }
        };
        let write = KvWrite { value, kind, description, ttl, overwrite };
        if !context.services.kv.put(&context.tenant, &namespace, &key, write).await.map_err(TaskError::failed)? {
            return Err(exists(context, &key).await);
        }
        Ok(TaskOutcome::success(None))
    }
}

#[async_trait]
impl Task for Get {
    async fn run(&self, context: &TaskContext) -> Result<TaskOutcome, TaskError> {
        let (key, namespace, elsewhere) = place(context).await?;
        let must_exist = context.bool("errorOnMissing").await?.unwrap_or(false);
        let mut at = namespace.as_str();
        loop {
            match context.services.kv.get(&context.tenant, at, &key).await.map_err(TaskError::failed)? {
                KvFound::Value { value, .. } => return Ok(TaskOutcome::success(Some(json!({ "value": value })))),
                KvFound::Expired => return Err(TaskError::failed("The requested value has expired")),
                KvFound::Absent => {}
            }
            // Another namespace is looked into for itself, one's own with its parents.
            match at.rsplit_once('.') {
                Some((parent, _)) if !elsewhere => at = parent,
                _ => break,
            }
        }
        if must_exist {
            return Err(TaskError::failed(format!(
                "No value found for key '{key}' in namespace '{namespace}' and `errorOnMissing` is set to true"
            )));
        }
        Ok(TaskOutcome::success(Some(json!({ "value": null }))))
    }
}

#[async_trait]
impl Task for GetKeys {
    async fn run(&self, context: &TaskContext) -> Result<TaskOutcome, TaskError> {
        let (namespace, _) = namespace(context).await?;
        let prefix = context.text("prefix").await?.unwrap_or_default();
        let keys = context.services.kv.keys(&context.tenant, &namespace, &prefix).await.map_err(TaskError::failed)?;
        Ok(TaskOutcome::success(Some(json!({ "keys": keys }))))
    }
}

#[async_trait]
impl Task for Delete {
    async fn run(&self, context: &TaskContext) -> Result<TaskOutcome, TaskError> {
        let (key, namespace, _) = place(context).await?;
        let must_exist = context.bool("errorOnMissing").await?.unwrap_or(false);
        let deleted = context.services.kv.delete(&context.tenant, &namespace, &key).await.map_err(TaskError::failed)?;
        if must_exist && !deleted {
            return Err(TaskError::failed(format!(
                "No value found for key '{key}' in namespace '{namespace}' and `errorOnMissing` is set to true"
            )));
        }
        Ok(TaskOutcome::success(Some(json!({ "deleted": deleted }))))
    }
}

#[async_trait]
impl Task for Put {
    async fn run(&self, context: &TaskContext) -> Result<TaskOutcome, TaskError> {
        let (key, namespace, _) = place(context).await?;
        let (value, must_exist) = context
            .render(|properties, environment| {
                Ok((
                    properties.typed("value", environment)?.unwrap_or(Value::Null),
                    properties.bool("errorOnMissing", environment)?.unwrap_or(false),
                ))
            })
            .await?;
        let found = context.services.kv.get(&context.tenant, &namespace, &key).await.map_err(TaskError::failed)?;
        let stored = match found {
            KvFound::Value { value, .. } => Some(value),
            KvFound::Absent | KvFound::Expired if must_exist => {
                return Err(TaskError::failed(format!(
                    "No value found for key '{key}' in namespace '{namespace}' and `errorOnMissing` is set to true"
                )));
            }
            KvFound::Absent | KvFound::Expired => None,
        };
        let value = changed(stored, value)?;
        let kind = inferred(&value);
        let write = KvWrite { value, kind, description: None, ttl: None, overwrite: true };
        context.services.kv.put(&context.tenant, &namespace, &key, write).await.map_err(TaskError::failed)?;
        Ok(TaskOutcome::success(None))
    }
}

/// What is stored under the key after a Put (flow model 1.x reference 5.5).
fn changed(stored: Option<Value>, value: Value) -> Result<Value, TaskError> {
    let Value::Array(entries) = value else {
        let mut stored = stored.filter(Value::is_object).filter(|_| value.is_object()).unwrap_or(Value::Null);
        patch::merge(&mut stored, value);
        return Ok(stored);
    };
    let mut result = stored.unwrap_or(Value::Null);
    let single = entries.len() == 1;
    for entry in entries {
        let Value::Object(mut entry) = entry else {
            return Err(TaskError::failed("value: an entry of the list is a map of `key` and `value`"));
        };
        let value = entry.remove("value").unwrap_or(Value::Null);
        match entry.get("key").map(text_of) {
            Some(path) => patch::set_path(&mut result, &path, value),
            None if single => result = value,
            None => return Err(TaskError::failed("value: an entry without `key` must be the only one")),
        }
    }
    Ok(result)
}
