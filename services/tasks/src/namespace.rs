//! `namespace.*Files`: files of a namespace (flow model reference 5.6 and 8.5, the same of 1.x).

mod purge;

use async_trait::async_trait;
use globset::{Glob, GlobMatcher};
use regex::Regex;
use serde_json::{Map, Value, json};
use windhover_flow::text_of;
use windhover_storage::{FileUri, NamespaceFile};

pub(crate) use purge::PurgeFiles;

use crate::{Metric, Task, TaskContext, TaskError, TaskOutcome, directory::send};

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
        Self::of("files", text)
    }

    /// The same, of this property.
    pub(crate) fn of(property: &str, text: &str) -> Result<Self, TaskError> {
        let wrong = |kind: &str| TaskError::failed(format!("{property}: '{text}' is no {kind}"));
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

/// The patterns of the property `files`: a text or a list; `None`: it is not given.
async fn patterns(context: &TaskContext) -> Result<Option<Vec<Pattern>>, TaskError> {
    let value = context.render(|properties, environment| properties.value("files", environment)).await?;
    let patterns: Vec<String> = match value {
        None => return Ok(None),
        Some(Value::Array(items)) => items.iter().map(text_of).collect(),
        Some(Value::String(text)) => match serde_json::from_str::<Vec<String>>(&text) {
            Ok(list) => list,
            Err(_) => vec![text],
        },
        Some(_) => return Err(TaskError::failed("files: must be a text or a list of texts")),
    };
    patterns.iter().map(|text| Pattern::parse(text)).collect::<Result<_, _>>().map(Some)
}

/// The files of the namespace that the property `files` means.
async fn chosen(context: &TaskContext, namespace: &str) -> Result<Vec<NamespaceFile>, TaskError> {
    let patterns = patterns(context).await?;
    let patterns = patterns.ok_or_else(|| TaskError::failed("files: must be a text or a list of texts"))?;
    let mut files = context.services.files.namespace_files(&context.tenant, namespace).await?;
    files.retain(|file| patterns.iter().any(|pattern| pattern.matches(&format!("/{}", file.path))));
    Ok(files)
}

/// What becomes of a file that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Conflict {
    Overwrite,
    Error,
    Skip,
}

/// Files on their way into a namespace.
struct Upload<'a> {
    context: &'a TaskContext,
    namespace: String,
    destination: String,
    conflict: Conflict,
}

impl Upload<'_> {
    /// Where a file of this name goes: a new version of it; `None`: it is there, and is to stay as it is.
    async fn place(&self, name: &str) -> Result<Option<FileUri>, TaskError> {
        let (files, tenant) = (&self.context.services.files, &self.context.tenant);
        let path = format!("{}/{name}", self.destination);
        if self.conflict != Conflict::Overwrite && files.namespace_file(tenant, &self.namespace, &path).await?.is_some()
        {
            let target = FileUri::namespace(&self.namespace).below(&path)?;
            return match self.conflict {
                Conflict::Error => Err(TaskError::failed(format!("the file {target} already exists"))),
                _ => Ok(None),
            };
        }
        Ok(Some(files.next_version(tenant, &self.namespace, &path).await?))
    }
}

#[async_trait]
impl Task for UploadFiles {
    async fn run(&self, context: &TaskContext) -> Result<TaskOutcome, TaskError> {
        let (map, destination, conflict) = context
            .render(|properties, environment| {
                Ok((
                    properties.map("filesMap", environment)?,
                    properties.text("destination", environment)?.unwrap_or_default(),
                    properties.text("conflict", environment)?.unwrap_or_else(|| "OVERWRITE".to_owned()),
                ))
            })
            .await?;
        let patterns = patterns(context).await?;
        if map.is_none() && patterns.is_none() {
            return Err(TaskError::failed("files, filesMap: one of them must be given"));
        }
        let conflict = match conflict.trim() {
            "OVERWRITE" => Conflict::Overwrite,
            "SKIP" => Conflict::Skip,
            "ERROR" => Conflict::Error,
            other => {
                return Err(TaskError::failed(format!("conflict: '{other}' is none of OVERWRITE, ERROR, SKIP")));
            }
        };
        let namespace = namespace(context).await?;
        let upload = Upload { context, namespace, destination, conflict };
        if let Some(patterns) = patterns {
            let folder = context.folder()?;
            for path in folder.files()? {
                let with_slash = format!("/{path}");
                if patterns.iter().any(|pattern| pattern.matches(&path) || pattern.matches(&with_slash))
                    && let Some(target) = upload.place(&path).await?
                {
                    send(context, &folder.path().join(&path), &target).await?;
                }
            }
        }
        for (name, source) in map.iter().flatten() {
            let source: FileUri = text_of(source).parse()?;
            // A source that is missing is left out without a word (flow model reference 5.6).
            if context.services.files.find(&context.tenant, &source).await?.is_none() {
                continue;
            }
            if let Some(target) = upload.place(name).await? {
                context.services.files.copy(&context.tenant, &source, &target).await?;
            }
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
        for file in chosen(context, &namespace).await? {
            let Some(newest) = file.newest() else { continue };
            let path = format!("/{}", file.path);
            let target = context.directory().below(&format!("{destination}{path}"))?;
            context.services.files.copy(&context.tenant, &newest.entry.uri, &target).await?;
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
        for file in chosen(context, &namespace).await? {
            let files = &context.services.files;
            deleted += u32::from(files.delete_namespace_file(&context.tenant, &namespace, &file.path).await?);
        }
        let mut outcome = TaskOutcome::success(None);
        outcome.record(Metric::counter("deleted", f64::from(deleted), &[]));
        Ok(outcome)
    }
}
