//! Files of namespaces for a folder that a task works in.

use serde_json::Value;
use windhover_flow::text_of;
use windhover_storage::FileUri;
use windhover_types::{JsonMap, Level};

use super::{Folder, fetch};
use crate::{TaskContext, TaskError, kv::is_above, namespace::Pattern};

/// Copies what `namespaceFiles` says (flow model reference 8.5 and the same of 1.x 5.6); answers how many files.
pub(crate) async fn copy_namespace_files(
    context: &TaskContext,
    folder: &Folder,
    wanted: &JsonMap,
) -> Result<u64, TaskError> {
    if wanted.get("enabled").is_some_and(|enabled| text_of(enabled) == "false") {
        return Ok(0);
    }
    let mut copied = 0;
    let patterns = |name: &str| -> Result<Vec<Pattern>, TaskError> { patterns_of(wanted.get(name)) };
    let (include, exclude) = (patterns("include")?, patterns("exclude")?);
    let namespaces = match wanted.get("namespaces") {
        Some(Value::Array(names)) => names.iter().map(text_of).collect(),
        _ => vec![context.namespace().to_owned()],
    };
    let own_folder = wanted.get("folderPerNamespace").is_some_and(|value| text_of(value) == "true");
    let if_exists = wanted.get("ifExists").map_or_else(|| "OVERWRITE".to_owned(), text_of);
    for namespace in namespaces {
        for file in context.services.files.namespace_files(&context.tenant, &namespace).await? {
            let (path, Some(newest)) = (file.path.as_str(), file.newest()) else { continue };
            let with_slash = format!("/{path}");
            let included = include.is_empty() || include.iter().any(|pattern| pattern.matches(&with_slash));
            if !included || exclude.iter().any(|pattern| pattern.matches(&with_slash)) {
                continue;
            }
            let name = if own_folder { format!("{namespace}/{path}") } else { path.to_owned() };
            let place = folder.place(&name)?;
            if place.exists() {
                match if_exists.as_str() {
                    "FAIL" => return Err(TaskError::failed(format!("namespaceFiles: '{name}' exists already"))),
                    "WARN" => {
                        context.log(Level::Warn, &format!("namespaceFiles: '{name}' exists already"));
                        continue;
                    }
                    "IGNORE" => continue,
                    _ => {}
                }
            }
            fetch(context, &newest.entry.uri, &place).await?;
            copied += 1;
        }
    }
    Ok(copied)
}

/// The newest version of the file that `nsfile:///path` (of the flow's own namespace) or `nsfile://namespace/path` names.
///
/// # Errors
/// There is none, or the namespace is none that the flow's belongs to.
pub(crate) async fn namespace_file(context: &TaskContext, text: &str) -> Result<FileUri, TaskError> {
    let rest = text.strip_prefix("nsfile://").unwrap_or(text);
    let (namespace, path) = rest.split_once('/').unwrap_or((rest, ""));
    let namespace = if namespace.is_empty() { context.namespace() } else { namespace };
    if !is_above(namespace, context.namespace()) {
        let message = format!("Namespace '{namespace}' is not allowed for files of '{}'", context.namespace());
        return Err(TaskError::failed(message));
    }
    let file = context.services.files.namespace_file(&context.tenant, namespace, path).await?;
    let newest = file.as_ref().and_then(|file| file.newest()).map(|version| version.entry.uri.clone());
    newest.ok_or_else(|| TaskError::failed(format!("File '{path}' was not found in namespace '{namespace}'.")))
}

/// A list of patterns, or one.
pub(super) fn patterns_of(value: Option<&Value>) -> Result<Vec<Pattern>, TaskError> {
    match value {
        Some(Value::Array(items)) => items.iter().map(|item| Pattern::parse(&text_of(item))).collect(),
        Some(Value::String(text)) => Ok(vec![Pattern::parse(text)?]),
        _ => Ok(Vec::new()),
    }
}
