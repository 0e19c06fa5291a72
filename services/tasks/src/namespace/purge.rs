//! `namespace.PurgeFiles` (flow model 1.x reference 5.6).

use async_trait::async_trait;
use serde_json::json;
use windhover_flow::text_of;
use windhover_storage::FileVersion;
use windhover_types::Level;

use super::Pattern;
use crate::{Task, TaskContext, TaskError, TaskOutcome, chosen, kv::Versions};

/// Versions of each file that are kept when nobody says anything.
const KEPT: u32 = 1;

pub(crate) struct PurgeFiles;

#[async_trait]
impl Task for PurgeFiles {
    async fn run(&self, context: &TaskContext) -> Result<TaskOutcome, TaskError> {
        let (behavior, pattern) = context
            .render(|properties, environment| {
                Ok((properties.map("behavior", environment)?, properties.text("filePattern", environment)?))
            })
            .await?;
        let versions = match behavior {
            None => Versions::AllButNewest(KEPT),
            Some(behavior) => {
                let kind = behavior.get("type").map_or_else(|| "version".to_owned(), text_of);
                if kind != "version" {
                    return Err(TaskError::failed(format!("behavior.type: '{kind}' is not version")));
                }
                crate::kv::versions(&behavior)?
            }
        };
        let pattern = pattern.map(|pattern| Pattern::of("filePattern", &pattern)).transpose()?;
        let files = &context.services.files;
        let mut size = 0_u64;
        for namespace in chosen::namespaces(context).await? {
            for file in files.namespace_files(&context.tenant, &namespace).await? {
                let with_slash = format!("/{}", file.path);
                let meant_by = |pattern: &Pattern| pattern.matches(&file.path) || pattern.matches(&with_slash);
                if !pattern.as_ref().is_none_or(meant_by) {
                    continue;
                }
                for version in meant(&file.versions, versions) {
                    size += u64::from(files.delete(&context.tenant, &version.entry.uri).await?);
                }
            }
        }
        context.log(Level::Info, &format!("purged {size} files"));
        Ok(TaskOutcome::success(Some(json!({ "size": size }))))
    }
}

/// The versions that go, of those of a file from the oldest on.
fn meant(versions: &[FileVersion], which: Versions) -> Vec<&FileVersion> {
    match which {
        Versions::AllButNewest(kept) => {
            let kept = usize::try_from(kept).unwrap_or(usize::MAX);
            versions.iter().take(versions.len().saturating_sub(kept)).collect()
        }
        Versions::WrittenUntil(at) => {
            let former = versions.iter().take(versions.len().saturating_sub(1));
            former.filter(|version| version.entry.modified_at <= at).collect()
        }
    }
}
