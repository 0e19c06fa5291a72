//! `kv.PurgeKV` (flow model 1.x reference 5.5).

use async_trait::async_trait;
use serde_json::{Value, json};
use windhover_flow::text_of;
use windhover_types::{JsonMap, Level};

use crate::{KeyTest, KvPurge, Task, TaskContext, TaskError, TaskOutcome, chosen, executions::parse_date};

pub(crate) struct PurgeKv;

#[async_trait]
impl Task for PurgeKv {
    async fn run(&self, context: &TaskContext) -> Result<TaskOutcome, TaskError> {
        let (behavior, expired_only, pattern) = context
            .render(|properties, environment| {
                Ok((
                    properties.map("behavior", environment)?,
                    properties.bool("expiredOnly", environment)?,
                    properties.text("keyPattern", environment)?,
                ))
            })
            .await?;
        let purge = match (expired_only, behavior) {
            // The older form wins.
            (Some(expired_only), _) => KvPurge::Keys { expired_only },
            (None, Some(behavior)) => of_behavior(&behavior)?,
            (None, None) => KvPurge::Keys { expired_only: true },
        };
        let test: Box<KeyTest> = match pattern {
            Some(pattern) => {
                let pattern = chosen::glob("keyPattern", &pattern)?;
                Box::new(move |key| pattern.is_match(key))
            }
            None => Box::new(|_| true),
        };
        let mut size = 0;
        for namespace in chosen::namespaces(context).await? {
            let purged = context.services.kv.purge(&context.tenant, &namespace, test.as_ref(), purge).await;
            size += purged.map_err(TaskError::failed)?;
        }
        context.log(Level::Info, &format!("purged {size} keys"));
        Ok(TaskOutcome::success(Some(json!({ "size": size }))))
    }
}

fn of_behavior(behavior: &JsonMap) -> Result<KvPurge, TaskError> {
    match behavior.get("type").map(text_of).as_deref() {
        Some("key") => {
            let expired_only = match behavior.get("expiredOnly") {
                None | Some(Value::Null) => true,
                Some(value) => text_of(value).trim().eq_ignore_ascii_case("true"),
            };
            Ok(KvPurge::Keys { expired_only })
        }
        Some("version") => Ok(match versions(behavior)? {
            Versions::WrittenUntil(at) => KvPurge::WrittenUntil(at),
            Versions::AllButNewest(kept) => KvPurge::AllButNewest(kept),
        }),
        other => {
            let other = other.unwrap_or_default();
            Err(TaskError::failed(format!("behavior.type: '{other}' is neither key nor version")))
        }
    }
}

/// Which versions a behavior means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Versions {
    /// Written up to then, without the newest.
    WrittenUntil(windhover_types::Timestamp),
    AllButNewest(u32),
}

/// `before` and `keepAmount` of a behavior; with neither, nothing is kept.
pub(crate) fn versions(behavior: &JsonMap) -> Result<Versions, TaskError> {
    let text = |name: &str| behavior.get(name).filter(|value| !value.is_null()).map(text_of);
    match (text("before"), text("keepAmount")) {
        (Some(_), Some(_)) => Err(TaskError::failed("behavior: `before` and `keepAmount` cannot both be given")),
        (Some(before), None) => parse_date(&before).map(Versions::WrittenUntil).ok_or_else(|| {
            TaskError::failed(format!(
                "behavior.before: `{before}` is no date and time with a zone, as 2024-01-31T12:00:00Z"
            ))
        }),
        (None, Some(amount)) => amount
            .trim()
            .parse()
            .map(Versions::AllButNewest)
            .map_err(|_| TaskError::failed(format!("behavior.keepAmount: '{amount}' is no whole number from 0"))),
        (None, None) => Ok(Versions::AllButNewest(0)),
    }
}
