//! `namespace.*Files`: files of a namespace (flow model reference 5.6 and 8.5, the same of 1.x).

use async_trait::async_trait;
use globset::{Glob, GlobMatcher};
use regex::Regex;
use serde_json::{Map, Value, json};
use windhover_flow::text_of;
use windhover_storage::FileUri;

use crate::{Metric, Task, TaskContext, TaskError, TaskOutcome};

pub(crate) struct UploadFiles;
pub(crate) struct DownloadFiles;
pub(crate) struct DeleteFiles;

/// Which paths a pattern means; paths begin with a slash.
pub(crate) enum Pattern {
    Glob(GlobMatcher),
    Regex(Regex),
}

impl Pattern {
    /// `glob:…`, `regex:…` or a glob; one that begins with a letter is looked for in every folder.
    pub(crate) fn parse(text: &str) -> Result<Self, TaskError> {
        let wrong = |kind: &str| TaskError::failed(format!("files: '{text}' is no {kind}"));
        if let Some(regex) = text.strip_prefix("regex:") {
            return Regex::new(&format!("^(?:{regex})$")).map(Self::Regex).map_err(|_| wrong("regular expression"));
        }
        let glob = text.strip_prefix("glob:").unwrap_or(text);
        let anywhere = glob.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        let glob = if anywhere { format!("/**/{glob}") } else { glob.to_owned() };
        let matcher = globset::GlobBuilder::new(&glob).literal_separator(true).build().map(|glob: Glob| glob);
        matcher.map(|glob| Self::Glob(glob.compile_matcher())).map_err(|_| wrong("pattern"))
    }

    pub(crate) fn matches(&self, path: &str) -> bool {
        match self {
            Self::Glob(glob) => glob.is_match(path),
            Self::Regex(regex) => regex.is_match(path),
        }
    }
}

/// The namespace that the task names, else its flow's.
async fn namespace(context: &TaskContext) -> Result<String, TaskError> {
    Ok(context.text("namespace").await?.unwrap_or_else(|| context.namespace().to_owned()))
}

/// The files of the namespace that the property `files` (a text or a list) means, with their paths.
async fn chosen(context: &TaskContext, namespace: &str) -> Result<Vec<(String, FileUri)>, TaskError> {
    let value = context.render(|properties, environment| properties.value("files", environment)).await?;
    let patterns: Vec<String> = match value {
        Some(Value::Array(items)) => items.iter().map(text_of).collect(),
        Some(Value::String(text)) => match serde_json::from_str::<Vec<String>>(&text) {
            Ok(list) => list,
            Err(_) => vec![text],
        },
        _ => return Err(TaskError::failed("files: must be a text or a list of texts")),
    };
    let patterns = patterns.iter().map(|text| Pattern::parse(text)).collect::<Result<Vec<_>, _>>()?;
    let root = FileUri::namespace(namespace);
    let entries = context.services.files.list(&context.tenant, &root).await?;
    let with_path = entries.into_iter().filter_map(|entry| {
        let path = format!("/{}", entry.uri.relative_to(&root)?);
        patterns.iter().any(|pattern| pattern.matches(&path)).then_some((path, entry.uri))
    });
    Ok(with_path.collect())
}

#[async_trait]
impl Task for UploadFiles {
    async fn run(&self, context: &TaskContext) -> Result<TaskOutcome, TaskError> {
        let namespace = namespace(context).await?;
        let (map, destination, conflict) = context
            .render(|properties, environment| {
                Ok((
                    properties.map("filesMap", environment)?,
                    properties.text("destination", environment)?.unwrap_or_default(),
                    properties.text("conflict", environment)?.unwrap_or_else(|| "OVERWRITE".to_owned()),
                ))
            })
            .await?;
        let Some(map) = map else {
            return Err(TaskError::failed("filesMap: must be given: files or filesMap is required"));
        };
        let root = FileUri::namespace(&namespace);
        for (name, source) in &map {
            let target = root.below(&format!("{destination}/{name}"))?;
            let source: FileUri = text_of(source).parse()?;
            if context.services.files.find(&context.tenant, &target).await?.is_some() {
                match conflict.trim() {
                    "OVERWRITE" => {}
                    "SKIP" => continue,
                    "ERROR" => return Err(TaskError::failed(format!("the file {target} already exists"))),
                    other => {
                        let message = format!("conflict: '{other}' is none of OVERWRITE, ERROR, SKIP");
                        return Err(TaskError::failed(message));
                    }
                }
            }
            // A source that is missing is left out without a word (flow model reference 5.6).
            if context.services.files.find(&context.tenant, &source).await?.is_none() {
                continue;
            }
            context.services.files.copy(&context.tenant, &source, &target).await?;
        }
        Ok(TaskOutcome::success(Some(json!({ "files": {} }))))
    }
}

#[async_trait]
impl Task for DownloadFiles {
    async fn run(&self, context: &TaskContext) -> Result<TaskOutcome, TaskError> {
        let namespace = namespace(context).await?;
        let destination = context.text("destination").await?.unwrap_or_default();
        let mut files = Map::new();
        for (path, uri) in chosen(context, &namespace).await? {
            let target = context.directory().below(&format!("{destination}{path}"))?;
            context.services.files.copy(&context.tenant, &uri, &target).await?;
            files.insert(path, Value::String(target.to_string()));
        }
        let mut outcome = TaskOutcome::success(None);
        outcome.record(Metric::counter("downloaded", files.len() as f64, &[]));
        outcome.outputs = Some(json!({ "files": files }));
        Ok(outcome)
    }
}

#[async_trait]
impl Task for DeleteFiles {
    async fn run(&self, context: &TaskContext) -> Result<TaskOutcome, TaskError> {
        let namespace = namespace(context).await?;
        let mut deleted = 0_u32;
        for (_, uri) in chosen(context, &namespace).await? {
            deleted += u32::from(context.services.files.delete(&context.tenant, &uri).await?);
        }
        let mut outcome = TaskOutcome::success(None);
        outcome.record(Metric::counter("deleted", f64::from(deleted), &[]));
        Ok(outcome)
    }
}
