//! The command line of a script task.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use regex::Regex;
use serde_json::Value;
use windhover_flow::text_of;
use windhover_storage::FileUri;

use super::language::Language;
use crate::{
    TaskContext, TaskError,
    directory::{Folder, fetch},
};

/// A URI of internal storage inside a command.
static STORED: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"kestra://[-\p{Alphabetic}\p{Nd}._+~#=/]*").expect("a constant"));

/// Renders the parts of a command. URIs of internal storage become paths of files that are fetched.
pub(super) struct Renderer<'a> {
    pub(super) context: &'a TaskContext,
    /// `workingDir` and the like.
    pub(super) variables: Vec<(&'static str, Value)>,
    /// Where files are fetched to.
    pub(super) scratch: &'a Folder,
    fetched: HashMap<String, String>,
}

impl<'a> Renderer<'a> {
    pub(super) fn new(context: &'a TaskContext, scratch: &'a Folder, variables: Vec<(&'static str, Value)>) -> Self {
        Self { context, variables, scratch, fetched: HashMap::new() }
    }

    /// A list of commands; `None` when the task has no such property.
    pub(super) async fn list(&mut self, name: &str) -> Result<Option<Vec<String>>, TaskError> {
        let rendered =
            self.context.render_with(&self.variables, |properties, environment| properties.list(name, environment));
        let Some(items) = rendered.await? else { return Ok(None) };
        let mut texts = Vec::new();
        for item in &items {
            texts.push(self.localise(text_of(item)).await?);
        }
        Ok(Some(texts))
    }

    pub(super) async fn text(&mut self, name: &str) -> Result<String, TaskError> {
        let rendered = self
            .context
            .render_with(&self.variables, |properties, environment| properties.required_text(name, environment));
        let text = rendered.await?;
        self.localise(text).await
    }

    async fn localise(&mut self, text: String) -> Result<String, TaskError> {
        let mut local = String::new();
        let mut done = 0;
        for found in STORED.find_iter(&text) {
            local.push_str(&text[done..found.start()]);
            local.push_str(&self.fetch(found.as_str()).await?);
            done = found.end();
        }
        local.push_str(&text[done..]);
        Ok(local)
    }

    async fn fetch(&mut self, text: &str) -> Result<String, TaskError> {
        if let Some(path) = self.fetched.get(text) {
            return Ok(path.clone());
        }
        let uri: FileUri = text.parse()?;
        let name = format!("file-{}{}", self.fetched.len(), uri.extension().unwrap_or_default());
        let place = self.scratch.place(&name)?;
        fetch(self.context, &uri, &place).await?;
        let path = place.display().to_string();
        self.fetched.insert(text.to_owned(), path.clone());
        Ok(path)
    }
}

/// What a task runs: the commands of the flow, or the text of a script.
pub(super) struct Commands {
    pub(super) interpreter: Vec<String>,
    pub(super) before: Vec<String>,
    pub(super) main: Vec<String>,
    pub(super) fail_fast: bool,
}

impl Commands {
    /// The program with its arguments: the interpreter, and all commands as one argument (flow model reference 5.9).
    /// Without an interpreter, and with nothing before, the commands are the program and its arguments.
    pub(super) fn line(self, language: &Language) -> Vec<String> {
        if self.interpreter.is_empty() && self.before.is_empty() {
            return self.main;
        }
        let first = self.fail_fast.then(|| language.fail_fast.to_owned());
        let text = first.into_iter().chain(self.before).chain(self.main).collect::<Vec<_>>().join("\n");
        let mut line = self.interpreter;
        line.push(text);
        line
    }
}

/// The command that runs the file of a Script.
pub(super) fn run_file(language: &Language, file: &Path, path: &str, quiet: bool) -> String {
    let file = file.display();
    match (language.program(path), language.name) {
        ("", _) => file.to_string(),
        (program, "jbang") if quiet => format!("{program} --quiet {file}"),
        (program, _) => format!("{program} {file}"),
    }
}

/// A file of the working directory that is there only while the script runs.
pub(super) struct ScriptFile(pub(super) PathBuf);

impl Drop for ScriptFile {
    fn drop(&mut self) {
        // It may be the script itself that has removed it.
        let _ = std::fs::remove_file(&self.0);
    }
}
