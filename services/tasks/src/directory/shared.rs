//! The folder that the children of a WorkingDirectory share (flow model reference 5.3).

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use windhover_engine::Directory;
use windhover_expression::slugify;
use windhover_flow::{Flow, Properties, PropertyError, TaskKind, text_of};
use windhover_storage::FileUri;

use super::{
    Folder, archive, fetch,
    namespace_files::{copy_namespace_files, patterns_of},
    send,
};
use crate::{TaskContext, TaskError, context::now, namespace::Pattern};

/// The WorkingDirectory that an attempt belongs to.
pub(crate) struct Shared {
    directory: Directory,
    flow: Arc<Flow>,
}

struct Cache {
    patterns: Vec<Pattern>,
    ttl: Option<Duration>,
    place: FileUri,
}

impl Shared {
    /// `None`: the flow has no such WorkingDirectory.
    pub(crate) fn of(flow: &Arc<Flow>, directory: Directory) -> Option<Self> {
        let place = flow.index.get(&directory.task_id)?;
        matches!(place.task.kind, TaskKind::WorkingDirectory(_)).then(|| Self { directory, flow: Arc::clone(flow) })
    }

    /// Its own properties: `inputFiles`, `outputFiles`, `namespaceFiles`, `cache`.
    fn properties(&self) -> &Properties {
        static NONE: Properties = Properties::Literal(Value::Null);
        match self.flow.index.get(&self.directory.task_id).map(|place| &place.task.kind) {
            Some(TaskKind::WorkingDirectory(directory)) => &directory.files,
            _ => &NONE,
        }
    }

    fn archive(&self, context: &TaskContext) -> Result<FileUri, TaskError> {
        let (flow, Directory { task_run, task_id, attempt }) = (&context.flow, &self.directory);
        let run = FileUri::task_run(&flow.namespace, &flow.id, context.execution, task_id, *task_run);
        Ok(run.below(&format!("directory-{attempt}.tar"))?)
    }

    /// The folder as the child before left it; prepared, if this is the first.
    pub(crate) async fn open(&self, context: &TaskContext) -> Result<Folder, TaskError> {
        let folder = Folder::new()?;
        let archive = self.archive(context)?;
        if context.services.files.find(&context.tenant, &archive).await?.is_some() {
            restore(context, &archive, &folder).await?;
            return Ok(folder);
        }
        if let Some(cache) = self.cache(context).await? {
            cache.restore(context, &folder).await?;
        }
        self.copy_namespace_files(context, &folder).await?;
        let inputs = self.render(context, |own, environment| own.map("inputFiles", environment)).await?;
        folder.write(context, &inputs.unwrap_or_default()).await?;
        Ok(folder)
    }

    /// Keeps the folder for the next child; answers the outputs of the WorkingDirectory as they are now.
    pub(crate) async fn close(&self, context: &TaskContext, folder: &Folder) -> Result<Option<Value>, TaskError> {
        keep(context, folder, &self.archive(context)?).await?;
        if let Some(cache) = self.cache(context).await? {
            cache.keep(context, folder).await?;
        }
        let patterns = self.render(context, |own, environment| own.list("outputFiles", environment)).await?;
        let Some(patterns) = patterns else { return Ok(None) };
        let files = folder.store(context, &patterns).await?;
        Ok(Some(json!({ "outputFiles": files })))
    }

    async fn render<T>(
        &self,
        context: &TaskContext,
        render: impl Fn(&Properties, &windhover_expression::Environment<'_>) -> Result<T, PropertyError>,
    ) -> Result<T, TaskError> {
        Ok(context.render(|_, environment| render(self.properties(), environment)).await?)
    }

    async fn copy_namespace_files(&self, context: &TaskContext, folder: &Folder) -> Result<(), TaskError> {
        match self.render(context, |own, environment| own.map("namespaceFiles", environment)).await? {
            Some(wanted) => copy_namespace_files(context, folder, &wanted).await.map(|_| ()),
            None => Ok(()),
        }
    }

    async fn cache(&self, context: &TaskContext) -> Result<Option<Cache>, TaskError> {
        let cache = self.render(context, |own, environment| own.map("cache", environment)).await?;
        let Some(cache) = cache else { return Ok(None) };
        let ttl = cache.get("ttl").map(text_of).map(|text| windhover_flow::parse_duration(&text)).transpose();
        let ttl = ttl.map_err(|_| TaskError::failed("cache.ttl: this is no duration"))?;
        let patterns = patterns_of(cache.get("patterns"))?;
        let flow = &context.flow;
        let namespace = flow.namespace.replace('.', "/");
        let place =
            format!("kestra:///{namespace}/{}/{}/cache/cache.tar", slugify(&flow.id), slugify(&self.directory.task_id));
        Ok(Some(Cache { patterns, ttl, place: place.parse()? }))
    }
}

impl Cache {
    /// Brings what an earlier execution has left, unless it is too old.
    async fn restore(&self, context: &TaskContext, folder: &Folder) -> Result<(), TaskError> {
        let Some(entry) = context.services.files.find(&context.tenant, &self.place).await? else { return Ok(()) };
        if self.ttl.is_some_and(|ttl| now().since(entry.modified_at) > ttl) {
            return Ok(());
        }
        restore(context, &self.place, folder).await
    }

    /// Keeps the files that the patterns mean.
    async fn keep(&self, context: &TaskContext, folder: &Folder) -> Result<(), TaskError> {
        let chosen = Folder::new()?;
        let mut any = false;
        for path in folder.files()? {
            let with_slash = format!("/{path}");
            if self.patterns.iter().any(|pattern| pattern.matches(&with_slash) || pattern.matches(&path)) {
                let copied = tokio::fs::copy(folder.path().join(&path), chosen.place(&path)?).await;
                copied.map_err(|error| TaskError::failed(format!("cache: '{path}' cannot be copied: {error}")))?;
                any = true;
            }
        }
        if any { keep(context, &chosen, &self.place).await } else { Ok(()) }
    }
}

async fn keep(context: &TaskContext, folder: &Folder, to: &FileUri) -> Result<(), TaskError> {
    let scratch = Folder::new()?;
    let archive = scratch.path().join("directory.tar");
    let (from, into) = (folder.path().to_owned(), archive.clone());
    run_blocking(move || archive::pack(&from, &into)).await?;
    send(context, &archive, to).await
}

async fn restore(context: &TaskContext, from: &FileUri, folder: &Folder) -> Result<(), TaskError> {
    let scratch = Folder::new()?;
    let archive = scratch.path().join("directory.tar");
    fetch(context, from, &archive).await?;
    let into = folder.path().to_owned();
    run_blocking(move || archive::unpack(&archive, &into)).await
}

async fn run_blocking(work: impl FnOnce() -> std::io::Result<()> + Send + 'static) -> Result<(), TaskError> {
    let failed = |error: String| TaskError::failed(format!("the working directory cannot be kept: {error}"));
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(error) => Err(failed(error.to_string())),
    }
}
